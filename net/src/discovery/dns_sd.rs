//! The appliance in its network's DNS-SD (RFC 6763, by mDNS, RFC 6762), where Windows looks for a cache host that no
//! policy names. The rule: the responder is a thread of another's code, so its end, by a panic or otherwise, is told,
//! counted and followed by a new one, and touches nothing else.
//!
//! What Windows wants to be answered is not published (facts: clients 1.10). The form here is a guess: PTR, SRV with
//! the port for http, A and AAAA of this machine, and an empty TXT.

#[cfg(test)]
mod tests;

use mdns_sd::{DaemonEvent, IfKind, Receiver, ServiceDaemon, ServiceEvent, ServiceInfo};
use metrics::{Counter, counter, describe_counter};
use parking_lot::{Condvar, Mutex};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// What Windows asks for (facts: clients 1.10).
pub const SERVICE: &str = "_microsoft_mcc._tcp.local.";

/// Bytes of one label of a name (RFC 1035 section 2.3.4).
const LABEL_BYTES_MAX: usize = 63;
/// The first pause before a new responder, and the longest: each end in a row doubles it.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// How long saying goodbye may take.
const GOODBYE_WITHIN: Duration = Duration::from_secs(1);

/// What is told of this appliance.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Offer {
    /// The name of the instance.
    name: String,
    /// The name of this machine below `local.`, with the dot at its end.
    host: String,
    /// Where clients are served.
    port: u16,
    addresses: Addresses,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Addresses {
    /// All that this machine has, as they come and go.
    All,
    /// The same, of IPv4 alone.
    AllOfIpv4,
    These(Vec<IpAddr>),
}

impl Offer {
    /// The instance is named for `site`, or for `host_name` where that is empty. `http` is where clients are served: of
    /// several ports 80 is told, or else the first. None where only this machine itself could connect.
    #[must_use]
    pub fn of(site: &str, host_name: &str, http: &[SocketAddr]) -> Option<Self> {
        let reachable = || http.iter().filter(|address| !address.ip().is_loopback());
        let at_80 = reachable().find(|address| address.port() == 80);
        let port = at_80.or_else(|| reachable().next())?.port();
        let at: Vec<IpAddr> = reachable()
            .filter(|address| address.port() == port)
            .map(SocketAddr::ip)
            .collect();
        let whole = |ip: &IpAddr| ip.is_unspecified();
        let addresses = match at.iter().find(|ip| ip.is_ipv6() && whole(ip)) {
            Some(_) => Addresses::All,
            None if at.iter().any(whole) => Addresses::AllOfIpv4,
            None => Addresses::These(at),
        };
        // The domain is `local.`, whatever else the machine belongs to.
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let first = host_name.split('.').next().unwrap_or_default();
        let host: String = first.chars().filter(|c| plain(*c)).collect();
        let name = if site.is_empty() { &host } else { site };
        let name = if name.is_empty() { "larder" } else { name };
        Some(Self {
            name: label(name).to_owned(),
            // Another name than the machine's own, of which a responder that runs here already may be jealous.
            host: format!(
                "{}.local.",
                label(format!("larder-{host}").trim_end_matches('-'))
            ),
            port,
            addresses,
        })
    }

    /// The name by which it is found, unless somebody else has that.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.name
    }

    fn info(&self) -> mdns_sd::Result<ServiceInfo> {
        let these = match &self.addresses {
            Addresses::These(these) => these.as_slice(),
            _ => &[],
        };
        let nothing: &[(&str, &str)] = &[];
        let (name, host) = (&self.name, &self.host);
        let mut info = ServiceInfo::new(SERVICE, name, host, these, self.port, nothing)?;
        if these.is_empty() {
            info = info.enable_addr_auto();
        }
        if self.addresses == Addresses::AllOfIpv4 {
            info.set_interfaces(vec![IfKind::IPv4]);
        }
        Ok(info)
    }
}

/// Looks for cache hosts as clients do, until one `is_it` or `within` is over; the names of all that were found.
///
/// # Errors
/// In words: this machine lets nobody ask.
pub fn find(within: Duration, is_it: impl Fn(&str) -> bool) -> Result<Vec<String>, String> {
    let daemon = ServiceDaemon::new().map_err(|error| error.to_string())?;
    let until = Instant::now() + within;
    let browsed = daemon.browse(SERVICE).map(|events| {
        let mut found = Vec::new();
        while let Ok(event) = events.recv_deadline(until) {
            let ServiceEvent::ServiceResolved(one) = event else {
                continue;
            };
            let whole = one.get_fullname();
            let name = whole.strip_suffix(SERVICE).unwrap_or(whole);
            let name = name.trim_end_matches('.').to_owned();
            let done = is_it(&name);
            if !found.contains(&name) {
                found.push(name);
            }
            if done {
                break;
            }
        }
        found
    });
    // It ends by itself, whether that is waited for or not.
    drop(daemon.shutdown());
    browsed.map_err(|error| error.to_string())
}

