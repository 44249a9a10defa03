//! A domain controller of Samba's and a DHCP server of dnsmasq's say what group this is. The rule: they run in a network
//! namespace of their own, into which the test starts itself again, and end with it.

use super::super::namespace::{inside, path};
use super::*;
use larder_proto::policy::{Dialect, DownloadMode, Group, GroupFrom, Role, group::group};
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

const UP_WITHIN: Duration = Duration::from_secs(60);
const GUID: &str = "7f8d2c3e-0b1a-4c5d-9e6f-0123456789ab";

fn policies(source: u64) -> Policies {
    let mut policies = Policies::defaults(Role::Device, Dialect::Y2018);
    policies.mode = DownloadMode::Group;
    policies.group_source = GroupSource::of(source, Dialect::Y2018);
    policies
}

fn look(policies: &Policies, root: &Path) -> Names {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(find(policies, root))
}

/// A machine's files.
fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a folder");
    for (path, text) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().expect("below")).expect("made");
        fs::write(path, text).expect("written");
    }
    root
}

#[test]
fn the_suffix_is_the_first_that_is_searched() {
    let root = machine(&[("etc/resolv.conf", "search Corp.Example example\n")]);
    let names = look(&policies(4), root.path());
    assert_eq!(names.dns_suffix.as_deref(), Some("corp.example"));
    let nothing = machine(&[]);
    let names = look(&policies(4), nothing.path());
    let group = group(&policies(4), &names);
    assert_eq!(
        names.trouble(&group),
        " (/etc/resolv.conf names no search domain)"
    );
}

#[test]
fn who_belongs_to_no_domain_looks_for_none() {
    let root = machine(&[(
        "etc/resolv.conf",
        "nameserver 192.0.2.1\nsearch corp.example\n",
    )]);
    assert_eq!(look(&policies(0), root.path()), Names::default());
    let joined = machine(&[(
        "etc/krb5.conf",
        "[libdefaults]\n default_realm = CORP.EXAMPLE\n",
    )]);
    assert_eq!(ad::joined(joined.path()), ["corp.example"]);
    let names = look(&policies(0), joined.path());
    let found = group(&policies(0), &names);
    assert_eq!(
        found,
        Group::SamePublicAddress {
            silent: Some(GroupSource::AdSite)
        }
    );
    let why = names.trouble(&found);
    assert!(why.contains("/etc/resolv.conf names no server"), "{why}");
    let mut lan = policies(1);
    lan.mode = DownloadMode::Lan;
    assert_eq!(
        look(&lan, root.path()),
        Names::default(),
        "groups are for mode 2"
    );
}

/// A program that ends with its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program)
        .env("PATH", path())
        .args(args)
        .output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {said}");
    said
}

fn ip(line: &str) {
    run("ip", &line.split(' ').collect::<Vec<_>>());
}

fn start(program: &str, args: &[&str], log: &Path) -> Running {
    let log = fs::File::create(log).expect("a log");
    let child = Command::new(program)
        .env("PATH", path())
        .args(args)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a log"))
        .stderr(log)
        .spawn();
    Running(child.unwrap_or_else(|error| panic!("{program}: {error}")))
}

/// Looks until it is found, or too long.
fn found(policies: &Policies, root: &Path, log: &Path) -> Names {
    let until = Instant::now() + UP_WITHIN;
    loop {
        let names = look(policies, root);
        if names.troubles.is_empty() {
            return names;
        }
        let said = fs::read_to_string(log).unwrap_or_default();
        assert!(Instant::now() < until, "{names:?}\n{said}");
    }
}

