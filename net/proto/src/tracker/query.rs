//! What `GET /v1/policy` asks, as the query of a URL. The rule: what is written here is read back the same, and a
//! query that asks for nothing is told so.

use super::guid::Guid;
use super::message::{MessageError, REPORTED_IPS_MAX, URL_BYTES_MAX};
use larder_content::{ContentId, UrlKey, key};
use std::fmt::Write;
use std::net::IpAddr;

/// Where the policy is asked for.
pub const POLICY_PATH: &str = "/v1/policy";

/// By what a content is known to whoever asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Named {
    /// By its id.
    ContentId(ContentId),
    /// By a URL at which it is to be had.
    Url(String),
}

/// A question about a content.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PolicyQuery {
    /// Which content.
    pub named: Named,
    /// The group of the caller, whose attested contents it wants to know of, too.
    pub group_id: Option<Guid>,
    /// The caller's own addresses, as in a join.
    pub reported_ip: Vec<IpAddr>,
    /// Whether the answer shall bring the hashes of the pieces.
    pub with_phf: bool,
}

impl PolicyQuery {
    /// Asks for all that is known of a content without belonging to a group.
    #[must_use]
    pub const fn new(named: Named) -> Self {
        Self {
            named,
            group_id: None,
            reported_ip: Vec::new(),
            with_phf: true,
        }
    }

    /// Path and query, as they stand in the request.
    #[must_use]
    pub fn target(&self) -> String {
        let mut target = format!("{POLICY_PATH}?");
        match &self.named {
            // Nothing in it needs to be escaped.
            Named::ContentId(id) => target.push_str(&format!("ContentId={id}")),
            Named::Url(url) => {
                target.push_str("Url=");
                escape(url, &mut target);
            }
        }
        if let Some(group) = self.group_id {
            target.push_str(&format!("&GroupId={group}"));
        }
        if !self.reported_ip.is_empty() {
            let addresses: Vec<String> = self.reported_ip.iter().map(ToString::to_string).collect();
            target.push_str("&ReportedIp=");
            escape(&addresses.join(","), &mut target);
        }
        if !self.with_phf {
            target.push_str("&Phf=false");
        }
        target
    }

    /// Reads the query of a request, without its question mark. Fields that are not known are passed over.
    ///
    /// # Errors
    /// What is wrong, by its field.
    pub fn parse(query: &str) -> Result<Self, MessageError> {
        let bad = |field, why: &str| MessageError {
            field,
            why: why.to_owned(),
        };
        let (mut named, mut group_id, mut reported_ip, mut with_phf) =
            (None, None, Vec::new(), true);
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let value = plain(value).ok_or_else(|| bad("query", "is not percent-encoded UTF-8"))?;
            match name {
                "ContentId" => {
                    let id: ContentId = value
                        .parse()
                        .map_err(|_| bad("ContentId", "send DO- and 43 characters of base64url"))?;
                    named = Some(Named::ContentId(id));
                }
                "Url" if value.len() > URL_BYTES_MAX || value.is_empty() => {
                    return Err(bad("Url", "send a URL of at most 2048 bytes"));
                }
                // The id is the sharper question where both stand.
                "Url" => named = named.or(Some(Named::Url(value))),
                "GroupId" => {
                    let group = value.parse();
                    group_id = Some(group.map_err(|_| bad("GroupId", "send a GUID"))?);
                }
                "ReportedIp" => {
                    for address in value.split(',').filter(|text| !text.is_empty()) {
                        let address = address.trim().parse();
                        let why = "send addresses, with commas between them";
                        reported_ip.push(address.map_err(|_| bad("ReportedIp", why))?);
                    }
                    if reported_ip.len() > REPORTED_IPS_MAX {
                        return Err(bad("ReportedIp", "send at most 8 addresses"));
                    }
                }
                "Phf" => with_phf = !matches!(value.as_str(), "false" | "0"),
                _ => {}
            }
        }
        let named = named.ok_or_else(|| bad("query", "send ContentId= or Url="))?;
        Ok(Self {
            named,
            group_id,
            reported_ip,
            with_phf,
        })
    }
}