/// As much of a text as one label holds.
fn label(text: &str) -> &str {
    &text[..text.floor_char_boundary(LABEL_BYTES_MAX)]
}

/// A responder that runs.
pub struct DnsSd {
    shared: Arc<Shared>,
    supervisor: JoinHandle<()>,
}

impl DnsSd {
    /// Answers for `offer` from now on, in threads of its own.
    ///
    /// # Errors
    /// Where the thread that looks after the responder can not be had. What befalls the responder is logged.
    pub fn start(offer: Offer) -> io::Result<Self> {
        describe_counter!(
            "larder_dns_sd_ends_total",
            "Times that the DNS-SD responder ended by itself, or could not begin, and was started again"
        );
        let ends = counter!("larder_dns_sd_ends_total");
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        let supervisor = thread::Builder::new()
            .name("dns-sd".to_owned())
            .spawn(move || supervise(&of_thread, &offer, &ends))?;
        Ok(Self { shared, supervisor })
    }

    /// Says goodbye to the network, so that nobody is sent here any more, and ends.
    pub fn stop(self) {
        let daemon = {
            let mut turn = self.shared.turn.lock();
            turn.stopping = true;
            turn.daemon.take()
        };
        self.shared.told.notify_all();
        let ended = daemon.is_none_or(|daemon| match daemon.shutdown() {
            Ok(done) => done.recv_timeout(GOODBYE_WITHIN).is_ok(),
            Err(error) => matches!(error, mdns_sd::Error::DaemonShutdown),
        });
        if !ended {
            tracing::warn!("DNS-SD: the responder does not end; it is left behind");
        } else if self.supervisor.join().is_err() {
            tracing::error!("DNS-SD: the thread that looks after the responder panicked");
        }
    }
}

/// What the supervisor and whoever stops it both see.
#[derive(Default)]
struct Shared {
    turn: Mutex<Turn>,
    told: Condvar,
}

#[derive(Default)]
struct Turn {
    stopping: bool,
    daemon: Option<ServiceDaemon>,
}

impl Shared {
    /// Starts a responder; None where there shall be none any more.
    fn begin(&self, offer: &Offer) -> mdns_sd::Result<Option<Receiver<DaemonEvent>>> {
        let mut turn = self.turn.lock();
        if turn.stopping {
            return Ok(None);
        }
        let daemon = ServiceDaemon::new()?;
        // Kept first, so that one that can not be used is ended below.
        let started = (|| {
            let events = daemon.monitor()?;
            daemon.disable_interface(vec![IfKind::LoopbackV4, IfKind::LoopbackV6])?;
            daemon.register(offer.info()?)?;
            Ok(Some(events))
        })();
        match started {
            Ok(_) => turn.daemon = Some(daemon),
            Err(_) => drop(daemon.shutdown()),
        }
        started
    }

    /// Waits before the next try; whether there shall be one.
    fn pause(&self, pause: Duration) -> bool {
        let mut turn = self.turn.lock();
        turn.daemon = None;
        if !turn.stopping {
            self.told.wait_for(&mut turn, pause);
        }
        !turn.stopping
    }
}

fn supervise(shared: &Shared, offer: &Offer, ends: &Counter) {
    let mut pause = PAUSE_MIN;
    loop {
        let begun = Instant::now();
        let why = match shared.begin(offer) {
            Ok(None) => return,
            Ok(Some(events)) => {
                // The channel ends with the responder's thread, however that ends.
                events.iter().for_each(tell);
                "its thread ended".to_owned()
            }
            Err(error) => error.to_string(),
        };
        if shared.turn.lock().stopping {
            return;
        }
        ends.increment(1);
        if begun.elapsed() > PAUSE_MAX {
            pause = PAUSE_MIN;
        }
        tracing::error!(
            "DNS-SD: the responder is gone: {why}; a new one starts in {} s",
            pause.as_secs()
        );
        if !shared.pause(pause) {
            return;
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

fn tell(event: DaemonEvent) {
    match event {
        DaemonEvent::Announce(name, at) => tracing::debug!("DNS-SD: {name} is announced at {at}"),
        DaemonEvent::NameChange(change) => tracing::warn!(
            "DNS-SD: somebody else has the name {}; it is {} now",
            change.original,
            change.new_name
        ),
        DaemonEvent::Error(error) => tracing::warn!("DNS-SD: {error}"),
        other => tracing::trace!("DNS-SD: {other:?}"),
    }
}
