//! A real browser without a screen, driven over WebDriver (W3C) by plain HTTP. The rule: it starts empty, asks nobody for
//! updates, and is gone before the test is over.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// No command to the browser takes as long.
const STALL: Duration = Duration::from_secs(60);

/// What it is started with. The last ones keep it from calling at its maker's.
const FLAGS: [&str; 10] = [
    "--headless",
    "--force-prefers-reduced-motion",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

/// The name under which W3C's WebDriver gives an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser with one page open.
pub(crate) struct Browser {
    driver: Child,
    address: SocketAddr,
    session: String,
    _profile: TempDir,
}

impl Browser {
    /// Starts one, to which `evil.example` is the machine at `evil`.
    pub(crate) fn start(evil: Ipv4Addr) -> Self {
        let profile = tempfile::tempdir().expect("a directory");
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver runs");
        let mut said = BufReader::new(driver.stdout.take().expect("piped"));
        let port = loop {
            let mut line = String::new();
            let read = said.read_line(&mut line).expect("readable");
            assert!(read > 0, "chromedriver has ended");
            if let Some((_, rest)) = line.split_once("started successfully on port ") {
                let digits = rest.trim().trim_end_matches('.');
                break digits.parse().expect("a port");
            }
        };
        let mut browser = Self {
            driver,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            session: String::new(),
            _profile: profile,
        };
        let mut flags: Vec<String> = FLAGS.map(str::to_owned).to_vec();
        flags.push(format!(
            "--user-data-dir={}",
            browser._profile.path().display()
        ));
        flags.push(format!("--host-resolver-rules=MAP evil.example {evil}"));
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": { "args": flags },
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
        } } });
        let begun = browser.call("POST", "/session", &wanted);
        let session = begun["sessionId"].as_str().expect("a session");
        browser.session = format!("/session/{session}");
        browser
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = if method == "POST" {
            body.to_string()
        } else {
            String::new()
        };
        let mut stream = TcpStream::connect(self.address).expect("chromedriver listens");
        stream.set_read_timeout(Some(STALL)).expect("set");
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            self.address,
            body.len()
        );
        stream
            .write_all(format!("{head}{body}").as_bytes())
            .expect("asked");
        // Not to its end: chromedriver leaves the connection open, whatever it is asked for.
        let mut stream = BufReader::new(stream);
        let (mut answer, mut line) = (String::new(), String::new());
        while line != "\r\n" {
            line.clear();
            assert!(stream.read_line(&mut line).expect("answered") > 0);
            answer.push_str(&line.to_ascii_lowercase());
        }
        let (_, rest) = answer.split_once("content-length:").expect("a length");
        let digits = rest.split("\r\n").next().unwrap_or_default();
        let mut text = vec![0; digits.trim().parse().expect("a number")];
        stream.read_exact(&mut text).expect("answered");
        let value: Value = serde_json::from_slice(&text).expect("JSON");
        assert!(
            answer.starts_with("http/1.1 200"),
            "{method} {path}: {value}"
        );
        value["value"].clone()
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        self.call("POST", &format!("{}{path}", self.session), body)
    }

    /// A command of the browser's own protocol.
    fn own(&self, command: &str, parameters: &Value) -> Value {
        let body = json!({ "cmd": command, "params": parameters });
        self.post("/goog/cdp/execute", &body)
    }

    /// Opens a page.
    pub(crate) fn open(&self, url: &str) {
        self.post("/url", &json!({ "url": url }));
    }

    /// What a script in the page returns.
    pub(crate) fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// The text of what a selector finds.
    pub(crate) fn text(&self, selector: &str) -> String {
        let script = format!("return document.querySelector({selector:?}).innerText");
        self.run(&script).as_str().unwrap_or_default().to_owned()
    }

    fn element(&self, selector: &str) -> String {
        let found = self.post(
            "/element",
            &json!({ "using": "css selector", "value": selector }),
        );
        found[ELEMENT].as_str().expect("an element").to_owned()
    }

    /// Clicks as a person does: where it is, if nothing lies over it.
    pub(crate) fn click(&self, selector: &str) {
        let element = self.element(selector);
        self.post(&format!("/element/{element}/click"), &json!({}));
    }

    /// Types into a field.
    pub(crate) fn write(&self, selector: &str, text: &str) {
        let element = self.element(selector);
        self.post(
            &format!("/element/{element}/value"),
            &json!({ "text": text }),
        );
    }

    /// Presses the Tab key, and returns what a script says then.
    pub(crate) fn tab(&self, script: &str) -> Value {
        let tab = '\u{e004}';
        let keys = json!({ "actions": [{ "type": "key", "id": "keys", "actions": [
            { "type": "keyDown", "value": tab }, { "type": "keyUp", "value": tab } ] }] });
        self.post("/actions", &keys);
        self.run(script)
    }

    /// From now on the page is so wide, and dark or light.
    pub(crate) fn looks(&self, width: u32, dark: bool) {
        let size =
            json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500 });
        self.own("Emulation.setDeviceMetricsOverride", &size);
        let scheme = if dark { "dark" } else { "light" };
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.own("Emulation.setEmulatedMedia", &media);
    }

    /// What stands in the browser's console.
    pub(crate) fn console(&self) -> Vec<Value> {
        self.log("browser")
    }

    /// Every URL that was asked for since this was asked last.
    pub(crate) fn asked_for(&self) -> Vec<String> {
        let events = self.log("performance").into_iter().filter_map(|entry| {
            let event: Value = serde_json::from_str(entry["message"].as_str()?).ok()?;
            let event = &event["message"];
            let url = &event["params"]["request"]["url"];
            (event["method"] == "Network.requestWillBeSent")
                .then(|| url.as_str().map(str::to_owned))?
        });
        events.collect()
    }

    fn log(&self, kind: &str) -> Vec<Value> {
        let log = self.post("/se/log", &json!({ "type": kind }));
        log.as_array().cloned().unwrap_or_default()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() && !std::thread::panicking() {
            self.call("DELETE", &self.session, &Value::Null);
        } else if let Ok(mut stream) = TcpStream::connect(self.address) {
            // It may be in no state to answer.
            let _ = write!(
                stream,
                "DELETE {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
                self.session
            );
            let _ = stream.set_read_timeout(Some(STALL));
            let _ = stream.read_to_end(&mut Vec::new());
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
