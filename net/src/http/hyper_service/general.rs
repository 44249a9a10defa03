//! The shared cache of RFC 9111: requests for what is not immutable. The rule: what is stored is given where the
//! rules allow it; everything else costs one request to the origin, whose answer the client gets.

use super::stored::Sent;
use super::talk::{After, Turn};
use crate::download::exchange::{self, Came, Question, Told};
use crate::download::{Download, STALE_AFTER};
use crate::plane::shard::{Before, failure};
use http::Method;
use larder_proto::answer::CacheStatus;
use larder_proto::directives::Directives;
use larder_proto::http::route::OwnedRoute;
use larder_proto::reuse::{Reuse, reuse};
use larder_storage::flight::FlightError;
use larder_storage::record::Content;
use std::io;
use std::sync::Arc;
use tokio::time::timeout;

/// How often somebody waits for what another brings, before he asks for himself.
const JOINS_MAX: usize = 3;

impl Turn<'_> {
    /// Answers a GET or HEAD for what is not immutable.
    pub(super) async fn general(
        &mut self,
        route: OwnedRoute,
        wishes: Directives,
        authorized: bool,
    ) -> io::Result<After> {
        let route = Arc::new(route);
        let download = self.service.download.clone();
        let clock = download.clock();
        let asked_unix = clock.unix();
        // What the client may not be given, or can not be, is not looked at again.
        let mut lost = false;
        let mut joins = 0;
        loop {
            let now = clock.unix();
            let (key, found) = download.select(&route, &self.parts);
            let varies = found
                .as_ref()
                .is_some_and(|content| !content.record().vary.is_empty());
            let found =
                found.filter(|content| !lost && (!authorized || content.record().for_authorized));
            let facts = found.as_ref().map(|content| exchange::facts(content, now));
            let mut verdict = reuse(facts.as_ref(), &wishes, now);
            // What has just been brought for another is as new as anything can be.
            let just_brought = |content: &Arc<Content>| {
                content.record().answered_at >= asked_unix && content.is_fresh(now)
            };
            if verdict == Reuse::Revalidate && joins > 0 && found.as_ref().is_some_and(just_brought)
            {
                verdict = Reuse::Serve;
            }
            if verdict == Reuse::Refuse504 {
                let reason = "it is not stored, or not as fresh as asked for";
                return self.refuse(504, reason).await;
            }
            if let (Reuse::Serve | Reuse::ServeStaleAndRevalidate, Some(content)) =
                (verdict, &found)
            {
                let before = match verdict {
                    _ if content.is_fresh(now) => Before::Fresh,
                    Reuse::Serve => Before::Kept,
                    _ => {
                        let question = self.question(&route, Some(content), &wishes, authorized);
                        refresh_behind(&download, key, question);
                        Before::Updating
                    }
                };
                match self.give(&route, content, before).await? {
                    Given::Answered(after) => return Ok(after),
                    Given::Lost => {
                        lost = true;
                        continue;
                    }
                }
            }
            let ranged = self.head.range.is_some() && self.parts.method == Method::GET;
            if ranged && !varies && !authorized && !wishes.no_store {
                return self.serve_stored(OwnedRoute::clone(&route), wishes).await;
            }
            if ranged || wishes.no_store {
                return self.through(&route).await;
            }
            let mut question = self.question(&route, found.as_ref(), &wishes, authorized);
            if !authorized && joins < JOINS_MAX && self.parts.method == Method::GET {
                match download.turn(key) {
                    exchange::Turn::Mine(turn) => question.turn = Some(turn),
                    exchange::Turn::Alone => {}
                    exchange::Turn::Others(mut told) => {
                        let left = self.deadline().since(clock.now());
                        let told = timeout(left, told.wait_for(Option::is_some)).await;
                        match told.map(|told| told.map(|told| *told)) {
                            Ok(Ok(Some(Told::Alone))) => joins = JOINS_MAX,
                            Ok(_) => joins += 1,
                            Err(_) => return self.refuse(503, LATE).await,
                        }
                        continue;
                    }
                }
            }
            let known = found.clone();
            let came = self.ask(question).await?;
            let before = known.map_or(Before::Nothing, |known| Before::Stale(known.no));
            let (content, before) = match came {
                Came::Stored(content, hold) => {
                    self.hold = hold;
                    (content, before)
                }
                Came::Stale(content) => (content, Before::Kept),
                Came::Through(response) => {
                    let cache = match before {
                        // Nobody was to be served from what is stored.
                        Before::Nothing if authorized => CacheStatus::Bypass,
                        Before::Nothing => CacheStatus::Miss,
                        _ => CacheStatus::Expired,
                    };
                    return self.pass(response, cache).await;
                }
                Came::Refused { status, reason } => return self.refuse(status, &reason).await,
            };
            match self.give(&route, &content, before).await? {
                Given::Answered(after) => return Ok(after),
                Given::Lost if !lost => lost = true,
                Given::Lost => {
                    let failure = failure(FlightError::Origin);
                    return self.refuse(failure.status, failure.reason).await;
                }
            }
        }
    }

    fn question(
        &self,
        route: &Arc<OwnedRoute>,
        known: Option<&Arc<Content>>,
        wishes: &Directives,
        authorized: bool,
    ) -> Question {
        Question {
            route: Arc::clone(route),
            parts: self.parts.clone(),
            known: known.map(Arc::clone),
            wishes: *wishes,
            authorized,
            deadline: self.deadline(),
            turn: None,
        }
    }

    /// Asks the origin, for as long as the client waits.
    async fn ask(&mut self, mut question: Question) -> io::Result<Came> {
        let (parts, hear) = self.parts_to_ask();
        question.parts = parts;
        let download = self.service.download.clone();
        let now = download.clock().now();
        let stale = download.instead(&question);
        let patience = self.deadline().since(now);
        let patience = match &stale {
            Some(_) => patience.min(STALE_AFTER),
            None => patience,
        };
        let asked = timeout(patience, download.exchange(question));
        Ok(match (self.hearing(hear, asked).await?, stale) {
            (Ok(came), _) => came,
            (Err(_), Some(stale)) => Came::Stale(stale),
            (Err(_), None) => Came::Refused {
                status: 503,
                reason: LATE.to_owned(),
            },
        })
    }

    async fn give(
        &mut self,
        route: &Arc<OwnedRoute>,
        content: &Arc<Content>,
        before: Before,
    ) -> io::Result<Given> {
        let sent = self.send(route, content, before).await;
        self.hold = None;
        Ok(match sent? {
            Sent::Whole => Given::Answered(self.after()),
            Sent::Cut => Given::Answered(After::Cut),
            Sent::Not(FlightError::Changed) => Given::Lost,
            Sent::Not(error) => {
                let failure = failure(error);
                Given::Answered(self.refuse(failure.status, failure.reason).await?)
            }
        })
    }
}

/// What a client hears that waited for too long.
const LATE: &str = "the origin has not answered in time; try again";

enum Given {
    Answered(After),
    /// It is not whole in the store any more, and can not be completed.
    Lost,
}

/// Has a stale object fetched anew while its client has it already.
fn refresh_behind(download: &Download, key: larder_content::UrlKey, mut question: Question) {
    if let exchange::Turn::Mine(turn) = download.turn(key) {
        question.turn = Some(turn);
        let download = download.clone();
        tokio::spawn(async move { drop(download.exchange(question).await) });
    }
}
