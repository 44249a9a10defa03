//! The messages of the coordinator's API, as JSON. The rule: whoever has one of these from [`JoinRequest::parse`] and
//! its like holds something whose size is bounded and whose numbers mean what they say.
//!
//! Names follow the vendor's service, as far as they are known (facts: clients, section 4); the API itself is larder's.

use super::guid::Guid;
use larder_content::{ContentId, Phf};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr};

/// No body of a join or a leave is longer, in bytes.
pub const JOIN_BYTES_MAX: usize = 8 << 10;

/// No body of a publication is longer, in bytes: the longest piece-hash file, and what goes with it.
pub const PUBLISH_BYTES_MAX: usize = (16 << 20) + (64 << 10);

/// Addresses that one peer may report.
pub const REPORTED_IPS_MAX: usize = 8;

/// Peers that may be asked for at once; asking for more is no error and gives no more.
pub const PEERS_WANTED_MAX: u16 = 100;

/// Peers that one join may call unreachable.
pub const UNREACHABLE_MAX: usize = 32;

/// URLs that one publication may name.
pub const URLS_MAX: usize = 16;

/// No URL is longer, in bytes.
pub const URL_BYTES_MAX: usize = 2048;

/// A longer `ETag` is not taken: records are kept in memory.
const ETAG_BYTES_MAX: usize = 512;

/// A message that can not be used: an answer with status 400.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct MessageError {
    /// Which field it is about; `body` where it is about none.
    pub field: &'static str,
    /// What is wrong, and what to send.
    pub why: String,
}

impl MessageError {
    pub(super) fn new(field: &'static str, why: impl Into<String>) -> Self {
        let why = why.into();
        Self { field, why }
    }
}

/// How a device downloads (`DODownloadMode`; seed: Download mode). In JSON it is the number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum DownloadMode {
    /// 0: no peers.
    HttpOnly,
    /// 1: peers behind the same public address.
    Lan,
    /// 2: peers of the same group, wherever they are.
    Group,
    /// 3: peers anywhere.
    Internet,
    /// 99: no coordinator and no peers.
    Simple,
    /// 100: not by Delivery Optimization at all.
    Bypass,
}

impl From<DownloadMode> for u8 {
    fn from(mode: DownloadMode) -> Self {
        match mode {
            DownloadMode::HttpOnly => 0,
            DownloadMode::Lan => 1,
            DownloadMode::Group => 2,
            DownloadMode::Internet => 3,
            DownloadMode::Simple => 99,
            DownloadMode::Bypass => 100,
        }
    }
}

impl TryFrom<u8> for DownloadMode {
    type Error = &'static str;

    fn try_from(number: u8) -> Result<Self, &'static str> {
        Ok(match number {
            0 => Self::HttpOnly,
            1 => Self::Lan,
            2 => Self::Group,
            3 => Self::Internet,
            99 => Self::Simple,
            100 => Self::Bypass,
            _ => return Err("DownloadMode is 0, 1, 2, 3, 99 or 100"),
        })
    }
}

/// Why a peer joins (again).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub enum JoinEvent {
    /// It has begun with this content.
    Started,
    /// It goes on; said every [`JoinAnswer::next_join_secs`].
    #[default]
    Heartbeat,
    /// It has all of it now, and goes on as a peer.
    Completed,
    /// It ends; the same as a leave.
    Stopped,
}

