//! What is known of the upstream proxy: the login for it, whether it takes that, whether it lets ranges through. The
//! rule: a password is read from its file, sent to the proxy alone, and never logged; one that was refused is not sent
//! again and again, which locks accounts.

use super::error::OriginError;
use crate::settings::Proxy;
use ::http::HeaderMap;
use ::http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, HeaderName, HeaderValue, IF_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE, PROXY_AUTHENTICATE, RANGE,
};
use larder_proto::http::proxy::{
    ConnectAnswer, RangeEvidence, Ranged, basic, offers_basic, read_connect,
};
use larder_proto::http::route::Authority;
use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};
use parking_lot::{Mutex, MutexGuard};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long a login that was refused is not tried again, unless its file changes. Directory services lock accounts
/// after a handful of wrong passwords within some minutes.
const REFUSED_FOR: Duration = Duration::from_secs(60);

/// Conditions that an origin may answer with the whole object instead of a range.
const CONDITIONS: [HeaderName; 3] = [IF_RANGE, IF_MATCH, IF_UNMODIFIED_SINCE];

/// The longest credentials file that can be meant.
const FILE_BYTES_MAX: u64 = 4096;

/// How often the same change is told of. A proxy may treat one origin well and the next one badly, many times a second.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// What is known of the proxy.
pub(super) struct Knowledge {
    login: Mutex<Option<Login>>,
    seen: Mutex<Seen>,
    drops: [Gauge; 2],
    failures: Counter,
}

/// What was seen of one proxy, for http and https origins apart: to these it only opens tunnels.
#[derive(Default)]
struct Seen {
    /// Its `host:port`; another one begins anew.
    whose: String,
    /// Whether it takes ranges out of requests; None until that was seen.
    drops: [Option<bool>; 2],
    /// What is wrong with it; empty while all is well.
    trouble: [String; 2],
    told: [Told; 2],
}

/// When what was last told.
#[derive(Clone, Copy, Default)]
struct Told {
    ranges: Option<Instant>,
    trouble: Option<Instant>,
    tunnel: Option<Instant>,
}

/// Whether it is time to tell of something again.
fn due(last: &mut Option<Instant>, now: Instant) -> bool {
    let is_due = last.is_none_or(|at| now.saturating_duration_since(at) >= TOLD_EVERY);
    if is_due {
        *last = Some(now);
    }
    is_due
}

struct Login {
    file: PathBuf,
    modified: Option<SystemTime>,
    header: HeaderValue,
    refused: Option<Instant>,
}

impl Default for Knowledge {
    fn default() -> Self {
        describe_gauge!(
            "larder_proxy_drops_ranges",
            "1 where the upstream proxy takes byte ranges out of requests, by the origin's scheme."
        );
        describe_counter!(
            "larder_proxy_failures_total",
            "Requests that failed at the upstream proxy."
        );
        Self {
            login: Mutex::default(),
            seen: Mutex::default(),
            drops: ["http", "https"]
                .map(|scheme| gauge!("larder_proxy_drops_ranges", "scheme" => scheme)),
            failures: counter!("larder_proxy_failures_total"),
        }
    }
}

impl Knowledge {
    /// The login to send, where a file holds one.
    ///
    /// # Errors
    /// In words: the file can not be used, or what it holds was refused a moment ago.
    pub(super) fn login(&self, proxy: &Proxy, now: Instant) -> Result<Option<HeaderValue>, String> {
        let Some(file) = &proxy.credentials_file else {
            return Ok(None);
        };
        let modified = fs::metadata(file).and_then(|m| m.modified()).ok();
        let mut login = self.login.lock();
        let known = login
            .as_ref()
            .filter(|l| l.file == *file && l.modified == modified && modified.is_some());
        let Some(known) = known else {
            let header = read_login(file)?;
            *login = Some(Login {
                file: file.clone(),
                modified,
                header: header.clone(),
                refused: None,
            });
            return Ok(Some(header));
        };
        match known.refused {
            Some(at) if now.saturating_duration_since(at) < REFUSED_FOR => Err(format!(
                "it refused the user name and password of {} a moment ago; correct them there",
                file.display()
            )),
            _ => Ok(Some(known.header.clone())),
        }
    }

