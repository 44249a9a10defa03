//! From a request to its answer's head: route, look up, plan. The rule: what is sent was fresh when the request came,
//! or was resolved for it.

use super::clients::Misses;
use super::link::{Before, Body, Known, Link, Parts, Source};
use super::{Shard, body};
use crate::ask::{Ask, FetchAsk, Reply, Resolution, ResolveAsk, TouchedAsk};
use crate::http::described::{facts_of, plan_for, status_of};
use crate::http::small::{Framing, write_small};
use crate::plane::mailbox::Note;
use crate::settings::Settings;
use larder_content::{PieceId, Span};
use larder_proto::answer::{self, CacheStatus, http_date, write_head};
use larder_proto::http::conn::{Cause, Event as Happened};
use larder_proto::http::head::{Head, Parsed, parse_head};
use larder_proto::http::route::{OwnedRoute, Refusal, Route, route};
use larder_proto::http::walk::Walk;
use larder_proto::plan::{Conditions, Plan};
use larder_proto::range::first_wanted;
use larder_proto::time::{Time, UnixSecs};
use larder_storage::flight::Flight;
use larder_storage::record::Content;
use larder_storage::store::{Claim, Found};
use std::sync::Arc;
use std::time::Duration;

impl Shard {
    /// Decides on a request: answers it, asks for what is not known, or gives it away.
    pub(super) fn decide(&mut self, link: &mut Link, head: &Head<'_>, cause: Cause) -> Happened {
        if cause == Cause::New {
            link.serial = link.serial.wrapping_add(1);
            link.resolution = None;
            link.before = Before::Nothing;
            link.asked = Some(link.conn.asked());
        }
        link.drop_answer();
        if cause == Cause::New
            && let Some(content) = self.known(link, head)
        {
            link.before = Before::Fresh;
            return self.answer(link, head, content);
        }
        if head.special {
            return Happened::HandOver;
        }
        let settings = Arc::clone(&self.settings);
        let route = match route(head.target, head.host, false, &settings.rules) {
            Ok(route) => route,
            Err(refusal) => return self.refuse_route(link, head, &refusal),
        };
        // What names its content is the same however new a client wants it, and must not be fetched twice for that.
        let identity = route.identity(&settings.rules);
        if head.picky && !identity.immutable {
            return Happened::HandOver;
        }
        // Everything else is the service's to ask for, unless a client wants a part of it: that may be large.
        let asks_here = identity.immutable || (head.range.is_some() && head.method == "GET");
        let content = match cause {
            Cause::New => {
                let changes = self.common.parts.store.changes();
                let known = self.common.parts.store.content(&identity.key);
                let chosen = |content: &Arc<Content>| !content.record().vary.is_empty();
                if known.as_ref().is_some_and(chosen) {
                    // Fields that only the service looks at choose between several.
                    return Happened::HandOver;
                }
                link.before = match &known {
                    Some(content) if content.is_fresh(self.unix) => Before::Fresh,
                    Some(content) => Before::Stale(content.no),
                    None => Before::Nothing,
                };
                let fresh = known.filter(|_| link.before == Before::Fresh);
                link.known = fresh.as_ref().map(|content| Known {
                    content: Arc::clone(content),
                    changes,
                    settings: Arc::clone(&settings),
                });
                fresh
            }
            Cause::Changed => None,
            Cause::Resolved => match link.resolution.take() {
                Some(Resolution::Content(content)) => Some(content),
                Some(Resolution::Stale(content)) => {
                    link.before = Before::Kept;
                    Some(content)
                }
                Some(Resolution::HandOver) => return Happened::HandOver,
                Some(Resolution::Answer(answer)) => {
                    let how = Framing {
                        head_only: head.method == "HEAD",
                        keep_alive: link.conn.may_keep(head.keep_alive),
                        minor: head.minor,
                        cache: settings.cache_status.then_some(CacheStatus::Miss),
                    };
                    write_small(&mut link.out, &answer, how, &self.date);
                    link.said = Some((answer.status, Some(CacheStatus::Miss)));
                    if (400..500).contains(&answer.status) {
                        link.refused_host = Some(route.host.into());
                    }
                    return Happened::Answering {
                        keep_alive: how.keep_alive,
                    };
                }
                Some(Resolution::Refused { status, reason }) => {
                    let keep_alive = link.conn.may_keep(head.keep_alive);
                    let head_only = head.method == "HEAD";
                    self.write_refusal(link, status, &reason, keep_alive, head_only);
                    return Happened::Answering { keep_alive };
                }
                // News of something else: the resolution is still under way.
                None => return Happened::Resolving,
            },
        };
        match content {
            Some(content) => self.answer(link, head, content),
            None if !asks_here => Happened::HandOver,
            None => {
                self.resolve(link, head, &route);
                Happened::Resolving
            }
        }
    }

