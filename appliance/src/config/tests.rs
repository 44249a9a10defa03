//! Every kind of mistake in a file, with the exact place and the advice that it gets.

use super::*;
use larder_net::http::tls::{PairError, PairFiles};
use std::path::PathBuf;

mod coordinator;
mod crowds;
mod import;
mod limits;
mod links;
mod policy;
mod table;

fn machine() -> Machine {
    Machine {
        memory_bytes: 8 << 30,
        store: PathBuf::from("/home/op/.local/share/larder"),
        readable: |path| match path.starts_with("/there") {
            true => Ok(()),
            false => Err(std::io::ErrorKind::NotFound.into()),
        },
        secret: |path| match path.to_str() {
            Some("/etc/larder/short.key") => Ok("short\n".to_owned()),
            _ => Ok("0123456789abcdef0123456789abcdef\n".to_owned()),
        },
        pair: |files| match (
            files.cert.starts_with("/there"),
            files.key.starts_with("/there"),
        ) {
            (true, true) => Ok(()),
            (cert, _) => Err(PairError::Unreadable {
                path: if cert {
                    files.key.clone()
                } else {
                    files.cert.clone()
                },
                why: "not there".to_owned(),
            }),
        },
        others_may_read: |path| path.ends_with("open"),
        credentials_directory: None,
        variable: |name| (name == "DRIVE").then(|| "/mnt/d".to_owned()),
        no_proxy: String::new(),
    }
}

fn errors(text: &str) -> String {
    match check(text, &machine()) {
        Ok(checked) => panic!("accepted: {checked:?}"),
        Err(problems) => Problems::new("f", text, problems).to_string(),
    }
}

fn accepted(text: &str) -> Checked {
    check(text, &machine())
        .unwrap_or_else(|problems| panic!("{}", Problems::new("f", text, problems)))
}

