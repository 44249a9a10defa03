//! A download without pieces: one answer to the file. The rule: it is the way of what can not be put together from
//! several answers, and of bypass; a break begins it anew, since nothing proves that the rest would fit.

use super::Failure;
use super::progress::Meter;
use super::report::Verified;
use super::target::{Target, Writer};
use larder_content::hash::FileHasher;
use larder_content::neighbour::sha1_of;
use larder_net::download::{Sources, Way};
use larder_net::origin::{OriginAnswer, OriginClient, OriginError, OriginRequest};
use larder_proto::http::route::OwnedRoute;
use std::time::Duration;

/// How often an answer that breaks off is asked for once more.
const AGAIN_MAX: u32 = 3;

/// Asks once, and writes what comes. The writer is finished when this returns well, and given up otherwise.
///
/// # Errors
/// See [`Failure`].
pub(super) async fn fetch(
    client: &OriginClient,
    route: &OwnedRoute,
    target: &Target,
    meter: &Meter,
) -> Result<(u64, Verified), Failure> {
    let mut writer = None;
    let mut failures = 0;
    loop {
        let result = once(client, route, target, &mut writer, meter).await;
        let error = match result {
            Ok(done) => return finish(writer, done),
            Err(error) => error,
        };
        failures += 1;
        let may_again = matches!(error, Failure::Network(_)) && failures <= AGAIN_MAX;
        let anew = may_again
            && writer
                .as_mut()
                .is_none_or(|writer| writer.restart().is_ok());
        if !anew {
            if let Some(writer) = writer {
                writer.abandon();
            }
            return Err(error);
        }
        tracing::warn!("{error}; it is asked for once more");
        tokio::time::sleep(Duration::from_secs(1 << failures.min(4))).await;
    }
}

fn finish(writer: Option<Writer>, done: (u64, Verified)) -> Result<(u64, Verified), Failure> {
    if let Some(writer) = writer {
        writer.finish()?;
    }
    Ok(done)
}

async fn once(
    client: &OriginClient,
    route: &OwnedRoute,
    target: &Target,
    writer: &mut Option<Writer>,
    meter: &Meter,
) -> Result<(u64, Verified), Failure> {
    let request = OriginRequest::get(route.origin.clone(), route.target.clone());
    let answer = client.send(request).await;
    let answer = answer.map_err(|error| failure_of(&error))?;
    let status = answer.status.as_u16();
    if status != 200 {
        return Err(refused(route, status));
    }
    let length = length_of(&answer);
    let mut body = answer.body;
    let way = body.way();
    let writer = match writer {
        Some(writer) => writer,
        None => writer.insert(target.open()?),
    };
    let mut hash = sha1_of(&route.url).map(|named| (named, FileHasher::default()));
    let mut came = 0;
    while let Some(chunk) = body.chunk().await.map_err(|error| failure_of(&error))? {
        writer.write(&chunk)?;
        if let Some((_, hasher)) = &mut hash {
            hasher.update(&chunk);
        }
        came += chunk.len() as u64;
        meter.tell(length.unwrap_or(0).max(came), by(way, came));
    }
    meter.tell(came, by(way, came));
    match hash.map(|(named, hasher)| hasher.finish() == named) {
        None => Ok((came, Verified::Length)),
        Some(true) => Ok((came, Verified::Sha1)),
        Some(false) => Err(wrong_sha1(route)),
    }
}

fn by(way: Way, bytes: u64) -> Sources {
    let mut sources = Sources::default();
    match way {
        Way::CacheServer => sources.cache_server = bytes,
        _ => sources.http = bytes,
    }
    sources
}

fn length_of(answer: &OriginAnswer) -> Option<u64> {
    let length = answer.headers.get(http::header::CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}

/// What an answer without the object means.
pub(super) fn refused(route: &OwnedRoute, status: u16) -> Failure {
    let what = format!("{} is not given by {}", route.url, route.origin);
    match status {
        500.. => Failure::Network(format!(
            "{what}: the origin is in trouble (status {status})"
        )),
        _ => Failure::Refused { status, what },
    }
}

/// What an origin's silence means.
pub(super) fn failure_of(error: &OriginError) -> Failure {
    Failure::Network(error.to_string())
}

/// The bytes are not those that the URL names.
pub(super) fn wrong_sha1(route: &OwnedRoute) -> Failure {
    Failure::Verification(format!(
        "what came from {} does not have the SHA-1 that its URL names; the origin, or whoever stands between, sends \
         something else",
        route.url
    ))
}
