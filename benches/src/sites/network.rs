//! Branch offices made of network namespaces: a router with one public address that translates, a private network that
//! is the same in every office, and a host for each device. The rule: all of it is gone with the value that stands for
//! it, and no address of it is one of this machine's.

use crate::place::{is_root, path, run};
use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::process::Command;

/// The wide area: documentation addresses (RFC 5737), a bridge in the bench's own namespace.
const WAN: &str = "203.0.113";
/// The one network that all offices have.
const LAN: &str = "192.168.7";
/// Sites have the public addresses from here on.
const FIRST_SITE: usize = 11;
/// Devices have the private addresses from here on.
const FIRST_HOST: usize = 10;

/// Where everything that is not an office is: origin and coordinator listen here.
pub(crate) fn wan_address() -> String {
    format!("{WAN}.1")
}

/// The private address of the nth host of an office.
pub(super) fn lan_address(host: usize) -> String {
    format!("{LAN}.{}", FIRST_HOST + host)
}

/// Offices with hosts, and the lines between them.
#[derive(Debug)]
pub struct Network {
    prefix: String,
    sites: usize,
    namespaces: Vec<String>,
}

impl Network {
    /// Lays `sites` offices of `hosts` hosts each, whose line to the world has this speed in each direction.
    ///
    /// # Errors
    /// This is not root in a namespace of its own, or a step of it fails, in the words of the program that took it.
    pub fn lay(sites: usize, hosts: usize, wan_mbit: f64) -> Result<Self> {
        ensure!(
            is_root(),
            "network namespaces are made by root alone; run it as root"
        );
        let mut network = Self {
            prefix: format!("ldr{}", std::process::id()),
            sites,
            namespaces: Vec::new(),
        };
        run_line("ip link add wan type bridge")?;
        run_line(&format!("ip addr add {WAN}.1/24 dev wan"))?;
        run_line("ip link set wan up")?;
        for site in 0..sites {
            network.lay_site(site, hosts, wan_mbit)?;
        }
        Ok(network)
    }

    fn lay_site(&mut self, site: usize, hosts: usize, wan_mbit: f64) -> Result<()> {
        let router = self.add(self.router(site))?;
        let (near, far) = (line_of(site), "up0");
        // At 100 Mbit/s 20 ms of it: enough for a full line, and no queue of seconds.
        let shape = format!("root tbf rate {wan_mbit}mbit burst 64kb latency 20ms");
        for line in [
            format!("ip link add {near} type veth peer name {far} netns {router}"),
            format!("ip link set {near} master wan up"),
            format!("tc qdisc add dev {near} {shape}"),
            format!(
                "ip -n {router} addr add {WAN}.{}/24 dev {far}",
                FIRST_SITE + site
            ),
            format!("ip -n {router} link set {far} up"),
            format!("ip netns exec {router} tc qdisc add dev {far} {shape}"),
            format!("ip -n {router} link add lan type bridge"),
            format!("ip -n {router} addr add {LAN}.1/24 dev lan"),
            format!("ip -n {router} link set lan up"),
            format!("ip netns exec {router} nft add table ip nat"),
            format!(
                "ip netns exec {router} nft add chain ip nat out {{ type nat hook postrouting priority 100 ; }}"
            ),
            format!("ip netns exec {router} nft add rule ip nat out oifname {far} masquerade"),
            // The port of peers leads in, to the appliance where there is one.
            format!(
                "ip netns exec {router} nft add chain ip nat in {{ type nat hook prerouting priority dstnat ; }}"
            ),
            format!(
                "ip netns exec {router} nft add rule ip nat in iifname {far} tcp dport 7680 dnat to {}:7680",
                lan_address(0)
            ),
            format!("ip netns exec {router} sysctl -qw net.ipv4.ip_forward=1"),
        ] {
            run_line(&line)?;
        }
        for host in 0..hosts {
            let device = self.add(self.host(site, host))?;
            let port = format!("p{host}");
            for line in [
                format!("ip -n {router} link add {port} type veth peer name eth0 netns {device}"),
                format!("ip -n {router} link set {port} master lan up"),
                format!("ip -n {device} addr add {}/24 dev eth0", lan_address(host)),
                format!("ip -n {device} link set eth0 up"),
                format!("ip -n {device} route add default via {LAN}.1"),
            ] {
                run_line(&line)?;
            }
        }
        Ok(())
    }

