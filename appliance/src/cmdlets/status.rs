//! `Get-DeliveryOptimizationStatus` of a running appliance: a row for each file that is being downloaded, or is here. The
//! rule: the bytes of a file are told by who brought them, and these parts are all of what was downloaded.

use super::{file_id, percent};
use crate::state::State;
use larder_content::ContentNo;
use larder_net::clients::name;
use larder_net::download::{Progress, Way};
use larder_net::swarm::{Giver, Swarm};
use larder_net::uploads::Taker;
use larder_proto::clients::Privacy;
use larder_proto::policy::{Coordinator, Priority, Taken, taken};
use larder_proto::tracker::message::PeerType;
use larder_storage::store::{Filter, Listed};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

/// Rows in one answer at most; a branch office's store holds a few thousand.
const ROWS_MAX: usize = 100_000;

/// A download of which nothing was wanted for so long, and that is not whole, has ended: clients ask for the next piece
/// as soon as they have taken one.
const ENDED_AFTER: Duration = Duration::from_secs(5);

/// Files that nobody has wanted for longer are no part of what goes on.
const RECENT: Duration = Duration::from_secs(60);

/// The seed's states of a download (seed: Windows PowerShell cmdlets).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub(crate) enum Status {
    /// Something of it is wanted and not here yet.
    Downloading,
    /// An administrator has paused it.
    Paused,
    /// All of it is here, for clients and peers.
    Caching,
    /// What was wanted of it has come, and it is not whole, so that it is not offered as such.
    Complete,
}

/// One file. The names of the newest reference, in its order; what is larder's own comes last.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Row {
    pub(crate) file_id: String,
    pub(crate) file_size: u64,
    file_size_in_cache: u64,
    pub(crate) total_bytes_downloaded: u64,
    pub(crate) percent_peer_caching: f64,
    pub(crate) bytes_from_peers: u64,
    pub(crate) bytes_from_http: u64,
    pub(crate) status: Status,
    pub(crate) priority: String,
    bytes_from_cache_server: u64,
    bytes_from_lan_peers: u64,
    bytes_from_group_peers: u64,
    bytes_from_internet_peers: u64,
    bytes_to_lan_peers: u64,
    bytes_to_group_peers: u64,
    bytes_to_internet_peers: u64,
    pub(crate) download_duration: f64,
    http_connection_count: usize,
    lan_connection_count: usize,
    group_connection_count: usize,
    internet_connection_count: usize,
    pub(crate) download_mode: u8,
    #[serde(rename = "SourceURL")]
    pub(crate) source_url: String,
    cache_host: Option<String>,
    num_peers: usize,
    predefined_caller_application: String,
    expire_on: Option<String>,
    is_pinned: bool,
    /// Who is connected for it.
    pub(crate) peer_info: Vec<Peer>,
    /// Its number, as `larder ls` shows it.
    pub(crate) content: String,
    bytes_from_links: u64,
    download_mode_reason: String,
    pieces_wanted: usize,
    /// Since it was last wanted; none where that was not since larder has started.
    pub(crate) idle_seconds: Option<f64>,
}

/// One peer of a file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Peer {
    /// As far as `[privacy]` shows it.
    #[serde(rename = "IP")]
    pub(crate) ip: String,
    #[serde(rename = "PeerType")]
    pub(crate) peer_type: String,
    #[serde(rename = "ConnectionEstablished")]
    connection_established: bool,
    #[serde(rename = "BytesSent")]
    pub(crate) bytes_sent: u64,
    #[serde(rename = "BytesReceived")]
    pub(crate) bytes_received: u64,
    #[serde(rename = "UploadRateBytes")]
    upload_rate_bytes: u64,
    #[serde(rename = "DownloadRateBytes")]
    download_rate_bytes: u64,
}

/// Keys that are told where more is asked for.
pub(crate) const MORE_KEYS: [&str; 5] = [
    "Content",
    "BytesFromLinks",
    "DownloadModeReason",
    "PiecesWanted",
    "IdleSeconds",
];

