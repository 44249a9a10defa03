//! How a command speaks with a running appliance. The rule: what the appliance answers in words reaches the person who
//! asked, and where nobody answers the words say whom we asked and what to try.

use crate::admin::token_file_in;
use crate::config;
use anyhow::{Context, anyhow, bail};
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The configuration of an installed appliance.
const INSTALLED: &str = "/etc/larder/larder.toml";
/// How long an appliance may take to answer; a verify of a full disk reads for a while.
const ANSWER_WITHIN: Duration = Duration::from_secs(3600);
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// Somebody takes connections, and says nothing on them.
#[derive(Debug, thiserror::Error)]
#[error("http://{authority} takes connections and does not answer within {} s", .limit.as_secs())]
pub(super) struct Silent {
    authority: String,
    limit: Duration,
}

/// Which appliance, and how to prove that one may change it.
#[derive(clap::Args, Debug, Clone, Default)]
pub(super) struct Whom {
    /// The configuration of the appliance, for its admin address and token; without --config and --admin it is
    /// /etc/larder/larder.toml where that exists, else the defaults of `larder serve`.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The admin address of the appliance: http://host:port
    #[arg(long, value_name = "URL", conflicts_with = "config")]
    admin: Option<String>,
    /// A file that holds the token, for what changes something; by default admin.token in the store of the
    /// configuration.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// What an appliance answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) text: String,
}

impl Answer {
    /// The answer as JSON, or its words as the error.
    pub(super) fn json(&self) -> anyhow::Result<serde_json::Value> {
        let value: Option<serde_json::Value> = serde_json::from_str(&self.text).ok();
        if self.status.is_success() {
            return value.context("the appliance answered something other than JSON");
        }
        let words = value.as_ref().and_then(|v| v.get("error")?.as_str());
        let words = words.unwrap_or(self.text.trim());
        let words = words.strip_prefix("larder: ").unwrap_or(words);
        if words.is_empty() {
            bail!("the appliance answered {}", self.status);
        }
        bail!("{words}")
    }
}

impl Whom {
    /// Asks an appliance. `target` is path and query; what changes something carries the token.
    pub(super) fn ask(&self, method: Method, target: &str) -> anyhow::Result<Answer> {
        self.ask_within(method, target, ANSWER_WITHIN)
    }

    /// The same, for who has less patience; where it is at an end, the error is a [`Silent`] one.
    pub(super) fn ask_within(
        &self,
        method: Method,
        target: &str,
        limit: Duration,
    ) -> anyhow::Result<Answer> {
        let (authority, store) = self.find()?;
        let token = match (&self.token_file, store) {
            (Some(file), _) => Some(read_token(file)?),
            // To read, no token may be needed; where it is, the appliance says so.
            (None, Some(store)) if method == Method::GET => read_token(&token_file_in(&store)).ok(),
            (None, Some(store)) => Some(read_token(&token_file_in(&store))?),
            (None, None) => None,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start a runtime")?;
        let asked = exchange_within(&authority, method, target, token.as_deref(), limit);
        runtime.block_on(asked)
    }

    /// The file that holds the token, where one is named or a configuration tells of the store.
    pub(super) fn token_file(&self) -> Option<PathBuf> {
        let of_store = || Some(token_file_in(&self.find().ok()?.1?));
        self.token_file.clone().or_else(of_store)
    }

    /// The configuration that tells of the appliance, if one does.
    pub(super) fn file(&self) -> Option<PathBuf> {
        if self.is_remote() {
            return None;
        }
        let installed = || Some(PathBuf::from(INSTALLED)).filter(|file| file.exists());
        self.config.clone().or_else(installed)
    }

    /// Whether the appliance is named by its admin address, so that it may be on another machine.
    pub(super) fn is_remote(&self) -> bool {
        self.admin.is_some()
    }

    /// The admin address as host:port, and the first directory of the store where a configuration tells it.
    pub(super) fn find(&self) -> anyhow::Result<(String, Option<PathBuf>)> {
        if let Some(url) = &self.admin {
            let authority = authority_of(url).context("--admin")?;
            return Ok((authority, None));
        }
        let checked = config::load(self.file().as_deref())?;
        let store = checked.store_paths.first().cloned();
        Ok((reachable(checked.admin).to_string(), store))
    }
}

/// Host and port of an admin or metrics address.
pub(super) fn authority_of(url: &str) -> anyhow::Result<String> {
    let rest = url.strip_prefix("http://").ok_or_else(|| {
        anyhow!("{url:?} is no admin or metrics address; write it as http://host:port")
    })?;
    let authority = rest.split('/').next().unwrap_or(rest);
    let port = authority.rsplit_once(':').map(|(_, port)| port);
    Ok(match port {
        Some(port) if !port.contains(']') => authority.to_owned(),
        _ => format!("{authority}:80"),
    })
}

/// What listens on every address is asked on loopback.
pub(super) fn reachable(admin: SocketAddr) -> SocketAddr {
    let ip = match admin.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, admin.port())
}

