//! The connection to a Redis Cluster. The rule: every call ends soon, whatever the cluster does; where a part of it is
//! away, it is left alone for a moment rather than waited for by every call.

use super::no_room;
use crate::coordinator::backend::BackendError;
use larder_content::hash::FileHasher;
use larder_proto::Time;
use parking_lot::Mutex;
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, ServerErrorKind, ToRedisArgs, cmd};
use std::fmt;
use std::time::Duration;
use tokio::time::timeout;

/// How long one call may take, whatever it is for.
const CALL_TIMEOUT: Duration = Duration::from_millis(1500);

/// How long a node may take to answer, or to let us in.
const NODE_TIMEOUT: Duration = Duration::from_millis(700);

/// How long what did not answer is left alone.
const LEFT_ALONE: Duration = Duration::from_secs(2);

/// What is left alone is known by a part of the keys, so many in all: a node of three is a third of them.
const PARTS: usize = 64;

/// A cluster.
pub(super) struct Cluster {
    client: ClusterClient,
    nodes: String,
    connection: tokio::sync::Mutex<Option<ClusterConnection>>,
    /// Until when each part is left alone.
    alone: Mutex<[Time; PARTS]>,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.nodes)
    }
}

/// A script, by its text and its name in Redis.
pub(super) struct Script {
    text: &'static str,
    sha1: String,
}

/// A call of a script.
pub(super) struct Call<'s> {
    script: &'s Script,
    by_name: Cmd,
    args: Cmd,
}

impl Script {
    pub(super) fn new(text: &'static str) -> Self {
        let mut hasher = FileHasher::default();
        hasher.update(text.as_bytes());
        let sha1 = hasher
            .finish()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Self { text, sha1 }
    }

    /// A call of it on one key.
    pub(super) fn call(&self, key: &str) -> Call<'_> {
        let start = |name: &str, script: &str| {
            let mut start = cmd(name);
            start.arg(script).arg(1).arg(key);
            start
        };
        Call {
            by_name: start("EVALSHA", &self.sha1),
            args: start("EVAL", self.text),
            script: self,
        }
    }
}

impl Call<'_> {
    pub(super) fn arg(mut self, arg: impl ToRedisArgs) -> Self {
        self.by_name.arg(&arg);
        self.args.arg(&arg);
        self
    }
}

impl Cluster {
    pub(super) fn new(nodes: &[String], password: Option<&str>) -> Result<Self, String> {
        let urls = nodes.iter().map(|node| format!("redis://{node}"));
        let mut builder = ClusterClient::builder(urls)
            .retries(2)
            .min_retry_wait(20)
            .max_retry_wait(200)
            .connection_timeout(NODE_TIMEOUT)
            .response_timeout(NODE_TIMEOUT);
        if let Some(password) = password {
            builder = builder.password(password);
        }
        Ok(Self {
            client: builder.build().map_err(|error| error.to_string())?,
            nodes: nodes.join(","),
            connection: tokio::sync::Mutex::new(None),
            alone: Mutex::new([Time::default(); PARTS]),
        })
    }

    /// Runs a script. `of` is what its slot is told by.
    pub(super) async fn run<T: FromRedisValue>(
        &self,
        call: Call<'_>,
        of: &[u8],
        now: Time,
    ) -> Result<T, BackendError> {
        match self.ask(&call.by_name, of, now).await {
            Err(Trouble::NoScript) => {
                tracing::debug!("Redis learns the script {}", call.script.sha1);
                self.ask(&call.args, of, now).await.map_err(Trouble::into)
            }
            done => done.map_err(Trouble::into),
        }
    }

    /// Runs a command.
    pub(super) async fn query<T: FromRedisValue>(
        &self,
        command: &Cmd,
        of: &[u8],
        now: Time,
    ) -> Result<T, BackendError> {
        self.ask(command, of, now).await.map_err(Trouble::into)
    }

    async fn ask<T: FromRedisValue>(
        &self,
        command: &Cmd,
        of: &[u8],
        now: Time,
    ) -> Result<T, Trouble> {
        let part = part(of);
        if self.alone.lock()[part] > now {
            return Err(Trouble::Away("it did not answer a moment ago".to_owned()));
        }
        let asked = timeout(CALL_TIMEOUT, async {
            let mut connection = self.connect().await?;
            command.query_async::<T>(&mut connection).await
        });
        let trouble = match asked.await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => Trouble::of(&error),
            Err(_) => Trouble::Away(format!("no answer within {} ms", CALL_TIMEOUT.as_millis())),
        };
        if matches!(trouble, Trouble::Away(_)) {
            self.alone.lock()[part] = now + LEFT_ALONE;
        }
        Err(trouble)
    }

    async fn connect(&self) -> Result<ClusterConnection, RedisError> {
        let mut connection = self.connection.lock().await;
        if let Some(connection) = &*connection {
            return Ok(connection.clone());
        }
        let new = self.client.get_async_connection().await?;
        Ok(connection.insert(new).clone())
    }
}

fn part(of: &[u8]) -> usize {
    of.iter()
        .fold(0, |sum, byte| (sum * 31 + usize::from(*byte)) % PARTS)
}

enum Trouble {
    NoScript,
    Full,
    Away(String),
}

impl Trouble {
    fn of(error: &RedisError) -> Self {
        match error.kind() {
            ErrorKind::Server(ServerErrorKind::NoScript) => Self::NoScript,
            _ if error.code() == Some("OOM") => Self::Full,
            _ => Self::Away(error.to_string()),
        }
    }
}

impl From<Trouble> for BackendError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::NoScript => Self::Away("it forgets scripts as it learns them".to_owned()),
            Trouble::Full => no_room(),
            Trouble::Away(why) => Self::Away(why),
        }
    }
}
