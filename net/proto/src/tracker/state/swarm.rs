//! The members of one content, by name and by room. The rule: every member is in its room and in the index, at the
//! places that it itself says; each room keeps its preferred devices in front.

use crate::tracker::guid::Guid;
use crate::tracker::member::{Member, Room};
use crate::tracker::policy::Dice;
use crate::tracker::site::Site;
use hashbrown::HashTable;
use larder_content::ContentId;
use std::hash::{DefaultHasher, Hasher};
use std::ops::Range;

/// One member.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) member: Member,
    /// Until when it is one, in seconds.
    pub(super) until: u32,
    /// Which room it is in, and where in it.
    room: u32,
    place: u32,
    /// How often others were told of it since it last spoke.
    pub(super) handed: u16,
    /// How many could not reach it since then.
    pub(super) doubts: u8,
}

/// Members who can meet: their numbers, those of preferred devices first.
#[derive(Debug)]
struct Members {
    room: Room,
    numbers: Vec<u32>,
    preferred: u32,
}

/// The members of one content.
#[derive(Debug)]
pub(super) struct Swarm {
    content: ContentId,
    seed: u64,
    entries: Vec<Entry>,
    /// By the name of the peer.
    index: HashTable<u32>,
    rooms: Vec<Members>,
    /// Numbers of `rooms` that have members, in the order of what they are.
    order: Vec<u32>,
    /// Numbers of `rooms` that have none.
    free: Vec<u32>,
}

/// Grows a vector by a quarter: half of it empty would be most of a swarm's memory.
fn push<T>(into: &mut Vec<T>, item: T) {
    if into.len() == into.capacity() {
        into.reserve_exact((into.len() / 4).max(1));
    }
    into.push(item);
}

/// Gives back what is far too much.
fn shrink<T>(vec: &mut Vec<T>) {
    if vec.len() * 2 < vec.capacity() {
        vec.shrink_to(vec.len() + vec.len() / 4);
    }
}

fn number(at: usize) -> u32 {
    // Members are bounded far below this.
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// Peers choose their names; the seed, which they do not know, keeps them from choosing names that meet here.
pub(super) fn hash(seed: u64, peer: Guid) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write_u64(seed);
    hasher.write(&peer.0);
    hasher.finish()
}

impl Swarm {
    /// No members yet. The seed is one that no peer knows.
    pub(super) const fn new(content: ContentId, seed: u64) -> Self {
        Self {
            content,
            seed,
            entries: Vec::new(),
            index: HashTable::new(),
            rooms: Vec::new(),
            order: Vec::new(),
            free: Vec::new(),
        }
    }

