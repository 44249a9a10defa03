//! What a coordinator answers, whoever asks and however. The rule: who calls is settled before anything is kept or
//! told; what needs a proof is not even looked up without it.

use super::backend::{Backend, BackendError};
use super::figures::Figures;
use super::key::Key;
use crate::clock::Clock;
use larder_proto::UnixSecs;
use larder_proto::tracker::Guid;
use larder_proto::tracker::member::Joining;
use larder_proto::tracker::message::{
    ContentPolicy, Geo, JoinAnswer, JoinRequest, LeaveRequest, MessageError, PublishRequest, Trust,
};
use larder_proto::tracker::query::{Named, PolicyQuery, url_key};
use larder_proto::tracker::quota::Quota;
use larder_proto::tracker::reach::{ReachAnswer, ReachRequest};
use larder_proto::tracker::records::{Audience, Record, audiences};
use larder_proto::tracker::site::Sites;
use larder_proto::tracker::state::{Limits, NoRoom};
use parking_lot::{Mutex, RwLock};
use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// How long a port of a caller may take to accept, and how many are tried at once.
const REACH_WITHIN: Duration = Duration::from_secs(3);
const TRIES_MAX: usize = 16;

/// One who may say what contents are.
#[derive(Clone, Debug)]
pub struct Publisher {
    /// By this it is known, and proves to be who it says.
    pub key: Key,
    /// Whether its word holds for everybody (what it says is verified); otherwise it attests, for its own group.
    pub may_verify: bool,
    /// The group that it attests for; None for those of its own site that belong to no group.
    pub group: Option<Guid>,
}

/// What an administrator sets of a coordinator, and can change while it runs.
#[derive(Clone, Debug)]
pub struct ServiceOptions {
    /// Networks that stand for one public address.
    pub sites: Sites,
    /// How often peers are to say that they are there, in seconds.
    pub heartbeat_secs: u32,
    /// What is bounded of peers.
    pub limits: Limits,
    /// Calls that one address may make in a minute.
    pub calls_per_minute: u32,
    /// How long a record is kept at most, in seconds.
    pub record_lifetime_secs: u64,
    /// Groups whose members prove that they belong to them. A key's name is the GUID of its group.
    pub groups: Vec<Key>,
    /// Those who may publish.
    pub publishers: Vec<Publisher>,
}

impl Default for ServiceOptions {
    fn default() -> Self {
        Self {
            sites: Sites::default(),
            heartbeat_secs: 30,
            limits: Limits::default(),
            calls_per_minute: 6_000,
            record_lifetime_secs: 30 * 24 * 3600,
            groups: Vec::new(),
            publishers: Vec::new(),
        }
    }
}

/// Who calls.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The address at which it is seen.
    pub seen: IpAddr,
    /// What it proved to have.
    pub proven: Proven,
}

/// What a caller proved to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proven {
    /// Nothing.
    Nothing,
    /// The key of this name.
    Key(String),
    /// It is this very process, which may do what any key may.
    Own,
}

impl Caller {
    /// This process itself, which has these addresses.
    #[must_use]
    pub fn own() -> Self {
        Self {
            seen: IpAddr::V4(Ipv4Addr::LOCALHOST),
            proven: Proven::Own,
        }
    }

    fn has(&self, key: &str) -> bool {
        match &self.proven {
            Proven::Nothing => false,
            Proven::Key(name) => name == key,
            Proven::Own => true,
        }
    }
}

/// Why a call is refused.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It can not be understood: 400.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// It needs a proof: 401.
    #[error("{0}")]
    Unproven(String),
    /// It is proven who calls, and that one may not: 403.
    #[error("{0}")]
    Forbidden(String),
    /// Nothing is known of that: 404.
    #[error("nothing is known of this content")]
    Unknown,
    /// More than may be: 429 where it concerns the caller alone, else 503.
    #[error("{why}")]
    TooMuch {
        /// What there is too much of.
        why: String,
        /// Whether others would be answered.
        of_caller: bool,
        /// When to call again, in seconds.
        retry_secs: u64,
    },
    /// Larger than anything that is kept: 413.
    #[error("{0}")]
    TooLarge(String),
}

impl Refusal {
    /// The answer's status code.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Message(_) => 400,
            Self::Unproven(_) => 401,
            Self::Forbidden(_) => 403,
            Self::Unknown => 404,
            Self::TooLarge(_) => 413,
            Self::TooMuch { of_caller, .. } => {
                if *of_caller {
                    429
                } else {
                    503
                }
            }
        }
    }
}

/// A coordinator; clones share it.
#[derive(Clone)]
pub struct Coordinator(Arc<Inner>);

pub(super) struct Inner {
    options: RwLock<Arc<Options>>,
    backend: Backend,
    quota: Mutex<Quota>,
    pub(super) figures: Figures,
    /// For ports of callers that are being tried.
    tries: Semaphore,
    pub(super) clock: Clock,
}

