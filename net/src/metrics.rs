//! Every figure the data plane and the origins export, in one place. The rule: handles are made once; no name is
//! spelled at a place of use, and no label takes a value that a client can choose.

use crate::clients::Clients;
use crate::crowd::Doors;
use crate::download::Way;
use crate::hosts::Hosts;
use crate::tally::Tally;
use crate::uploads::Uploads;
use larder_proto::answer::CacheStatus;
use larder_proto::tracker::message::PeerType;
use metrics::{
    Counter, Gauge, Histogram, counter, describe_counter, describe_gauge, describe_histogram,
    gauge, histogram,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Codes that get a counter of their own; the rest are counted by class.
const CODES: [u16; 14] = [
    200, 206, 301, 302, 304, 400, 403, 404, 412, 416, 431, 502, 503, 504,
];
const CODE_CLASSES: [&str; 6] = ["other", "1xx", "2xx", "3xx", "4xx", "5xx"];
/// In the order of [`PeerType`].
const PEER_TYPES: [&str; 3] = ["lan", "group", "internet"];
const CACHES: [&str; 9] = [
    "none",
    "hit",
    "miss",
    "partial",
    "expired",
    "stale",
    "updating",
    "revalidated",
    "bypass",
];

/// Why an origin is not asked after all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Astray {
    /// A redirect leads to a host that is not on the list.
    List,
    /// The name leads to an address that no origin may have.
    Address,
    /// A redirect leads nowhere, or there are too many.
    Location,
}

/// Why a peer's connection was ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PeerRefused {
    /// It broke the rules of the protocol.
    Protocol,
    /// It asked for a content that is not shared here.
    Unknown,
    /// It did not say who it is in time.
    Silent,
    /// There are too many.
    Crowded,
    /// It took no byte, or said nothing, for too long.
    Stalled,
    /// A piece that it had been offered was evicted before it was sent.
    Lost,
}

/// The labels of [`PeerRefused`], in its order.
const PEER_REFUSED: [&str; 6] = [
    "protocol", "unknown", "silent", "crowded", "stalled", "lost",
];

