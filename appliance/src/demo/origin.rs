//! The origin of the demonstration: a small web server whose files are made up while they are sent. The rule: every
//! byte of a body that leaves is counted, for that count is what the whole house is about.

use super::content::File;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// All files are as old as this.
const LAST_MODIFIED: &str = "Tue, 10 Nov 2026 18:00:00 GMT";

/// A body is made up in chunks of this size.
const CHUNK_BYTES: u64 = 64 << 10;

#[derive(Debug, Default)]
struct Counts {
    body_bytes: AtomicU64,
    requests: AtomicU64,
}

/// A running origin; it stops when it is dropped.
#[derive(Debug)]
pub struct Origin {
    address: SocketAddr,
    counts: Arc<Counts>,
    accepting: JoinHandle<()>,
}

impl Origin {
    /// Starts to serve `files` at `listen` (port 0: one that is free), on the present tokio runtime.
    ///
    /// # Errors
    /// The address can not be had.
    pub async fn start(listen: SocketAddr, files: Vec<File>) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let counts = Arc::new(Counts::default());
        let files: Arc<[Arc<File>]> = files.into_iter().map(Arc::new).collect();
        let accepting = tokio::spawn(accept(listener, files, Arc::clone(&counts)));
        Ok(Self {
            address,
            counts,
            accepting,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Bytes of bodies sent so far.
    #[must_use]
    pub fn body_bytes(&self) -> u64 {
        self.counts.body_bytes.load(Ordering::Relaxed)
    }

    /// Requests answered so far.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.counts.requests.load(Ordering::Relaxed)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, files: Arc<[Arc<File>]>, counts: Arc<Counts>) {
    // Dropped with this task, and all connections with it.
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok((socket, _)) = listener.accept().await else {
            // Out of descriptors: those that are open must end first.
            connections.join_next().await;
            continue;
        };
        connections.spawn(serve(socket, Arc::clone(&files), Arc::clone(&counts)));
    }
}

async fn serve(socket: TcpStream, files: Arc<[Arc<File>]>, counts: Arc<Counts>) {
    let _ = socket.set_nodelay(true);
    let answer = |request: Request<Incoming>| {
        counts.requests.fetch_add(1, Ordering::Relaxed);
        let response = answer(&request, &files, &counts);
        async move { Ok::<_, Infallible>(response) }
    };
    // A client that goes away in the middle is no trouble of the origin's.
    let _ = hyper::server::conn::http1::Builder::new()
        .title_case_headers(true)
        .serve_connection(TokioIo::new(socket), service_fn(answer))
        .await;
}

fn answer(
    request: &Request<Incoming>,
    files: &[Arc<File>],
    counts: &Arc<Counts>,
) -> Response<Stretch> {
    let path = request.uri().path();
    let Some(file) = files.iter().find(|file| file.path == path) else {
        return bare(StatusCode::NOT_FOUND);
    };
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return bare(StatusCode::METHOD_NOT_ALLOWED);
    }
    let etag = file.etag();
    if text(request.headers(), &header::IF_NONE_MATCH) == Some(&etag) {
        let mut response = bare(StatusCode::NOT_MODIFIED);
        describe(response.headers_mut(), &etag);
        return response;
    }
    let head_only = request.method() == Method::HEAD;
    let asked = match text(request.headers(), &header::IF_RANGE) {
        _ if head_only => None,
        Some(version) if version != etag && version != LAST_MODIFIED => None,
        _ => text(request.headers(), &header::RANGE),
    };
    let Ok(range) = asked.map_or(Ok(None), |range| one_range(range, file.len)) else {
        let mut response = bare(StatusCode::RANGE_NOT_SATISFIABLE);
        let range = format!("bytes */{}", file.len);
        insert(response.headers_mut(), header::CONTENT_RANGE, &range);
        return response;
    };
    let (start, end) = range.unwrap_or((0, file.len));
    let mut response = Response::new(Stretch {
        file: Some(Arc::clone(file)),
        at: if head_only { end } else { start },
        end,
        counts: Arc::clone(counts),
    });
    let headers = response.headers_mut();
    describe(headers, &etag);
    insert(headers, header::CONTENT_LENGTH, &(end - start).to_string());
    if range.is_some() {
        let range = format!("bytes {start}-{}/{}", end - 1, file.len);
        insert(headers, header::CONTENT_RANGE, &range);
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    response
}

fn bare(status: StatusCode) -> Response<Stretch> {
    let nothing = Stretch {
        file: None,
        at: 0,
        end: 0,
        counts: Arc::default(),
    };
    let mut response = Response::new(nothing);
    *response.status_mut() = status;
    response
}

fn describe(headers: &mut HeaderMap, etag: &str) {
    insert(headers, header::CONTENT_TYPE, "application/octet-stream");
    insert(headers, header::LAST_MODIFIED, LAST_MODIFIED);
    insert(headers, header::ACCEPT_RANGES, "bytes");
    insert(headers, header::CACHE_CONTROL, "public, max-age=3600");
    insert(headers, header::ETAG, etag);
}

fn insert(headers: &mut HeaderMap, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &header::HeaderName) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

#[derive(Debug, PartialEq, Eq)]
struct Unsatisfiable;

/// One range `bytes=a-b` or `bytes=a-` as start and end; None for whatever else, which is answered with the whole.
fn one_range(value: &str, len: u64) -> Result<Option<(u64, u64)>, Unsatisfiable> {
    let parsed = value
        .strip_prefix("bytes=")
        .and_then(|range| range.split_once('-'));
    let Some((first, last)) = parsed else {
        return Ok(None);
    };
    let last = if last.is_empty() {
        Ok(len.saturating_sub(1))
    } else {
        last.parse()
    };
    let (Ok(first), Ok(last)) = (first.parse::<u64>(), last) else {
        return Ok(None);
    };
    if first >= len || last < first {
        return Err(Unsatisfiable);
    }
    Ok(Some((first, last.min(len - 1) + 1)))
}

/// A stretch of a file as a body.
#[derive(Debug)]
struct Stretch {
    file: Option<Arc<File>>,
    at: u64,
    end: u64,
    counts: Arc<Counts>,
}

impl Body for Stretch {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let n = (self.end - self.at).min(CHUNK_BYTES);
        let Some(file) = self.file.as_ref().filter(|_| n > 0) else {
            return Poll::Ready(None);
        };
        // Not over CHUNK_BYTES, so it fits into any usize.
        let mut chunk = vec![0; usize::try_from(n).unwrap_or_default()];
        file.fill(self.at, &mut chunk);
        self.at += n;
        self.counts.body_bytes.fetch_add(n, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(chunk)))))
    }

    fn is_end_stream(&self) -> bool {
        self.at == self.end
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.end - self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_clients_write_them() {
        let table = [
            ("bytes=0-0", Ok(Some((0, 1)))),
            ("bytes=10-19", Ok(Some((10, 20)))),
            ("bytes=90-", Ok(Some((90, 100)))),
            ("bytes=90-1000", Ok(Some((90, 100)))),
            ("bytes=100-", Err(Unsatisfiable)),
            ("bytes=5-2", Err(Unsatisfiable)),
            ("bytes=-5", Ok(None)),
            ("bytes=1-2,4-5", Ok(None)),
            ("lines=1-2", Ok(None)),
        ];
        for (value, expected) in table {
            assert_eq!(one_range(value, 100), expected, "{value}");
        }
    }
}
