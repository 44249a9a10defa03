//! Answers from the store to what shards do not serve: several ranges, requests that say how fresh they want it. The
//! rule: the same plan and the same head as a shard writes; and no head leaves before the first byte of its body is at
//! hand, so that what can not be had is still answered in words.

use super::talk::{After, Turn};
use crate::ask::{Answer, Ask, Reply, Resolution, ResolveAsk, SmallAnswer, TouchedAsk};
use crate::http::described::{facts_of, plan_for, status_of};
use crate::http::small::{Framing, write_small};
use crate::pieces::Pieces;
use crate::plane::shard::{Before, Stored, failure};
use bytes::Bytes;
use larder_content::Span;
use larder_proto::answer::{
    CacheStatus, boundary, http_date, write_head, write_part, write_parts_end,
};
use larder_proto::directives::Directives;
use larder_proto::http::route::OwnedRoute;
use larder_proto::http::walk::{Part, Walk};
use larder_proto::plan::{Conditions, Plan};
use larder_proto::range::first_wanted;
use larder_storage::flight::FlightError;
use larder_storage::record::Content;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// How long the rest of a body that has begun may be waited for; fetches end by themselves long before.
const STARVED: Duration = Duration::from_secs(300);

/// How sending a content went.
pub(super) enum Sent {
    Whole,
    /// It was begun and can not be completed.
    Cut,
    /// Nothing was sent.
    Not(FlightError),
}

