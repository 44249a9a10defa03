//! Memory for what clients have sent and nobody has answered yet. The rule: while there is room nobody is asked how much
//! is held; when there is none, whoever holds more than its share has to go, which who sends a request and reads its
//! answer never does.

/// A share is never smaller: a request that one has a use for fits into it.
const SHARE_BYTES_MIN: usize = 2 << 10;

/// The room of one thread.
#[derive(Debug)]
pub struct Room {
    bytes_max: usize,
    held: usize,
}

impl Room {
    /// So much of it.
    #[must_use]
    pub const fn new(bytes_max: usize) -> Self {
        Self { bytes_max, held: 0 }
    }

    /// One that held `from` bytes holds `to` now.
    pub const fn changed(&mut self, from: usize, to: usize) {
        self.held = self.held.saturating_sub(from).saturating_add(to);
    }

    /// Whether there is none left.
    #[must_use]
    pub const fn is_short(&self) -> bool {
        self.held > self.bytes_max
    }

    /// Whether one of so many, who holds so much, has to go.
    #[must_use]
    pub fn is_too_much(&self, bytes: usize, of: usize) -> bool {
        self.is_short() && bytes > (self.bytes_max / of.max(1)).max(SHARE_BYTES_MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_more_than_its_share_goes_when_room_is_short_and_not_before() {
        let mut room = Room::new(1 << 20);
        room.changed(0, 64 << 10);
        assert!(!room.is_too_much(64 << 10, 1000));
        room.changed(0, 1 << 20);
        assert!(room.is_short());
        assert!(room.is_too_much(64 << 10, 1000));
        assert!(!room.is_too_much(2 << 10, 1000), "a request");
        assert!(!room.is_too_much(64 << 10, 4), "a quarter is its share");
        room.changed(64 << 10, 0);
        assert!(!room.is_short());
        assert!(!room.is_too_much(1 << 20, 1000));
    }

    #[test]
    fn many_that_hold_no_more_than_a_share_hold_what_there_is() {
        let mut room = Room::new(1 << 20);
        let count = 4000;
        let mut held = 0;
        for _ in 0..count {
            let mut own = 0;
            while own < 64 << 10 {
                room.changed(own, own + 512);
                own += 512;
                if room.is_too_much(own, count) {
                    room.changed(own, 0);
                    own = 0;
                    break;
                }
            }
            held += own;
        }
        assert!(held <= (1 << 20) + (64 << 10), "{held}");
    }
}
