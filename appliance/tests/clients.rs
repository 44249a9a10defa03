//! Real clients fetch real files from a real origin through the program. The rule: every byte is compared.

mod rig;

use rig::fetch::{Get, download};
use rig::larder::{FAMILY, Larder, PLAIN, SIGNED, Setup};
use rig::nginx::Nginx;
use rig::{assert_same, have};
use std::fs;

const MIB: usize = 1 << 20;

/// curl, wget and aria2 fetch over 100 MB whole and by ranges, cold and then warm.
fn whole_files_by(driver: &'static str) {
    if !have(&["nginx", "curl", "wget", "aria2c"]) {
        return;
    }
    let nginx = Nginx::start();
    let larder = Larder::start(&Setup {
        origin: Some(nginx.address()),
        driver,
        ..Setup::default()
    });
    let file = rig::real_file();
    let wanted = fs::read(&file).expect("the real file");
    let programs: [(&str, &[&str]); 3] = [
        ("curl", &[]),
        ("wget", &["--tries=1"]),
        ("aria2c", &["-x16", "-s16", "-k1M", "--max-tries=1"]),
    ];
    for (program, arguments) in programs {
        let path = format!("/{program}/cab.cab");
        nginx.link(&path, &file);
        for turn in ["cold", "warm"] {
            let into = larder.directory().join(program);
            let _ = fs::remove_file(&into);
            download(program, arguments, &larder.url(PLAIN, &path), &into);
            let got = fs::read(&into).expect("what was downloaded");
            assert_same(&got, &wanted, &format!("{program}, {turn}"));
        }
    }
    let whole = larder.get(PLAIN, "/curl/cab.cab").run().expect("an answer");
    assert_eq!(whole.status, 200);
    assert_eq!(whole.field("X-Cache-Status"), Some("HIT"), "{}", whole.head);
}

#[test]
fn real_clients_get_whole_files() {
    whole_files_by("auto");
}

#[test]
fn real_clients_get_whole_files_where_io_uring_is_refused() {
    whole_files_by("epoll");
}

#[test]
fn curl_resumes_what_it_has() {
    if !have(&["nginx", "curl"]) {
        return;
    }
    let nginx = Nginx::start();
    let larder = Larder::start(&Setup {
        origin: Some(nginx.address()),
        ..Setup::default()
    });
    let wanted = rig::real_bytes(5 * MIB + 123);
    nginx.put("/resumed.cab", &wanted);
    let into = larder.directory().join("resumed");
    for have in [0, 1, MIB - 1, 3 * MIB + 77] {
        fs::write(&into, &wanted[..have]).expect("written");
        let url = larder.url(PLAIN, "/resumed.cab");
        download("curl", &["-C", "-"], &url, &into);
        assert_same(
            &fs::read(&into).expect("what was downloaded"),
            &wanted,
            &format!("from byte {have}"),
        );
    }
}

#[test]
fn an_origin_is_named_in_three_ways() {
    if !have(&["nginx"]) {
        return;
    }
    let nginx = Nginx::start();
    let larder = Larder::start(&Setup {
        origin: Some(nginx.address()),
        default_origin: true,
        ..Setup::default()
    });
    let wanted = rig::real_bytes(MIB + MIB / 2);
    nginx.put(
        "/filestreamingservice/files/1f0c7a52-3d1e-4b8a-9c55-6f2f0b1d7e43",
        &wanted,
    );
    nginx.put("/default/one", &wanted[1..]);
    let signed =
        "/filestreamingservice/files/1f0c7a52-3d1e-4b8a-9c55-6f2f0b1d7e43?P1=1&P2=2&P3=3&P4=a%2fb";
    let forms = [
        ("by parameter", larder.get(SIGNED, signed)),
        (
            "by the parameter in front",
            Get::new(
                larder.http(),
                &format!(
                    "/filestreamingservice/files/1f0c7a52-3d1e-4b8a-9c55-6f2f0b1d7e43?cacheHostOrigin={SIGNED}&P1=1"
                ),
            ),
        ),
        (
            "by Host",
            Get::new(
                larder.http(),
                "/filestreamingservice/files/1f0c7a52-3d1e-4b8a-9c55-6f2f0b1d7e43?P1=7",
            )
            .host(SIGNED),
        ),
        (
            "by an absolute target",
            Get::new(
                larder.http(),
                &format!(
                    "http://{SIGNED}/filestreamingservice/files/1f0c7a52-3d1e-4b8a-9c55-6f2f0b1d7e43"
                ),
            ),
        ),
    ];
    for (number, (form, get)) in forms.iter().enumerate() {
        let answer = get.run().expect("an answer");
        assert_eq!(answer.status, 200, "{form}: {}", answer.head);
        assert_same(&answer.body, &wanted, form);
        let status = if number == 0 { "MISS" } else { "HIT" };
        assert_eq!(answer.field("X-Cache-Status"), Some(status), "{form}");
    }
    let default = Get::new(larder.http(), "/default/one")
        .run()
        .expect("an answer");
    assert_eq!(default.status, 200, "{}", default.head);
    assert_same(&default.body, &wanted[1..], "by default");
}

