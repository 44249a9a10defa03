//! One object for all devices of all offices at once, and what of it crossed which line. The rule: who has not the right
//! bytes is an error, whatever was saved.

use super::arrangement::{Arrangement, Outcome, SOURCES};
use super::device::{Device, appliance, coordinator};
use super::network::{Network, wan_address};
use super::object::{Object, PUBLISHER_KEY};
use crate::kind::Kind;
use crate::servers::Server;
use anyhow::Result;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

const ORIGIN_PORT: u16 = 80;
const LOOK: Duration = Duration::from_millis(10);

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
    object.publish()?;
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
