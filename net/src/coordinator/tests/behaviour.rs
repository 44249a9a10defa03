//! What a coordinator does, wherever it keeps things. The rule: the same tests over memory and over Redis.

use super::*;
use crate::coordinator::key::Key;
use crate::coordinator::{Publisher, Refusal};
use larder_content::Phf;
use larder_proto::tracker::message::{
    ContentPolicy, JoinAnswer, JoinEvent, LeaveRequest, PeerType, PublishRequest, Trust,
};
use larder_proto::tracker::query::{Named, PolicyQuery};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Runs them all over what `make` makes.
pub(super) async fn all(make: impl AsyncFn(&ServiceOptions) -> Backend) {
    let with = async |options: ServiceOptions| {
        let backend = make(&options).await;
        Coordinator::new(options, backend, Clock::start())
    };
    let plain = with(ServiceOptions::default()).await;
    modes_groups_and_sites(&plain).await;
    order_and_load(&plain).await;
    leaving(&plain).await;
    subnets(&plain).await;
    doubts(&plain).await;
    bounds(&plain).await;
    verified(&with(publishing()).await).await;
    attested(&with(publishing()).await).await;
    records_end(&with(publishing()).await).await;
    silence(&with(hasty()).await).await;
    quota(&with(hasty()).await).await;
}

#[tokio::test]
async fn in_memory_all_of_it_holds() {
    all(async |options: &ServiceOptions| in_memory(options)).await;
}

async fn told(coordinator: &Coordinator, site: u8, join: &JoinRequest) -> JoinAnswer {
    let answer = coordinator.join(&from(site), join).await.expect("answered");
    assert!(
        answer.peers.len() <= usize::from(join.peers_wanted),
        "more than wanted"
    );
    assert!(
        answer.peers.iter().all(|peer| peer.peer_id != join.peer_id),
        "oneself"
    );
    answer
}

async fn names(coordinator: &Coordinator, site: u8, join: &JoinRequest) -> BTreeSet<u8> {
    let answer = told(coordinator, site, join).await;
    answer.peers.iter().map(|peer| peer.peer_id.0[0]).collect()
}

async fn modes_groups_and_sites(coordinator: &Coordinator) {
    use DownloadMode::{Bypass, Group, HttpOnly, Internet, Lan, Simple};
    let (content, one, other) = (content(), group(), group());
    let of = |number, mode, group| {
        let mut join = join(content, number, mode);
        join.group_id = group;
        join.external_port = Some(17680);
        join
    };
    let all = [
        (1, of(1, Lan, None)),
        (1, of(2, Lan, None)),
        (2, of(3, Lan, None)),
        (1, of(4, Group, Some(one))),
        (2, of(5, Group, Some(one))),
        (1, of(6, Group, Some(other))),
        (1, of(7, Group, None)),
        (1, of(8, Internet, None)),
        (2, of(9, Internet, None)),
        (1, of(10, HttpOnly, None)),
        (1, of(11, Simple, Some(one))),
        (1, of(12, Bypass, None)),
    ];
    for (site, join) in &all {
        told(coordinator, *site, join).await;
    }
    let expected: [&[u8]; 12] = [
        &[2, 7, 8],
        &[1, 7, 8],
        &[9],
        &[5],
        &[4],
        &[],
        &[1, 2, 8],
        &[1, 2, 7, 9],
        &[3, 8],
        &[],
        &[],
        &[],
    ];
    for ((site, join), expected) in all.iter().zip(expected) {
        let expected: BTreeSet<u8> = expected.iter().copied().collect();
        assert_eq!(
            names(coordinator, *site, join).await,
            expected,
            "{:?}",
            join.peer_id
        );
    }
    let answer = told(coordinator, 1, &all[3].1).await;
    let far = &answer.peers[0];
    assert_eq!((far.peer_type, far.port), (PeerType::Group, 17680));
    assert_eq!(far.address, IpAddr::from([203, 0, 113, 2]));
    let answer = told(coordinator, 1, &all[0].1).await;
    assert!(
        answer
            .peers
            .iter()
            .all(|peer| peer.peer_type == PeerType::Lan)
    );
    let private = |ip: IpAddr| matches!(ip, IpAddr::V4(ip) if ip.is_private());
    assert!(
        answer
            .peers
            .iter()
            .all(|peer| private(peer.address) && peer.port == 7680)
    );
}

