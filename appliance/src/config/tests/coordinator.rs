//! `[coordinator]`, read right and told wrong.

use super::*;
use crate::config::Coordination;

fn embedded(text: &str) -> crate::config::Embedded {
    match accepted(text).coordination {
        Coordination::Embedded(embedded) => *embedded,
        other => panic!("{other:?}"),
    }
}

fn refused(text: &str) -> Problems {
    let problems = check(text, &machine()).expect_err(text);
    Problems::new("f", text, problems)
}

#[test]
fn without_a_word_this_process_is_a_coordinator() {
    let standard = embedded("");
    assert_eq!(standard.http, ["[::]:7681".parse().expect("an address")]);
    assert!(!standard.is_asked_for && standard.redis.is_none());
    let set = embedded(
        "[coordinator]\nmode = \"embedded\"\nhttp = [\"127.0.0.1:9000\"]\nbackend = \"redis://a:7000, b:7001\"\n\
         heartbeat_secs = 10\ncalls_per_minute = 60\nrecord_bytes_max = \"1MiB\"\n\
         [coordinator.sites]\nberlin = [\"10.1.0.0/16\", \"2001:db8::/48\"]\n\
         [coordinator.groups]\n\"7F8D2C3E-0b1a-4c5d-9e6f-0123456789ab\" = \"/etc/larder/group.key\"\n\
         [coordinator.publishers.vendor]\nkey_file = \"/etc/larder/vendor.key\"\ntrust = \"verified\"\n\
         [coordinator.publishers.branch]\nkey_file = \"/etc/larder/branch.key\"\n\
         group = \"7f8d2c3e-0b1a-4c5d-9e6f-0123456789ab\"\n",
    );
    assert_eq!(set.http, ["127.0.0.1:9000".parse().expect("an address")]);
    assert_eq!(set.redis.expect("Redis").nodes, ["a:7000", "b:7001"]);
    assert_eq!(set.service.heartbeat_secs, 10);
    assert_eq!(set.service.limits.peer_ttl.as_secs(), 15);
    assert_eq!(
        set.service.groups[0].name(),
        "7f8d2c3e-0b1a-4c5d-9e6f-0123456789ab"
    );
    let told: Vec<_> = set
        .service
        .publishers
        .iter()
        .map(|one| (one.key.name(), one.may_verify, one.group.is_some()))
        .collect();
    assert_eq!(told, [("branch", false, true), ("vendor", true, false)]);
    assert!(matches!(
        accepted("[coordinator]\nmode = \"off\"\n").coordination,
        Coordination::Off
    ));
    let remote = accepted(
        "[coordinator]\nurl = \"https://larder.example.org:7681\"\npublisher = \"branch\"\npublisher_key_file = \"/etc/larder/branch.key\"\n",
    );
    let Coordination::Remote(options) = remote.coordination else {
        panic!("asks another");
    };
    assert_eq!(options.publisher_key.expect("a key").name(), "branch");
}

#[test]
fn what_is_wrong_with_a_coordinator_is_told_with_its_place() {
    for (text, place, part) in [
        (
            "mode = \"alone\"\n",
            "2:8: coordinator.mode",
            "\"embedded\" or \"off\"",
        ),
        (
            "mode = \"embedded\"\nurl = \"http://a\"\n",
            "3:7: coordinator.url",
            "only one of them",
        ),
        (
            "url = \"larder:7681\"\n",
            "2:7: coordinator.url",
            "http://larder.example.org:7681",
        ),
        (
            "backend = \"redis://a\"\n",
            "2:11: coordinator.backend",
            "redis://host:port",
        ),
        (
            "backend = \"postgres://a:1\"\n",
            "2:11: coordinator.backend",
            "redis://host:port",
        ),
        (
            "heartbeat_secs = 1\n",
            "2:18: coordinator.heartbeat_secs",
            "from 5 to 3600",
        ),
        (
            "peer_ttl_secs = 20\n",
            "2:17: coordinator.peer_ttl_secs",
            "more than 30",
        ),
        (
            "publisher = \"a\"\n",
            "2:13: coordinator.publisher",
            "publisher_key_file",
        ),
        (
            "[coordinator.sites]\nberlin = [\"10.1\"]\n",
            "3:11: coordinator.sites.\"berlin\"",
            "no network",
        ),
        (
            "[coordinator.sites]\nberlin = \"10.1.0.0/16\"\n",
            "3:10: coordinator.sites.\"berlin\"",
            "is of type string",
        ),
        (
            "[coordinator.groups]\nx = \"/etc/larder/group.key\"\n",
            "3:5: coordinator.groups.\"x\"",
            "no GUID",
        ),
        (
            "[coordinator.publishers.a]\ntrust = \"verified\"\n",
            "2:25: coordinator.publishers.a",
            "has no key",
        ),
        (
            "[coordinator.publishers.a]\nkey_file = \"key\"\n",
            "3:12: coordinator.publishers.a.key_file",
            "no whole path",
        ),
        (
            "[coordinator.publishers.a]\nkey_file = \"/etc/larder/short.key\"\n",
            "3:12: coordinator.publishers.a.key_file",
            "at least 16",
        ),
        (
            "[coordinator.publishers.a]\nkey_file = \"/etc/larder/a.key\"\ntrust = \"full\"\n",
            "4:9: coordinator.publishers.a.trust",
            "\"attested\"",
        ),
        (
            "[coordinator.publishers.a]\nkey_file = \"/etc/larder/a.key\"\nhost = 1\n",
            "4:1: coordinator.publishers.a.host",
            "is not known",
        ),
    ] {
        let text = format!("[coordinator]\n{text}");
        let told = refused(&text).to_string();
        let found = told
            .lines()
            .any(|line| line.contains(place) && line.contains(part));
        assert!(found, "{text}\n{told}");
    }
}
