//! Peers that lie, die or keep silent, and a coordinator that is gone. The rule: the client gets the right bytes, from the
//! origin if need be, and is not kept waiting for any of this.

use super::stand::{Manner, Stand, TestPeer, URL, eventually, phf_of};
use crate::download::tests::script::Object;
use larder_proto::tracker::message::{PeerType, Trust};
use std::sync::atomic::Ordering;

/// Gets the object with this one peer about.
async fn with(manner: Manner) -> (Stand, TestPeer) {
    let stand = Stand::new(|_| {}).await;
    let peer = TestPeer::start(&stand.object, manner).await;
    stand.tell_of(&[&peer], PeerType::Lan);
    let got = stand.world.get(URL).await;
    stand.object.check_whole(&got);
    (stand, peer)
}

#[tokio::test]
async fn a_liar_is_left_after_one_piece_and_its_bytes_are_seen_by_nobody() {
    let stand = Stand::new(|_| {}).await;
    let peer = TestPeer::start(&stand.object, Manner::Lies).await;
    stand.tell_of(&[&peer], PeerType::Lan);
    let content = stand.world.content(URL, Some((0, Some(1)))).await;
    // Piece by piece, so that it has every chance.
    for piece in 0..content.pieces() {
        let start = larder_content::span::piece_start(piece);
        let end = start + u64::from(content.piece_len(piece));
        let got = stand
            .world
            .bytes(&content, URL, larder_content::Span::new(start, end))
            .await;
        let span = usize::try_from(start).expect("small")..usize::try_from(end).expect("small");
        stand.object.check(&got, span);
        if piece == 1 {
            eventually("it may be asked, or was left", || {
                let asked = peer.heard.interested.load(Ordering::Relaxed);
                asked.then_some(())
            })
            .await;
        }
    }
    let sources = stand.world.download.sources(content.no);
    assert_eq!((sources.peers(), sources.all()), (0, content.length()));
    // It was asked for so much that a piece was whole, and is not asked again.
    eventually("it is left", || {
        (stand.swarm.links(content.no) == 0).then_some(())
    })
    .await;
    assert_eq!(peer.heard.connections.load(Ordering::Relaxed), 1);
    assert!(peer.bytes() >= 1 << 20);
}

#[tokio::test]
async fn a_peer_that_dies_in_the_middle_of_a_piece_costs_nothing_but_its_bytes() {
    let (stand, peer) = with(Manner::Dies((1 << 20) + 5)).await;
    let content = stand.world.content(URL, None).await;
    let sources = stand.world.download.sources(content.no);
    assert_eq!(sources.all(), content.length());
    assert!(sources.lan <= 1 << 20, "{sources:?}");
    drop(peer);
}

#[tokio::test]
async fn peers_that_choke_or_keep_silent_hold_up_nobody() {
    for manner in [Manner::Chokes, Manner::Silent] {
        let (stand, _peer) = with(manner).await;
        let content = stand.world.content(URL, None).await;
        let sources = stand.world.download.sources(content.no);
        assert_eq!(sources.http, content.length(), "{manner:?}");
    }
}

#[tokio::test]
async fn who_is_met_when_all_downloads_have_ended_is_left_alone() {
    let stand = Stand::new(|_| {}).await;
    let peer = TestPeer::start(&stand.object, Manner::Honest).await;
    stand.tell_of(&[&peer], PeerType::Lan);
    let content = stand.begun(&[&peer]).await;
    let late = TestPeer::start(&stand.object, Manner::Honest).await;
    let Stand { world, swarm, .. } = stand;
    let party = swarm.0.parties.lock().get(&content.no).cloned();
    let party = party.expect("its peers are together");
    drop(world);
    eventually("nothing is downloaded any more", || {
        swarm.0.download.upgrade().is_none().then_some(())
    })
    .await;
    // On a thread of its own, as a loop without an end would otherwise be one of this test's, too.
    let named = late.named(PeerType::Lan);
    let met = std::thread::spawn(move || party.meets(vec![named]));
    eventually("it is done with", || met.is_finished().then_some(())).await;
    assert_eq!(late.heard.connections.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn without_a_coordinator_everything_comes_from_the_origin() {
    let mut stand = Stand::new(|_| {}).await;
    let gone = super::stand::TestCoordinator::start().await;
    drop(std::mem::replace(&mut stand.coordinator, gone));
    let got = stand.world.get(URL).await;
    stand.object.check_whole(&got);
    assert_eq!(stand.swarm.coordinator_answers(), Some(false));
}

#[tokio::test]
async fn an_honest_peer_makes_up_for_a_liar_beside_it() {
    let stand = Stand::new(|_| {}).await;
    let liar = TestPeer::start(&stand.object, Manner::Lies).await;
    let honest = TestPeer::start(&stand.object, Manner::Honest).await;
    stand.tell_of(&[&liar, &honest], PeerType::Lan);
    let content = stand.begun(&[&liar, &honest]).await;
    let got = stand.world.get(URL).await;
    stand.object.check_whole(&got);
    let sources = stand.world.download.sources(content.no);
    assert_eq!(sources.all(), content.length());
    assert!(sources.lan >= 4 << 20, "{sources:?}");
    eventually("only the honest one is left", || {
        (stand.swarm.links(content.no) == 1).then_some(())
    })
    .await;
    assert_eq!(liar.heard.connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn peers_that_are_there_go_on_without_a_coordinator() {
    let mut stand = Stand::new(|_| {}).await;
    let peer = TestPeer::start(&stand.object, Manner::Honest).await;
    stand.tell_of(&[&peer], PeerType::Lan);
    let content = stand.begun(&[&peer]).await;
    let elsewhere = super::stand::TestCoordinator::start().await;
    drop(std::mem::replace(&mut stand.coordinator, elsewhere));
    let got = stand.world.get(URL).await;
    stand.object.check_whole(&got);
    let sources = stand.world.download.sources(content.no);
    assert!(sources.lan >= 10 << 20, "{sources:?}");
}

#[tokio::test]
async fn the_word_of_one_appliance_does_not_outweigh_the_origin() {
    let stand = Stand::new(|_| {}).await;
    // Somebody attests other bytes, and has them.
    let other = Object::new(stand.object.body.len(), 2, "");
    *stand.coordinator.said.policy.lock() = Some((phf_of(&other), Trust::Attested));
    let peer = TestPeer::start(&other, Manner::Honest).await;
    stand.tell_of(&[&peer], PeerType::Lan);
    let content = stand.world.content(URL, Some((0, Some(1)))).await;
    for piece in 0..2_u32 {
        let start = larder_content::span::piece_start(piece);
        let span = larder_content::Span::new(start, start + 1);
        let got = stand.world.bytes(&content, URL, span).await;
        let at = usize::try_from(start).expect("small");
        stand.object.check(&got, at..at + 1);
    }
    let wrong = phf_of(&other).content_id();
    eventually("its hashes are not believed", || {
        stand.swarm.0.refuted.lock().contains(&wrong).then_some(())
    })
    .await;
    let got = stand.world.get(URL).await;
    stand.object.check_whole(&got);
    let content = stand.world.content(URL, None).await;
    let sources = stand.world.download.sources(content.no);
    assert_eq!(sources.http, content.length(), "{sources:?}");
    eventually("its peers are left alone", || {
        (stand.swarm.links(content.no) == 0).then_some(())
    })
    .await;
}
