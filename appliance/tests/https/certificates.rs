//! Which certificate clients are shown. The rule: nobody who is served notices that it is renewed.

use crate::rig::certificates::{Authority, replace};
use crate::rig::fetch::Get;
use crate::rig::larder::{FAMILY, Larder, Setup};
use crate::rig::secure::{Client, shown};
use crate::rig::{self, assert_same, eventually, have};
use crate::{MIB, NAME, s_client, secure_house};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// The certificate in a file, as it is sent.
fn der(authority: &Authority, name: &str) -> Vec<u8> {
    let file = authority.file(&format!("{name}.pem"));
    CertificateDer::from_pem_file(file).expect("one").to_vec()
}

#[test]
fn the_certificate_is_chosen_by_the_name_that_is_asked_for() {
    if !have(&["nginx", "openssl"]) {
        return;
    }
    let authority = Authority::new();
    authority.issue_good("first", &[NAME, "127.0.0.1"]);
    authority.issue_good("second", &["*.site.example", "cache.example"]);
    authority.issue_good("third", &["berlin.site.example"]);
    let larder = Larder::start(&Setup {
        tls: authority.table(&["first", "second", "third"]),
        ..Setup::default()
    });
    let client = Client::new(&authority);
    for (name, wanted) in [
        (NAME, "first"),
        ("127.0.0.1", "first"),
        ("cache.example", "second"),
        ("paris.site.example", "second"),
        ("berlin.site.example", "third"),
    ] {
        let stream = client.connect(larder.https(), name).expect(name);
        assert_eq!(shown(&stream), der(&authority, wanted), "{name}");
    }
    let stranger = client.connect(larder.https(), "unknown.example");
    let refused = stranger.expect_err("the first one, which does not bear that name");
    assert!(
        refused.to_string().contains("not valid for name"),
        "{refused}"
    );
}

