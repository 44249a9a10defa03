//! Links to appliances elsewhere as they are: their addresses, what went over them, and whether anybody answers there.
//! The rule: all connections and contents of a link share one bucket in each direction, so that it never carries more
//! than its rate; a link where nobody answers is left alone for a while by all of them.
//!
//! What an administrator names is [`larder_proto::links::Link`]. It lies beside the settings, and its accounts begin
//! anew where these change.

use larder_proto::bucket::{Bucket, Take};
use larder_proto::links::{Link, ORIGIN_COST};
use larder_proto::time::Time;
use metrics::{Counter, counter, describe_counter};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::OnceLock;
use std::time::Duration;

/// Who was not reached is tried again after so long, and after twice as long each time.
const AGAIN_MIN: Duration = Duration::from_secs(5);
const AGAIN_MAX: Duration = Duration::from_secs(60);

/// Who turned out to be this very appliance is not tried again for so long.
const ITSELF: Duration = Duration::from_secs(24 * 60 * 60);

/// Addresses of one name that are used.
const ADDRESSES_MAX: usize = 8;

/// Which way bytes go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// To us.
    In,
    /// To the other end.
    Out,
}

/// All links, and what the origin costs.
pub struct Links {
    origin_cost: u32,
    lines: Vec<Line>,
}

/// One link.
pub struct Line {
    link: Link,
    /// By [`Direction`].
    buckets: [Mutex<Bucket>; 2],
    bytes: OnceLock<[Counter; 2]>,
    /// What the names of its ends lead to.
    found: Mutex<HashMap<String, Vec<IpAddr>>>,
    tried: Mutex<HashMap<SocketAddr, Tried>>,
}

#[derive(Clone, Copy, Default)]
struct Tried {
    failures: u32,
    not_before: Time,
}

impl Default for Links {
    fn default() -> Self {
        Self::new(ORIGIN_COST, Vec::new())
    }
}

impl fmt::Debug for Links {
    /// What is configured, and nothing of what has happened: so that a change of settings is seen.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let links = self.lines.iter().map(|line| &line.link);
        f.debug_list()
            .entry(&self.origin_cost)
            .entries(links)
            .finish()
    }
}

impl Links {
    /// These, where a byte from the origin costs so much.
    #[must_use]
    pub fn new(origin_cost: u32, links: Vec<Link>) -> Self {
        let lines = links.into_iter().map(Line::new).collect();
        Self { origin_cost, lines }
    }

    /// Registers what is counted of each with the recorder in force.
    pub fn count(&self) {
        describe_counter!(
            "larder_link_bytes_total",
            "Bytes of pieces that went over a link, by its name and direction."
        );
        for line in &self.lines {
            line.bytes.get_or_init(|| {
                ["in", "out"].map(|direction| {
                    let name = line.link.name.clone();
                    counter!("larder_link_bytes_total", "link" => name, "direction" => direction)
                })
            });
        }
    }