    /// Shapes what comes in behind each office's router instead, with a queue of so many milliseconds, and has those at
    /// the far end send by cubic, which fills it. Where sender and queue are in one namespace, the kernel lets no
    /// connection have more than a little in the queue.
    ///
    /// # Errors
    /// As [`Network::lay`].
    pub fn deepen(&self, wan_mbit: f64, queue_ms: u64) -> Result<()> {
        for site in 0..self.sites {
            run_line(&format!("tc qdisc del dev {} root", line_of(site)))?;
            run_line(&format!(
                "ip netns exec {} tc qdisc replace dev lan root tbf rate {wan_mbit}mbit burst 16kb latency {queue_ms}ms",
                self.router(site)
            ))?;
        }
        run_line(&format!(
            "ip route replace {WAN}.0/24 dev wan proto kernel scope link src {WAN}.1 congctl cubic"
        ))
    }

    fn add(&mut self, name: String) -> Result<String> {
        run("ip", &["netns", "add", &name])?;
        self.namespaces.push(name.clone());
        run("ip", &["-n", &name, "link", "set", "lo", "up"])?;
        Ok(name)
    }

    fn router(&self, site: usize) -> String {
        format!("{}s{site}r", self.prefix)
    }

    fn host(&self, site: usize, host: usize) -> String {
        format!("{}s{site}h{host}", self.prefix)
    }

    /// A command that runs on the nth host of an office.
    #[must_use]
    pub fn command(&self, site: usize, host: usize, program: &Path) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.host(site, host)])
            .arg(program)
            .env("PATH", path());
        command
    }

    /// What has come in by an office's line so far, in bytes, headers and all.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn wan_in_bytes(&self, site: usize) -> Result<u64> {
        // What leaves this end arrives there.
        sent_bytes(None, &line_of(site))
    }

    /// What an office's router has sent on to its hosts so far, in bytes, headers and all.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn lan_in_bytes(&self, site: usize) -> Result<u64> {
        sent_bytes(Some(&self.router(site)), "lan")
    }

    /// What has left the side of origin and coordinator so far, in bytes, headers and all.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn origin_out_bytes(&self) -> Result<u64> {
        sent_bytes(None, "wan")
    }

    /// The public address of an office.
    #[must_use]
    pub fn public_address(&self, site: usize) -> String {
        format!("{WAN}.{}", FIRST_SITE + site)
    }

    /// How many offices there are.
    #[must_use]
    pub fn sites(&self) -> usize {
        self.sites
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // Each step is tried, whatever became of the one before: a network that was laid in part is taken away, too.
        for name in &self.namespaces {
            let _ = run("ip", &["netns", "del", name]);
        }
        let _ = run("ip", &["link", "del", "wan"]);
    }
}

fn line_of(site: usize) -> String {
    format!("wan{site}")
}

fn sent_bytes(namespace: Option<&str>, link: &str) -> Result<u64> {
    // By the link's own words and not /sys, which shows the namespace that it was mounted in.
    let output = Command::new("ip")
        .args(namespace.map(|name| ["-n", name]).into_iter().flatten())
        .args(["-s", "-j", "link", "show", "dev", link])
        .env("PATH", path())
        .output()
        .context("cannot start ip")?;
    let links: serde_json::Value =
        serde_json::from_slice(&output.stdout).context("ip -s -j link answers no JSON")?;
    links[0]["stats64"]["tx"]["bytes"]
        .as_u64()
        .with_context(|| format!("ip does not tell what {link} has sent"))
}

fn run_line(line: &str) -> Result<()> {
    let mut words = line.split(' ');
    let program = words.next().unwrap_or_default();
    run(program, &words.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests;
