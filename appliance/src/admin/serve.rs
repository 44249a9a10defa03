//! The sockets of the admin address and of the one for metrics. The rule: strangers who open connections and say nothing
//! keep no administrator out and take no files from clients; the one that has been idle for the longest makes room.

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::{Extension, body::Body};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use larder_net::http::patience::Patience;
use larder_net::http::seats::{Connections, Seat};
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;

/// Connections at once: an administrator, a page or two in a browser, Prometheus, and room.
const CONNECTIONS_MAX: usize = 256;

/// From one request to the end of the head of the next.
const IDLE: Duration = Duration::from_secs(75);

/// Taking no byte of an answer.
const STALL: Duration = Duration::from_secs(20);

/// A head of a call has fewer bytes.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// How long a listener that could not accept is left alone.
const LISTEN_PAUSE: Duration = Duration::from_millis(200);

/// Serves these routes on the present runtime; it ends with the runtime.
pub(super) fn serve(listener: TcpListener, routes: Router) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    tokio::spawn(accept(listener, routes));
    Ok(())
}

async fn accept(listener: tokio::net::TcpListener, routes: Router) {
    let connections = Arc::new(Connections::new(CONNECTIONS_MAX));
    loop {
        match listener.accept().await {
            Ok((socket, from)) => {
                let (seat, when_cut) = connections.enter();
                if connections.is_over() {
                    connections.cut_idlest();
                }
                let routes = routes.clone().layer(Extension(ConnectInfo(from)));
                tokio::spawn(async move {
                    tokio::select! {
                        () = talk(socket, routes, &seat) => {}
                        _ = when_cut => {}
                    }
                });
            }
            // The one that was first in line has left.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::warn!("a connection for administration could not be accepted: {error}");
                tokio::time::sleep(LISTEN_PAUSE).await;
            }
        }
    }
}

async fn talk(socket: TcpStream, routes: Router, seat: &Seat) {
    let _ = socket.set_nodelay(true);
    let routes = TowerToHyperService::new(routes);
    let service = service_fn(|request| {
        seat.is_busy();
        let request: Request<hyper::body::Incoming> = request;
        routes.call(request.map(Body::new))
    });
    let served = http1::Builder::new()
        .half_close(false)
        .max_header_size(HEAD_BYTES_MAX)
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .serve_connection(TokioIo::new(Patience::new(socket, STALL)), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection for administration ended early");
    }
}
