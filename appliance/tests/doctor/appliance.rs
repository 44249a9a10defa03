//! Faults of the appliance itself, its files and its clients.

use super::report::{appliance, look, look_hastily, origin, rewrite};
use super::rig::fetch::Get;
use super::rig::larder::{FAMILY, PEER_PORT};
use super::rig::{eventually, have, root};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("its owner");
}

#[test]
fn one_that_hangs_is_told_from_one_that_is_not_there() {
    if !have(&["nginx"]) {
        return;
    }
    let nginx = origin();
    let mut larder = appliance(&nginx, |_| {});
    look(&larder).is_well("appliance");
    let pid = larder.process().pid().to_string();
    larder.process().signal("STOP");
    eventually("it is stopped", || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.contains(") T ").then_some(())
    });
    let report = look_hastily(&larder);
    report.turned(
        "appliance",
        "bad",
        &["does not answer", "is stopped", "kill -CONT"],
        &[],
    );
    larder.process().signal("CONT");
    eventually("it answers again", || {
        (look(&larder).grade("appliance") == "good").then_some(())
    });
    larder.kill();
    look(&larder).turned(
        "appliance",
        "bad",
        &["no appliance answers", "is it running?"],
        &[],
    );
}

#[test]
fn files_that_others_may_read_or_change_are_told() {
    if !have(&["nginx"]) {
        return;
    }
    let nginx = origin();
    let larder = appliance(&nginx, |_| {});
    let (config, token) = (
        larder.config(),
        larder.directory().join("store/admin.token"),
    );
    let report = look(&larder);
    report.is_well("token");
    report.is_well("config-mode");
    chmod(&config, 0o666);
    look(&larder).turned("config-mode", "bad", &["may change", "chmod o-w"], &[]);
    chmod(&config, 0o664);
    chmod(larder.directory(), 0o777);
    look(&larder).turned("config-mode", "bad", &["may change"], &[]);
    chmod(larder.directory(), 0o700);
    chmod(&config, 0o644);
    look(&larder).is_well("config-mode");
    chmod(&token, 0o644);
    look(&larder).turned("token", "bad", &["may read", "chmod 600"], &[]);
    chmod(&token, 0o600);
    fs::write(&token, "0".repeat(64)).expect("written");
    look(&larder).turned(
        "token",
        "bad",
        &["does not take that of", "--token-file"],
        &[],
    );
    fs::remove_file(&token).expect("removed");
    look(&larder).turned("token", "bad", &["No such file"], &[]);
    // A clock that went back is seen by what was written before.
    let touched = Command::new("touch")
        .args(["-d", "+2 hours"])
        .arg(&config)
        .status();
    assert!(touched.expect("touch").success());
    look(&larder).turned(
        "clock",
        "bad",
        &["behind the last change", "NTP"],
        &["token"],
    );
    rewrite(&larder, "[server]", "[server]\nhtpp = 1");
    look(&larder).turned("config", "bad", &["htpp", "check-config"], &[]);
}

#[test]
fn ports_that_are_not_open_are_told() {
    if !have(&["nginx"]) {
        return;
    }
    let nginx = origin();
    let larder = appliance(&nginx, |_| {});
    let report = look(&larder);
    report.is_well("port-http");
    // It listens on loopback alone, as all of this test does.
    report.turned("port-peer", "fair", &["of no other"], &[]);
    let of_peers = format!("peer = \"{}\"", larder.peer());
    let elsewhere = of_peers.replace(&PEER_PORT.to_string(), "7690");
    rewrite(&larder, &of_peers, &elsewhere);
    look(&larder).turned("port-peer", "bad", &["7690", "does not accept"], &[]);
    rewrite(&larder, &elsewhere, "peer = \"\"");
    look(&larder).turned("port-peer", "fair", &["served nowhere"], &[]);
    rewrite(&larder, ":8080\"]", ":8090\"]");
    look(&larder).turned("port-http", "bad", &["8090", "does not accept"], &[]);
}

