//! Origins behind Debian's Squid. The rule: every byte is compared, and Squid's own log says what went through it.

mod rig;

use rig::fetch::{Answer, Get};
use rig::larder::{Larder, SIGNED, Setup};
use rig::nginx::{Nginx, PORT};
use rig::squid::{self, Squid};
use rig::{assert_same, eventually, have, pki, real_bytes};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// A name that Squid alone can resolve.
const HOST: &str = "files.test";
const TLS_PORT: u16 = 8443;
const MIB: usize = 1 << 20;

/// An origin by http and https, Squid before it, and the certificates.
struct Site {
    nginx: Nginx,
    squid: Squid,
    of_squid: squid::Setup,
    certificates: TempDir,
    content: Vec<u8>,
}

impl Site {
    /// None where a program is missing.
    fn start(adjust: impl FnOnce(&mut squid::Setup, &Path)) -> Option<Self> {
        if !have(&["nginx", "squid", "openssl"]) {
            return None;
        }
        let certificates = tempfile::tempdir().expect("a directory");
        let directory = certificates.path();
        pki::authority(directory, "origin");
        pki::certificate(directory, "origin", HOST);
        let shown = directory.display();
        let nginx = Nginx::with_locations(&format!(
            "listen @IP@:{TLS_PORT} ssl; ssl_certificate {shown}/host.crt; ssl_certificate_key {shown}/host.key;"
        ));
        let content = real_bytes(5 * MIB + 77);
        nginx.put("/big", &content);
        for name in ["a", "b", "c", "d", "e"] {
            nginx.put(&format!("/small/{name}"), name.as_bytes());
        }
        let mut of_squid = squid::Setup {
            hosts: vec![(HOST, nginx.ip())],
            ..squid::Setup::default()
        };
        adjust(&mut of_squid, directory);
        let squid = Squid::start(&of_squid);
        Some(Self {
            nginx,
            squid,
            of_squid,
            certificates,
            content,
        })
    }

    /// A larder that asks by Squid, with more lines in its `[origins]`.
    fn larder(&self, more: &str) -> Larder {
        let origins = format!(
            "allow = [\"{HOST}:{PORT}\", \"{HOST}:{TLS_PORT}\"]\nproxy = \"{}\"\n{more}\n\
             [origins.connect]\n\"{SIGNED}\" = \"{}\"\n",
            self.squid.url(),
            self.nginx.address()
        );
        Larder::start(&Setup {
            origins,
            ..Setup::default()
        })
    }

    fn trusting(&self, authority: &str) -> String {
        let file = self.certificates.path().join(authority);
        format!("ca_file = {file:?}")
    }

    /// Asks for ranges, for all, and again from the store, by that scheme.
    fn all_is_right(&self, larder: &Larder, base: &str) {
        for (first, last) in [(2 * MIB, 3 * MIB - 1), (10, 20), (5 * MIB, 5 * MIB + 76)] {
            let get = Get::new(larder.http(), &format!("{base}/big"));
            let answer = get
                .range(first as u64, last as u64)
                .run()
                .expect("an answer");
            assert_eq!(answer.status, 206, "{}", said(&answer));
            assert_same(&answer.body, &self.content[first..=last], "a range");
        }
        for _ in 0..2 {
            let whole = Get::new(larder.http(), &format!("{base}/big"));
            let whole = whole.run().expect("an answer");
            assert_eq!(whole.status, 200, "{}", said(&whole));
            assert_same(&whole.body, &self.content, "the whole");
        }
    }
}

fn said(answer: &Answer) -> String {
    let body = &answer.body[..answer.body.len().min(500)];
    format!("{}{}", answer.head, String::from_utf8_lossy(body))
}

fn http() -> String {
    format!("http://{HOST}:{PORT}")
}

fn https() -> String {
    format!("https://{HOST}:{TLS_PORT}")
}

/// The answer to a small object is this error, in words that hold all of these.
fn is_told(larder: &Larder, url: &str, words: &[&str]) {
    let answer = Get::new(larder.http(), url).run().expect("an answer");
    assert_eq!(answer.status, 502, "{}", said(&answer));
    assert_eq!(answer.field_in_any_case("proxy-authenticate"), None);
    let text = said(&answer);
    for word in words {
        assert!(text.contains(word), "{word:?} is missing in: {text}");
    }
}

