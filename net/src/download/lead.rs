//! Puts one question to an origin: what is behind this URL? The rule: the question asks for no byte but those that
//! the client wants first, and what it brings is stored, so that a cold object costs one request.

use super::exchange::Asking;
use super::job::Task;
use super::reading::{head_of, pairs, record_of, request, small_answer, validator_of};
use super::resolve::{OffTheList, Outcome};
use super::{Inner, LEFT_MIN, UNPROVED_BYTES_MAX};
use crate::ask::Resolution;
use crate::origin::{OriginAnswer, OriginBody, OriginError};
use ::http::header::{HeaderMap, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, RETRY_AFTER};
use larder_content::span::{piece_of, piece_start};
use larder_content::{PIECE_BYTES, Span, UrlKey};
use larder_proto::UnixSecs;
use larder_proto::fetch::{Failure, failure_of, pause_after};
use larder_proto::freshness::{Exchange, Verdict, judge};
use larder_proto::http::route::OwnedRoute;
use larder_proto::reuse::{AfterTrouble, Trouble};
use larder_proto::time::Time;
use larder_proto::upstream::{Meaning, Validator, read_origin, retry_after};
use larder_storage::record::Content;
use larder_storage::store::Store;
use std::sync::Arc;
use tokio::sync::watch;

/// An answer that is no content is held in memory up to this size.
const SMALL_BYTES_MAX: usize = 64 << 10;

/// Of an origin that knows no ranges, this many pieces are taken from an answer that was asked for fewer.
const TAKEN_PIECES_MAX: u32 = 4096;

/// How often an origin is asked at most. One error sends a client's whole download to the WAN (facts: clients 1.13), so
/// it is worth some of its patience.
const ATTEMPTS_MAX: u32 = 3;

/// One question.
pub(super) struct Lead {
    pub(super) inner: Arc<Inner>,
    pub(super) key: UrlKey,
    pub(super) route: Arc<OwnedRoute>,
    /// What the client wants first.
    pub(super) wanted: Option<(u64, Option<u64>)>,
    pub(super) deadline: Time,
    /// What is stored, no longer fresh.
    pub(super) stale: Option<Arc<Content>>,
    /// Those who want the same as a whole, and wait.
    pub(super) turn: Option<Asking>,
}

/// A body that goes on to come after the answer is known, and where its first byte belongs.
type Rest = Box<(Task, OriginBody, u64)>;

/// How one exchange with the origin went.
enum Said {
    Known(Resolution, Option<Rest>),
    /// To be asked once more, for this.
    Again(Option<Span>),
    /// Worth another attempt after the pause that such a failure asks for; this is the answer otherwise.
    Trouble(Resolution, Failure),
}

impl Lead {
    /// Asks, tells, and takes in what the answer brings.
    pub(super) async fn run(mut self, tell: watch::Sender<Option<Outcome>>, off: OffTheList) {
        let (resolution, rest) = self.find_out().await;
        self.inner
            .resolving
            .remember(&self.route, &resolution, self.inner.clock.now());
        let outcome = Outcome {
            resolution,
            route: Arc::clone(&self.route),
        };
        let _ = tell.send(Some(outcome));
        drop(off);
        drop(self.turn.take());
        if let Some(rest) = rest {
            let (task, body, at) = *rest;
            task.take_in(body, at, None).await;
        }
    }

    async fn find_out(&self) -> (Resolution, Option<Rest>) {
        let mut asked = Some(self.first_span());
        let mut attempt = 1;
        let mut turns = 0;
        loop {
            let (trouble, failure) = match self.ask(asked).await {
                Said::Known(resolution, rest) => return (resolution, rest),
                Said::Again(other) if turns < 3 => {
                    turns += 1;
                    asked = other;
                    continue;
                }
                Said::Again(_) => {
                    return (refused(502, "the origin contradicts itself"), None);
                }
                Said::Trouble(trouble, failure) => (trouble, failure),
            };
            if let Some(stale) = &self.stale {
                return (self.stale_or(stale, trouble), None);
            }
            let pause = pause_after(failure, attempt);
            let left = self.deadline.since(self.inner.clock.now());
            if attempt >= ATTEMPTS_MAX || left < pause + LEFT_MIN {
                return (trouble, None);
            }
            attempt += 1;
            tokio::time::sleep(pause).await;
        }
    }

