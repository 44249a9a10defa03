//! Whose windows are bound. The rule: real connections, and the kernel's own answers.

use super::*;
use crate::bandwidth::Bandwidth;
use crate::settings::Settings;
use arc_swap::ArcSwap;
use larder_proto::http::route::OriginRules;
use larder_proto::policy::Priority::{Background, Foreground};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

async fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
    (near.expect("connected"), far.expect("accepted").0)
}

fn world(change: impl FnOnce(&mut Settings)) -> (Bandwidth, Arc<ArcSwap<Settings>>) {
    let mut settings = Settings::new(OriginRules::new(&[], None, [], &[]).expect("no rules"));
    change(&mut settings);
    let settings = Arc::new(ArcSwap::from_pointee(settings));
    let bandwidth = Bandwidth::new(Arc::clone(&settings));
    bandwidth.0.state.lock().sockets.segment_max = u32::MAX;
    (bandwidth, settings)
}

fn is_bound(socket: &Socket) -> bool {
    socket.bound.load(Ordering::Relaxed)
}

#[tokio::test]
async fn the_background_is_bound_until_somebody_waits() {
    let (near, _far) = connection().await;
    let socket = Socket::of(&near).expect("a socket");
    let (bandwidth, _) = world(|_| {});
    let mut allowance = bandwidth.allowance(Background, true);
    allowance.comes_on(&socket);
    assert!(is_bound(&socket));
    allowance.belongs_to(7, Foreground);
    assert!(!is_bound(&socket), "somebody waits");
    allowance.belongs_to(7, Background);
    assert!(is_bound(&socket), "nobody does any more");
    // The next answer on the same connection.
    drop(allowance);
    let mut allowance = bandwidth.allowance(Foreground, true);
    allowance.comes_on(&socket);
    assert!(!is_bound(&socket));
}

#[tokio::test]
async fn neither_the_lan_nor_what_has_a_limit_of_its_own_is_bound() {
    let (near, _far) = connection().await;
    let socket = Socket::of(&near).expect("a socket");
    let (bandwidth, settings) = world(|_| {});
    let mut allowance = bandwidth.allowance(Background, false);
    allowance.comes_on(&socket);
    assert!(!is_bound(&socket), "a peer of the LAN");
    let mut allowance = bandwidth.allowance(Background, true);
    allowance.comes_on(&socket);
    assert!(is_bound(&socket));
    // A limit that is set while it comes takes the place of the window, from the next look on.
    let mut limited = (*settings.load_full()).clone();
    limited.policies.download_bytes_s_max_of.background = 1 << 20;
    settings.store(Arc::new(limited));
    let mut other = bandwidth.allowance(Background, true);
    other.comes_on(&socket);
    assert!(!is_bound(&socket));
}

#[tokio::test]
async fn loopback_is_left_alone() {
    let (near, _far) = connection().await;
    let socket = Socket::of(&near).expect("a socket");
    let (bandwidth, _) = world(|_| {});
    bandwidth.0.state.lock().sockets.segment_max = SEGMENT_MAX;
    let mut allowance = bandwidth.allowance(Background, true);
    allowance.comes_on(&socket);
    assert!(!is_bound(&socket));
}

#[tokio::test]
async fn bytes_that_come_are_seen_and_open_the_window() {
    let (mut near, mut far) = connection().await;
    let socket = Socket::of(&near).expect("a socket");
    let (bandwidth, _) = world(|_| {});
    let mut allowance = bandwidth.allowance(Background, true);
    allowance.comes_on(&socket);
    let first = bandwidth.0.state.lock().governor.window(1);
    let sending = tokio::spawn(async move {
        let chunk = vec![7; 1 << 16];
        while far.write_all(&chunk).await.is_ok() {}
    });
    let mut buf = vec![0; 1 << 16];
    let opened = async {
        loop {
            let count = near.read(&mut buf).await.expect("bytes");
            allowance.came(count);
            let window = bandwidth.0.state.lock().governor.window(1);
            if window > first {
                return;
            }
        }
    };
    let opened = tokio::time::timeout(Duration::from_secs(30), opened).await;
    opened.expect("the window opens where nobody waits");
    // Gone with its connection: nobody else holds it.
    drop((near, socket));
    sending.await.expect("the other side hears that it is over");
    allowance.came(1);
}