#[test]
fn http_and_https_origins_are_asked_by_the_proxy() {
    let Some(mut site) = Site::start(|_, _| {}) else {
        return;
    };
    let mut larder = site.larder(&site.trusting("origin.pem"));
    site.all_is_right(&larder, &http());
    for name in ["a", "b", "c", "d", "e"] {
        let url = format!("{}/small/{name}", http());
        let small = Get::new(larder.http(), &url).run().expect("an answer");
        assert_eq!((small.status, small.body), (200, name.as_bytes().to_vec()));
    }
    site.all_is_right(&larder, &https());
    // What [origins.connect] names is asked past the proxy.
    let direct = larder.get(SIGNED, "/small/a").run().expect("an answer");
    assert_eq!(direct.status, 200, "{}", said(&direct));
    assert_eq!(larder.metric("larder_proxy_drops_ranges", ""), 0.0);
    let doctor = larder.command(&["doctor", "--probe", &format!("{}/big", http())]);
    let doctor = String::from_utf8_lossy(&doctor.stdout).into_owned();
    let line = doctor.lines().find(|line| line.contains("byte ranges"));
    assert!(line.is_some_and(|line| line.contains("good")), "{doctor}");
    larder.terminate();

    // A tunnel is in the log once it has ended.
    eventually("Squid tells of a tunnel", || {
        let asked = site.squid.asked();
        asked
            .iter()
            .any(|line| line.method == "CONNECT")
            .then_some(())
    });
    let asked = site.squid.asked();
    assert!(
        asked.iter().all(|line| line.url.contains(HOST)),
        "{asked:?}"
    );
    let gets = asked.iter().filter(|line| line.method == "GET");
    let gets: Vec<_> = gets.collect();
    assert!(gets.len() >= 7, "{asked:?}");
    let ports: std::collections::BTreeSet<u16> = gets.iter().map(|line| line.port).collect();
    assert!(
        ports.len() * 2 <= gets.len(),
        "connections are not kept: {asked:?}"
    );
    let sent = site.nginx.stop();
    let past: Vec<_> = sent.iter().filter(|line| line.host == SIGNED).collect();
    assert_eq!(past.len(), 1, "{sent:?}");
    let bytes: u64 = sent.iter().map(|line| line.body_bytes).sum();
    let twice = 2 * site.content.len() as u64;
    assert!(
        bytes <= twice + 100,
        "{bytes} bytes left the origin: {sent:?}"
    );
}

#[test]
fn a_password_comes_from_its_file() {
    let Some(site) = Site::start(|squid, _| squid.login = Some(("branch", "se:cret"))) else {
        return;
    };
    let file = site.certificates.path().join("login");
    fs::write(&file, "branch:wrong\n").expect("written");
    let more = format!(
        "{}\nproxy_credentials_file = {file:?}",
        site.trusting("origin.pem")
    );
    let larder = site.larder(&more);
    let name = file.display().to_string();
    for _ in 0..5 {
        is_told(
            &larder,
            &format!("{}/small/a", http()),
            &["proxy", &name, "correct them there"],
        );
        is_told(
            &larder,
            &format!("{}/small/a", https()),
            &["proxy", &name, "correct them there"],
        );
    }
    let refused = site.squid.asked();
    assert_eq!(
        refused.len(),
        1,
        "a wrong password locks accounts: {refused:?}"
    );
    assert_eq!(refused[0].status, 407);
    assert!(larder.log().contains(&name), "{}", larder.log());
    assert!(!larder.log().contains("wrong"), "{}", larder.log());

    fs::write(&file, "branch:se:cret\n").expect("written");
    let dated = fs::File::options()
        .append(true)
        .open(&file)
        .expect("opened");
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(2);
    dated.set_modified(later).expect("dated");
    site.all_is_right(&larder, &http());
    site.all_is_right(&larder, &https());
    assert!(larder.log().contains("works again"), "{}", larder.log());
}

#[test]
fn a_proxy_that_asks_for_a_password_in_vain_is_told_of() {
    let Some(site) = Site::start(|squid, _| squid.login = Some(("branch", "secret"))) else {
        return;
    };
    let larder = site.larder(&site.trusting("origin.pem"));
    for base in [http(), https()] {
        let words = ["asks for a user name", "[origins] proxy_credentials_file"];
        is_told(&larder, &format!("{base}/small/a"), &words);
    }
}

#[test]
fn what_is_excepted_does_not_go_to_the_proxy() {
    let Some(site) = Site::start(|_, _| {}) else {
        return;
    };
    let larder = site.larder("no_proxy = [\".example\", \"files.test\"]");
    // Nobody but Squid knows the name.
    is_told(
        &larder,
        &format!("{}/small/a", http()),
        &["resolving files.test"],
    );
    assert_eq!(site.squid.asked(), []);
    // A reload is enough to change that.
    let config = fs::read_to_string(larder.config()).expect("its own");
    fs::write(
        larder.config(),
        config.replace("\"files.test\"]", "\"x.test\"]"),
    )
    .expect("written");
    let reloaded = Get::new(larder.admin(), "/api/v1/status")
        .run()
        .expect("an answer");
    assert_eq!(reloaded.status, 200);
    let mut larder = larder;
    larder.process().signal("HUP");
    eventually("the proxy is asked", || {
        let url = format!("{}/small/b", http());
        let answer = Get::new(larder.http(), &url).run().ok()?;
        (answer.status == 200 && answer.body == b"b").then_some(())
    });
}

