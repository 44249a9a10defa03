//! One exchange with an origin for one request of a client, from which the store learns what it may (RFC 9111): the way
//! of everything whose URL does not name its content. The rule: the origin is asked once, and what it answers reaches
//! the client that asked, stored or not.
//!
//! `turns` decides who asks where several want the same, `keep` stores what came and `spool` what came without a
//! length, `head` reads and writes the fields.

pub(super) mod head;
mod hold;
mod keep;
mod spool;
mod turns;

pub(crate) use head::facts;
pub(super) use hold::Held;
pub(crate) use hold::Hold;
pub(super) use turns::{Asking, Turns};
pub(crate) use turns::{Told, Turn};

use super::reading::{head_of, pairs};
use super::through::{ThroughBody, end_to_end};
use super::{Download, Inner, LEFT_MIN};
use crate::origin::{Lane, OriginAnswer, OriginError, OriginRequest};
use ::http::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, HeaderName, HeaderValue, IF_MATCH, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE,
};
use ::http::{Method, Response, request};
use http_body_util::BodyExt;
use larder_content::UrlKey;
use larder_proto::UnixSecs;
use larder_proto::directives::Directives;
use larder_proto::freshness::Exchange;
use larder_proto::http::route::OwnedRoute;
use larder_proto::reuse::{AfterTrouble, Trouble, after_trouble, is_trouble};
use larder_proto::time::Time;
use larder_proto::upstream::contradiction;
use larder_proto::variant::variant_key;
use larder_storage::record::Content;
use std::sync::Arc;
use std::time::Duration;

/// The pause before a second attempt.
const AGAIN_AFTER: Duration = Duration::from_millis(250);

/// A request's own conditions, which are left out where the answer is to be the object itself.
const CONDITIONS: [HeaderName; 4] = [
    IF_MATCH,
    IF_MODIFIED_SINCE,
    IF_NONE_MATCH,
    IF_UNMODIFIED_SINCE,
];

/// What a client asks: a GET or HEAD without a range.
pub(crate) struct Question {
    pub(crate) route: Arc<OwnedRoute>,
    pub(crate) parts: request::Parts,
    /// What is stored and selected by it, and may not be given without asking.
    pub(crate) known: Option<Arc<Content>>,
    pub(crate) wishes: Directives,
    /// The request carries `Authorization`.
    pub(crate) authorized: bool,
    /// When the client must have its first byte.
    pub(crate) deadline: Time,
    /// The others who want the same, and wait.
    pub(crate) turn: Option<Asking>,
}

/// What came of it.
pub(crate) enum Came {
    /// It is in the store or coming in, or what is there is confirmed. A body that comes in only as far as the client
    /// takes it has a hold.
    Stored(Arc<Content>, Option<Hold>),
    /// The origin is in trouble; this may be given in its place.
    Stale(Arc<Content>),
    /// For this client alone.
    Through(Response<ThroughBody>),
    /// No answer.
    Refused {
        /// 403, 502, 503 or 504.
        status: u16,
        /// In words for the client.
        reason: String,
    },
}

impl Download {
    /// Asks the origin.
    pub(crate) async fn exchange(&self, question: Question) -> Came {
        self.0.exchange(question).await
    }

    /// What may be given where the origin says nothing.
    pub(crate) fn instead(&self, question: &Question) -> Option<Arc<Content>> {
        let may = self.0.after(question, Trouble::Disconnected) == AfterTrouble::ServeStale;
        question.known.clone().filter(|_| may)
    }

    /// What is stored for a URL and selected by a request's fields (RFC 9111, section 4.1), and the key of both.
    pub(crate) fn select(
        &self,
        route: &OwnedRoute,
        parts: &request::Parts,
    ) -> (UrlKey, Option<Arc<Content>>) {
        let primary = route.identity.key;
        let Some(latest) = self.0.store.load(&primary) else {
            return (primary, None);
        };
        let key = selected(&primary, &latest.record().vary, parts);
        if latest.record().vary.is_empty() || latest.key == key {
            return (key, Some(latest));
        }
        (key, self.0.store.load(&key))
    }
}

