//! Interim answers on their way to a client (RFC 9110, section 15.2). The rule: they come before the answer and are no
//! part of it; a client of HTTP/1.0 hears of none.

use super::talk::Turn;
use crate::download::end_to_end;
use crate::http::small::title_case;
use crate::origin::{HearInterim, Interim, interim};
use http::header::CONTENT_LENGTH;
use http::request;
use std::io;

impl Turn<'_> {
    /// The request for an origin, and where its interim answers are heard.
    pub(super) fn parts_to_ask(&self) -> (request::Parts, HearInterim) {
        let (tell, hear) = interim();
        let mut parts = self.parts.clone();
        parts.extensions.insert(tell);
        (parts, hear)
    }

    /// Waits for what an origin is asked, and gives on what it says before.
    pub(super) async fn hearing<T>(
        &mut self,
        mut hear: HearInterim,
        answer: impl Future<Output = T>,
    ) -> io::Result<T> {
        tokio::pin!(answer);
        loop {
            tokio::select! {
                // What was said before the answer is given before it.
                biased;
                Some(interim) = hear.recv() => self.give_on(interim).await?,
                answer = &mut answer => return Ok(answer),
            }
        }
    }

    async fn give_on(&mut self, interim: Interim) -> io::Result<()> {
        // RFC 9110, section 15.2: "A server MUST NOT send a 1xx response to an HTTP/1.0 client."
        if self.head.minor == 0 {
            return Ok(());
        }
        let reason = interim.status.canonical_reason().unwrap_or("Unknown");
        let mut out = format!("HTTP/1.1 {} {reason}\r\n", interim.status.as_str()).into_bytes();
        for (name, value) in &end_to_end(interim.headers) {
            if name != CONTENT_LENGTH {
                out.extend(title_case(name.as_str()));
                out.extend_from_slice(b": ");
                out.extend_from_slice(value.as_bytes());
                out.extend_from_slice(b"\r\n");
            }
        }
        out.extend_from_slice(b"\r\n");
        self.write_before(&out).await
    }
}
