//! Asks a coordinator. The rule: every call ends within its timeout, and an answer is bounded and checked before
//! anybody acts on it; a coordinator that is away is an error to go on without, never a wait.

mod remote;

use super::key::Key;
use super::service::{Caller, Coordinator, Refusal};
use larder_content::ContentId;
use larder_proto::tls::validity::Validity;
use larder_proto::tracker::Guid;
use larder_proto::tracker::message::{
    ContentPolicy, Geo, JoinAnswer, JoinRequest, LeaveRequest, PEERS_WANTED_MAX, PublishRequest,
};
use larder_proto::tracker::query::{Named, PolicyQuery};
use larder_proto::tracker::reach::{ReachAnswer, ReachRequest};
use remote::{ANSWER_BYTES_MAX, POLICY_BYTES_MAX, Remote};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// How to reach a coordinator, and as whom.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// `http://host:port` or `https://host:port`, without a path.
    pub url: String,
    /// A PEM file of certificate authorities to trust besides the system's.
    pub ca_file: Option<PathBuf>,
    /// The key of the group, where the coordinator wants its members to have it. Its name is the group's GUID.
    pub group_key: Option<Key>,
    /// The key by which this process publishes.
    pub publisher_key: Option<Key>,
    /// How long one call may take, in milliseconds.
    pub timeout_ms: u64,
}

impl ClientOptions {
    /// A caller without keys.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            ca_file: None,
            group_key: None,
            publisher_key: None,
            timeout_ms: 5_000,
        }
    }
}

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The coordinator's URL can not be used.
    #[error("{url:?} is no coordinator's URL; write it as in \"http://larder.example.org:7681\"")]
    Url {
        /// As it was given.
        url: String,
    },
    /// It can not be reached, or leaves in the middle: go on without it and try again later.
    #[error("the coordinator {url} is away: {cause}")]
    Away {
        /// Which.
        url: String,
        /// Why.
        cause: String,
    },
    /// It has too much to do, or this address asks too often: ask again after that long.
    #[error("the coordinator {url} asks for patience: {cause}; ask again in {retry_secs} s")]
    Busy {
        /// Which.
        url: String,
        /// What it said.
        cause: String,
        /// Seconds to wait.
        retry_secs: u64,
    },
    /// It does not take this call from this caller.
    #[error("the coordinator {url} refuses ({status}): {cause}")]
    Refused {
        /// Which.
        url: String,
        /// The answer's status.
        status: u16,
        /// What it said.
        cause: String,
    },
    /// It answers what no coordinator would.
    #[error("{url} does not answer as a coordinator: {cause}")]
    Answer {
        /// Which.
        url: String,
        /// What is wrong.
        cause: String,
    },
}

impl ClientError {
    /// Whether the same call can succeed later without anybody changing a setting.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::Away { .. } | Self::Busy { .. })
    }
}

/// A coordinator as its callers see it; clones share its connections.
#[derive(Clone)]
pub struct CoordinatorClient(Way);

#[derive(Clone)]
enum Way {
    Remote(Arc<Remote>),
    /// It is in this process.
    Own(Coordinator),
}

impl fmt::Debug for CoordinatorClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CoordinatorClient")
            .field(&self.0.url())
            .finish()
    }
}

impl CoordinatorClient {
    /// A client of the coordinator at that URL. Nothing is connected yet.
    ///
    /// # Errors
    /// Where the URL can not be used.
    pub fn new(options: ClientOptions) -> Result<Self, ClientError> {
        Ok(Self(Way::Remote(Arc::new(Remote::new(options)?))))
    }

    /// A client of the coordinator in this process, which may do there whatever any key may.
    #[must_use]
    pub const fn embedded(coordinator: Coordinator) -> Self {
        Self(Way::Own(coordinator))
    }

    /// The key of a group, for what its members show each other: the one that the coordinator wants of them, and of a
    /// group that is open to everybody its name.
    #[must_use]
    pub fn key_of(&self, group: Guid) -> Option<Key> {
        let name = group.to_string();
        let closed = match &self.0 {
            Way::Remote(remote) => remote.group_key(Some(name.clone())).cloned(),
            Way::Own(coordinator) => coordinator.group_key(&name),
        };
        closed.or_else(|| Key::new(name, &group.0).ok())
    }

