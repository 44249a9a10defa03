//! Cache hosts before the origin: asked first and in order, and whatever is wrong with them costs no download.

use super::MIB;
use super::device::Device;
use super::origin::{Manner, Origin};
use super::rig::larder::{FAMILY, Larder, Setup};
use super::rig::{assert_same, real_bytes};

/// A device that has these cache hosts, and where its origin's name leads.
fn device(hosts: &str, origin: &Origin, more: &str) -> (Device, String) {
    let device = Device::new();
    let (host, at) = (FAMILY[0], origin.address());
    device.config(&format!(
        "[policy]\nDOCacheHost = \"{hosts}\"\n{more}\n[origins.connect]\n{host:?} = \"{at}\"\n"
    ));
    (device, format!("http://{host}/x.bin"))
}

#[test]
fn an_appliance_is_asked_first_as_windows_asks_it() {
    let bytes = real_bytes(12 * MIB);
    let origin = Origin::start(bytes.clone(), Manner::default());
    let larder = Larder::start(&Setup {
        origin: Some(origin.address()),
        ..Setup::default()
    });
    let (first, url) = device(&larder.http().to_string(), &origin, "");
    let ended = first.get(&url, &["--json", "--verbose"]).well();
    let json = ended.json();
    assert_same(&first.bytes("x.bin"), &bytes, "by the appliance");
    let by_cache = &json["BytesFromCacheServer"];
    assert_eq!(*by_cache, bytes.len() as u64, "{json}\n{}", ended.stderr);
    assert_eq!(json["BytesFromHttp"], bytes.len() as u64, "{json}");
    assert_eq!(json["CacheHost"], larder.http().to_string());
    origin.take_sent();
    let (second, url) = device(&larder.http().to_string(), &origin, "");
    second.get(&url, &[]).well();
    assert_same(&second.bytes("x.bin"), &bytes, "the second device");
    assert_eq!(origin.take_sent(), 0, "the appliance had it");
}

#[test]
fn a_cache_host_in_trouble_costs_no_download() {
    let bytes = real_bytes(10 * MIB);
    let status = |status| Manner {
        status: Some(status),
        ..Manner::default()
    };
    let manners = [
        ("404", status(404)),
        ("403", status(403)),
        ("503", status(503)),
        ("302", status(302)),
        (
            "cuts",
            Manner {
                cut_after: Some(700_000),
                ..Manner::default()
            },
        ),
    ];
    for (name, manner) in manners {
        let origin = Origin::start(bytes.clone(), Manner::default());
        let cache = Origin::start(bytes.clone(), manner);
        let (device, url) = device(&cache.address().to_string(), &origin, "");
        let json = device.get(&url, &["--json"]).well().json();
        assert_same(&device.bytes("x.bin"), &bytes, name);
        let seen = cache.take_seen();
        assert!(!seen.is_empty(), "{name}: it was asked first");
        assert!(
            seen.iter().all(|line| line.starts_with(&format!("GET /x.bin?cacheHostOrigin={} ", FAMILY[0]))),
            "{name}: {seen:?}"
        );
        let by_cache = json["BytesFromCacheServer"].as_u64();
        assert!(by_cache < Some(bytes.len() as u64), "{name}: {json}");
    }
}

#[test]
fn another_version_at_a_cache_host_is_not_mixed_in() {
    let bytes = real_bytes(20 * MIB);
    let other: Vec<u8> = bytes.iter().rev().copied().collect();
    let origin = Origin::start(bytes.clone(), Manner::default());
    let cache = Origin::start(other.clone(), Manner::default());
    let (device, url) = device(&cache.address().to_string(), &origin, "");
    cache.hold_at(4 << 20);
    let mut process = device.start(&url, &[], "log");
    super::rig::eventually("the cache host holds", || cache.is_held().then_some(()));
    cache.behave(Manner {
        status: Some(404),
        ..Manner::default()
    });
    cache.release();
    let status = process.wait();
    assert!(status.success(), "{status}: {}", process.said());
    // Whichever version it was in the end, it is one.
    let got = device.bytes("x.bin");
    assert!(got == bytes || got == other, "two versions are mixed");
}

#[test]
fn the_next_cache_host_is_asked_before_the_origin() {
    let bytes = real_bytes(8 * MIB);
    let origin = Origin::start(bytes.clone(), Manner::default());
    let gone = Origin::start(
        Vec::new(),
        Manner {
            status: Some(404),
            ..Manner::default()
        },
    );
    let good = Origin::start(bytes.clone(), Manner::default());
    let hosts = format!("127.0.0.1:1, {},{}", gone.address(), good.address());
    let (device, url) = device(&hosts, &origin, "");
    device.get(&url, &[]).well();
    assert_same(&device.bytes("x.bin"), &bytes, "by the third");
    assert_eq!(gone.take_seen().len(), 1, "one refusal is enough");
    assert_eq!(
        (origin.take_sent(), good.take_sent()),
        (0, bytes.len() as u64)
    );
}

#[test]
fn a_delay_gives_a_failing_cache_host_time() {
    let bytes = real_bytes(8 * MIB);
    let origin = Origin::start(bytes.clone(), Manner::default());
    let cache = Origin::start(
        bytes.clone(),
        Manner {
            status: Some(503),
            ..Manner::default()
        },
    );
    let delay = "DODelayCacheServerFallbackForeground = 600";
    let (device, url) = device(&cache.address().to_string(), &origin, delay);
    let mut process = device.start(&url, &[], "log");
    let mut seen = 0;
    super::rig::eventually("it is asked again", || {
        seen += cache.take_seen().len();
        (seen > 1).then_some(())
    });
    cache.behave(Manner::default());
    let status = process.wait();
    assert!(status.success(), "{status}: {}", process.said());
    assert_same(
        &device.bytes("x.bin"),
        &bytes,
        "by the cache host after all",
    );
    assert_eq!(origin.take_sent(), 0);
}

#[test]
fn wrong_bytes_of_a_cache_host_are_fetched_from_the_origin() {
    let bytes = real_bytes(7 * MIB);
    let path = super::rig::larder::named_path(&bytes);
    let mut wrong = bytes.clone();
    wrong[MIB] ^= 1;
    let origin = Origin::start(bytes.clone(), Manner::default());
    let cache = Origin::start(wrong, Manner::default());
    let (device, url) = device(&cache.address().to_string(), &origin, "");
    let url = url.replace("/x.bin", &path);
    device.get(&url, &["-o", "x"]).well();
    assert_same(&device.bytes("x"), &bytes, "the right bytes");
}
