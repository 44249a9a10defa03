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
    let home = Home::new("site = \"berlin\"\n[policy]\nDOMonthlyUploadDataCap = 5");
    let config = home.config();
    let config = config.to_string_lossy();
    let (code, out, err) = home.run(&["check-config", &config]);
    assert_eq!((code, out), (Some(0), format!("{config}: in order\n")));
    let warned = format!("{config}: warning: policy.DOMonthlyUploadDataCap has no effect: ");
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
