//! What peers are good for. The rule: what they have does not cross the line to the origin.

use super::stand::{Manner, Stand, TestPeer, URL, eventually, phf_of};
use larder_content::Span;
use larder_proto::tracker::message::{PeerType, Trust};
use larder_storage::proof::Trust as StoreTrust;
use std::sync::atomic::Ordering;

#[tokio::test]
async fn what_a_near_peer_has_does_not_come_from_the_origin() {
    let stand = Stand::new(|_| {}).await;
    let peer = TestPeer::start(&stand.object, Manner::Honest).await;
    stand.tell_of(&[&peer], PeerType::Lan);
    let content = stand.begun(&[&peer]).await;
    let before = stand.origin_bytes();
    let all = Span::whole(content.length());
    let got = stand.world.bytes(&content, URL, all).await;
    stand.object.check_whole(&got);
    assert_eq!(
        stand.origin_bytes(),
        before,
        "the origin was asked for more"
    );
    let sources = stand.world.download.sources(content.no);
    assert_eq!(sources.all(), content.length());
    assert_eq!(sources.lan, sources.peers());
    assert!(sources.lan >= 10 << 20, "{sources:?}");
    eventually("all of it is verified", || {
        let trust = stand.world.store.trust(&content);
        (trust.trust == StoreTrust::Verified && trust.pieces_verified == 13).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_a_peer_lacks_comes_from_the_origin_and_it_is_told() {
    let stand = Stand::new(|_| {}).await;
    let peer = TestPeer::start(&stand.object, Manner::Half).await;
    stand.tell_of(&[&peer], PeerType::Lan);
    let content = stand.begun(&[&peer]).await;
    let all = Span::whole(content.length());
    let got = stand.world.bytes(&content, URL, all).await;
    stand.object.check_whole(&got);
    let sources = stand.world.download.sources(content.no);
    // Of the first six pieces two came before it was there.
    assert_eq!(sources.lan, 4 << 20, "{sources:?}");
    assert_eq!(sources.all(), content.length());
    eventually("it hears of the others", || {
        (peer.heard.landed.load(Ordering::Relaxed) == 7).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_is_held_is_offered_and_its_hashes_are_published_as_what_they_are() {
    let stand = Stand::new(|_| {}).await;
    *stand.coordinator.said.policy.lock() = None;
    let got = stand.world.get(URL).await;
    stand.object.check_whole(&got);
    let published = eventually("the hashes are published", || {
        stand.coordinator.said.published.lock().first().cloned()
    })
    .await;
    assert_eq!(published.phf, phf_of(&stand.object));
    assert_eq!(published.trust, Trust::Attested);
    assert_eq!(published.content_cdn_urls, [URL]);
    assert_eq!(published.etag.as_deref(), Some("\"one\""));
    let join = eventually("it is offered", || {
        stand.coordinator.said.joins.lock().first().cloned()
    })
    .await;
    assert_eq!((join.content_id, join.left), (stand.id(), Some(0)));
    assert!(join.preferred && join.peers_wanted == 0 && join.port == 7680);
    // Its own word makes nothing verified.
    let content = stand.world.content(URL, None).await;
    let trust = stand.world.store.trust(&content).trust;
    assert_eq!(trust, StoreTrust::Attested);
}

#[tokio::test]
async fn a_mode_without_peers_asks_nobody() {
    let stand = Stand::new(|settings| {
        settings.policies.mode = larder_proto::policy::DownloadMode::Simple;
    })
    .await;
    let peer = TestPeer::start(&stand.object, Manner::Honest).await;
    stand.tell_of(&[&peer], PeerType::Lan);
    let got = stand.world.get(URL).await;
    stand.object.check_whole(&got);
    let said = &stand.coordinator.said;
    assert!(said.joins.lock().is_empty() && said.published.lock().is_empty());
    assert_eq!(said.asked_policy.load(Ordering::Relaxed), 0);
    assert_eq!(peer.heard.connections.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_peer_elsewhere_is_not_asked_in_a_mode_of_the_site() {
    let stand = Stand::new(|settings| {
        settings.policies.mode = larder_proto::policy::DownloadMode::Lan;
    })
    .await;
    let (near, far) = (
        TestPeer::start(&stand.object, Manner::Honest).await,
        TestPeer::start(&stand.object, Manner::Honest).await,
    );
    let peers = vec![far.named(PeerType::Internet), near.named(PeerType::Lan)];
    *stand.coordinator.said.peers.lock() = peers;
    let content = stand.begun(&[&near]).await;
    let all = Span::whole(content.length());
    let got = stand.world.bytes(&content, URL, all).await;
    stand.object.check_whole(&got);
    assert_eq!(far.heard.connections.load(Ordering::Relaxed), 0);
}