/// The key of the peers, which are told where they are asked for.
pub(crate) const PEER_KEY: &str = "PeerInfo";

/// All rows, those first that something goes on with. `recent`: no others. May read the catalogue.
pub(crate) fn rows(state: &State, recent: bool) -> Vec<Row> {
    let around = Around::of(state);
    let mut rows: Vec<Row> = if recent {
        let known = around.progress.iter();
        let known = known.filter(|(_, one)| one.under_way.is_some() || one.idle < RECENT);
        let known = known
            .map(|(no, _)| *no)
            .chain(around.paused.iter().copied());
        // Each once.
        let known: BTreeSet<ContentNo> = known.collect();
        let listed = known
            .into_iter()
            .flat_map(|no| state.store.list(&Filter::Content(no)));
        listed.map(|listed| around.row(state, listed)).collect()
    } else {
        let listed = state.store.list(&Filter::All).into_iter();
        listed.map(|listed| around.row(state, listed)).collect()
    };
    rows.sort_by(|a, b| {
        let rank = |row: &Row| {
            (
                row.status != Status::Downloading,
                row.idle_seconds.is_none(),
            )
        };
        let idle = |row: &Row| row.idle_seconds.unwrap_or_default();
        let by_idle = idle(a).total_cmp(&idle(b));
        let by_rank = rank(a).cmp(&rank(b)).then(by_idle);
        by_rank.then_with(|| a.source_url.cmp(&b.source_url))
    });
    rows.truncate(ROWS_MAX);
    rows
}

/// What goes on with all files.
pub(super) struct Around {
    pub(super) progress: HashMap<ContentNo, Progress>,
    pub(super) givers: Vec<Giver>,
    pub(super) takers: Vec<Taker>,
    paused: HashSet<ContentNo>,
}

impl Around {
    pub(super) fn of(state: &State) -> Self {
        Self {
            progress: state.download.progress(),
            givers: state.swarm.get().map(Swarm::givers).unwrap_or_default(),
            takers: state.figures.uploads.takers(),
            paused: state.download.paused(),
        }
    }

    fn row(&self, state: &State, listed: Listed) -> Row {
        let settings = state.settings.load();
        let record = &listed.record;
        let progress = self.progress.get(&listed.no);
        let under_way = progress.and_then(|progress| progress.under_way.as_ref());
        let idle = progress.map(|progress| progress.idle);
        let sources = state.download.sources(listed.no);
        let given = state.figures.uploads.of(listed.no);
        let peers = self.peers(listed.no, settings.privacy);
        let count = |kind: &str| peers.iter().filter(|peer| peer.peer_type == kind).count();
        let is_whole = listed.pieces_stored >= listed.pieces;
        let is_paused = self.paused.contains(&listed.no);
        let status = match idle {
            _ if is_paused && !is_whole => Status::Paused,
            _ if under_way.is_some() => Status::Downloading,
            _ if is_whole => Status::Caching,
            Some(idle) if idle < ENDED_AFTER => Status::Downloading,
            _ => Status::Complete,
        };
        let foreground = under_way.map_or(settings.priority, |one| one.priority);
        let mode = match state.swarm.get() {
            Some(swarm) => swarm.mode_of(record.length),
            None => taken(&settings.policies, Some(record.length), Coordinator::Absent),
        };
        Row {
            file_id: file_id(&listed.key.0, &record.url),
            file_size: record.length,
            file_size_in_cache: listed.bytes_stored,
            total_bytes_downloaded: sources.all(),
            percent_peer_caching: percent(sources.peers(), sources.all()),
            bytes_from_peers: sources.peers(),
            bytes_from_http: sources.http + sources.cache_server,
            status,
            priority: priority_word(foreground).to_owned(),
            bytes_from_cache_server: sources.cache_server,
            bytes_from_lan_peers: sources.lan,
            // Those at the other ends of links are of the group.
            bytes_from_group_peers: sources.group + sources.link,
            bytes_from_internet_peers: sources.internet,
            bytes_to_lan_peers: given.lan,
            bytes_to_group_peers: given.group,
            bytes_to_internet_peers: given.internet,
            download_duration: progress.map_or(0.0, |one| rounded(one.took)),
            http_connection_count: under_way.map_or(0, |one| one.http_requests),
            lan_connection_count: count(kind_word(PeerType::Lan)),
            group_connection_count: count(kind_word(PeerType::Group)),
            internet_connection_count: count(kind_word(PeerType::Internet)),
            download_mode: mode_number(mode),
            source_url: record.url.clone(),
            cache_host: settings.cache_hosts.first().cloned(),
            num_peers: peers.len(),
            // Clients do not say, and what they call themselves is not kept.
            predefined_caller_application: "Unknown".to_owned(),
            expire_on: expires(state, &listed),
            is_pinned: record.pinned,
            peer_info: peers,
            content: listed.no.to_string(),
            bytes_from_links: sources.link,
            download_mode_reason: mode.why.to_string(),
            pieces_wanted: under_way.map_or(0, |one| one.pieces),
            idle_seconds: idle.map(rounded),
        }
    }

