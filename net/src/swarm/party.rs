//! The swarm of one content, while somebody wants pieces of it. The rule: [`larder_proto::swarm::picker`] decides, and
//! here is done what it says; what is held of a piece is one peer's blocks in order, and nobody sees it before it is
//! proved.
//!
//! The locks: that of the table first, then that of the download's queue; whoever serves clients never waits for the
//! table.

mod assembly;
mod links;
mod pieces;
mod table;

use super::{Giver, LOOK_AROUND, Shared};
use crate::download::Inner;
use larder_content::ContentId;
use larder_proto::policy::{Policies, Role};
use larder_proto::swarm::Bitfield;
use larder_proto::swarm::picker::{Picker, Settings as PickerSettings};
use larder_proto::time::Time;
use larder_proto::tracker::guid::Guid;
use larder_proto::tracker::message::PeerAddress;
use larder_storage::proof::PieceHashes;
use larder_storage::record::Content;
use larder_storage::store::Filter;
use parking_lot::Mutex;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use table::Table;
use tokio::sync::Notify;

/// So long peers may take to be found and to answer, before nothing is left to them any more.
const FOUND_WITHIN: Duration = Duration::from_secs(5);

/// A peer that has a piece, is near and answers is given so long for it before the origin is asked as well, where a
/// client waits: many times what such a peer needs.
const NEAR_HEAD_START: Duration = Duration::from_millis(500);

/// The other ends of links have so long to say what they have, before the origin is asked for more than what a client
/// has asked for first.
pub(super) const LINKS_WITHIN: Duration = Duration::from_millis(400);

/// So long at most what is wanted waits for a party to look whether links have it.
const LINKS_HEAD_START: Duration = Duration::from_millis(200);

/// A party of which nothing is wanted for so long ends.
const OVER_AFTER: Duration = Duration::from_secs(60);

/// Pieces that are on their way from the peers of one content at a time.
const PIECES_MAX: usize = 16;

/// A device takes pieces in any order that suits the swarm within so many, while its file is written in order behind them:
/// enough that all devices of a site find some of their own among them, and little enough that hardly any of a file is left
/// to be written when the last piece comes.
const STRETCH_PIECES: u32 = 128;

/// The same where there is a cache host: it brings one piece after the other for all, so they had better ask for the same.
const STRETCH_AT_CACHE_HOST: u32 = 16;

/// See the file's head.
pub(super) struct Party {
    shared: Weak<Shared>,
    download: Weak<Inner>,
    content: Arc<Content>,
    hashes: Arc<PieceHashes>,
    id: ContentId,
    began: Time,
    /// How long nothing is asked of the origin, so that others may be found first.
    look_around: Duration,
    /// Rings when something has changed about what is wanted, or who is there.
    bell: Arc<Notify>,
    /// Whether a near peer that has everything may be asked: to be known without the lock.
    has_near_seed: AtomicBool,
    /// Whether anybody may be asked.
    has_usable: AtomicBool,
    /// Whether somebody at the other end of a link is connected.
    has_links: AtomicBool,
    table: Mutex<Table>,
}

impl Party {
    pub(super) fn new(
        shared: &Arc<Shared>,
        content: &Arc<Content>,
        hashes: Arc<PieceHashes>,
    ) -> Arc<Self> {
        let now = shared.clock.now();
        let settings = shared.settings.load();
        let has_cache_host = !settings.cache_hosts.is_empty();
        let links = if settings.own_store {
            0
        } else {
            settings.links.ends(now).count()
        };
        let settings = picker_settings(&settings.policies, has_cache_host, links, content.length());
        let look_around = settings.look_around;
        let mut here = Bitfield::new(content.pieces());
        for piece in shared.store.pieces_of(content) {
            here.set(piece);
        }
        let seed = RandomState::new().hash_one(content.no.get());
        let picker = Picker::new(settings, shared.me, here, seed, now);
        Arc::new(Self {
            shared: Arc::downgrade(shared),
            download: shared.download.clone(),
            id: hashes.phf.content_id(),
            content: Arc::clone(content),
            hashes,
            began: now,
            look_around,
            bell: Arc::new(Notify::new()),
            has_near_seed: AtomicBool::new(false),
            has_usable: AtomicBool::new(false),
            has_links: AtomicBool::new(false),
            table: Mutex::new(Table::new(picker, now)),
        })
    }

    pub(super) fn id(&self) -> ContentId {
        self.id
    }

    /// From now on it hears of what is wanted, and acts on it.
    pub(super) fn start(self: &Arc<Self>) {
        let Some(download) = self.download.upgrade() else {
            return;
        };
        download.watch(self.content.no, &self.bell);
        self.bell.notify_one();
        tokio::spawn(Arc::clone(self).work());
    }

    /// Has what is wanted asked of the peers that are there, if that can be done without waiting.
    pub(super) fn pump(&self) {
        match self.table.try_lock() {
            Some(mut table) => self.hear_news(&mut table),
            None => self.bell.notify_one(),
        }
    }