    /// True where none is configured.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter()
    }

    /// Those that cost less than the origin.
    pub fn used(&self) -> impl Iterator<Item = &Line> {
        let cheaper = |line: &&Line| line.link.is_cheaper_than(self.origin_cost);
        self.lines.iter().filter(cheaper)
    }

    /// The appliances at the other ends of those that cost less, each with its link, as far as it is worth trying to reach
    /// them.
    pub fn ends(&self, now: Time) -> impl Iterator<Item = (&Line, SocketAddr)> {
        let all = self.used();
        let all = all.flat_map(|line| line.addresses().into_iter().map(move |at| (line, at)));
        all.filter(move |(line, at)| line.may_try(*at, now))
    }

    /// The link that an address is behind: the one that names it, or else the one with the narrowest network around it.
    #[must_use]
    pub fn of(&self, address: IpAddr) -> Option<&Line> {
        let address = address.to_canonical();
        let narrowest = |line: &&Line| {
            let nets = line.link.networks.iter();
            let around = nets.filter(|net| net.contains(&address));
            around.map(|net| net.prefix_len()).max()
        };
        let named = self.lines.iter().find(|line| line.is_named(address));
        let behind = || {
            let around = self.lines.iter().filter(|line| line.link.has(address));
            around.max_by_key(narrowest)
        };
        named.or_else(behind)
    }

    /// The link that an address is behind, where it costs less than the origin.
    #[must_use]
    pub fn used_of(&self, address: IpAddr) -> Option<&Line> {
        self.of(address)
            .filter(|line| line.link.is_cheaper_than(self.origin_cost))
    }

    /// Finds the addresses of those that are named by names. To be called every so often; a name that can not be looked
    /// up keeps its addresses.
    pub async fn look_up(&self) {
        for line in &self.lines {
            for end in &line.link.ends {
                if end.address().is_some() {
                    continue;
                }
                match tokio::net::lookup_host((end.host.as_str(), end.port)).await {
                    Ok(found) => {
                        let found = found.map(|at| at.ip().to_canonical());
                        let found = found.take(ADDRESSES_MAX).collect();
                        line.found.lock().insert(end.host.clone(), found);
                    }
                    Err(error) => {
                        tracing::warn!(link = %line.link.name, host = %end.host, %error, "the name of an appliance at the other end of a link can not be looked up");
                    }
                }
            }
        }
    }
}

impl Line {
    fn new(link: Link) -> Self {
        let bucket = || Mutex::new(Bucket::new(link.bytes_per_second_max, Time::default()));
        Self {
            buckets: [bucket(), bucket()],
            bytes: OnceLock::new(),
            found: Mutex::default(),
            tried: Mutex::default(),
            link,
        }
    }

    /// What is configured.
    #[must_use]
    pub const fn link(&self) -> &Link {
        &self.link
    }

    fn is_named(&self, address: IpAddr) -> bool {
        let literal = self.link.ends.iter().filter_map(|end| end.address());
        literal.into_iter().any(|own| own == address)
            || self
                .found
                .lock()
                .values()
                .flatten()
                .any(|own| *own == address)
    }

