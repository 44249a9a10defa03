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

    /// What is paused, by the end of its pause.
    pub(super) fn paused(&self) -> impl Iterator<Item = &(Time, PieceId)> {
        self.paused.iter()
    }

    /// How many pieces are not under way.
    pub(super) fn waiting(&self) -> usize {
        self.ready.len() + self.paused.len()
    }

    /// Adds a piece that is not here yet.
    pub(super) fn add(&mut self, want: Want) {
        self.arrivals += 1;
        let wanted = Wanted {
            want,
            arrival: self.arrivals,
            failures: 0,
            stand: Stand::Ready,
            dropped: false,
        };
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
        match wanted.stand {
            Stand::Ready => _ = self.ready.remove(&wanted.rank()),
            Stand::Paused(until) => _ = self.paused.remove(&(until, id)),
            Stand::UnderWay(_) => {}
        }
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

    /// What else is ready of a content whose origin asked for patience waits as well.
    pub(super) fn pause_content(&mut self, content: ContentNo, until: Time) {
        let ready: Vec<PieceId> = self
            .of_content(content)
            .filter(|wanted| wanted.stand == Stand::Ready)
            .map(|wanted| wanted.want.id)
            .collect();
        for id in ready {
            self.stand(id, Stand::Paused(until));
        }
    }

    fn of_content(&self, content: ContentNo) -> impl Iterator<Item = &Wanted> {
        let first = PieceId { content, piece: 0 };
        let last = PieceId {
            content,
            piece: u32::MAX,
        };
        self.wants.range(first..=last).map(|(_, wanted)| wanted)
    }

    fn enter(&mut self, wanted: &Wanted) {
        match wanted.stand {
            Stand::Ready => _ = self.ready.insert(wanted.rank()),
            Stand::Paused(until) => _ = self.paused.insert((until, wanted.want.id)),
            Stand::UnderWay(_) => {}
        }
    }
}
