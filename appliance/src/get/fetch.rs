//! A download by pieces, through the store. The rule: what was written of another version, or turned out wrong, is
//! never part of the file; a break costs what was under way and nothing else.

use super::plain::{refused, wrong_sha1};
use super::progress::Meter;
use super::report::Verified;
use super::target::{Target, Writer};
use super::{Failure, plain};
use crate::node::Node;
use larder_content::PIECE_BYTES;
use larder_content::hash::{FileHasher, PieceHasher};
use larder_content::neighbour::sha1_of;
use larder_content::span::piece_count;
use larder_net::ask::Resolution;
use larder_net::settings::Settings;
use larder_net::whole::Whole;
use larder_proto::http::route::OwnedRoute;
use larder_proto::policy::DownloadMode;
use larder_proto::upstream::Validator;
use larder_storage::flight::FlightError;
use larder_storage::record::Content;
use std::sync::Arc;
use std::time::Duration;

/// How long finding out what a URL is may take; within it the origin is asked several times if it must be.
const FIND_OUT_WITHIN: Duration = Duration::from_secs(60);

/// So often in a row bytes may fail to come.
const FAILURES_MAX: u32 = 5;

/// So often an object may change while it is fetched.
const CHANGES_MAX: u32 = 5;

/// What is asked for ahead at least, and at most.
const AHEAD_BYTES: std::ops::RangeInclusive<u64> = 4 << 20..=8 << 30;

/// One download at work.
pub(super) struct Fetch<'n> {
    pub(super) node: &'n Node,
    pub(super) route: Arc<OwnedRoute>,
    pub(super) target: &'n Target,
    pub(super) meter: &'n Meter,
    /// Pieces may come from peers.
    pub(super) peers: bool,
    /// What the user should know besides the outcome.
    pub(super) notes: Vec<String>,
    writer: Option<Writer>,
}

/// What came of one attempt.
enum Came {
    Whole(u64, Verified),
    /// The origin has another version by now.
    Changed,
    /// The bytes are not what the URL names.
    Wrong,
    /// It can not be put together from several answers.
    OneAnswer,
}

impl<'n> Fetch<'n> {
    pub(super) fn new(
        node: &'n Node,
        route: Arc<OwnedRoute>,
        target: &'n Target,
        meter: &'n Meter,
        peers: bool,
    ) -> Self {
        Self {
            node,
            route,
            target,
            meter,
            peers,
            notes: Vec::new(),
            writer: None,
        }
    }

    /// Fetches it. The file is in its place when this returns well.
    ///
    /// # Errors
    /// See [`Failure`].
    pub(super) async fn run(&mut self) -> Result<(u64, Verified), Failure> {
        let result = self.attempts().await;
        match (result, self.writer.take()) {
            (Ok(done), Some(writer)) => writer.finish().map(|()| done),
            (Ok(done), None) => Ok(done),
            (Err(failure), writer) => {
                if let Some(writer) = writer {
                    writer.abandon();
                }
                Err(failure)
            }
        }
    }

    /// It ends before it is done: what is written of the file is cleared away.
    pub(super) fn give_up(&mut self) {
        if let Some(writer) = self.writer.take() {
            writer.abandon();
        }
    }

    async fn attempts(&mut self) -> Result<(u64, Verified), Failure> {
        let mut changes = 0;
        loop {
            match self.once().await? {
                Came::Whole(length, verified) => return Ok((length, verified)),
                Came::OneAnswer => {
                    self.notes.push(
                        "the origin gives nothing by which parts of several answers could be put together, so it came \
                         in one answer and can not be resumed"
                            .to_owned(),
                    );
                    if let Some(mut writer) = self.writer.take() {
                        // It is written to anew; what went down a pipe can not be.
                        writer.restart()?;
                    }
                    let (client, route) = (&self.node.origin, &self.route);
                    return plain::fetch(client, route, self.target, self.meter).await;
                }
                Came::Wrong => {
                    // One source after the other is left out, until the origin alone is left.
                    if !self.past_peers() && !self.past_cache_hosts() {
                        return Err(wrong_sha1(&self.route));
                    }
                }
                Came::Changed => {
                    changes += 1;
                    if changes > CHANGES_MAX {
                        return Err(Failure::Verification(format!(
                            "{} is another object each time it is asked for",
                            self.route.url
                        )));
                    }
                }
            }
            if let Some(writer) = &mut self.writer {
                writer.restart()?;
            }
        }
    }