/// The data plane's figures, cheap to bump from any thread.
pub struct Figures {
    requests: Vec<Tally>,
    /// Requests that a shard thread answered by itself.
    pub requests_on_shard: Counter,
    /// Requests that the hyper service answered.
    pub requests_handed_over: Counter,
    /// Requests that came by TLS.
    pub requests_by_tls: Counter,
    /// Body bytes sent from the memory tier.
    pub bytes_memory: Tally,
    /// Body bytes sent from frames read off a disk.
    pub bytes_disk: Tally,
    /// Body bytes sent while they came in from an origin.
    pub bytes_origin: Tally,
    /// Open client connections.
    pub connections: Gauge,
    /// Connections accepted.
    pub accepted: Counter,
    /// Times that a listener could not accept.
    pub accept_failures: Counter,
    /// Connections that were closed at once, since their address had as many as it may have.
    pub crowded: Counter,
    /// Connections that were closed on, since they held more than their share of the memory for requests.
    pub crammed: Counter,
    /// Who is connected from such addresses.
    pub crowd: Arc<Doors>,
    /// Requests for hosts off the allow-list.
    pub refused_hosts: Counter,
    /// Ways that an origin or its name opened and that are not gone, by [`Astray`].
    origin_refused: [Counter; 3],
    /// Hosts that were refused.
    pub hosts_refused: Hosts,
    /// Hosts that were asked.
    pub hosts_asked: Hosts,
    /// Clients, as far as they were noted: see [`crate::plane::Plane::gather_clients`].
    pub clients: Clients,
    /// What peers were sent, as far as it was noted: likewise.
    pub uploads: Uploads,
    /// Answers cut in the middle because the rest could not be had.
    pub cut: Counter,
    /// Seconds from a request's head to the first byte of its answer.
    pub first_byte_seconds: Histogram,
    /// Seconds of a shard thread's turn, from the end of one wait to the beginning of the next: so long everybody else
    /// on that thread waits.
    pub turn_seconds: Histogram,
    /// Requests to origins, by what came back.
    pub origin_requests: [Counter; 6],
    /// Body bytes received from origins, and from cache hosts before them.
    pub origin_bytes: Tally,
    /// Those from cache hosts alone.
    pub(crate) cache_server_bytes: Tally,
    /// Answers that are coming in from origins, and from cache hosts.
    coming: [AtomicUsize; 2],
    /// Contents of which something was fetched and kept.
    pub(crate) files_downloaded: Tally,
    /// Connections to peers that were opened to download from them.
    pub(crate) peer_links_opened: Tally,
    /// Requests to origins that failed without an answer.
    pub origin_failures: Counter,
    /// Answers of origins that contradicted themselves or what is stored.
    pub origin_lies: Counter,
    /// Pieces that were proved by a piece-hash file.
    pub pieces_verified_phf: Counter,
    /// Pieces of files whose SHA-1 is the one that their URL names.
    pub pieces_verified_sha1: Counter,
    /// Pieces that were not what a trusted hash names.
    pub pieces_rejected_phf: Counter,
    /// Pieces that were not what a hint says.
    pub pieces_rejected_hint: Counter,
    /// Pieces of files whose SHA-1 is not the one that their URL names.
    pub pieces_rejected_sha1: Counter,
    /// Piece-hash files that could not be used.
    pub phf_refused: Counter,
    /// Requests that waited for a piece which somebody else was fetching.
    pub coalesced: Counter,
    /// Connections that peers have opened.
    pub peer_connections: Gauge,
    /// Connections of peers accepted.
    pub peer_accepted: Counter,
    /// Connections of peers ended for their fault, or for want of what they asked for, by [`PeerRefused`].
    peer_refused: [Counter; 6],
    /// Bytes of pieces sent to peers, by [`PeerType`].
    given_bytes: [Tally; 3],
    /// Blocks that peers were sent, or were being sent when they left.
    pub peer_requests: Counter,
    /// Bytes of pieces sent to peers from the memory tier.
    pub peer_bytes_memory: Tally,
    /// Bytes of pieces sent to peers from frames read off a disk.
    pub peer_bytes_disk: Tally,
    /// Bytes of pieces that were fetched and kept, by [`Way`].
    fetched_bytes: [Tally; 6],
    /// Bytes of blocks that peers sent us, of use or not, by [`PeerType`].
    peer_bytes: [Counter; 3],
    /// Open connections to peers from which we download, by [`PeerType`].
    peer_links: [Gauge; 3],
    /// Objects that were fetched to their end, since clients had asked for enough of them.
    pub prefetched_whole: Counter,
    /// Objects of which that was tried and given up.
    pub prefetched_in_part: Counter,
    /// Pieces that peers brought and that were not what they should be.
    pub pieces_rejected_peer: Counter,
    /// Bad pieces that one peer, and nobody else, is to blame for.
    pub peer_lies: Counter,
}

impl Default for Figures {
    fn default() -> Self {
        Self::new()
    }
}

