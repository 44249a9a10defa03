//! The seed's cmdlets on a running appliance. The rule: keys are compared with the seed's own lists, and numbers with what
//! an origin that keeps a record has sent.

#[path = "../rig/mod.rs"]
mod rig;

mod log;
mod pause;
mod perfsnap;
mod report;
mod status;
mod top;

use rig::larder::{Larder, Setup};
use rig::nginx::Nginx;
use serde_json::Value;
use std::collections::BTreeSet;

const MIB: usize = 1 << 20;

/// What a command prints as JSON.
fn told(larder: &Larder, arguments: &[&str]) -> Value {
    let said = larder.told(&[arguments, &["--json"]].concat());
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
}

fn keys(object: &Value) -> BTreeSet<&str> {
    let object = object.as_object().expect("an object");
    object.keys().map(String::as_str).collect()
}

fn set<'k>(names: &[&'k str]) -> BTreeSet<&'k str> {
    names.iter().copied().collect()
}

/// An origin that sends what lies in `/slow/` at this many bytes a second to each connection, and a larder before it.
fn slow_house(rate: &str) -> (Nginx, Larder) {
    let nginx = Nginx::with_locations(&format!("location /slow/ {{ limit_rate {rate}; }}"));
    let larder = Larder::start(&Setup {
        origin: Some(nginx.address()),
        ..Setup::default()
    });
    (nginx, larder)
}

/// Percentages that stand anywhere in an answer are percentages.
fn assert_percentages(value: &Value) {
    match value {
        Value::Object(keys) => {
            for (key, value) in keys {
                if key.contains("Percent") || key.contains("Efficiency") || key.ends_with("Pct") {
                    let number = value.as_f64().expect("a number");
                    assert!((0.0..=100.0).contains(&number), "{key}: {number}");
                }
                assert_percentages(value);
            }
        }
        Value::Array(values) => values.iter().for_each(assert_percentages),
        _ => {}
    }
}
