//! A piece whose bytes are not what a hash says they are. The rule: it alone is asked for once more, while the answer
//! that brought it waits; so whoever is wrong, nothing else of the object comes twice.

use super::Trouble;
use super::fill::changed;
use super::job::Task;
use super::reading::{head_of, request, validator_of};
use crate::origin::Lane;
use ::http::header::{HeaderValue, IF_RANGE};
use larder_content::hash::of_piece;
use larder_content::span::piece_start;
use larder_content::{PieceId, Span};
use larder_proto::fetch::Failure;
use larder_proto::proving::Verdict;
use larder_proto::upstream::{Meaning, read_origin};
use larder_storage::flight::{Flight, FlightError};
use larder_storage::ram_tier::FrameWriter;
use larder_storage::store::PieceHash;
use std::sync::Arc;

impl Task {
    /// Judges a piece whose bytes are all there and hash to `hash`, and has it come once more where there is doubt. True:
    /// its flight holds bytes that may be kept. False: it is given up.
    ///
    /// # Errors
    /// It could not be had once more. It is to come by another request, and is judged then by both.
    pub(super) async fn settle(
        &self,
        flight: &Arc<Flight>,
        mut hash: PieceHash,
    ) -> Result<bool, Trouble> {
        let id = flight.id();
        let inner = &self.inner;
        let turn = inner.proving.turn(id.content);
        let mut doubted = None;
        if inner.proving.differs(&self.content, id, &hash) {
            // By the time that it is this one's turn, a hint may have been dropped for another piece.
            doubted = Some(turn.lock().await);
        }
        let settled = loop {
            match inner.proving.judge(&self.content, id, &hash) {
                Verdict::Good | Verdict::DropHint => {
                    inner.store.saw(id, &hash);
                    break true;
                }
                Verdict::Again => hash = self.once_more(flight, &hash).await?,
                Verdict::Refuse => break false,
                Verdict::Appeal => {
                    inner.appeal(&self.content, &self.route);
                    break false;
                }
            }
        };
        drop(doubted);
        Ok(settled)
    }

    /// Has a piece come once more, and says what it hashes to. Other bytes take the place of those that came first,
    /// where nobody has seen these.
    async fn once_more(
        &self,
        flight: &Arc<Flight>,
        before: &PieceHash,
    ) -> Result<PieceHash, Trouble> {
        let again = match self.ask_for(flight.id()).await {
            Ok(again) => again,
            Err(trouble) => {
                if !flight.restart() {
                    self.refused_piece(flight.id());
                }
                return Err(trouble);
            }
        };
        let hash = of_piece(again.frame().bytes());
        let record = self.content.record();
        let proof = validator_of(record);
        let one_version = record.immutable || proof.if_range(self.content.date()).is_some();
        if hash != *before && !one_version {
            // Nothing tells that both answers are of one version.
            return Err(changed());
        }
        if hash != *before && !(flight.restart() && flight.start(again)) {
            // What is shown of the first ones can not be taken back.
            return Ok(*before);
        }
        Ok(hash)
    }

    /// Asks for one piece.
    async fn ask_for(&self, id: PieceId) -> Result<FrameWriter, Trouble> {
        let broken = || Trouble {
            failure: Failure::Broken,
            error: FlightError::Origin,
        };
        let record = self.content.record();
        let known = validator_of(record);
        let proof = known.if_range(self.content.date());
        let len = self.content.piece_len(id.piece);
        let start = piece_start(id.piece);
        let span = Span::new(start, start + u64::from(len));
        let mut request = request(&self.route, Some(span));
        if let Some(value) = proof.and_then(|proof| HeaderValue::from_str(proof).ok()) {
            request.headers.insert(IF_RANGE, value);
        }
        // All connections for content may be held by answers that wait for this one.
        request.lane = Lane::Through;
        let answer = self.inner.origin.send(request).await;
        let answer = answer.map_err(|error| self.unanswered(&error))?;
        let from = match read_origin(&head_of(&answer), Some(span), Some(&known)) {
            Meaning::Pieces { body, .. } if body.start <= span.start && body.end >= span.end => {
                span.start - body.start
            }
            Meaning::Changed { .. } => return Err(changed()),
            _ => return Err(broken()),
        };
        let mut writer = self.memory(len).await?;
        let mut skip = from;
        let mut body = answer.body;
        while writer.remaining() > 0 {
            let chunk = body
                .chunk()
                .await
                .map_err(|error| self.unanswered(&error))?;
            let chunk = chunk.ok_or_else(broken)?;
            let passed = usize::try_from(skip).unwrap_or(usize::MAX).min(chunk.len());
            skip -= passed as u64;
            let fresh = &chunk[passed..];
            let count = fresh.len().min(writer.remaining() as usize);
            writer.append(&fresh[..count]);
        }
        // Read to its end, it leaves the connection usable.
        let _ = body.small(0).await;
        Ok(writer)
    }
}
