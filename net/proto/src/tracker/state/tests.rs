//! The peers in memory against a list that is searched from end to end, and the rules of handing out one by one.

use super::*;
use crate::tracker::message::{DownloadMode, JoinEvent, JoinRequest};
use crate::tracker::site::Sites;
use std::collections::BTreeSet;
use std::net::IpAddr;

const GROUP: Guid = Guid([0xAA; 16]);
const OTHER: Guid = Guid([0xBB; 16]);

/// A coordinator's table with its clock.
struct Table {
    state: State,
    now: Time,
    rolls: u64,
}

/// One peer of the tests: a number, a mode, a group, and where it is seen.
#[derive(Clone)]
struct Peer {
    join: JoinRequest,
    seen: IpAddr,
}

fn id(number: u16) -> Guid {
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&number.to_be_bytes());
    Guid(bytes)
}

fn peer(number: u16, mode: DownloadMode) -> Peer {
    let [high, low] = number.to_be_bytes();
    let mut join = JoinRequest::new(ContentId([1; 32]), id(number), 7680, mode);
    join.reported_ip = vec![IpAddr::from([10, 0, high, low])];
    join.peers_wanted = 50;
    Peer {
        join,
        seen: IpAddr::from([203, 0, 113, 1]),
    }
}

impl Peer {
    fn of(mut self, group: Guid) -> Self {
        self.join.group_id = Some(group);
        self
    }

    fn at(mut self, site: u8) -> Self {
        self.seen = IpAddr::from([203, 0, 113, site]);
        self.join.external_port = Some(1000 + u16::from(site));
        self
    }

    fn with(mut self, set: impl FnOnce(&mut JoinRequest)) -> Self {
        set(&mut self.join);
        self
    }
}

impl Table {
    fn new(limits: Limits) -> Self {
        Self {
            state: State::new(limits, 99),
            now: Time::from_micros(5_000_000),
            rolls: 0,
        }
    }

    fn join(&mut self, peer: &Peer) -> Vec<PeerAddress> {
        self.try_join(peer).expect("room for it")
    }

    fn try_join(&mut self, peer: &Peer) -> Result<Vec<PeerAddress>, NoRoom> {
        self.rolls += 1;
        let joining = Joining::of(&peer.join, peer.seen, &Sites::default());
        let peers = self.state.join(&joining, self.now, self.rolls)?;
        self.check();
        assert!(peers.len() <= usize::from(peer.join.peers_wanted));
        let names: BTreeSet<Guid> = peers.iter().map(|peer| peer.peer_id).collect();
        assert_eq!(names.len(), peers.len(), "one peer twice");
        assert!(!names.contains(&peer.join.peer_id), "oneself");
        Ok(peers)
    }

    fn leave(&mut self, peer: &Peer) -> bool {
        let joining = Joining::of(&peer.join, peer.seen, &Sites::default());
        let was = self
            .state
            .leave(joining.content, joining.member.peer_id, joining.room.site);
        self.check();
        was
    }

    fn check(&self) {
        let members: usize = self
            .state
            .swarms
            .iter()
            .map(|swarm| swarm.entries().len())
            .sum();
        assert_eq!(members, self.state.members());
        let counted: usize = self
            .state
            .contents
            .values()
            .map(|count| usize::from(*count))
            .sum();
        assert_eq!(counted, members);
        for (at, swarm) in self.state.swarms.iter().enumerate() {
            assert!(!swarm.is_empty());
            assert_eq!(
                self.state.by_id.get(&swarm.content()),
                Some(&u32::try_from(at).unwrap())
            );
            swarm.check();
        }
        assert_eq!(self.state.by_id.len(), self.state.swarms.len());
    }
}

fn names(peers: &[PeerAddress]) -> BTreeSet<u16> {
    let number = |peer: &PeerAddress| u16::from_be_bytes([peer.peer_id.0[0], peer.peer_id.0[1]]);
    peers.iter().map(number).collect()
}

use DownloadMode::{Bypass, Group, HttpOnly, Internet, Lan, Simple};