/// `POST /v1/join`: a peer takes part in a content's swarm, goes on to, and asks for others.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct JoinRequest {
    /// Which content.
    #[serde(with = "content_id")]
    pub content_id: ContentId,
    /// The peer; 16 bytes at random that it keeps.
    pub peer_id: Guid,
    /// The TCP port on which it takes peers; 0 where it takes none, and then nobody is told of it.
    pub port: u16,
    /// Its own addresses, those of private networks among them, the most useful first. Where there is none, it is the
    /// address that the coordinator sees.
    #[serde(default)]
    pub reported_ip: Vec<IpAddr>,
    /// The mask of the network that its IPv4 addresses lie in. An IPv6 network is always one of 64 bits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subnet_mask: Option<Ipv4Addr>,
    /// 1: only peers of the same subnet, in modes 1 and 2 (`DORestrictPeerSelectionBy`); other numbers mean nothing.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub restrict_peer_selection_by: u8,
    /// How it downloads.
    pub download_mode: DownloadMode,
    /// Its group, in mode 2. Without one, those behind its public address are its group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_id: Option<Guid>,
    /// Whether nobody waits for it.
    #[serde(default)]
    pub is_background: bool,
    /// Bytes of this content sent to peers.
    #[serde(default)]
    pub uploaded: u64,
    /// Bytes of this content received from peers.
    #[serde(default)]
    pub downloaded: u64,
    /// Bytes of this content received by HTTP.
    #[serde(default)]
    pub downloaded_cdn: u64,
    /// Bytes of this content that it lacks; 0 where it has all of it, None where it does not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<u64>,
    /// Why it says so.
    #[serde(default)]
    pub join_request_event: JoinEvent,
    /// It uploads nothing now (its battery, its cap, its hours): nobody is told of it.
    #[serde(default)]
    pub restricted_upload: bool,
    /// How many others it wants to be told of; 0 is none.
    pub peers_wanted: u16,
    /// It keeps what it has for ever (`DOMaxCacheAge` = 0): others are told of it first.
    #[serde(default)]
    pub preferred: bool,
    /// Peers that it uploads to now: what it is loaded with.
    #[serde(default)]
    pub upload_connections: u16,
    /// The port of its public IPv4 address that leads to it, in mode 3; without one, nobody elsewhere is told of its
    /// IPv4 address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_port: Option<u16>,
    /// Peers it was told of that it could not connect to, or that lied: others are told of them last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreachable: Vec<Guid>,
}

impl JoinRequest {
    /// A join with the least that has to be said: asks for nobody.
    #[must_use]
    pub fn new(content_id: ContentId, peer_id: Guid, port: u16, mode: DownloadMode) -> Self {
        Self {
            content_id,
            peer_id,
            port,
            reported_ip: Vec::new(),
            subnet_mask: None,
            restrict_peer_selection_by: 0,
            download_mode: mode,
            group_id: None,
            is_background: false,
            uploaded: 0,
            downloaded: 0,
            downloaded_cdn: 0,
            left: None,
            join_request_event: JoinEvent::Started,
            restricted_upload: false,
            peers_wanted: 0,
            preferred: false,
            upload_connections: 0,
            external_port: None,
            unreachable: Vec::new(),
        }
    }

    /// Reads and checks one.
    ///
    /// # Errors
    /// What is wrong, by its field.
    pub fn parse(body: &[u8]) -> Result<Self, MessageError> {
        let join: Self = read(body, JOIN_BYTES_MAX)?;
        join.check()?;
        Ok(join)
    }

    fn check(&self) -> Result<(), MessageError> {
        if self.reported_ip.len() > REPORTED_IPS_MAX {
            let why = format!(
                "{} addresses; send at most {REPORTED_IPS_MAX}",
                self.reported_ip.len()
            );
            return Err(MessageError::new("ReportedIp", why));
        }
        if self.unreachable.len() > UNREACHABLE_MAX {
            let why = format!(
                "{} peers; send at most {UNREACHABLE_MAX}",
                self.unreachable.len()
            );
            return Err(MessageError::new("Unreachable", why));
        }
        let is_mask = |mask: Ipv4Addr| {
            let bits = u32::from(mask);
            bits.leading_ones() + bits.trailing_zeros() == 32 && bits != 0
        };
        if let Some(mask) = self.subnet_mask
            && !is_mask(mask)
        {
            let why = format!("{mask} is no mask; send one as in 255.255.255.0");
            return Err(MessageError::new("SubnetMask", why));
        }
        if self.external_port == Some(0) {
            return Err(MessageError::new("ExternalPort", "0 is no port"));
        }
        Ok(())
    }
}

