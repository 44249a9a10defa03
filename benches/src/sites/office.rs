//! One object for all devices of all offices at once, and what of it crossed which line. The rule: who has not the right
//! bytes is an error, whatever was saved.

use super::device::{Device, appliance, coordinator, coordinator_url};
use super::network::{Network, wan_address};
use crate::kind::Kind;
use crate::office::runtime;
use crate::servers::Server;
use anyhow::{Context, Result};
use larder_content::Phf;
use larder_content::hash::of_piece;
use larder_net::coordinator::{ClientOptions, CoordinatorClient, Key};
use larder_proto::tracker::message::{PublishRequest, Trust};
use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

const ORIGIN_PORT: u16 = 80;
const PUBLISHER_KEY: &[u8] = b"a key of the bench's own, for as long as it runs";
const LOOK: Duration = Duration::from_millis(10);

/// Nobody takes longer; then the run is broken.
pub(super) const LAST_AFTER: Duration = Duration::from_secs(300);

/// Where a device's bytes come from, by the names of its account; the cache server's are among those by HTTP.
pub const SOURCES: [&str; 5] = [
    "BytesFromHttp",
    "BytesFromCacheServer",
    "BytesFromLanPeers",
    "BytesFromGroupPeers",
    "BytesFromInternetPeers",
];

/// Who shares with whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Share {
    /// Nobody: all by HTTP.
    Nobody,
    /// The devices of an office (mode 1).
    Office,
    /// All offices, as one group (mode 2).
    Group,
}

/// What is to be tried.
#[derive(Clone, Copy, Debug)]
pub struct Arrangement {
    /// Offices.
    pub sites: usize,
    /// Devices of each that want the object.
    pub devices: usize,
    /// MiB of the object.
    pub mib: u64,
    /// Mbit/s of each office's line.
    pub wan_mbit: f64,
    /// Whether each office has an appliance, which its devices know as their cache host.
    pub appliances: bool,
    /// Who shares.
    pub share: Share,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Bytes of the object.
    pub object_bytes: u64,
    /// What came in by each office's line, headers and all.
    pub wan_in_bytes: Vec<u64>,
    /// What left the origin's and the coordinator's side.
    pub origin_bytes: u64,
    /// What all devices together say that they had from each of [`SOURCES`].
    pub sources: [u64; SOURCES.len()],
    /// When the last device had it.
    pub last: Duration,
}

impl Outcome {
    /// Copies of the object that came in by an office's line.
    #[must_use]
    pub fn copies_in(&self, site: usize) -> f64 {
        self.wan_in_bytes[site] as f64 / self.object_bytes as f64
    }

    /// Copies of the object that left the origin.
    #[must_use]
    pub fn origin_copies(&self) -> f64 {
        self.origin_bytes as f64 / self.object_bytes as f64
    }

    /// Copies of the object that went from one office to another.
    #[must_use]
    pub fn between_copies(&self) -> f64 {
        let all: u64 = self.wan_in_bytes.iter().sum();
        all.saturating_sub(self.origin_bytes) as f64 / self.object_bytes as f64
    }
}

/// Processes that end with the value.
struct Running(Vec<Child>);

impl Drop for Running {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Tries it once, in a folder of its own; each `round` is another object.
///
/// # Errors
/// Something does not start, or a device has not the right bytes, in its own words.
pub fn run(arrangement: &Arrangement, directory: &Path, round: u64) -> Result<Outcome> {
    let hosts = arrangement.devices + usize::from(arrangement.appliances);
    let network = Network::lay(arrangement.sites, hosts, arrangement.wan_mbit)?;
    let root = directory.join("root");
    fs::create_dir_all(&root)?;
    let object = Object::make(&root, round, arrangement.mib)?;
    let address: SocketAddr = format!("{}:{ORIGIN_PORT}", wan_address()).parse()?;
    let _origin = Server::nginx(
        Kind::NginxStatic,
        directory,
        &root,
        address,
        address,
        None,
        None,
    )?;
    let key = directory.join("publisher.key");
    fs::write(&key, PUBLISHER_KEY)?;
    let mut running = Running(vec![coordinator(directory, &key)?]);
    publish(&object)?;
    if arrangement.appliances {
        for site in 0..arrangement.sites {
            running
                .0
                .push(appliance(&network, arrangement, directory, site)?);
        }
    }
    let before = counters(&network)?;
    let started = Instant::now();
    let mut devices = Vec::new();
    for site in 0..arrangement.sites {
        for device in 0..arrangement.devices {
            devices.push(Device::start(
                &network,
                arrangement,
                directory,
                &object,
                (site, device),
            )?);
        }
    }
    loop {
        let mut done = true;
        for device in &mut devices {
            done &= device.is_done(started, directory)?;
        }
        if done {
            break;
        }
        thread::sleep(LOOK);
    }
    let last = devices.iter().filter_map(|device| device.took).max();
    let after = counters(&network)?;
    let mut sources = [0; SOURCES.len()];
    for device in &mut devices {
        device.check(&object)?;
        let account = device.account(directory)?;
        for (sum, name) in sources.iter_mut().zip(SOURCES) {
            *sum += account[name].as_u64().unwrap_or_default();
        }
    }
    let both = after.iter().zip(&before);
    let mut grown: Vec<u64> = both.map(|(after, before)| after - before).collect();
    let origin_bytes = grown.pop().unwrap_or_default();
    Ok(Outcome {
        object_bytes: arrangement.mib << 20,
        wan_in_bytes: grown,
        origin_bytes,
        sources,
        last: last.unwrap_or_default(),
    })
}

/// What came in by each line, and last what left the origin's side.
fn counters(network: &Network) -> Result<Vec<u64>> {
    let mut all: Vec<u64> = (0..network.sites())
        .map(|site| network.wan_in_bytes(site))
        .collect::<Result<_>>()?;
    all.push(network.origin_out_bytes()?);
    Ok(all)
}

/// Tells the coordinator what the object is, as its vendor would.
fn publish(object: &Object) -> Result<()> {
    let options = ClientOptions {
        publisher_key: Some(Key::new("bench", PUBLISHER_KEY).map_err(anyhow::Error::msg)?),
        ..ClientOptions::new(coordinator_url())
    };
    let mut request = PublishRequest::new(object.phf.clone(), Trust::Verified);
    request.content_cdn_urls.push(object.url.clone());
    runtime()?.block_on(async {
        let client = CoordinatorClient::new(options)?;
        anyhow::Ok(client.publish(&request).await?)
    })
}

/// The object, and what the coordinator is told of it.
pub(super) struct Object {
    pub(super) url: String,
    pub(super) phf: Phf,
}

impl Object {
    fn make(root: &Path, round: u64, mib: u64) -> Result<Self> {
        let mut file = crate::office::guid_file(7_000 + round, mib << 20, 0);
        file.path = format!("/content/object-{round}.bin");
        let path = root.join(&file.path[1..]);
        fs::create_dir_all(path.parent().context("a folder")?)?;
        let mut out = std::io::BufWriter::new(fs::File::create(&path)?);
        let mut hashes = Vec::new();
        let mut piece = Vec::new();
        for number in 0..file.pieces() {
            let (start, end) = file.piece(number);
            piece.resize(usize::try_from(end - start)?, 0);
            file.fill(start, &mut piece);
            hashes.push(of_piece(&piece));
            out.write_all(&piece)?;
        }
        out.flush()?;
        let phf = Phf::new(file.len, hashes)?;
        let url = format!("http://{}{}", wan_address(), file.path);
        Ok(Self { url, phf })
    }
}
