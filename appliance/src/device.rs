//! What the machine is as a device: memory, drive, VPN, battery. The rule: what the kernel does not tell is not known;
//! it is read anew whenever it matters, since batteries run down and tunnels come and go.

use larder_net::discovery::links::links;
use larder_proto::netlink::Link;
use larder_proto::policy::{Battery, Facts, Policies, is_vpn};
use std::fs;
use std::path::{Path, PathBuf};

/// ARPHRD_PPP of `<linux/if_arp.h>`.
const KIND_PPP: &str = "512";
/// ARPHRD_NONE: a tunnel without link addresses.
const KIND_NONE: &str = "65534";
/// IFF_UP of `<linux/if.h>`.
const FLAG_UP: u32 = 1;

/// The facts as they are now; `cache` is where the pieces lie.
pub(crate) fn facts(cache: &Path, policies: &Policies) -> Facts {
    let root = Path::new("/");
    let vpn = match links() {
        Ok(links) => vpn_of(&links, policies),
        // A sandbox may forbid the question; then what /sys shows has to do.
        Err(error) => {
            tracing::debug!(%error, "the kernel tells nothing of its interfaces");
            vpn_below(root, policies)
        }
    };
    facts_below(root, cache, vpn)
}

/// The first interface that is up and a VPN's, by the kernel's own word.
fn vpn_of(links: &[Link], policies: &Policies) -> Option<String> {
    let mut up: Vec<&Link> = links.iter().filter(|link| link.is_up).collect();
    up.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let found = up
        .into_iter()
        .find(|link| is_vpn(policies, &link.name, link.tunnel()));
    found.map(|link| link.name.clone())
}

fn facts_below(root: &Path, cache: &Path, vpn: Option<String>) -> Facts {
    Facts {
        ram_available_bytes: fs::read_to_string(root.join("proc/meminfo"))
            .ok()
            .and_then(|text| available(&text)),
        disk_bytes: drive_bytes(cache),
        vpn,
        battery: battery(&root.join("sys/class/power_supply")),
    }
}

/// "Available RAM", in bytes.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// The capacity of the drive that a directory lies on, or will.
fn drive_bytes(cache: &Path) -> Option<u64> {
    let there = cache.ancestors().find(|path| path.exists())?;
    let stat = rustix::fs::statvfs(there).ok()?;
    stat.f_blocks.checked_mul(stat.f_frsize)
}

fn text(path: PathBuf) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.trim().to_owned())
}

/// The names below a folder, in order, so that the answer is always the same.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort_unstable();
    names
}

/// The first interface that is up and a VPN's, by `/sys`.
fn vpn_below(root: &Path, policies: &Policies) -> Option<String> {
    let folder = root.join("sys/class/net");
    names(&folder).into_iter().find(|name| {
        let at = folder.join(name);
        let flags = text(at.join("flags")).unwrap_or_default();
        let flags = u32::from_str_radix(flags.trim_start_matches("0x"), 16).unwrap_or(0);
        flags & FLAG_UP != 0 && is_vpn(policies, name, kind(&at).as_deref())
    })
}

/// What kind of interface it is, as the kernel names it.
fn kind(at: &Path) -> Option<String> {
    let uevent = text(at.join("uevent")).unwrap_or_default();
    let named = uevent
        .lines()
        .find_map(|line| line.strip_prefix("DEVTYPE="));
    if let Some(named) = named {
        return Some(named.to_owned());
    }
    let number = text(at.join("type"))?;
    // A tap belongs to a virtual machine as often as to a VPN: a link address tells it from a tunnel.
    let tunnel = at.join("tun_flags").exists() && number == KIND_NONE;
    match number.as_str() {
        KIND_PPP => Some("ppp".to_owned()),
        _ if tunnel => Some("tun".to_owned()),
        _ => None,
    }
}

/// The battery that it runs on: none where a mains supply is on, or no battery discharges. Of several the fullest
/// counts.
fn battery(folder: &Path) -> Option<Battery> {
    let supplies = names(folder);
    let of = |name: &str, key: &str| text(folder.join(name).join(key));
    let is = |name: &str, key: &str, value: &str| of(name, key).as_deref() == Some(value);
    let on_mains = supplies.iter().any(|name| {
        (is(name, "type", "Mains") || is(name, "type", "USB")) && is(name, "online", "1")
    });
    // A mouse has a battery as well.
    let mut discharging = supplies.iter().filter(|name| {
        is(name, "type", "Battery")
            && !is(name, "scope", "Device")
            && is(name, "status", "Discharging")
    });
    let first = discharging.next().filter(|_| !on_mains)?;
    let charge = |name: &String| of(name, "capacity")?.parse::<u8>().ok();
    let fullest = discharging.filter_map(charge).chain(charge(first)).max();
    Some(Battery { percent: fullest })
}

#[cfg(test)]
mod tests {
    use super::*;
    use larder_proto::policy::{Dialect, Role};

    struct Tree(tempfile::TempDir);

    impl Tree {
        fn new() -> Self {
            Self(tempfile::tempdir().expect("a directory"))
        }

        fn put(&self, path: &str, text: &str) -> &Self {
            let path = self.0.path().join(path);
            fs::create_dir_all(path.parent().expect("below")).expect("made");
            fs::write(path, text).expect("written");
            self
        }

        fn facts(&self) -> Facts {
            let mut policies = Policies::defaults(Role::Device, Dialect::Y2018);
            policies.vpn_keywords = vec!["corp".to_owned()];
            let root = self.0.path();
            facts_below(root, root, vpn_below(root, &policies))
        }
    }