#[test]
fn a_proxy_that_is_down_is_named_and_what_is_stored_is_served() {
    let Some(mut site) = Site::start(|_, _| {}) else {
        return;
    };
    let larder = site.larder("");
    let immutable = format!("{}/big", http());
    let whole = Get::new(larder.http(), &immutable)
        .run()
        .expect("an answer");
    assert_eq!(whole.status, 200, "{}", said(&whole));
    site.squid.stop();
    let proxy = site.squid.url().replace("http://", "");
    is_told(
        &larder,
        &format!("{}/small/a", http()),
        &[&proxy, "can not be reached"],
    );
    is_told(
        &larder,
        &format!("{}/small/a", https()),
        &[&proxy, "can not be reached"],
    );
    let again = Get::new(larder.http(), &immutable)
        .run()
        .expect("an answer");
    assert_same(&again.body, &site.content, "what is stored");
    assert!(larder.metric("larder_proxy_failures_total", "") >= 2.0);
    let ready = Get::new(larder.admin(), "/readyz")
        .run()
        .expect("an answer");
    assert!(
        said(&ready).contains("can not be reached"),
        "{}",
        said(&ready)
    );
    site.squid.resume(&site.of_squid);
    eventually("it is asked again", || {
        let url = format!("{}/small/c", http());
        let answer = Get::new(larder.http(), &url).run().ok()?;
        (answer.status == 200).then_some(())
    });
    // An origin that is down behind it is told as well, and is no trouble of the proxy's.
    site.nginx.stop();
    is_told(
        &larder,
        &format!("{}/small/d", https()),
        &["opens no tunnel", "503"],
    );
    let ready = Get::new(larder.admin(), "/readyz").run();
    let ready = said(&ready.expect("an answer"));
    assert!(!ready.contains("tunnel"), "{ready}");
}

#[test]
fn a_proxy_that_drops_ranges_is_seen_and_every_byte_is_right() {
    let Some(mut site) = Site::start(|squid, _| squid.drops_ranges = true) else {
        return;
    };
    let larder = site.larder("");
    site.all_is_right(&larder, &http());
    assert_eq!(
        larder.metric("larder_proxy_drops_ranges", "scheme=\"http\""),
        1.0
    );
    let warnings = larder.log().matches("takes byte ranges out").count();
    assert_eq!(warnings, 1, "{}", larder.log());
    let url = format!("{}/big", http());
    let doctor = larder.command(&["doctor", "--probe", &url]);
    let text = String::from_utf8_lossy(&doctor.stdout).into_owned();
    let line = text
        .lines()
        .find(|line| line.contains("byte ranges through the proxy"));
    assert!(line.is_some_and(|line| line.contains("BAD")), "{text}");
    assert!(!doctor.status.success());

    // It lets them through again: that is seen as well.
    site.of_squid.drops_ranges = false;
    site.squid.resume(&site.of_squid);
    eventually("ranges get through", || {
        let get = Get::new(larder.http(), &format!("{url}?again")).range(0, 9);
        let answer = get.run().ok()?;
        let metric = larder.metric("larder_proxy_drops_ranges", "scheme=\"http\"");
        (answer.status == 206 && metric == 0.0).then_some(())
    });
}

#[test]
fn a_proxy_that_looks_into_tls_needs_its_authority_named() {
    let bumping = |squid: &mut squid::Setup, directory: &Path| {
        let (_, both) = pki::authority(directory, "inspector");
        squid.bump = Some((both, directory.join("origin.pem")));
    };
    if !have(&["/usr/lib/squid/security_file_certgen"]) {
        return;
    }
    let Some(site) = Site::start(bumping) else {
        return;
    };
    let larder = site.larder(&site.trusting("origin.pem"));
    is_told(
        &larder,
        &format!("{}/small/a", https()),
        &["TLS", "[origins] ca_file"],
    );
    drop(larder);
    let larder = site.larder(&site.trusting("inspector.pem"));
    site.all_is_right(&larder, &https());
    // Inside the tunnel it sees the requests themselves.
    let asked = site.squid.asked();
    let seen = asked
        .iter()
        .any(|line| line.method == "GET" && line.url.starts_with("https://"));
    assert!(seen, "{asked:?}");
}