    /// The proxy asked for a login: 407. Says what to do.
    fn refused(&self, proxy: &Proxy, basic: bool, now: Instant) -> String {
        if !basic {
            return "it asks for a login by another scheme than Basic, which is all that larder knows; \
                    let it accept Basic, or this machine without a login"
                .to_owned();
        }
        match &proxy.credentials_file {
            None => "it asks for a user name and password; write user:password into a file and name it by \
                     [origins] proxy_credentials_file"
                .to_owned(),
            Some(file) => {
                if let Some(login) = self.login.lock().as_mut().filter(|l| l.file == *file) {
                    login.refused = Some(now);
                }
                format!(
                    "it refused the user name and password of {}; correct them there (user:password in one line)",
                    file.display()
                )
            }
        }
    }

    /// The error of a 407 to a request for `origin`.
    pub(super) fn asks_for_login(
        &self,
        proxy: &Proxy,
        origin: &Authority,
        basic: bool,
    ) -> OriginError {
        OriginError::ProxyLogin {
            proxy: proxy.rules.authority(),
            origin: origin.to_string(),
            cause: self.refused(proxy, basic, Instant::now()),
        }
    }

    /// What was seen of this proxy.
    fn of(&self, proxy: &Proxy) -> MutexGuard<'_, Seen> {
        let mut seen = self.seen.lock();
        let whose = proxy.rules.authority();
        if seen.whose != whose {
            *seen = Seen {
                whose,
                ..Seen::default()
            };
            self.drops.iter().for_each(|gauge| gauge.set(0.0));
        }
        seen
    }

    /// Counts how a request by the proxy went, and says so in the log where that changes.
    pub(super) fn went(
        &self,
        proxy: &Proxy,
        https: bool,
        error: Option<&OriginError>,
        now: Instant,
    ) {
        let mut seen = self.of(proxy);
        let kind = usize::from(https);
        match error {
            None if seen.trouble[kind].is_empty() => {}
            None => {
                tracing::info!(
                    "the proxy {} works again for {} origins",
                    seen.whose,
                    scheme(https)
                );
                seen.trouble[kind].clear();
                seen.told[kind].trouble = None;
            }
            // As often the origin's trouble as the proxy's.
            Some(OriginError::ProxyTunnel { .. }) => {
                self.failures.increment(1);
                if due(&mut seen.told[kind].tunnel, now)
                    && let Some(error) = error
                {
                    tracing::warn!("{error}");
                }
            }
            Some(error) => {
                let Some(trouble) = error.of_proxy() else {
                    return;
                };
                self.failures.increment(1);
                if seen.trouble[kind] != trouble && due(&mut seen.told[kind].trouble, now) {
                    tracing::warn!("{error}");
                }
                seen.trouble[kind] = trouble;
            }
        }
    }

    /// Takes note of what an answer that came by the proxy says of ranges.
    pub(super) fn answered(
        &self,
        proxy: &Proxy,
        https: bool,
        asked: &HeaderMap,
        status: u16,
        answer: &HeaderMap,
    ) {
        let Some(range) = asked.get(RANGE) else {
            return;
        };
        let length = answer.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok());
        let ranged = Ranged {
            range: range.as_bytes(),
            conditional: CONDITIONS.iter().any(|name| asked.contains_key(name)),
            status,
            accept_ranges: answer.get(ACCEPT_RANGES).map(HeaderValue::as_bytes),
            length: length.and_then(|text| text.trim().parse().ok()),
        };
        let drops = match ranged.evidence() {
            RangeEvidence::None => return,
            RangeEvidence::Kept => false,
            RangeEvidence::Dropped => true,
        };
        let mut seen = self.of(proxy);
        let kind = usize::from(https);
        let before = seen.drops[kind].replace(drops);
        if before == Some(drops) {
            return;
        }
        self.drops[kind].set(f64::from(u8::from(drops)));
        if drops && due(&mut seen.told[kind].ranges, Instant::now()) {
            tracing::warn!("{}", drops_words(&seen.whose, scheme(https)));
        }
    }

    /// What is wrong with the proxy, in words.
    pub(super) fn notes(&self, proxy: &Proxy) -> Vec<String> {
        let seen = self.of(proxy);
        let dropped = [false, true]
            .into_iter()
            .filter(|https| seen.drops[usize::from(*https)] == Some(true));
        let mut notes: Vec<String> = dropped
            .map(|https| drops_words(&seen.whose, scheme(https)))
            .collect();
        let troubles = seen.trouble.iter().filter(|trouble| !trouble.is_empty());
        notes.extend(troubles.cloned());
        notes.dedup();
        notes
    }
}

