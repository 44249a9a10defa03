//! The command line and the admin address, as administrators use them. The rule: what is said of an object is what a
//! client sees of it.

mod rig;

use rig::fetch::Get;
use rig::larder::{FAMILY, Larder, PLAIN, Setup};
use rig::{assert_same, have, house};
use std::io::Write;
use std::process::{Command, Stdio};

const MIB: usize = 1 << 20;

#[test]
fn objects_are_listed_described_and_purged() {
    if !have(&["nginx"]) {
        return;
    }
    let (mut nginx, larder) = house();
    let wanted = rig::real_bytes(3 * MIB + 1);
    let path = nginx.put_named(&wanted);
    nginx.put("/office/stream.dat", &wanted[..MIB]);
    for (host, path) in [(FAMILY[0], path.as_str()), (PLAIN, "/office/stream.dat")] {
        let answer = larder.get(host, path).run().expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.head);
    }
    let url = format!("http://{}{path}", FAMILY[0]);
    let other = format!("http://{PLAIN}/office/stream.dat");
    let list = rig::eventually("both objects are listed", || {
        let list = larder.told(&["ls"]);
        (list.contains(&url) && list.contains(&other)).then_some(list)
    });
    assert!(list.lines().count() >= 2, "{list}");
    let json: serde_json::Value =
        serde_json::from_str(&larder.told(&["ls", "--json"])).expect("JSON");
    assert!(json.to_string().contains(&url), "{json}");
    let described = larder.told(&["stat", &url]);
    assert!(described.contains(&wanted.len().to_string()), "{described}");
    larder.told(&["purge", &url]);
    assert!(!larder.told(&["ls"]).contains(&url));
    assert!(larder.told(&["ls"]).contains(&other));
    assert!(!larder.command(&["stat", &url]).status.success());
    nginx.body_bytes();
    let answer = larder.get(FAMILY[0], &path).run().expect("an answer");
    assert_same(&answer.body, &wanted, "after the purge");
    assert_eq!(
        answer.field("X-Cache-Status"),
        Some("MISS"),
        "{}",
        answer.head
    );
    assert_eq!(nginx.body_bytes(), wanted.len() as u64);
}

