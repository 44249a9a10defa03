//! Keys that callers of a coordinator prove to have. The rule: a key is compared only by what it signs, in constant
//! time, and is never shown.

use larder_content::ContentId;
use larder_proto::UnixSecs;
use larder_proto::swarm::PeerId;
use larder_proto::tracker::proof::{KEY_BYTES_MIN, Proof, preamble};
use ring::hmac;
use std::fmt;

/// A key with its name: that of a publisher, or the GUID of a group.
#[derive(Clone)]
pub struct Key {
    name: String,
    key: hmac::Key,
}

impl Key {
    /// A key of these bytes.
    ///
    /// # Errors
    /// In words, where it is too short to be one.
    pub fn new(name: impl Into<String>, secret: &[u8]) -> Result<Self, String> {
        if secret.len() < KEY_BYTES_MIN {
            return Err(format!(
                "has {} bytes; a key has at least {KEY_BYTES_MIN} (`openssl rand -hex 32` makes one)",
                secret.len()
            ));
        }
        Ok(Self {
            name: name.into(),
            key: hmac::Key::new(hmac::HMAC_SHA256, secret),
        })
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Signs a request.
    #[must_use]
    pub fn sign(&self, method: &str, target: &str, body: &[u8], now: UnixSecs) -> Proof {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(preamble(method, target, now).as_bytes());
        context.update(body);
        let mut mac = [0; 32];
        mac.copy_from_slice(context.sign().as_ref());
        Proof {
            key: self.name.clone(),
            time: now,
            mac,
        }
    }

    /// What a peer of the group that has this key says at the end of its handshake, so that others of it know it.
    #[must_use]
    pub fn mark(&self, swarm: &ContentId, peer: &PeerId) -> [u8; 4] {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(b"peer\n");
        context.update(&swarm.0);
        context.update(&peer.0);
        let mut mark = [0; 4];
        mark.copy_from_slice(&context.sign().as_ref()[..4]);
        mark
    }

    /// Whether the request was signed with this key.
    #[must_use]
    pub fn signed(&self, proof: &Proof, method: &str, target: &str, body: &[u8]) -> bool {
        let mut text = preamble(method, target, proof.time).into_bytes();
        text.extend_from_slice(body);
        hmac::verify(&self.key, &text, &proof.mac).is_ok()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a shell makes of it: `printf 'POST\n/v1/join\n1764331200\n{}' | openssl dgst -sha256 -hmac
    /// 0123456789abcdef`.
    #[test]
    fn a_request_is_signed_as_openssl_signs_it() {
        let key = Key::new("berlin", b"0123456789abcdef").expect("long enough");
        let proof = key.sign("POST", "/v1/join", b"{}", 1_764_331_200);
        let header = proof.header();
        assert!(
            header.ends_with("a47de003ccae867cdbe98693b37b9050c23480bb23fe6ca0e9e69163fbddaf7a"),
            "{header}"
        );
        assert!(key.signed(&proof, "POST", "/v1/join", b"{}"));
        for (method, target, body) in [
            ("GET", "/v1/join", b"{}".as_slice()),
            ("POST", "/v1/leave", b"{}"),
            ("POST", "/v1/join", b"{ }"),
        ] {
            assert!(
                !key.signed(&proof, method, target, body),
                "{method} {target}"
            );
        }
        let mut later = proof.clone();
        later.time += 1;
        assert!(!key.signed(&later, "POST", "/v1/join", b"{}"));
        let other = Key::new("berlin", b"0123456789abcdeF").expect("long enough");
        assert!(!other.signed(&proof, "POST", "/v1/join", b"{}"));
    }

    #[test]
    fn a_word_is_no_key() {
        let error = Key::new("berlin", b"secret").expect_err("too short");
        assert!(error.contains("at least 16"), "{error}");
    }
}