impl Figures {
    /// Registers everything with the recorder in force; without one the handles do nothing.
    #[must_use]
    pub fn new() -> Self {
        describe();
        let mut requests = Vec::with_capacity((CODES.len() + CODE_CLASSES.len()) * CACHES.len());
        let codes: Vec<String> = CODES
            .iter()
            .map(u16::to_string)
            .chain(CODE_CLASSES.iter().map(ToString::to_string))
            .collect();
        for code in &codes {
            for cache in CACHES {
                let labels = [("code", code.clone()), ("cache", cache.to_owned())];
                requests.push(counter!("larder_http_requests_total", &labels).into());
            }
        }
        let bytes = |source: &'static str| {
            counter!("larder_http_response_bytes_total", "source" => source).into()
        };
        Self {
            requests,
            requests_on_shard: counter!("larder_http_served_total", "by" => "shard"),
            requests_handed_over: counter!("larder_http_served_total", "by" => "handover"),
            requests_by_tls: counter!("larder_http_served_total", "by" => "tls"),
            bytes_memory: bytes("memory"),
            bytes_disk: bytes("disk"),
            bytes_origin: bytes("origin"),
            connections: gauge!("larder_http_connections"),
            accepted: counter!("larder_http_accepted_total"),
            accept_failures: counter!("larder_http_accept_failures_total"),
            crowded: counter!("larder_connections_crowded_total"),
            crammed: counter!("larder_http_crammed_total"),
            crowd: Arc::default(),
            refused_hosts: counter!("larder_http_refused_hosts_total"),
            origin_refused: ["list", "address", "location"]
                .map(|why| counter!("larder_origin_refused_total", "why" => why)),
            hosts_refused: Hosts::default(),
            hosts_asked: Hosts::default(),
            clients: Clients::default(),
            uploads: Uploads::default(),
            cut: counter!("larder_http_cut_total"),
            first_byte_seconds: histogram!("larder_http_time_to_first_byte_seconds"),
            turn_seconds: histogram!("larder_shard_turn_seconds"),
            origin_requests: CODE_CLASSES
                .map(|class| counter!("larder_origin_requests_total", "code" => class)),
            origin_bytes: counter!("larder_origin_bytes_total").into(),
            cache_server_bytes: Tally::unseen(),
            coming: [const { AtomicUsize::new(0) }; 2],
            files_downloaded: Tally::unseen(),
            peer_links_opened: Tally::unseen(),
            origin_failures: counter!("larder_origin_failures_total"),
            origin_lies: counter!("larder_origin_lies_total"),
            pieces_verified_phf: counter!("larder_pieces_verified_total", "by" => "phf"),
            pieces_verified_sha1: counter!("larder_pieces_verified_total", "by" => "sha1"),
            pieces_rejected_phf: counter!("larder_pieces_rejected_total", "reason" => "phf"),
            pieces_rejected_hint: counter!("larder_pieces_rejected_total", "reason" => "hint"),
            pieces_rejected_sha1: counter!("larder_pieces_rejected_total", "reason" => "sha1"),
            phf_refused: counter!("larder_phf_refused_total"),
            coalesced: counter!("larder_coalesced_requests_total"),
            peer_connections: gauge!("larder_peer_connections", "direction" => "in"),
            peer_accepted: counter!("larder_peer_accepted_total"),
            peer_refused: PEER_REFUSED
                .map(|why| counter!("larder_peer_refused_total", "why" => why)),
            given_bytes: PEER_TYPES
                .map(|kind| counter!("larder_peer_given_bytes_total", "type" => kind).into()),
            peer_requests: counter!("larder_peer_requests_total"),
            peer_bytes_memory: counter!("larder_peer_sent_bytes_total", "source" => "memory")
                .into(),
            peer_bytes_disk: counter!("larder_peer_sent_bytes_total", "source" => "disk").into(),
            fetched_bytes: Way::ALL
                .map(|way| counter!("larder_fetched_bytes_total", "source" => way.name()).into()),
            peer_bytes: PEER_TYPES
                .map(|kind| counter!("larder_peer_received_bytes_total", "type" => kind)),
            peer_links: PEER_TYPES
                .map(|kind| gauge!("larder_peer_download_connections", "type" => kind)),
            prefetched_whole: counter!("larder_prefetched_objects_total", "end" => "whole"),
            prefetched_in_part: counter!("larder_prefetched_objects_total", "end" => "given_up"),
            pieces_rejected_peer: counter!("larder_pieces_rejected_total", "reason" => "peer"),
            peer_lies: counter!("larder_peer_lies_total"),
        }
    }

    /// Bytes of blocks that peers of this kind sent us.
    pub(crate) fn peer_bytes(&self, kind: PeerType) -> &Counter {
        &self.peer_bytes[kind as usize]
    }

    /// Bytes of pieces sent to peers of this kind.
    pub(crate) fn given_bytes(&self, kind: PeerType) -> &Tally {
        &self.given_bytes[kind as usize]
    }

    /// Open connections to peers of this kind from which we download.
    pub(crate) fn peer_links(&self, kind: PeerType) -> &Gauge {
        &self.peer_links[kind as usize]
    }

    /// Bytes of pieces that were fetched this way and kept.
    pub fn fetched_bytes(&self, way: Way) -> &Tally {
        &self.fetched_bytes[way as usize]
    }

    /// Answers that are coming in now: from origins, and from cache hosts.
    #[must_use]
    pub fn coming(&self) -> [usize; 2] {
        [0, 1].map(|at| self.coming[at].load(Ordering::Relaxed))
    }

    /// What has been counted since the start, by names that months are kept under. Each only ever grows.
    #[must_use]
    pub fn sums(&self) -> Vec<(&'static str, u64)> {
        let cached = |column: usize| -> u64 {
            let of_column = self.requests.iter().skip(column).step_by(CACHES.len());
            of_column.map(Tally::all).sum()
        };
        let received = self.origin_bytes.all();
        let from_cache_server = self.cache_server_bytes.all();
        let mut sums = vec![
            ("requests", (0..CACHES.len()).map(cached).sum()),
            ("requests_hit", cached(1)),
            ("served_memory", self.bytes_memory.all()),
            ("served_disk", self.bytes_disk.all()),
            ("served_fetched", self.bytes_origin.all()),
            ("received_http", received.saturating_sub(from_cache_server)),
            ("received_cache_server", from_cache_server),
            ("files_downloaded", self.files_downloaded.all()),
            ("files_uploaded", self.uploads.files()),
            ("peer_links_opened", self.peer_links_opened.all()),
        ];
        let given = ["given_lan", "given_group", "given_internet"];
        sums.extend(
            given
                .into_iter()
                .zip(self.given_bytes.iter().map(Tally::all)),
        );
        let fetched = [
            "fetched_http",
            "fetched_cache_server",
            "fetched_lan",
            "fetched_group",
            "fetched_internet",
            "fetched_link",
        ];
        sums.extend(
            fetched
                .into_iter()
                .zip(self.fetched_bytes.iter().map(Tally::all)),
        );
        sums
    }

    /// Counts one answered request.
    pub fn request(&self, code: u16, cache: Option<CacheStatus>) {
        let row = CODES
            .iter()
            .position(|c| *c == code)
            .unwrap_or_else(|| CODES.len() + class_of(code));
        let column = cache.map_or(0, |c| match c {
            CacheStatus::Hit => 1,
            CacheStatus::Miss => 2,
            CacheStatus::Partial => 3,
            CacheStatus::Expired => 4,
            CacheStatus::Stale => 5,
            CacheStatus::Updating => 6,
            CacheStatus::Revalidated => 7,
            CacheStatus::Bypass => 8,
        });
        self.requests[row * CACHES.len() + column].increment(1);
    }

    /// Counts a request for a host that is not on the list; empty where it named none.
    pub fn refused(&self, host: &str) {
        self.refused_hosts.increment(1);
        if !host.is_empty() {
            self.hosts_refused.met(
                host,
                "clients ask for it; it is not on the list",
                unix_now(),
            );
        }
    }

    /// Counts a way that is not gone.
    pub fn refused_origin(&self, host: &str, astray: Astray) {
        self.origin_refused[astray as usize].increment(1);
        let why = match astray {
            Astray::List => "a redirect leads there; it is not on the list",
            Astray::Address => "its name leads to an address that is not public",
            // The host is in order, its answer was not.
            Astray::Location => return,
        };
        self.hosts_refused.met(host, why, unix_now());
    }

    /// Counts a peer's connection that was ended.
    pub fn peer_refused(&self, why: PeerRefused) {
        self.peer_refused[why as usize].increment(1);
    }

    /// Counts a request to a host.
    pub fn asked(&self, host: &str) {
        self.hosts_asked.met(host, "", unix_now());
    }

    /// Counts one answer of an origin.
    pub fn origin_answered(&self, code: u16) {
        self.origin_requests[class_of(code)].increment(1);
    }
}