    /// What the request names, where its head is like the one before and nothing has changed since. Otherwise what was
    /// known is forgotten.
    fn known(&self, link: &mut Link, head: &Head<'_>) -> Option<Arc<Content>> {
        let known = link.known.as_ref().filter(|known| {
            head.alike
                && known.changes == self.common.parts.store.changes()
                && Arc::ptr_eq(&known.settings, &self.settings)
                && known.content.is_fresh(self.unix)
        });
        let content = known.map(|known| Arc::clone(&known.content));
        if content.is_none() {
            link.known = None;
        }
        content
    }

    fn refuse_route(&self, link: &mut Link, head: &Head<'_>, refusal: &Refusal) -> Happened {
        if let Refusal::Forbidden { host } = refusal {
            self.common.parts.figures.refused(host);
            link.refused_host = Some(host.as_str().into());
        }
        let keep_alive = link.conn.may_keep(head.keep_alive);
        let reason = refusal.to_string();
        self.write_refusal(
            link,
            refusal.status(),
            &reason,
            keep_alive,
            head.method == "HEAD",
        );
        Happened::Answering { keep_alive }
    }

    fn resolve(&self, link: &Link, head: &Head<'_>, route: &Route<'_>) {
        let (token, serial) = (link.token, link.serial);
        let mailbox = Arc::clone(&self.mailbox);
        let reply = Reply::new(move |resolution| {
            mailbox.tell(Note::Resolved {
                token,
                serial,
                resolution,
            });
        });
        self.common.parts.answer.ask(Ask::Resolve(ResolveAsk {
            route: route.to_owned(),
            wanted: first_wanted(head.range),
            deadline: self.deadline_of(link.conn.asked()),
            revalidate: false,
            reply,
        }));
    }

    /// When a client whose head was complete at `asked` must have its first byte.
    fn deadline_of(&self, asked: Time) -> Time {
        asked + Duration::from_millis(self.settings.first_byte_timeout_ms)
    }

    /// Writes the head and sets the body up.
    fn answer(&mut self, link: &mut Link, head: &Head<'_>, content: Arc<Content>) -> Happened {
        let record = content.record();
        let conditions = Conditions::from(head);
        let plan = plan_for(&conditions, &content);
        let span = match &plan {
            // A plan of parts has two at least.
            Plan::Parts(spans) => spans[0],
            Plan::Full if !conditions.head_only => Span::whole(record.length),
            Plan::Partial(span) => *span,
            _ => Span::new(0, 0),
        };
        let keep_alive = link.conn.may_keep(head.keep_alive);
        let mut stored = Stored::Unasked;
        if !span.is_empty() {
            let mut body = Body {
                content: Arc::clone(&content),
                walk: Walk::new(record.length, span),
                parts: None,
                source: Source::Unknown,
                route: None,
                deadline: self.deadline_of(link.conn.asked()),
                looks: 0,
                asked_for: None,
                misses: Misses::Nothing,
                upload: None,
            };
            stored = self.survey(link, &mut body);
            if !self.claims.is_empty() {
                let settings = Arc::clone(&self.settings);
                self.ask_for(&mut body, || owned_route(head, &settings));
            }
            link.body = Some(body);
        }
        let cache = stored.status(link.before, &content, self.unix_of(link.conn.asked()));
        if let Some(body) = &mut link.body {
            body.misses = body.misses.max(stored.misses(cache));
        }
        if let (Some(client), Some(body)) = (link.from, &mut link.body)
            && self.settings.prefetch.clients > 0
            && body.misses > Misses::Nothing
        {
            if body.route.is_none() {
                body.route = owned_route(head, &self.settings);
            }
            if let Some(route) = body.route.clone() {
                let content = Arc::clone(&content);
                self.common.parts.answer.ask(Ask::Touched(TouchedAsk {
                    content,
                    route,
                    client,
                }));
            }
        }
        let facts = facts_of(&content, self.unix);
        let said = self.settings.cache_status.then_some(cache);
        write_head(
            &mut link.out,
            &plan,
            &facts,
            keep_alive,
            head.minor,
            said,
            &http_date(content.date()),
        );
        let status = status_of(&plan, &content);
        link.said = Some((status, Some(cache)));
        link.sends = Some(content.no);
        if (400..500).contains(&status) {
            link.refused_host = Some(record.host.as_str().into());
        }
        if let (Plan::Parts(spans), Some(body)) = (plan, &mut link.body) {
            let boundary = answer::boundary(&spans, &facts);
            answer::write_part(&mut link.out, &boundary, spans[0], &facts);
            let mut spans = spans.into_iter();
            spans.next();
            body.parts = Some(Parts { spans, boundary });
        }
        Happened::Answering { keep_alive }
    }

    fn unix_of(&self, moment: Time) -> UnixSecs {
        self.unix.saturating_sub(self.now.since(moment).as_secs())
    }