/// The options with what is looked up in them.
struct Options {
    set: ServiceOptions,
    groups: HashMap<String, Key>,
    publishers: HashMap<String, Publisher>,
}

impl Options {
    fn new(set: ServiceOptions) -> Arc<Self> {
        let groups = set
            .groups
            .iter()
            .map(|key| (key.name().to_owned(), key.clone()));
        let publishers = set
            .publishers
            .iter()
            .map(|one| (one.key.name().to_owned(), one.clone()));
        Arc::new(Self {
            groups: groups.collect(),
            publishers: publishers.collect(),
            set,
        })
    }
}

impl fmt::Debug for Coordinator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Coordinator").field(&self.0.backend).finish()
    }
}

impl Coordinator {
    /// A coordinator that keeps what it keeps in `backend`. Its figures count with the recorder in force.
    #[must_use]
    pub fn new(options: ServiceOptions, backend: Backend, clock: Clock) -> Self {
        Self(Arc::new(Inner {
            quota: Mutex::new(Quota::new(options.calls_per_minute)),
            options: RwLock::new(Options::new(options)),
            backend,
            figures: Figures::new(),
            tries: Semaphore::new(TRIES_MAX),
            clock,
        }))
    }

    /// From now on these options hold.
    pub fn set(&self, options: ServiceOptions) {
        self.0.quota.lock().set(options.calls_per_minute);
        self.0.backend.limit(options.limits);
        *self.0.options.write() = Options::new(options);
    }

    /// Lets go of a part of what is overdue, and says how much there is; to be called every second.
    pub fn turn(&self) {
        let inner = &self.0;
        inner.backend.sweep(inner.clock.now(), inner.clock.unix());
        inner.figures.kept(inner.backend.counts());
    }

    /// Peers, contents and records that this process keeps.
    #[must_use]
    pub fn counts(&self) -> (usize, usize, usize) {
        self.0.backend.counts()
    }

    pub(super) fn inner(&self) -> &Inner {
        &self.0
    }

    fn options(&self) -> Arc<Options> {
        Arc::clone(&self.0.options.read())
    }

    /// The key of that name.
    pub(super) fn key(&self, name: &str) -> Option<Key> {
        let options = self.options();
        let publisher = options.publishers.get(name).map(|one| &one.key);
        options.groups.get(name).or(publisher).cloned()
    }

    /// The key of the group of that name, where it has one.
    pub(super) fn group_key(&self, name: &str) -> Option<Key> {
        self.options().groups.get(name).cloned()
    }

    /// Whether a publisher has that name.
    pub(super) fn is_publisher(&self, name: &str) -> bool {
        self.options().publishers.contains_key(name)
    }

    pub(super) fn now(&self) -> UnixSecs {
        self.0.clock.unix()
    }

    /// Counts a call against its address.
    ///
    /// # Errors
    /// Where the address called too often.
    pub(super) fn admit(&self, from: IpAddr) -> Result<(), Refusal> {
        let taken = self.0.quota.lock().take(from, self.0.clock.now());
        taken.map_err(|retry_secs| {
            self.0.figures.limited.increment(1);
            Refusal::TooMuch {
                why: "this address calls too often".to_owned(),
                of_caller: true,
                retry_secs,
            }
        })
    }

    /// A group that has a key is for those who have it.
    fn check_group(
        &self,
        options: &Options,
        caller: &Caller,
        group: Option<Guid>,
    ) -> Result<(), Refusal> {
        let Some(group) = group.map(|group| group.to_string()) else {
            return Ok(());
        };
        if !options.groups.contains_key(&group) || caller.has(&group) {
            return Ok(());
        }
        self.0.figures.unproven.increment(1);
        Err(Refusal::Unproven(format!(
            "group {group} is closed; sign the call with its key"
        )))
    }

    /// `geo`: the caller's address.
    #[must_use]
    pub fn geo(&self, caller: &Caller) -> Geo {
        Geo {
            external_ip_address: caller.seen.to_canonical(),
            server_time: self.now(),
        }
    }