#[test]
fn who_meets_whom_is_a_matter_of_mode_group_and_site() {
    let all = [
        peer(1, Lan).at(1),
        peer(2, Lan).at(1),
        peer(3, Lan).at(2),
        peer(4, Group).at(1).of(GROUP),
        peer(5, Group).at(2).of(GROUP),
        peer(6, Group).at(1).of(OTHER),
        // Without a group, its site is its group.
        peer(7, Group).at(1),
        peer(8, Internet).at(1),
        peer(9, Internet).at(2),
        // A group means nothing but in mode 2.
        peer(10, Lan).at(1).of(GROUP),
        peer(11, HttpOnly).at(1),
        peer(12, Simple).at(1).of(GROUP),
        peer(13, Bypass).at(1),
    ];
    let mut table = Table::new(Limits::default());
    for one in &all {
        table.join(one);
    }
    let expected: [&[u16]; 13] = [
        &[2, 7, 8, 10],
        &[1, 7, 8, 10],
        &[9],
        &[5],
        &[4],
        &[],
        &[1, 2, 8, 10],
        &[1, 2, 7, 9, 10],
        &[3, 8],
        &[1, 2, 7, 8],
        &[],
        &[],
        &[],
    ];
    for (one, expected) in all.iter().zip(expected) {
        let told = table.join(one);
        assert_eq!(
            names(&told),
            expected.iter().copied().collect(),
            "{:?}",
            one.join.peer_id
        );
        for other in &told {
            let near = match names(std::slice::from_ref(other)).first() {
                Some(number) if all[usize::from(*number) - 1].seen == one.seen => PeerType::Lan,
                _ if one.join.download_mode == Group => PeerType::Group,
                _ => PeerType::Internet,
            };
            assert_eq!(other.peer_type, near);
            let private = matches!(other.address, IpAddr::V4(ip) if ip.is_private());
            assert_eq!(private, near == PeerType::Lan, "{other:?}");
        }
    }
}

#[test]
fn preferred_devices_come_first_then_the_least_loaded_and_load_is_spread() {
    let mut table = Table::new(Limits::default());
    for number in 1..=40 {
        let loaded = peer(number, Lan).with(|join| {
            join.upload_connections = number % 4;
            join.peers_wanted = 0;
            join.preferred = number == 7 || number == 23;
        });
        table.join(&loaded);
    }
    let asker = peer(100, Lan).with(|join| join.peers_wanted = 12);
    let told = table.join(&asker);
    assert_eq!(told.len(), 12);
    assert!(told[..2].iter().all(|peer| peer.preferred));
    let idle = names(&told[2..]);
    assert!(idle.iter().all(|number| number % 4 == 0), "{idle:?}");
    // One that was told of is loaded from then on: three idle ones share what comes.
    let mut table = Table::new(Limits::default());
    for number in 1..=3 {
        table.join(&peer(number, Lan).with(|join| join.peers_wanted = 0));
    }
    let mut told = [0; 4];
    for number in 0..30 {
        let asker = peer(200 + number, Lan).with(|join| {
            join.peers_wanted = 1;
            join.restricted_upload = true;
        });
        for name in names(&table.join(&asker)) {
            told[usize::from(name)] += 1;
        }
    }
    assert_eq!(told, [0, 10, 10, 10]);
}

#[test]
fn equals_are_chosen_by_chance_and_the_same_seed_chooses_the_same() {
    let chosen = |seed: u64| {
        let mut state = State::new(Limits::default(), 1);
        for number in 1..=200 {
            let one = peer(number, Lan).with(|join| join.peers_wanted = 0);
            let joining = Joining::of(&one.join, one.seen, &Sites::default());
            state.join(&joining, Time::default(), 0).expect("room");
        }
        let asker = peer(300, Lan).with(|join| join.peers_wanted = 10);
        let joining = Joining::of(&asker.join, asker.seen, &Sites::default());
        names(&state.join(&joining, Time::default(), seed).expect("room"))
    };
    assert_eq!(chosen(1), chosen(1));
    assert_ne!(chosen(1), chosen(2));
}

