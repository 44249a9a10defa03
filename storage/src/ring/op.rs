//! What is under way in the ring. The rule: an operation keeps its place, its buffer and its name until its last
//! completion, and a completion with an old name finds nobody.

use crate::buf::IoBuf;
use crate::driver::Token;
use std::os::fd::RawFd;

/// One operation.
#[derive(Debug)]
pub(super) enum Op {
    /// Accepting for a listener.
    Accept {
        listener: u32,
        fd: RawFd,
        /// `unlisten` was called: not to be armed again.
        stopped: bool,
        /// Waiting for POLLIN because the listener is non-blocking and had nobody waiting.
        polling: bool,
        /// One request accepts many, until the kernel refuses that.
        multishot: bool,
    },
    /// One receive.
    Recv {
        token: Token,
        fd: RawFd,
        /// Waiting for POLLIN because the socket said EAGAIN.
        polling: bool,
    },
    /// Waiting for room in a socket.
    Writable { token: Token },
    /// A disk read, which may take several steps.
    Read(DiskRead),
    /// Reading the waker's eventfd.
    Wake,
    /// A cancellation of the operation with this name.
    Cancel { target: u64 },
}

/// A disk read on its way.
#[derive(Debug)]
pub(super) struct DiskRead {
    pub(super) token: Token,
    pub(super) fd: RawFd,
    pub(super) offset: u64,
    pub(super) len: u32,
    /// How much has been read.
    pub(super) done: u32,
    /// How often the kernel asked to try again.
    pub(super) retries: u16,
    /// The buffer's number among the registered ones.
    pub(super) fixed: Option<u16>,
    pub(super) buf: IoBuf,
}

/// The operations under way, by name: a place with a generation.
#[derive(Debug, Default)]
pub(super) struct Ops {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    op: Option<Op>,
}

impl Ops {
    /// Keeps an operation and names it.
    pub(super) fn insert(&mut self, op: Op) -> u64 {
        if let Some(at) = self.free.pop() {
            let slot = &mut self.slots[at as usize];
            slot.op = Some(op);
            return name(at, slot.generation);
        }
        // A place for each operation under way: memory runs out long before numbers do.
        let at = self.slots.len() as u32;
        self.slots.push(Slot {
            generation: 0,
            op: Some(op),
        });
        name(at, 0)
    }

    pub(super) fn get_mut(&mut self, name: u64) -> Option<&mut Op> {
        let slot = self.slots.get_mut(place(name))?;
        (slot.generation == generation(name))
            .then_some(slot.op.as_mut())
            .flatten()
    }

    pub(super) fn remove(&mut self, name: u64) -> Option<Op> {
        let slot = self.slots.get_mut(place(name))?;
        if slot.generation != generation(name) {
            return None;
        }
        let op = slot.op.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(name as u32);
        Some(op)
    }

    pub(super) fn contains(&mut self, name: u64) -> bool {
        self.get_mut(name).is_some()
    }

    /// How many are under way.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

fn name(at: u32, generation: u32) -> u64 {
    u64::from(generation) << 32 | u64::from(at)
}

fn place(name: u64) -> usize {
    (name & 0xffff_ffff) as usize
}

fn generation(name: u64) -> u32 {
    (name >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_name_finds_nobody() {
        let mut ops = Ops::default();
        let first = ops.insert(Op::Wake);
        assert!(ops.remove(first).is_some());
        let second = ops.insert(Op::Cancel { target: first });
        assert_eq!(place(first), place(second));
        assert!(ops.get_mut(first).is_none());
        assert!(ops.remove(first).is_none());
        assert_eq!(ops.len(), 1);
        assert!(ops.contains(second));
        assert!(ops.remove(second).is_some());
        assert!(ops.remove(second).is_none());
        assert_eq!(ops.len(), 0);
    }
}
