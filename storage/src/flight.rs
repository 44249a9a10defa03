//! One piece on its way in: filled by one, watched by many. The rule: whoever watches is told the fill state under
//! the same lock that registers the watch, so that no progress can fall between looking and waiting.

use crate::driver::Token;
use crate::ram_tier::{FrameWriter, RamFrame};
use larder_content::PieceId;
use parking_lot::Mutex;
use std::fmt;
use std::sync::Arc;
use std::task::Poll;

/// Why a piece will not come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FlightError {
    /// The origin could not be reached, broke off, or answered what cannot be used: 502.
    Origin,
    /// The origin did not answer, or fell silent: 504.
    Timeout,
    /// It cannot come in time, or there is no memory for it: 503.
    Overloaded,
    /// The origin has another version by now: the object must be resolved again.
    Changed,
    /// Its bytes are, again and again, not those that their trusted hash names: 502.
    Unproved,
    /// larder is stopping: 503.
    Closing,
    /// An administrator has called it off: 503.
    Cancelled,
}

impl fmt::Display for FlightError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Origin => "the origin broke off or answered what cannot be used",
            Self::Timeout => "the origin did not answer in time",
            Self::Overloaded => "too much is asked for at once",
            Self::Changed => "the origin has another version of the object now",
            Self::Unproved => "the origin's bytes are not those that their hash names",
            Self::Closing => "larder is stopping",
            Self::Cancelled => "an administrator has cancelled this download",
        })
    }
}

impl std::error::Error for FlightError {}

/// How far a piece has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FlightState {
    /// Nobody has answered for it yet.
    Waiting,
    /// Bytes are arriving.
    Filling,
    /// All bytes are there.
    Whole,
    /// It will not come.
    Failed(FlightError),
}

/// Is told of progress. Called on the filling thread: it must only hand the news on.
pub trait Watch: Send + Sync {
    /// The piece has more bytes, is whole, or failed. Called once for each watch.
    fn progress(&self, token: Token, id: PieceId);
}

/// Who wants to know.
#[derive(Clone)]
pub struct Watcher {
    /// Whom to tell.
    pub wake: Arc<dyn Watch>,
    /// What to tell it.
    pub token: Token,
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher")
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}

/// What a flight looked like at one moment.
#[derive(Clone, Debug)]
pub struct Seen {
    /// How far it has come.
    pub state: FlightState,
    /// Bytes that may be used, from the piece's beginning: all that are there, but for those that are held back.
    pub filled: u32,
    /// Where they are, once the fill has begun. It may hold more, which must not be used yet.
    pub frame: Option<Arc<RamFrame>>,
}

/// Holds back all bytes of a piece until it is whole.
pub const HOLD_ALL: u32 = u32::MAX;

#[derive(Debug)]
struct Shared {
    state: FlightState,
    frame: Option<Arc<RamFrame>>,
    /// So many of the bytes that are there must not be used before the piece is whole.
    held_back: u32,
    watchers: Vec<Watcher>,
}

/// One piece on its way in. The owner (see [`crate::store::Claim`]) fills it; anybody may watch.
#[derive(Debug)]
pub struct Flight {
    id: PieceId,
    len: u32,
    /// Taken by the fill side only, so copying in never holds up a reader.
    writer: Mutex<Option<FrameWriter>>,
    shared: Mutex<Shared>,
}

impl Flight {
    pub(crate) fn new(id: PieceId, len: u32) -> Self {
        Self {
            id,
            len,
            writer: Mutex::new(None),
            shared: Mutex::new(Shared {
                state: FlightState::Waiting,
                frame: None,
                held_back: 0,
                watchers: Vec::new(),
            }),
        }
    }

    /// Which piece.
    #[must_use]
    pub fn id(&self) -> PieceId {
        self.id
    }

    /// Bytes in the piece when it is whole.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a piece is never empty")]
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Where its bytes are, once the fill has begun.
    #[must_use]
    pub fn frame(&self) -> Option<Arc<RamFrame>> {
        self.shared.lock().frame.clone()
    }

    /// Fill side: bytes that are there, from the piece's beginning, held back or not.
    #[must_use]
    pub fn filled(&self) -> u32 {
        self.shared
            .lock()
            .frame
            .as_ref()
            .map_or(0, |frame| frame.filled())
    }

    /// How far it has come.
    #[must_use]
    pub fn state(&self) -> FlightState {
        self.shared.lock().state
    }

    /// How far it has come and where its bytes are, in one look.
    #[must_use]
    pub fn seen(&self) -> Seen {
        self.shared.lock().seen()
    }

    /// Asks for one call at the next progress, and says what is there already. If that is more than the caller has
    /// used, there is no need to wait: the call still comes, once, and is harmless. On a flight that is over (whole
    /// or failed) nothing is registered and no call comes.
    pub fn watch(&self, watcher: Watcher) -> Seen {
        let mut shared = self.shared.lock();
        if !shared.is_over() {
            shared.watchers.push(watcher);
        }
        shared.seen()
    }

