//! Places the bytes of an origin's body into flights. The rule: a byte goes to the one place that the answer's head
//! gave it; what is visible of a piece already is compared and never written again; where something says what a piece must hash
//! to, it is not visible before it does.

use super::Trouble;
use super::job::Task;
use super::proving::Proving;
use crate::origin::OriginBody;
use larder_content::PieceId;
use larder_content::hash::PieceHasher;
use larder_content::span::{piece_of, piece_start};
use larder_proto::fetch::Failure;
use larder_proto::proving::{TAIL_BYTES, is_too_slow};
use larder_proto::time::Time;
use larder_storage::flight::{Flight, FlightError, FlightState, HOLD_ALL};
use larder_storage::ram_tier::FrameWriter;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

/// How long a body waits for memory before it is given up; meanwhile it is not read, so its origin waits as well.
const FRAME_PATIENCE: Duration = Duration::from_secs(10);

/// How often memory is asked for while there is none.
const FRAME_AGAIN: Duration = Duration::from_millis(10);

/// How much is read straight into a frame at most before those who wait for it are told.
const READ_BYTES_MAX: usize = 256 << 10;

/// Bytes that follow each other, from `at` on.
pub(super) struct Filler<'t> {
    task: &'t Task,
    at: u64,
    current: Option<Piece>,
}

/// The piece that is coming.
struct Piece {
    id: PieceId,
    /// None: it is not this task's.
    flight: Option<Arc<Flight>>,
    /// Something says what it must hash to: it is held back until it is proved.
    is_named: bool,
    /// What has come of it, hashed as it came; None where nobody wants to know.
    hasher: Option<PieceHasher>,
    began: Time,
    came: u32,
}

impl<'t> Filler<'t> {
    pub(super) fn new(task: &'t Task, at: u64) -> Self {
        Self {
            task,
            at,
            current: None,
        }
    }

    /// Takes the next bytes of the body from the connection straight to where they belong, and says how many; None at
    /// its end. Those that belong nowhere, or were there before, make a detour.
    ///
    /// # Errors
    /// The body's, and those of [`Filler::push`].
    pub(super) async fn pull(&mut self, body: &mut OriginBody) -> Result<Option<usize>, Trouble> {
        let piece = piece_of(self.at);
        let id = PieceId {
            content: self.task.job.content,
            piece,
        };
        let within = self.at - piece_start(piece);
        let belongs = within < u64::from(self.task.content.piece_len(piece));
        let flight = if belongs { self.flight(id) } else { None };
        if let Some(flight) = flight {
            self.prepare(&flight).await?;
            let filled = flight.filled();
            if u64::from(filled) == within {
                let read = poll_fn(|cx| {
                    let read = |room: &mut [u8]| body.poll_read(cx, room);
                    match flight.fill(READ_BYTES_MAX, read) {
                        None => Poll::Ready(None),
                        Some(read) => read.map(Some),
                    }
                });
                let came = read.await.ok_or_else(over)?;
                let came = came.map_err(|error| self.task.unanswered(&error))?;
                if came == 0 {
                    return Ok(None);
                }
                self.at += came as u64;
                self.look(&flight, filled as usize, came, came);
                if flight.filled() == flight.len() {
                    self.landed(&flight).await?;
                }
                return Ok(Some(came));
            }
        }
        let chunk = body.chunk().await;
        let Some(chunk) = chunk.map_err(|error| self.task.unanswered(&error))? else {
            return Ok(None);
        };
        self.push(&chunk).await?;
        Ok(Some(chunk.len()))
    }

    /// Takes the next bytes of the body. Those of pieces that are not the task's are passed over.
    ///
    /// # Errors
    /// The bytes are not those that came before, or there is no memory for them.
    pub(super) async fn push(&mut self, mut bytes: &[u8]) -> Result<(), Trouble> {
        while !bytes.is_empty() {
            let piece = piece_of(self.at);
            let id = PieceId {
                content: self.task.job.content,
                piece,
            };
            let begin = piece_start(piece);
            let room =
                u64::from(self.task.content.piece_len(piece)).saturating_sub(self.at - begin);
            let count = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
            if count == 0 {
                // Beyond the object's end, which the head's check rules out.
                return Err(changed());
            }
            let (now, rest) = bytes.split_at(count);
            if let Some(flight) = self.flight(id) {
                let within = usize::try_from(self.at - begin).unwrap_or(usize::MAX);
                self.place(&flight, within, now).await?;
            }
            self.at += count as u64;
            bytes = rest;
        }
        Ok(())
    }

    fn flight(&mut self, id: PieceId) -> Option<Arc<Flight>> {
        if let Some(piece) = self.current.as_ref().filter(|piece| piece.id == id) {
            return piece.flight.clone();
        }
        let flight = self.task.flight(id);
        let Task { inner, content, .. } = self.task;
        let is_named = flight.is_some() && inner.store.expected(content, id.piece).is_some();
        let hashes = is_named || Proving::keeps_hashes(content);
        self.current = Some(Piece {
            id,
            flight: flight.clone(),
            is_named,
            hasher: hashes.then(PieceHasher::default),
            began: inner.clock.now(),
            came: 0,
        });
        flight
    }

