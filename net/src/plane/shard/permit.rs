//! Which peers of a shard are given anything. The rule: [`larder_proto::policy::serving`] decides, to which the other end of
//! a link is like one of our own network; a change chokes and unchokes those who are connected within a second, and nobody
//! hears why.

use super::link::{Brain, Peer};
use super::{Common, Shard};
use crate::plane::permit::Surroundings;
use crate::settings::Settings;
use larder_content::ContentId;
use larder_proto::policy::PeerType;
use larder_proto::policy::serving::{Near, is_answered, may_serve};
use larder_proto::swarm::PeerId;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// What a peer said, by which it can be told who it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hello {
    pub(super) swarm: ContentId,
    pub(super) peer: PeerId,
    pub(super) suffix: [u8; 4],
}

/// Of our own network. The other end of a link is held to be so, whatever the mode: the administrator named it.
const OWN: Near = Near {
    kind: PeerType::Lan,
    same_subnet: true,
};

/// Kinds of peers that can be decided about apart.
const KINDS: [Near; 4] = [
    OWN,
    Near {
        kind: PeerType::Lan,
        same_subnet: false,
    },
    Near {
        kind: PeerType::Group,
        same_subnet: false,
    },
    Near {
        kind: PeerType::Internet,
        same_subnet: false,
    },
];

/// What holds for the peers of a shard at the moment.
#[derive(Debug)]
pub(super) struct Permit {
    surroundings: Arc<Surroundings>,
    settings: Arc<Settings>,
    is_over: bool,
    serves: [bool; KINDS.len()],
}

impl Permit {
    pub(super) fn new(common: &Common, settings: &Arc<Settings>) -> Self {
        let surroundings = common.parts.surroundings.load_full();
        let is_over = common.parts.monthly.is_over();
        Self {
            serves: serves(settings, &surroundings, is_over),
            surroundings,
            settings: Arc::clone(settings),
            is_over,
        }
    }

    /// Takes note of what has changed; true where that may matter to peers that are connected.
    fn look(&mut self, common: &Common, settings: &Arc<Settings>) -> bool {
        let surroundings = common.parts.surroundings.load();
        let is_over = common.parts.monthly.is_over();
        if Arc::ptr_eq(&surroundings, &self.surroundings)
            && Arc::ptr_eq(settings, &self.settings)
            && is_over == self.is_over
        {
            return false;
        }
        let key_name = |of: &Surroundings| of.group_key.as_ref().map(|key| key.name().to_owned());
        let others = surroundings.around != self.surroundings.around
            || key_name(&surroundings) != key_name(&self.surroundings);
        let before = self.serves;
        self.surroundings = Arc::clone(&surroundings);
        self.settings = Arc::clone(settings);
        self.is_over = is_over;
        self.serves = serves(settings, &self.surroundings, is_over);
        others || self.serves != before
    }

    /// What a peer is to us.
    fn near(&self, from: Option<IpAddr>, hello: &Hello) -> Near {
        // Of a socket that is gone nothing is known, and nothing is sent by it.
        let from = from.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let key = self.surroundings.group_key.as_ref();
        let is_marked = key.is_some_and(|key| key.mark(&hello.swarm, &hello.peer) == hello.suffix);
        let of_group = is_marked || self.is_on_link(Some(from));
        self.surroundings.around.near(from, of_group)
    }

    fn is_on_link(&self, from: Option<IpAddr>) -> bool {
        from.is_some_and(|from| self.settings.links.of(from).is_some())
    }

    /// What it counts as where policies decide.
    fn held_for(&self, from: Option<IpAddr>, near: Near) -> Near {
        if self.is_on_link(from) { OWN } else { near }
    }

    fn serves(&self, from: Option<IpAddr>, near: Near) -> bool {
        let held_for = self.held_for(from, near);
        let at = KINDS.iter().position(|kind| *kind == held_for);
        // Who is in our own network is of the LAN.
        at.is_some_and(|at| self.serves[at])
    }
}

