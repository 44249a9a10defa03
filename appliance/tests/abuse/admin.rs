//! The admin address, for whoever may not change anything: every route with every method and every bad proof, and names
//! of objects that are meant to lead elsewhere. The rule: the routes are those that the source lists, so that a new one
//! is tried without anybody thinking of it; and nothing is changed.

use crate::crowds::{LENGTH, PATH, connect};
use crate::files::{alone, sockets};
use crate::origin::Origin;
use crate::rig::fetch::Answer;
use crate::rig::larder::{ADMIN_PORT, FAMILY, Larder, Setup};
use crate::rig::{eventually, skip};
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::time::Duration;

/// The routes of the admin address, and whether they change something.
fn routes() -> Vec<(String, bool)> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/admin/mod.rs");
    let source = fs::read_to_string(source).expect("its source");
    let lines = source.lines().filter_map(|line| {
        let (path, handler) = line.trim().strip_prefix(".route(\"")?.split_once("\", ")?;
        Some((path.to_owned(), handler.starts_with("post(")))
    });
    let routes: BTreeSet<_> = lines.collect();
    assert!(routes.len() >= 20, "{routes:?}");
    assert!(
        routes.iter().filter(|(_, changes)| *changes).count() >= 9,
        "{routes:?}"
    );
    routes.into_iter().collect()
}

/// What is answered to a request whose head is written out.
fn ask(address: SocketAddr, head: &str) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream
        .set_read_timeout(Some(Duration::from_secs(40)))
        .ok()?;
    stream.write_all(head.as_bytes()).ok()?;
    let mut said = Vec::new();
    let _ = BufReader::new(stream).read_to_end(&mut said);
    let said = String::from_utf8_lossy(&said).into_owned();
    let (head, body) = said.split_once("\r\n\r\n")?;
    Some(Answer {
        status: head.get(9..12)?.parse().ok()?,
        head: head.to_owned(),
        body: body.as_bytes().to_vec(),
    })
}

fn token(larder: &Larder) -> String {
    let file = larder.directory().join("store/admin.token");
    fs::read_to_string(file).expect("a token").trim().to_owned()
}

/// All that calls could change, as far as it can be seen.
fn seen(larder: &Larder) -> String {
    let objects = larder.told(&["ls", "--json"]);
    let reloads = "larder_config_last_reload_success_timestamp_seconds";
    let status = ask(
        larder.admin(),
        &format!(
            "GET /api/v1/downloads HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            larder.admin()
        ),
    );
    let downloads = String::from_utf8(status.expect("an answer").body).expect("text");
    let value: serde_json::Value = serde_json::from_str(&downloads).expect("JSON");
    let of_each = value["downloads"].as_array().expect("a list").iter();
    let states: Vec<_> = of_each.map(|each| each["Status"].to_string()).collect();
    let is_paused = states.iter().any(|state| state.contains("Paused"));
    format!("{objects}\n{}\n{is_paused}", larder.metric(reloads, ""))
}

fn house() -> (Origin, Larder) {
    let origin = Origin::start(LENGTH);
    let larder = Larder::start(&Setup {
        origin: Some(origin.address()),
        ..Setup::default()
    });
    for (number, host) in FAMILY.iter().enumerate().take(3) {
        let path = format!("{}{number}", &PATH[..PATH.len() - 1]);
        let answer = larder.get(host, &path).run();
        assert_eq!(answer.expect("whole").status, 200);
    }
    let pieces = 3.0 * (LENGTH >> 20) as f64;
    eventually("all is stored", || {
        (larder.metric("larder_store_pieces", "") >= pieces).then_some(())
    });
    (origin, larder)
}

/// The address by which this machine is known elsewhere, where it has one.
fn elsewhere() -> Option<std::net::IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

