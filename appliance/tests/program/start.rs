//! Starting, and being told why not.

use crate::running::{Home, outcome};
use std::fs;
use std::net::TcpListener;

#[test]
fn a_mistake_is_told_alike_by_check_config_and_serve() {
    let home = Home::new("site = 1\nfoo = 2");
    let config = home.config();
    let config = config.to_string_lossy();
    let expected = format!(
        "{config}:6:8: server.site: is of type integer; write a short name, as in \"berlin\"\n\
         {config}:7:1: server.foo: is not known; take it out, or use one of: http, https, peer, admin, metrics, \
         admin_names, memory_bytes_max, site, shards, driver, cache_status, upload_slots_max, \
         peer_external_port\n"
    );
    for command in [
        ["check-config", &config].as_slice(),
        &["serve", "--config", &config],
    ] {
        let (code, out, err) = home.run(command);
        assert_eq!((code, out.as_str()), (Some(1), ""), "{command:?}");
        assert_eq!(err, expected, "{command:?}");
    }
}

#[test]
fn a_file_in_order_is_said_to_be_and_what_has_no_effect_is_warned_of() {
    let home = Home::new("site = \"berlin\"\n[policy]\nDOCacheHostSource = 1");
    let config = home.config();
    let config = config.to_string_lossy();
    let (code, out, err) = home.run(&["check-config", &config]);
    assert_eq!((code, out), (Some(0), format!("{config}: in order\n")));
    let warned = format!("{config}: warning: policy.DOCacheHostSource has no effect: ");
    assert!(
        err.starts_with(&warned) && err.lines().count() == 1,
        "{err}"
    );
    let (code, _, err) = home.run(&["check-config", "/nowhere/larder.toml"]);
    assert_eq!(code, Some(1));
    assert!(
        err.starts_with("/nowhere/larder.toml: cannot be read: "),
        "{err}"
    );
}

#[test]
fn a_taken_port_is_told_with_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address");
    let home = Home::new("");
    let text = fs::read_to_string(home.config()).expect("read");
    let text = text.replace(
        "http = [\"127.0.0.1:0\"]",
        &format!("http = [\"{address}\"]"),
    );
    fs::write(home.config(), text).expect("written");
    let output = home
        .larder()
        .args(["serve", "--config"])
        .arg(home.config())
        .output();
    let (code, _, err) = outcome(&output.expect("started"));
    assert_eq!(code, Some(1));
    assert!(
        err.contains(&format!(
            "cannot listen on {address} for clients ([server] http)"
        )) && err.contains("stop it, or configure another port"),
        "{err}"
    );
}

#[test]
fn the_start_is_told_in_one_line() {
    let home = Home::new("site = \"berlin\"\ndriver = \"epoll\"\nshards = 1");
    let mut command = home.larder();
    command.args(["serve", "--config"]).arg(home.config());
    let serving = crate::running::Serving::start(command);
    assert_ne!(serving.http.port(), 0);
    assert_ne!(serving.admin.port(), 0);
    let (status, answer) = serving.ask("GET /readyz");
    assert_eq!(
        (status, answer.contains("\r\n\r\nready\n")),
        (200, true),
        "{answer}"
    );
}

#[test]
fn a_store_belongs_to_one_process() {
    let home = Home::new("");
    let _serving = home.serve();
    let config = home.config();
    let (code, _, err) = home.run(&["serve", "--config", &config.to_string_lossy()]);
    assert_eq!(code, Some(1));
    let store = home.store();
    let expected = format!(
        "larder: the store at {} is in use by another process; stop it first",
        store.display()
    );
    assert!(err.contains(&expected), "{err}");
}

#[test]
fn files_in_conf_d_are_read_in_order_and_mistakes_name_theirs() {
    let home = Home::new("site = \"berlin\"\n[policy]\nDOMaxCacheAge = 10\nDODownloadMode = 1");
    let folder = home.folder.path().join("conf.d");
    fs::create_dir(&folder).expect("made");
    let put = |name: &str, text: &str| fs::write(folder.join(name), text).expect("written");
    put("20-age.toml", "[policy]\nDOMaxCacheAge = 30\n");
    put("10-age.toml", "[policy]\nDOMaxCacheAge = 20\n");
    put("ignored.txt", "nothing");
    put(".hidden.toml", "nothing");
    let config = home.config();
    let config = config.to_string_lossy();
    let (code, out, err) = home.run(&["check-config", &config]);
    assert_eq!(code, Some(0), "{err}");
    let (ten, twenty) = (folder.join("10-age.toml"), folder.join("20-age.toml"));
    let expected = format!(
        "{config}: in order, with {}, {}\n",
        ten.display(),
        twenty.display()
    );
    assert_eq!(out, expected);

    let (code, out, err) = home.run(&["policy", "show", "--config", &config]);
    assert_eq!(code, Some(0), "{err}");
    let row = |name: &str| {
        let found = out
            .lines()
            .find(|line| line.split_whitespace().next() == Some(name));
        found
            .unwrap_or_else(|| panic!("no {name} in {out}"))
            .to_owned()
    };
    let age = row("DOMaxCacheAge");
    assert!(age.contains("30") && age.ends_with("20-age.toml"), "{age}");
    assert!(row("DODownloadMode").ends_with("the file"), "{out}");

    let mut serving = home.serve();
    put("30-bad.toml", "# a comment\n[policy]\n  DOMaxCacheAg = 1\n");
    serving.signal("HUP");
    let line = serving.line_with("DOMaxCacheAg: is not known");
    assert!(line.contains("30-bad.toml:3:3: policy."), "{line}");
    serving.line_with("the settings stay as they were");
    fs::remove_file(folder.join("30-bad.toml")).expect("removed");
    put("20-age.toml", "[policy]\nDOMaxCacheAge = 40\n");
    serving.signal("HUP");
    serving.line_with("policy.DOMaxCacheAge: 30 -> 40");
    let (_, status) = serving.ask("GET /api/v1/status");
    assert!(status.contains("20-age.toml"), "{status}");
}

#[test]
fn a_store_of_a_newer_larder_is_told_with_what_to_do_and_stays_as_it_is() {
    let home = Home::new("");
    let format = home.store().join("format");
    let text = "format = 7\nreadable_by = 7\nwritten_by = 3.2.1\n";
    fs::write(&format, text).expect("written");
    let config = home.config();
    let (code, _, err) = home.run(&["serve", "--config", &config.to_string_lossy()]);
    assert_eq!(code, Some(1));
    let own = env!("CARGO_PKG_VERSION");
    assert!(
        err.contains(&format!(
            "is of format 7, written by larder 3.2.1, and this is larder {own}, which knows format 1; nothing in it was \
             changed: install larder 3.2.1 or newer again, or name another directory under [store] paths"
        )),
        "{err}"
    );
    assert_eq!(fs::read_to_string(&format).expect("there"), text);
    // With its own format it goes on.
    fs::remove_file(&format).expect("removed");
    let mut serving = home.serve();
    serving.signal("TERM");
    assert_eq!(serving.ended(), Some(0));
    assert!(
        fs::read_to_string(&format)
            .expect("there")
            .starts_with("format = 1\n")
    );
}