/// The name of what is at a URL: the same for all URLs that name the same content, as in the store. None where it is
/// no URL of http or https.
#[must_use]
pub fn url_key(url: &str) -> Option<UrlKey> {
    let (https, rest) = match (url.strip_prefix("http://"), url.strip_prefix("https://")) {
        (Some(rest), _) => (false, rest),
        (_, Some(rest)) => (true, rest),
        _ => return None,
    };
    let rest = rest.split('#').next().unwrap_or(rest);
    let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    // A colon inside the brackets of an IPv6 address is no port's.
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port.parse::<u16>().ok()?)),
        _ => (authority, None),
    };
    let port = port.filter(|port| *port != if https { 443 } else { 80 });
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let path = if path.is_empty() { "/" } else { path };
    let query = query.as_slice();
    (!host.is_empty()).then(|| key::identify(https, host, port, path, query, false).key)
}

/// Percent-encodes all but the unreserved characters (RFC 3986, section 2.3).
fn escape(text: &str, into: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            into.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(into, "%{byte:02X}");
        }
    }
}

/// The opposite; None where it is no text.
fn plain(value: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(digit()? << 4 | digit()?).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_question_is_written_as_the_description_says() {
        let mut asked = PolicyQuery::new(Named::Url("http://a.example/x?y=1&z=%2f".to_owned()));
        assert_eq!(
            asked.target(),
            "/v1/policy?Url=http%3A%2F%2Fa.example%2Fx%3Fy%3D1%26z%3D%252f"
        );
        asked.group_id = Some(Guid([0x11; 16]));
        asked.reported_ip = vec!["10.0.0.7".parse().unwrap(), "2001:db8::7".parse().unwrap()];
        asked.with_phf = false;
        let target = asked.target();
        assert!(
            target.ends_with(
                "&GroupId=11111111-1111-1111-1111-111111111111&ReportedIp=10.0.0.7%2C2001%3Adb8%3A%3A7&Phf=false"
            ),
            "{target}"
        );
        let query = target.split_once('?').unwrap().1;
        assert_eq!(PolicyQuery::parse(query), Ok(asked));
    }

    #[test]
    fn urls_of_one_content_have_one_name() {
        let file = "/filestreamingservice/files/1a2b3c4d-1111-2222-3333-1a2b3c4d5e6f";
        let one = url_key(&format!(
            "http://a.dl.delivery.mp.microsoft.com{file}?P1=1&P2=2"
        ));
        let two = url_key(&format!("https://b.dl.delivery.mp.microsoft.com:443{file}"));
        assert!(one.is_some() && one == two);
        let plain = url_key("http://origin.example/x");
        assert_eq!(plain, url_key("http://ORIGIN.example:80/x#part"));
        assert_ne!(plain, url_key("http://origin.example:8080/x"));
        assert_ne!(plain, url_key("http://origin.example/x?y"));
        assert_eq!(url_key("http://[::1]"), url_key("http://[::1]:80/"));
        for no_url in ["", "ftp://a/", "http://", "http://:80/", "http://a:b/"] {
            assert_eq!(url_key(no_url), None, "{no_url}");
        }
    }

    #[test]
    fn what_asks_for_nothing_is_told() {
        for (query, field) in [
            ("", "query"),
            ("Phf=1", "query"),
            ("Url=", "Url"),
            ("Url=%zz", "query"),
            ("Url=%ff", "query"),
            ("ContentId=DO-x", "ContentId"),
            ("Url=x&GroupId=7", "GroupId"),
            ("Url=x&ReportedIp=here", "ReportedIp"),
            (
                "Url=x&ReportedIp=1.1.1.1,1.1.1.1,1.1.1.1,1.1.1.1,1.1.1.1,1.1.1.1,1.1.1.1,1.1.1.1,1.1.1.1",
                "ReportedIp",
            ),
        ] {
            assert_eq!(
                PolicyQuery::parse(query).unwrap_err().field,
                field,
                "{query}"
            );
        }
    }

    proptest! {
        #[test]
        fn every_url_comes_back(url in "[ -~äß€]{1,80}") {
            let asked = PolicyQuery::new(Named::Url(url));
            let target = asked.target();
            prop_assert_eq!(PolicyQuery::parse(target.split_once('?').unwrap().1), Ok(asked));
        }

        #[test]
        fn no_query_panics(query in ".{0,80}") {
            let _ = PolicyQuery::parse(&query);
        }
    }
}