/// An answer that is coming in; it is counted until it is dropped.
pub(crate) struct Coming {
    figures: Arc<Figures>,
    at: usize,
}

impl Coming {
    pub(crate) fn new(figures: &Arc<Figures>, way: Way) -> Self {
        let at = usize::from(way == Way::CacheServer);
        figures.coming[at].fetch_add(1, Ordering::Relaxed);
        Self {
            figures: Arc::clone(figures),
            at,
        }
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.figures.coming[self.at].fetch_sub(1, Ordering::Relaxed);
    }
}

fn unix_now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

fn class_of(code: u16) -> usize {
    let class = usize::from(code / 100);
    if class < CODE_CLASSES.len() { class } else { 0 }
}

fn describe() {
    describe_counter!(
        "larder_http_requests_total",
        "Requests answered, by status code and what the cache had."
    );
    describe_counter!(
        "larder_http_served_total",
        "Requests by the kind of thread that answered them."
    );
    describe_counter!(
        "larder_http_response_bytes_total",
        "Body bytes sent to clients, by where they came from."
    );
    describe_counter!(
        "larder_prefetched_objects_total",
        "Objects of which clients had asked for enough that all was fetched, by how that ended."
    );
    describe_gauge!("larder_http_connections", "Open client connections.");
    describe_counter!("larder_http_accepted_total", "Client connections accepted.");
    describe_counter!(
        "larder_connections_crowded_total",
        "Connections closed at once, since their address had as many as [[crowds]] lets it have."
    );
    describe_counter!(
        "larder_http_crammed_total",
        "Connections closed with more unanswered bytes than their share, while memory for such was short."
    );
    describe_counter!(
        "larder_http_accept_failures_total",
        "Times a listener could not accept a connection."
    );
    describe_counter!(
        "larder_http_refused_hosts_total",
        "Requests for hosts that are not on the allow-list."
    );
    describe_counter!(
        "larder_origin_refused_total",
        "Origins not asked, by why: a redirect off the allow-list, an address that is not public, a redirect to nowhere."
    );
    describe_counter!(
        "larder_http_cut_total",
        "Answers broken off because the rest of the body could not be had."
    );
    describe_histogram!(
        "larder_http_time_to_first_byte_seconds",
        "From a request's head to its answer's first byte."
    );
    describe_histogram!(
        "larder_shard_turn_seconds",
        "From the end of a shard thread's wait to the beginning of its next one."
    );
    describe_counter!(
        "larder_origin_requests_total",
        "Answers from origins, by class of status code."
    );
    describe_counter!(
        "larder_origin_bytes_total",
        "Body bytes received from origins."
    );
    describe_counter!(
        "larder_origin_failures_total",
        "Requests to origins that failed without an answer."
    );
    describe_counter!(
        "larder_origin_lies_total",
        "Origin answers that contradict themselves or what is stored."
    );
    describe_counter!(
        "larder_coalesced_requests_total",
        "Requests that waited for a piece already being fetched."
    );
    describe_counter!(
        "larder_fetched_bytes_total",
        "Bytes of pieces that were fetched and kept, by where they came from."
    );
    describe_counter!(
        "larder_peer_received_bytes_total",
        "Bytes of blocks that peers sent, of use or not, by how near they are."
    );
    describe_gauge!(
        "larder_peer_download_connections",
        "Open connections to peers from which we download, by how near they are."
    );
    describe_counter!(
        "larder_peer_lies_total",
        "Bad pieces that one peer, and nobody else, is to blame for."
    );
    describe_counter!(
        "larder_pieces_verified_total",
        "Pieces proved by a name that is trusted, by what proved them."
    );
    describe_counter!(
        "larder_pieces_rejected_total",
        "Pieces that were not what they should be, by what said so."
    );
    describe_gauge!(
        "larder_peer_connections",
        "Open connections with peers, by who opened them."
    );
    describe_counter!(
        "larder_peer_accepted_total",
        "Connections of peers accepted."
    );
    describe_counter!(
        "larder_peer_refused_total",
        "Connections of peers that were ended, by why."
    );
    describe_counter!(
        "larder_peer_requests_total",
        "Blocks of pieces that peers asked for and were sent."
    );
    describe_counter!(
        "larder_peer_sent_bytes_total",
        "Bytes of pieces sent to peers, by where they came from."
    );
    describe_counter!(
        "larder_peer_given_bytes_total",
        "Bytes of pieces sent to peers, by how near they are."
    );
    describe_counter!(
        "larder_phf_refused_total",
        "Piece-hash files that could not be read, or were wrong."
    );
}