    pub(super) const fn content(&self) -> ContentId {
        self.content
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(super) fn entry(&self, at: usize) -> Option<&Entry> {
        self.entries.get(at)
    }

    /// The member of that name at that site.
    pub(super) fn find(&self, peer: Guid, site: Site) -> Option<usize> {
        let is_it = |at: &u32| {
            let entry = &self.entries[*at as usize];
            entry.member.peer_id == peer && self.rooms[entry.room as usize].room.site == site
        };
        self.index
            .find(hash(self.seed, peer), is_it)
            .map(|at| *at as usize)
    }

    /// Takes a member in that is none.
    pub(super) fn insert(&mut self, member: Member, room: Room, until: u32) {
        let at = number(self.entries.len());
        push(
            &mut self.entries,
            Entry {
                member,
                until,
                room: 0,
                place: 0,
                handed: 0,
                doubts: 0,
            },
        );
        let (entries, seed) = (&self.entries, self.seed);
        let rehash = |at: &u32| hash(seed, entries[*at as usize].member.peer_id);
        self.index
            .insert_unique(hash(self.seed, member.peer_id), at, rehash);
        let room = self.open(room);
        self.enter(at, room);
    }

    /// A member speaks again: what it says now holds, and what was held against it fades.
    pub(super) fn renew(&mut self, at: usize, member: Member, room: Room, until: u32) {
        let entry = &mut self.entries[at];
        let was_preferred = entry.member.is_preferred();
        entry.until = until;
        entry.handed = 0;
        entry.doubts /= 2;
        let number = number(at);
        let old = entry.room;
        if self.rooms[old as usize].room == room && was_preferred == member.is_preferred() {
            self.entries[at].member = member;
            return;
        }
        self.exit(number);
        self.entries[at].member = member;
        let new = self.open(room);
        self.enter(number, new);
        self.close_if_empty(old);
    }

    /// Lets a member go, and says who it was. The last member takes its number.
    pub(super) fn remove(&mut self, at: usize) -> Guid {
        let gone = number(at);
        self.exit(gone);
        let peer = self.entries[at].member.peer_id;
        if let Ok(found) = self
            .index
            .find_entry(hash(self.seed, peer), |other| *other == gone)
        {
            found.remove();
        }
        let room = self.entries[at].room;
        let last = number(self.entries.len() - 1);
        if last != gone {
            let moved = &self.entries[last as usize];
            let (name, of_room, place) = (moved.member.peer_id, moved.room, moved.place);
            if let Some(slot) = self
                .index
                .find_mut(hash(self.seed, name), |other| *other == last)
            {
                *slot = gone;
            }
            self.rooms[of_room as usize].numbers[place as usize] = gone;
        }
        self.entries.swap_remove(at);
        shrink(&mut self.entries);
        if self.index.len() * 4 < self.index.capacity() {
            let (entries, seed) = (&self.entries, self.seed);
            let rehash = |at: &u32| hash(seed, entries[*at as usize].member.peer_id);
            self.index.shrink_to_fit(rehash);
        }
        self.close_if_empty(room);
        peer
    }

    /// Somebody was told of a member.
    pub(super) fn handed(&mut self, at: u32) {
        let handed = &mut self.entries[at as usize].handed;
        *handed = handed.saturating_add(1);
    }

    /// Somebody could not reach them.
    pub(super) fn doubt(&mut self, peers: &[Guid]) {
        for peer in peers {
            let found = self.index.iter_hash(hash(self.seed, *peer)).copied();
            for at in found.collect::<Vec<_>>() {
                let entry = &mut self.entries[at as usize];
                if entry.member.peer_id == *peer {
                    entry.doubts = entry.doubts.saturating_add(1);
                }
            }
        }
    }

    /// The number of a room that has members.
    pub(super) fn room(&self, room: Room) -> Option<usize> {
        let found = self
            .order
            .binary_search_by_key(&room, |n| self.rooms[*n as usize].room);
        found.ok().map(|at| self.order[at] as usize)
    }

    /// The rooms of a group, for [`Swarm::room_at`].
    pub(super) fn rooms_of(&self, group: Option<Guid>) -> Range<usize> {
        let of = |number: &u32| self.rooms[*number as usize].room.group;
        let start = self.order.partition_point(|number| of(number) < group);
        let end = self.order.partition_point(|number| of(number) <= group);
        start..end
    }

    pub(super) fn room_at(&self, place: usize) -> usize {
        self.order[place] as usize
    }

    /// Members of a room, at most `budget`: of the preferred ones first, then of the others, each from a place by
    /// chance.
    pub(super) fn some_of(
        &self,
        room: usize,
        budget: usize,
        dice: &mut Dice,
    ) -> impl Iterator<Item = u32> + use<> {
        let room = &self.rooms[room];
        let (preferred, others) = room.numbers.split_at(room.preferred as usize);
        // Others have their part, however many are preferred.
        let of_preferred = preferred.len().min((budget - budget / 4).max(1));
        let of_others = others.len().min(budget.saturating_sub(of_preferred));
        let mut some = Vec::with_capacity(of_preferred + of_others);
        for (part, count) in [(preferred, of_preferred), (others, of_others)] {
            let first = if count < part.len() {
                dice.below(part.len())
            } else {
                0
            };
            some.extend((0..count).map(|step| part[(first + step) % part.len()]));
        }
        some.into_iter()
    }

    /// The number of a room, which is made where there is none.
    fn open(&mut self, room: Room) -> u32 {
        let found = self
            .order
            .binary_search_by_key(&room, |n| self.rooms[*n as usize].room);
        let place = match found {
            Ok(at) => return self.order[at],
            Err(place) => place,
        };
        let members = Members {
            room,
            numbers: Vec::new(),
            preferred: 0,
        };
        let new = match self.free.pop() {
            Some(free) => {
                self.rooms[free as usize] = members;
                free
            }
            None => {
                push(&mut self.rooms, members);
                number(self.rooms.len() - 1)
            }
        };
        if self.order.len() == self.order.capacity() {
            self.order.reserve_exact((self.order.len() / 4).max(1));
        }
        self.order.insert(place, new);
        new
    }

    fn close_if_empty(&mut self, number: u32) {
        let room = &mut self.rooms[number as usize];
        if !room.numbers.is_empty() {
            shrink(&mut room.numbers);
            return;
        }
        let name = room.room;
        room.numbers = Vec::new();
        let found = self
            .order
            .binary_search_by_key(&name, |n| self.rooms[*n as usize].room);
        if let Ok(place) = found {
            self.order.remove(place);
            push(&mut self.free, number);
        }
    }

    /// Puts a member into a room, among the preferred ones if it is one.
    fn enter(&mut self, at: u32, number_of_room: u32) {
        let is_preferred = self.entries[at as usize].member.is_preferred();
        let room = &mut self.rooms[number_of_room as usize];
        let mut place = room.numbers.len();
        push(&mut room.numbers, at);
        if is_preferred {
            let front = room.preferred as usize;
            room.numbers.swap(front, place);
            self.entries[room.numbers[place] as usize].place = number(place);
            place = front;
            room.preferred += 1;
        }
        let entry = &mut self.entries[at as usize];
        entry.room = number_of_room;
        entry.place = number(place);
    }

    /// Takes a member out of its room.
    fn exit(&mut self, at: u32) {
        let entry = &self.entries[at as usize];
        let room = &mut self.rooms[entry.room as usize];
        let mut place = entry.place as usize;
        if place < room.preferred as usize {
            room.preferred -= 1;
            let edge = room.preferred as usize;
            room.numbers.swap(place, edge);
            self.entries[room.numbers[place] as usize].place = number(place);
            place = edge;
        }
        room.numbers.swap_remove(place);
        if let Some(moved) = room.numbers.get(place) {
            self.entries[*moved as usize].place = number(place);
        }
    }

    /// Everything is where it says that it is.
    #[cfg(test)]
    pub(super) fn check(&self) {
        assert_eq!(self.index.len(), self.entries.len());
        for (at, entry) in self.entries.iter().enumerate() {
            let room = &self.rooms[entry.room as usize];
            assert_eq!(room.numbers[entry.place as usize], number(at));
            let in_front = entry.place < room.preferred;
            assert_eq!(in_front, entry.member.is_preferred());
            assert_eq!(self.find(entry.member.peer_id, room.room.site), Some(at));
        }
        let in_rooms: usize = self.rooms.iter().map(|room| room.numbers.len()).sum();
        assert_eq!(in_rooms, self.entries.len());
        let filled = self.rooms.iter().filter(|room| !room.numbers.is_empty());
        assert_eq!(filled.count(), self.order.len());
        assert!(
            self.order
                .is_sorted_by_key(|n| self.rooms[*n as usize].room)
        );
    }
}
