//! The processes of an office: a device that downloads, the appliance beside it, and the coordinator of all. The rule:
//! each has a configuration file of its own, as an administrator would write it.

use super::arrangement::{Arrangement, LAST_AFTER, Share};
use super::network::{Network, lan_address, wan_address};
use super::object::Object;
use crate::place::beside;
use anyhow::{Context, Result, bail, ensure};
use std::fs::{self, File};
use std::io::Read;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The host of an office that is its appliance, where it has one.
const APPLIANCE: usize = 0;
const COORDINATOR_PORT: u16 = 9700;
const START_MAX: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(20);

/// The group of all offices, where they are one.
const GROUP: &str = "6f1d2a34-0c5e-4a7b-9d21-5b7c3e8f9a10";

/// Where the coordinator is.
pub(super) fn coordinator_url() -> String {
    format!("http://{}:{COORDINATOR_PORT}", wan_address())
}

/// The coordinator, at work.
///
/// # Errors
/// It does not start.
pub(super) fn coordinator(directory: &Path, key: &Path) -> Result<Child> {
    let config = format!(
        "[server]\nadmin = \"127.0.0.1:9179\"\n[coordinator]\nhttp = [\"{}:{COORDINATOR_PORT}\"]\n\
         [coordinator.publishers.bench]\nkey_file = {key:?}\ntrust = \"verified\"\n",
        wan_address()
    );
    let file = directory.join("coordinator.toml");
    fs::write(&file, config)?;
    let mut command = Command::new(beside("larder")?);
    command.arg("coordinator").arg("--config").arg(&file);
    let child = spawn(&mut command, directory, "coordinator")?;
    let started = Instant::now();
    while TcpStream::connect((wan_address().as_str(), COORDINATOR_PORT)).is_err() {
        ensure!(
            started.elapsed() < START_MAX,
            "the coordinator does not listen: {}",
            said(directory, "coordinator")
        );
        thread::sleep(LOOK);
    }
    Ok(child)
}

/// The appliance of an office, at work.
///
/// # Errors
/// It does not start.
pub(super) fn appliance(
    network: &Network,
    arrangement: &Arrangement,
    directory: &Path,
    site: usize,
) -> Result<Child> {
    let name = format!("appliance-{site}");
    let home = directory.join(&name);
    fs::create_dir_all(&home)?;
    let config = format!(
        "[server]\nhttp = [\"0.0.0.0:80\"]\npeer = \"0.0.0.0:7680\"\nadmin = \"127.0.0.1:9180\"\nmemory_bytes_max = \"256MiB\"\n\
         shards = 1\n[store]\npaths = [{store:?}]\n[origins]\nallow = [\"{wan}\"]\nimmutable = [\"{wan}/content/*\"]\n[origins.connect]\n\"{wan}\" = \"{wan}:80\"\n\
         [coordinator]\nurl = \"{coordinator}\"\n[policy]\n{policy}",
        store = home.join("store"),
        wan = wan_address(),
        coordinator = coordinator_url(),
        policy = mode(arrangement.share),
    );
    let config = match arrangement.share {
        Share::Links => config + &links(network, site),
        _ => config,
    };
    let file = home.join("larder.toml");
    fs::write(&file, config)?;
    let mut command = network.command(site, APPLIANCE, &beside("larder")?);
    command.arg("serve").arg("--config").arg(&file);
    let child = spawn(&mut command, directory, &name)?;
    let started = Instant::now();
    loop {
        let mut ask = network.command(site, APPLIANCE, "curl".as_ref());
        ask.args(["-sfo", "/dev/null", "http://127.0.0.1:9180/readyz"]);
        if ask.status().context("cannot start curl")?.success() {
            return Ok(child);
        }
        ensure!(
            started.elapsed() < START_MAX,
            "{name} is not ready: {}",
            said(directory, &name)
        );
        thread::sleep(LOOK);
    }
}

/// Links to the appliances of all other offices.
fn links(network: &Network, site: usize) -> String {
    let others = (0..network.sites()).filter(|other| *other != site);
    let link = |other| {
        let peer = network.public_address(other);
        format!("[[links]]\nname = \"office-{other}\"\npeers = [\"{peer}\"]\n")
    };
    others.map(link).collect()
}