#[test]
fn each_mistake_has_its_place_and_its_advice() {
    let cases: &[(&str, &str)] = &[
        // Not TOML at all, keys that are not there, the wrong table.
        (
            "[server]\nhttp = [\"0.0.0.0:80\"\nsite = \"b\"\n",
            "f:3:1: not TOML: missing comma between array elements, expected `,`; see https://toml.io for the form",
        ),
        (
            "[server]\nsite = \"a\"\nsite = \"b\"\n",
            "f:3:1: not TOML: duplicate key; see https://toml.io for the form",
        ),
        (
            "[sever]\n",
            "f:1:2: sever: is not known; did you mean server?",
        ),
        (
            "[server]\nhtpp = []\n",
            "f:2:1: server.htpp: is not known; did you mean http?",
        ),
        (
            "[log]\nfile = \"x\"\n",
            "f:2:1: log.file: is not known; take it out, or use one of: format, level",
        ),
        (
            "[policy]\nDODownloadMod = 1\n",
            "f:2:1: policy.DODownloadMod: is not known; did you mean DODownloadMode?",
        ),
        (
            "[policy]\nCacheHost = \"x\"\n",
            "f:2:1: policy.CacheHost: is not known; did you mean DOCacheHost?",
        ),
        (
            "[policy]\nRemoteCache = \"x\"\n",
            "f:2:1: policy.RemoteCache: is not known; take it out",
        ),
        (
            "server = 1\n",
            "f:1:10: server: is of type integer; write a table, as in [server]",
        ),
        (
            "[discovery]\nmdns = true\n",
            "f:2:1: discovery.mdns: is not known; take it out, or use one of: dns_sd",
        ),
        // Values of the wrong type.
        (
            "[privacy]\nclients = \"none\"\n",
            "f:2:11: privacy.clients: \"none\" is no way to show clients; write \"full\", \"subnet\" or \"hashed\"",
        ),
        (
            "[privacy]\nretention_hours = 0\n",
            "f:2:19: privacy.retention_hours: 0 is out of range; write a whole number from 1 to 8760, in hours",
        ),
        (
            "[discovery]\ndns_sd = \"on\"\n",
            "f:2:10: discovery.dns_sd: is of type string; write true or false",
        ),
        (
            "[server]\nhttp = \"0.0.0.0:80\"\n",
            "f:2:8: server.http: is of type string; write [\"0.0.0.0:80\", \"[::]:80\"]",
        ),
        (
            "[server]\nhttp = [80]\n",
            "f:2:9: server.http: holds a value of type integer; write strings, as in [\"0.0.0.0:80\", \"[::]:80\"]",
        ),
        (
            "[server]\npeer = \"7680\"\n",
            "f:2:8: server.peer: \"7680\" is no address; write an address and a port, as in \"0.0.0.0:7680\", or \"\" to \
             serve no peers",
        ),
        (
            "[server]\ncache_status = \"yes\"\n",
            "f:2:16: server.cache_status: is of type string; write true or false",
        ),
        (
            "[server]\nmemory_bytes_max = 1.5\n",
            "f:2:20: server.memory_bytes_max: is of type float; write a size, as in \"2GiB\", \"500MB\" or a number of bytes",
        ),
        // Values of the right type that can not be meant.
        (
            "[server]\nadmin = \"localhost:80\"\n",
            "f:2:9: server.admin: \"localhost:80\" is no address; write an address and a port, as in \"127.0.0.1:9180\"",
        ),
        (
            "[server]\nhttp = []\n",
            "f:2:8: server.http: names no address; write [\"0.0.0.0:80\", \"[::]:80\"]",
        ),
        (
            "[server]\nhttp = [\"127.0.0.1:80\"]\nadmin = \"127.0.0.1:80\"\n",
            "f:3:9: server.admin: 127.0.0.1:80 is named twice; write another port",
        ),
        (
            "[server]\nmemory_bytes_max = \"2 gigs\"\n",
            "f:2:20: server.memory_bytes_max: \"2 gigs\" is no size; write a size, as in \"2GiB\", \"500MB\" or a number of bytes",
        ),
        (
            "[server]\nmemory_bytes_max = \"1MiB\"\n",
            "f:2:20: server.memory_bytes_max: 1048576 bytes are too few to run; write at least \"128MiB\"",
        ),
        (
            "[server]\nsite = \"a\\u0007\"\n",
            "f:2:8: server.site: is no short name; write at most 64 printable characters",
        ),
        (
            "[server]\ndriver = \"uring\"\n",
            "f:2:10: server.driver: \"uring\" is no driver; write \"auto\", \"io_uring\" or \"epoll\"",
        ),
        (
            "[server]\nshards = -1\n",
            "f:2:10: server.shards: -1 is out of range; write a whole number from 0 to 256, in threads (0: one for each core)",
        ),
        (
            "[server]\nadmin_names = [\"http://x\"]\n",
            "f:2:16: server.admin_names: \"http://x\" is no host name; write the name alone, as in \"larder.example.org\"",
        ),
        (
            "[store]\npaths = []\n",
            "f:2:9: store.paths: names no directory; write [\"/var/lib/larder\"]",
        ),
        (
            "[store]\npaths = [\"cache\"]\n",
            "f:2:10: store.paths: \"cache\" is no whole path; write it from the root, as in [\"/var/lib/larder\"]",
        ),
        (
            "[store]\npaths = [\"/a\", \"/a\"]\n",
            "f:2:16: store.paths: \"/a\" is named twice; write each disk's directory once",
        ),
        (
            "[store]\npaths = [\"/a\"]\n[policy]\nDOModifyCacheDrive = \"/b\"\n",
            "f:2:9: store.paths: is set, and so is policy.DOModifyCacheDrive; write only one of them",
        ),
        (
            "[origins]\nallow = [\"*\"]\n",
            "f:2:10: origins.allow: \"*\" would make an open proxy; name the domains that clients may fetch from",
        ),
        (
            "[origins]\nallow = [\"*.example.org\", \"http://x/\"]\n",
            "f:2:27: origins.allow: \"http://x/\" is no host; write the host alone, as in \"*.windowsupdate.com\"",
        ),
        (
            "[origins]\ndefault = \"127.0.0.1:8000\"\n",
            "f:2:11: origins.default: \"127.0.0.1:8000\" is no origin; write scheme, host and port alone, as in \"http://127.0.0.1:8000\"",
        ),
        (
            "[origins]\ndefault = \"http://0x7f.1\"\n",
            "f:2:11: origins.default: \"0x7f.1\" looks like an address; write it plainly",
        ),
        (
            "[origins.connect]\n\"a.example\" = \"127.0.0.1\"\n",
            "f:2:15: origins.connect.\"a.example\": \"127.0.0.1\": the target has no port; write host:port",
        ),
        (
            "[origins.connect]\n\"a.example\" = \"ftp://127.0.0.1:21\"\n",
            "f:2:15: origins.connect.\"a.example\": \"ftp://127.0.0.1:21\": the target is none; write host:port, http://host:port or https://host:port",
        ),
        (
            "[origins.connect]\n\"a.example\" = 8000\n",
            "f:2:15: origins.connect.\"a.example\": is of type integer; write where to connect, as in \"127.0.0.1:8000\"",
        ),
        (
            "[origins]\nimmutable = [\"Content\"]\n",
            "f:2:14: origins.immutable: \"Content\" has no path; write host/path, as in \"wsus.example/Content/*\"",
        ),
        (
            "[origins]\nca_file = \"ca.pem\"\n",
            "f:2:11: origins.ca_file: \"ca.pem\" is no whole path; write it from the root, as in \"/etc/larder/ca.pem\"",
        ),
        (
            "[origins]\nca_file = \"/gone.pem\"\n",
            "f:2:11: origins.ca_file: \"/gone.pem\" cannot be read: entity not found; name a PEM file that larder may read",
        ),
        (
            "[origins]\nproxy = \"proxy:3128\"\n",
            "f:2:9: origins.proxy: \"proxy:3128\" is no proxy; write scheme, host and port, as in \"http://proxy.example.org:3128\"",
        ),
        (
            "[origins]\nproxy = \"http://u:secret@proxy:3128\"\n",
            "f:2:9: origins.proxy: \"http://...@proxy:3128\" holds a user name; write user:password into a file and name it by proxy_credentials_file",
        ),
        (
            "[origins]\nproxy = \"http://proxy:3128\"\nno_proxy = [\"a.corp\", \"10.0.0.0/33\"]\n",
            "f:3:23: origins.no_proxy: \"10.0.0.0/33\" is no host, suffix or network; write as in \"wsus.corp\", \".corp\" or \"10.0.0.0/8\"",
        ),
        (
            "[origins]\nproxy = \"http://proxy:3128\"\nproxy_credentials_file = \"/gone\"\n",
            "f:3:26: origins.proxy_credentials_file: \"/gone\" cannot be read: entity not found; name a file that larder may read",
        ),
        (
            "[origins]\nproxy = \"http://proxy:3128\"\nproxy_credentials_file = \"etc/login\"\n",
            "f:3:26: origins.proxy_credentials_file: \"etc/login\" is no whole path; write it from the root, or the bare name of a systemd credential (LoadCredential=)",
        ),
        (
            "[policy]\nDODownloadMode = 7\n",
            "f:2:18: policy.DODownloadMode: 7 is none of its values; write 0 (HTTP only), 1 (LAN), 2 (group), 3 (Internet), 99 (simple) or 100 (bypass)",
        ),
        (
            "[policy]\nDOMaxCacheSize = 101\n",
            "f:2:18: policy.DOMaxCacheSize: 101 is out of range; write a whole number from 1 to 100, in percent of the drive",
        ),
        (
            "[policy]\nDOMaxCacheAge = \"3d\"\n",
            "f:2:17: policy.DOMaxCacheAge: is of type string; write a whole number from 0 to 4294967295, in seconds (0: unlimited)",
        ),
        (
            "[policy]\nDOGroupID = \"branch\"\n",
            "f:2:13: policy.DOGroupID: \"branch\" is no GUID; write a GUID, as in \"7f8d2c3e-0b1a-4c5d-9e6f-0123456789ab\"",
        ),
        (
            "[policy]\nDOModifyCacheDrive = \"D:\"\n",
            "f:2:22: policy.DOModifyCacheDrive: \"D:\" is no whole path on this system; write a folder, as in \"/var/lib/larder\"",
        ),
        (
            "[policy]\nDOSetHoursToLimitBackgroundDownloadBandwidth = { from = 8 }\n",
            "f:2:48: policy.DOSetHoursToLimitBackgroundDownloadBandwidth: is not complete; write { from = 8, to = 17, inside = 20, outside = 100 }",
        ),
        (
            "[policy]\nDOSetHoursToLimitBackgroundDownloadBandwidth = { from = 25, to = 17, inside = 20, outside = 0 }\n",
            "f:2:57: policy.DOSetHoursToLimitBackgroundDownloadBandwidth.from: 25 is out of range; write a whole number from 0 to 23, in hours",
        ),
        (
            "[log]\nformat = \"xml\"\n",
            "f:2:10: log.format: \"xml\" is no format; write \"text\" or \"json\"",
        ),
        (
            "[log]\nlevel = \"loud=very\"\n",
            "f:2:9: log.level: \"loud=very\" is no level; write \"error\", \"warn\", \"info\" or \"debug\", or as in \"info,larder_net=debug\"",
        ),
    ];
    let mut wrong = Vec::new();
    for (text, expected) in cases {
        let told = errors(text);
        if told != *expected {
            wrong.push(format!(
                "{text}\n  told:     {told}\n  expected: {expected}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn all_mistakes_of_a_file_are_told_in_their_order() {
    let text = "[server]\nsiet = 1\nadmin = \"x\"\n[policy]\nDOMaxCacheSize = 0\n";
    let places: Vec<String> = errors(text)
        .lines()
        .map(|line| line.split(' ').next().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(places, ["f:2:1:", "f:3:9:", "f:5:18:"]);
}

#[test]
fn an_empty_file_gives_the_documented_defaults() {
    let checked = accepted("");
    assert_eq!(checked.http, ["[::]:8080".parse().expect("an address")]);
    assert_eq!(checked.admin.to_string(), "127.0.0.1:9180");
    assert_eq!(checked.metrics, None);
    assert_eq!(checked.memory_bytes_max, 2 << 30);
    assert_eq!(
        checked.store_paths,
        [PathBuf::from("/home/op/.local/share/larder")]
    );
    assert_eq!(checked.store_bytes_max.percent, 80);
    assert_eq!(checked.store_bytes_max.absolute, None);
    assert_eq!(checked.age_max_s, 0);
    assert!(checked.settings.cache_status);
    assert!(
        checked
            .settings
            .rules
            .allows(false, "7.au.download.windowsupdate.com", 80)
    );
    assert!(!checked.settings.rules.allows(false, "example.org", 80));
    assert!(checked.warnings.is_empty(), "{:?}", checked.warnings);
}

#[test]
fn peers_are_served_at_their_port_unless_the_file_says_otherwise() {
    let peer = |text: &str| accepted(text).peer;
    let at = |text: &str| text.parse().expect("an address");
    assert_eq!(peer(""), PeerAddress::IfFree(at("[::]:7680")));
    assert_eq!(peer("[server]\npeer = \"\"\n"), PeerAddress::Nowhere);
    let named = "[server]\npeer = \"10.0.0.1:7681\"\nupload_slots_max = 3\n";
    assert_eq!(peer(named), PeerAddress::At(at("10.0.0.1:7681")));
    assert_eq!(accepted(named).settings.upload_slots_max, 3);
    assert_eq!(accepted("").settings.upload_slots_max, 0, "all of them");
    let led_in = accepted("[server]\npeer_external_port = 17680\n").settings;
    assert_eq!(led_in.peer_external_port, Some(17_680));
}

#[test]
fn what_the_store_can_obey_is_taken_from_the_policy() {
    let checked = accepted(
        "[policy]\nDOAbsoluteMaxCacheSize = 3\nDOMaxCacheAge = 60\nDOModifyCacheDrive = \"/srv/do\"\n",
    );
    let percent = accepted("[policy]\nDOMaxCacheSize = 10\n").store_bytes_max;
    assert_eq!((percent.percent, percent.absolute), (10, None));
    assert_eq!(checked.store_bytes_max.absolute, Some(3 << 30));
    assert_eq!(checked.age_max_s, 60);
    assert_eq!(checked.store_paths, [PathBuf::from("/srv/do")]);
    let drive = accepted("[policy]\nDOModifyCacheDrive = \"%DRIVE%/do\"\n");
    assert_eq!(drive.store_paths, [PathBuf::from("/mnt/d/do")]);
    let told = errors("[policy]\nDOModifyCacheDrive = \"%SystemDrive%\"\n");
    assert!(
        told.contains("\"%SystemDrive%\": the variable SystemDrive is not set in larder's environment; set it, or write a folder"),
        "{told}"
    );
    assert!(checked.warnings.is_empty(), "{:?}", checked.warnings);
}

#[test]
fn what_has_no_effect_yet_is_told() {
    let checked = accepted(
        "[server]\npeer = \"0.0.0.0:7680\"\nmemory_bytes_max = \"1TiB\"\n\
         [coordinator]\nmode = \"embedded\"\n\
         [policy]\nDODownloadMode = 1\nDOMaxUploadBandwidth = 100\nDOMonthlyUploadDataCap = 5\n",
    );
    let told: Vec<&str> = checked
        .warnings
        .iter()
        .filter_map(|warning| warning.split(' ').next())
        .collect();
    assert_eq!(told, ["server.memory_bytes_max"]);
}

#[test]
fn certificates_are_alone_or_in_lists_of_pairs() {
    let pair = |cert: &str, key: &str| PairFiles {
        cert: PathBuf::from(cert),
        key: PathBuf::from(key),
    };
    let alone = accepted(
        "[server]\nhttps = [\"0.0.0.0:443\"]\n[tls]\ncert = \"/there/c\"\nkey = \"/there/k\"\n",
    );
    assert_eq!(alone.https, ["0.0.0.0:443".parse().expect("an address")]);
    assert_eq!(alone.tls, [pair("/there/c", "/there/k")]);
    assert!(alone.warnings.is_empty(), "{:?}", alone.warnings);
    let lists = "[tls]\ncert = [\"/there/a\", \"/there/c\"]\nkey = [\"/there/b\", \"/there/d\"]\n";
    assert_eq!(
        accepted(lists).tls,
        [pair("/there/a", "/there/b"), pair("/there/c", "/there/d")]
    );
    let https = "[server]\nhttps = [\"0.0.0.0:443\"]\n";
    for (text, told) in [
        (
            String::new(),
            "f:2:9: server.https: needs a certificate; write [tls] with cert and key, the paths of two PEM files",
        ),
        (
            "[tls]\ncert = \"/there/c\"\n".to_owned(),
            "f:4:8: tls.cert: has no key; write [tls] key, the path of its private key",
        ),
        (
            "[tls]\nkey = \"/there/k\"\n".to_owned(),
            "f:4:7: tls.key: has no certificate; write [tls] cert, the path of the certificate",
        ),
        (
            "[tls]\ncert = [\"/there/a\", \"/there/b\"]\nkey = \"/there/k\"\n".to_owned(),
            "f:5:7: tls.key: names 1 keys for 2 certificates; write one key for each certificate, in the same order",
        ),
        (
            "[tls]\ncert = \"c.pem\"\nkey = \"/there/k\"\n".to_owned(),
            "f:4:8: tls.cert: \"c.pem\" is no whole path; write it from the root, as in \"/etc/larder/cert.pem\"",
        ),
        (
            "[tls]\ncert = \"/there/c\"\nkey = \"/k\"\n".to_owned(),
            "f:5:7: tls.key: /k: not there; name a PEM file that larder may read",
        ),
        (
            "[tls]\ncert = 5\nkey = \"/there/k\"\n".to_owned(),
            "f:4:8: tls.cert: is of type integer; write the path of a PEM file, as in \"/etc/larder/cert.pem\", or a list of them",
        ),
    ] {
        let said = errors(&format!("{https}{text}"));
        assert!(
            said.lines().any(|line| line == told),
            "{told}\nbut:\n{said}"
        );
    }
}

#[test]
fn origins_are_as_they_are_written() {
    let checked = accepted(
        "[origins]\nallow = [\"*.example.org\"]\ndefault = \"https://[::1]:8443\"\nimmutable = [\"*/Content/*\"]\n\
         [origins.connect]\n\"wsus.example\" = \"http://10.0.0.5:8530\"\n",
    );
    let rules = &checked.settings.rules;
    assert!(rules.allows(false, "a.example.org", 80));
    assert!(
        !rules.allows(false, "au.download.windowsupdate.com", 80),
        "the list replaces the vendor's"
    );
    assert_eq!(rules.connect_to("wsus.example"), Some("10.0.0.5:8530"));
    let default = rules.default_origin().expect("set");
    assert_eq!(
        (default.https, default.host.as_str(), default.port),
        (true, "[::1]", 8443)
    );
    assert!(rules.lists_immutable("any.example", "/Content/x"));
}

#[test]
fn the_example_that_is_shipped_is_in_order() {
    let text = include_str!("../../../deploy/larder.toml");
    let checked = accepted(text);
    assert!(
        checked.warnings.is_empty(),
        "it promises nothing that is not there: {:?}",
        checked.warnings
    );
}

#[test]
fn a_proxy_and_what_goes_past_it() {
    let text = "[origins]\nproxy = \"http://proxy.corp:3128\"\nproxy_credentials_file = \"/there/login\"\n";
    let checked = accepted(text);
    let proxy = checked.settings.proxy.expect("a proxy");
    assert_eq!(proxy.rules.authority(), "proxy.corp:3128");
    assert_eq!(proxy.credentials_file, Some(PathBuf::from("/there/login")));
    assert!(proxy.rules.serves("wsus.corp", 80));
    assert_eq!(checked.warnings, [""; 0]);

    // The environment's exceptions count where the file has none.
    let of_environment = Machine {
        no_proxy: "wsus.corp, 10.0.0.0/8,b/a/d".to_owned(),
        ..machine()
    };
    let checked = check(text, &of_environment).expect("in order");
    let proxy = checked.settings.proxy.expect("a proxy");
    assert!(!proxy.rules.serves("wsus.corp", 80) && !proxy.rules.serves("10.1.2.3", 80));
    assert!(
        checked.warnings[0].contains("NO_PROXY"),
        "{:?}",
        checked.warnings
    );
    let own = check(&format!("{text}no_proxy = []\n"), &of_environment).expect("in order");
    let proxy = own.settings.proxy.expect("a proxy");
    assert!(proxy.rules.serves("wsus.corp", 80));

    let credential = text.replace("/there/login", "login");
    let checked = accepted(&credential);
    assert!(
        checked.warnings[0].contains("LoadCredential=login:FILE"),
        "{:?}",
        checked.warnings
    );
    let in_unit = Machine {
        credentials_directory: Some(PathBuf::from("/there/credentials")),
        ..machine()
    };
    let checked = check(&credential, &in_unit).expect("in order");
    let proxy = checked.settings.proxy.expect("a proxy");
    assert_eq!(
        proxy.credentials_file,
        Some(PathBuf::from("/there/credentials/login"))
    );

    let open = accepted(&text.replace("/there/login", "/there/open"));
    assert!(
        open.warnings[0].contains("chmod 640"),
        "{:?}",
        open.warnings
    );
    let idle = accepted("[origins]\nno_proxy = [\"a\"]\n");
    assert!(
        idle.warnings[0].contains("origins.proxy is not set"),
        "{:?}",
        idle.warnings
    );
}
