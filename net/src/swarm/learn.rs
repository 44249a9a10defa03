//! Learning what the pieces of a content must hash to from the coordinator. The rule: it is asked while the origin is, and
//! never instead of it; what it says holds as far as its word does, and is compared with what is here already.

use super::Shared;
use crate::ask::Resolution;
use crate::download::Outcome;
use larder_content::phf::Phf;
use larder_content::{PieceId, UrlKey};
use larder_proto::policy::mode;
use larder_proto::renewal::is_same_version;
use larder_proto::tracker::message::{ContentPolicy, Trust};
use larder_proto::tracker::query::{Named, PolicyQuery};
use larder_storage::proof::PieceHashes;
use larder_storage::record::Content;
use larder_storage::store::{Found, LookBuf};
use std::sync::Arc;
use tokio::sync::watch;

/// Of what is here of a content so many pieces are compared with what one appliance says they are.
const LOOKED_AT_MAX: usize = 16;

/// How the place is written down where hashes came from.
pub(super) const FROM_COORDINATOR: &str = "coordinator: ";

/// Takes a URL off the list of those that the coordinator is asked about.
struct OffTheList<'s>(&'s Shared, UrlKey);

impl Drop for OffTheList<'_> {
    fn drop(&mut self) {
        self.0.wondering.lock().remove(&self.1);
    }
}

impl Shared {
    /// The origin is being asked what is at a URL: so is the coordinator. When both have answered, its peers are looked
    /// for.
    pub(crate) fn wonder(
        self: &Arc<Self>,
        key: UrlKey,
        url: &str,
        mut told: watch::Receiver<Option<Outcome>>,
    ) {
        let length = None;
        let settings = self.settings.load();
        let taken = mode::taken(&settings.policies, length, self.coordinator_now());
        if !mode::uses_coordinator(taken.mode) || !self.wondering.lock().insert(key) {
            return;
        }
        let (shared, url) = (Arc::clone(self), url.to_owned());
        self.runtime.spawn(async move {
            let _off = OffTheList(&shared, key);
            let policy = shared.ask_policy(&url).await;
            let outcome = told.wait_for(Option::is_some).await;
            let found = outcome
                .ok()
                .and_then(|outcome| match &outcome.as_ref()?.resolution {
                    Resolution::Content(content) => Some(Arc::clone(content)),
                    _ => None,
                });
            let Some(content) = found.filter(|content| shared.is_one_version(content)) else {
                return;
            };
            let hashes = match (shared.known_hashes(&content).await, policy) {
                (Some(hashes), _) => Some(hashes),
                (None, Some(policy)) => shared.believe(&content, policy).await,
                (None, None) => None,
            };
            match hashes {
                Some(hashes) if shared.may_use_peers(&content) => {
                    if shared.began.lock().contains_key(&content.no) {
                        shared.gather(&content, hashes);
                    }
                }
                // Nobody is to be asked: what was left to peers until then is not any more.
                _ => shared.found_nobody(content.no),
            }
        });
    }

    /// Whether the coordinator is being asked about a content already. Whoever does sees to the rest.
    pub(super) fn is_wondering(&self, content: &Content) -> bool {
        self.wondering.lock().contains(&content.key)
    }

    /// Asks the coordinator for the hashes of a content that is here without them.
    pub(super) async fn learn(&self, content: &Arc<Content>) -> Option<Arc<PieceHashes>> {
        let policy = self.ask_policy(&content.record().url).await?;
        self.believe(content, policy).await
    }

    async fn ask_policy(&self, url: &str) -> Option<ContentPolicy> {
        let place = self.place.load();
        let mut query = PolicyQuery::new(Named::Url(url.to_owned()));
        query.group_id = place.group;
        query.reported_ip.clone_from(&place.addresses);
        let answer = self.coordinator.policy(&query).await;
        self.heard(&answer);
        match answer {
            Ok(policy) => policy,
            Err(error) => {
                tracing::debug!(%url, %error, "asking the coordinator about an object failed");
                None
            }
        }
    }

    /// Whether what came from the origin has other hashes. Peers would prove these right whose bytes they are, so that
    /// the word of one appliance must not outweigh the origin's.
    async fn is_contradicted(&self, content: &Arc<Content>, phf: &Phf) -> bool {
        let (store, content, phf) = (self.store.clone(), Arc::clone(content), phf.clone());
        let looked = tokio::task::spawn_blocking(move || {
            let mut buf = LookBuf::default();
            let ids = (0..content.pieces()).map(|piece| PieceId {
                content: content.no,
                piece,
            });
            let here = ids.filter(|id| {
                let found = store.find_part(*id, 0);
                matches!(found, Found::Ram(_) | Found::Disk(_))
            });
            here.take(LOOKED_AT_MAX).any(|id| {
                let mut differs = false;
                store.peek(id, &mut buf, |bytes| {
                    differs = !phf.piece_is(id.piece, bytes)
                });
                differs
            })
        });
        looked.await.unwrap_or(true)
    }

    /// Takes hashes over, as far as they are those of this content.
    async fn believe(
        &self,
        content: &Arc<Content>,
        policy: ContentPolicy,
    ) -> Option<Arc<PieceHashes>> {
        let phf = policy.phf?;
        let url = &content.record().url;
        if phf.length() != content.length() {
            tracing::info!(%url, says = phf.length(), has = content.length(), "the coordinator knows hashes of another version of an object; they are not used");
            return None;
        }
        if let (Some(then), Some(now)) = (&policy.etag, &content.record().etag)
            && !is_same_version(then, now)
        {
            tracing::info!(%url, says = %then, has = %now, "the coordinator knows hashes of another version of an object; they are not used");
            return None;
        }
        let id = phf.content_id();
        if self.refuted.lock().contains(&id) {
            return None;
        }
        let trusted = policy.trust == Trust::Verified && self.coordinator_trusted;
        let by = match policy.attested_by {
            Some(by) => format!("{FROM_COORDINATOR}attested by {by}"),
            None => format!("{FROM_COORDINATOR}verified"),
        };
        if !trusted && self.is_contradicted(content, &phf).await {
            tracing::warn!(%url, %by, "the origin's bytes are not those that the coordinator's hashes name; these are not used");
            self.refute(id);
            return None;
        }
        let download = self.download.upgrade()?;
        download.attach_hashes(content, phf, trusted, by).await;
        self.known_hashes(content).await
    }
}
