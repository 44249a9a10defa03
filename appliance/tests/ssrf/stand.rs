//! A running appliance whose names and sockets are the test's. The rule: each address that is tried is kept.

use crate::rig::recorder::Recorder;
use larder::appliance::Appliance;
use larder::config::Checked;
use larder::telemetry::Telemetry;
use larder_net::origin::{Doing, Network};
use larder_proto::http::route::OriginRules;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The allowed origin, and the public address that the hook has it at.
pub(super) const ALLOWED: &str = "files.example";
const PUBLIC: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(8, 8, 8, 8)), 80);

/// Hosts on the list whose names lead inside.
pub(super) const INSIDE: [(&str, &str); 14] = [
    ("loop.inside.example", "127.0.0.1"),
    ("loop2.inside.example", "127.8.8.8"),
    ("ten.inside.example", "10.0.0.1"),
    ("twelve.inside.example", "172.16.5.4"),
    ("hundred.inside.example", "192.168.1.1"),
    ("meta.inside.example", "169.254.169.254"),
    ("zero.inside.example", "0.0.0.0"),
    ("nat.inside.example", "100.64.0.1"),
    ("six.inside.example", "::1"),
    ("local.inside.example", "fe80::1"),
    ("unique.inside.example", "fd00::1"),
    ("mapped.inside.example", "::ffff:127.0.0.1"),
    ("nat64.inside.example", "64:ff9b::7f00:1"),
    ("relay.inside.example", "2002:7f00:1::"),
];

/// A host on the list whose name leads to the public address first and inside from then on.
pub(super) const REBINDING: &str = "rebind.inside.example";
/// A host on the list with a public and an inner address.
pub(super) const MIXED: &str = "mixed.inside.example";

/// Names and sockets as the test wants them; keeps what was tried.
#[derive(Debug)]
pub(super) struct Hook {
    origin: SocketAddr,
    tried: Mutex<Vec<SocketAddr>>,
    /// Names that were looked up.
    resolved: Mutex<Vec<String>>,
    rebinds: AtomicUsize,
}

impl Network for Hook {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Doing<'a, Vec<SocketAddr>> {
        let mut resolved = self.resolved.lock().expect("no test panics with it");
        resolved.push(host.to_owned());
        drop(resolved);
        let inside = INSIDE.iter().find(|(name, _)| *name == host);
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let found: Vec<IpAddr> = match (host, inside) {
            (ALLOWED, _) => vec![PUBLIC.ip()],
            (MIXED, _) => vec![loopback, PUBLIC.ip(), IpAddr::V6(Ipv6Addr::LOCALHOST)],
            (REBINDING, _) => match self.rebinds.fetch_add(1, Ordering::SeqCst) {
                0 => vec![PUBLIC.ip()],
                _ => vec![loopback],
            },
            (_, Some((_, ip))) => vec![ip.parse().expect("an address")],
            // Whatever else is asked for leads to where it must not, so that it is seen.
            _ => vec![loopback],
        };
        Box::pin(async move {
            Ok(found
                .into_iter()
                .map(|ip| SocketAddr::new(ip, port))
                .collect())
        })
    }

    fn connect(&self, to: SocketAddr) -> Doing<'_, tokio::net::TcpStream> {
        self.tried.lock().expect("no test panics with it").push(to);
        let real = if to == PUBLIC { self.origin } else { to };
        Box::pin(tokio::net::TcpStream::connect(real))
    }
}

/// A listener on loopback that counts who comes.
pub(super) struct Trap {
    pub(super) address: SocketAddr,
    came: Arc<AtomicUsize>,
}

impl Trap {
    fn set(ip: IpAddr) -> Self {
        let listener = TcpListener::bind((ip, 0)).expect("a port");
        let trap = Self {
            address: listener.local_addr().expect("an address"),
            came: Arc::default(),
        };
        let came = Arc::clone(&trap.came);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                came.fetch_add(1, Ordering::SeqCst);
                drop(stream);
            }
        });
        trap
    }
}

pub(super) struct Stand {
    pub(super) appliance: Appliance,
    hook: Arc<Hook>,
    pub(super) traps: Vec<Trap>,
    origin: Recorder,
    _store: tempfile::TempDir,
}

