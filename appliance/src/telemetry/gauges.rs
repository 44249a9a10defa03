//! Figures that are asked for at a scrape: the store, the process, the configuration. The rule: handles are made once,
//! and a figure that only grows is a counter.

use super::process::Process;
use larder_storage::driver::DriverKind;
use larder_storage::store;
use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};

/// The handles.
pub(crate) struct Gauges {
    process: Process,
    store_bytes: Gauge,
    store_piece_bytes: Gauge,
    store_capacity_bytes: Gauge,
    store_objects: Gauge,
    store_pieces: Gauge,
    index_bytes: Gauge,
    index_capacity_bytes: Gauge,
    store_degraded: Gauge,
    store_corrupt: Counter,
    store_evictions: Counter,
    index_evictions: Counter,
    store_io_errors: Counter,
    store_not_kept: Counter,
    store_scrubbed: Counter,
    store_scrub_passes: Counter,
    ram_bytes: Gauge,
    ram_capacity_bytes: Gauge,
    ram_pieces: Gauge,
    uring_enabled: Gauge,
    shards: Gauge,
    shards_stuck: Gauge,
    coordinator_reachable: Gauge,
    config_hash: Gauge,
    reload_successful: Gauge,
    reload_success_time: Gauge,
}

/// What is known of the shards at a scrape.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shards {
    pub(crate) threads: usize,
    pub(crate) on_ring: usize,
    pub(crate) stuck: usize,
}

impl Gauges {
    /// Registers them all with the recorder in force.
    pub(crate) fn new(site: &str, driver: Option<DriverKind>) -> Self {
        describe();
        let driver = match driver {
            Some(DriverKind::Ring) => "io_uring",
            Some(DriverKind::Epoll) => "epoll",
            None => "none",
        };
        gauge!(
            "larder_build_info",
            "version" => env!("CARGO_PKG_VERSION"),
            "site" => site.to_owned(),
            "driver" => driver
        )
        .set(1.0);
        Self {
            process: Process::new(),
            store_bytes: gauge!("larder_store_bytes"),
            store_piece_bytes: gauge!("larder_store_piece_bytes"),
            store_capacity_bytes: gauge!("larder_store_capacity_bytes"),
            store_objects: gauge!("larder_store_objects"),
            store_pieces: gauge!("larder_store_pieces"),
            index_bytes: gauge!("larder_index_bytes"),
            index_capacity_bytes: gauge!("larder_index_capacity_bytes"),
            store_degraded: gauge!("larder_store_degraded"),
            store_corrupt: counter!("larder_store_corrupt_total"),
            store_evictions: counter!("larder_store_evictions_total"),
            index_evictions: counter!("larder_index_evictions_total"),
            store_io_errors: counter!("larder_store_io_errors_total"),
            store_not_kept: counter!("larder_store_not_kept_total"),
            store_scrubbed: counter!("larder_store_scrubbed_total"),
            store_scrub_passes: counter!("larder_store_scrub_passes_total"),
            ram_bytes: gauge!("larder_memory_tier_bytes"),
            ram_capacity_bytes: gauge!("larder_memory_tier_capacity_bytes"),
            ram_pieces: gauge!("larder_memory_tier_pieces"),
            uring_enabled: gauge!("larder_uring_enabled"),
            shards: gauge!("larder_shards"),
            shards_stuck: gauge!("larder_shards_stuck"),
            coordinator_reachable: gauge!("larder_coordinator_reachable"),
            config_hash: gauge!("larder_config_hash"),
            reload_successful: gauge!("larder_config_last_reload_successful"),
            reload_success_time: gauge!("larder_config_last_reload_success_timestamp_seconds"),
        }
    }