async fn order_and_load(coordinator: &Coordinator) {
    let id = content();
    for number in 1..=20 {
        let mut join = join(id, number, DownloadMode::Lan);
        join.peers_wanted = 0;
        join.upload_connections = u16::from(number % 4);
        join.preferred = number == 7 || number == 18;
        told(coordinator, 1, &join).await;
    }
    let mut asker = join(id, 99, DownloadMode::Lan);
    asker.restricted_upload = true;
    asker.peers_wanted = 7;
    let answer = told(coordinator, 1, &asker).await;
    assert_eq!(answer.peers.len(), 7);
    assert!(answer.peers[..2].iter().all(|peer| peer.preferred));
    let idle: BTreeSet<u8> = answer.peers[2..]
        .iter()
        .map(|peer| peer.peer_id.0[0])
        .collect();
    assert_eq!(idle, [4, 8, 12, 16, 20].into());
    // Who was told of counts as loaded: what comes is spread evenly.
    let id = content();
    for number in 1..=3 {
        let mut join = join(id, number, DownloadMode::Lan);
        join.peers_wanted = 0;
        told(coordinator, 1, &join).await;
    }
    asker.content_id = id;
    asker.peers_wanted = 1;
    let mut times = [0; 4];
    for _ in 0..12 {
        for name in names(coordinator, 1, &asker).await {
            times[usize::from(name)] += 1;
        }
    }
    assert_eq!(times, [0, 4, 4, 4]);
}

async fn leaving(coordinator: &Coordinator) {
    let content = content();
    let (one, two) = (
        join(content, 1, DownloadMode::Lan),
        join(content, 2, DownloadMode::Lan),
    );
    told(coordinator, 1, &one).await;
    assert_eq!(names(coordinator, 1, &two).await, [1].into());
    let leave = LeaveRequest {
        content_id: content,
        peer_id: one.peer_id,
        reported_ip: one.reported_ip.clone(),
        group_id: None,
    };
    coordinator.leave(&from(2), &leave).await.expect("answered");
    assert_eq!(
        names(coordinator, 1, &two).await,
        [1].into(),
        "by a stranger"
    );
    coordinator.leave(&from(1), &leave).await.expect("answered");
    assert_eq!(names(coordinator, 1, &two).await, [].into());
    let group = group();
    let changes: [fn(&mut JoinRequest); 4] = [
        |join| join.join_request_event = JoinEvent::Stopped,
        |join| join.download_mode = DownloadMode::Simple,
        |join| join.restricted_upload = true,
        |join| join.port = 0,
    ];
    for change in changes {
        told(coordinator, 1, &one).await;
        assert_eq!(names(coordinator, 1, &two).await, [1].into());
        let mut changed = one.clone();
        change(&mut changed);
        told(coordinator, 1, &changed).await;
        assert_eq!(names(coordinator, 1, &two).await, [].into(), "{changed:?}");
    }
    // Into a group, and out of it again.
    told(coordinator, 1, &one).await;
    let mut of_group = one.clone();
    of_group.download_mode = DownloadMode::Group;
    of_group.group_id = Some(group);
    told(coordinator, 1, &of_group).await;
    assert_eq!(names(coordinator, 1, &two).await, [].into());
    told(coordinator, 1, &one).await;
    let mut fellow = of_group.clone();
    fellow.peer_id = peer(3);
    assert_eq!(names(coordinator, 1, &fellow).await, [].into());
    assert_eq!(names(coordinator, 1, &two).await, [1].into());
}

async fn subnets(coordinator: &Coordinator) {
    let content = content();
    let restricted = |number: u8, third: u8| {
        let mut join = join(content, number, DownloadMode::Lan);
        join.reported_ip = vec![IpAddr::from([10, 0, third, number])];
        join.subnet_mask = Some([255, 255, 255, 0].into());
        join.restrict_peer_selection_by = 1;
        join
    };
    for (number, third) in [(1, 0), (2, 0), (3, 1)] {
        told(coordinator, 1, &restricted(number, third)).await;
    }
    let mut open = restricted(4, 1);
    open.restrict_peer_selection_by = 0;
    assert_eq!(names(coordinator, 1, &restricted(1, 0)).await, [2].into());
    assert_eq!(names(coordinator, 1, &open).await, [3].into());
    assert_eq!(names(coordinator, 1, &restricted(3, 1)).await, [4].into());
}

