//! Storing an answer while it reaches its client. The rule: nobody finds an object in the store before its pieces are
//! there or claimed, so that nobody asks its origin for what is coming already.

use super::super::reading::head_of;
use super::super::{Inner, UNPROVED_BYTES_MAX};
use super::hold::hold;
use super::spool::spooled;
use super::{Came, Question, Told, head, pass, selected};
use crate::origin::OriginAnswer;
use ::http::header::TRANSFER_ENCODING;
use larder_content::span::piece_start;
use larder_content::{PIECE_BYTES, PieceId, Span, UrlKey};
use larder_proto::UnixSecs;
use larder_proto::freshness::Verdict;
use larder_proto::upstream::Validator;
use larder_storage::flight::FlightError;
use larder_storage::record::{Content, Record};
use larder_storage::store::{Claim, Store};
use std::sync::Arc;

/// An object up to this long comes in whole even where its client leaves. Of a longer one no more comes than so far
/// ahead of whoever takes it.
const AHEAD_BYTES: u64 = 16 << 20;

impl Inner {
    /// Stores an answer, and has it come in.
    pub(super) fn keep(
        self: &Arc<Self>,
        mut question: Question,
        answer: OriginAnswer,
        verdict: &Verdict,
        now: UnixSecs,
    ) -> Came {
        let seen = head_of(&answer);
        let length = match answer.status.as_u16() {
            204 => Some(0),
            _ if seen.chunked => None,
            _ => seen.content_length,
        };
        let record = head::record(&question.route, &answer, length.unwrap_or(0), verdict, now);
        // An end by the connection's end can not be told from an answer that broke off.
        let ends = length.is_some() || answer.headers.contains_key(TRANSFER_ENCODING);
        let Some(mut record) = record.filter(|_| ends) else {
            return alone(question, answer);
        };
        record.pinned = question
            .known
            .as_ref()
            .is_some_and(|known| known.is_pinned());
        let primary = question.route.identity.key;
        let place = Place {
            primary,
            key: selected(&primary, &record.vary, &question.parts),
        };
        // What is for this client alone reaches it with the answer as it came; the store gets the rest.
        let hides = |name: &String| answer.headers.contains_key(name);
        let hides = verdict.without.iter().any(hides);
        let Some(length) = length.filter(|_| !hides) else {
            return Came::Through(spooled(self, place, record, answer, question.turn.take()));
        };
        let proved = !record.whole
            && Validator::of(&seen).is_some_and(|seen| seen.if_range(verdict.date).is_some());
        if length > UNPROVED_BYTES_MAX && !proved {
            return alone(question, answer);
        }
        let fresh = now < record.fresh_until;
        let content = Store::prepare(place.key, record);
        let is_held = proved && length > AHEAD_BYTES;
        let wanted = Span::new(0, if is_held { AHEAD_BYTES } else { length });
        let (route, deadline) = (&question.route, question.deadline);
        let task = self.adopt(&content, route, wanted.pieces(), wanted, deadline);
        self.publish(&place, &content);
        if let Some(turn) = question.turn {
            // What is stale at once is for each to confirm.
            turn.tell(if fresh { Told::Again } else { Told::Alone });
        }
        let Some(task) = task else {
            return Came::Stored(content, None);
        };
        let (hold, held) = if is_held {
            let (hold, held) = hold();
            (Some(hold), Some((held, AHEAD_BYTES)))
        } else {
            (None, None)
        };
        self.runtime.spawn(task.take_in(answer.body, 0, held));
        Came::Stored(content, hold)
    }

    /// Lets everybody find a version.
    pub(super) fn publish(&self, place: &Place, content: &Arc<Content>) {
        self.store.publish(content);
        if place.primary != place.key {
            // The latest version says by what the URL's answers differ.
            self.store.alias(place.primary, content);
        }
    }

    /// Stores a body that came as a whole. False where there is no memory for it.
    pub(super) fn keep_whole(&self, place: &Place, record: Record, body: &[u8]) -> bool {
        let content = Store::prepare(place.key, record);
        for piece in 0..content.pieces() {
            let id = PieceId {
                content: content.no,
                piece,
            };
            let len = content.piece_len(piece);
            let Claim::Owner(flight) = self.store.claim(id, len) else {
                return false;
            };
            let start = usize::try_from(piece_start(piece)).unwrap_or(usize::MAX);
            let bytes = body.get(start..).unwrap_or(&[]);
            let bytes = &bytes[..bytes.len().min(PIECE_BYTES as usize)];
            if let Some(writer) = self.store.frame(len) {
                flight.start(writer);
            }
            if flight.append(bytes) < bytes.len() || !flight.finish() {
                self.store.abandon(&flight, FlightError::Overloaded);
                return false;
            }
            self.store.keep(&flight);
        }
        self.publish(place, &content);
        true
    }
}

/// Where an answer is stored.
pub(super) struct Place {
    /// The key of its URL.
    pub(super) primary: UrlKey,
    /// The key of its URL and the fields of the request that selected it.
    pub(super) key: UrlKey,
}

/// The answer goes to the client that asked, and the others ask for themselves.
fn alone(question: Question, answer: OriginAnswer) -> Came {
    if let Some(turn) = question.turn {
        turn.tell(Told::Alone);
    }
    pass(answer)
}
