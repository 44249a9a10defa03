//! Whether a caller's port is open to others: asked of the coordinator, which is elsewhere and can try. The rule: it is the
//! address that the call comes from which is tried and no other, so that nobody can have somebody else's ports tried.

use super::message::{JOIN_BYTES_MAX, MessageError, read};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Ports below this one belong to services of the machine that peers are none of.
pub const PORT_MIN: u16 = 1024;

/// `POST /v1/reach`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ReachRequest {
    /// Where the caller takes peers.
    pub port: u16,
}

impl ReachRequest {
    /// Reads and checks one.
    ///
    /// # Errors
    /// What is wrong, by its field.
    pub fn parse(body: &[u8]) -> Result<Self, MessageError> {
        let reach: Self = read(body, JOIN_BYTES_MAX)?;
        if reach.port < PORT_MIN {
            let why = format!("send the port of peers, {PORT_MIN} or higher");
            return Err(MessageError::new("Port", why));
        }
        Ok(reach)
    }
}

/// The answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ReachAnswer {
    /// The caller's address as the coordinator sees it, which it has tried.
    pub address: IpAddr,
    /// The port that it has tried.
    pub port: u16,
    /// Somebody accepted a connection there.
    pub reached: bool,
    /// Why nobody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ports_of_peers_are_tried() {
        let parse = |text: &str| ReachRequest::parse(text.as_bytes());
        assert_eq!(parse("{\"Port\":7680}").map(|reach| reach.port), Ok(7680));
        for text in [
            "{\"Port\":22}",
            "{\"Port\":0}",
            "{\"Port\":70000}",
            "{}",
            "",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
