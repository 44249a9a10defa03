//! What a client speaks on a port for HTTPS, judged by its first byte. The rule: only what is TLS goes to the TLS
//! stack; who speaks plain HTTP there is told so in words.

/// What a connection begins with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Spoken {
    /// A handshake record (RFC 8446, section 5.1).
    Tls,
    /// The name of a method: plain HTTP.
    Http,
    /// Neither.
    Other,
}

/// What a connection whose first byte is `byte` speaks.
#[must_use]
pub const fn spoken(byte: u8) -> Spoken {
    match byte {
        // ContentType handshake.
        22 => Spoken::Tls,
        b'A'..=b'Z' => Spoken::Http,
        _ => Spoken::Other,
    }
}

/// The answer to plain HTTP on a port for HTTPS.
pub const PLAIN_HTTP_REFUSED: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 76\r\n\
    Cache-Control: no-store\r\n\
    Connection: close\r\n\r\n\
    this port speaks https; write https:// in the URL, or ask the port for http\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_tells() {
        assert_eq!(spoken(0x16), Spoken::Tls);
        assert_eq!(spoken(b'G'), Spoken::Http);
        assert_eq!(spoken(b'P'), Spoken::Http);
        // SSL 2 and alerts.
        assert_eq!(spoken(0x80), Spoken::Other);
        assert_eq!(spoken(0x15), Spoken::Other);
    }

    #[test]
    fn the_refusal_has_the_length_that_it_says() {
        let text = std::str::from_utf8(PLAIN_HTTP_REFUSED).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        let length = format!("Content-Length: {}", body.len());
        assert!(head.lines().any(|line| line == length), "{length}");
    }
}