    /// What to give while the origin is in trouble (RFC 9111, section 4.2.4).
    fn stale_or(&self, stale: &Arc<Content>, trouble: Resolution) -> Resolution {
        if self.inner.settings.load().own_store {
            // Whoever asks wants what is there now, or to know why not.
            return trouble;
        }
        let failing = match &trouble {
            Resolution::Answer(_) => Trouble::Failing,
            _ => Trouble::Disconnected,
        };
        let given = self.inner.for_trouble(stale, failing);
        if given == AfterTrouble::ServeStale {
            tracing::info!(url = %self.route.url, "the origin is in trouble; a stale object is served");
            return Resolution::Stale(Arc::clone(stale));
        }
        if given == AfterTrouble::PassOn {
            return trouble;
        }
        // Section 5.2.2.2: "it MUST generate an error response rather than reuse the disconnected stale response".
        match trouble {
            Resolution::Answer(answer) => Resolution::Answer(answer),
            _ => refused(
                504,
                "the object must be confirmed and its origin is in trouble",
            ),
        }
    }

    /// The whole pieces that hold what the client wants first, within one request.
    fn first_span(&self) -> Span {
        let run_bytes = self.inner.queue.lock().scheduler.run_bytes();
        let piece_bytes = u64::from(PIECE_BYTES);
        let (start, end) = self.wanted.unwrap_or((0, None));
        let start = piece_start(piece_of(start));
        let run_end = start.saturating_add(run_bytes / piece_bytes * piece_bytes);
        let end = end.map_or(run_end, |end| {
            end.div_ceil(piece_bytes).saturating_mul(piece_bytes)
        });
        Span::new(start, end.clamp(start.saturating_add(piece_bytes), run_end))
    }

    async fn ask(&self, asked: Option<Span>) -> Said {
        let mut request = request(&self.route, asked);
        let known = self
            .stale
            .as_ref()
            .map(|stale| validator_of(stale.record()));
        if let Some(known) = &known {
            insert(&mut request.headers, IF_NONE_MATCH, known.etag.as_deref());
            insert(
                &mut request.headers,
                IF_MODIFIED_SINCE,
                known.last_modified.as_deref(),
            );
        }
        let asked_at = self.inner.clock.unix();
        let answer = match self.inner.origin.send(request).await {
            Ok(answer) => answer,
            Err(error) => return self.unanswered(&error),
        };
        let meaning = read_origin(&head_of(&answer), asked, known.as_ref());
        match meaning {
            Meaning::Pieces { body, length } => {
                self.content(answer, asked, body, length, true, asked_at)
            }
            Meaning::Changed { body, length } => {
                self.content(answer, asked, body, length, false, asked_at)
            }
            Meaning::NotModified => self.confirmed(&answer, asked_at),
            Meaning::Lie(why) => {
                self.inner.figures().origin_lies.increment(1);
                tracing::warn!(url = %self.route.url, why, "an answer of the origin can not be used");
                match asked {
                    Some(_) => Said::Again(None),
                    None => Said::Trouble(refused(502, why), Failure::Broken),
                }
            }
            Meaning::Pass => self.no_content(answer, asked).await,
        }
    }

    fn unanswered(&self, error: &OriginError) -> Said {
        tracing::debug!(url = %self.route.url, %error, "asking for an object failed");
        let resolution = refused(error.status(), &error.to_string());
        if error.may_pass() {
            Said::Trouble(resolution, Failure::Broken)
        } else {
            Said::Known(resolution, None)
        }
    }

    fn judge(&self, status: u16, headers: &HeaderMap, asked_at: UnixSecs) -> Verdict {
        let exchange = Exchange {
            immutable: self.route.identity.immutable,
            authorized: false,
            asked_at,
            now: self.inner.clock.unix(),
        };
        let mut verdict = judge(status, &mut pairs(headers), exchange);
        if self.inner.settings.load().own_store && matches!(status, 200 | 206) {
            // What forbids a shared cache to keep an answer does not forbid its one reader to.
            (verdict.storable, verdict.why_not) = (true, None);
            (verdict.vary, verdict.without) = (Vec::new(), Vec::new());
        }
        verdict
    }

    /// The stored version is the present one.
    fn confirmed(&self, answer: &OriginAnswer, asked_at: UnixSecs) -> Said {
        let Some(stale) = &self.stale else {
            let why = "304 to a request without condition";
            return Said::Trouble(refused(502, why), Failure::Broken);
        };
        let renewed = self.inner.renew(stale, &answer.headers, asked_at);
        Said::Known(Resolution::Content(renewed), None)
    }

