//! Signals: reload, stop in good order, stop at once.

use crate::running::Home;
use std::fs;

#[test]
fn a_reload_takes_what_it_can_and_names_what_needs_a_restart() {
    let home = Home::new("site = \"berlin\"");
    let mut serving = home.serve();
    home.write("site = \"bonn\"\ncache_status = false\nadmin_names = [\"larder.example.org\"]");
    serving.signal("HUP");
    let line = serving.line_with("only after a restart");
    assert!(line.ends_with(": server.site"), "{line}");
    let line = serving.line_with("was read again");
    assert!(
        line.ends_with("changed: server.admin_names, server.cache_status"),
        "{line}"
    );
    assert_eq!(serving.ask("GET /metrics\nHost: larder.example.org").0, 200);

    // A mistake changes nothing, is named, and shows in a metric.
    home.write("site = \"bonn\"\nadmin_names = 7");
    serving.signal("HUP");
    let line = serving.line_with("server.admin_names: is of type integer");
    assert!(line.contains("larder.toml:7:15: "), "{line}");
    serving.line_with("the settings stay as they were");
    let (status, answer) = serving.ask("GET /metrics\nHost: larder.example.org");
    assert_eq!(status, 200);
    assert!(
        answer.contains("\nlarder_config_last_reload_successful 0\n"),
        "{answer}"
    );

    // By the admin API the answer says the same.
    let token = fs::read_to_string(home.token_file()).expect("the token");
    let reload = format!(
        "POST /api/v1/reload\nAuthorization: Bearer {}",
        token.trim()
    );
    let (status, answer) = serving.ask(&reload);
    assert_eq!(status, 422);
    assert!(
        answer.contains("server.admin_names: is of type integer"),
        "{answer}"
    );
    home.write("");
    let (status, answer) = serving.ask(&reload);
    assert_eq!(status, 200);
    assert!(
        answer.contains("\"needs_restart\":[\"server.site\"]"),
        "{answer}"
    );
    assert_eq!(serving.ask("GET /metrics\nHost: larder.example.org").0, 403);
}

#[test]
fn sigterm_and_sigint_stop_in_good_order() {
    for signal in ["TERM", "INT"] {
        let home = Home::new("");
        let mut serving = home.serve();
        serving.signal(signal);
        serving.line_with("stopping");
        serving.line_with("stopped");
        assert_eq!(serving.ended(), Some(0), "{signal}");
    }
}
