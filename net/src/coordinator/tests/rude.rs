//! Callers that are slow, many, or speak nonsense: each gets its answer or is cut, and others are served meanwhile.

use super::*;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// So long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);

async fn all_of(mut socket: TcpStream) -> String {
    let mut text = Vec::new();
    // A reset after the answer is no news.
    let _ = timeout(PATIENCE, socket.read_to_end(&mut text))
        .await
        .expect("it ends");
    String::from_utf8_lossy(&text).into_owned()
}

async fn say(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(address).await.expect("connected");
    socket.write_all(bytes).await.expect("written");
    socket
}

/// One call on a connection of its own, and all that comes back.
pub(super) async fn post(
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> String {
    let mut head = format!(
        "POST {path} HTTP/1.1\r\nHost: coordinator\r\nConnection: close\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(body);
    all_of(say(address, &bytes).await).await
}

async fn get(address: SocketAddr, target: &str) -> String {
    let text = format!("GET {target} HTTP/1.1\r\nHost: coordinator\r\nConnection: close\r\n\r\n");
    all_of(say(address, text.as_bytes()).await).await
}

#[tokio::test]
async fn every_call_has_its_answer() {
    let coordinator = coordinator(ServiceOptions::default());
    let (server, address) = serve(&coordinator, ServerOptions::default());
    let id = content();
    let whole = serde_json::to_string(&join(id, 1, DownloadMode::Lan)).expect("written");
    let long = " ".repeat(9000);
    for (answer, status, part) in [
        (
            get(address, "/v1/geo").await,
            200,
            r#""ExternalIpAddress":"127.0.0.1""#,
        ),
        (get(address, "/healthz").await, 200, "alive"),
        (
            post(address, "/v1/join", &[], whole.as_bytes()).await,
            200,
            r#""Peers":[]"#,
        ),
        (
            post(address, "/v1/join", &[], b"{}").await,
            400,
            "missing field",
        ),
        (post(address, "/v1/join", &[], b"").await, 400, "body"),
        (
            post(address, "/v1/join", &[], long.as_bytes()).await,
            413,
            "at most 8192 bytes",
        ),
        (
            post(address, "/v1/publish", &[], b"{}").await,
            401,
            "publisher",
        ),
        (get(address, "/v1/join").await, 405, "POST /v1/join"),
        (get(address, "/v1/policy").await, 400, "ContentId= or Url="),
        (get(address, "/v1/policy?Url=nonsense").await, 400, "http"),
        (
            get(address, &format!("/v1/policy?ContentId={id}")).await,
            404,
            "nothing is known",
        ),
        (get(address, "/").await, 404, "coordinator"),
    ] {
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
        assert!(answer.contains(part), "{part}: {answer}");
        assert!(
            status == 200 || answer.contains(r#"{"Error":""#),
            "{answer}"
        );
    }
    server.stop(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn who_calls_too_often_is_told_when_to_call_again() {
    let options = ServiceOptions {
        calls_per_minute: 5,
        ..ServiceOptions::default()
    };
    let coordinator = coordinator(options);
    let (server, address) = serve(&coordinator, ServerOptions::default());
    for _ in 0..5 {
        assert!(get(address, "/v1/geo").await.contains(" 200 "));
    }
    let answer = get(address, "/v1/geo").await;
    assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
    assert!(answer.contains("Retry-After: "), "{answer}");
    server.stop(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn who_dawdles_is_cut_and_nobody_waits_for_it() {
    let coordinator = coordinator(ServiceOptions::default());
    let options = ServerOptions {
        idle_timeout_ms: 300,
        body_timeout_ms: 300,
        ..ServerOptions::default()
    };
    let (server, address) = serve(&coordinator, options);
    let dawdlers = [
        "",
        "GET /v1/geo HTTP/1.1\r\nHost: x\r\nX-Slow: ",
        "POST /v1/join HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
    ];
    let mut sockets = Vec::new();
    for text in dawdlers {
        sockets.push(say(address, text.as_bytes()).await);
    }
    assert!(get(address, "/v1/geo").await.contains(" 200 "));
    let mut answers = Vec::new();
    for socket in sockets {
        answers.push(all_of(socket).await);
    }
    assert_eq!(answers[..2], [String::new(), String::new()]);
    assert!(
        answers[2].contains("did not come within 300 ms"),
        "{answers:?}"
    );
    server.stop(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn a_crowd_that_says_nothing_keeps_nobody_out() {
    let coordinator = coordinator(ServiceOptions::default());
    let options = ServerOptions {
        connections_max: 20,
        ..ServerOptions::default()
    };
    let (server, address) = serve(&coordinator, options);
    let mut crowd = Vec::new();
    for _ in 0..60 {
        crowd.push(say(address, b"GET /v1/geo HTTP/1.1\r\n").await);
    }
    for _ in 0..5 {
        let answer = get(address, "/v1/geo").await;
        assert!(answer.contains(" 200 "), "{answer}");
    }
    // Those that came first were cut for those that came later.
    assert_eq!(all_of(crowd.remove(0)).await, "");
    server.stop(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn who_takes_nothing_of_its_answer_is_cut() {
    let vendor = crate::coordinator::Publisher {
        key: crate::coordinator::Key::new("vendor", &[1; 32]).expect("long enough"),
        may_verify: true,
        group: None,
    };
    let options = ServiceOptions {
        publishers: vec![vendor],
        ..ServiceOptions::default()
    };
    let backend = Backend::Memory(Box::new(Memory::new(options.limits, 10, 64 << 20)));
    let coordinator = Coordinator::new(options, backend, Clock::start());
    let phf = larder_content::Phf::new(300_000 << 20, vec![[1; 32]; 300_000]).expect("as many");
    let id = phf.content_id();
    let publish = larder_proto::tracker::message::PublishRequest::new(
        phf,
        larder_proto::tracker::message::Trust::Verified,
    );
    let by = Caller::own();
    coordinator.publish(&by, publish).await.expect("taken");
    let options = ServerOptions {
        stall_timeout_ms: 200,
        ..ServerOptions::default()
    };
    let (server, address) = serve(&coordinator, options);
    // Over 13 MB: more than sockets hold.
    let text = format!("GET /v1/policy?ContentId={id} HTTP/1.1\r\nHost: x\r\n\r\n");
    let socket = say(address, text.as_bytes()).await;
    super::behaviour::until(async || server.connections() == 1).await;
    super::behaviour::until(async || server.connections() == 0).await;
    let got = all_of(socket).await;
    assert!(got.len() < 13_000_000, "{} bytes", got.len());
    server.stop(Duration::from_secs(1)).await;
}
