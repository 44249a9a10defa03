//! Faults of what the kernel lets larder have. The rule: they are tried on the running appliance, and on the doctor where
//! none runs, since either may be the one that is asked.

use super::report::{appliance, look, look_through, origin};
use super::rig::{have, root};

/// A program that is kept from io_uring as by a container's seccomp profile: a filter that answers EPERM to
/// io_uring_setup, put in force by prctl(2) before the program takes perl's place.
const WITHOUT_RING: &str = r#"
my @filter = ([0x20, 0, 0, 0], [0x15, 0, 1, 425], [0x06, 0, 0, 0x00050001], [0x06, 0, 0, 0x7fff0000]);
my $code = join '', map { pack 'S C C L', @$_ } @filter;
my $program = pack 'S x6 P', scalar(@filter), $code;
syscall(157, 38, 1, 0, 0, 0) == 0 or die "no_new_privs: $!";
syscall(157, 22, 2, $program) == 0 or die "seccomp: $!";
exec { $ARGV[0] } @ARGV or die "exec: $!";
"#;

fn through(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn too_few_open_files_are_told() {
    if !have(&["nginx", "prlimit"]) {
        return;
    }
    let nginx = origin();
    let mut larder = appliance(&nginx, |setup| setup.files_max = 1024);
    look(&larder).turned("open-files", "fair", &["1024", "LimitNOFILE"], &[]);
    larder.kill();
    let report = look_through(&larder, &["prlimit", "--nofile=1000:1000"]);
    report.turned(
        "open-files",
        "fair",
        &["1000", "LimitNOFILE"],
        &["appliance"],
    );
    let larder = appliance(&nginx, |_| {});
    look(&larder).is_well("open-files");
}

#[test]
fn too_little_locked_memory_is_told() {
    if !root("to be bound by a limit on purpose") || !have(&["nginx", "prlimit", "setpriv"]) {
        return;
    }
    let nginx = origin();
    let larder = appliance(&nginx, |_| {});
    look(&larder).is_well("locked-memory");
    // Who has this capability is not bound by the limit.
    let bound = [
        "setpriv",
        "--bounding-set=-ipc_lock",
        "--inh-caps=-ipc_lock",
        "prlimit",
        "--memlock=65536:65536",
    ];
    let mut larder = appliance(&nginx, |setup| setup.through = through(&bound));
    look(&larder).turned("locked-memory", "fair", &["LimitMEMLOCK"], &[]);
    larder.kill();
    let report = look_through(&larder, &bound);
    report.turned(
        "locked-memory",
        "fair",
        &["64 KiB", "LimitMEMLOCK"],
        &["appliance"],
    );
}

#[test]
fn a_filter_that_refuses_io_uring_is_told() {
    if !cfg!(target_arch = "x86_64") || !have(&["nginx", "perl"]) {
        return;
    }
    let nginx = origin();
    let larder = appliance(&nginx, |_| {});
    if look(&larder).grade("io-uring") != "good" {
        super::rig::skip("this machine has no io_uring to begin with");
        return;
    }
    let filtered = ["perl", "-e", WITHOUT_RING];
    let mut larder = appliance(&nginx, |setup| setup.through = through(&filtered));
    look(&larder).turned("io-uring", "fair", &["refused", "seccomp"], &[]);
    larder.kill();
    let report = look_through(&larder, &filtered);
    report.turned("io-uring", "fair", &["refused", "seccomp"], &["appliance"]);
}

#[test]
fn a_setting_that_refuses_io_uring_is_told() {
    let needs = "to put another setting of the kernel in place";
    if !cfg!(target_arch = "x86_64") || !root(needs) || !have(&["nginx", "perl", "unshare"]) {
        return;
    }
    let nginx = origin();
    let mut larder = appliance(&nginx, |_| {});
    larder.kill();
    // The setting is the whole machine's, so what it does is done by a filter, and what it says is said to this one alone.
    let value = larder.directory().join("io_uring_disabled");
    std::fs::write(&value, "2\n").expect("written");
    let script = format!(
        "mount --bind {} /proc/sys/kernel/io_uring_disabled && exec \"$@\"",
        value.display()
    );
    let report = look_through(
        &larder,
        &[
            "unshare",
            "--mount",
            "sh",
            "-c",
            &script,
            "sh",
            "perl",
            "-e",
            WITHOUT_RING,
        ],
    );
    let words = ["kernel.io_uring_disabled = 2", "sysctl -w"];
    report.turned("io-uring", "fair", &words, &["appliance"]);
}
