//! Who proves what, over HTTP and with the client.

use super::*;
use crate::coordinator::key::Key;
use crate::coordinator::{ClientError, ClientOptions, CoordinatorClient, Publisher};
use larder_content::Phf;
use larder_proto::tracker::message::{LeaveRequest, PublishRequest, Trust};
use larder_proto::tracker::query::{Named, PolicyQuery};

fn key(name: &str, byte: u8) -> Key {
    Key::new(name, &[byte; 32]).expect("long enough")
}

fn client(address: SocketAddr, set: impl FnOnce(&mut ClientOptions)) -> CoordinatorClient {
    let mut options = ClientOptions::new(format!("http://{address}"));
    set(&mut options);
    CoordinatorClient::new(options).expect("a client")
}

fn status(error: &ClientError) -> Option<u16> {
    match error {
        ClientError::Refused { status, .. } => Some(*status),
        _ => None,
    }
}

#[tokio::test]
async fn a_closed_group_is_for_those_who_have_its_key() {
    let group = group();
    let options = ServiceOptions {
        groups: vec![key(&group.to_string(), 1)],
        ..ServiceOptions::default()
    };
    let coordinator = coordinator(options);
    let (server, address) = serve(&coordinator, ServerOptions::default());
    let with = |key: Option<Key>| client(address, |options| options.group_key = key);
    let member = with(Some(key(&group.to_string(), 1)));
    let id = content();
    let of_group = |number| {
        let mut join = join(id, number, DownloadMode::Group);
        join.group_id = Some(group);
        join
    };
    member.join(&of_group(1)).await.expect("a member");
    let told = member.join(&of_group(2)).await.expect("a member");
    assert_eq!(told.peers.len(), 1);
    for stranger in [with(None), with(Some(key(&group.to_string(), 2)))] {
        let error = stranger.join(&of_group(3)).await.expect_err("no member");
        assert_eq!(status(&error), Some(401), "{error}");
        let leave = LeaveRequest {
            content_id: id,
            peer_id: peer(1),
            reported_ip: Vec::new(),
            group_id: Some(group),
        };
        let error = stranger.leave(&leave).await.expect_err("no member");
        assert_eq!(status(&error), Some(401), "{error}");
        let mut asked = PolicyQuery::new(Named::ContentId(id));
        asked.group_id = Some(group);
        let error = stranger.policy(&asked).await.expect_err("no member");
        assert_eq!(status(&error), Some(401), "{error}");
    }
    // Other groups, and those without one, are open as ever.
    with(None)
        .join(&join(id, 4, DownloadMode::Lan))
        .await
        .expect("open");
    let mut asked = PolicyQuery::new(Named::ContentId(id));
    asked.group_id = Some(group);
    assert_eq!(member.policy(&asked).await.expect("a member"), None);
    server.stop(std::time::Duration::from_secs(1)).await;
}

#[tokio::test]
async fn publishers_sign_and_everybody_reads() {
    let vendor = Publisher {
        key: key("vendor", 3),
        may_verify: true,
        group: None,
    };
    let options = ServiceOptions {
        publishers: vec![vendor],
        ..ServiceOptions::default()
    };
    let coordinator = coordinator(options);
    let (server, address) = serve(&coordinator, ServerOptions::default());
    // A file of a few thousand pieces is longer than what a stranger may send.
    let phf = Phf::new(3000 << 20, (0..3000).map(|_| any()).collect()).expect("as many");
    let id = phf.content_id();
    let mut publish = PublishRequest::new(phf, Trust::Verified);
    publish.content_cdn_urls = vec!["http://origin.example/file".to_owned()];
    let with = |key: Option<Key>| client(address, |options| options.publisher_key = key);
    for (stranger, expected) in [
        (with(None), 413),
        (with(Some(key("nobody", 3))), 413),
        (with(Some(key("vendor", 4))), 401),
    ] {
        let error = stranger.publish(&publish).await.expect_err("no publisher");
        let refused = status(&error) == Some(expected) || matches!(error, ClientError::Away { .. });
        assert!(refused, "{error}");
    }
    let reader = with(None);
    assert_eq!(reader.policy_by_id(id).await.expect("answered"), None);
    with(Some(key("vendor", 3)))
        .publish(&publish)
        .await
        .expect("taken");
    let policy = reader
        .policy_by_id(id)
        .await
        .expect("answered")
        .expect("known");
    assert_eq!(policy.phf.as_ref().map(Phf::content_id), Some(id));
    let policy = reader
        .policy_by_url("http://ORIGIN.example:80/file")
        .await
        .expect("answered");
    assert_eq!(policy.expect("known").content_id, id);
    let mut asked = PolicyQuery::new(Named::ContentId(id));
    asked.with_phf = false;
    let bare = reader
        .policy(&asked)
        .await
        .expect("answered")
        .expect("known");
    assert_eq!((bare.phf, bare.content_length), (None, 3000 << 20));
    server.stop(std::time::Duration::from_secs(1)).await;
}

/// A proof holds for one request, one moment, one key.
#[tokio::test]
async fn a_proof_that_was_seen_is_of_no_use_for_anything_else() {
    let group = group();
    let member = key(&group.to_string(), 1);
    let options = ServiceOptions {
        groups: vec![member.clone()],
        ..ServiceOptions::default()
    };
    let coordinator = coordinator(options);
    let (server, address) = serve(&coordinator, ServerOptions::default());
    let mut of_group = join(content(), 1, DownloadMode::Group);
    of_group.group_id = Some(group);
    let body = serde_json::to_vec(&of_group).expect("written");
    of_group.peer_id = peer(2);
    let other = serde_json::to_vec(&of_group).expect("written");
    let now = coordinator.geo(&from(1)).server_time;
    let proof = |time| member.sign("POST", "/v1/join", &body, time).header();
    for (proof, body, expected) in [
        (proof(now), &body, 200),
        (proof(now + 250), &body, 200),
        (proof(now - 400), &body, 401),
        (proof(now + 400), &body, 401),
        (proof(now), &other, 401),
        (
            member.sign("POST", "/v1/leave", &body, now).header(),
            &body,
            401,
        ),
        ("Bearer 1234".to_owned(), &body, 401),
    ] {
        let answer =
            super::rude::post(address, "/v1/join", &[("Authorization", &proof)], body).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {expected} ")),
            "{proof}: {answer}"
        );
    }
    server.stop(std::time::Duration::from_secs(1)).await;
}

#[tokio::test]
async fn a_callers_own_port_is_tried_and_told() {
    let coordinator = coordinator(ServiceOptions::default());
    let (server, address) = serve(&coordinator, ServerOptions::default());
    let caller = client(address, |_| {});
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("its address").port();
    let told = caller.reach(port).await.expect("an answer");
    assert!(told.reached && told.cause.is_none(), "{told:?}");
    assert_eq!((told.address, told.port), (address.ip(), port));
    assert!(listener.accept().is_ok(), "it was there");
    drop(listener);
    let told = caller.reach(port).await.expect("an answer");
    assert!(!told.reached, "{told:?}");
    assert!(told.cause.is_some_and(|cause| cause.contains("refused")));
    let error = caller.reach(22).await.expect_err("no port of peers");
    assert_eq!(status(&error), Some(400), "{error}");
    server.stop(std::time::Duration::ZERO).await;
}
