//! What is read of messages and what is refused.

use super::*;
use proptest::prelude::*;

const CONTENT: &str = "DO-J_rmYNjGCeAgcDu0Y7ZgHmKBHcddsZl1vLfWjZWbUn0";
const PEER: &str = "7f8d2c3e-0b1a-4c5d-9e6f-0123456789ab";

fn join(rest: &str) -> String {
    format!(
        r#"{{"ContentId":"{CONTENT}","PeerId":"{PEER}","Port":7680,"DownloadMode":1,"PeersWanted":5{rest}}}"#
    )
}

#[test]
fn a_join_may_be_short() {
    let read = JoinRequest::parse(join("").as_bytes()).expect("enough");
    assert_eq!(read.content_id.to_string(), CONTENT);
    assert_eq!(read.peer_id.to_string(), PEER);
    assert_eq!(read.join_request_event, JoinEvent::Heartbeat);
    assert_eq!((read.left, read.peers_wanted), (None, 5));
    let whole = join(
        r#","ReportedIp":["10.0.0.7","2001:db8::7"],"SubnetMask":"255.255.255.0","GroupId":"{7F8D2C3E-0B1A-4C5D-9E6F-0123456789AB}","Left":0,"JoinRequestEvent":"Completed","Preferred":true,"Something":"new""#,
    );
    let read = JoinRequest::parse(whole.as_bytes()).expect("all of it");
    assert_eq!(read.reported_ip.len(), 2);
    assert_eq!(read.group_id, Some(read.peer_id));
    assert_eq!(read.left, Some(0));
    let text = serde_json::to_vec(&read).expect("written");
    assert_eq!(JoinRequest::parse(&text), Ok(read));
}

#[test]
fn a_join_that_means_nothing_is_told_why() {
    let addresses = ["\"10.0.0.1\""; 9].join(",");
    let unreachable = vec![format!("\"{PEER}\""); 33].join(",");
    let cases = [
        (join(r#","SubnetMask":"255.0.255.0""#), "SubnetMask"),
        (join(r#","SubnetMask":"0.0.0.0""#), "SubnetMask"),
        (join(r#","ExternalPort":0"#), "ExternalPort"),
        (
            join(&format!(r#","ReportedIp":[{addresses}]"#)),
            "ReportedIp",
        ),
        (
            join(&format!(r#","Unreachable":[{unreachable}]"#)),
            "Unreachable",
        ),
        (join(r#","ReportedIp":["10.0.0.256"]"#), "body"),
        (join("").replace(":1,", ":4,"), "body"),
        (join("").replace("7680", "65536"), "body"),
        (join("").replace("DO-", ""), "body"),
        (
            join("").replace(r#""PeersWanted":5"#, r#""PeersWanted":-1"#),
            "body",
        ),
        (join("").replace(r#","PeersWanted":5"#, ""), "body"),
        (join(&" ".repeat(JOIN_BYTES_MAX)), "body"),
        (String::new(), "body"),
    ];
    for (text, field) in cases {
        let error = JoinRequest::parse(text.as_bytes()).expect_err(&text);
        assert_eq!(error.field, field, "{text}: {error}");
    }
}

#[test]
fn a_publication_holds_a_file_that_proves_itself() {
    let phf = Phf::new(3, vec![[7; 32]]).expect("one piece");
    let mut publish = PublishRequest::new(phf, Trust::Verified);
    publish.content_cdn_urls = vec!["http://dl.example.org/a".to_owned()];
    let text = serde_json::to_string(&publish).expect("written");
    assert_eq!(PublishRequest::parse(text.as_bytes()), Ok(publish.clone()));
    let forged = text.replace("\"ContentLength\":3", "\"ContentLength\":4");
    let error = PublishRequest::parse(forged.as_bytes()).expect_err("forged");
    assert!(error.why.contains("contradicts itself"), "{error}");
    for url in ["ftp://dl.example.org/a", "http://dl.example.org/a b", "x"] {
        publish.content_cdn_urls = vec![url.to_owned()];
        let text = serde_json::to_vec(&publish).expect("written");
        assert_eq!(
            PublishRequest::parse(&text).expect_err(url).field,
            "ContentCdnUrls"
        );
    }
    let empty = PublishRequest::new(Phf::new(0, Vec::new()).expect("none"), Trust::Verified);
    let text = serde_json::to_vec(&empty).expect("written");
    assert_eq!(
        PublishRequest::parse(&text).expect_err("empty").field,
        "Phf"
    );
}

proptest! {
    #[test]
    fn no_body_panics(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = JoinRequest::parse(&body);
        let _ = LeaveRequest::parse(&body);
        let _ = PublishRequest::parse(&body);
    }
}