async fn doubts(coordinator: &Coordinator) {
    let content = content();
    for number in 1..=3 {
        told(coordinator, 1, &join(content, number, DownloadMode::Lan)).await;
    }
    let mut asker = join(content, 9, DownloadMode::Lan);
    asker.unreachable = vec![peer(2), peer(77)];
    asker.peers_wanted = 2;
    for _ in 0..3 {
        assert_eq!(names(coordinator, 1, &asker).await, [1, 3].into());
    }
    asker.peers_wanted = 3;
    let answer = told(coordinator, 1, &asker).await;
    assert_eq!(answer.peers.last().map(|last| last.peer_id), Some(peer(2)));
}

async fn bounds(coordinator: &Coordinator) {
    let id = content();
    for number in 0..130 {
        told(coordinator, 1, &join(id, number, DownloadMode::Lan)).await;
    }
    let mut asker = join(id, 200, DownloadMode::Lan);
    for (wanted, expected) in [(0, 0), (1, 1), (u16::MAX, 100)] {
        asker.peers_wanted = wanted;
        let answer = told(coordinator, 1, &asker).await;
        assert_eq!(answer.peers.len(), expected);
    }
    assert_eq!(
        told(coordinator, 9, &join(content(), 1, DownloadMode::Lan))
            .await
            .peers,
        []
    );
}

fn publishing() -> ServiceOptions {
    let key = |name: &str| Key::new(name, &[7; 32]).expect("long enough");
    let publisher = |name: &str, may_verify, group| Publisher {
        key: key(name),
        may_verify,
        group,
    };
    ServiceOptions {
        publishers: vec![
            publisher("vendor", true, None),
            publisher("berlin", false, Some(Guid([0xBE; 16]))),
            publisher("box", false, None),
        ],
        ..ServiceOptions::default()
    }
}

fn by(site: u8, publisher: &str) -> Caller {
    Caller {
        proven: Proven::Key(publisher.to_owned()),
        ..from(site)
    }
}

fn publication(trust: Trust) -> PublishRequest {
    let phf = Phf::new(3 << 20, vec![any(), any(), any()]).expect("three pieces");
    let mut publish = PublishRequest::new(phf, trust);
    let name = content().to_string();
    publish.content_cdn_urls = vec![format!("http://origin.example/{name}")];
    publish
}

async fn found(
    coordinator: &Coordinator,
    site: u8,
    named: Named,
    group: Option<Guid>,
) -> Option<ContentPolicy> {
    let mut asked = PolicyQuery::new(named);
    asked.group_id = group;
    match coordinator.policy(&from(site), &asked).await {
        Ok(policy) => Some(policy),
        Err(Refusal::Unknown) => None,
        Err(error) => panic!("{error}"),
    }
}

async fn verified(coordinator: &Coordinator) {
    let mut publish = publication(Trust::Verified);
    publish.foreground_qos_bps = Some(1_000_000);
    publish.max_cache_age_secs = Some(3600);
    let refused = coordinator.publish(&from(1), publish.clone()).await;
    assert!(matches!(refused, Err(Refusal::Unproven(_))), "{refused:?}");
    for nobody in ["box", "berlin", "somebody"] {
        let refused = coordinator.publish(&by(1, nobody), publish.clone()).await;
        assert!(
            matches!(refused, Err(Refusal::Forbidden(_))),
            "{nobody}: {refused:?}"
        );
    }
    let id = publish.phf.content_id();
    assert_eq!(
        found(coordinator, 1, Named::ContentId(id), None).await,
        None
    );
    coordinator
        .publish(&by(1, "vendor"), publish.clone())
        .await
        .expect("taken");
    for site in [1, 2] {
        for named in [
            Named::ContentId(id),
            Named::Url(publish.content_cdn_urls[0].clone()),
        ] {
            let policy = found(coordinator, site, named, Some(group()))
                .await
                .expect("known");
            assert_eq!(policy.phf.as_ref(), Some(&publish.phf));
            assert_eq!((policy.trust, policy.attested_by), (Trust::Verified, None));
            assert_eq!(policy.foreground_qos_bps, Some(1_000_000));
            assert_eq!(policy.max_cache_age_secs, Some(3600));
        }
    }
    // Said again without the URL, it is not found there any more; another content takes the URL.
    let url = publish.content_cdn_urls.pop().expect("one");
    coordinator
        .publish(&by(1, "vendor"), publish.clone())
        .await
        .expect("taken");
    assert_eq!(
        found(coordinator, 1, Named::Url(url.clone()), None).await,
        None
    );
    let mut other = publication(Trust::Verified);
    other.content_cdn_urls = vec![url.clone()];
    coordinator
        .publish(&by(1, "vendor"), other.clone())
        .await
        .expect("taken");
    let policy = found(coordinator, 1, Named::Url(url), None)
        .await
        .expect("known");
    assert_eq!(policy.content_id, other.phf.content_id());
}

