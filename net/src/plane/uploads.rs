//! The one place that grants bytes to peers. The rule: no byte of a piece leaves for a peer that was not granted here;
//! shard threads take leases, so that they share no counter that each byte goes through.

use crate::settings::Settings;
use larder_proto::bucket::{Bucket, Lease, Take};
use larder_proto::time::Time;
use parking_lot::Mutex;

/// What all shards may upload, together.
#[derive(Debug)]
pub(crate) struct Uploads(Mutex<Bucket>);

impl Uploads {
    /// Without a limit until the settings say otherwise.
    pub(crate) fn new(now: Time) -> Self {
        Self(Mutex::new(Bucket::new(0, now)))
    }
}

/// What one shard was granted and has not sent.
#[derive(Debug, Default)]
pub(crate) struct Allowance(Lease);

impl Allowance {
    /// How many of `want` bytes may leave for a peer now, or when to ask again.
    pub(crate) fn take(
        &mut self,
        want: u64,
        settings: &Settings,
        uploads: &Uploads,
        now: Time,
    ) -> Take {
        let rate = settings.policies.upload_bytes_s_max;
        self.0.take(want, rate, |bytes| {
            let mut bucket = uploads.0.lock();
            bucket.set_rate(rate, now);
            bucket.take(bytes, now)
        })
    }

    /// Some bytes have not left after all.
    pub(crate) fn give_back(&mut self, bytes: u64) {
        self.0.give_back(bytes);
    }
}