fn scheme(https: bool) -> &'static str {
    if https { "https" } else { "http" }
}

fn drops_words(proxy: &str, scheme: &str) -> String {
    format!(
        "the proxy {proxy} takes byte ranges out of requests to {scheme} origins, so that whole objects cross the \
         line for a piece of them; let Range through for larder (in Squid: no `request_header_access Range deny`)"
    )
}

/// Reads `user:password` from the first line of a file.
fn read_login(file: &Path) -> Result<HeaderValue, String> {
    let wrong = |what: &str| {
        format!(
            "[origins] proxy_credentials_file {}: {what}",
            file.display()
        )
    };
    let length = fs::metadata(file).map(|m| m.len());
    if length.is_ok_and(|length| length > FILE_BYTES_MAX) {
        return Err(wrong("is too long; write user:password in one line"));
    }
    let text = fs::read(file).map_err(|e| wrong(&format!("can not be read: {e}")))?;
    let line = text.split(|b| *b == b'\n').next().unwrap_or(&[]);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let user = line.iter().position(|b| *b == b':');
    if user.is_none_or(|at| at == 0) || line.iter().any(u8::is_ascii_control) {
        return Err(wrong("holds no user:password in its first line"));
    }
    let header = HeaderValue::try_from(basic(line));
    let mut header = header.map_err(|e| wrong(&e.to_string()))?;
    header.set_sensitive(true);
    Ok(header)
}

/// Whether an answer's fields offer a login by Basic.
pub(super) fn basic_offered(answer: &HeaderMap) -> bool {
    let all = answer.get_all(PROXY_AUTHENTICATE);
    all.into_iter().any(|v| offers_basic(v.as_bytes()))
}