    /// Whether anybody waits to be told of progress right now.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        !self.shared.lock().watchers.is_empty()
    }

    /// How many wait to be told of progress right now.
    #[must_use]
    pub fn watchers(&self) -> usize {
        self.shared.lock().watchers.len()
    }

    /// Takes back the watches of one whose connection is gone. Tokens of others (each shard counts its own) may be
    /// the same.
    pub fn unwatch(&self, gone: &Watcher) {
        let is_gone =
            |there: &Watcher| there.token == gone.token && Arc::ptr_eq(&there.wake, &gone.wake);
        self.shared.lock().watchers.retain(|there| !is_gone(there));
    }

    /// Fill side: gives it memory; bytes follow by [`Flight::append`]. A second call, on a retry from the piece's
    /// beginning, is refused: what was filled stays, see [`Flight::filled`]. The frame must hold `len()` bytes.
    ///
    /// # Panics
    /// In debug builds, where the frame's size is not the piece's.
    pub fn start(&self, writer: FrameWriter) -> bool {
        debug_assert_eq!(
            writer.frame().len(),
            self.len,
            "a frame is made for its piece"
        );
        let mut slot = self.writer.lock();
        let mut shared = self.shared.lock();
        if shared.frame.is_some() || shared.is_over() {
            return false;
        }
        shared.frame = Some(Arc::clone(writer.frame()));
        shared.state = FlightState::Filling;
        *slot = Some(writer);
        true
    }

    /// Fill side: from now on the last `bytes` of what is there, or everything by [`HOLD_ALL`], is held back until the
    /// piece is whole. It can only become less: what was once shown stays so.
    pub fn hold_back(&self, bytes: u32) {
        let less = {
            let mut shared = self.shared.lock();
            let shown = shared.frame.is_some() && shared.held_back != HOLD_ALL;
            let less = bytes < shared.held_back;
            if less || !shown {
                shared.held_back = bytes;
            }
            less
        };
        if less {
            self.tell(None);
        }
    }

    /// Fill side: its bytes turned out wrong before any was shown. They are given up, and it waits for memory and
    /// other bytes. False, and nothing changes, where some were shown or it is over.
    pub fn restart(&self) -> bool {
        let mut slot = self.writer.lock();
        let mut shared = self.shared.lock();
        if shared.held_back != HOLD_ALL || shared.is_over() {
            return false;
        }
        *slot = None;
        let gone = shared.frame.take();
        shared.state = FlightState::Waiting;
        drop(shared);
        // Giving memory back is a system call: not under the lock.
        drop(gone);
        true
    }

    /// Fill side: adds the next bytes and tells the watchers. Returns how many were taken: fewer than given where
    /// the piece is full, 0 where it is over or was not started.
    pub fn append(&self, bytes: &[u8]) -> usize {
        let taken = {
            let mut slot = self.writer.lock();
            let Some(writer) = slot.as_mut() else {
                return 0;
            };
            let room = usize::try_from(writer.remaining())
                .unwrap_or(usize::MAX)
                .min(bytes.len());
            if room > 0 {
                writer.append(&bytes[..room]);
            }
            room
        };
        if taken > 0 {
            self.tell(None);
        }
        taken
    }

    /// Fill side: lends up to `bytes_max` of what is missing to `read`, which puts the next bytes at its beginning and
    /// says how many, and tells the watchers of those. None where it is over, full or was not started.
    pub fn fill<E>(
        &self,
        bytes_max: usize,
        read: impl FnOnce(&mut [u8]) -> Poll<Result<usize, E>>,
    ) -> Option<Poll<Result<usize, E>>> {
        let outcome = {
            let mut slot = self.writer.lock();
            let writer = slot.as_mut().filter(|writer| writer.remaining() > 0)?;
            let room = writer.room();
            let len = room.len().min(bytes_max);
            let outcome = read(&mut room[..len]);
            if let Poll::Ready(Ok(count)) = &outcome {
                writer.add((*count).min(len));
            }
            outcome
        };
        if matches!(outcome, Poll::Ready(Ok(1..))) {
            self.tell(None);
        }
        Some(outcome)
    }

    /// Fill side: all bytes are there. False (and nothing changes) where some are missing or it is over.
    pub fn finish(&self) -> bool {
        let mut slot = self.writer.lock();
        if slot
            .as_ref()
            .is_none_or(|writer| writer.filled() != self.len)
        {
            return false;
        }
        *slot = None;
        self.tell(Some(FlightState::Whole))
    }

    /// Fill side: it will not come. Nothing changes where it is over already. Callers outside the store use
    /// [`crate::store::Store::abandon`], which also forgets the flight.
    pub fn fail(&self, error: FlightError) -> bool {
        *self.writer.lock() = None;
        self.tell(Some(FlightState::Failed(error)))
    }

    /// Moves to `state` if one is given and the flight is not over, and wakes all watchers. False where it was over.
    fn tell(&self, state: Option<FlightState>) -> bool {
        let watchers = {
            let mut shared = self.shared.lock();
            if shared.is_over() {
                return false;
            }
            if let Some(state) = state {
                shared.state = state;
                if state == FlightState::Whole {
                    shared.held_back = 0;
                }
            }
            std::mem::take(&mut shared.watchers)
        };
        for watcher in watchers {
            watcher.wake.progress(watcher.token, self.id);
        }
        true
    }
}