#[test]
fn who_shows_no_token_changes_nothing_by_any_route() {
    let (_origin, larder) = house();
    let before = seen(&larder);
    let token = token(&larder);
    let wrong = "0".repeat(token.len());
    let shortened = &token[..token.len() - 1];
    let proofs = [
        String::new(),
        format!("Authorization: Bearer {wrong}\r\n"),
        format!("Authorization: Bearer {shortened}\r\n"),
        format!("Authorization: Bearer {token}0\r\n"),
        "Authorization: Bearer\r\n".to_owned(),
        "Authorization: Bearer \r\n".to_owned(),
        format!("Authorization: Basic {token}\r\n"),
        format!("Authorization: {token}\r\n"),
        format!("Cookie: token={token}\r\n"),
        format!("X-Authorization: Bearer {token}\r\n"),
        "X-Forwarded-For: 127.0.0.1\r\nX-Real-IP: 127.0.0.1\r\n".to_owned(),
    ];
    let selects = "all=true&pinned=true";
    let methods = ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "QUERY"];
    let mut tried = 0;
    for (path, _) in routes() {
        let ways = [
            path.clone(),
            format!("{path}/"),
            format!("/{path}"),
            format!("{path};x"),
            format!("/healthz/..{path}"),
            path.replacen("/a", "/%61", 1),
            path.to_ascii_uppercase(),
        ];
        for way in &ways {
            for method in methods {
                // One more proof than a route needs is enough for odd spellings.
                let proofs = if *way == path {
                    &proofs[..]
                } else {
                    &proofs[..2]
                };
                for proof in proofs {
                    let head = format!(
                        "{method} {way}?{selects}&token={token} HTTP/1.1\r\nHost: {}\r\n{proof}Content-Length: 0\r\nConnection: close\r\n\r\n",
                        larder.admin()
                    );
                    let answer = ask(larder.admin(), &head).expect("an answer");
                    assert!(matches!(answer.status, 401 | 403), "{head}{}", answer.head);
                    tried += 1;
                }
            }
        }
    }
    // What reads is free on this machine, and changes nothing whatever it says it is.
    for (path, changes) in routes() {
        for method in ["GET", "HEAD"] {
            let head = format!(
                "{method} {path}?{selects} HTTP/1.1\r\nHost: {}\r\nX-HTTP-Method-Override: POST\r\nX-HTTP-Method: POST\r\nConnection: close\r\n\r\n",
                larder.admin()
            );
            let status = ask(larder.admin(), &head).expect("an answer").status;
            assert_eq!(status == 405, changes, "{head}{status}");
            tried += 1;
        }
    }
    assert_eq!(seen(&larder), before, "after {tried} calls");
}

#[test]
fn from_elsewhere_nothing_is_read_without_the_token() {
    let Some(elsewhere) = elsewhere() else {
        skip("this machine has no address but loopback's");
        return;
    };
    let origin = Origin::start(LENGTH);
    // The tests have no other socket on that address, and the kernel chooses no such port by itself.
    let admin = SocketAddr::new(elsewhere, 19_180);
    let mut larder = Larder::set_up(&Setup {
        origin: Some(origin.address()),
        ..Setup::default()
    });
    let config = fs::read_to_string(larder.config()).expect("written");
    let own = format!("admin = \"{}:{ADMIN_PORT}\"", larder.admin().ip());
    assert!(config.contains(&own));
    let with = config.replace(&own, &format!("admin = \"{admin}\""));
    fs::write(larder.config(), with).expect("written");
    larder.resume_at(admin);
    for (path, changes) in routes() {
        let head = |proof: &str| {
            format!("GET {path} HTTP/1.1\r\nHost: {admin}\r\n{proof}Connection: close\r\n\r\n")
        };
        let free = matches!(&*path, "/" | "/healthz");
        let status = ask(admin, &head("")).expect("an answer").status;
        assert_eq!(status == 401, !free, "{path}: {status}");
        let right = head(&format!("Authorization: Bearer {}\r\n", token(&larder)));
        let status = ask(admin, &right).expect("an answer").status;
        assert!(!matches!(status, 401 | 403), "{path}: {status}");
        assert_eq!(status == 405, changes, "{path}: {status}");
    }
}

/// Everything in a directory and below, with what it is.
fn files_in(directory: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(directory).expect("readable").flatten() {
        let path = entry.path();
        let bytes = entry.metadata().expect("there").len();
        let is_small = bytes < 4096 && path.is_file();
        let content = if is_small {
            fs::read(&path).unwrap_or_default()
        } else {
            Vec::new()
        };
        found.insert(format!("{}: {content:?}", path.display()));
        if path.is_dir() {
            found.extend(files_in(&path));
        }
    }
    found
}

