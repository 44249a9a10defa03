//! Looks through what is here: offers it to others, and tells the coordinator its hashes. The rule: it is done in the
//! background, a piece at a time with pauses between them; and only what a name proves is called verified. Hashes of
//! what is merely here are this process's word, for its own group.

use super::Shared;
use super::learn::FROM_COORDINATOR;
use crate::coordinator::ClientError;
use larder_content::hash::of_piece;
use larder_content::phf::Phf;
use larder_content::{ContentNo, PieceId};
use larder_proto::policy::mode;
use larder_proto::tracker::message::{PublishRequest, Trust};
use larder_storage::proof::Whole;
use larder_storage::record::Content;
use larder_storage::store::LookBuf;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Between two pieces that are read for their hashes: at most 50 MB a second of the disk.
const PAUSE: Duration = Duration::from_millis(20);

/// A coordinator that refuses what it is told is not told anything for so long.
const REFUSED_FOR: Duration = Duration::from_secs(600);

/// How often what was told is told again, in case that the coordinator has forgotten it.
const AGAIN_AFTER: Duration = Duration::from_secs(6 * 60 * 60);

/// Contents of which is remembered that they were published.
const PUBLISHED_MAX: usize = 1 << 20;

/// Hashes that are here, and whose word they are.
struct Here {
    phf: Phf,
    trust: Trust,
}

/// Looks every so often, as long as the swarm side lives.
pub(super) async fn work(shared: Weak<Shared>, every: Duration) {
    let mut published: HashMap<ContentNo, tokio::time::Instant> = HashMap::new();
    let mut refused_until = tokio::time::Instant::now();
    let mut timer = tokio::time::interval(every);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        timer.tick().await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        let settings = shared.settings.load_full();
        if !mode::uses_coordinator(settings.policies.mode) {
            continue;
        }
        let now = tokio::time::Instant::now();
        published.retain(|_, at| now < *at + AGAIN_AFTER);
        let contents = shared.store.contents();
        for content in &contents {
            let (no, length) = (content.no, content.length());
            if !shared.is_one_version(content) || length < mode::file_bytes_min(&settings.policies)
            {
                continue;
            }
            if published.contains_key(&no) && shared.members.is_held(no) {
                continue;
            }
            // Nobody else is to wait for a long list.
            tokio::task::yield_now().await;
            shared.offer(content);
            // A device gives what it has, and leaves it to others to say what that is.
            let is_due = !settings.own_store
                && !published.contains_key(&no)
                && published.len() < PUBLISHED_MAX;
            if is_due && now >= refused_until {
                match shared.publish(content).await {
                    Ok(true) => _ = published.insert(no, now),
                    Ok(false) => {}
                    Err(error) if error.is_passing() => break,
                    Err(error) => {
                        tracing::warn!(%error, "the coordinator does not take hashes from here; others get pieces only of what is known otherwise");
                        refused_until = now + REFUSED_FOR;
                    }
                }
            }
        }
        let here: HashSet<ContentNo> = contents.iter().map(|content| content.no).collect();
        for no in shared.members.all() {
            if !here.contains(&no)
                && let Some(id) = shared.members.lost(no)
            {
                shared.leave(id).await;
            }
        }
    }
}

impl Shared {
    /// Offers a content of which something is here, if its pieces can be proved.
    fn offer(&self, content: &Content) {
        let Some(named) = self.store.proof(content.no).named else {
            return;
        };
        let here = self.store.pieces_of(content).len();
        if here > 0 && self.port != 0 && mode::peers(self.taken(content.length()).mode) {
            let id = larder_content::ContentId(named.hash_of_hashes);
            let is_whole = here == content.pieces() as usize;
            self.members
                .holds(content.no, id, is_whole, self.clock.now());
        }
    }

    /// Tells the coordinator the hashes of a content, where all of it is here. True where that is done.
    async fn publish(self: &Arc<Self>, content: &Arc<Content>) -> Result<bool, ClientError> {
        if self.store.pieces_of(content).len() != content.pieces() as usize {
            return Ok(false);
        }
        let Some(here) = self.hashes_here(content).await else {
            return Ok(false);
        };
        let place = self.place.load();
        let mut request = PublishRequest::new(here.phf, here.trust);
        request.content_cdn_urls = vec![content.record().url.clone()];
        request.etag.clone_from(&content.record().etag);
        request.reported_ip.clone_from(&place.addresses);
        if here.trust == Trust::Attested {
            request.group_id = place.group;
        }
        let answer = self.coordinator.publish(&request).await;
        self.heard(&answer);
        answer.map(|()| {
            tracing::debug!(url = %content.record().url, trust = ?request.trust, "hashes were published");
            // From now on others may come for it.
            self.offer(content);
            true
        })
    }

    /// The hashes of a content that is here whole: those that are named, or else computed now.
    async fn hashes_here(self: &Arc<Self>, content: &Arc<Content>) -> Option<Here> {
        let proof = self.store.proof(content.no);
        let is_told = |url: &str| url.starts_with(FROM_COORDINATOR);
        if let Some(named) = &proof.named {
            if is_told(&named.url) {
                // It knows better than we do whose word that is.
                return None;
            }
            let trust = if named.trusted {
                Trust::Verified
            } else {
                Trust::Attested
            };
            let hashes = self.known_hashes(content).await?;
            let phf = hashes.phf.clone();
            return Some(Here { phf, trust });
        }
        let phf = self.compute(content).await?;
        // The SHA-1 of the whole file may have been compared meanwhile.
        let verified = self.store.proof(content.no).whole == Whole::Matches;
        let download = self.download.upgrade()?;
        let by = "this appliance".to_owned();
        download
            .attach_hashes(content, phf.clone(), verified, by)
            .await;
        let trust = if verified {
            Trust::Verified
        } else {
            Trust::Attested
        };
        // What did not match was dropped, and is not told.
        let is_whole = self.store.pieces_of(content).len() == content.pieces() as usize;
        is_whole.then_some(Here { phf, trust })
    }

    /// The SHA-256 of each piece, as larder saw it come in or as it is on disk.
    async fn compute(&self, content: &Arc<Content>) -> Option<Phf> {
        let (store, of) = (self.store.clone(), Arc::clone(content));
        let seen = tokio::task::spawn_blocking(move || store.seen(of.no, of.pieces()));
        let seen = seen.await.ok()?;
        let mut hashes = Vec::with_capacity(content.pieces() as usize);
        for piece in 0..content.pieces() {
            if let Some(hash) = seen.get(&piece) {
                hashes.push(*hash);
                continue;
            }
            let id = PieceId {
                content: content.no,
                piece,
            };
            let store = self.store.clone();
            let read = tokio::task::spawn_blocking(move || {
                let mut hash = None;
                store.peek(id, &mut LookBuf::default(), |bytes| {
                    hash = Some(of_piece(bytes));
                });
                hash
            });
            hashes.push(read.await.ok()??);
            tokio::time::sleep(PAUSE).await;
        }
        Phf::new(content.length(), hashes).ok()
    }
}
