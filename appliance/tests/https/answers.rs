//! What is answered by https. The rule: it is what http answers, byte for byte.

use crate::rig::certificates::Authority;
use crate::rig::fetch::{Answer, Get, download};
use crate::rig::larder::{FAMILY, Larder, PLAIN, Setup};
use crate::rig::nginx::Nginx;
use crate::rig::secure::Client;
use crate::rig::{self, assert_same, eventually, have};
use crate::{MIB, NAME, get, secure_house};
use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;

/// An answer without what may differ between two moments.
fn comparable(answer: &Answer) -> (u16, Vec<String>, &[u8]) {
    let passing = ["Date: ", "Age: "];
    let lines = answer.head.lines().map(str::to_owned);
    let head = lines.filter(|line| !passing.iter().any(|name| line.starts_with(name)));
    (answer.status, head.collect(), &answer.body)
}

/// Ranges, conditions, methods and mistakes: each is asked for by http and by https.
fn the_same_as_by_http(driver: &'static str) {
    if !have(&["nginx", "openssl"]) {
        return;
    }
    let (authority, nginx, larder) = secure_house(driver);
    let len = 3 * MIB + 4321;
    let wanted = rig::real_bytes(len);
    let path = nginx.put_named(&wanted);
    nginx.put("/plain/small", &wanted[..777]);
    let target = format!("{path}?cacheHostOrigin={}", FAMILY[0]);
    let first = Get::new(larder.http(), &target).run().expect("an answer");
    assert_same(&first.body, &wanted, "the first, by http");
    let tag = first.field("ETag").expect("an ETag").to_owned();
    let modified = first.field("Last-Modified").expect("a date").to_owned();
    let conditions = [
        format!("If-None-Match: {tag}"),
        "If-None-Match: \"other\"".to_owned(),
        "If-None-Match: *".to_owned(),
        format!("If-Match: {tag}"),
        "If-Match: \"other\"".to_owned(),
        format!("If-Modified-Since: {modified}"),
        "If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT".to_owned(),
        format!("If-Unmodified-Since: {modified}"),
        "If-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT".to_owned(),
        format!("If-Range: {tag}"),
        "If-Range: \"other\"".to_owned(),
        format!("If-Range: {modified}"),
        "Cache-Control: no-cache".to_owned(),
        "Cache-Control: only-if-cached".to_owned(),
    ];
    let ranges = [
        "bytes=0-0",
        "bytes=0-1048575",
        "bytes=1048576-2097151",
        "bytes=1048575-1048576",
        "bytes=-1",
        "bytes=-5000",
        "bytes=3145728-",
        "bytes=0-99999999",
        "bytes=99999999-",
        "bytes=5-2",
        "bytes=0-9,20-29",
        "bytes=0-1100000,2000000-2000009,-77",
        "bytes=0-9,99999999-",
        "lines=1-2",
    ];
    let mut requests = Vec::new();
    let mut add = |more: &dyn Fn(Get) -> Get| {
        requests.push(more(Get::new(larder.http(), &target)));
        requests.push(more(Get::new(larder.http(), &target).head_only()));
    };
    add(&|get| get);
    for range in ranges {
        let range = format!("Range: {range}");
        add(&|get| get.with(&range));
    }
    for condition in &conditions {
        add(&|get| get.with(condition));
        add(&|get| get.with(condition).with("Range: bytes=1048570-1048580"));
    }
    requests.push(Get::new(larder.http(), "/c?cacheHostOrigin=evil.example"));
    requests.push(Get::new(larder.http(), "/c?cacheHostOrigin=a@b"));
    requests.push(Get::new(larder.http(), "/missing").host(NAME));
    requests.push(Get::new(larder.http(), "/plain/small").host(NAME));
    requests.push(
        Get::new(larder.http(), "/plain/small")
            .host(NAME)
            .range(700, 900),
    );
    let client = Client::new(&authority);
    let mut secure = client.connect(larder.https(), NAME).expect("a handshake");
    // Twice, so that what is not stored before is found stored by either.
    for turn in ["first", "second"] {
        for request in &requests {
            let plain = request.run().expect("an answer by http");
            let by_tls = request.run_on(&mut secure).expect("an answer by https");
            let (plain, by_tls) = (comparable(&plain), comparable(&by_tls));
            assert_eq!(by_tls.0, plain.0, "{turn}, {request:?}");
            if turn == "second" {
                assert_eq!(by_tls.1, plain.1, "{turn}, {request:?}");
            }
            assert_same(by_tls.2, plain.2, &format!("{turn}, {request:?}"));
        }
    }
    assert!(larder.metric("larder_http_served_total", "tls") >= 2.0 * requests.len() as f64);
    assert_eq!(larder.metric("larder_tls_connections", ""), 1.0);
    drop(secure);
    eventually("the connection is closed", || {
        (larder.metric("larder_tls_connections", "") == 0.0).then_some(())
    });
}