/// How near a peer is: the nearest that holds (seed: BytesFromLanPeers, BytesFromGroupPeers, BytesFromInternetPeers).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum PeerType {
    /// Behind the same public address, or in the same configured site.
    Lan,
    /// Of the same group, elsewhere.
    Group,
    /// Neither.
    Internet,
}

/// One peer that others are told of.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct PeerAddress {
    /// The peer, as it names itself in its handshake.
    pub peer_id: Guid,
    /// Where to connect.
    pub address: IpAddr,
    /// The TCP port.
    pub port: u16,
    /// How near it is.
    pub peer_type: PeerType,
    /// It keeps what it has for ever: ask it first.
    pub preferred: bool,
}

/// The answer to a join.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct JoinAnswer {
    /// Others, the best first; never the caller, never more than it asked for.
    pub peers: Vec<PeerAddress>,
    /// When to join again, in seconds; who does not is forgotten soon after.
    pub next_join_secs: u32,
    /// The caller's address as the coordinator sees it.
    pub external_ip_address: IpAddr,
}

/// `POST /v1/leave`: a peer ends to take part.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct LeaveRequest {
    /// Which content.
    #[serde(with = "content_id")]
    pub content_id: ContentId,
    /// Which peer.
    pub peer_id: Guid,
    /// Its addresses, as it reported them when it joined: they tell where it is.
    #[serde(default)]
    pub reported_ip: Vec<IpAddr>,
    /// The group that it joined with, where that group has a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_id: Option<Guid>,
}

impl LeaveRequest {
    /// Reads and checks one.
    ///
    /// # Errors
    /// What is wrong, by its field.
    pub fn parse(body: &[u8]) -> Result<Self, MessageError> {
        let leave: Self = read(body, JOIN_BYTES_MAX)?;
        if leave.reported_ip.len() > REPORTED_IPS_MAX {
            let why = format!("send at most {REPORTED_IPS_MAX} addresses");
            return Err(MessageError::new("ReportedIp", why));
        }
        Ok(leave)
    }
}

/// The answer to `GET /v1/geo`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Geo {
    /// The caller's address as the coordinator sees it.
    pub external_ip_address: IpAddr,
    /// The coordinator's clock, in seconds since 1970.
    pub server_time: u64,
}

/// Whose word the hashes of a content rest on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Trust {
    /// Its publisher vouches that these are the origin's bytes: the URL named them, or the origin's own hashes did.
    Verified,
    /// An appliance computed them from what it once fetched: for its own group only.
    Attested,
}

/// What is known of a content: the answer to `GET /v1/policy`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContentPolicy {
    /// Which content.
    #[serde(with = "content_id")]
    pub content_id: ContentId,
    /// The same 32 bytes as [`Self::content_id`], in standard base64, as piece-hash files spell them.
    pub hash_of_hashes: String,
    /// The hashes of its pieces, as in the vendor's piece-hash files; left out where the caller did not want them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phf: Option<Phf>,
    /// Bytes in the content.
    pub content_length: u64,
    /// Whose word that rests on.
    pub trust: Trust,
    /// The publisher that attests it; None where it is verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attested_by: Option<String>,
    /// URLs at which it is to be had by HTTP.
    #[serde(default)]
    pub content_cdn_urls: Vec<String>,
    /// The `ETag` that it had at these URLs when it was published, where there was one: whoever sees another there has
    /// another version before it, of which these hashes say nothing.
    #[serde(default, rename = "ETag", skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// How fast it may be expected in the foreground, in bytes per second: below it, HTTP is added to peers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub foreground_qos_bps: Option<u64>,
    /// The same in the background.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub background_qos_bps: Option<u64>,
    /// How long peers shall keep it, in seconds; 0 is for ever, None is as they please.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_cache_age_secs: Option<u64>,
    /// Until when this holds, in seconds since 1970.
    pub expire_at: u64,
}