    /// The answer brings bytes `body` of an object of `length` bytes.
    fn content(
        &self,
        answer: OriginAnswer,
        asked: Option<Span>,
        body: Span,
        length: u64,
        agrees: bool,
        asked_at: UnixSecs,
    ) -> Said {
        let verdict = self.judge(answer.status.as_u16(), &answer.headers, asked_at);
        // Requests for pieces ask for the identity, whatever their client would take.
        if !verdict.storable || !verdict.varies_by_coding_alone() {
            tracing::debug!(url = %self.route.url, why = verdict.why_not, "not stored");
            return Said::Known(Resolution::HandOver, None);
        }
        let seen = Validator::of(&head_of(&answer));
        let proved = seen
            .as_ref()
            .is_some_and(|seen| seen.if_range(verdict.date).is_some());
        if let Some(stale) = &self.stale
            && agrees
            && seen.is_some_and(|seen| seen.is_strong() && seen.etag == stale.record().etag)
        {
            // An origin that knows no conditions; the version is the same, and so are its pieces.
            let renewed = self.inner.renew(stale, &answer.headers, asked_at);
            return Said::Known(Resolution::Content(renewed), None);
        }
        if !proved && !self.route.identity.immutable {
            // Nothing would tell whether two answers are of one version: all of it from one answer, or nothing.
            if length > UNPROVED_BYTES_MAX {
                return Said::Known(Resolution::HandOver, None);
            }
            if body.len() < length {
                return match asked {
                    Some(_) => Said::Again(None),
                    None => Said::Known(Resolution::HandOver, None),
                };
            }
        }
        let now = self.inner.clock.unix();
        let Some(record) = record_of(&self.route, &answer, length, &verdict, now) else {
            return Said::Known(Resolution::HandOver, None);
        };
        let content = Store::prepare(self.key, record);
        let task = self.claim(&content, body, asked);
        self.inner.store.publish(&content);
        let rest = task.map(|task| Box::new((task, answer.body, body.start)));
        Said::Known(Resolution::Content(content), rest)
    }

    /// Claims the whole pieces that a body brings.
    fn claim(&self, content: &Arc<Content>, body: Span, asked: Option<Span>) -> Option<Task> {
        let mut pieces = body.pieces();
        if asked.is_some_and(|asked| body.end > asked.end) {
            let last_asked = asked.map_or(0, |asked| asked.pieces().end);
            pieces.end = pieces.end.min(last_asked.max(TAKEN_PIECES_MAX));
        }
        let is_whole = |piece| piece_start(piece) + u64::from(content.piece_len(piece)) <= body.end;
        while pieces.end > pieces.start && !is_whole(pieces.end - 1) {
            pieces.end -= 1;
        }
        let (start, end) = self.wanted.unwrap_or((0, None));
        let end = end.unwrap_or(u64::MAX).min(content.length());
        let wanted = Span::new(start, end);
        self.inner
            .adopt(content, &self.route, pieces, wanted, self.deadline)
    }

    /// The answer is nothing that the store can hold.
    async fn no_content(&self, answer: OriginAnswer, asked: Option<Span>) -> Said {
        let status = answer.status.as_u16();
        match (status, asked) {
            (200 | 203 | 206, _) => return Said::Known(Resolution::HandOver, None),
            // The object ends before what was asked for: its length comes with its beginning.
            (416, Some(Span { start: 1.., .. })) => {
                return Said::Again(Some(Span::new(0, u64::from(PIECE_BYTES))));
            }
            // It has no first byte.
            (416, Some(_)) => return Said::Again(None),
            _ => {}
        }
        let OriginAnswer { headers, body, .. } = answer;
        let asked = headers.get(RETRY_AFTER).map(HeaderValue::as_bytes);
        let patience = retry_after(asked, self.inner.clock.unix());
        let resolution = match body.small(SMALL_BYTES_MAX).await {
            Ok(Some(body)) => Resolution::Answer(Arc::new(small_answer(status, headers, body))),
            Ok(None) => Resolution::HandOver,
            Err(error) => return self.unanswered(&error),
        };
        match failure_of(status, patience) {
            Failure::Final => Said::Known(resolution, None),
            failure => Said::Trouble(resolution, failure),
        }
    }
}

fn refused(status: u16, reason: &str) -> Resolution {
    Resolution::Refused {
        status,
        reason: reason.to_owned(),
    }
}

fn insert(headers: &mut HeaderMap, name: ::http::HeaderName, value: Option<&str>) {
    if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
        headers.insert(name, value);
    }
}
