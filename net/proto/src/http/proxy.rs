//! The proxy between larder and the origins: which requests go through it, what it says, and whether it lets byte
//! ranges through. The rule: what the administrator excepted, and what is on this machine, never goes to the proxy.

use crate::http::rules::{HostKind, split_authority};
use ipnet::IpNet;
use std::net::IpAddr;

/// The port of a proxy whose URL names none, as curl has it.
const PORT: u16 = 1080;

/// Longest head of an answer to CONNECT.
pub const CONNECT_HEAD_BYTES_MAX: usize = 16 << 10;

/// Most fields of such a head.
const CONNECT_FIELDS_MAX: usize = 64;

/// A proxy, and what does not go through it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProxyRules {
    host: String,
    port: u16,
    direct: Vec<Direct>,
}

/// What goes past the proxy.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Direct {
    Everything,
    Name {
        /// In lower case, without dot in front.
        name: String,
        /// The name itself counts, not only what is below it.
        itself: bool,
        port: Option<u16>,
    },
    Net(IpNet),
}

impl ProxyRules {
    /// Reads the URL of a proxy: `http://host:port`.
    ///
    /// # Errors
    /// What is wrong with it and what to write.
    pub fn of_url(url: &str) -> Result<Self, &'static str> {
        let form =
            "is no proxy; write scheme, host and port, as in \"http://proxy.example.org:3128\"";
        let rest = match url.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("https") => {
                return Err(
                    "asks for TLS to the proxy itself, which larder does not speak; write http://",
                );
            }
            _ => return Err(form),
        };
        if rest.contains('@') {
            return Err(
                "holds a user name; write user:password into a file and name it by proxy_credentials_file",
            );
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = split_authority(rest).map_err(|_| form)?;
        if HostKind::of(host).is_err() {
            return Err(form);
        }
        Ok(Self {
            host: host.to_ascii_lowercase(),
            port: port.unwrap_or(PORT),
            direct: Vec::new(),
        })
    }

    /// Adds an exception, as in NO_PROXY: `host` (and all below it), `.suffix` or `*.suffix` (all below it), an
    /// address, a network (`10.0.0.0/8`), or `*`. A name may carry a port.
    ///
    /// # Errors
    /// What is wrong with it and what to write.
    pub fn except(&mut self, text: &str) -> Result<(), &'static str> {
        let form =
            "is no host, suffix or network; write as in \"wsus.corp\", \".corp\" or \"10.0.0.0/8\"";
        let direct = if text == "*" {
            Direct::Everything
        } else if let Ok(net) = text.parse::<IpNet>() {
            Direct::Net(net)
        } else if let Ok(ip) = bare(text).parse::<IpAddr>() {
            Direct::Net(IpNet::from(ip))
        } else {
            let below = text.strip_prefix('*').unwrap_or(text).strip_prefix('.');
            let (name, port) = split_authority(below.unwrap_or(text)).map_err(|_| form)?;
            if HostKind::of(name) != Ok(HostKind::Name) {
                return Err(form);
            }
            Direct::Name {
                name: name.to_ascii_lowercase(),
                itself: below.is_none(),
                port,
            }
        };
        self.direct.push(direct);
        Ok(())
    }

    /// The proxy as `host:port`.
    #[must_use]
    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Whether an origin is asked through the proxy.
    #[must_use]
    pub fn serves(&self, host: &str, port: u16) -> bool {
        // A proxy would take them for itself.
        let ip = bare(host).parse::<IpAddr>().ok();
        if host.eq_ignore_ascii_case("localhost") || ip.is_some_and(|ip| ip.is_loopback()) {
            return false;
        }
        !self.direct.iter().any(|direct| match direct {
            Direct::Everything => true,
            Direct::Net(net) => ip.is_some_and(|ip| net.contains(&ip)),
            Direct::Name {
                name,
                itself,
                port: only,
            } => {
                only.is_none_or(|only| only == port)
                    && ((*itself && host.eq_ignore_ascii_case(name)) || is_below(host, name))
            }
        })
    }
}

fn is_below(host: &str, domain: &str) -> bool {
    let front = host.len().checked_sub(domain.len());
    front.is_some_and(|front| {
        front > 1
            && host.as_bytes()[front - 1] == b'.'
            && host.as_bytes()[front..].eq_ignore_ascii_case(domain.as_bytes())
    })
}

fn bare(host: &str) -> &str {
    host.strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host)
}

/// The value of `Proxy-Authorization` for `user:password` (RFC 7617, section 2).
#[must_use]
pub fn basic(credentials: &[u8]) -> String {
    format!("Basic {}", larder_content::base64::encode(credentials))
}

/// Whether a `Proxy-Authenticate` field offers the Basic scheme.
#[must_use]
pub fn offers_basic(challenge: &[u8]) -> bool {
    challenge.split(|b| *b == b',').any(|one| {
        let mut words = one.trim_ascii().split(u8::is_ascii_whitespace);
        words
            .next()
            .is_some_and(|word| word.eq_ignore_ascii_case(b"basic"))
    })
}

