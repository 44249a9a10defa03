//! `larder fleet` against forty appliances. The rule: they are processes of the program, each on an address of its own.

use crate::rig::certificates::Authority;
use crate::rig::fetch::Get;
use crate::rig::process::Process;
use crate::rig::{address, eventually, have, tell};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

const APPLIANCES: usize = 40;
const DOWN: usize = 7;
const DRIFTED: usize = 19;
const EXPIRES: usize = 33;
const DEGRADED: usize = 38;

fn start(number: usize, folder: &Path, at: Ipv4Addr, pair: &str) -> Process {
    let home = folder.join(number.to_string());
    fs::create_dir_all(home.join("store")).expect("made");
    let text = format!(
        "[server]\nhttp = [\"{at}:8080\"]\nhttps = [\"{at}:8443\"]\npeer = \"{at}:7680\"\nadmin = \"{at}:9180\"\n\
         metrics = \"{at}:9181\"\nsite = \"site-{number}\"\nshards = 1\nmemory_bytes_max = \"128MiB\"\n{pair}\
         [store]\npaths = [{:?}]\n[coordinator]\nmode = \"off\"\n[policy]\nDOMaxCacheAge = {}\n",
        home.join("store"),
        if number == DRIFTED { 3600 } else { 0 },
    );
    let config = home.join("larder.toml");
    fs::write(&config, text).expect("written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    command.arg("serve").arg("--config").arg(config);
    command.env_remove("LISTEN_FDS").env_remove("NOTIFY_SOCKET");
    Process::start(&mut command, &home.join("log"))
}

/// Five days from now, as openssl writes it.
fn in_five_days() -> String {
    let output = Command::new("date")
        .args(["-u", "-d", "+5 days +1 hour", "+%Y%m%d%H%M%SZ"])
        .output()
        .expect("date runs");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn fleet(inventory: &Path, more: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    command.args(["fleet", "--inventory"]).arg(inventory);
    let output = command.args(more).output().expect("larder runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), said)
}

#[test]
fn of_forty_the_ones_in_trouble_are_named() {
    if !have(&["openssl", "date"]) {
        return;
    }
    let folder = tempfile::tempdir().expect("a directory");
    let authority = Authority::new();
    authority.issue_good("good", &["larder.example"]);
    authority.issue(
        "short",
        &["larder.example"],
        "20200101000000Z",
        &in_five_days(),
    );
    let addresses: Vec<Ipv4Addr> = (0..APPLIANCES).map(|_| address()).collect();
    let mut running = Vec::new();
    let mut inventory = String::from("# name, metrics address\n");
    for (number, at) in addresses.iter().enumerate() {
        inventory.push_str(&format!("office-{number} http://{at}:9181\n"));
        if number != DOWN {
            let pair = authority.table(&[if number == EXPIRES { "short" } else { "good" }]);
            // The table may only come after [server], whose keys are above it.
            running.push(start(number, folder.path(), *at, &pair));
        }
    }
    for (number, at) in addresses.iter().enumerate() {
        if number != DOWN {
            eventually("an appliance is ready", || {
                let answer = Get::new(SocketAddr::from((*at, 9181)), "/metrics").run();
                (answer.ok()?.status == 200).then_some(())
            });
        }
    }
    // Its file gets a mistake, so that a reload fails.
    let broken = folder.path().join(DEGRADED.to_string()).join("conf.d");
    fs::create_dir(&broken).expect("made");
    fs::write(broken.join("50-typo.toml"), "[server]\nsite = 7\n").expect("written");
    running[DEGRADED - 1].signal("HUP");
    eventually("the reload has failed", || {
        running[DEGRADED - 1]
            .said()
            .contains("50-typo.toml:2:8: server.site")
            .then_some(())
    });
    let list = folder.path().join("inventory");
    fs::write(&list, inventory).expect("written");

    let began = Instant::now();
    let (code, said) = fleet(&list, &[]);
    tell(&format!(
        "forty appliances asked in {} ms",
        began.elapsed().as_millis()
    ));
    assert_eq!(code, Some(1), "{said}");
    for number in 0..APPLIANCES {
        let name = format!("office-{number}");
        let line = said
            .lines()
            .find(|line| line.split_whitespace().next() == Some(&name));
        let line = line.unwrap_or_else(|| panic!("no line of {name}:\n{said}"));
        let expected = match number {
            DOWN => "UNREACHABLE: ",
            DRIFTED => "DRIFTED: ",
            EXPIRES => "CERTIFICATE expires in 5 days",
            DEGRADED => "DEGRADED: its configuration file has a mistake",
            _ => "ok",
        };
        assert!(line.contains(expected), "{expected} is not in: {line}");
        if number != DOWN {
            assert!(line.contains(&format!("site-{number} ")), "{line}");
            assert!(line.contains(env!("CARGO_PKG_VERSION")), "{line}");
        }
    }

    let (code, said) = fleet(&list, &["--json"]);
    assert_eq!(code, Some(1), "{said}");
    let found: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    let found = found.as_array().expect("a list");
    assert_eq!(found.len(), APPLIANCES);
    assert!(found[DOWN]["unreachable"].is_string(), "{}", found[DOWN]);
    assert_eq!(found[DRIFTED]["drifted"], true);
    assert_eq!(found[EXPIRES]["certificate_days"], 5);
    let well = found
        .iter()
        .filter(|one| one["troubles"] == serde_json::json!([]));
    assert_eq!(well.count(), APPLIANCES - 4);

    // One that takes connections and says nothing costs no more than the patience.
    let mute = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let mute = mute.local_addr().expect("its address");
    let list = folder.path().join("inventory.toml");
    let text = format!(
        "[[appliance]]\nname = \"mute\"\nurl = \"http://{mute}\"\n\
         [[appliance]]\nname = \"well\"\nadmin = \"http://{}:9180\"\n",
        addresses[0]
    );
    fs::write(&list, text).expect("written");
    let (code, said) = fleet(&list, &["--timeout", "1"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("UNREACHABLE: no answer within 1 s"), "{said}");
    assert!(
        said.lines()
            .any(|line| line.starts_with("well") && line.ends_with("ok")),
        "{said}"
    );

    fs::write(&list, "[[appliance]]\nname = \"a\"\n").expect("written");
    let (code, said) = fleet(&list, &[]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("inventory.toml:1: "), "{said}");
}