    /// From now on no peers are asked. False where that is so already.
    fn past_peers(&mut self) -> bool {
        if !std::mem::replace(&mut self.peers, false) {
            return false;
        }
        tracing::warn!(
            "what came by peers is not of this object; the rest of the sources are asked"
        );
        let now = self.node.settings.load_full();
        let mut settings = Settings::clone(&now);
        settings.policies.mode = DownloadMode::Simple;
        self.node.settings.store(Arc::new(settings));
        true
    }

    /// From now on the origin alone is asked. False where that is so already.
    fn past_cache_hosts(&self) -> bool {
        let now = self.node.settings.load_full();
        if now.cache_hosts.is_empty() {
            return false;
        }
        tracing::warn!("what came by a cache host is wrong; the origin is asked");
        self.node.settings.store(Arc::new(Settings {
            cache_hosts: Vec::new(),
            ..Settings::clone(&now)
        }));
        true
    }

    async fn once(&mut self) -> Result<Came, Failure> {
        let known = self.node.store.load(&self.route.identity.key);
        let known = known.map(|content| (content.no, self.node.download.stored_bytes(&content)));
        let content = match self
            .node
            .download
            .find_out(&self.route, FIND_OUT_WITHIN, self.peers)
            .await
        {
            Resolution::Content(content) if content.record().whole => return Ok(Came::OneAnswer),
            Resolution::Content(content) => content,
            Resolution::HandOver => return Ok(Came::OneAnswer),
            Resolution::Answer(answer) => return Err(refused(&self.route, answer.status)),
            Resolution::Refused { reason, .. } => return Err(Failure::Network(reason)),
            Resolution::Stale(_) => {
                return Err(Failure::Network(format!(
                    "{} does not say whether what is stored of {} is still right",
                    self.route.origin, self.route.url
                )));
            }
        };
        // What a kill leaves is found again only once its name is on disk.
        let store = self.node.store.clone();
        let _ = tokio::task::spawn_blocking(move || store.flush()).await;
        let disk = known
            .filter(|(no, _)| *no == content.no)
            .map_or(0, |(_, bytes)| bytes);
        let length = content.length();
        self.meter.of(&self.node.download, content.no, length, disk);
        if self.writer.is_none() {
            self.writer = Some(self.target.open()?);
        }
        self.take(&content).await
    }