#[test]
fn https_answers_what_http_answers() {
    the_same_as_by_http("auto");
}

#[test]
fn https_answers_what_http_answers_where_io_uring_is_refused() {
    the_same_as_by_http("epoll");
}

#[test]
fn curl_fetches_from_an_https_origin_cold_and_warm() {
    if !have(&["nginx", "openssl", "curl"]) {
        return;
    }
    let authority = Authority::new();
    authority.issue_good("first", &[NAME]);
    authority.issue_good("origin", &[PLAIN]);
    let origin = SocketAddr::from((rig::address(), 8001));
    let nginx = Nginx::with_locations(&format!(
        "listen {origin} ssl; ssl_certificate {:?}; ssl_certificate_key {:?};",
        authority.file("origin.pem"),
        authority.file("origin.key"),
    ));
    let larder = Larder::start(&Setup {
        origin: Some(origin),
        origins: format!("ca_file = {:?}\n", authority.ca()),
        tls: authority.table(&["first"]),
        ..Setup::default()
    });
    let file = rig::real_file();
    let wanted = fs::read(&file).expect("the real file");
    nginx.link("/office.cab", &file);
    let ca = authority.ca().display().to_string();
    let resolve = format!("{NAME}:{}:{}", larder.https().port(), larder.https().ip());
    let url = format!(
        "https://{NAME}:{}/office.cab?cacheHostOrigin={PLAIN}",
        larder.https().port()
    );
    let into = larder.directory().join("fetched");
    for (turn, version) in [
        ("cold", "--tlsv1.3"),
        ("warm", "--tlsv1.3"),
        ("by 1.2", "--tls-max=1.2"),
    ] {
        let arguments = ["--cacert", &ca, "--resolve", &resolve, "--http2", version];
        let version = version.replace("--tls-max=1.2", "--tls-max");
        let mut arguments: Vec<&str> = arguments.to_vec();
        arguments[5] = &version;
        if version == "--tls-max" {
            arguments.push("1.2");
        }
        download("curl", &arguments, &url, &into);
        assert_same(&fs::read(&into).expect("fetched"), &wanted, turn);
    }
    let client = Client::new(&authority);
    let mut stream = client.connect(larder.https(), NAME).expect("a handshake");
    let target = format!("/office.cab?cacheHostOrigin={PLAIN}");
    let again = get(&larder, &target)
        .run_on(&mut stream)
        .expect("an answer");
    assert_eq!(again.field("X-Cache-Status"), Some("HIT"), "{}", again.head);
}

#[test]
fn a_miss_by_https_is_asked_of_an_origin_that_speaks_plain_http() {
    if !have(&["nginx", "openssl"]) {
        return;
    }
    for spoken in ["http://", ""] {
        let authority = Authority::new();
        authority.issue_good("first", &[NAME]);
        let nginx = Nginx::start();
        let larder = Larder::start(&Setup {
            origin: Some(nginx.address()),
            spoken,
            tls: authority.table(&["first"]),
            ..Setup::default()
        });
        let wanted = rig::real_bytes(MIB + 77);
        nginx.put("/office.cab", &wanted);
        let client = Client::new(&authority);
        let mut stream = client.connect(larder.https(), NAME).expect("a handshake");
        let target = format!("/office.cab?cacheHostOrigin={PLAIN}");
        for turn in ["cold", "warm"] {
            let answer = get(&larder, &target)
                .run_on(&mut stream)
                .expect("an answer");
            if spoken.is_empty() {
                // Asked by https, it does not understand a word.
                assert_eq!(answer.status, 502, "{turn}, {}", answer.head);
            } else {
                assert_eq!(answer.status, 200, "{turn}, {}", answer.head);
                assert_same(&answer.body, &wanted, turn);
            }
        }
    }
}