/// Opens a tunnel to an https origin on a connection to the proxy (RFC 9110, section 9.3.6).
pub(super) async fn tunnel(
    tcp: &mut TcpStream,
    knowledge: &Knowledge,
    proxy: &Proxy,
    origin: &Authority,
) -> Result<(), OriginError> {
    let wrong = |cause: String| OriginError::by_proxy(proxy, origin, cause);
    let to = format!("{}:{}", origin.host, origin.port);
    let mut head = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n").into_bytes();
    head.extend_from_slice(b"User-Agent: ");
    head.extend_from_slice(super::AGENT.as_bytes());
    if let Some(login) = knowledge.login(proxy, Instant::now()).map_err(wrong)? {
        head.extend_from_slice(b"\r\nProxy-Authorization: ");
        head.extend_from_slice(login.as_bytes());
    }
    head.extend_from_slice(b"\r\n\r\n");
    let broke = |e: std::io::Error| wrong(format!("it broke the connection: {e}"));
    tcp.write_all(&head).await.map_err(broke)?;
    let mut said = Vec::new();
    loop {
        match read_connect(&said) {
            ConnectAnswer::Open => return Ok(()),
            ConnectAnswer::Bad(why) => return Err(wrong(why.to_owned())),
            ConnectAnswer::Refused { status: 407, basic } => {
                return Err(knowledge.asks_for_login(proxy, origin, basic));
            }
            ConnectAnswer::Refused { status, .. } => {
                return Err(OriginError::ProxyTunnel {
                    proxy: proxy.rules.authority(),
                    origin: to,
                    status,
                });
            }
            ConnectAnswer::Incomplete => {}
        }
        if tcp.read_buf(&mut said).await.map_err(broke)? == 0 {
            return Err(wrong(
                "it closed the connection without an answer".to_owned(),
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use larder_proto::http::proxy::ProxyRules;

    fn proxy(file: Option<PathBuf>) -> Proxy {
        Proxy {
            rules: ProxyRules::of_url("http://proxy.corp:3128").expect("a proxy"),
            credentials_file: file,
        }
    }

    #[test]
    fn a_refused_login_waits_for_its_file_to_change_or_a_minute() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("login");
        let proxy = proxy(Some(file.clone()));
        let knowledge = Knowledge::default();
        let now = Instant::now();
        let error = knowledge.login(&proxy, now).expect_err("no file");
        assert!(
            error.contains("proxy_credentials_file") && error.contains("can not be read"),
            "{error}"
        );
        fs::write(&file, "no colon\n").expect("written");
        let error = knowledge.login(&proxy, now).expect_err("no login in it");
        assert!(error.contains("user:password"), "{error}");

        fs::write(&file, "user:wrong\r\nmore\n").expect("written");
        let sent = knowledge.login(&proxy, now).expect("a login").expect("one");
        assert_eq!(sent.as_bytes(), basic(b"user:wrong").as_bytes());
        assert!(
            !format!("{sent:?}").contains("dXNl"),
            "it is not to be printed: {sent:?}"
        );
        let origin = Authority {
            https: false,
            host: "a.example".to_owned(),
            port: 80,
        };
        let words = knowledge.asks_for_login(&proxy, &origin, true).to_string();
        let now = Instant::now();
        assert!(words.contains("correct them there"), "{words}");
        assert!(
            knowledge.login(&proxy, now).is_err(),
            "it is not sent again"
        );
        let later = Instant::now() + REFUSED_FOR;
        assert!(knowledge.login(&proxy, later).is_ok(), "but for a minute");

        let _ = knowledge.asks_for_login(&proxy, &origin, true);
        assert!(knowledge.login(&proxy, now).is_err());
        fs::write(&file, "user:right\n").expect("written");
        let later = SystemTime::now() + Duration::from_secs(5);
        let opened = fs::File::options().write(true).open(&file).expect("opened");
        opened.set_modified(later).expect("dated");
        let sent = knowledge.login(&proxy, now).expect("a login").expect("one");
        assert_eq!(sent.as_bytes(), basic(b"user:right").as_bytes());
    }

    #[test]
    fn a_proxy_that_is_good_to_one_and_bad_to_another_does_not_fill_the_log() {
        let now = Instant::now();
        let mut last = None;
        assert!(due(&mut last, now) && !due(&mut last, now + TOLD_EVERY / 2));
        assert!(due(&mut last, now + TOLD_EVERY));

        let (knowledge, one) = (Knowledge::default(), proxy(None));
        let error = OriginError::Proxy {
            proxy: one.rules.authority(),
            origin: "a.example".to_owned(),
            cause: "it can not be reached".to_owned(),
        };
        knowledge.went(&one, false, Some(&error), now);
        knowledge.went(&one, true, None, now);
        assert_eq!(knowledge.notes(&one).len(), 1, "https says nothing of http");
        // What was seen of one proxy says nothing of the next.
        let other = Proxy {
            rules: ProxyRules::of_url("http://other.corp:3128").expect("a proxy"),
            credentials_file: None,
        };
        assert_eq!(knowledge.notes(&other), [""; 0]);
        // An origin that can not be reached is no trouble of the proxy's.
        let tunnel = OriginError::ProxyTunnel {
            proxy: one.rules.authority(),
            origin: "a.example:443".to_owned(),
            status: 503,
        };
        knowledge.went(&one, true, Some(&tunnel), now);
        assert_eq!(knowledge.notes(&one), [""; 0]);
    }

    #[test]
    fn a_login_that_can_not_be_given_says_why() {
        let knowledge = Knowledge::default();
        assert!(
            knowledge
                .refused(&proxy(None), true, Instant::now())
                .contains("[origins] proxy_credentials_file")
        );
        assert!(
            knowledge
                .refused(&proxy(None), false, Instant::now())
                .contains("Basic")
        );
    }
}