    /// Where the appliances at its other end take peers.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let found = self.found.lock();
        let mut addresses = Vec::new();
        for end in &self.link.ends {
            let at = |ip: IpAddr| SocketAddr::new(ip, end.port);
            match end.address() {
                Some(address) => addresses.push(at(address)),
                None => {
                    let of_name = found.get(&end.host).into_iter().flatten();
                    addresses.extend(of_name.map(|ip| at(*ip)));
                }
            }
        }
        addresses
    }

    /// How many of `want` bytes may go this way now, or when to ask again.
    pub fn take(&self, direction: Direction, want: u64, now: Time) -> Take {
        if self.link.bytes_per_second_max == 0 {
            return Take::Granted(want.max(1));
        }
        self.buckets[direction as usize].lock().take(want, now)
    }

    /// Bytes that were granted have not gone.
    pub fn give_back(&self, direction: Direction, bytes: u64) {
        if bytes > 0 {
            self.buckets[direction as usize].lock().give_back(bytes);
        }
    }

    /// Bytes have gone this way.
    pub fn went(&self, direction: Direction, bytes: u64) {
        if let Some(counters) = self.bytes.get() {
            counters[direction as usize].increment(bytes);
        }
    }

    /// Whether it is worth trying to reach an appliance of it.
    #[must_use]
    pub fn may_try(&self, address: SocketAddr, now: Time) -> bool {
        let tried = self.tried.lock();
        tried
            .get(&address)
            .is_none_or(|tried| now >= tried.not_before)
    }

    /// An appliance answers.
    pub fn reached(&self, address: SocketAddr) {
        if self.tried.lock().remove(&address).is_some() {
            tracing::info!(link = %self.link.name, %address, "the other end of a link answers again");
        }
    }

    /// Nobody answers there.
    pub fn not_reached(&self, address: SocketAddr, now: Time, why: &dyn fmt::Display) {
        let mut tried = self.tried.lock();
        let tried = tried.entry(address).or_default();
        if tried.failures == 0 {
            tracing::warn!(link = %self.link.name, %address, %why, "the other end of a link does not answer; what it has comes from the origin");
        }
        let doubled = AGAIN_MIN * 2_u32.saturating_pow(tried.failures.min(6));
        tried.failures += 1;
        tried.not_before = now + doubled.min(AGAIN_MAX);
    }

    /// It is we who answer there, as where all sites have one list of links.
    pub fn is_itself(&self, address: SocketAddr, now: Time) {
        let tried = Tried {
            failures: 0,
            not_before: now + ITSELF,
        };
        self.tried.lock().insert(address, tried);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use larder_proto::links::End;

    fn link(name: &str, ends: &[&str], networks: &[&str], cost: u32) -> Link {
        Link {
            name: name.to_owned(),
            ends: ends.iter().map(|end| End::read(end).unwrap()).collect(),
            networks: networks.iter().map(|net| net.parse().unwrap()).collect(),
            cost,
            bytes_per_second_max: 100_000,
        }
    }

    fn at(ms: u64) -> Time {
        Time::from_micros(1_000_000_000 + ms * 1000)
    }

    #[tokio::test]
    async fn an_address_is_of_the_link_that_names_it_and_only_cheap_ones_are_used() {
        let links = Links::new(
            50,
            vec![
                link("wide", &["10.1.0.2"], &["10.0.0.0/8"], 10),
                link("narrow", &["localhost:99"], &["10.2.0.0/16"], 49),
                link("dear", &["203.0.113.9"], &[], 50),
            ],
        );
        links.look_up().await;
        let of = |text: &str| {
            let line = links.of(text.parse().unwrap());
            line.map(|line| line.link().name.as_str())
        };
        assert_eq!(of("10.1.0.2"), Some("wide"));
        assert_eq!(of("10.2.0.2"), Some("narrow"));
        assert_eq!(of("::ffff:10.2.0.2"), Some("narrow"));
        assert_eq!(of("127.0.0.1"), Some("narrow"));
        assert_eq!(of("203.0.113.9"), Some("dear"));
        assert_eq!(of("203.0.113.8"), None);
        assert_eq!(links.used().count(), 2);
        assert!(links.used_of("203.0.113.9".parse().unwrap()).is_none());
        let mut lines = links.all().skip(1);
        let narrow = lines.next().unwrap().addresses();
        assert!(
            narrow.contains(&"127.0.0.1:99".parse().unwrap()),
            "{narrow:?}"
        );
    }

    #[test]
    fn both_directions_have_the_rate_and_all_connections_share_it() {
        let links = Links::new(50, vec![link("one", &["10.1.0.2"], &[], 10)]);
        let line = links.all().next().unwrap();
        for direction in [Direction::In, Direction::Out] {
            let (mut now, mut went) = (0, 0);
            while now < 10_000 {
                match line.take(direction, 7000, at(now)) {
                    Take::Granted(bytes) => {
                        went += bytes - 1000.min(bytes);
                        line.give_back(direction, 1000.min(bytes));
                    }
                    Take::Later(_) => now += 10,
                }
            }
            assert!((1_000_000..1_030_000).contains(&went), "{went}");
        }
    }

    #[test]
    fn who_does_not_answer_is_left_alone_longer_and_longer() {
        let links = Links::new(50, vec![link("one", &["10.1.0.2"], &[], 10)]);
        let line = links.all().next().unwrap();
        let end = line.addresses()[0];
        let mut now = 0;
        for pause in [5, 10, 20, 40, 60, 60] {
            assert!(line.may_try(end, at(now)));
            line.not_reached(end, at(now), &"nobody there");
            assert!(!line.may_try(end, at(now + pause * 1000 - 1)));
            now += pause * 1000;
        }
        line.reached(end);
        line.not_reached(end, at(now), &"nobody there");
        assert!(line.may_try(end, at(now + 5000)));
        line.is_itself(end, at(now));
        assert!(!line.may_try(end, at(now + 3_600_000)));
    }
}