/// What came of a CONNECT so far.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ConnectAnswer {
    /// Not all of the head.
    Incomplete,
    /// No head of HTTP/1, or a longer one than is read, or bytes behind it that nobody may have sent yet.
    Bad(&'static str),
    /// The tunnel is open.
    Open,
    /// It is not.
    Refused {
        /// The status.
        status: u16,
        /// Whether it asks for a user name by the Basic scheme.
        basic: bool,
    },
}

/// Reads the head of an answer to CONNECT (RFC 9110, section 9.3.6).
#[must_use]
pub fn read_connect(bytes: &[u8]) -> ConnectAnswer {
    let mut fields = [httparse::EMPTY_HEADER; CONNECT_FIELDS_MAX];
    let mut answer = httparse::Response::new(&mut fields);
    match answer.parse(bytes) {
        Ok(httparse::Status::Partial) if bytes.len() > CONNECT_HEAD_BYTES_MAX => {
            ConnectAnswer::Bad("its answer to CONNECT is longer than 16 KiB")
        }
        Ok(httparse::Status::Partial) => ConnectAnswer::Incomplete,
        Err(_) => ConnectAnswer::Bad("its answer to CONNECT is no HTTP"),
        Ok(httparse::Status::Complete(consumed)) => match answer.code.unwrap_or(0) {
            // In TLS the client speaks first: what comes before that is not the origin's.
            200..=299 if consumed < bytes.len() => {
                ConnectAnswer::Bad("it sent something ahead of the origin's TLS")
            }
            200..=299 => ConnectAnswer::Open,
            status => ConnectAnswer::Refused {
                status,
                basic: answer.headers.iter().any(|field| {
                    field.name.eq_ignore_ascii_case("proxy-authenticate")
                        && offers_basic(field.value)
                }),
            },
        },
    }
}

/// What an answer that came by the proxy says of its way with ranges.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RangeEvidence {
    /// A range was answered as one.
    Kept,
    /// The origin serves ranges, and yet the whole came: somebody between took the `Range` away.
    Dropped,
    /// Neither.
    None,
}

/// A ranged question by the proxy and its answer.
#[derive(Clone, Copy, Default, Debug)]
pub struct Ranged<'h> {
    /// The `Range` that was sent: `bytes=a-b`.
    pub range: &'h [u8],
    /// `If-Range` or another condition was sent, which the origin may answer with the whole.
    pub conditional: bool,
    /// The answer's status.
    pub status: u16,
    /// The answer's `Accept-Ranges`.
    pub accept_ranges: Option<&'h [u8]>,
    /// The answer's `Content-Length`.
    pub length: Option<u64>,
}