    async fn take(&mut self, content: &Arc<Content>) -> Result<Came, Failure> {
        let Some(writer) = &mut self.writer else {
            return Ok(Came::Changed);
        };
        let node = self.node;
        let ahead = ahead_bytes(node);
        let mut whole = Whole::new(&node.download, &node.figures, content, &self.route, ahead);
        let named = sha1_of(&content.record().url);
        let mut hasher = FileHasher::default();
        // Only peers need hashes of pieces.
        let mut pieces = self.peers.then(PieceList::default);
        let (mut failures, mut looked_at) = (0, 0);
        loop {
            match whole.next().await {
                Ok(None) => break,
                Ok(Some(bytes)) => {
                    failures = 0;
                    if named.is_some() {
                        hasher.update(&bytes);
                    }
                    if let Some(pieces) = &mut pieces {
                        pieces.update(&bytes);
                    }
                    writer.write(&bytes)?;
                }
                // Nothing says that it is another: it broke off, and nothing proves that the rest would fit.
                Err(FlightError::Changed) if !has_validator(content) => {
                    return Ok(Came::OneAnswer);
                }
                Err(FlightError::Changed) => return Ok(Came::Changed),
                Err(error) => {
                    failures += 1;
                    if failures > FAILURES_MAX {
                        return Err(failure_of(error, &self.route));
                    }
                    tracing::info!(%error, at = whole.at(), "bytes did not come; they are asked for again");
                    tokio::time::sleep(Duration::from_millis(250 << failures)).await;
                }
            }
            if whole.at() >= looked_at {
                looked_at = whole.at() + 16 * u64::from(PIECE_BYTES);
                whole.look_ahead(ahead_bytes(node));
            }
        }
        let matches = named.map(|named| hasher.finish() == named);
        // Peers' pieces are of the version that hashes name; those of the origin must be, too.
        let by_peers = pieces.filter(|_| matches.is_none() && whole.sources().peers() > 0);
        let doubtful = by_peers.is_some_and(|pieces| !whole.is_named_by(&pieces.finish()));
        if matches == Some(false) || doubtful {
            let (download, content) = (node.download.clone(), Arc::clone(content));
            let _ = tokio::task::spawn_blocking(move || download.forget(&content)).await;
            return Ok(Came::Wrong);
        }
        if matches.is_some() {
            return Ok(Came::Whole(content.length(), Verified::Sha1));
        }
        let pieces = piece_count(content.length());
        let proved = pieces > 0 && (0..pieces).all(|piece| whole.is_proved(piece));
        let verified = if proved {
            Verified::PieceHashes
        } else if has_validator(content) {
            Verified::Validator
        } else {
            Verified::Length
        };
        Ok(Came::Whole(content.length(), verified))
    }
}

/// Whether something tells one version of it from another.
fn has_validator(content: &Content) -> bool {
    let record = content.record();
    let version = Validator {
        length: record.length,
        etag: record.etag.clone(),
        last_modified: record.last_modified.clone(),
    };
    version.if_range(content.date()).is_some()
}

/// How much is asked for ahead of what was written: less than the part of the store that is left to what nobody has
/// read yet, so that nothing is evicted before its turn.
fn ahead_bytes(node: &Node) -> u64 {
    let figures = node.store.figures();
    if !figures.degraded.is_empty() || figures.not_kept_total > 0 {
        // What can not be kept must be taken as it comes.
        return *AHEAD_BYTES.start();
    }
    (figures.capacity_bytes / 16).clamp(*AHEAD_BYTES.start(), *AHEAD_BYTES.end())
}

/// The hashes of an object's pieces, as its bytes come in order.
#[derive(Default)]
struct PieceList {
    hashes: Vec<[u8; 32]>,
    piece: PieceHasher,
}

impl PieceList {
    fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = u64::from(PIECE_BYTES) - self.piece.bytes();
            let count = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
            let (now, rest) = bytes.split_at(count);
            self.piece.update(now);
            if self.piece.bytes() == u64::from(PIECE_BYTES) {
                self.hashes.push(std::mem::take(&mut self.piece).finish());
            }
            bytes = rest;
        }
    }

    fn finish(mut self) -> Vec<[u8; 32]> {
        if self.piece.bytes() > 0 {
            self.hashes.push(self.piece.finish());
        }
        self.hashes
    }
}

fn failure_of(error: FlightError, route: &OwnedRoute) -> Failure {
    let what = format!("{}: {error}", route.url);
    match error {
        FlightError::Unproved => Failure::Verification(what),
        _ => Failure::Network(what),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use larder_content::hash::of_piece;

    #[test]
    fn pieces_are_hashed_however_their_bytes_come() {
        let mib = PIECE_BYTES as usize;
        let bytes: Vec<u8> = (0..2 * mib + 5).map(|n| (n % 251) as u8).collect();
        let whole: Vec<_> = bytes.chunks(mib).map(of_piece).collect();
        for step in [mib, 1 << 16, 3 * mib, 777_777] {
            let mut list = PieceList::default();
            bytes.chunks(step).for_each(|part| list.update(part));
            assert_eq!(list.finish(), whole, "{step}");
        }
        assert!(PieceList::default().finish().is_empty());
    }
}