    /// Looks at the pieces that are asked for first, and claims those that are missing.
    fn survey(&mut self, link: &mut Link, body: &mut Body) -> Stored {
        let ahead = body.walk.ask_ahead(self.settings.ahead_bytes_max);
        let (mut stored, mut missing) = (false, false);
        let first = ahead.start;
        for piece in ahead {
            let id = PieceId {
                content: body.content.no,
                piece,
            };
            let store = &self.common.parts.store;
            if piece == first {
                let asked = body.walk.here().map_or(0, |part| body.asks_for(part));
                match store.find_part(id, asked) {
                    Found::Absent => {}
                    Found::Flight(flight) => {
                        if is_here(&flight) {
                            stored = true;
                        } else {
                            self.common.parts.figures.coalesced.increment(1);
                            missing = true;
                        }
                        body.source = Source::Flight(flight);
                        continue;
                    }
                    Found::Ram(frame) => {
                        body.source = Source::Ram(frame);
                        stored = true;
                        continue;
                    }
                    Found::Disk(place) => {
                        self.read(link, body, &place);
                        stored = true;
                        continue;
                    }
                }
            }
            let claim = store.claim(id, body.content.piece_len(piece));
            match &claim {
                Claim::Stored => stored = true,
                Claim::Waiter(flight) if is_here(flight) => stored = true,
                Claim::Waiter(_) | Claim::Owner(_) => missing = true,
            }
            if let Claim::Owner(flight) = &claim {
                self.claims.push(Arc::clone(flight));
            }
            match claim {
                Claim::Waiter(flight) | Claim::Owner(flight) if piece == first => {
                    // Held from now on, so that its end, how soon it may come, is heard of.
                    body.source = Source::Flight(flight);
                }
                Claim::Stored | Claim::Waiter(_) | Claim::Owner(_) => {}
            }
        }
        match (stored, missing) {
            (_, false) => Stored::All,
            (false, true) => Stored::None,
            (true, true) => Stored::Some,
        }
    }

    /// Asks for the flights that were claimed.
    pub(super) fn ask_for(
        &mut self,
        body: &mut Body,
        route: impl FnOnce() -> Option<Arc<OwnedRoute>>,
    ) {
        if self.claims.is_empty() {
            return;
        }
        if body.route.is_none() {
            body.route = route();
        }
        let flights = std::mem::take(&mut self.claims);
        let Some(route) = &body.route else {
            // The rules have changed meanwhile, and the origin may not be asked any more.
            for flight in &flights {
                self.common.parts.store.abandon(flight, body::NOT_ALLOWED);
            }
            return;
        };
        self.common.parts.answer.ask(Ask::Fetch(FetchAsk {
            content: Arc::clone(&body.content),
            route: Arc::clone(route),
            flights,
            deadline: body.deadline,
            spare_until: None,
        }));
    }

    /// The route of the request at the beginning of an inbox.
    pub(super) fn route_of(&self, inbox: &[u8]) -> Option<Arc<OwnedRoute>> {
        let Parsed::Head(head) = parse_head(inbox) else {
            return None;
        };
        owned_route(&head, &self.settings)
    }
}

fn owned_route(head: &Head<'_>, settings: &Settings) -> Option<Arc<OwnedRoute>> {
    let route = route(head.target, head.host, false, &settings.rules).ok()?;
    Some(Arc::new(route.to_owned()))
}

/// How much of what is to be sent was stored when it was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stored {
    /// There is no body.
    Unasked,
    All,
    Some,
    None,
}

impl Stored {
    /// What to say of it, given what was known of the URL before. `asked`: when the request came, by the wall clock.
    pub(crate) fn status(self, before: Before, content: &Content, asked: UnixSecs) -> CacheStatus {
        match (before, self) {
            (Before::Stale(no), _) if no == content.no => CacheStatus::Revalidated,
            (Before::Stale(_), _) => CacheStatus::Expired,
            (Before::Kept, _) => CacheStatus::Stale,
            (Before::Updating, _) => CacheStatus::Updating,
            // What the resolution has just brought was not stored, however quickly it came.
            (Before::Nothing, _) if content.record().stored_at >= asked => CacheStatus::Miss,
            (Before::Nothing, Self::Unasked) => CacheStatus::Miss,
            (_, Self::All | Self::Unasked) => CacheStatus::Hit,
            (_, Self::Some) => CacheStatus::Partial,
            (_, Self::None) => CacheStatus::Miss,
        }
    }

    /// What of it counts as not stored, where that was said of it.
    fn misses(self, cache: CacheStatus) -> Misses {
        match (cache, self) {
            (CacheStatus::Miss | CacheStatus::Expired, _) | (_, Self::None) => Misses::All,
            // Of what was stale and is good after all, a part may never have been there.
            (_, Self::Some) => Misses::Some,
            (_, Self::All | Self::Unasked) => Misses::Nothing,
        }
    }
}

/// True where a piece has all its bytes, and is only being written: nobody waits for its origin any more.
fn is_here(flight: &Flight) -> bool {
    flight.seen().filled == flight.len()
}
