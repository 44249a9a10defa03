//! Answers of origins that pass through. The rule: the client gets the bytes that the origin sends and can tell whether
//! they are all of them: by their length, by the last chunk, or by the end of the connection.

use super::talk::{After, Turn};
use crate::download::ThroughBody;
use crate::http::small::title_case;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, DATE, HeaderMap};
use http::{Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Body;
use larder_proto::answer::CacheStatus;
use larder_proto::http::route::OwnedRoute;
use std::io;

/// How the client finds the end of a body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Framing {
    /// There is none.
    Bodiless,
    Length(u64),
    Chunks,
    /// By the end of the connection.
    End,
}

impl Turn<'_> {
    /// Asks the origin just what the client asked, and passes its answer on.
    pub(super) async fn through(&mut self, route: &OwnedRoute) -> io::Result<After> {
        let (parts, hear) = self.parts_to_ask();
        let download = self.service.download.clone();
        let asked = download.pass_through(parts, None, route);
        let answer = self.hearing(hear, asked).await?;
        self.pass(answer, CacheStatus::Bypass).await
    }

    /// Passes an answer on to the one client that it is for.
    pub(super) async fn pass(
        &mut self,
        answer: Response<ThroughBody>,
        cache: CacheStatus,
    ) -> io::Result<After> {
        let (answer, mut body) = answer.into_parts();
        let declared = answer.headers.get(CONTENT_LENGTH);
        let declared = declared.and_then(|v| v.to_str().ok()?.parse().ok());
        let bodiless = self.head_only()
            || matches!(
                answer.status,
                StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
            );
        let framing = match declared.or_else(|| body.size_hint().exact()) {
            _ if bodiless => Framing::Bodiless,
            Some(length) => Framing::Length(length),
            None if self.head.minor == 1 => Framing::Chunks,
            None => {
                self.keep_alive = false;
                Framing::End
            }
        };
        let mut out = Vec::new();
        self.write_through_head(&mut out, answer.status, &answer.headers, framing, cache);
        self.said = Some((answer.status.as_u16(), Some(cache)));
        self.write(&out).await?;
        if framing == Framing::Bodiless {
            return Ok(self.after());
        }
        let mut sent = 0;
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else {
                return Ok(After::Cut);
            };
            // Trailers are not passed on.
            let Some(data) = frame.into_data().ok().filter(|data| !data.is_empty()) else {
                continue;
            };
            sent += data.len() as u64;
            match framing {
                Framing::Length(length) if sent > length => return Ok(After::Cut),
                Framing::Chunks => {
                    let size = format!("{:x}\r\n", data.len());
                    self.write(size.as_bytes()).await?;
                    self.write(&data).await?;
                    self.body_bytes += data.len() as u64;
                    self.write(b"\r\n").await?;
                }
                _ => {
                    self.write(&data).await?;
                    self.body_bytes += data.len() as u64;
                }
            }
        }
        match framing {
            Framing::Length(length) if sent < length => return Ok(After::Cut),
            Framing::Chunks => self.write(b"0\r\n\r\n").await?,
            _ => {}
        }
        Ok(self.after())
    }

    fn write_through_head(
        &self,
        out: &mut Vec<u8>,
        status: StatusCode,
        headers: &HeaderMap,
        framing: Framing,
        cache: CacheStatus,
    ) {
        let mut put = |text: &str| out.extend_from_slice(text.as_bytes());
        put("HTTP/1.1 ");
        put(status.as_str());
        put(" ");
        put(status.canonical_reason().unwrap_or("Unknown"));
        put("\r\n");
        if !headers.contains_key(DATE) {
            put("Date: ");
            put(std::str::from_utf8(&self.date()).unwrap_or_default());
            put("\r\n");
        }
        match (self.keep_alive, self.head.minor) {
            (true, 0) => put("Connection: Keep-Alive\r\n"),
            (true, _) => {}
            (false, _) => put("Connection: close\r\n"),
        }
        if self.settings.cache_status {
            put("X-Cache-Status: ");
            put(cache.name());
            put("\r\n");
        }
        match framing {
            Framing::Length(length) => put(&format!("Content-Length: {length}\r\n")),
            Framing::Chunks => put("Transfer-Encoding: chunked\r\n"),
            Framing::Bodiless | Framing::End => {}
        }
        for (name, value) in headers {
            // RFC 9110, section 8.6: no length with 204.
            let has_length = framing == Framing::Bodiless && status != StatusCode::NO_CONTENT;
            let own = matches!(name.as_str(), "x-cache-status" | "proxy-connection")
                || (*name == CONTENT_LENGTH && !has_length);
            if own {
                continue;
            }
            out.extend(title_case(name.as_str()));
            out.extend_from_slice(b": ");
            out.extend_from_slice(value.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        // Behind what others on the way have said (RFC 9110, section 7.6.3, and RFC 9211, section 2).
        out.extend_from_slice(b"Via: 1.1 larder\r\n");
        if self.settings.cache_status {
            let field = format!("Cache-Status: {}\r\n", cache.field());
            out.extend_from_slice(field.as_bytes());
        }
        if status.is_server_error() && !headers.contains_key(CACHE_CONTROL) {
            out.extend_from_slice(b"Cache-Control: no-store\r\n");
        }
        out.extend_from_slice(b"\r\n");
    }
}