impl Inner {
    async fn exchange(self: &Arc<Self>, mut question: Question) -> Came {
        let asked_at = self.clock.unix();
        let confirms = question.parts.method == Method::GET
            && question
                .known
                .as_ref()
                .is_some_and(|known| has_validator(known));
        let answer = match self.send(&question, confirms).await {
            Ok(answer) => answer,
            Err(error) => return self.unanswered(&question, &error),
        };
        let status = answer.status.as_u16();
        if let Some(known) = question.known.clone() {
            if is_trouble(status) {
                return match self.after(&question, Trouble::Failing) {
                    AfterTrouble::ServeStale => Came::Stale(known),
                    _ => pass(answer),
                };
            }
            if confirms && status == 304 {
                if head::confirms(&known, &answer.headers) {
                    let renewed = self.renew(&known, &answer.headers, asked_at);
                    if let Some(turn) = question.turn.take() {
                        turn.tell(Told::Again);
                    }
                    return Came::Stored(renewed, None);
                }
                // Section 4.3.4: it confirms another version than the one that is here.
                drop(answer);
                return match self.send(&question, false).await {
                    Ok(answer) => self.take(question, answer, asked_at),
                    Err(error) => self.unanswered(&question, &error),
                };
            }
        }
        self.take(question, answer, asked_at)
    }

    /// Asks, and once more where no answer came and there is nothing else to give: what is a GET may be asked twice (RFC
    /// 9110, section 9.2.2), and one error sends a client's whole download elsewhere (facts: clients 1.13).
    async fn send(&self, question: &Question, confirms: bool) -> Result<OriginAnswer, OriginError> {
        let error = match self.origin.send(self.request(question, confirms)).await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let left = question.deadline.since(self.clock.now());
        if question.known.is_some() || !error.may_pass() || left < AGAIN_AFTER + LEFT_MIN {
            return Err(error);
        }
        tokio::time::sleep(AGAIN_AFTER).await;
        self.origin.send(self.request(question, confirms)).await
    }

    /// The request as the origin gets it.
    fn request(&self, question: &Question, confirms: bool) -> OriginRequest {
        let Question { route, parts, .. } = question;
        let mut headers = self.forwarded(route, parts);
        // Ranges are for GET alone (RFC 9110, section 14.2), and go another way.
        headers.remove(RANGE);
        headers.remove(IF_RANGE);
        if let Some(known) = &question.known
            && parts.method == Method::GET
        {
            // The answer is to be the whole object or a confirmation of the stored one; the client's own conditions
            // are judged against what it turns out to be.
            for name in &CONDITIONS {
                headers.remove(name);
            }
            let record = known.record();
            let own = [
                (IF_NONE_MATCH, &record.etag),
                (IF_MODIFIED_SINCE, &record.last_modified),
            ];
            for (name, value) in own {
                let value = value.as_ref().filter(|_| confirms);
                if let Some(Ok(value)) = value.map(|value| HeaderValue::from_str(value)) {
                    headers.insert(name, value);
                }
            }
        }
        OriginRequest {
            origin: route.origin.clone(),
            target: route.target.clone(),
            method: parts.method.clone(),
            headers,
            body: None,
            lane: Lane::Through,
            interim: parts.extensions.get().cloned(),
        }
    }

    fn after(&self, question: &Question, trouble: Trouble) -> AfterTrouble {
        let now = self.clock.unix();
        let stored = question.known.as_ref().map(|known| head::facts(known, now));
        after_trouble(stored.as_ref(), &question.wishes, trouble, now)
    }

    /// What to give for trouble of an origin to somebody without wishes.
    pub(super) fn for_trouble(&self, known: &Content, trouble: Trouble) -> AfterTrouble {
        let now = self.clock.unix();
        let stored = head::facts(known, now);
        after_trouble(Some(&stored), &Directives::default(), trouble, now)
    }

    fn unanswered(&self, question: &Question, error: &OriginError) -> Came {
        tracing::debug!(url = %question.route.url, %error, "asking an origin failed");
        self.without_answer(question, error.status(), error.to_string())
    }

