//! When all of an object is worth fetching though nobody has asked for all of it. The rule: an object is named once; who
//! asks for more of it later is told nothing new.

use std::collections::HashMap;
use std::mem;
use std::net::IpAddr;

/// Objects that are remembered, in each of two generations. Who forgets one begins to count it anew.
const OBJECTS_MAX: usize = 4096;

/// From how many touches on an object is worth all of it; 0 is never.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Prefetch {
    /// Different pieces that were asked for and were not there.
    pub pieces: u32,
    /// Different clients that asked for what was not there.
    pub clients: u32,
}

impl Prefetch {
    /// Whether nothing is ever worth it.
    #[must_use]
    pub const fn is_off(self) -> bool {
        self.pieces == 0 && self.clients == 0
    }

    fn is_met(self, seen: &Seen) -> bool {
        let reaches = |count: usize, wanted: u32| wanted > 0 && count >= wanted as usize;
        reaches(seen.pieces.len(), self.pieces) || reaches(seen.clients.len(), self.clients)
    }
}

/// What was asked for of one object; no longer lists than the rule asks for.
#[derive(Debug, Default)]
struct Seen {
    pieces: Vec<u32>,
    clients: Vec<IpAddr>,
    is_named: bool,
}

/// Adds what is not there yet, up to `max`.
fn note<T: PartialEq>(list: &mut Vec<T>, item: T, max: u32) {
    if list.len() < max as usize && !list.contains(&item) {
        list.push(item);
    }
}

/// What was asked for of the objects that were asked for lately, by a number of the caller's.
#[derive(Debug, Default)]
pub struct Touched {
    young: HashMap<u64, Seen>,
    old: HashMap<u64, Seen>,
}

impl Touched {
    /// Pieces of an object that were not there are asked for. True, once, where all of it is worth fetching by now.
    pub fn ask(
        &mut self,
        object: u64,
        pieces: impl IntoIterator<Item = u32>,
        client: Option<IpAddr>,
        rule: Prefetch,
    ) -> bool {
        if rule.is_off() {
            return false;
        }
        if !self.young.contains_key(&object) {
            if self.young.len() == OBJECTS_MAX {
                self.old = mem::take(&mut self.young);
            }
            let seen = self.old.remove(&object).unwrap_or_default();
            self.young.insert(object, seen);
        }
        let Some(seen) = self.young.get_mut(&object) else {
            return false;
        };
        for piece in pieces {
            note(&mut seen.pieces, piece, rule.pieces);
        }
        if let Some(client) = client {
            note(&mut seen.clients, client, rule.clients);
        }
        let is_new = !seen.is_named && rule.is_met(seen);
        seen.is_named |= is_new;
        is_new
    }
}

#[cfg(test)]
mod tests;