    /// Whether something may be left to peers: there are some, or they may still be found. Never blocks.
    pub(super) fn may_bring(&self, now: Time) -> bool {
        now < self.began + FOUND_WITHIN || self.has_usable.load(Ordering::Relaxed)
    }

    /// Until when what is wanted now is left to peers in any case: until the picker has seen it. Never blocks.
    pub(super) fn head_start(&self, now: Time) -> Time {
        if self.has_near_seed.load(Ordering::Relaxed) {
            now + NEAR_HEAD_START
        } else if self.has_links.load(Ordering::Relaxed) {
            now + LINKS_HEAD_START
        } else {
            Time::default()
        }
    }

    /// To be called when something about a peer has changed.
    fn look_at_peers(&self, table: &Table) {
        self.has_usable.store(table.has_usable(), Ordering::Relaxed);
        self.has_links.store(table.has_links(), Ordering::Relaxed);
        self.has_near_seed
            .store(table.has_near_seed(), Ordering::Relaxed);
    }

    /// Those who are connected.
    pub(super) fn givers(&self) -> Vec<Giver> {
        let Some(shared) = self.shared.upgrade() else {
            return Vec::new();
        };
        let now = shared.clock.now();
        let table = self.table.lock();
        let open = table.links.values().filter(|link| link.who.is_some());
        open.map(|link| link.giver(self.content.no, now)).collect()
    }

    #[cfg(test)]
    pub(super) fn usable(&self) -> usize {
        let table = self.table.lock();
        table.links.values().filter(|link| link.unchoked).count()
    }

    #[cfg(test)]
    pub(super) fn links(&self) -> usize {
        self.table.lock().links.len()
    }

    /// Those whom others should not be told of either.
    pub(super) fn unreachable(&self) -> Vec<Guid> {
        self.table.lock().unreachable()
    }

    /// These are said to have the content.
    pub(super) fn meets(self: &Arc<Self>, peers: Vec<PeerAddress>) {
        let mut table = self.table.lock();
        table.meets(peers);
        self.connect_more(&mut table);
        if let Some(shared) = self.shared.upgrade() {
            self.release_if_alone(&table, shared.clock.now());
        }
    }

    /// Whether the hashes still are what the content is proved by.
    fn is_believed(&self, shared: &Shared) -> bool {
        let named = shared.store.proof(self.content.no).named;
        named.is_some_and(|named| named.hash_of_hashes == self.id.0)
    }

    /// The origin has contradicted the hashes: what was taken for their sake is not what it has.
    fn disown(&self, shared: &Shared, table: &mut Table) {
        table.close_all();
        shared.refute(self.id);
        if table.brought {
            let url = &self.content.record().url;
            tracing::warn!(%url, "the hashes by which peers were believed are refuted; the object is fetched anew");
            let (store, no) = (shared.store.clone(), self.content.no);
            tokio::task::spawn_blocking(move || store.purge(&Filter::Content(no)));
        }
    }

    async fn work(self: Arc<Self>) {
        loop {
            let wake = {
                let Some(shared) = self.shared.upgrade() else {
                    break;
                };
                let now = shared.clock.now();
                let mut table = self.table.lock();
                if !self.is_believed(&shared) {
                    self.disown(&shared, &mut table);
                    break;
                }
                self.hear_news(&mut table);
                self.tick(&mut table, now);
                if table.is_idle_for(OVER_AFTER, now) {
                    table.close_all();
                    break;
                }
                self.connect_more(&mut table);
                table.next_wake(now).map_or(OVER_AFTER, |at| at.since(now))
            };
            let pause = wake.clamp(Duration::from_millis(5), OVER_AFTER);
            let _ = tokio::time::timeout(pause, self.bell.notified()).await;
        }
        if let Some(download) = self.download.upgrade() {
            download.unwatch(self.content.no);
            download.release_http(self.content.no);
        }
        if let Some(shared) = self.shared.upgrade() {
            shared.disperse(self.content.no);
        }
    }
}

fn picker_settings(
    policies: &Policies,
    has_cache_host: bool,
    links: usize,
    length: u64,
) -> PickerSettings {
    let secs = Duration::from_secs;
    let is_device = policies.role == Role::Device;
    PickerSettings {
        pieces_max: PIECES_MAX,
        delay_background: secs(policies.http_delay_s.background),
        delay_foreground: secs(policies.http_delay_s.foreground),
        qos_bytes_per_second: policies.background_bytes_s_min,
        // Clients of an appliance wait for nobody to be found, but a moment for who is known to be there.
        look_around: if is_device {
            LOOK_AROUND
        } else if links > 0 {
            LINKS_WITHIN
        } else {
            Duration::ZERO
        },
        links,
        // A cache host sees to it that each piece comes once: what is spared is the line, which all of a site share, and not
        // their network. So nobody waits for another device where a host of the same network brings the piece as soon as
        // anybody could; what devices have already is taken from them all the same.
        share_out: !has_cache_host,
        stretch_pieces: is_device.then_some(if has_cache_host {
            STRETCH_AT_CACHE_HOST
        } else {
            STRETCH_PIECES
        }),
        preferred: !is_device || policies.is_preferred(),
        ..PickerSettings::usual(length)
    }
}