impl Shared {
    fn is_over(&self) -> bool {
        matches!(self.state, FlightState::Whole | FlightState::Failed(_))
    }

    fn filled(&self) -> u32 {
        let there = self.frame.as_ref().map_or(0, |frame| frame.filled());
        there.saturating_sub(self.held_back)
    }

    fn seen(&self) -> Seen {
        Seen {
            state: self.state,
            filled: self.filled(),
            frame: self.frame.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ram_tier::RamTier;
    use larder_content::ContentNo;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[derive(Default)]
    struct Bell(AtomicU32);

    impl Watch for Bell {
        fn progress(&self, _: Token, _: PieceId) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn who_leaves_takes_back_nobody_elses_watch() {
        let id = PieceId {
            content: ContentNo::new(1),
            piece: 0,
        };
        let flight = Flight::new(id, 10);
        let bells = [Arc::new(Bell::default()), Arc::new(Bell::default())];
        // Two shards, and on each the connection of the same token.
        let [one, other] = bells.each_ref().map(|bell| Watcher {
            wake: Arc::clone(bell) as Arc<dyn Watch>,
            token: Token(0),
        });
        flight.watch(one.clone());
        flight.watch(other);
        flight.unwatch(&one);
        assert!(flight.fail(FlightError::Closing));
        assert_eq!(bells.map(|bell| bell.0.load(Ordering::Relaxed)), [0, 1]);
    }

    #[test]
    fn what_is_read_straight_into_it_is_shown_and_told() {
        let ram = RamTier::new(1 << 20).unwrap();
        let id = PieceId {
            content: ContentNo::new(1),
            piece: 0,
        };
        let flight = Flight::new(id, 100);
        let read = |flight: &Flight, byte: u8, answer: Poll<Result<usize, ()>>| {
            flight.fill(60, |room| {
                room.fill(byte);
                answer.map_ok(|count| count.min(room.len()))
            })
        };
        assert_eq!(read(&flight, 1, Poll::Ready(Ok(60))), None);
        assert!(flight.start(ram.frame(100).unwrap()));
        let bell = Arc::new(Bell::default());
        let wake = Arc::clone(&bell) as Arc<dyn Watch>;
        let token = Token(0);
        flight.watch(Watcher { wake, token });
        let heard = || bell.0.load(Ordering::Relaxed);
        assert_eq!(read(&flight, 2, Poll::Pending), Some(Poll::Pending));
        let failed = Some(Poll::Ready(Err(())));
        assert_eq!(read(&flight, 3, Poll::Ready(Err(()))), failed);
        assert_eq!((flight.filled(), heard()), (0, 0));
        // More than was lent is not believed, and what nobody counted is written over.
        assert_eq!(
            read(&flight, 4, Poll::Ready(Ok(60))),
            Some(Poll::Ready(Ok(60)))
        );
        assert_eq!((flight.seen().filled, heard()), (60, 1));
        assert_eq!(
            read(&flight, 5, Poll::Ready(Ok(99))),
            Some(Poll::Ready(Ok(40)))
        );
        let frame = flight.frame().unwrap();
        assert!(frame.bytes()[..60].iter().all(|byte| *byte == 4));
        assert!(frame.bytes()[60..].iter().all(|byte| *byte == 5));
        assert_eq!(read(&flight, 6, Poll::Ready(Ok(1))), None);
        assert!(flight.finish());
        assert_eq!(read(&flight, 6, Poll::Ready(Ok(1))), None);
    }

    #[test]
    fn what_is_held_back_is_shown_when_the_piece_is_whole() {
        let ram = RamTier::new(1 << 20).unwrap();
        let id = PieceId {
            content: ContentNo::new(1),
            piece: 0,
        };
        let flight = Flight::new(id, 100);
        flight.hold_back(HOLD_ALL);
        assert!(flight.start(ram.frame(100).unwrap()));
        flight.append(&[1; 60]);
        assert_eq!((flight.seen().filled, flight.filled()), (0, 60));
        // Wrong bytes that nobody saw are taken back.
        assert!(flight.restart());
        assert_eq!((flight.state(), flight.filled()), (FlightState::Waiting, 0));
        assert!(flight.start(ram.frame(100).unwrap()));
        flight.append(&[2; 60]);
        flight.hold_back(10);
        assert_eq!(flight.seen().filled, 50);
        // What was shown stays shown.
        flight.hold_back(HOLD_ALL);
        assert_eq!(flight.seen().filled, 50);
        assert!(!flight.restart());
        flight.append(&[2; 40]);
        assert_eq!(flight.seen().filled, 90);
        assert!(flight.finish());
        assert_eq!(flight.seen().filled, 100);
    }
}