/// `POST /v1/publish`: a publisher says what a content is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct PublishRequest {
    /// The hashes of its pieces; they give its ContentId.
    pub phf: Phf,
    /// Whose word that rests on.
    pub trust: Trust,
    /// The group that it is for, where it is attested; without one, those behind the publisher's public address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_id: Option<Guid>,
    /// The publisher's own addresses, as in a join.
    #[serde(default)]
    pub reported_ip: Vec<IpAddr>,
    /// URLs at which it is to be had by HTTP: it is found by each of them.
    #[serde(default)]
    pub content_cdn_urls: Vec<String>,
    /// See [`ContentPolicy::etag`].
    #[serde(default, rename = "ETag", skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// See [`ContentPolicy::foreground_qos_bps`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub foreground_qos_bps: Option<u64>,
    /// See [`ContentPolicy::background_qos_bps`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub background_qos_bps: Option<u64>,
    /// See [`ContentPolicy::max_cache_age_secs`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_cache_age_secs: Option<u64>,
    /// Until when it shall hold, in seconds since 1970; without one, as long as the coordinator keeps such things.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expire_at: Option<u64>,
}

impl PublishRequest {
    /// A publication of these hashes, and of nothing else.
    #[must_use]
    pub const fn new(phf: Phf, trust: Trust) -> Self {
        Self {
            phf,
            trust,
            group_id: None,
            reported_ip: Vec::new(),
            content_cdn_urls: Vec::new(),
            etag: None,
            foreground_qos_bps: None,
            background_qos_bps: None,
            max_cache_age_secs: None,
            expire_at: None,
        }
    }

    /// Reads and checks one.
    ///
    /// # Errors
    /// What is wrong, by its field.
    pub fn parse(body: &[u8]) -> Result<Self, MessageError> {
        let publish: Self = read(body, PUBLISH_BYTES_MAX)?;
        if publish.phf.length() == 0 {
            return Err(MessageError::new("Phf", "an empty content has no peers"));
        }
        if publish.reported_ip.len() > REPORTED_IPS_MAX {
            let why = format!("send at most {REPORTED_IPS_MAX} addresses");
            return Err(MessageError::new("ReportedIp", why));
        }
        if publish.content_cdn_urls.len() > URLS_MAX {
            let why = format!("send at most {URLS_MAX} URLs");
            return Err(MessageError::new("ContentCdnUrls", why));
        }
        for url in &publish.content_cdn_urls {
            check_url(url)?;
        }
        if publish
            .etag
            .as_ref()
            .is_some_and(|tag| tag.len() > ETAG_BYTES_MAX)
        {
            let why = format!("send a tag of at most {ETAG_BYTES_MAX} bytes");
            return Err(MessageError::new("ETag", why));
        }
        Ok(publish)
    }
}

/// Whether a URL can be the name of a content.
///
/// # Errors
/// Where it is too long or no http(s) URL.
pub fn check_url(url: &str) -> Result<(), MessageError> {
    let is_plain = url.starts_with("http://") || url.starts_with("https://");
    let printable = url.bytes().all(|byte| byte.is_ascii_graphic());
    if is_plain && printable && url.len() <= URL_BYTES_MAX {
        return Ok(());
    }
    let why =
        format!("send http:// or https:// URLs of at most {URL_BYTES_MAX} printable characters");
    Err(MessageError::new("ContentCdnUrls", why))
}

/// An answer that is an error.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ErrorAnswer {
    /// What is wrong and what to do.
    pub error: String,
    /// The coordinator's clock, in seconds since 1970: whoever signs by another clock sees it here.
    pub server_time: u64,
}

pub(super) fn read<T: DeserializeOwned>(body: &[u8], bytes_max: usize) -> Result<T, MessageError> {
    if body.len() > bytes_max {
        let why = format!("{} bytes; send at most {bytes_max}", body.len());
        return Err(MessageError::new("body", why));
    }
    serde_json::from_slice(body).map_err(|error| MessageError::new("body", error.to_string()))
}

/// A content id as `DO-...`.
mod content_id {
    use larder_content::ContentId;
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::Serializer;
    use std::borrow::Cow;

    pub(super) fn serialize<S: Serializer>(id: &ContentId, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(id)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<ContentId, D::Error> {
        let text = Cow::<str>::deserialize(from)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
const fn is_zero(number: &u8) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests;
