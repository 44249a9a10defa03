//! One object, all of it, in order: what a device that downloads takes from its own store while it comes in. The rule:
//! bytes are given in the object's order and once, whatever order they came in; all of them are of one version.

use crate::ask::{Answer, Ask, Reply, Resolution, ResolveAsk};
use crate::download::{Download, Sources};
use crate::metrics::Figures;
use crate::pieces::Pieces;
use bytes::Bytes;
use larder_content::{PIECE_BYTES, Span};
use larder_proto::http::route::OwnedRoute;
use larder_proto::http::walk::Walk;
use larder_storage::flight::FlightError;
use larder_storage::record::Content;
use larder_storage::store::Filter;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// Pieces are wanted at once. It is no client's patience, since nobody is told 503.
const PATIENCE: Duration = Duration::from_secs(12);

/// So much is given at a time at most; it lies where it came to, and is let go of before the next is taken.
const CHUNK_BYTES: u32 = PIECE_BYTES;

impl Download {
    /// Asks what a URL is now, its origin included unless the URL names its content. The origin is asked for no more than
    /// one piece where the rest is to be left to peers: the first one missing, which is where versions differ most often, so
    /// that hashes of another version are known for what they are.
    pub async fn find_out(
        &self,
        route: &OwnedRoute,
        within: Duration,
        left_to_peers: bool,
    ) -> Resolution {
        let known = self.store().load(&route.identity.key);
        let missing = known.map(|content| self.missing(&content));
        let first = missing.and_then(|missing| missing.first().copied());
        let first = u64::from(first.unwrap_or(0)) * u64::from(PIECE_BYTES);
        let (tell, told) = oneshot::channel();
        self.ask(Ask::Resolve(ResolveAsk {
            route: route.clone(),
            // What the answer brings is stored, so it is asked to begin with what is missing.
            wanted: Some((first, left_to_peers.then_some(first + 1))),
            deadline: self.clock().now() + within,
            revalidate: true,
            reply: Reply::new(move |resolution| {
                // Whoever asked may be gone.
                let _ = tell.send(resolution);
            }),
        }));
        told.await.unwrap_or_else(|_| Resolution::Refused {
            status: 503,
            reason: "larder is stopping".to_owned(),
        })
    }

    /// The pieces of a content that are not here, in order.
    fn missing(&self, content: &Content) -> Vec<u32> {
        let stored: HashSet<u32> = self.store().pieces_of(content).into_iter().collect();
        (0..content.pieces())
            .filter(|piece| !stored.contains(piece))
            .collect()
    }

    /// How many bytes of a content are on disk.
    #[must_use]
    pub fn stored_bytes(&self, content: &Content) -> u64 {
        let stored = self.store().pieces_of(content);
        let lens = stored.iter().map(|piece| content.piece_len(*piece));
        lens.map(u64::from).sum()
    }

    /// Forgets a content that turned out wrong.
    pub fn forget(&self, content: &Content) {
        self.store().purge(&Filter::Content(content.no));
    }
}

/// An object on its way to whoever wants all of it.
pub struct Whole {
    pieces: Pieces,
    download: Download,
    content: Arc<Content>,
    walk: Walk,
    ahead_bytes_max: u64,
}

impl fmt::Debug for Whole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Whole")
            .field("content", &self.content.no)
            .finish_non_exhaustive()
    }
}

impl Whole {
    /// Begins with an object's first byte. No more than `ahead_bytes_max` are asked for ahead of what was taken: what
    /// the store could not hold so long would be fetched twice.
    #[must_use]
    pub fn new(
        download: &Download,
        figures: &Arc<Figures>,
        content: &Arc<Content>,
        route: &Arc<OwnedRoute>,
        ahead_bytes_max: u64,
    ) -> Self {
        let deadline = download.clock().now() + PATIENCE;
        let mut pieces = Pieces::new(download, figures, content, route, deadline);
        pieces.share(CHUNK_BYTES);
        let length = content.length();
        Self {
            pieces,
            download: download.clone(),
            content: Arc::clone(content),
            walk: Walk::new(length, Span::whole(length)),
            ahead_bytes_max,
        }
    }

    /// The object.
    #[must_use]
    pub fn content(&self) -> &Arc<Content> {
        &self.content
    }

    /// Where its bytes came from that were fetched.
    #[must_use]
    pub fn sources(&self) -> Sources {
        self.download.sources(self.content.no)
    }

    /// The first byte that was not given yet.
    #[must_use]
    pub fn at(&self) -> u64 {
        self.content.length() - self.walk.left()
    }

    /// Whether a hash that is trusted says what this piece must be.
    #[must_use]
    pub fn is_proved(&self, piece: u32) -> bool {
        let expected = self.download.store().expected(&self.content, piece);
        expected.is_some_and(|expected| expected.trusted)
    }

    /// The next bytes, at least one; None after the last. They are to be let go of before the next are asked for.
    ///
    /// # Errors
    /// They can not be had now. A further call tries again, but for [`FlightError::Changed`]: then the object has to be
    /// resolved anew.
    pub async fn next(&mut self) -> Result<Option<Bytes>, FlightError> {
        let Some(part) = self.walk.here() else {
            return Ok(None);
        };
        self.pieces
            .ask_for(self.walk.ask_ahead(self.ahead_bytes_max));
        match self.pieces.bytes(part).await {
            Ok(bytes) => {
                self.walk.advance(bytes.len() as u64);
                Ok(Some(bytes))
            }
            Err(error) => {
                // What was asked for ahead may be gone as well: all of it is asked for again.
                let length = self.content.length();
                self.walk = Walk::new(length, Span::new(self.at(), length));
                Err(error)
            }
        }
    }

    /// Whether pieces with these hashes are, all of them, those that the hashes known of the object name. Where they are
    /// not, pieces that came by these hashes may be of another version than those that did not. May read the catalogue.
    #[must_use]
    pub fn is_named_by(&self, pieces: &[[u8; 32]]) -> bool {
        let known = self.download.store().piece_hashes(&self.content);
        let known = known.filter(|known| known.phf.pieces() as usize == pieces.len());
        known.is_some_and(|known| {
            let named = (0..known.phf.pieces()).map(|piece| known.phf.piece_hash(piece));
            named.zip(pieces).all(|(named, piece)| named == Some(piece))
        })
    }

    /// From now on no more than this is asked for ahead.
    pub fn look_ahead(&mut self, bytes_max: u64) {
        self.ahead_bytes_max = bytes_max;
    }
}
