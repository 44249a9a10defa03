//! Places the bytes of an origin's body into flights. The rule: a byte goes to the one place that the answer's head
//! gave it; what is visible of a piece already is compared and never written again.

use super::Trouble;
use super::job::Task;
use larder_content::PieceId;
use larder_content::span::{piece_of, piece_start};
use larder_proto::fetch::Failure;
use larder_storage::flight::{Flight, FlightError, FlightState};
use std::sync::Arc;
use std::time::Duration;

/// How long a body waits for memory before it is given up; meanwhile it is not read, so its origin waits as well.
const FRAME_PATIENCE: Duration = Duration::from_secs(10);

/// How often memory is asked for while there is none.
const FRAME_AGAIN: Duration = Duration::from_millis(10);

/// Bytes that follow each other, from `at` on.
pub(super) struct Filler<'t> {
    task: &'t Task,
    at: u64,
    current: Option<(PieceId, Option<Arc<Flight>>)>,
}

impl<'t> Filler<'t> {
    pub(super) fn new(task: &'t Task, at: u64) -> Self {
        Self {
            task,
            at,
            current: None,
        }
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
        match &self.current {
            Some((current, flight)) if *current == id => flight.clone(),
            _ => {
                let flight = self.task.flight(id);
                self.current = Some((id, flight.clone()));
                flight
            }
        }
    }

    async fn place(
        &mut self,
        flight: &Arc<Flight>,
        within: usize,
        bytes: &[u8],
    ) -> Result<(), Trouble> {
        if flight.state() == FlightState::Waiting {
            self.give_memory(flight).await?;
        }
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
            // It is over: the store is closing, or its object was purged.
            return Err(Trouble {
                failure: Failure::Final,
                error: FlightError::Closing,
            });
        }
        if flight.filled() == flight.len() {
            self.current = None;
            self.task.landed(flight.id());
        }
        Ok(())
    }

    async fn give_memory(&self, flight: &Arc<Flight>) -> Result<(), Trouble> {
        let give_up = tokio::time::Instant::now() + FRAME_PATIENCE;
        loop {
            if let Some(writer) = self.task.inner.store.frame(flight.len()) {
                // Refused where it is over, which the append that follows finds out.
                flight.start(writer);
                return Ok(());
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

/// The bytes are of another version.
pub(super) fn changed() -> Trouble {
    Trouble {
        failure: Failure::Final,
        error: FlightError::Changed,
    }
}