#[test]
fn a_renewed_certificate_is_taken_under_load_and_nobody_notices() {
    if !have(&["nginx", "openssl"]) {
        return;
    }
    let (authority, nginx, mut larder) = secure_house("auto");
    let wanted = rig::real_bytes(2 * MIB + 99);
    let path = nginx.put_named(&wanted);
    let (over, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let request = Get::new(larder.https(), &path).host(FAMILY[0]);
    let address = larder.https();
    Get::new(larder.http(), &path)
        .host(FAMILY[0])
        .run()
        .expect("it is fetched");
    let client = Client::new(&authority);
    thread::scope(|scope| {
        for number in 0..4 {
            let (client, request) = (&client, &request);
            let (over, answered, wanted) = (&over, &answered, &wanted);
            scope.spawn(move || {
                let mut kept = client.connect(address, NAME).expect("a handshake");
                while !over.load(Ordering::Relaxed) {
                    let answer = match number % 2 {
                        0 => request.run_on(&mut kept),
                        _ => client
                            .connect(address, NAME)
                            .and_then(|mut new| request.run_on(&mut new)),
                    };
                    let answer = answer.expect("no connection is lost");
                    assert_same(&answer.body, wanted, "under load");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // Whatever fails here must end the others, too.
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for turn in 0..3 {
                let then = answered.load(Ordering::Relaxed);
                eventually("clients are served", || {
                    (answered.load(Ordering::Relaxed) > then + 4).then_some(())
                });
                let name = format!("renewed-{turn}");
                authority.issue_good(&name, &[NAME]);
                replace(&authority, &name, "first");
                let kept = der(&authority, &name);
                larder.process().signal("HUP");
                eventually("the new certificate is shown", || {
                    // Without a ticket: a resumed connection shows the certificate of its first one.
                    let new = Client::new(&authority);
                    let stream = new.connect(address, NAME).expect("a handshake");
                    (shown(&stream) == kept).then_some(())
                });
            }
        }));
        over.store(true, Ordering::Relaxed);
        done.expect("as above");
    });
    assert!(
        larder
            .log()
            .contains("certificates were read again: larder.example"),
        "{}",
        larder.log()
    );
}

#[test]
fn files_that_change_are_seen_and_a_bad_pair_keeps_the_old_one() {
    if !have(&["nginx", "openssl"]) {
        return;
    }
    let (authority, _nginx, mut larder) = secure_house("auto");
    let served = |larder: &Larder| {
        let stream = Client::new(&authority)
            .connect(larder.https(), NAME)
            .expect("a handshake");
        shown(&stream)
    };
    let first = der(&authority, "first");
    assert_eq!(served(&larder), first);
    let good_key = fs::read(authority.file("first.key")).expect("a key");
    authority.issue_good("renewed", &[NAME]);

    // The key of another.
    fs::copy(authority.file("renewed.key"), authority.file("first.key")).expect("copied");
    larder.process().signal("HUP");
    let key = authority.file("first.key").display().to_string();
    let told = format!("{key} is not the key of");
    eventually("it is told", || larder.log().contains(&told).then_some(()));
    assert_eq!(served(&larder), first);
    let checked = Command::new(env!("CARGO_BIN_EXE_larder"))
        .arg("check-config")
        .arg(larder.config())
        .output()
        .expect("larder runs");
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(!checked.status.success(), "{said}");
    assert!(said.contains(&told) && said.contains("tls.key"), "{said}");

    // Not even a key, and nobody says that it has changed.
    fs::write(authority.file("first.key"), "nothing").expect("written");
    let told = format!("{key} holds no private key");
    eventually("it is seen and told", || {
        larder.log().contains(&told).then_some(())
    });
    assert_eq!(served(&larder), first);
    let ready = Get::new(larder.admin(), "/readyz")
        .run()
        .expect("an answer");
    let said = String::from_utf8_lossy(&ready.body).into_owned();
    assert_eq!(ready.status, 200, "{said}");
    assert!(said.contains(&told), "{said}");

    // Put right, with the new one.
    fs::write(authority.file("first.key"), good_key).expect("written");
    replace(&authority, "renewed", "first");
    let renewed = der(&authority, "renewed");
    eventually("the new one is seen", || {
        (served(&larder) == renewed).then_some(())
    });
    let ready = Get::new(larder.admin(), "/readyz")
        .run()
        .expect("an answer");
    assert_eq!(String::from_utf8_lossy(&ready.body), "ready\n");
}

#[test]
fn the_end_of_a_certificate_is_told_in_time_and_after() {
    if !have(&["nginx", "openssl"]) {
        return;
    }
    let authority = Authority::new();
    authority.issue_good("first", &[NAME]);
    authority.issue(
        "second",
        &["old.example"],
        "20200101000000Z",
        "20210101000000Z",
    );
    fs::set_permissions(
        authority.file("second.key"),
        std::os::unix::fs::PermissionsExt::from_mode(0o644),
    )
    .expect("its owner");
    let larder = Larder::start(&Setup {
        tls: authority.table(&["first", "second"]),
        // So that nobody looks for the vendor's hosts.
        origins: "allow = [\"nowhere.example:1\"]\n".to_owned(),
        ..Setup::default()
    });
    let ends = "larder_tls_certificate_not_after_seconds";
    assert_eq!(
        larder.metric(ends, "certificate=\"larder.example\""),
        2_524_607_999.0
    );
    assert_eq!(
        larder.metric(ends, "certificate=\"old.example\""),
        1_609_459_200.0
    );
    let expired = "the certificate for old.example HAS EXPIRED";
    assert!(larder.log().contains(expired), "{}", larder.log());
    assert!(
        larder.log().contains("others on this machine may read"),
        "{}",
        larder.log()
    );
    let ready = Get::new(larder.admin(), "/readyz")
        .run()
        .expect("an answer");
    assert_eq!(ready.status, 200, "its other clients are served");
    assert!(String::from_utf8_lossy(&ready.body).contains(expired));
    // It is served all the same: whether to take it is the client's to say.
    let said = s_client(&larder, &authority, "-servername old.example");
    assert!(said.contains("certificate has expired"), "{said}");
    assert!(said.contains("TLSv1.3, Cipher is"), "{said}");
    let doctor = larder.command(&["doctor"]);
    let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(
        said.contains(expired) && said.contains("certificate larder.example"),
        "{said}"
    );
}