fn serves(settings: &Settings, at: &Surroundings, is_over: bool) -> [bool; KINDS.len()] {
    let policies = &settings.policies;
    // Who keeps the count has said whether the cap is reached.
    let month_bytes = if is_over { u64::MAX } else { 0 };
    KINDS.map(|near| may_serve(policies, &at.facts, near, month_bytes).is_ok())
}

impl Peer {
    /// Whether bytes for it are counted by the month.
    pub(super) fn is_internet(&self) -> bool {
        self.near
            .is_some_and(|near| near.kind == PeerType::Internet)
    }
}

impl Shard {
    /// A peer has said who it is; whether it is answered.
    pub(super) fn meets(&self, peer: &mut Peer, hello: Hello) -> bool {
        let near = self.permit.near(peer.address, &hello);
        (peer.hello, peer.near) = (Some(hello), Some(near));
        let held_for = self.permit.held_for(peer.address, near);
        is_answered(&self.settings.policies, held_for).is_ok()
    }

    /// Whether a peer may be let ask.
    pub(super) fn may_ask(&self, peer: &Peer) -> bool {
        peer.near
            .is_some_and(|near| self.permit.serves(peer.address, near))
    }

    /// Looks whether others may ask than before.
    pub(super) fn look_who_may_ask(&mut self) {
        if !self.permit.look(&self.common, &self.settings) {
            return;
        }
        for token in self.links.tokens() {
            let Some(link) = self.links.get(token) else {
                continue;
            };
            let Brain::Peer(peer) = &mut link.conn else {
                continue;
            };
            let Some(hello) = &peer.hello else {
                continue;
            };
            let near = self.permit.near(peer.address, hello);
            peer.near = Some(near);
            let serves = self.permit.serves(peer.address, near);
            let wants = peer.serving.session().is_interested() && serves;
            self.peers.wants(token, wants, self.now);
        }
        self.hand_out_slots(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::links::Links;
    use larder_proto::http::route::OriginRules;
    use larder_proto::links::{End, Link};
    use larder_proto::policy::DownloadMode;

    /// Who is answered, and who is served, of those at the two addresses: the other end of a link, and a stranger.
    fn of(mode: DownloadMode, addresses: [&str; 2]) -> [(bool, bool); 2] {
        let link = Link {
            name: "hamburg".to_owned(),
            ends: vec![End::read("203.0.113.12").expect("an address")],
            networks: vec!["10.2.0.0/16".parse().expect("a network")],
            cost: 10,
            bytes_per_second_max: 0,
        };
        let rules = OriginRules::new(&[], None, [], &[]).expect("sound rules");
        let mut settings = Settings::new(rules);
        settings.links = Arc::new(Links::new(100, vec![link]));
        settings.policies.mode = mode;
        settings.policies.same_subnet_only = true;
        let surroundings = Arc::new(Surroundings::default());
        let permit = Permit {
            serves: serves(&settings, &surroundings, false),
            surroundings,
            settings: Arc::new(settings),
            is_over: false,
        };
        let hello = Hello {
            swarm: ContentId([1; 32]),
            peer: PeerId([2; 16]),
            suffix: [0; 4],
        };
        addresses.map(|address| {
            let from = Some(address.parse().expect("an address"));
            let near = permit.near(from, &hello);
            let held_for = permit.held_for(from, near);
            let answered = is_answered(&permit.settings.policies, held_for).is_ok();
            (answered, permit.serves(from, near))
        })
    }

    #[test]
    fn the_other_end_of_a_link_is_served_in_every_mode_that_has_peers() {
        let (yes, no) = ((true, true), (false, false));
        for (mode, linked, stranger) in [
            (DownloadMode::HttpOnly, no, no),
            (DownloadMode::Lan, yes, no),
            (DownloadMode::Group, yes, no),
            (DownloadMode::Internet, yes, yes),
            (DownloadMode::Bypass, no, no),
        ] {
            let public = of(mode, ["203.0.113.12", "203.0.113.13"]);
            assert_eq!(public, [linked, stranger], "{mode:?}, public");
            let private = of(mode, ["10.2.3.4", "198.51.100.1"]);
            assert_eq!(private, [linked, stranger], "{mode:?}, private");
        }
    }
}