/// How a device, or an appliance, takes part.
fn mode(share: Share) -> String {
    match share {
        Share::Nobody => "DODownloadMode = 0\n".to_owned(),
        Share::Office | Share::Links => "DODownloadMode = 1\n".to_owned(),
        Share::Group => format!("DODownloadMode = 2\nDOGroupId = \"{GROUP}\"\n"),
    }
}

/// One device with its download.
pub(super) struct Device {
    name: String,
    child: Child,
    file: PathBuf,
    log: String,
    /// When it ended.
    pub(super) took: Option<Duration>,
}

impl Device {
    pub(super) fn start(
        network: &Network,
        arrangement: &Arrangement,
        directory: &Path,
        object: &Object,
        (site, device): (usize, usize),
    ) -> Result<Self> {
        let name = format!("device-{site}-{device}");
        let home = directory.join(&name);
        fs::create_dir_all(&home)?;
        let mut config = format!(
            "[coordinator]\nurl = \"{}\"\n[policy]\n{}",
            coordinator_url(),
            mode(arrangement.share)
        );
        if arrangement.appliances {
            config.push_str(&format!("DOCacheHost = \"{}\"\n", lan_address(APPLIANCE)));
        }
        let settings = home.join("larder.toml");
        fs::write(&settings, config)?;
        let file = home.join("object.bin");
        let host = device + usize::from(arrangement.appliances);
        let mut command = network.command(site, host, &beside("larder")?);
        command
            .args(["get", &object.url, "--json", "--config"])
            .arg(&settings)
            .arg("-o")
            .arg(&file)
            .env("XDG_CACHE_HOME", home.join("cache"))
            .env("HOME", &home);
        // As a device does, it goes on as a peer while others want the object.
        command.arg("--seed");
        Ok(Self {
            child: spawn(&mut command, directory, &name)?,
            log: name.clone(),
            name,
            file,
            took: None,
        })
    }

    /// Waits until it has the object, whatever it does then.
    pub(super) fn is_done(&mut self, started: Instant, directory: &Path) -> Result<bool> {
        if self.took.is_some() {
            return Ok(true);
        }
        if self.file.is_file() {
            self.took = Some(started.elapsed());
            return Ok(true);
        }
        if let Some(status) = self.child.try_wait()? {
            bail!(
                "{} ended ({status}): {}",
                self.name,
                said(directory, &self.log)
            );
        }
        ensure!(
            started.elapsed() < LAST_AFTER,
            "{} is not done after {} s: {}",
            self.name,
            LAST_AFTER.as_secs(),
            said(directory, &self.log)
        );
        Ok(false)
    }

    /// Ends it as a person would, and gives its own account of where the bytes came from.
    pub(super) fn account(&mut self, directory: &Path) -> Result<serde_json::Value> {
        let pid = self.child.id().to_string();
        crate::place::run("kill", &["-s", "INT", &pid])?;
        self.child.wait()?;
        let said = said(directory, &self.log);
        let begin = said.find('{').unwrap_or(said.len());
        let mut values = serde_json::Deserializer::from_str(&said[begin..]).into_iter();
        let account = values.next();
        account
            .and_then(Result::ok)
            .with_context(|| format!("{} gives no account: {said}", self.name))
    }

    /// Whether it has the right bytes.
    pub(super) fn check(&self, object: &Object) -> Result<()> {
        let mut file = File::open(&self.file)?;
        let mut piece = Vec::new();
        for number in 0..object.phf.pieces() {
            piece.clear();
            let taken = Read::by_ref(&mut file).take(u64::from(larder_content::PIECE_BYTES));
            let mut taken = taken;
            taken.read_to_end(&mut piece)?;
            ensure!(
                object.phf.piece_is(number, &piece),
                "{} has a wrong piece {number}",
                self.name
            );
        }
        ensure!(file.read(&mut [0])? == 0, "{} has too much", self.name);
        Ok(())
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(command: &mut Command, directory: &Path, name: &str) -> Result<Child> {
    let log = File::create(directory.join(format!("{name}.log")))?;
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("cannot start {name}"))
}

fn said(directory: &Path, name: &str) -> String {
    fs::read_to_string(directory.join(format!("{name}.log"))).unwrap_or_default()
}