#[test]
fn clients_that_have_left_are_told_with_why() {
    if !have(&["nginx"]) {
        return;
    }
    let nginx = origin();
    let larder = appliance(&nginx, |_| {});
    let report = look(&larder);
    report.is_well("hosts-refused");
    report.turned("clients", "fair", &["nobody has asked", "DOCacheHost"], &[]);
    nginx.put("/there", b"something");
    let good = larder.get(FAMILY[0], "/there").run().expect("an answer");
    assert_eq!(good.status, 200);
    look(&larder).is_well("clients");
    let gone = larder.get(FAMILY[0], "/gone").run().expect("an answer");
    assert_eq!(gone.status, 404);
    look(&larder).turned(
        "clients",
        "fair",
        &[
            "127.",
            "leave this cache alone for",
            FAMILY[0],
            "14 min more",
            "404",
        ],
        &[],
    );
    let other = Get::new(larder.http(), "/x?cacheHostOrigin=other.example").run();
    assert_eq!(other.expect("an answer").status, 403);
    let report = look(&larder);
    report.turned(
        "clients",
        "fair",
        &["other.example", "[origins] allow"],
        &[],
    );
    report.turned("hosts-refused", "fair", &["other.example"], &[]);
}

#[test]
fn one_elsewhere_is_looked_at_by_its_admin_address_alone() {
    if !have(&["nginx"]) {
        return;
    }
    let nginx = origin();
    let larder = appliance(&nginx, |_| {});
    let admin = format!("http://{}", larder.admin());
    let look = |more: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_larder"))
            .args(["doctor", "--json", "--timeout", "60", "--admin", &admin])
            .args(more)
            .output();
        super::report::Report::of(&output.expect("larder runs"))
    };
    let report = look(&[]);
    report.is_well("appliance");
    report.is_well("token");
    assert_eq!(report.grade("store"), "", "of its disks nothing is known");
    let wrong = larder.directory().join("wrong");
    fs::write(&wrong, "1".repeat(64)).expect("written");
    chmod(&wrong, 0o600);
    let report = look(&["--token-file", &wrong.to_string_lossy()]);
    report.turned("token", "bad", &["does not take"], &[]);
}

#[test]
fn a_clock_that_is_set_is_told() {
    if !root("to let time be told otherwise") || !have(&["nginx", "unshare"]) {
        return;
    }
    let nginx = origin();
    let folder = tempfile::tempdir().expect("a folder");
    let uptime = folder.path().join("uptime");
    let ahead = Arc::new(AtomicU32::new(0));
    let tell = {
        let (ahead, uptime) = (Arc::clone(&ahead), uptime.clone());
        move || {
            let up = fs::read_to_string("/proc/uptime").expect("the time since the start");
            let up = up.split(' ').next().and_then(|up| up.parse::<f64>().ok());
            let told = up.expect("seconds") + f64::from(ahead.load(Ordering::Relaxed));
            fs::write(&uptime, format!("{told:.2} 1.00\n"))
        }
    };
    tell().expect("written");
    // It ends with the folder.
    thread::spawn(move || {
        while tell().is_ok() {
            thread::park_timeout(Duration::from_millis(50));
        }
    });
    // The clock is the whole machine's. So it is the other one that this appliance is told otherwise.
    let script = format!(
        "mount --bind {} /proc/uptime && exec \"$@\"",
        uptime.display()
    );
    let through = ["unshare", "--mount", "sh", "-c", &script, "sh"];
    let larder = appliance(&nginx, |setup| {
        setup.through = through.map(str::to_owned).to_vec();
    });
    assert_eq!(larder.metric("larder_clock_steps_total", ""), 0.0);
    let report = eventually("it is seen", || {
        // Again and again, since the first look compares with nothing.
        ahead.fetch_add(7200, Ordering::Relaxed);
        let report = look(&larder);
        (report.grade("clock") != "good").then_some(report)
    });
    report.turned(
        "clock",
        "fair",
        &["it was set", "times since the start", "NTP"],
        &[],
    );
}