    /// A flight that nothing has come of yet gets what it needs.
    async fn prepare(&self, flight: &Arc<Flight>) -> Result<(), Trouble> {
        if flight.state() != FlightState::Waiting {
            return Ok(());
        }
        if self.current.as_ref().is_some_and(|piece| piece.is_named) {
            flight.hold_back(HOLD_ALL);
        }
        self.give_memory(flight).await
    }

    async fn place(
        &mut self,
        flight: &Arc<Flight>,
        within: usize,
        bytes: &[u8],
    ) -> Result<(), Trouble> {
        self.prepare(flight).await?;
        let filled = flight.filled() as usize;
        if within > filled {
            // The answer began in the middle of a piece of which the beginning is not there.
            return Err(Trouble {
                failure: Failure::Broken,
                error: FlightError::Origin,
            });
        }
        let known = (filled - within).min(bytes.len());
        if known > 0 {
            let same = flight
                .frame()
                .is_some_and(|frame| frame.bytes()[within..within + known] == bytes[..known]);
            if !same {
                return Err(changed());
            }
        }
        let fresh = &bytes[known..];
        if !fresh.is_empty() && flight.append(fresh) < fresh.len() {
            return Err(over());
        }
        self.look(flight, filled, bytes.len(), fresh.len());
        if flight.filled() == flight.len() {
            return self.landed(flight).await;
        }
        Ok(())
    }

    /// Of `came` bytes `fresh` were put behind the `filled` ones: hashes these, and shows what can not be held back any
    /// longer.
    fn look(&mut self, flight: &Flight, filled: usize, came: usize, fresh: usize) {
        let Some(piece) = &mut self.current else {
            return;
        };
        if let Some(hasher) = &mut piece.hasher
            && hasher.bytes() == filled as u64
            && let Some(frame) = flight.frame()
        {
            hasher.update(&frame.bytes()[filled..filled + fresh]);
        }
        piece.came = piece
            .came
            .saturating_add(u32::try_from(came).unwrap_or(u32::MAX));
        if piece.is_named {
            let within = self.task.inner.clock.now().since(piece.began);
            if is_too_slow(flight.len(), piece.came, within) {
                flight.hold_back(TAIL_BYTES);
            }
        }
    }

    /// All bytes of a piece are there: it is judged, and kept if it is what it should be.
    async fn landed(&mut self, flight: &Arc<Flight>) -> Result<(), Trouble> {
        let Task { inner, content, .. } = self.task;
        let id = flight.id();
        let piece = self.current.take();
        let is_named = piece.as_ref().is_some_and(|piece| piece.is_named)
            || inner.store.expected(content, id.piece).is_some();
        let hasher = piece.and_then(|piece| piece.hasher);
        let hash = match (hasher, flight.frame()) {
            (None, _) if !is_named => None,
            (_, None) => None,
            (hasher, Some(frame)) => {
                let mut hasher = hasher.unwrap_or_default();
                // Of a piece that an earlier answer began, nothing was hashed yet.
                let from = usize::try_from(hasher.bytes()).unwrap_or(usize::MAX);
                hasher.update(frame.bytes().get(from..).unwrap_or_default());
                Some(hasher.finish())
            }
        };
        let is_good = match hash {
            Some(hash) => self.task.settle(flight, hash).await?,
            None => true,
        };
        if is_good {
            self.task.landed(id);
        } else {
            self.task.refused_piece(id);
        }
        Ok(())
    }

    async fn give_memory(&self, flight: &Arc<Flight>) -> Result<(), Trouble> {
        let writer = self.task.memory(flight.len()).await?;
        // Refused where it is over, which the append that follows finds out.
        flight.start(writer);
        Ok(())
    }
}

impl Task {
    /// Memory for a piece, as soon as there is some.
    pub(super) async fn memory(&self, len: u32) -> Result<FrameWriter, Trouble> {
        let give_up = tokio::time::Instant::now() + FRAME_PATIENCE;
        loop {
            if let Some(writer) = self.inner.store.frame(len) {
                return Ok(writer);
            }
            if tokio::time::Instant::now() >= give_up {
                return Err(Trouble {
                    failure: Failure::Final,
                    error: FlightError::Overloaded,
                });
            }
            tokio::time::sleep(FRAME_AGAIN).await;
        }
    }
}

/// The flight is over: the store is closing, or its object was purged.
fn over() -> Trouble {
    Trouble {
        failure: Failure::Final,
        error: FlightError::Closing,
    }
}

/// The bytes are of another version.
pub(super) fn changed() -> Trouble {
    Trouble {
        failure: Failure::Final,
        error: FlightError::Changed,
    }
}