#[test]
fn without_a_default_origin_other_hosts_are_refused() {
    if !have(&["nginx"]) {
        return;
    }
    let mut nginx = Nginx::start();
    let larder = Larder::start(&Setup {
        origin: Some(nginx.address()),
        ..Setup::default()
    });
    nginx.put("/secret", b"not for you");
    for host in ["example.org", "127.0.0.1", "windowsupdate.com.example.org"] {
        let answer = larder.get(host, "/secret").run().expect("an answer");
        assert_eq!(answer.status, 403, "{host}: {}", answer.head);
        let answer = Get::new(larder.http(), "/secret").host(host).run();
        assert_eq!(answer.expect("an answer").status, 403, "{host}");
    }
    assert_eq!(nginx.stop().len(), 0, "the origin was asked");
}

#[test]
fn heads_are_as_clients_look_them_up() {
    if !have(&["nginx"]) {
        return;
    }
    let nginx = Nginx::start();
    let larder = Larder::start(&Setup {
        origin: Some(nginx.address()),
        ..Setup::default()
    });
    let wanted = rig::real_bytes(3 * MIB + 5);
    let path = nginx.put_named(&wanted);
    let get = larder.get(FAMILY[0], &path);
    let mut stream = get.connect().expect("connected");
    let mut etags = Vec::new();
    for (first, last) in [(2 * MIB, 3 * MIB - 1), (3 * MIB, 4 * MIB), (0, 0), (5, 9)] {
        // The headers of the native client, in its order (facts: clients, section 1.4).
        let answer = get
            .clone()
            .with("Connection: Keep-Alive")
            .with("Accept: */*")
            .range(first as u64, last as u64)
            .with("User-Agent: Microsoft-Delivery-Optimization/10.1")
            .with("MS-CV: abc.1")
            .with("Content-Length: 0")
            .run_on(&mut stream)
            .expect("an answer");
        let end = (last + 1).min(wanted.len());
        let head = &answer.head;
        assert_eq!(answer.status, 206, "{head}");
        assert_same(&answer.body, &wanted[first..end], "a range");
        let range = format!("bytes {first}-{}/{}", end - 1, wanted.len());
        assert_eq!(
            answer.field("Content-Range"),
            Some(range.as_str()),
            "{head}"
        );
        for name in ["Content-Length", "Content-Type", "Last-Modified", "ETag"] {
            assert!(answer.field(name).is_some(), "no {name} in {head}");
        }
        assert_eq!(answer.field("Accept-Ranges"), Some("bytes"), "{head}");
        for name in ["Transfer-Encoding", "Vary", "Content-Encoding"] {
            assert!(answer.field(name).is_none(), "{name} in {head}");
        }
        etags.push(answer.field("ETag").map(str::to_owned));
    }
    etags.dedup();
    assert_eq!(etags.len(), 1, "one validator for all ranges");
    let head = get.head_only().run_on(&mut stream).expect("an answer");
    assert_eq!(head.status, 200, "{}", head.head);
    let length = wanted.len().to_string();
    assert_eq!(head.field("Content-Length"), Some(length.as_str()));
    let outside = larder
        .get(FAMILY[0], &path)
        .range(wanted.len() as u64, wanted.len() as u64 + 5)
        .run_on(&mut stream)
        .expect("an answer");
    assert_eq!(outside.status, 416, "{}", outside.head);
    let range = format!("bytes */{}", wanted.len());
    assert_eq!(outside.field("Content-Range"), Some(range.as_str()));
}