#[test]
fn figures_are_in_order_and_add_up() {
    if !have(&["nginx", "promtool"]) {
        return;
    }
    let (nginx, larder) = house();
    let wanted = rig::real_bytes(2 * MIB);
    nginx.put("/figures.cab", &wanted);
    for _ in 0..3 {
        let answer = larder.get(PLAIN, "/figures.cab").run().expect("an answer");
        assert_same(&answer.body, &wanted, "the file");
    }
    rig::eventually("three answers are counted", || {
        (larder.metric("larder_http_served_total", "") >= 3.0).then_some(())
    });
    let sent = larder.metric("larder_http_response_bytes_total", "");
    assert_eq!(sent, 3.0 * wanted.len() as f64);
    assert_eq!(
        larder.metric("larder_origin_bytes_total", ""),
        wanted.len() as f64
    );
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool runs");
    let mut input = promtool.stdin.take().expect("a pipe");
    input.write_all(larder.metrics().as_bytes()).expect("sent");
    drop(input);
    let output = promtool.wait_with_output().expect("promtool ends");
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn clients_are_told_with_what_they_got_and_why_they_left() {
    if !have(&["nginx"]) {
        return;
    }
    let (nginx, larder) = house();
    let wanted = rig::real_bytes(MIB);
    nginx.put("/book.cab", &wanted);
    let named = nginx.put_named(&wanted);
    // Served by the service that takes over, and by a shard thread.
    for (round, (host, path)) in [(PLAIN, "/book.cab"), (FAMILY[0], named.as_str())]
        .into_iter()
        .enumerate()
    {
        for _ in 0..2 {
            let answer = larder.get(host, path).run().expect("an answer");
            assert_eq!(answer.status, 200, "{}", answer.head);
        }
        let requests = 2 * (round + 1);
        let told = rig::eventually("both answers are noted", || {
            let told = clients(&larder);
            (told["clients"][0]["requests"] == requests).then_some(told)
        });
        let one = &told["clients"][0];
        assert_eq!(one["client"], "127.0.0.1", "{told}");
        assert_eq!(one["object"], format!("http://{host}{path}"), "{told}");
        let bytes = |of: &str| one[of].as_u64().expect("a number");
        let all = (requests * MIB) as u64;
        assert_eq!(
            bytes("bytes_from_store") + bytes("bytes_fetched"),
            all,
            "{told}"
        );
        assert_eq!(bytes("bytes_from_store"), all / 2, "{told}");
    }
    let told = clients(&larder);
    let one = &told["clients"][0];
    assert!(one["banned"].is_null(), "{told}");
    assert_eq!(told["never_connected"]["clients"], "unknown");
    let answer = larder.get("evil.example", "/x").run().expect("an answer");
    assert_eq!(answer.status, 403);
    let told = rig::eventually("the refusal is noted", || {
        let told = clients(&larder);
        (!told["clients"][0]["banned"].is_null()).then_some(told)
    });
    let one = &told["clients"][0];
    assert_eq!(one["banned"]["host"], "evil.example", "{told}");
    let until = one["banned"]["until_unix"].as_u64().expect("a number");
    let since = one["banned"]["since_unix"].as_u64().expect("a number");
    assert!((899..=901).contains(&(until - since)), "{told}");
    let why = one["skips"].to_string();
    assert!(why.contains("evil.example"), "{told}");
}

#[test]
fn addresses_are_shown_no_further_than_allowed() {
    for (setting, expected) in [("subnet", "127.0.0.0/24"), ("hashed", "client-")] {
        let larder = Larder::start(&Setup {
            more: if setting == "subnet" {
                "[privacy]\nclients = \"subnet\"\n"
            } else {
                "[privacy]\nclients = \"hashed\"\n"
            },
            ..Setup::default()
        });
        let answer = larder.get("evil.example", "/x").run().expect("an answer");
        assert_eq!(answer.status, 403);
        let told = rig::eventually("the client is noted", || {
            let told = clients(&larder);
            (told["clients"][0]["requests"] == 1).then_some(told)
        });
        let client = told["clients"][0]["client"].as_str().expect("text");
        assert!(client.starts_with(expected), "{told}");
        assert!(!told.to_string().contains("127.0.0.1"), "{told}");
        assert!(!larder.log().contains("127.0.0.1"), "{}", larder.log());
    }
}

fn clients(larder: &Larder) -> serde_json::Value {
    let answer = Get::new(larder.admin(), "/api/v1/clients")
        .run()
        .expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.head);
    serde_json::from_slice(&answer.body).expect("JSON")
}

#[test]
fn health_is_told_on_the_admin_address() {
    let larder = Larder::start(&Setup::default());
    for path in ["/healthz", "/readyz", "/metrics"] {
        let answer = Get::new(larder.admin(), path).run().expect("an answer");
        assert_eq!(answer.status, 200, "{path}: {}", answer.head);
    }
    let answer = Get::new(larder.http(), "/metrics")
        .run()
        .expect("an answer");
    assert_eq!(
        answer.status, 403,
        "figures are not for clients: {}",
        answer.head
    );
}

#[test]
fn a_configuration_is_checked_without_being_used() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("larder.toml");
    let check = |text: &str| {
        std::fs::write(&file, text).expect("written");
        let output = Command::new(env!("CARGO_BIN_EXE_larder"))
            .arg("check-config")
            .arg(&file)
            .output()
            .expect("larder runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        (output.status.code(), said)
    };
    let (code, said) = check("[server]\nhttp = [\"127.0.0.1:8080\"]\n");
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = check("[server]\nhttp = [\"127.0.0.1:8080\"]\nmemory = \"1GiB\"\n");
    assert_eq!(code, Some(1), "{said}");
    let place = format!("{}:3:1", file.display());
    assert!(said.contains(&place), "no {place} in {said}");
    assert!(said.contains("memory_bytes_max"), "{said}");
}
