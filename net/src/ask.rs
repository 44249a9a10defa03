//! What a shard thread asks of the control threads, and how it is answered. The rule: every ask is answered exactly
//! once, whatever happens to whoever was to answer it.

use bytes::Bytes;
use larder_content::ContentId;
use larder_proto::http::route::OwnedRoute;
use larder_proto::time::Time;
use larder_storage::flight::Flight;
use larder_storage::record::Content;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// Something a shard thread can not do itself.
#[derive(Debug)]
pub enum Ask {
    /// Find out what a URL is now: from the catalogue, or from its origin.
    Resolve(ResolveAsk),
    /// Bring pieces in. The asker has claimed them and owns their flights.
    Fetch(FetchAsk),
    /// Note that a client was given what was not all there.
    Touched(TouchedAsk),
    /// Find out which pieces of a content a peer may be offered, which may take a look at the catalogue.
    Offer(OfferAsk),
    /// Bring in a piece for an appliance at the other end of a link, where clients here want the content, too.
    Wanted(Arc<Content>, u32),
}

/// "Which pieces of this may a peer be offered?"
#[derive(Debug)]
pub struct OfferAsk {
    /// The content.
    pub content: Arc<Content>,
    /// By which name the peer asks for it.
    pub swarm: ContentId,
    /// Who wants to know.
    pub reply: OfferReply,
}

type Offerer = Box<dyn FnOnce(Option<Vec<u32>>) + Send>;

/// Where the pieces go that may be offered. Dropped without an answer it says by itself that there are none.
pub struct OfferReply(Option<Offerer>);

impl OfferReply {
    /// A reply that calls `then` once; with None where the content is not shared by that name.
    pub fn new(then: impl FnOnce(Option<Vec<u32>>) + Send + 'static) -> Self {
        Self(Some(Box::new(then)))
    }

    /// Gives the answer.
    pub fn send(mut self, pieces: Option<Vec<u32>>) {
        if let Some(then) = self.0.take() {
            then(pieces);
        }
    }
}

impl Drop for OfferReply {
    fn drop(&mut self) {
        if let Some(then) = self.0.take() {
            then(None);
        }
    }
}

impl fmt::Debug for OfferReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OfferReply")
    }
}

/// "What is this URL?"
#[derive(Debug)]
pub struct ResolveAsk {
    /// Where it leads.
    pub route: OwnedRoute,
    /// The bytes that the client wants first: offset, and end where its range is closed. None: from the beginning.
    pub wanted: Option<(u64, Option<u64>)>,
    /// When the client must have its first byte.
    pub deadline: Time,
    /// Ask the origin though what is stored is fresh; of no effect on immutable content.
    pub revalidate: bool,
    /// Who wants to know.
    pub reply: Reply,
}

/// "Bring me these pieces."
#[derive(Debug)]
pub struct FetchAsk {
    /// The version they belong to.
    pub content: Arc<Content>,
    /// Where the client found it: the host to ask, and the freshest signed query.
    pub route: Arc<OwnedRoute>,
    /// The flights that the asker owns.
    pub flights: Vec<Arc<Flight>>,
    /// When the client must have its first byte.
    pub deadline: Time,
    /// No client waits for them: they come after all that one waits for, and are given up where the link has had no
    /// room for them until then. Once somebody watches such a flight it is wanted like any other. None: for a client.
    pub spare_until: Option<Time>,
}

/// "A client wants this, and not all that it wants is there."
#[derive(Debug)]
pub struct TouchedAsk {
    /// What it wants a part of.
    pub content: Arc<Content>,
    /// Where it found it.
    pub route: Arc<OwnedRoute>,
    /// The client.
    pub client: IpAddr,
}

/// What a URL turned out to be.
#[derive(Debug, Clone)]
pub enum Resolution {
    /// Content in the store (its pieces may be on their way), fresh now.
    Content(Arc<Content>),
    /// Content in the store that is stale: its origin is in trouble, or slow.
    Stale(Arc<Content>),
    /// A small answer that all who wait share: an error of the origin, a redirect that leaves, a short page.
    Answer(Arc<SmallAnswer>),
    /// Nothing the store can hold: the hyper service streams it.
    HandOver,
    /// There is no answer to be had.
    Refused {
        /// The status to give: 403, 502, 503 or 504.
        status: u16,
        /// Why, in words for the client and the log.
        reason: String,
    },
}

/// An answer small enough to be held in memory.
#[derive(Debug, Clone)]
pub struct SmallAnswer {
    /// Status code.
    pub status: u16,
    /// Headers to pass on, end-to-end ones only.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

type Answerer = Box<dyn FnOnce(Resolution) + Send>;

/// Where a resolution goes. Dropped without an answer it says 503 by itself.
pub struct Reply(Option<Answerer>);

impl Reply {
    /// A reply that calls `then` once.
    pub fn new(then: impl FnOnce(Resolution) + Send + 'static) -> Self {
        Self(Some(Box::new(then)))
    }

    /// Gives the answer.
    pub fn send(mut self, resolution: Resolution) {
        if let Some(then) = self.0.take() {
            then(resolution);
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(then) = self.0.take() {
            let reason = "the request was dropped before it was answered; try again".to_owned();
            then(Resolution::Refused {
                status: 503,
                reason,
            });
        }
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reply")
    }
}

/// Who answers asks: the download side in the appliance, a script in tests.
pub trait Answer: Send + Sync {
    /// Takes an ask; never blocks.
    fn ask(&self, ask: Ask);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn a_dropped_reply_still_answers() {
        let (tell, told) = mpsc::channel();
        drop(Reply::new(move |r| tell.send(r).expect("somebody listens")));
        assert!(matches!(
            told.recv(),
            Ok(Resolution::Refused { status: 503, .. })
        ));
    }

    #[test]
    fn a_sent_reply_answers_once() {
        let (tell, told) = mpsc::channel();
        Reply::new(move |r| tell.send(r).expect("somebody listens")).send(Resolution::HandOver);
        assert!(matches!(told.recv(), Ok(Resolution::HandOver)));
        assert!(told.recv().is_err());
    }
}