#[test]
fn the_dead_are_told_to_nobody() {
    let ttl = Limits::default().peer_ttl;
    let mut table = Table::new(Limits::default());
    let (one, two) = (peer(1, Lan), peer(2, Lan));
    table.join(&one);
    assert_eq!(names(&table.join(&two)), [1].into());
    table.now = table.now + (ttl - Duration::from_secs(1));
    assert_eq!(names(&table.join(&two)), [1].into());
    table.now = table.now + Duration::from_secs(1);
    assert_eq!(names(&table.join(&two)), [].into());
    assert_eq!(table.state.members(), 1, "it is let go of");
    table.join(&one);
    assert!(table.leave(&one));
    assert!(!table.leave(&one));
    assert_eq!(names(&table.join(&two)), [].into());
    // Who stops leaves; so does who changes to a mode without peers.
    for change in [
        peer(1, Lan).with(|join| join.join_request_event = JoinEvent::Stopped),
        peer(1, Simple),
        peer(1, Lan).with(|join| join.restricted_upload = true),
        peer(1, Lan).with(|join| join.port = 0),
        peer(1, Group).of(GROUP),
    ] {
        table.join(&one);
        assert_eq!(names(&table.join(&two)), [1].into());
        table.join(&change);
        assert_eq!(names(&table.join(&two)), [].into(), "{:?}", change.join);
    }
}

#[test]
fn those_who_were_not_reached_come_last() {
    let mut table = Table::new(Limits::default());
    for number in 1..=3 {
        table.join(&peer(number, Lan));
    }
    let asker = peer(9, Lan).with(|join| {
        join.peers_wanted = 2;
        join.unreachable = vec![id(2), id(77)];
    });
    for _ in 0..4 {
        assert_eq!(names(&table.join(&asker)), [1, 3].into());
    }
    for _ in 0..4 {
        // It speaks, so it lives.
        table.join(&peer(2, Lan));
    }
    let asker = peer(9, Lan).with(|join| join.peers_wanted = 1);
    let told: BTreeSet<u16> = (0..3).flat_map(|_| names(&table.join(&asker))).collect();
    assert!(told.contains(&2), "{told:?}");
}

#[test]
fn only_its_own_site_makes_a_peer_leave_or_change() {
    let mut table = Table::new(Limits::default());
    let one = peer(1, Lan).at(1);
    table.join(&one);
    let stranger = peer(1, Lan).at(2).with(|join| join.port = 9);
    assert!(!table.leave(&stranger));
    table.join(&stranger);
    let told = table.join(&peer(2, Lan).at(1));
    assert_eq!((names(&told), told[0].port), ([1].into(), 7680));
}

#[test]
fn bounds_hold_and_those_who_are_in_stay_in() {
    let limits = Limits {
        peers_max: 5,
        contents_per_peer_max: 3,
        ..Limits::default()
    };
    let mut table = Table::new(limits);
    let other =
        |number, content| peer(number, Lan).with(|join| join.content_id = ContentId([content; 32]));
    for content in 1..=3 {
        table.join(&other(1, content));
    }
    assert_eq!(table.try_join(&other(1, 4)), Err(NoRoom::Contents));
    table.join(&other(2, 1));
    table.join(&other(3, 1));
    assert_eq!(table.try_join(&other(4, 1)), Err(NoRoom::Full));
    assert_eq!(names(&table.join(&other(3, 1))), [1, 2].into());
    assert!(table.leave(&other(1, 3)));
    table.join(&other(1, 4));
    // The overdue make room.
    table.now = table.now + limits.peer_ttl;
    table.join(&other(4, 1));
    assert_eq!(table.state.members(), 1);
}

