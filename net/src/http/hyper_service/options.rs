//! OPTIONS as whoever passes it on must read it. The rule: what is meant for larder itself goes no further, and what is
//! about a whole server is asked of that server.

use super::talk::{After, Turn};
use crate::ask::SmallAnswer;
use crate::http::small::{Framing, write_small};
use bytes::Bytes;
use http::Method;
use http::header::MAX_FORWARDS;
use larder_proto::answer::CacheStatus;
use larder_proto::http::fields::max_forwards;
use larder_proto::http::head::BodyKind;
use larder_proto::http::route::OwnedRoute;
use std::io;

impl Turn<'_> {
    /// Whether an OPTIONS ends here: it has come as far as it was to, or names no resource (RFC 9110, sections 7.6.2 and
    /// 9.3.7).
    pub(super) fn is_for_larder(&self) -> bool {
        let left = self.parts.headers.get(MAX_FORWARDS);
        let left = left.and_then(|value| max_forwards(value.as_bytes()));
        left == Some(0) || self.head.target == "*"
    }

    /// Says that larder is here.
    pub(super) async fn options(&mut self) -> io::Result<After> {
        if self.head.body != BodyKind::None {
            // What it has of a body is not read.
            self.keep_alive = false;
        }
        let answer = SmallAnswer {
            status: 200,
            headers: vec![("Accept-Ranges".to_owned(), "bytes".to_owned())],
            body: Bytes::new(),
        };
        let how = Framing {
            head_only: false,
            keep_alive: self.keep_alive,
            minor: self.head.minor,
            cache: self.settings.cache_status.then_some(CacheStatus::Bypass),
        };
        let mut out = Vec::new();
        write_small(&mut out, &answer, how, &self.date());
        self.said = Some((answer.status, Some(CacheStatus::Bypass)));
        self.write(&out).await?;
        Ok(self.after())
    }

    /// What is asked of the origin: where OPTIONS names a server and nothing on it, the server (RFC 9112, section 3.2.4).
    pub(super) fn asked_of(&self, route: OwnedRoute) -> OwnedRoute {
        let authority = self.head.target.split_once("://").map(|(_, rest)| rest);
        let is_bare = authority.is_some_and(|rest| !rest.contains(['/', '?']));
        if self.parts.method != Method::OPTIONS || !is_bare {
            return route;
        }
        OwnedRoute {
            target: "*".to_owned(),
            ..route
        }
    }
}