impl Ranged<'_> {
    /// What it proves. An origin may answer a range with the whole; one that says `Accept-Ranges: bytes` in that very
    /// answer did not see the range (RFC 9110, section 14.3).
    #[must_use]
    pub fn evidence(&self) -> RangeEvidence {
        let accepts = self
            .accept_ranges
            .is_some_and(|units| units.trim_ascii().eq_ignore_ascii_case(b"bytes"));
        match self.status {
            206 => RangeEvidence::Kept,
            200 if accepts && !self.conditional && self.leaves_out() => RangeEvidence::Dropped,
            _ => RangeEvidence::None,
        }
    }

    /// Whether less than the whole was asked for: servers may answer a range that holds everything with 200.
    fn leaves_out(&self) -> bool {
        let Some(length) = self.length else {
            return false;
        };
        let range = std::str::from_utf8(self.range).ok();
        let ends = range.and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
        let Some((Ok(first), last)) = ends.map(|(a, b)| (a.parse::<u64>(), b.parse::<u64>()))
        else {
            return false;
        };
        first > 0 || last.is_ok_and(|last| last.saturating_add(1) < length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(except: &[&str]) -> ProxyRules {
        let mut rules = ProxyRules::of_url("http://proxy.corp:3128").expect("a proxy");
        for text in except {
            rules.except(text).expect(text);
        }
        rules
    }

    #[test]
    fn urls_of_proxies() {
        for (url, authority) in [
            ("http://Proxy.corp:3128", "proxy.corp:3128"),
            ("HTTP://10.0.0.1:8080/", "10.0.0.1:8080"),
            ("http://[2001:db8::1]:3128", "[2001:db8::1]:3128"),
            ("http://proxy", "proxy:1080"),
        ] {
            let rules = ProxyRules::of_url(url).expect(url);
            assert_eq!(rules.authority(), authority);
        }
        for (url, word) in [
            ("proxy.corp:3128", "write scheme"),
            ("https://proxy.corp:3128", "write http://"),
            ("socks5://proxy.corp:1080", "write scheme"),
            ("http://u:p@proxy.corp:3128", "proxy_credentials_file"),
            ("http://proxy.corp:3128/x", "write scheme"),
            ("http://proxy.corp:0", "write scheme"),
            ("http://", "write scheme"),
            ("http://0x7f.1:3128", "write scheme"),
        ] {
            let why = ProxyRules::of_url(url).expect_err(url);
            assert!(why.contains(word), "{url}: {why}");
        }
    }

    #[test]
    fn exceptions_are_those_of_no_proxy() {
        let proxy = rules(&[
            "wsus.corp",
            ".inside.example",
            "*.star.example",
            "port.example:8530",
            "10.0.0.0/8",
            "192.0.2.7",
            "[2001:db8::1]",
            "fd00::/8",
        ]);
        for (host, port, served) in [
            ("wsus.corp", 80, false),
            ("WSUS.corp", 8530, false),
            ("a.wsus.corp", 80, false),
            ("notwsus.corp", 80, true),
            ("corp", 80, true),
            ("a.inside.example", 80, false),
            ("inside.example", 80, true),
            ("xinside.example", 80, true),
            ("a.star.example", 80, false),
            ("star.example", 80, true),
            ("port.example", 8530, false),
            ("port.example", 80, true),
            ("10.9.8.7", 80, false),
            ("11.0.0.0", 80, true),
            ("192.0.2.7", 80, false),
            ("192.0.2.8", 80, true),
            ("[2001:db8::1]", 80, false),
            ("[2001:db8::2]", 80, true),
            ("[fd00::9]", 80, false),
            ("download.windowsupdate.com", 80, true),
            ("localhost", 80, false),
            ("127.0.0.1", 80, false),
            ("[::1]", 80, false),
        ] {
            assert_eq!(proxy.serves(host, port), served, "{host}:{port}");
        }
        assert!(!rules(&["*"]).serves("a.example", 80));
        for text in [
            "",
            ".",
            "http://x",
            "a b",
            "10.0.0.0/33",
            "0x7f.1",
            "a.example:x",
        ] {
            assert!(rules(&[]).except(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn logins_are_written_as_the_scheme_says() {
        // The example of RFC 7617, section 2, and all three lengths of the last group.
        assert_eq!(
            basic(b"Aladdin:open sesame"),
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
        );
        assert_eq!(basic(b"a:b"), "Basic YTpi");
        assert_eq!(basic(b"a:bc"), "Basic YTpiYw==");
        assert_eq!(basic(b"a:bcd"), "Basic YTpiY2Q=");
        assert!(offers_basic(b"Basic realm=\"x\""));
        assert!(offers_basic(b"Negotiate, basic realm=\"x\""));
        assert!(!offers_basic(b"NTLM"));
        assert!(!offers_basic(b"Digest realm=\"basic\""));
    }

    #[test]
    fn answers_to_connect() {
        use ConnectAnswer::{Bad, Incomplete, Open, Refused};
        assert_eq!(read_connect(b""), Incomplete);
        assert_eq!(
            read_connect(b"HTTP/1.1 200 Connection established\r\n"),
            Incomplete
        );
        assert_eq!(
            read_connect(b"HTTP/1.1 200 Connection established\r\n\r\n"),
            Open
        );
        assert_eq!(read_connect(b"HTTP/1.0 200 OK\r\nX: y\r\n\r\n"), Open);
        assert!(matches!(
            read_connect(b"HTTP/1.1 200 OK\r\n\r\n\x16"),
            Bad(_)
        ));
        assert!(matches!(read_connect(b"\x15\x03\x01\x00"), Bad(_)));
        let login = b"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=\"x\"\r\n\r\nbody";
        assert_eq!(
            read_connect(login),
            Refused {
                status: 407,
                basic: true
            }
        );
        let denied = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno";
        assert_eq!(
            read_connect(denied),
            Refused {
                status: 403,
                basic: false
            }
        );
        let endless = [b"HTTP/1.1 200 OK\r\nX: ".to_vec(), vec![b'y'; 17 << 10]].concat();
        assert!(matches!(read_connect(&endless), Bad(_)));
    }

    #[test]
    fn only_a_whole_answer_of_an_origin_with_ranges_is_proof() {
        let asked = Ranged {
            range: b"bytes=0-99",
            status: 200,
            accept_ranges: Some(b"bytes"),
            length: Some(1000),
            ..Ranged::default()
        };
        assert_eq!(asked.evidence(), RangeEvidence::Dropped);
        for (what, answer) in [
            (
                "the range holds everything",
                Ranged {
                    length: Some(100),
                    ..asked
                },
            ),
            (
                "so does an open one",
                Ranged {
                    range: b"bytes=0-",
                    ..asked
                },
            ),
            (
                "the origin has no ranges",
                Ranged {
                    accept_ranges: Some(b"none"),
                    ..asked
                },
            ),
            (
                "or does not say",
                Ranged {
                    accept_ranges: None,
                    ..asked
                },
            ),
            (
                "a condition failed",
                Ranged {
                    conditional: true,
                    ..asked
                },
            ),
            (
                "no length",
                Ranged {
                    length: None,
                    ..asked
                },
            ),
            (
                "an error",
                Ranged {
                    status: 404,
                    ..asked
                },
            ),
        ] {
            assert_eq!(answer.evidence(), RangeEvidence::None, "{what}");
        }
        let later = Ranged {
            range: b"bytes=5-",
            ..asked
        };
        assert_eq!(later.evidence(), RangeEvidence::Dropped);
        let kept = Ranged {
            status: 206,
            ..asked
        };
        assert_eq!(kept.evidence(), RangeEvidence::Kept);
    }
}