    #[test]
    fn memory_is_what_programs_could_have() {
        let tree = Tree::new();
        assert_eq!(tree.facts().ram_available_bytes, None);
        tree.put(
            "proc/meminfo",
            "MemTotal: 9 kB\nMemFree: 1 kB\nMemAvailable:   4194304 kB\n",
        );
        assert_eq!(tree.facts().ram_available_bytes, Some(4 << 30));
    }

    #[test]
    fn a_drive_is_found_from_where_the_cache_will_be() {
        let tree = Tree::new();
        let there = drive_bytes(tree.0.path());
        assert!(there.is_some_and(|bytes| bytes > 0));
        assert_eq!(drive_bytes(&tree.0.path().join("a/b")), there);
    }

    #[test]
    fn an_interface_is_a_vpn_by_what_the_kernel_says_of_it() {
        let mut policies = Policies::defaults(Role::Device, Dialect::Y2018);
        policies.vpn_keywords = vec!["corp".to_owned()];
        let link = |name: &str, kind: Option<&str>, hardware, is_up| Link {
            name: name.to_owned(),
            kind: kind.map(str::to_owned),
            hardware,
            is_up,
            ..Link::default()
        };
        // Name, kind, what it is to ARP, up: does it make the device one that is connected by VPN.
        let rows = [
            (link("eth0", None, 1, true), false),
            (link("tun0", Some("tun"), 65534, true), true),
            (link("tun0", Some("tun"), 65534, false), false),
            (link("vnet0", Some("tun"), 1, true), false),
            (link("wg0", Some("wireguard"), 65534, true), true),
            (link("ppp0", None, 512, true), true),
            (link("ipsec0", Some("xfrm"), 65534, true), true),
            (link("ovpn0", Some("ovpn"), 65534, true), true),
            (link("br0", Some("bridge"), 1, true), false),
            (link("CorpLan", None, 1, true), true),
            (link("CorpLan", None, 1, false), false),
        ];
        for (link, is_one) in rows {
            let found = vpn_of(std::slice::from_ref(&link), &policies);
            assert_eq!(found.is_some(), is_one, "{link:?}");
        }
    }

    #[test]
    fn a_vpn_counts_while_it_is_up() {
        let tree = Tree::new();
        let net = |name: &str, flags: &str, kind: &str, uevent: &str| {
            tree.put(&format!("sys/class/net/{name}/flags"), flags);
            tree.put(&format!("sys/class/net/{name}/type"), kind);
            tree.put(&format!("sys/class/net/{name}/uevent"), uevent);
        };
        net("eth0", "0x1003", "1", "INTERFACE=eth0");
        net("lo", "0x9", "772", "");
        net("wg0", "0x90", "65534", "DEVTYPE=wireguard\nINTERFACE=wg0");
        assert_eq!(tree.facts().vpn, None, "WireGuard is down");
        net("wg0", "0x91", "65534", "DEVTYPE=wireguard\nINTERFACE=wg0");
        assert_eq!(tree.facts().vpn.as_deref(), Some("wg0"));
        net("wg0", "0x90", "65534", "DEVTYPE=wireguard");
        net("tap0", "0x1003", "1", "");
        tree.put("sys/class/net/tap0/tun_flags", "0x1002");
        assert_eq!(tree.facts().vpn, None, "a tap is a virtual machine's");
        net("tun0", "0x1091", "65534", "");
        tree.put("sys/class/net/tun0/tun_flags", "0x1001");
        assert_eq!(tree.facts().vpn.as_deref(), Some("tun0"));
        net("ppp0", "0x1091", "512", "");
        assert_eq!(tree.facts().vpn.as_deref(), Some("ppp0"));
        net("CorpNet", "0x1003", "1", "");
        assert_eq!(tree.facts().vpn.as_deref(), Some("CorpNet"), "by its name");
    }

    #[test]
    fn a_battery_counts_while_it_is_needed() {
        let tree = Tree::new();
        let supply = |name: &str, keys: &[(&str, &str)]| {
            for (key, value) in keys {
                let value = format!("{value}\n");
                tree.put(&format!("sys/class/power_supply/{name}/{key}"), &value);
            }
        };
        let percent = || tree.facts().battery.map(|battery| battery.percent);
        assert_eq!(percent(), None, "a desktop");
        supply("AC", &[("type", "Mains"), ("online", "1")]);
        let bat0 = [
            ("type", "Battery"),
            ("status", "Discharging"),
            ("capacity", "41"),
        ];
        supply("BAT0", &bat0);
        supply(
            "mouse",
            &[
                ("type", "Battery"),
                ("status", "Discharging"),
                ("scope", "Device"),
                ("capacity", "99"),
            ],
        );
        assert_eq!(percent(), None, "plugged in");
        supply("AC", &[("online", "0")]);
        assert_eq!(percent(), Some(Some(41)));
        supply(
            "BAT1",
            &[
                ("type", "Battery"),
                ("status", "Discharging"),
                ("capacity", "70"),
            ],
        );
        assert_eq!(percent(), Some(Some(70)));
        supply("BAT1", &[("status", "Full")]);
        supply("BAT0", &[("capacity", "?")]);
        assert_eq!(percent(), Some(None), "it does not say how full it is");
        supply("BAT0", &[("status", "Charging")]);
        assert_eq!(percent(), None);
    }
}