    /// What to give where the origin says nothing.
    pub(super) fn without_answer(&self, question: &Question, status: u16, reason: String) -> Came {
        match (self.after(question, Trouble::Disconnected), &question.known) {
            (AfterTrouble::ServeStale, Some(known)) => Came::Stale(Arc::clone(known)),
            (AfterTrouble::Refuse504, _) => Came::Refused {
                status: 504,
                reason: format!("what is stored must be confirmed, and: {reason}"),
            },
            _ => Came::Refused { status, reason },
        }
    }

    /// Takes an answer that is none about what is stored.
    fn take(
        self: &Arc<Self>,
        question: Question,
        answer: OriginAnswer,
        asked_at: UnixSecs,
    ) -> Came {
        // Of a GET for what is known they were left out.
        let conditions = (question.known.is_none() || question.parts.method == Method::HEAD)
            && CONDITIONS
                .iter()
                .any(|name| question.parts.headers.contains_key(name));
        if let Some(why) = contradiction(&head_of(&answer), None, conditions) {
            self.figures().origin_lies.increment(1);
            tracing::warn!(url = %question.route.url, why, "an answer of the origin can not be passed on");
            return self.without_answer(&question, 502, why.to_owned());
        }
        let exchange = Exchange {
            immutable: false,
            authorized: question.authorized,
            asked_at,
            now: self.clock.unix(),
        };
        if question.parts.method == Method::HEAD
            && answer.status == 200
            && let Some(known) = &question.known
        {
            self.heard(known, &answer, asked_at);
        }
        let verdict = larder_proto::freshness::judge(
            answer.status.as_u16(),
            &mut pairs(&answer.headers),
            exchange,
        );
        let whole = question.parts.method == Method::GET && answer.status != 206;
        // Encoded in spite of that nobody asked for it, it is one client's: an origin that is well again would find
        // it confirmed by its own entity tag for ever.
        let encoded = answer.headers.contains_key(CONTENT_ENCODING)
            && !question.parts.headers.contains_key(ACCEPT_ENCODING);
        if verdict.storable && whole && !encoded {
            return self.keep(question, answer, &verdict, exchange.now);
        }
        tracing::debug!(url = %question.route.url, why = verdict.why_not, "not stored");
        if let Some(known) = question.known.as_ref().filter(|_| whole) {
            // It is not what its origin has any more, and nothing takes its place.
            self.forget(known);
        }
        if let Some(turn) = question.turn {
            turn.tell(Told::Alone);
        }
        pass(answer)
    }

    /// What an answer to HEAD says of what is stored: it is still the one and gets its fields, or it is another and
    /// what is stored is not to be found any more (section 4.3.5).
    fn heard(&self, known: &Arc<Content>, answer: &OriginAnswer, asked_at: UnixSecs) {
        if !head::is_coded_alike(known, &answer.headers) {
            // It is about another choice than the stored one.
            return;
        }
        let length = head_of(answer).content_length;
        let is_as_long = length.is_none_or(|length| length == known.record().length);
        if known.record().status == 200 && is_as_long && head::agrees(known, &answer.headers) {
            self.renew(known, &answer.headers, asked_at);
        } else {
            self.forget(known);
        }
    }

    /// Nobody shall find this content any more.
    pub(super) fn forget(&self, content: &Arc<Content>) {
        let store = self.store.clone();
        let filter = larder_storage::store::Filter::Content(content.no);
        self.runtime.spawn_blocking(move || store.purge(&filter));
    }
}

/// The key of what a request's fields select.
fn selected(primary: &UrlKey, vary: &[String], parts: &request::Parts) -> UrlKey {
    let fields: Vec<_> = pairs(&parts.headers).collect();
    variant_key(primary, vary, fields.iter().copied())
}

fn has_validator(content: &Content) -> bool {
    let record = content.record();
    record.etag.is_some() || record.last_modified.is_some()
}

/// The answer as it is.
fn pass(answer: OriginAnswer) -> Came {
    let body = answer
        .body
        .map_err(|e| Box::new(e) as crate::origin::BoxError)
        .boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = answer.status;
    *response.headers_mut() = end_to_end(answer.headers);
    Came::Through(response)
}