impl Turn<'_> {
    /// Answers a GET or HEAD from the store.
    pub(super) async fn serve_stored(
        &mut self,
        route: OwnedRoute,
        wishes: Directives,
    ) -> io::Result<After> {
        let unix = self.service.download.clock().unix();
        let known = self.service.download.store().content(&route.identity.key);
        let is_good = |content: &Arc<Content>| {
            let fresh_for_s = content.fresh_until().saturating_sub(unix);
            content.record().immutable
                || (content.is_fresh(unix) && wishes.accepts(content.age_s(unix), fresh_for_s))
        };
        let mut before = match &known {
            Some(content) if is_good(content) => Before::Fresh,
            Some(content) => Before::Stale(content.no),
            None => Before::Nothing,
        };
        let mut content = known.filter(|_| before == Before::Fresh);
        if wishes.only_if_cached && content.is_none() {
            return self
                .refuse(504, "it is not stored, or not as fresh as asked for")
                .await;
        }
        let route = Arc::new(route);
        let mut asked_anew = false;
        loop {
            let present = match content.take() {
                Some(content) => content,
                // A client that takes nothing stored before, asks of those who ask at the same time one question.
                None => match self.resolve(&route, before != Before::Nothing).await {
                    Resolution::Content(content) => content,
                    Resolution::Stale(content) => {
                        before = Before::Kept;
                        content
                    }
                    Resolution::Answer(answer) => return self.small(&answer).await,
                    Resolution::HandOver => return self.through(&route).await,
                    Resolution::Refused { status, reason } => {
                        return self.refuse(status, &reason).await;
                    }
                },
            };
            match self.send(&route, &present, before).await? {
                Sent::Whole => return Ok(self.after()),
                Sent::Cut => return Ok(After::Cut),
                Sent::Not(FlightError::Changed) if !asked_anew => asked_anew = true,
                Sent::Not(error) => {
                    let failure = failure(error);
                    return self.refuse(failure.status, failure.reason).await;
                }
            }
        }
    }

    async fn resolve(&self, route: &OwnedRoute, revalidate: bool) -> Resolution {
        let (tell, told) = oneshot::channel();
        self.service.download.ask(Ask::Resolve(ResolveAsk {
            route: route.clone(),
            wanted: first_wanted(self.head.range),
            deadline: self.deadline(),
            revalidate,
            reply: Reply::new(move |resolution| {
                // Whoever asked may be gone.
                let _ = tell.send(resolution);
            }),
        }));
        let left = self.deadline().since(self.service.download.clock().now());
        match tokio::time::timeout(left, told).await {
            Ok(Ok(resolution)) => resolution,
            _ => Resolution::Refused {
                status: 503,
                reason: "the origin has not answered in time; try again".to_owned(),
            },
        }
    }

    async fn small(&mut self, answer: &SmallAnswer) -> io::Result<After> {
        let how = Framing {
            head_only: self.head_only(),
            keep_alive: self.keep_alive,
            minor: self.head.minor,
            cache: self.settings.cache_status.then_some(CacheStatus::Miss),
        };
        let mut out = Vec::new();
        write_small(&mut out, answer, how, &self.date());
        self.said = Some((answer.status, Some(CacheStatus::Miss)));
        self.write(&out).await?;
        Ok(self.after())
    }

    pub(super) async fn send(
        &mut self,
        route: &Arc<OwnedRoute>,
        content: &Arc<Content>,
        before: Before,
    ) -> io::Result<Sent> {
        let record = content.record();
        let plan = plan_for(&Conditions::from(self.head), content);
        let spans = match &plan {
            Plan::Full if !self.head_only() => vec![Span::whole(record.length)],
            Plan::Partial(span) => vec![*span],
            Plan::Parts(spans) => spans.clone(),
            _ => Vec::new(),
        };
        let download = &self.service.download;
        let unix = download.clock().unix();
        let figures = &self.service.figures;
        let mut pieces = Pieces::new(download, figures, content, route, self.deadline());
        if let Some(bytes) = self.takes_at_once() {
            pieces.share(bytes);
        }
        let mut walks: Vec<_> = spans
            .iter()
            .map(|span| Walk::new(record.length, *span))
            .collect();
        let ahead = self.settings.ahead_bytes_max / walks.len().max(1) as u64;
        let stored = pieces.ask_for(walks.iter_mut().flat_map(|walk| walk.ask_ahead(ahead)));
        let waited = download.clock().now().since(self.asked);
        let cache = stored.status(before, content, unix.saturating_sub(waited.as_secs()));
        let mut first = None;
        if let Some(part) = walks.first().and_then(Walk::here) {
            match self.bytes(&pieces, part).await {
                Ok(bytes) => first = Some(bytes),
                Err(error) => return Ok(Sent::Not(error)),
            }
        }
        if let Some(client) = self.client()
            && (matches!(cache, CacheStatus::Miss | CacheStatus::Expired)
                || matches!(stored, Stored::None | Stored::Some))
        {
            download.ask(Ask::Touched(TouchedAsk {
                content: Arc::clone(content),
                route: Arc::clone(route),
                client,
            }));
        }
        let mut facts = facts_of(content, unix);
        if matches!(cache, CacheStatus::Miss | CacheStatus::Expired) && !record.immutable {
            // It comes from its origin, which has said how old it is.
            facts.age_s = record.age_said_s;
        }
        let said = self.settings.cache_status.then_some(cache);
        let mut out = Vec::new();
        let date = http_date(content.date());
        write_head(
            &mut out,
            &plan,
            &facts,
            self.keep_alive,
            self.head.minor,
            said,
            &date,
        );
        self.said = Some((status_of(&plan, content), Some(cache)));
        self.sends = Some(content.no);
        let boundary = matches!(plan, Plan::Parts(_)).then(|| boundary(&spans, &facts));
        for (walk, span) in walks.iter_mut().zip(&spans) {
            if let Some(boundary) = &boundary {
                write_part(&mut out, boundary, *span, &facts);
            }
            while let Some(part) = walk.here() {
                pieces.ask_for(walk.ask_ahead(ahead));
                let bytes = match first.take() {
                    Some(bytes) => bytes,
                    None => {
                        // So that what is found now is taken at once, and held by nobody who waits.
                        self.settle().await?;
                        match self.bytes(&pieces, part).await {
                            Ok(bytes) => bytes,
                            Err(error) => {
                                tracing::debug!(%error, url = %route.url, "an answer is cut");
                                return Ok(Sent::Cut);
                            }
                        }
                    }
                };
                self.write_both(&out, &bytes).await?;
                self.body_bytes += bytes.len() as u64;
                out.clear();
                walk.advance(bytes.len() as u64);
                if let Some(hold) = &self.hold {
                    hold.took(bytes.len() as u64);
                }
            }
        }
        if let Some(boundary) = &boundary {
            write_parts_end(&mut out, boundary);
        }
        self.write(&out).await?;
        Ok(Sent::Whole)
    }

    async fn bytes(&self, pieces: &Pieces, part: Part) -> Result<Bytes, FlightError> {
        let limit = if self.begun {
            STARVED
        } else {
            self.deadline().since(self.service.download.clock().now())
        };
        let bytes = tokio::time::timeout(limit, pieces.bytes(part)).await;
        bytes.unwrap_or(Err(FlightError::Overloaded))
    }
}