async fn attested(coordinator: &Coordinator) {
    let berlin = Guid([0xBE; 16]);
    let mut publish = publication(Trust::Attested);
    let id = publish.phf.content_id();
    let url = Named::Url(publish.content_cdn_urls[0].clone());
    publish.group_id = Some(group());
    let refused = coordinator.publish(&by(1, "berlin"), publish.clone()).await;
    assert!(
        matches!(refused, Err(Refusal::Forbidden(_))),
        "another group: {refused:?}"
    );
    publish.group_id = Some(berlin);
    let refused = coordinator.publish(&by(1, "box"), publish.clone()).await;
    assert!(
        matches!(refused, Err(Refusal::Forbidden(_))),
        "no group: {refused:?}"
    );
    coordinator
        .publish(&by(1, "berlin"), publish.clone())
        .await
        .expect("taken");
    for named in [Named::ContentId(id), url] {
        let policy = found(coordinator, 2, named.clone(), Some(berlin))
            .await
            .expect("known");
        assert_eq!(policy.trust, Trust::Attested);
        assert_eq!(policy.attested_by.as_deref(), Some("berlin"));
        assert_eq!(
            found(coordinator, 1, named.clone(), Some(group())).await,
            None
        );
        assert_eq!(found(coordinator, 1, named, None).await, None);
    }
    // Without a group, it is for the site.
    let publish = publication(Trust::Attested);
    let named = Named::ContentId(publish.phf.content_id());
    coordinator
        .publish(&by(1, "box"), publish)
        .await
        .expect("taken");
    assert!(found(coordinator, 1, named.clone(), None).await.is_some());
    assert_eq!(found(coordinator, 2, named.clone(), None).await, None);
    assert_eq!(found(coordinator, 1, named, Some(berlin)).await, None);
}

async fn records_end(coordinator: &Coordinator) {
    let mut publish = publication(Trust::Verified);
    publish.expire_at = Some(1);
    let refused = coordinator.publish(&by(1, "vendor"), publish.clone()).await;
    assert!(matches!(refused, Err(Refusal::Message(_))), "{refused:?}");
    let now = coordinator.geo(&from(1)).server_time;
    publish.expire_at = Some(now + 2);
    coordinator
        .publish(&by(1, "vendor"), publish.clone())
        .await
        .expect("taken");
    let id = publish.phf.content_id();
    let policy = found(coordinator, 1, Named::ContentId(id), None).await;
    assert!(policy.is_none_or(|policy| policy.expire_at == now + 2));
    until(async || {
        found(coordinator, 1, Named::ContentId(id), None)
            .await
            .is_none()
    })
    .await;
}

/// Waits for a condition.
pub(super) async fn until(mut condition: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !condition().await {
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "it never came true"
        );
        tokio::task::yield_now().await;
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

async fn silence(coordinator: &Coordinator) {
    let content = content();
    told(coordinator, 1, &join(content, 1, DownloadMode::Lan)).await;
    let mut asker = join(content, 2, DownloadMode::Lan);
    asker.restricted_upload = true;
    until(async || names(coordinator, 1, &asker).await.is_empty()).await;
}

async fn quota(coordinator: &Coordinator) {
    let mut join = join(content(), 1, DownloadMode::Lan);
    join.peer_id = group();
    let first = join.clone();
    told(coordinator, 1, &join).await;
    for _ in 1..8 {
        join.content_id = content();
        told(coordinator, 1, &join).await;
    }
    join.content_id = content();
    let refused = coordinator.join(&from(1), &join).await;
    let of_caller = matches!(
        refused,
        Err(Refusal::TooMuch {
            of_caller: true,
            ..
        })
    );
    assert!(of_caller, "{refused:?}");
    told(coordinator, 1, &first).await;
}
