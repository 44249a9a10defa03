//! What a session asks of its peer. The rule: bytes are given on only where they were asked for and are still wanted, and
//! bytes that nobody ever asked for end the session.

use super::{Action, Limits, Phase, Session, Why};
use crate::swarm::wire::{Block, Message};
use crate::time::Time;

/// Blocks that were called off and may come all the same.
const VOID_MAX: usize = 512;

impl Session {
    /// Whether [`Event::Ask`](super::Event::Ask) would have an effect: the peer lets us ask, has the piece, the block is one, and not too
    /// many are under way.
    #[must_use]
    pub fn may_ask(&self, block: Block, limits: &Limits) -> bool {
        self.phase == Phase::Open
            && !self.choked
            && self.theirs.has(block.piece)
            && self.is_block(block, limits)
            && self.asked.len() < limits.asks_max
    }

    /// Blocks that were asked for and have not come whole.
    #[must_use]
    pub fn asked(&self) -> usize {
        self.asked.len()
    }

    /// See [`Event::Ask`](super::Event::Ask).
    pub(super) fn ask(&mut self, block: Block, limits: &Limits, now: Time) {
        if self.may_ask(block, limits) {
            self.asked.push_back((block, now));
            self.say(Message::Request(block));
        }
    }

    pub(super) fn data<'b>(
        &mut self,
        block: Block,
        at: u32,
        bytes: &'b [u8],
        now: Time,
    ) -> Result<Option<Action<'b>>, Why> {
        let asked = self.asked.iter().position(|(asked, _)| *asked == block);
        if at == 0 {
            self.coming = asked.map(|_| block);
            if asked.is_none() {
                let void = self.void.iter().position(|void| *void == block);
                self.void.remove(void.ok_or(Why::Unasked)?);
            }
        }
        let Some(asked) = asked.filter(|_| self.coming == Some(block)) else {
            return Ok(None);
        };
        self.delivered = now;
        if at as usize + bytes.len() == block.len as usize {
            self.asked.remove(asked);
            self.coming = None;
        }
        Ok(Some(Action::Data { block, at, bytes }))
    }

    pub(super) fn call_off(&mut self, block: Block) {
        if let Some(at) = self.asked.iter().position(|(asked, _)| *asked == block) {
            self.asked.remove(at);
            self.void(block);
            self.say(Message::Cancel(block));
        }
    }

    /// Bytes of the block may come and are not wanted.
    pub(super) fn void(&mut self, block: Block) {
        if self.coming == Some(block) {
            // The rest of it is passed over as it comes.
            self.coming = None;
            return;
        }
        self.void.push_back(block);
        if self.void.len() > VOID_MAX {
            self.void.pop_front();
        }
    }

    /// When the block that waits longest is late. Blocks come one after the other, so while any comes, none is late.
    pub(super) fn late_at(&self, limits: &Limits) -> Option<Time> {
        let (_, asked) = self.asked.front()?;
        Some((*asked).max(self.delivered) + limits.request)
    }

    /// Calls off what does not come.
    pub(super) fn call_off_late(&mut self, limits: &Limits, now: Time) {
        while let Some((block, _)) = self.asked.front().copied()
            && self.late_at(limits).is_some_and(|late| now >= late)
        {
            self.call_off(block);
            self.late.push_back(block);
        }
    }
}