#[test]
fn large_rooms_give_what_is_asked_for_and_always_their_preferred_devices() {
    let mut table = Table::new(Limits::default());
    let joinings = |range: std::ops::Range<u16>, site: u8| {
        range.map(move |number| peer(number, Group).of(GROUP).at(site))
    };
    for one in joinings(0..3000, 1).chain(joinings(3000..3300, 2)) {
        let one =
            one.with(|join| join.preferred = join.peer_id == id(2222) || join.peer_id == id(3111));
        let joining = Joining::of(&one.join, one.seen, &Sites::default());
        table.state.join(&joining, table.now, 7).expect("room");
    }
    table.check();
    let asker = peer(5000, Group).of(GROUP).at(1);
    for _ in 0..5 {
        let told = table.join(&asker);
        assert_eq!(told.len(), 50);
        assert_eq!(told[0].peer_id, id(2222));
        assert!(told.iter().all(|peer| peer.peer_type == PeerType::Lan));
    }
    let elsewhere = peer(5001, Group).of(GROUP).at(9);
    let told = table.join(&elsewhere);
    assert_eq!(told.len(), 50);
    assert!(names(&told[..2]).is_superset(&[2222, 3111].into()));
}

/// Peers by chance come, change, go and fall silent; what they are told is compared with a list that is searched from
/// end to end.
#[test]
fn what_is_told_is_what_a_search_of_all_peers_finds() {
    let seed = std::env::var("LARDER_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seeds = seed.map_or(0..40_u64, |seed| seed..seed + 1);
    for seed in seeds {
        eprintln!("LARDER_SEED={seed}");
        let mut dice = Dice::new(seed);
        let mut table = Table::new(Limits::default());
        // By content, peer and site: until when, and as what.
        let mut model: HashMap<(ContentId, Guid, Site), (Time, Joining)> = HashMap::new();
        let sites = Sites::default();
        for _ in 0..600 {
            table.now = table.now + Duration::from_millis(dice.roll() % 700);
            let number = u16::try_from(dice.below(40)).expect("small");
            let mode = [Lan, Lan, Group, Group, Internet, HttpOnly][dice.below(6)];
            let site = u8::try_from(dice.below(3)).expect("small");
            let content = u8::try_from(dice.below(3)).expect("small");
            let group = [GROUP, OTHER][dice.below(2)];
            let flags = dice.roll();
            let one = peer(number, mode).at(site).of(group).with(|join| {
                join.content_id = ContentId([content; 32]);
                join.preferred = flags & 15 == 0;
                join.restricted_upload = flags & 0xF0 == 0;
                join.left = (flags & 0x300 == 0).then_some(0);
                join.restrict_peer_selection_by = u8::from(flags & 0x1C00 == 0);
                join.subnet_mask = Some([255, 255, 255, 240].into());
                join.group_id = join.group_id.filter(|_| flags & 0x2000 != 0);
            });
            let joining = Joining::of(&one.join, one.seen, &sites);
            let name = (joining.content, joining.member.peer_id, joining.room.site);
            if dice.below(10) == 0 {
                let there = model
                    .remove(&name)
                    .is_some_and(|(until, _)| until > table.now);
                assert!(!there || table.leave(&one), "a member that was lost");
                continue;
            }
            let told = names(&table.join(&one));
            model.remove(&name);
            let now = Time::from_micros(table.now.as_micros() / 1_000_000 * 1_000_000);
            let mut expected = BTreeSet::new();
            for (until, other) in model.values() {
                let same_site = other.room.site == joining.room.site;
                let near = match (same_site, joining.room.group) {
                    (true, _) => PeerType::Lan,
                    (false, Some(_)) => PeerType::Group,
                    (false, None) => PeerType::Internet,
                };
                let both = joining.member.is_internet() && other.member.is_internet();
                let meets = other.room.group == joining.room.group
                    && (same_site || joining.room.group.is_some() || both);
                if joining.wanted > 0
                    && other.content == joining.content
                    && meets
                    && *until > now
                    && way(&joining.member, &other.member, near).is_some()
                {
                    let name = other.member.peer_id.0;
                    expected.insert(u16::from_be_bytes([name[0], name[1]]));
                }
            }
            assert_eq!(told, expected, "seed {seed}");
            if joining.stay == Stay::Known {
                model.insert(name, (now + Limits::default().peer_ttl, joining));
            }
        }
    }
}