    /// The address that the coordinator sees this process at.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn geo(&self) -> Result<Geo, ClientError> {
        match &self.0 {
            Way::Remote(remote) => remote.get("/v1/geo", None, ANSWER_BYTES_MAX).await,
            Way::Own(coordinator) => Ok(coordinator.geo(&Caller::own())),
        }
    }

    /// Whether the coordinator can connect to that port of this process's, at the address that it sees it at.
    ///
    /// # Errors
    /// See [`ClientError`]. One of an older version refuses with 404.
    pub async fn reach(&self, port: u16) -> Result<ReachAnswer, ClientError> {
        let reach = ReachRequest { port };
        match &self.0 {
            Way::Remote(remote) => remote.post("/v1/reach", &reach, None).await,
            Way::Own(coordinator) => {
                let reached = coordinator.reach(&Caller::own(), reach).await;
                reached.map_err(refused)
            }
        }
    }

    /// From when to when the certificate holds that the coordinator showed last; None where it showed none.
    #[must_use]
    pub fn certificate(&self) -> Option<Validity> {
        match &self.0 {
            Way::Remote(remote) => remote.certificate(),
            Way::Own(_) => None,
        }
    }

    /// Takes part, goes on to, and learns of others.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn join(&self, join: &JoinRequest) -> Result<JoinAnswer, ClientError> {
        let remote = match &self.0 {
            Way::Remote(remote) => remote,
            Way::Own(coordinator) => {
                let joined = coordinator.join(&Caller::own(), join).await;
                return joined.map_err(refused);
            }
        };
        let key = remote.group_key(join.group_id.map(|id| id.to_string()));
        let mut answer: JoinAnswer = remote.post("/v1/join", join, key).await?;
        answer
            .peers
            .retain(|peer| peer.port != 0 && peer.peer_id != join.peer_id);
        answer
            .peers
            .truncate(join.peers_wanted.min(PEERS_WANTED_MAX).into());
        Ok(answer)
    }

    /// Ends to take part.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn leave(&self, leave: &LeaveRequest) -> Result<(), ClientError> {
        match &self.0 {
            Way::Remote(remote) => {
                let key = remote.group_key(leave.group_id.map(|id| id.to_string()));
                let _: serde_json::Value = remote.post("/v1/leave", leave, key).await?;
                Ok(())
            }
            Way::Own(coordinator) => {
                let left = coordinator.leave(&Caller::own(), leave).await;
                left.map_err(refused)
            }
        }
    }

    /// What is known of a content. None where nothing is.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn policy(&self, asked: &PolicyQuery) -> Result<Option<ContentPolicy>, ClientError> {
        let remote = match &self.0 {
            Way::Remote(remote) => remote,
            Way::Own(coordinator) => {
                return match coordinator.policy(&Caller::own(), asked).await {
                    Ok(policy) => Ok(Some(policy)),
                    Err(Refusal::Unknown) => Ok(None),
                    Err(refusal) => Err(refused(refusal)),
                };
            }
        };
        let key = remote.group_key(asked.group_id.map(|id| id.to_string()));
        let answer = remote.get(&asked.target(), key, POLICY_BYTES_MAX).await;
        let policy: ContentPolicy = match answer {
            Err(ClientError::Refused { status: 404, .. }) => return Ok(None),
            answer => answer?,
        };
        let wrong = |cause: &str| {
            Err(ClientError::Answer {
                url: self.0.url().to_owned(),
                cause: cause.to_owned(),
            })
        };
        if let Named::ContentId(id) = asked.named
            && policy.content_id != id
        {
            return wrong("it told of another content than was asked for");
        }
        match &policy.phf {
            Some(phf) if phf.content_id() != policy.content_id => {
                wrong("the piece hashes are those of another content")
            }
            Some(phf) if phf.length() != policy.content_length => {
                wrong("the piece hashes are those of another length")
            }
            _ => Ok(Some(policy)),
        }
    }

    /// What is known of a content by its id, with its piece hashes. None where nothing is.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn policy_by_id(&self, id: ContentId) -> Result<Option<ContentPolicy>, ClientError> {
        self.policy(&PolicyQuery::new(Named::ContentId(id))).await
    }

    /// What is known of the content at a URL, with its piece hashes. None where nothing is.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn policy_by_url(&self, url: &str) -> Result<Option<ContentPolicy>, ClientError> {
        self.policy(&PolicyQuery::new(Named::Url(url.to_owned())))
            .await
    }

    /// Says what a content is. Asks for the publisher's key.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn publish(&self, publish: &PublishRequest) -> Result<(), ClientError> {
        match &self.0 {
            Way::Remote(remote) => {
                let key = remote.publisher_key();
                let _: serde_json::Value = remote.post("/v1/publish", publish, key).await?;
                Ok(())
            }
            Way::Own(coordinator) => {
                let published = coordinator.publish(&Caller::own(), publish.clone()).await;
                published.map_err(refused)
            }
        }
    }
}

impl Way {
    fn url(&self) -> &str {
        match self {
            Self::Remote(remote) => remote.url(),
            Self::Own(_) => "in this process",
        }
    }
}

/// What the coordinator in this process refused, as one elsewhere would have said it.
fn refused(refusal: Refusal) -> ClientError {
    let (url, cause) = ("in this process".to_owned(), refusal.to_string());
    match refusal {
        Refusal::TooMuch { retry_secs, .. } => ClientError::Busy {
            url,
            cause,
            retry_secs,
        },
        refusal => ClientError::Refused {
            url,
            status: refusal.status(),
            cause,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_there_is_an_error_to_go_on_without() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("its address").port();
        drop(listener);
        let options = ClientOptions::new(format!("http://127.0.0.1:{port}"));
        let client = CoordinatorClient::new(options).expect("a client");
        let error = client.geo().await.expect_err("nobody there");
        assert!(error.is_passing(), "{error}");
    }
}