/// `apt-get` in a root of its own, with larder as its proxy.
fn apt(larder: &Larder, arguments: &[&str]) -> String {
    let root = larder.directory().join("apt");
    for folder in ["lists/partial", "cache/archives/partial", "etc"] {
        fs::create_dir_all(root.join(folder)).expect("made");
    }
    fs::write(root.join("status"), "").expect("written");
    let list = format!("deb [trusted=yes] http://{PLAIN}/debian ./\n");
    fs::write(root.join("etc/sources.list"), list).expect("written");
    let at = |folder: &str| root.join(folder).display().to_string();
    let options = [
        format!("Dir::Etc={}", at("etc")),
        format!("Dir::State={}", root.display()),
        format!("Dir::State::status={}", at("status")),
        format!("Dir::Cache={}", at("cache")),
        format!("Acquire::http::Proxy=http://{}", larder.http()),
        "APT::Sandbox::User=".to_owned(),
        "Acquire::Languages=none".to_owned(),
        "Acquire::Retries=0".to_owned(),
    ];
    let output = std::process::Command::new("apt-get")
        .args(options.iter().flat_map(|option| ["-o", option]))
        .args(arguments)
        .current_dir(&root)
        .env("LC_ALL", "C")
        .output()
        .expect("apt-get runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "apt-get {arguments:?}: {said}");
    said
}

#[test]
fn apt_gets_packages_with_larder_as_its_proxy() {
    if !have(&["nginx", "apt-get", "dpkg-deb", "sha256sum"]) {
        return;
    }
    let mut nginx = Nginx::start();
    let larder = Larder::start(&Setup {
        origin: Some(nginx.address()),
        ..Setup::default()
    });
    let tree = larder.directory().join("tree");
    fs::create_dir_all(tree.join("DEBIAN")).expect("made");
    let control = "Package: pantry\nVersion: 1.0\nArchitecture: all\nMaintainer: nobody <n@example.org>\n\
                   Description: something to keep\n";
    fs::write(tree.join("DEBIAN/control"), control).expect("written");
    fs::write(tree.join("shelf"), rig::real_bytes(3 * MIB)).expect("written");
    let package = larder.directory().join("pantry.deb");
    let run = |program: &str, arguments: &[&str]| {
        let output = std::process::Command::new(program)
            .args(arguments)
            .output()
            .expect("it runs");
        assert!(output.status.success(), "{program}: {output:?}");
        String::from_utf8(output.stdout).expect("text")
    };
    let (tree, path) = (tree.display().to_string(), package.display().to_string());
    run(
        "dpkg-deb",
        &["--root-owner-group", "-Znone", "-b", &tree, &path],
    );
    let bytes = fs::read(&package).expect("built");
    let sum = run("sha256sum", &[&path]);
    let sum = sum.split(' ').next().expect("a sum");
    let size = bytes.len();
    let index = format!("{control}Filename: ./pantry.deb\nSize: {size}\nSHA256: {sum}\n");
    nginx.put("/debian/Packages", index.as_bytes());
    nginx.put("/debian/pantry.deb", &bytes);
    for turn in ["cold", "warm"] {
        apt(&larder, &["update"]);
        apt(&larder, &["download", "pantry"]);
        let got = larder.directory().join("apt/pantry_1.0_all.deb");
        assert_same(&fs::read(&got).expect("there"), &bytes, turn);
        fs::remove_file(got).expect("removed");
        let archives = larder.directory().join("apt/cache");
        fs::remove_dir_all(archives).expect("removed");
    }
    let sent = nginx.stop();
    let packages = sent.iter().filter(|sent| sent.path.ends_with(".deb"));
    let bytes_sent: u64 = packages.map(|sent| sent.body_bytes).sum();
    assert_eq!(bytes_sent, size as u64, "the origin gave it once");
}