impl Stand {
    pub(super) fn start() -> Self {
        // What is asked for as /to/<hops>/<where> is redirected so often, and to there in the end.
        let origin = Recorder::start(|seen| {
            let target = seen.head.split(' ').nth(1).unwrap_or("/").to_owned();
            let mut parts = target.splitn(4, '/').skip(1);
            let location = match (parts.next(), parts.next(), parts.next()) {
                (Some("to"), Some("1"), Some(place)) => Some(unpack(place)),
                (Some("to"), Some(hops), Some(place)) => {
                    let left = hops.parse::<u32>().unwrap_or(1) - 1;
                    Some(format!("/to/{left}/{place}"))
                }
                _ => None,
            };
            match location {
                Some(location) => format!(
                    "HTTP/1.1 302 Found\r\nLocation: {location}\r\nCache-Control: no-store\r\nContent-Length: 0\r\n\r\n"
                ),
                None => {
                    // What can be kept is there after one connection.
                    let keep = if target.starts_with("/keep") {
                        "max-age=60"
                    } else {
                        "no-store"
                    };
                    format!(
                        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nETag: \"k\"\r\nCache-Control: {keep}\r\n\r\nok"
                    )
                }
            }
        });
        let traps = [
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
        ];
        let hook = Arc::new(Hook {
            origin: origin.address(),
            tried: Mutex::default(),
            resolved: Mutex::default(),
            rebinds: AtomicUsize::default(),
        });
        let allow = [ALLOWED.to_owned(), "*.inside.example".to_owned()];
        let rules = OriginRules::new(&allow, None, [], &[]).expect("rules");
        let store = tempfile::tempdir().expect("a directory");
        let network = Arc::clone(&hook);
        let config = Checked::on_loopback(store.path(), rules);
        let appliance = Appliance::start_on(network, config, Telemetry::new()).expect("it starts");
        Self {
            appliance,
            hook,
            traps: traps.map(Trap::set).into(),
            origin,
            _store: store,
        }
    }

    /// The first status that these bytes are answered with.
    pub(super) fn status(&self, request: &str) -> u16 {
        let mut stream = TcpStream::connect(self.appliance.http()[0]).expect("connected");
        let patience = Duration::from_secs(30);
        stream.set_read_timeout(Some(patience)).expect("a timeout");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut said = Vec::new();
        let mut buffer = [0; 4096];
        while !said.windows(4).any(|four| four == b"\r\n\r\n") {
            match stream.read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(count) => said.extend_from_slice(&buffer[..count]),
            }
        }
        let text = String::from_utf8_lossy(&said).into_owned();
        let status = text.get(9..12).and_then(|status| status.parse().ok());
        status.unwrap_or_else(|| panic!("{request:?}: {text:?}"))
    }

    /// Addresses that were tried since the last look and may not be.
    pub(super) fn strayed(&self) -> Vec<SocketAddr> {
        let tried = std::mem::take(&mut *self.hook.tried.lock().expect("no test panics with it"));
        tried.into_iter().filter(|to| *to != PUBLIC).collect()
    }

    pub(super) fn metric(&self, name: &str) -> f64 {
        let metrics = self.appliance.metrics();
        let series = metrics
            .lines()
            .filter(|line| line.split(['{', ' ']).next() == Some(name));
        series
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    pub(super) fn all_is_closed(&self) {
        let came: usize = self
            .traps
            .iter()
            .map(|trap| trap.came.load(Ordering::SeqCst))
            .sum();
        assert_eq!(came, 0, "somebody came to a port of this machine");
        // What no list has is not even looked up.
        let listed = |host: &str| host == ALLOWED || host.ends_with(".inside.example");
        let resolved = self.hook.resolved.lock().expect("no test panics with it");
        let strange = resolved.iter().find(|host| !listed(host));
        assert_eq!(strange, None, "was looked up");
        for seen in self.origin.take() {
            let host = seen.field("host").unwrap_or("").to_ascii_lowercase();
            assert!(listed(&host), "{seen:?}");
        }
    }
}

/// A URL as one segment of a path, so that it reaches the origin whatever it holds.
pub(super) fn pack(url: &str) -> String {
    url.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn unpack(packed: &str) -> String {
    let packed = packed.split('?').next().unwrap_or("");
    let bytes = (0..packed.len() / 2).filter_map(|at| {
        let two = packed.get(at * 2..at * 2 + 2)?;
        u8::from_str_radix(two, 16).ok()
    });
    String::from_utf8_lossy(&bytes.collect::<Vec<_>>()).into_owned()
}
