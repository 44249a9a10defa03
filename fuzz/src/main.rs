//! One program for all targets, of which the environment names one. The rule: a target is a line in [`TARGETS`] and a
//! function that takes bytes; what it asks for it asks by `assert`.
#![no_main]

mod http;
mod input;
mod names;
mod settings;
mod storage;
mod swarm;

use libfuzzer_sys::fuzz_target;
use std::sync::OnceLock;

/// What is fuzzed: its name, the longest input that is of use, and what is done with an input.
type Target = (&'static str, u32, fn(&[u8]));

/// All of them.
const TARGETS: &[Target] = &[
    ("head", 2048, http::head),
    ("conn", 2048, http::conn),
    ("range", 256, http::range),
    ("route", 512, http::route),
    ("answer", 1024, http::answer),
    ("fresh", 1024, http::fresh),
    ("wire", 1024, swarm::wire),
    ("session", 1024, swarm::session),
    ("tracker", 2048, swarm::tracker),
    ("dhcp", 1024, names::dhcp),
    ("dns", 1024, names::dns),
    ("netlogon", 1024, names::netlogon),
    ("netlink", 1024, names::netlink),
    ("certificate", 512, names::certificate),
    ("config", 2048, settings::config),
    ("import", 2048, settings::import),
    ("phf", 2048, storage::phf),
    ("record", 1024, storage::record),
    ("slab", 1024, storage::slab),
    ("catalogue", 128, storage::catalogue),
];

static CHOSEN: OnceLock<fn(&[u8])> = OnceLock::new();

/// Without a name all are listed, which is how `run` knows them.
fn choose() {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let Some((_, _, run)) = TARGETS.iter().find(|(known, _, _)| *known == name) else {
        for (known, bytes_max, _) in TARGETS {
            println!("{known} {bytes_max}");
        }
        std::process::exit(i32::from(!name.is_empty()));
    };
    if name == "catalogue" {
        storage::take_panics_back();
    }
    CHOSEN.get_or_init(|| *run);
}

fuzz_target!(
    init: choose(),
    |data: &[u8]| {
        if let Some(run) = CHOSEN.get() {
            run(data);
        }
    }
);
