//! What one connection holds of the memory for requests that are not answered. The rule: as on the shards, whoever holds
//! more than its share while that is short is closed on.

use super::Inner;
use larder_proto::http::room::Room;
use parking_lot::Mutex;

/// Few connections come here, and most of them have their request with them.
const ROOM_BYTES: usize = 2 << 20;

pub(super) const fn room() -> Mutex<Room> {
    Mutex::new(Room::new(ROOM_BYTES))
}

/// What one holds, until this is dropped.
pub(super) struct Holding<'i> {
    inner: &'i Inner,
    bytes: usize,
}

impl<'i> Holding<'i> {
    pub(super) const fn new(inner: &'i Inner) -> Self {
        Self { inner, bytes: 0 }
    }

    /// It holds so much now. Whether it may.
    pub(super) fn may_be(&mut self, bytes: usize) -> bool {
        let mut room = self.inner.room.lock();
        room.changed(self.bytes, bytes);
        self.bytes = bytes;
        let too_much = room.is_too_much(bytes, *self.inner.open.borrow());
        drop(room);
        if too_much {
            self.inner.figures.crammed.increment(1);
        }
        !too_much
    }
}

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        self.inner.room.lock().changed(self.bytes, 0);
    }
}
