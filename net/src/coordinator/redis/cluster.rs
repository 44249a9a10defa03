//! The connection to a Redis Cluster. The rule: every call ends soon, whatever the cluster does; where a part of it is
//! away, it is left alone for a moment rather than waited for by every call.

use super::no_room;
use crate::coordinator::backend::BackendError;
use larder_content::hash::FileHasher;
use larder_proto::Time;
use parking_lot::Mutex;
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::{Arg, Cmd, ErrorKind, FromRedisValue, RedisError, ServerErrorKind, ToRedisArgs, cmd};
use std::fmt;
use std::time::Duration;
use tokio::time::timeout;

/// How long one call may take, whatever it is for.
const CALL_TIMEOUT: Duration = Duration::from_millis(1500);

/// How long a node may take to answer, or to let us in.
const NODE_TIMEOUT: Duration = Duration::from_millis(700);

/// How long what did not answer is left alone.
const LEFT_ALONE: Duration = Duration::from_secs(2);

/// Slots of a cluster (Redis Cluster Specification, "Key distribution model").
const SLOTS: usize = 16_384;

/// What is left alone is known by a part of the slots, so many in all. A node has a range of slots, so parts are ranges,
/// too: a node of three is a third of them, and the others are asked on.
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

    /// Runs a script.
    pub(super) async fn run<T: FromRedisValue>(
        &self,
        call: Call<'_>,
        now: Time,
    ) -> Result<T, BackendError> {
        match self.ask(&call.by_name, now).await {
            Err(Trouble::NoScript) => {
                tracing::debug!("Redis learns the script {}", call.script.sha1);
                self.ask(&call.args, now).await.map_err(Trouble::into)
            }
            done => done.map_err(Trouble::into),
        }
    }

    /// Runs a command.
    pub(super) async fn query<T: FromRedisValue>(
        &self,
        command: &Cmd,
        now: Time,
    ) -> Result<T, BackendError> {
        self.ask(command, now).await.map_err(Trouble::into)
    }

    async fn ask<T: FromRedisValue>(&self, command: &Cmd, now: Time) -> Result<T, Trouble> {
        let part = part(command);
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

/// The part in which the key of a command lies: its first argument, for a script the third.
fn part(command: &Cmd) -> usize {
    let mut words = command.args_iter().map(|arg| match arg {
        Arg::Simple(word) => word,
        _ => &[],
    });
    let before = match words.next() {
        Some(b"EVAL" | b"EVALSHA") => 2,
        _ => 0,
    };
    let key = words.nth(before).unwrap_or_default();
    // Of a key with braces, what is between them says where it lies.
    let tag = key.splitn(2, |byte| *byte == b'{').nth(1);
    let tag = tag.and_then(|rest| rest.split(|byte| *byte == b'}').next());
    let slot = crc16::State::<crc16::XMODEM>::calculate(tag.unwrap_or(key));
    usize::from(slot) % SLOTS / (SLOTS / PARTS)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_tells_the_part() {
        // 12739 is what the specification gives for it.
        assert_eq!(part(cmd("SET").arg("123456789").arg("{x}")), 12_739 / 256);
        assert_eq!(part(cmd("DEL").arg("a{123456789}b{x}")), 12_739 / 256);
        let script = Script::new("return 1");
        let call = script.call("larder:{123456789}").arg("{x}");
        assert_eq!(part(&call.by_name), 12_739 / 256);
        assert_eq!(part(&call.args), 12_739 / 256);
        assert_eq!(part(&cmd("PING")), 0);
    }
}
