//! The admin address of a running appliance.

use crate::running::{Home, ask, piped, tool};
use std::fs;
use std::os::unix::fs::PermissionsExt;

#[test]
fn reading_is_free_here_and_changing_asks_for_the_token() {
    let home = Home::new("admin_names = [\"larder.example.org\"]");
    let serving = home.serve();
    let token = fs::read_to_string(home.token_file()).expect("the token");
    let token = token.trim();
    let mode = fs::metadata(home.token_file())
        .expect("there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let right = format!("Authorization: Bearer {token}");
    let wrong = format!("Authorization: Bearer {}", "0".repeat(64));
    let with = |line: &str, header: &str| format!("{line}\n{header}");
    let cases = [
        ("GET /healthz".to_owned(), 200),
        ("GET /readyz".to_owned(), 200),
        ("GET /metrics".to_owned(), 200),
        ("GET /api/v1/status".to_owned(), 200),
        ("GET /api/v1/objects".to_owned(), 200),
        ("GET /api/v1/clients".to_owned(), 200),
        ("GET /api/v1/object?url=http://a.example/x".to_owned(), 404),
        ("GET /api/v1/object".to_owned(), 400),
        ("GET /api/v1/objects?hots=a".to_owned(), 400),
        ("GET /api/v1/objects?url=nothing".to_owned(), 400),
        ("GET /elsewhere".to_owned(), 404),
        ("GET /api/v1/purge?all=true".to_owned(), 405),
        ("GET /api/v1/warm?url=http://a.example/x".to_owned(), 405),
        ("POST /api/v1/purge?all=true".to_owned(), 401),
        ("POST /api/v1/pin?all=true&pinned=true".to_owned(), 401),
        ("POST /api/v1/verify?all=true".to_owned(), 401),
        ("POST /api/v1/warm?url=http://a.example/x".to_owned(), 401),
        ("POST /api/v1/reload".to_owned(), 401),
        (with("POST /api/v1/purge?all=true", &wrong), 403),
        (with("POST /api/v1/purge?all=true", &right), 200),
        (with("POST /api/v1/purge", &right), 400),
        (with("POST /api/v1/pin?all=true", &right), 400),
        (with("POST /api/v1/pin?all=true&pinned=true", &right), 200),
        (with("POST /api/v1/verify?all=true", &right), 200),
        (with("POST /api/v1/warm", &right), 400),
        (with("POST /api/v1/warm?url=/x", &right), 400),
        (
            with("POST /api/v1/warm?url=http://evil.example/x", &right),
            403,
        ),
        (with("POST /api/v1/reload", &right), 200),
        (with("GET /api/v1/objects", "Host: evil.example:9180"), 403),
        (with("GET /metrics", "Host: larder.example.org"), 200),
    ];
    for (request, expected) in cases {
        let (status, answer) = serving.ask(&request);
        assert_eq!(status, expected, "{request}: {answer}");
        if status == 401 {
            assert!(
                answer
                    .to_ascii_lowercase()
                    .contains("www-authenticate: bearer"),
                "{answer}"
            );
        }
    }
}

#[test]
fn prometheus_can_read_what_is_exported() {
    let home = Home::new("site = \"berlin\"\nmetrics = \"127.0.0.1:0\"");
    let serving = home.serve();
    let metrics = serving.metrics.expect("the metrics address");
    let (status, answer) = ask(metrics, "GET /metrics\nHost: any.example");
    assert_eq!(status, 200);
    for (path, expected) in [("/api/v1/objects", 404), ("/readyz", 404)] {
        assert_eq!(ask(metrics, &format!("GET {path}")).0, expected, "{path}");
    }
    let (head, text) = answer.split_once("\r\n\r\n").expect("a body");
    assert!(
        head.to_ascii_lowercase()
            .contains("content-type: text/plain; version=0.0.4"),
        "{head}"
    );
    for name in [
        "larder_build_info{version=\"",
        "larder_store_capacity_bytes ",
        "larder_config_last_reload_successful 1",
        "larder_uring_enabled ",
        "process_resident_memory_bytes ",
        "process_cpu_seconds_total ",
    ] {
        assert!(
            text.lines().any(|line| line.starts_with(name)),
            "no {name} in\n{text}"
        );
    }
    let foreign = text.lines().find(|line| {
        !line.is_empty()
            && !line.starts_with(['#'])
            && !line.starts_with("larder_")
            && !line.starts_with("process_")
    });
    assert_eq!(foreign, None, "one prefix");
    let Some(mut promtool) = tool("promtool") else {
        return;
    };
    promtool.args(["check", "metrics"]);
    let output = piped(promtool, text);
    let said = String::from_utf8_lossy(&output.stderr).into_owned()
        + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
}