    /// Takes over what is known now; `coordinator`: whether it answers; None while nobody has asked it.
    pub(crate) fn update(&self, store: &store::Figures, shards: Shards, coordinator: Option<bool>) {
        self.process.update();
        self.coordinator_reachable
            .set(if coordinator == Some(false) { 0.0 } else { 1.0 });
        for (gauge, value) in [
            (&self.store_bytes, store.bytes),
            (&self.store_piece_bytes, store.piece_bytes),
            (&self.store_capacity_bytes, store.capacity_bytes),
            (&self.store_objects, store.objects),
            (&self.store_pieces, store.pieces),
            (&self.index_bytes, store.index_bytes),
            (&self.index_capacity_bytes, store.index_capacity_bytes),
            (&self.ram_bytes, store.ram_bytes),
            (&self.ram_capacity_bytes, store.ram_capacity_bytes),
            (&self.ram_pieces, store.ram_pieces),
            (&self.store_degraded, u64::from(!store.degraded.is_empty())),
            (&self.shards, shards.threads as u64),
            (&self.shards_stuck, shards.stuck as u64),
            (
                &self.uring_enabled,
                u64::from(shards.threads > 0 && shards.on_ring == shards.threads),
            ),
        ] {
            gauge.set(value as f64);
        }
        for (counter, value) in [
            (&self.store_corrupt, store.corrupt_total),
            (&self.store_evictions, store.evictions_total),
            (&self.index_evictions, store.index_evictions_total),
            (&self.store_io_errors, store.io_errors_total),
            (&self.store_not_kept, store.not_kept_total),
            (&self.store_scrubbed, store.scrubbed_total),
            (&self.store_scrub_passes, store.scrub_passes_total),
        ] {
            counter.absolute(value);
        }
    }

    /// Notes which configuration is in force ([`crate::config::Checked::hash`]).
    pub(crate) fn configured(&self, hash: u64) {
        self.config_hash.set(hash as f64);
    }

    /// Notes how the last load of the configuration went; `unix` is when, in seconds since 1970.
    pub(crate) fn reloaded(&self, well: bool, unix: u64) {
        self.reload_successful.set(if well { 1.0 } else { 0.0 });
        if well {
            self.reload_success_time.set(unix as f64);
        }
    }
}

fn describe() {
    for (name, meaning) in [
        (
            "larder_build_info",
            "1, with version, site and driver as labels.",
        ),
        (
            "larder_store_bytes",
            "Disk in use by the store, metadata included.",
        ),
        ("larder_store_piece_bytes", "Bytes of content on disk."),
        (
            "larder_store_capacity_bytes",
            "The most disk that the store may use.",
        ),
        ("larder_store_objects", "Objects in the catalogue."),
        ("larder_store_pieces", "Pieces on disk."),
        (
            "larder_store_degraded",
            "1 while the store does not work as it should; /readyz says why.",
        ),
        (
            "larder_memory_tier_bytes",
            "Memory in use by hot pieces and pieces on their way in.",
        ),
        (
            "larder_memory_tier_capacity_bytes",
            "The most memory that they may use.",
        ),
        ("larder_memory_tier_pieces", "Hot pieces in memory."),
        (
            "larder_uring_enabled",
            "1 where all shard threads use io_uring, 0 where one uses epoll.",
        ),
        (
            "larder_index_bytes",
            "Memory that the pieces on disk are known by.",
        ),
        (
            "larder_index_capacity_bytes",
            "The cap on that, a share of memory_bytes_max.",
        ),
        ("larder_shards", "Shard threads."),
        (
            "larder_shards_stuck",
            "Threads that serve, of the shards and of https, that have not turned since they were last looked at.",
        ),
        (
            "larder_coordinator_reachable",
            "0 while the coordinator does not answer; 1 where it does, or was not asked.",
        ),
        (
            "larder_config_hash",
            "48 bits of a hash of the settings in force, but for addresses, names and sizes.",
        ),
        (
            "larder_config_last_reload_successful",
            "Whether the last load of the configuration went well.",
        ),
        (
            "larder_config_last_reload_success_timestamp_seconds",
            "When the configuration was last loaded well, in seconds since 1970.",
        ),
    ] {
        describe_gauge!(name, meaning);
    }
    for (name, meaning) in [
        (
            "larder_store_corrupt_total",
            "Pieces, table sectors and catalogues found damaged.",
        ),
        ("larder_store_evictions_total", "Pieces evicted."),
        (
            "larder_index_evictions_total",
            "Pieces evicted for want of memory to know them by.",
        ),
        (
            "larder_store_io_errors_total",
            "Failed operations on disks.",
        ),
        (
            "larder_store_not_kept_total",
            "Pieces that were fetched and could not be kept.",
        ),
        (
            "larder_store_scrubbed_total",
            "Pieces on disk that the scrubber has looked at.",
        ),
        (
            "larder_store_scrub_passes_total",
            "Passes of the scrubber over all that is stored.",
        ),
    ] {
        describe_counter!(name, meaning);
    }
}