    /// The peers of a file. Who gives and takes is one.
    fn peers(&self, no: ContentNo, privacy: Privacy) -> Vec<Peer> {
        let mut peers = Vec::new();
        for giver in self.givers.iter().filter(|giver| giver.content == no) {
            peers.push((
                giver.address.to_canonical(),
                Peer {
                    ip: name(giver.address, privacy),
                    peer_type: kind_word(kind_of(giver.way)).to_owned(),
                    connection_established: true,
                    bytes_sent: 0,
                    bytes_received: giver.bytes,
                    upload_rate_bytes: 0,
                    download_rate_bytes: giver.bytes_s,
                },
            ));
        }
        for taker in self.takers.iter().filter(|taker| taker.content == no) {
            let address = taker.address.to_canonical();
            let known = peers
                .iter_mut()
                .find(|(of, peer)| *of == address && peer.bytes_sent == 0);
            if let Some((_, peer)) = known {
                peer.bytes_sent = taker.bytes;
                peer.upload_rate_bytes = taker.bytes_s;
                continue;
            }
            peers.push((
                address,
                Peer {
                    ip: name(taker.address, privacy),
                    peer_type: kind_word(taker.kind).to_owned(),
                    connection_established: true,
                    bytes_sent: taker.bytes,
                    bytes_received: 0,
                    upload_rate_bytes: taker.bytes_s,
                    download_rate_bytes: 0,
                },
            ));
        }
        peers.into_iter().map(|(_, peer)| peer).collect()
    }
}

pub(crate) const fn kind_of(way: Way) -> PeerType {
    match way {
        Way::Lan => PeerType::Lan,
        Way::Internet => PeerType::Internet,
        Way::Group | Way::Link | Way::Http | Way::CacheServer => PeerType::Group,
    }
}

pub(crate) const fn kind_word(kind: PeerType) -> &'static str {
    match kind {
        PeerType::Lan => "Lan",
        PeerType::Group => "Group",
        PeerType::Internet => "Internet",
    }
}

const fn priority_word(priority: Priority) -> &'static str {
    match priority {
        Priority::Foreground => "Foreground",
        Priority::Background => "Background",
    }
}

fn mode_number(taken: Taken) -> u8 {
    taken.mode.into()
}

/// When it is forgotten, where that is set.
fn expires(state: &State, listed: &Listed) -> Option<String> {
    let age_max_s = state.config.load().age_max_s;
    if age_max_s == 0 || listed.record.pinned {
        return None;
    }
    let at = listed.record.stored_at.saturating_add(age_max_s);
    let at = jiff::Timestamp::from_second(i64::try_from(at).ok()?).ok()?;
    Some(at.to_string())
}

/// Seconds, to the millisecond.
fn rounded(span: Duration) -> f64 {
    Duration::from_millis(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)).as_secs_f64()
}