#[test]
fn who_does_not_read_takes_no_memory() {
    if !have(&["nginx", "openssl"]) {
        return;
    }
    let (authority, nginx, mut larder) = secure_house("auto");
    let len = 24 * MIB;
    let wanted = rig::real_bytes(len);
    let path = nginx.put_named(&wanted);
    let request = Get::new(larder.https(), &path).host(FAMILY[0]);
    Get::new(larder.http(), &path)
        .host(FAMILY[0])
        .run()
        .expect("it is fetched");
    let client = Client::new(&authority);
    let mut warm = client.connect(larder.https(), NAME).expect("a handshake");
    request.run_on(&mut warm).expect("an answer");
    let pid = larder.process().pid();
    let anonymous = || -> usize {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("RssAnon:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        kib.map_or(0, |kib: usize| kib * 1024)
    };
    let before = anonymous();
    let text = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", FAMILY[0]);
    let mut lazy: Vec<_> = (0..40)
        .map(|_| {
            let mut stream = client.connect(larder.https(), NAME).expect("a handshake");
            stream.get_mut().write_all(text.as_bytes()).expect("sent");
            stream
        })
        .collect();
    eventually("all are being answered", || {
        (larder.metric("larder_http_connections", "") >= 41.0).then_some(())
    });
    for stream in &mut lazy {
        // The first byte of each: it is under way, and what follows fills what there is to fill.
        stream.get_mut().read_exact(&mut [0]).expect("a byte");
    }
    let after = anonymous();
    let each = after.saturating_sub(before) / lazy.len();
    assert!(each < 512 << 10, "{each} bytes for each of them");
    // They are not forgotten: the first one reads on, to the last byte.
    let mut rest = vec![0; len];
    let mut stream = lazy.swap_remove(0);
    let mut head = vec![b'H'];
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a byte");
        head.push(byte[0]);
    }
    stream.read_exact(&mut rest).expect("all of it");
    assert_same(&rest, &wanted, "who read late");
}

#[test]
fn a_stop_ends_idle_connections_in_good_order() {
    if !have(&["nginx", "openssl"]) {
        return;
    }
    let (authority, nginx, mut larder) = secure_house("auto");
    nginx.put("/x", b"bytes");
    let client = Client::new(&authority);
    let mut stream = client.connect(larder.https(), NAME).expect("a handshake");
    get(&larder, "/x")
        .host("x")
        .run_on(&mut stream)
        .expect("an answer");
    larder.process().signal("TERM");
    // An end without a word (close_notify) would be an error here.
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("an end in good order");
    assert!(rest.is_empty());
    let status = larder.process().wait();
    assert!(status.success(), "{status}");
}

#[test]
fn what_is_asked_for_twice_by_https_alone_is_kept_in_memory() {
    if !have(&["nginx", "openssl"]) {
        return;
    }
    let (authority, nginx, mut larder) = secure_house("auto");
    let wanted = rig::real_bytes(3 * MIB + 77);
    let path = rig::larder::named_path(&wanted);
    nginx.put(&path, &wanted);
    Get::new(larder.http(), &path)
        .host(FAMILY[0])
        .run()
        .expect("it is fetched");
    // After a start all of it is on disk alone.
    larder.terminate();
    larder.resume();
    let client = Client::new(&authority);
    let mut stream = client.connect(larder.https(), NAME).expect("a handshake");
    let request = get(&larder, &path).host(FAMILY[0]);
    for turn in 0..3 {
        let answer = request.run_on(&mut stream).expect("an answer");
        assert_eq!(answer.field("X-Cache-Status"), Some("HIT"));
        assert_same(&answer.body, &wanted, &format!("turn {turn}"));
    }
    let bytes = |source| larder.metric("larder_http_response_bytes_total", source);
    assert_eq!(bytes("disk"), wanted.len() as f64, "the first time");
    assert_eq!(bytes("memory"), 2.0 * wanted.len() as f64, "after it");
}
