//! One request to an origin for pieces of one content, from its head to the last byte that is of use. The rule: bytes
//! of two answers meet in one content only where its validator, or its name, proves that they are of one version.

use super::exchange::Held;
use super::fill::{Filler, changed};
use super::queue::{Source, want};
use super::reading::{head_of, request, validator_of};
use super::sources::Way;
use super::{Inner, Trouble, abandon};
use crate::origin::{OriginAnswer, OriginBody, OriginError};
use ::http::header::{HeaderValue, IF_RANGE, RETRY_AFTER};
use larder_content::span::{piece_count, piece_start};
use larder_content::{PieceId, Span};
use larder_proto::fetch::{Failure, Job, failure_of};
use larder_proto::http::route::OwnedRoute;
use larder_proto::policy::Priority;
use larder_proto::upstream::{Meaning, read_origin, retry_after};
use larder_storage::flight::{Flight, FlightError};
use larder_storage::record::Content;
use larder_storage::store::Claim;
use std::sync::Arc;

/// A body that is worth reading to its end, so as to keep the connection.
const SMALL_BODY_BYTES_MAX: usize = 16 << 10;

/// An object up to this long is asked for as a whole where ranges of it are answered with nonsense.
const WHOLE_BYTES_MAX: u64 = 8 << 20;

/// Of an origin that knows no ranges, all pieces of an object of up to so many are taken from one answer.
const TAKEN_PIECES_MAX: u32 = 4096;

/// One job at work. Dropped, the job has failed, and what is missing of it is tried again or given up.
pub(super) struct Task {
    pub(super) inner: Arc<Inner>,
    pub(super) job: Job,
    pub(super) content: Arc<Content>,
    pub(super) route: Arc<OwnedRoute>,
    lies: u32,
    trouble: Trouble,
    /// Who sends what it takes in.
    way: Way,
}

/// What a task needs to know of a content.
pub(super) type Whence = (Arc<Content>, Arc<OwnedRoute>, u32);

impl Task {
    pub(super) fn source(source: &Source) -> Whence {
        (
            Arc::clone(&source.content),
            Arc::clone(&source.route),
            source.lies,
        )
    }

    pub(super) fn new(inner: Arc<Inner>, job: Job, whence: Whence) -> Self {
        let (content, route, lies) = whence;
        Self {
            inner,
            job,
            content,
            route,
            lies,
            way: Way::Http,
            // What holds if the task is dropped halfway.
            trouble: Trouble {
                failure: Failure::Broken,
                error: FlightError::Origin,
            },
        }
    }

    /// Asks the origin and takes its answer in.
    pub(super) async fn run(mut self) {
        if self.has_a_twin().await {
            return;
        }
        if let Err(trouble) = self.ask().await {
            self.ended(trouble);
        }
    }

    /// Takes an answer in that came already: its body's bytes are those from `at` on. Where it is held, it comes no
    /// further ahead of those who take it than so many bytes.
    pub(super) async fn take_in(mut self, body: OriginBody, at: u64, held: Option<(Held, u64)>) {
        if self.has_a_twin().await {
            return;
        }
        self.way = body.way();
        let filled = match held {
            None => self.fill(body, at).await,
            Some((held, ahead)) => self.fill_held(body, at, &held, ahead).await,
        };
        if let Err(trouble) = filled {
            self.ended(trouble);
        }
    }

    /// Its object is stored already under another name: whoever waits asks anew, and finds it there.
    async fn has_a_twin(&mut self) -> bool {
        let has = self.inner.meet(&self.content).await;
        if has {
            self.trouble = changed();
        }
        has
    }

    /// The flight of a piece that this task's answer brings, if it is to fill it.
    pub(super) fn flight(&self, id: PieceId) -> Option<Arc<Flight>> {
        let mut queue = self.inner.queue.lock();
        // Somebody may have claimed the piece since the request was sent; then its bytes come just in time.
        queue.take_over(&self.job, id).then(|| queue.flight(id))?
    }

    /// A piece is full.
    pub(super) fn landed(&self, id: PieceId) {
        let owned = {
            let mut queue = self.inner.queue.lock();
            queue.came_by(id.content, &self.route);
            queue.landed(id)
        };
        if let Some(owned) = owned
            && owned.keep()
        {
            let bytes = self.content.piece_len(id.piece);
            self.inner.came(id.content, self.way, bytes);
            self.inner.proving.landed(&self.content);
        }
        self.inner.work.notify_one();
    }

    /// A piece is given up, and the rest of what the answer brings is taken in.
    pub(super) fn refused_piece(&self, id: PieceId) {
        let owned = self.inner.queue.lock().given_up(id);
        if let Some(owned) = owned {
            owned.abandon(FlightError::Unproved);
        }
        self.inner.work.notify_one();
    }

    fn ended(&mut self, trouble: Trouble) {
        self.trouble = trouble;
        if trouble.error == FlightError::Changed {
            self.inner.superseded(&self.content, &self.route);
        }
    }

