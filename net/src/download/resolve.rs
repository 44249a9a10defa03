//! Finds out what a URL is now, once for all who ask at the same time. The rule: the origin is asked once for one key,
//! and an answer that may depend on a client's signature is only for those who carry the same one.

use super::exchange::Turn;
use super::lead::Lead;
use super::{Inner, STALE_AFTER};
use crate::ask::{Resolution, ResolveAsk, SmallAnswer};
use larder_content::UrlKey;
use larder_proto::http::route::{Authority, OwnedRoute};
use larder_proto::reuse::{AfterTrouble, Trouble};
use larder_proto::time::Time;
use larder_storage::record::Content;
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How long an error of an origin answers for the next ones who ask. Clients ask again every few seconds and must not
/// be told an old 404 (facts: clients 1.11).
const NEGATIVE_FOR: Duration = Duration::from_secs(5);

/// How long it is remembered that something can not be stored, which spares its origin a request for nothing. No longer
/// than an error, since one bad answer of an origin must not keep an object out of the store.
const HAND_OVER_FOR: Duration = NEGATIVE_FOR;

/// How many of both are remembered.
const REMEMBERED_MAX: usize = 4096;

/// How often somebody who joined a question asks on his own, because its answer was not for him.
const JOINS_MAX: usize = 3;

/// What a question to an origin came to.
#[derive(Clone)]
pub(crate) struct Outcome {
    pub(crate) resolution: Resolution,
    /// As whom it was asked.
    pub(super) route: Arc<OwnedRoute>,
}

impl Outcome {
    /// Whether it holds for another who asked for the same key.
    fn is_for(&self, route: &OwnedRoute) -> bool {
        match &self.resolution {
            Resolution::Content(_) | Resolution::Stale(_) | Resolution::HandOver => true,
            // Only who is who decides on these two.
            Resolution::Answer(answer) if !matches!(answer.status, 401 | 403) => true,
            Resolution::Refused { .. } | Resolution::Answer(_) => {
                self.route.origin == route.origin && self.route.target == route.target
            }
        }
    }
}

type Told = watch::Receiver<Option<Outcome>>;

/// What is being found out, and what was found out that is no content.
#[derive(Default)]
pub(super) struct Resolving {
    under_way: Mutex<HashMap<UrlKey, Told>>,
    remembered: Mutex<HashMap<(Authority, String), (Time, Resolution)>>,
    apart: Mutex<HashSet<UrlKey>>,
}

impl Resolving {
    /// From now on the hosts of this family key have keys of their own.
    pub(super) fn keep_apart(&self, key: UrlKey) {
        self.apart.lock().insert(key);
    }

    fn recall(&self, route: &OwnedRoute, now: Time) -> Option<Resolution> {
        let at = (route.origin.clone(), route.target.clone());
        let remembered = self.remembered.lock();
        let (until, resolution) = remembered.get(&at)?;
        (now < *until).then(|| resolution.clone())
    }

    /// Keeps what may be told to others for a moment.
    pub(super) fn remember(&self, route: &OwnedRoute, resolution: &Resolution, now: Time) {
        let keep_for = match resolution {
            Resolution::HandOver => HAND_OVER_FOR,
            Resolution::Answer(answer) if is_lasting(answer) => NEGATIVE_FOR,
            _ => return,
        };
        let mut remembered = self.remembered.lock();
        if remembered.len() >= REMEMBERED_MAX {
            remembered.retain(|_, (until, _)| now < *until);
        }
        if remembered.len() < REMEMBERED_MAX {
            let at = (route.origin.clone(), route.target.clone());
            remembered.insert(at, (now + keep_for, resolution.clone()));
        }
    }
}

/// An error that will be the same a few seconds later: the client's, but for those that ask for patience or a name.
fn is_lasting(answer: &SmallAnswer) -> bool {
    matches!(answer.status, 400..=499) && !matches!(answer.status, 401 | 407 | 408 | 425 | 429)
}

/// Takes a question off the list of those under way, whatever became of it.
pub(super) struct OffTheList {
    inner: Arc<Inner>,
    key: UrlKey,
}

impl Drop for OffTheList {
    fn drop(&mut self) {
        self.inner.resolving.under_way.lock().remove(&self.key);
    }
}