fn a_domain_controller() {
    ip("link set lo up");
    ip("address add 10.7.0.1/24 dev lo");
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let text = |path: &PathBuf| path.display().to_string();
    let target = format!("--targetdir={}", text(&at("ad")));
    let mut provision = "domain provision --realm=CORP.EXAMPLE --domain=CORP --adminpass=Passw0rd.1234 \
                         --server-role=dc --dns-backend=SAMBA_INTERNAL --host-name=dc1 --host-ip=10.7.0.1"
        .split_whitespace()
        .collect::<Vec<_>>();
    provision.push(&target);
    let provisioned = run("samba-tool", &provision);
    let conf = text(&at("ad/etc/smb.conf"));
    let site = format!("sites create Berlin -s {conf}");
    run("samba-tool", &site.split(' ').collect::<Vec<_>>());
    let log = at("log");
    let args = [
        "-i",
        "-s",
        &conf,
        "--debug-stdout",
        "--option=interfaces=10.7.0.1/24",
        "--option=bind interfaces only=yes",
        "--option=server services=rpc, ldap, cldap, dns, kdc",
    ];
    let run_in = format!("--option=pid directory={}", text(&at("ad")));
    let args = [&args[..], &[&run_in]].concat();
    let samba = start("samba", &args, &log);

    let root = machine(&[
        (
            "etc/resolv.conf",
            "nameserver 10.7.0.1\nsearch elsewhere.example\n",
        ),
        (
            "etc/krb5.conf",
            "[libdefaults]\n\tdefault_realm = CORP.EXAMPLE\n",
        ),
    ]);
    let by_sid = found(&policies(2), root.path(), &log);
    let sid = by_sid.domain_sid.clone().expect("a SID");
    assert!(sid.starts_with("S-1-5-21-") && sid.len() > 20, "{sid}");
    assert!(
        provisioned.contains(&format!("{sid}\n")),
        "{sid}: {provisioned}"
    );

    // Two sites, and no subnet: nobody's site is known.
    let names = look(&policies(1), root.path());
    let nowhere = group(&policies(1), &names);
    assert_eq!(nowhere.id(), None);
    let why = names.trouble(&nowhere);
    assert!(
        why.contains("knows no site") || names.ad_site.is_some(),
        "{why}"
    );
    let subnet = format!("sites subnet create 10.7.0.0/24 Berlin -s {conf}");
    run("samba-tool", &subnet.split(' ').collect::<Vec<_>>());
    let by_site = found(&policies(1), root.path(), &log);
    assert_eq!(by_site.ad_site.as_deref(), Some("Berlin"));
    let of = |source, names: &Names| group(&policies(source), names);
    let in_site = of(1, &by_site);
    assert!(matches!(
        in_site,
        Group::Of(_, GroupFrom::Source(GroupSource::AdSite))
    ));
    assert_ne!(in_site.id(), of(2, &by_sid).id());
    // Nothing is set, and the machine belongs to the domain: the site again (seed: Group ID).
    assert_eq!(
        of(0, &found(&policies(0), root.path(), &log)).id(),
        in_site.id()
    );

    // The controller goes: what was known stays, and a beginner is told why there is nothing.
    drop(samba);
    let now = look(&policies(1), root.path());
    assert_eq!(of(1, &now).id(), None);
    assert!(
        now.trouble(&of(1, &now))
            .contains("no controller of corp.example")
    );
    assert_eq!(of(1, &now.or_before(&by_site)).id(), in_site.id());
}

fn a_dhcp_server() {
    for line in [
        "link set lo up",
        "link add here type veth peer name there",
        "link set there up",
        "link set here up",
        "address add 10.7.0.1/24 dev there",
        "address add 10.7.0.9/24 dev here",
    ] {
        ip(line);
    }
    let folder = tempfile::tempdir().expect("a folder");
    let nothing = machine(&[]);
    let names = look(&policies(3), nothing.path());
    let why = names.trouble(&group(&policies(3), &names));
    assert!(
        why.contains("no lease has option 234") && why.contains("no DHCP server"),
        "{why}"
    );
    let log = folder.path().join("log");
    let leases = format!(
        "--dhcp-leasefile={}",
        folder.path().join("leases").display()
    );
    let option = format!("--dhcp-option=234,{GUID}");
    let args = [
        "--no-daemon",
        "--conf-file=/dev/null",
        "--port=0",
        "--no-ping",
        "--log-dhcp",
        "--user=root",
        "--interface=there",
        "--bind-interfaces",
        "--dhcp-range=10.7.0.100,10.7.0.200",
        "--dhcp-option=235,larder.corp.example",
        &option,
        &leases,
    ];
    let _dnsmasq = start("dnsmasq", &args, &log);
    let names = found(&policies(3), nothing.path(), &log);
    assert_eq!(names.dhcp_option.as_deref(), Some(GUID));
    let id = group(&policies(3), &names).id().expect("a group");
    assert_eq!(id.to_string(), GUID);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let hosts = runtime
        .expect("a runtime")
        .block_on(dhcp::option(nothing.path(), 235));
    assert_eq!(hosts.as_deref(), Ok("larder.corp.example"));
    // A lease of this machine's is believed before the server, one for another address is not.
    let other = "00000000-0000-0000-0000-0000000000aa";
    let hex: String = other.bytes().map(|byte| format!("{byte:02x}")).collect();
    let leased = |address: &str| format!("ADDRESS={address}\nOPTION_234={hex}\n");
    let lease = "run/systemd/netif/leases/7";
    let root = machine(&[(lease, &leased("10.7.0.9"))]);
    assert_eq!(
        look(&policies(3), root.path()).dhcp_option.as_deref(),
        Some(other)
    );
    let root = machine(&[(lease, &leased("10.8.0.9"))]);
    assert_eq!(
        look(&policies(3), root.path()).dhcp_option.as_deref(),
        Some(GUID)
    );
}

#[test]
fn a_domain_controller_tells_site_and_sid() {
    inside(
        "discovery::names::tests::a_domain_controller_tells_site_and_sid",
        &["samba", "samba-tool"],
        a_domain_controller,
    );
}

#[test]
fn a_dhcp_server_tells_group_and_cache_hosts() {
    inside(
        "discovery::names::tests::a_dhcp_server_tells_group_and_cache_hosts",
        &["dnsmasq"],
        a_dhcp_server,
    );
}