    async fn ask(&mut self) -> Result<(), Trouble> {
        let record = self.content.record();
        let known = validator_of(record);
        if record.whole {
            // Its origin would send other bytes for the same question, or can not be asked the same.
            return Err(changed());
        }
        let proof = known.if_range(self.content.date()).map(str::to_owned);
        if proof.is_none() && !record.immutable {
            // Nothing would tell whether another answer is of the version that the stored pieces are of.
            return Err(changed());
        }
        let span = self.span(proof.is_some());
        let whole = self.lies > 0 && record.length <= WHOLE_BYTES_MAX;
        let asked = (!whole).then_some(span);
        let mut request = request(&self.route, asked);
        if let (Some(proof), Some(_)) = (proof, asked)
            && let Ok(value) = HeaderValue::try_from(proof)
        {
            request.headers.insert(IF_RANGE, value);
        }
        let asked_at = self.inner.clock.unix();
        let answer = self.inner.origin.send(request).await;
        let answer = answer.map_err(|error| self.unanswered(&error))?;
        let meaning = read_origin(&head_of(&answer), asked, Some(&known));
        match meaning {
            Meaning::Pieces { body, .. } => {
                let own_store = self.inner.settings.load().own_store;
                if !record.immutable && !own_store && answer.body.way() == Way::Http {
                    // RFC 9111, section 3.4: what is combined has the fields of the answer that came last.
                    self.inner.renew(&self.content, &answer.headers, asked_at);
                }
                if body.start < span.start || body.end > span.end {
                    self.take_more(body, span);
                }
                self.way = answer.body.way();
                self.fill(answer.body, body.start).await
            }
            Meaning::Changed { .. } => Err(changed()),
            Meaning::Lie(why) => Err(self.lied(why)),
            Meaning::NotModified => Err(self.lied("304 to a request without condition")),
            Meaning::Pass if answer.status.is_success() => {
                Err(self.lied("an encoded or endless body, of an object that came plain before"))
            }
            Meaning::Pass => Err(self.refused(answer).await),
        }
    }

    /// The bytes to ask for. A piece of which some came already goes on from there only where a validator proves that
    /// the rest is of the same version; else it comes again, and is compared.
    fn span(&self, may_resume: bool) -> Span {
        let Job { first, count, .. } = self.job;
        let first_id = PieceId {
            content: self.job.content,
            piece: first,
        };
        let filled = if may_resume {
            let flight = self.inner.queue.lock().flight(first_id);
            flight.map_or(0, |flight| u64::from(flight.filled()))
        } else {
            0
        };
        let end = piece_start(first + count).min(self.content.length());
        Span::new(piece_start(first) + filled, end)
    }

    pub(super) fn unanswered(&self, error: &OriginError) -> Trouble {
        tracing::debug!(url = %self.route.url, %error, "fetching pieces failed");
        trouble_of(error)
    }

    fn lied(&self, why: &'static str) -> Trouble {
        self.inner.figures().origin_lies.increment(1);
        tracing::warn!(url = %self.route.url, why, "an answer of the origin can not be used");
        let again = self.inner.queue.lock().lied(self.job.content) <= 1;
        Trouble {
            failure: if again {
                Failure::Broken
            } else {
                Failure::Final
            },
            error: FlightError::Origin,
        }
    }

    /// What a status without pieces means.
    async fn refused(&self, answer: OriginAnswer) -> Trouble {
        let status = answer.status.as_u16();
        let asked = answer.headers.get(RETRY_AFTER).map(HeaderValue::as_bytes);
        let patience = retry_after(asked, self.inner.clock.unix());
        // Read to its end, a short body leaves the connection usable.
        let _ = answer.body.small(SMALL_BODY_BYTES_MAX).await;
        tracing::debug!(url = %self.route.url, status, "the origin refused pieces");
        // There is no such range or version any more.
        if matches!(status, 412 | 416) {
            return changed();
        }
        let failure = match failure_of(status, patience) {
            // A signed query runs out (facts: clients 1.3): another client's may hold.
            Failure::Final if self.has_another_route() => Failure::Broken,
            failure => failure,
        };
        Trouble {
            failure,
            error: FlightError::Origin,
        }
    }

    fn has_another_route(&self) -> bool {
        // That of the one who had it first is kept with the object, and so outlives a restart.
        let first = self.content.record().asked_as.as_ref();
        let first = first.filter(|target| **target != self.route.target);
        let first = first.map(|target| OwnedRoute {
            target: target.clone(),
            ..OwnedRoute::clone(&self.route)
        });
        let mut queue = self.inner.queue.lock();
        queue.refused_by(self.job.content, &self.route, first)
    }

    /// The origin sends more than was asked, as one does that knows no ranges. Each further request would bring the
    /// same again, so that all that comes is taken from this one.
    fn take_more(&self, body: Span, asked: Span) {
        let all = piece_count(self.content.length()) <= TAKEN_PIECES_MAX;
        let until = if all { body.end } else { asked.end };
        self.take_on(Span::new(body.start, until));
    }