    /// `reach`: whether others can connect to the caller.
    ///
    /// # Errors
    /// Where as many are being tried as may be.
    pub async fn reach(
        &self,
        caller: &Caller,
        reach: ReachRequest,
    ) -> Result<ReachAnswer, Refusal> {
        let Ok(_permit) = self.0.tries.try_acquire() else {
            return Err(Refusal::TooMuch {
                why: "as many ports are being tried as may be".to_owned(),
                of_caller: false,
                retry_secs: 5,
            });
        };
        let address = caller.seen.to_canonical();
        let connect = TcpStream::connect((address, reach.port));
        let cause = match timeout(REACH_WITHIN, connect).await {
            Ok(Ok(_)) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("no answer within {} s", REACH_WITHIN.as_secs())),
        };
        Ok(ReachAnswer {
            address,
            port: reach.port,
            reached: cause.is_none(),
            cause,
        })
    }

    /// `join`: the caller takes part, goes on to, and is told of others.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn join(&self, caller: &Caller, join: &JoinRequest) -> Result<JoinAnswer, Refusal> {
        let options = self.options();
        let joining = Joining::of(join, caller.seen, &options.set.sites);
        self.check_group(&options, caller, joining.room.group)?;
        let joined = self.0.backend.join(&joining, self.0.clock.now()).await;
        let peers = joined.map_err(|error| refusal(error, &options.set))?;
        self.0.figures.peers_told.increment(peers.len() as u64);
        Ok(JoinAnswer {
            peers,
            next_join_secs: options.set.heartbeat_secs,
            external_ip_address: caller.seen.to_canonical(),
        })
    }

    /// `leave`: the caller takes part no more.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn leave(&self, caller: &Caller, leave: &LeaveRequest) -> Result<(), Refusal> {
        let options = self.options();
        self.check_group(&options, caller, leave.group_id)?;
        let site = options.set.sites.site_of(caller.seen, &leave.reported_ip);
        let now = self.0.clock.now();
        let left = self
            .0
            .backend
            .leave(leave.content_id, leave.peer_id, site, now)
            .await;
        left.map_err(|error| refusal(error, &options.set))
    }

    /// `policy`: what is known of a content.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn policy(
        &self,
        caller: &Caller,
        asked: &PolicyQuery,
    ) -> Result<ContentPolicy, Refusal> {
        let options = self.options();
        self.check_group(&options, caller, asked.group_id)?;
        let site = options.set.sites.site_of(caller.seen, &asked.reported_ip);
        let to = audiences(asked.group_id, site);
        let (now, at) = (self.now(), self.0.clock.now());
        let found = match &asked.named {
            Named::ContentId(id) => self.0.backend.by_id(*id, &to, now, at).await,
            Named::Url(url) => match url_key(url) {
                Some(key) => self.0.backend.by_url(key, &to, now, at).await,
                None => {
                    return Err(Refusal::Message(MessageError {
                        field: "Url",
                        why: "send a URL of http or https".to_owned(),
                    }));
                }
            },
        };
        let found = found.map_err(|error| refusal(error, &options.set))?;
        let record = found.ok_or(Refusal::Unknown)?;
        let mut policy = record.policy.clone();
        if !asked.with_phf {
            policy.phf = None;
        }
        Ok(policy)
    }

    /// `publish`: a publisher says what a content is.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn publish(&self, caller: &Caller, publish: PublishRequest) -> Result<(), Refusal> {
        let options = self.options();
        let (name, may_verify, own_group) = match &caller.proven {
            Proven::Own => ("embedded", true, publish.group_id),
            Proven::Key(name) => match options.publishers.get(name) {
                Some(one) => (name.as_str(), one.may_verify, one.group),
                None => return Err(Refusal::Forbidden(format!("{name} is no publisher"))),
            },
            Proven::Nothing => {
                self.0.figures.unproven.increment(1);
                let why = "only publishers may say what contents are; sign the call with a publisher's key";
                return Err(Refusal::Unproven(why.to_owned()));
            }
        };
        let audience = match (publish.trust, publish.group_id) {
            (Trust::Verified, _) if may_verify => Audience::All,
            (Trust::Verified, _) => {
                let why =
                    format!("publisher {name} may attest, not verify; publish with Trust Attested");
                return Err(Refusal::Forbidden(why));
            }
            (Trust::Attested, group) if group != own_group => {
                let why = format!(
                    "publisher {name} attests for {}, and for nobody else",
                    match own_group {
                        Some(group) => format!("group {group}"),
                        None => "its own site, without a GroupId".to_owned(),
                    }
                );
                return Err(Refusal::Forbidden(why));
            }
            (Trust::Attested, Some(group)) => Audience::Group(group),
            (Trust::Attested, None) => {
                Audience::Site(options.set.sites.site_of(caller.seen, &publish.reported_ip))
            }
        };
        let urls = publish
            .content_cdn_urls
            .iter()
            .filter_map(|url| url_key(url));
        let urls = urls.collect();
        let (now, lifetime) = (self.now(), options.set.record_lifetime_secs);
        let record = Record::of(publish, name, audience, urls, now, lifetime);
        if record.policy.expire_at <= now {
            return Err(Refusal::Message(MessageError {
                field: "ExpireAt",
                why: format!("lies in the past; it is {now} here, in seconds since 1970"),
            }));
        }
        let published = self
            .0
            .backend
            .publish(record, now, self.0.clock.now())
            .await;
        published.map_err(|error| refusal(error, &options.set))
    }
}

fn refusal(error: BackendError, options: &ServiceOptions) -> Refusal {
    let why = error.to_string();
    let retry_secs = u64::from(options.heartbeat_secs);
    match error {
        BackendError::NoRoom(of) => Refusal::TooMuch {
            why,
            of_caller: of == NoRoom::Contents,
            retry_secs,
        },
        BackendError::TooLarge => Refusal::TooLarge(why),
        BackendError::Away(_) => Refusal::TooMuch {
            why,
            of_caller: false,
            retry_secs: 2,
        },
    }
}
