//! All wanted pieces, in every order that is asked for. The rule: a piece is in the books of where it stands and in no
//! others, and only this file moves it.

use super::want::{Rank, Stand, Want, Wanted};
use crate::Time;
use larder_content::{ContentNo, PieceId};
use std::collections::{BTreeMap, BTreeSet};

/// See the file's head.
#[derive(Debug, Default)]
pub(super) struct Books {
    wants: BTreeMap<PieceId, Wanted>,
    ready: BTreeSet<Rank>,
    paused: BTreeSet<(Time, PieceId)>,
    /// Ready or paused.
    open: BTreeSet<Rank>,
    open_by_content: BTreeSet<(ContentNo, Rank)>,
    /// Contents of which nothing is begun; what waits of them is in none of the orders.
    held: BTreeSet<ContentNo>,
    arrivals: u64,
}

impl Books {
    pub(super) fn get(&self, id: PieceId) -> Option<&Wanted> {
        self.wants.get(&id)
    }

    /// What is ready, in its order.
    pub(super) fn ready(&self) -> impl Iterator<Item = &Rank> {
        self.ready.iter()
    }

    /// What is not under way, in its order.
    pub(super) fn open(&self) -> impl ExactSizeIterator<Item = &Rank> {
        self.open.iter()
    }

    /// The same of one content.
    pub(super) fn open_of(&self, content: ContentNo) -> impl Iterator<Item = &Want> {
        let first = PieceId { content, piece: 0 };
        let from = (content, (false, Time::default(), 0, first));
        let of_content = self.open_by_content.range(from..);
        of_content
            .take_while(move |(of, _)| *of == content)
            .filter_map(|(_, rank)| self.wants.get(&rank.3))
            .map(|wanted| &wanted.want)
    }

    /// When the next pause ends.
    pub(super) fn pause_end(&self) -> Option<Time> {
        self.paused.first().map(|(until, _)| *until)
    }

    /// Adds a piece that is not here yet.
    pub(super) fn add(&mut self, want: Want) {
        self.arrivals += 1;
        let mut wanted = Wanted {
            want,
            arrival: self.arrivals,
            failures: 0,
            patience_until: Time::default(),
            stand: Stand::Ready,
            dropped: false,
        };
        wanted.stand = wanted.at_rest();
        self.enter(&wanted);
        self.wants.insert(want.id, wanted);
    }

    /// Changes a piece, and moves it in all books to where it stands then. False where it is not wanted.
    pub(super) fn change(&mut self, id: PieceId, change: impl FnOnce(&mut Wanted)) -> bool {
        // Out and in again, whatever changes: that way no change can be missed.
        let Some(mut wanted) = self.forget(id) else {
            return false;
        };
        change(&mut wanted);
        self.enter(&wanted);
        self.wants.insert(id, wanted);
        true
    }

    /// Moves a piece to `stand`.
    pub(super) fn stand(&mut self, id: PieceId, stand: Stand) {
        self.change(id, |wanted| wanted.stand = stand);
    }

    /// Takes a piece out.
    pub(super) fn forget(&mut self, id: PieceId) -> Option<Wanted> {
        let wanted = self.wants.remove(&id)?;
        let rank = wanted.rank();
        match wanted.stand {
            Stand::Ready => _ = self.ready.remove(&rank),
            Stand::Paused(until) => _ = self.paused.remove(&(until, id)),
            Stand::UnderWay(_) => return Some(wanted),
        }
        self.open.remove(&rank);
        self.open_by_content.remove(&(id.content, rank));
        Some(wanted)
    }

    /// Makes ready what has paused long enough.
    pub(super) fn end_pauses(&mut self, now: Time) {
        while let Some((until, id)) = self.paused.first().copied()
            && until <= now
        {
            self.stand(id, Stand::Ready);
        }
    }

    /// What else waits of a content whose origin asked for patience `until` then waits so long as well; what failed
    /// before has a pause of its own.
    pub(super) fn pause_content(&mut self, content: ContentNo, now: Time, until: Time) {
        let open: Vec<PieceId> = self.open_of(content).map(|want| want.id).collect();
        for id in open {
            self.change(id, |wanted| {
                if wanted.patience_until <= now {
                    wanted.patience_until = until;
                    wanted.stand = wanted.at_rest();
                }
            });
        }
    }

    /// Lets the origins be asked for what waits of a content.
    pub(super) fn release_http(&mut self, content: ContentNo) {
        let first = PieceId { content, piece: 0 };
        let last = PieceId {
            content,
            piece: u32::MAX,
        };
        let held: Vec<PieceId> = self
            .wants
            .range(first..=last)
            .filter(|(_, wanted)| wanted.want.http_not_before > Time::default())
            .map(|(id, _)| *id)
            .collect();
        for id in held {
            self.hold_http(id, Time::default());
        }
    }

    /// Leaves a piece to the peers until then.
    pub(super) fn hold_http(&mut self, id: PieceId, until: Time) {
        self.change(id, |wanted| {
            wanted.want.http_not_before = until;
            if !matches!(wanted.stand, Stand::UnderWay(_)) {
                wanted.stand = wanted.at_rest();
            }
        });
    }

    /// Begins nothing of a content from now on.
    pub(super) fn hold(&mut self, content: ContentNo) {
        self.held.insert(content);
        self.sort_again(content);
    }

    /// The end of that.
    pub(super) fn let_go(&mut self, content: ContentNo) {
        self.held.remove(&content);
        self.sort_again(content);
    }

    pub(super) fn is_held(&self, content: ContentNo) -> bool {
        self.held.contains(&content)
    }

    pub(super) fn held(&self) -> impl Iterator<Item = ContentNo> {
        self.held.iter().copied()
    }

    /// All that is wanted of a content, whether it waits or is under way.
    pub(super) fn of(&self, content: ContentNo) -> impl Iterator<Item = PieceId> {
        let first = PieceId { content, piece: 0 };
        let last = PieceId {
            content,
            piece: u32::MAX,
        };
        self.wants.range(first..=last).map(|(id, _)| *id)
    }

    fn sort_again(&mut self, content: ContentNo) {
        let ids: Vec<PieceId> = self.of(content).collect();
        for id in ids {
            self.change(id, |_| {});
        }
    }

    fn enter(&mut self, wanted: &Wanted) {
        let (id, rank) = (wanted.want.id, wanted.rank());
        if self.held.contains(&id.content) {
            return;
        }
        match wanted.stand {
            Stand::Ready => _ = self.ready.insert(rank),
            Stand::Paused(until) => _ = self.paused.insert((until, id)),
            Stand::UnderWay(_) => return,
        }
        self.open.insert(rank);
        self.open_by_content.insert((id.content, rank));
    }
}