impl Inner {
    /// Answers one ask, at its deadline at the latest.
    pub(super) async fn resolve(self: Arc<Self>, ask: ResolveAsk) {
        let ResolveAsk {
            route,
            wanted,
            deadline,
            revalidate,
            reply,
        } = ask;
        let left = deadline.since(self.clock.now());
        let route = Arc::new(route);
        let found =
            tokio::time::timeout(left, self.find(&route, wanted, deadline, revalidate)).await;
        reply.send(found.unwrap_or_else(|_| Resolution::Refused {
            status: 503,
            reason: "the origin has not answered in time; try again".to_owned(),
        }));
    }

    async fn find(
        self: &Arc<Self>,
        route: &Arc<OwnedRoute>,
        wanted: Option<(u64, Option<u64>)>,
        deadline: Time,
        revalidate: bool,
    ) -> Resolution {
        // What may be given without asking the origin.
        let is_good = |content: &Arc<Content>| {
            content.is_fresh(self.clock.unix()) && (!revalidate || content.record().immutable)
        };
        for _ in 0..JOINS_MAX {
            let key = self.key_of(route);
            let known = self.store.load(&key);
            if let Some(content) = known.as_ref().filter(|content| is_good(content)) {
                return Resolution::Content(Arc::clone(content));
            }
            if let Some(resolution) = self.resolving.recall(route, self.clock.now()) {
                return resolution;
            }
            let mut turn = None;
            if !route.identity.immutable && !self.resolving.under_way.lock().contains_key(&key) {
                // Somebody may be asking for all of it.
                match self.turn(key) {
                    Turn::Mine(mine) => turn = Some(mine),
                    Turn::Alone => {}
                    Turn::Others(mut told) => {
                        // Whoever asks may go away: then it is asked anew.
                        let _ = told.wait_for(Option::is_some).await;
                        continue;
                    }
                }
            }
            let lead = Lead {
                inner: Arc::clone(self),
                key,
                route: Arc::clone(route),
                wanted,
                deadline,
                stale: known.clone(),
                turn,
            };
            let mut told = match self.join(key, lead, is_good) {
                Ok(told) => told,
                Err(content) => return Resolution::Content(content),
            };
            let answer = told.wait_for(Option::is_some);
            let own_store = self.settings.load().own_store;
            let usable = known.filter(|content| {
                let given = self.for_trouble(content, Trouble::Disconnected);
                !own_store && given == AfterTrouble::ServeStale
            });
            let outcome = match usable {
                // Asking goes on without this client; whoever comes next may find it confirmed.
                Some(stale) => match tokio::time::timeout(STALE_AFTER, answer).await {
                    Ok(outcome) => outcome,
                    Err(_) => return Resolution::Stale(stale),
                },
                None => answer.await,
            };
            match outcome.map(|outcome| outcome.clone()) {
                Ok(Some(outcome)) if outcome.is_for(route) => return outcome.resolution,
                Ok(_) => {}
                Err(_) => {
                    return Resolution::Refused {
                        status: 503,
                        reason: "larder could not finish asking the origin; try again".to_owned(),
                    };
                }
            }
        }
        Resolution::Refused {
            status: 503,
            reason: "too many ask for this at once with different signatures; try again".to_owned(),
        }
    }

    /// Joins the question for a key, or puts it. `Err`: it was answered just now.
    fn join(
        self: &Arc<Self>,
        key: UrlKey,
        lead: Lead,
        is_good: impl Fn(&Arc<Content>) -> bool,
    ) -> Result<Told, Arc<Content>> {
        let mut under_way = self.resolving.under_way.lock();
        if let Some(told) = under_way.get(&key) {
            self.figures().coalesced.increment(1);
            return Ok(told.clone());
        }
        // Whoever asked before is off the list only after the store knows the answer.
        if let Some(content) = self.store.content(&key).filter(is_good) {
            return Err(content);
        }
        let (tell, told) = watch::channel(None);
        under_way.insert(key, told.clone());
        if lead.route.identity.immutable
            && let Some(swarm) = self.swarm.get()
        {
            swarm.wonder(key, &lead.route.url, told.clone());
        }
        let off = OffTheList {
            inner: Arc::clone(self),
            key,
        };
        self.runtime.spawn(lead.run(tell, off));
        Ok(told)
    }

    /// The key that a route's object has in the store: the family's, unless its hosts differ.
    pub(super) fn key_of(&self, route: &OwnedRoute) -> UrlKey {
        let family = route.identity.key;
        if !route.identity.family {
            return family;
        }
        if self.resolving.apart.lock().contains(&family) {
            return route.apart.key;
        }
        // A restart forgets which hosts differ; what is stored of this one tells.
        if self.store.content(&family).is_none() && self.store.load(&route.apart.key).is_some() {
            self.resolving.keep_apart(family);
            return route.apart.key;
        }
        family
    }
}