    /// Claims what its answer brings, as far as nobody has.
    fn take_on(&self, span: Span) {
        let deadline = self.inner.clock.now();
        let mut refused = Vec::new();
        for piece in span.pieces() {
            let id = PieceId {
                content: self.content.no,
                piece,
            };
            if self.inner.queue.lock().take_over(&self.job, id) {
                continue;
            }
            let len = self.content.piece_len(piece);
            if let Claim::Owner(flight) = self.inner.store.claim(id, len) {
                let want = want(&flight, deadline);
                let mut queue = self.inner.queue.lock();
                let back = queue.enter(&self.inner.store, &self.content, &self.route, flight);
                if back.is_empty() {
                    queue.scheduler.want(want);
                    queue.take_over(&self.job, id);
                    // Nobody asked for it: it is taken as it comes, and not tried again.
                    queue.scheduler.drop_want(id);
                }
                refused.extend(back);
            }
        }
        abandon(refused);
    }

    /// Takes a body in until it ends, or nothing of what follows is of use.
    async fn fill(&self, mut body: OriginBody, at: u64) -> Result<(), Trouble> {
        let mut filler = Filler::new(self, at);
        body.plain().await;
        loop {
            body.belongs_to(self.content.no.get(), self.priority());
            let Some(came) = filler.pull(&mut body).await? else {
                return self.at_the_end();
            };
            let now = self.inner.clock.now();
            let mut queue = self.inner.queue.lock();
            queue.scheduler.received(now, &self.job, came as u64);
            if !queue.scheduler.is_under_way(&self.job) {
                return Ok(());
            }
            if let Some(trouble) = queue.breaks_off(&self.job) {
                return Err(trouble);
            }
        }
    }

    /// The same at the pace of those who take it. The pieces are claimed as it goes, so that others who want later ones
    /// sooner get them in answers of their own.
    async fn fill_held(
        &self,
        mut body: OriginBody,
        mut at: u64,
        held: &Held,
        ahead: u64,
    ) -> Result<(), Trouble> {
        let mut filler = Filler::new(self, at);
        let length = self.content.length();
        let mut claimed = 0;
        loop {
            if let Some(trouble) = self.inner.queue.lock().breaks_off(&self.job) {
                return Err(trouble);
            }
            let until = at.saturating_add(ahead).min(length);
            if piece_count(until) > claimed {
                self.take_on(Span::new(at.min(until), until));
                claimed = piece_count(until);
            }
            if !held.wanted(at, ahead, || self.is_watched()).await {
                return Err(Trouble {
                    failure: Failure::Final,
                    error: FlightError::Origin,
                });
            }
            body.belongs_to(self.content.no.get(), self.priority());
            let chunk = body.chunk().await.map_err(|e| self.unanswered(&e))?;
            let Some(chunk) = chunk else {
                return self.at_the_end();
            };
            let now = self.inner.clock.now();
            let bytes = chunk.len() as u64;
            self.inner
                .queue
                .lock()
                .scheduler
                .received(now, &self.job, bytes);
            filler.push(&chunk).await?;
            at += bytes;
            if at >= length {
                return Ok(());
            }
        }
    }

    /// Somebody waits for a piece that this answer brings.
    fn is_watched(&self) -> bool {
        let queue = self.inner.queue.lock();
        let missing = queue.scheduler.missing(&self.job);
        missing.into_iter().any(|id| queue.is_watched(id))
    }

    /// Whether anybody waits for what this answer brings. On a device that is for its user to say.
    fn priority(&self) -> Priority {
        if self.inner.settings.load().priority == Priority::Background {
            return Priority::Background;
        }
        let queue = self.inner.queue.lock();
        let is_spare = |id: &PieceId| {
            let want = queue.scheduler.wanted(*id);
            want.is_some_and(|want| want.background) && !queue.is_watched(*id)
        };
        let missing = queue.scheduler.missing(&self.job);
        if !missing.is_empty() && missing.iter().all(is_spare) {
            Priority::Background
        } else {
            Priority::Foreground
        }
    }

    fn is_over(&self) -> bool {
        !self.inner.queue.lock().scheduler.is_under_way(&self.job)
    }

    /// The body is over. Where pieces are missing, the origin sent less than it was asked for.
    fn at_the_end(&self) -> Result<(), Trouble> {
        if self.is_over() {
            return Ok(());
        }
        Err(Trouble {
            failure: Failure::Broken,
            error: FlightError::Origin,
        })
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        let Trouble { failure, error } = self.trouble;
        let now = self.inner.clock.now();
        let given_up = self
            .inner
            .queue
            .lock()
            .failed(now, &self.job, failure, error);
        abandon(given_up);
        self.inner.work.notify_one();
    }
}

/// What an origin's silence means for the pieces.
pub(super) fn trouble_of(error: &OriginError) -> Trouble {
    Trouble {
        failure: if error.may_pass() {
            Failure::Broken
        } else {
            Failure::Final
        },
        error: match error {
            OriginError::Timeout { .. } => FlightError::Timeout,
            _ => FlightError::Origin,
        },
    }
}