pub(super) fn read_token(file: &Path) -> anyhow::Result<String> {
    let text = fs::read_to_string(file).with_context(|| {
        format!(
            "cannot read the token in {}; run this as the user that larder runs as, or name a file by --token-file",
            file.display()
        )
    })?;
    Ok(text.trim().to_owned())
}

/// Makes one request; whoever has less patience ends it.
pub(super) async fn exchange(
    authority: &str,
    method: Method,
    target: &str,
    token: Option<&str>,
) -> anyhow::Result<Answer> {
    exchange_within(authority, method, target, token, ANSWER_WITHIN).await
}

/// The same, where an answer may take that long.
async fn exchange_within(
    authority: &str,
    method: Method,
    target: &str,
    token: Option<&str>,
    limit: Duration,
) -> anyhow::Result<Answer> {
    let connect = tokio::net::TcpStream::connect(authority);
    let stream = match tokio::time::timeout(CONNECT_WITHIN, connect).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => bail!(
            "no appliance answers at http://{authority} ({error}); is it running? Name it by --config FILE or --admin URL"
        ),
        Err(_) => bail!(
            "http://{authority} can not be reached; name the appliance by --config FILE or --admin URL"
        ),
    };
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // It ends with the connection; what goes wrong shows in the answer.
    tokio::spawn(async move { drop(connection.await) });
    let mut request = Request::builder()
        .method(method)
        .uri(target)
        .header(HOST, authority);
    if let Some(token) = token {
        request = request.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    let request = request.body(Empty::<Bytes>::new())?;
    let answered = tokio::time::timeout(limit, async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        Ok::<_, hyper::Error>((status, body))
    });
    let silent = Silent {
        authority: authority.to_owned(),
        limit,
    };
    let (status, body) = answered
        .await
        .map_err(|_| silent)?
        .with_context(|| format!("http://{authority} broke off; it may be stopping"))?;
    Ok(Answer {
        status,
        text: String::from_utf8_lossy(&body).into_owned(),
    })
}

/// A text as a value in a query.
pub(super) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_appliance_on_every_address_is_asked_on_loopback() {
        let asked = |text: &str| reachable(text.parse().expect("an address")).to_string();
        assert_eq!(asked("0.0.0.0:9180"), "127.0.0.1:9180");
        assert_eq!(asked("[::]:9180"), "[::1]:9180");
        assert_eq!(asked("10.0.0.1:9180"), "10.0.0.1:9180");
    }

    #[test]
    fn an_admin_url_is_host_and_port() {
        let whom = |url: &str| Whom {
            admin: Some(url.to_owned()),
            ..Whom::default()
        };
        for (url, authority) in [
            ("http://larder:9180/", "larder:9180"),
            ("http://larder", "larder:80"),
            ("http://[::1]:9180", "[::1]:9180"),
            ("http://[::1]", "[::1]:80"),
        ] {
            assert_eq!(whom(url).find().expect("found").0, authority, "{url}");
        }
        let error = format!("{:#}", whom("larder:9180").find().expect_err("no URL"));
        assert!(error.contains("write it as http://host:port"), "{error}");
    }

    #[test]
    fn a_query_value_holds_nothing_that_means_something() {
        assert_eq!(
            encoded("http://a/x?y=1&z ä"),
            "http%3A%2F%2Fa%2Fx%3Fy%3D1%26z%20%C3%A4"
        );
    }
}