#[test]
fn names_that_lead_elsewhere_name_nothing() {
    let (_origin, larder) = house();
    let token = token(&larder);
    let canary = larder.directory().join("canary");
    fs::create_dir(&canary).expect("made");
    fs::write(canary.join("file"), "still here").expect("written");
    let outside = || files_in(&canary);
    let objects = || larder.told(&["ls", "--json"]);
    let (before, files) = (objects(), outside());
    let path = canary.display().to_string();
    let host = FAMILY[0];
    let selectors = [
        format!("url=file://{path}/file"),
        format!("url={path}/file"),
        "url=http://".to_owned(),
        "url=".to_owned(),
        "url=%00".to_owned(),
        format!("url=http://{host}"),
        format!("url=http://{host}/../../../../..{path}/file"),
        format!("url=http://{host}/..%2f..%2f..%2f..{path}"),
        format!("url=http://{host}/%2e%2e/%2e%2e{path}"),
        format!("url=http://{host}{PATH}/.."),
        format!("url=http://{host}/x/..{PATH}"),
        format!("url=http://{host}{PATH}%00"),
        format!("url=http://{host}{PATH}%0d%0a"),
        format!("url=http://user@{host}{PATH}x"),
        format!("url=http://{host}\\..\\..{path}"),
        format!("prefix=http://{host}/../"),
        format!("prefix=http://{host}{PATH}/../"),
        "prefix=..%2f".to_owned(),
        format!("prefix={path}"),
        "prefix=%00".to_owned(),
        "host=*".to_owned(),
        "host=..".to_owned(),
        "host=%25".to_owned(),
        format!("host={host}%00"),
        format!("host=.{}", host.split_once('.').expect("a dot").1),
        format!("host={host}/../other"),
        "content=..%2f..%2fetc%2fpasswd".to_owned(),
        format!("content={path}"),
        "content=-1".to_owned(),
        "content=0".to_owned(),
        "content=ffffffffffffffffffffffff".to_owned(),
        "content=%2e".to_owned(),
        "all=false".to_owned(),
        "all=TRUE".to_owned(),
        "all=1".to_owned(),
        "all=".to_owned(),
        String::new(),
        format!("url=http://{host}/{}", "a".repeat(8000)),
        "pinned=true".to_owned(),
        "all=true&all=false".to_owned(),
        "all=true&host=x".to_owned(),
        "store=/etc&all=true".to_owned(),
    ];
    let calls = [
        "purge", "pin", "verify", "pause", "resume", "cancel", "object", "objects",
    ];
    for selector in &selectors {
        for call in calls {
            let reads = call.starts_with("object");
            let method = if reads { "GET" } else { "POST" };
            let more = match call {
                "pin" if !selector.contains("pinned") => "&pinned=true",
                _ => "",
            };
            let head = format!(
                "{method} /api/v1/{call}?{selector}{more} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                larder.admin()
            );
            let answer = ask(larder.admin(), &head).expect("an answer");
            let said = String::from_utf8_lossy(&answer.body).into_owned();
            let right = matches!(answer.status, 200 | 400 | 404 | 409 | 414 | 431);
            assert!(right, "{head}{}\n{said}", answer.head);
            assert!(!said.contains("still here"), "{head}{said}");
            assert!(!said.contains("root:"), "{head}{said}");
        }
    }
    assert_eq!(objects(), before);
    assert_eq!(outside(), files);
}

#[test]
fn strangers_on_the_admin_address_make_room() {
    let _alone = alone();
    let mut larder = Larder::start(&Setup::default());
    let admin = larder.admin();
    let files = format!("/proc/{}/fd", larder.process().pid());
    let open = || fs::read_dir(&files).expect("it runs").count();
    let before = open();
    let count = sockets(3_000);
    let half = "GET /metrics HTTP/1.1\r\nHost: x\r\n";
    let mut crowd = Vec::new();
    for number in 0..count {
        let mut stream = connect("127.0.0.1", admin, None);
        // Some are cut before they have said it.
        if number % 2 == 0 {
            let _ = stream.write_all(half.as_bytes());
        }
        crowd.push(stream);
    }
    let left = eventually("those that say nothing make room", || {
        let left = open().saturating_sub(before);
        (left <= 300).then_some(left)
    });
    assert!(left > 0, "they were there");
    // Whoever has something to say is heard.
    larder.told(&["ls"]);
    assert!(larder.metrics().contains("larder_build_info"));
    drop(crowd);
}
