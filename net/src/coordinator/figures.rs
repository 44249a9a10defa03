//! What is counted of a coordinator. The rule: labels are those listed here, and no caller can make one.

use metrics::{
    Counter, Gauge, Histogram, counter, describe_counter, describe_gauge, describe_histogram,
    gauge, histogram,
};

/// The calls, as they are counted.
pub(super) const CALLS: [&str; 8] = [
    "geo", "join", "leave", "policy", "publish", "reach", "healthz", "other",
];

/// Classes of status codes.
const CLASSES: [&str; 3] = ["done", "refused", "failed"];

/// The handles.
pub(super) struct Figures {
    requests: Vec<Counter>,
    /// From a request's head to its answer.
    pub(super) seconds: Histogram,
    /// Peers that callers were told of.
    pub(super) peers_told: Counter,
    /// Calls that came too often.
    pub(super) limited: Counter,
    /// Calls without the proof that they needed.
    pub(super) unproven: Counter,
    /// Open connections.
    pub(super) connections: Gauge,
    /// Connections that were cut, since others came.
    pub(super) cut: Counter,
    peers: Gauge,
    contents: Gauge,
    records: Gauge,
}

impl Figures {
    /// Registers them with the recorder in force.
    pub(super) fn new() -> Self {
        describe_counter!(
            "larder_coordinator_requests_total",
            "Calls of the coordinator's API, by what was asked and how it ended."
        );
        describe_histogram!(
            "larder_coordinator_request_seconds",
            "From the head of a call to its answer."
        );
        describe_counter!(
            "larder_coordinator_peers_told_total",
            "Peers that callers were told of."
        );
        describe_counter!(
            "larder_coordinator_limited_total",
            "Calls that were refused since their address had called too often."
        );
        describe_counter!(
            "larder_coordinator_unproven_total",
            "Calls that were refused for want of a group's or publisher's proof."
        );
        describe_gauge!(
            "larder_coordinator_connections",
            "Open connections to the coordinator."
        );
        describe_counter!(
            "larder_coordinator_connections_cut_total",
            "Connections that had been idle for the longest and were cut, since others came."
        );
        describe_counter!(
            "larder_coordinator_without_redis_total",
            "Calls that went on in this process's memory, since Redis was away."
        );
        describe_gauge!(
            "larder_coordinator_peers",
            "Peers of all contents that this process keeps: one of two contents counts twice."
        );
        describe_gauge!(
            "larder_coordinator_contents",
            "Contents with peers that this process keeps."
        );
        describe_gauge!(
            "larder_coordinator_records",
            "Contents that this process knows the piece hashes of."
        );
        let requests = CALLS.iter().flat_map(|call| {
            CLASSES.iter().map(move |class| {
                counter!("larder_coordinator_requests_total", "call" => *call, "result" => *class)
            })
        });
        Self {
            requests: requests.collect(),
            seconds: histogram!("larder_coordinator_request_seconds"),
            peers_told: counter!("larder_coordinator_peers_told_total"),
            limited: counter!("larder_coordinator_limited_total"),
            unproven: counter!("larder_coordinator_unproven_total"),
            connections: gauge!("larder_coordinator_connections"),
            cut: counter!("larder_coordinator_connections_cut_total"),
            peers: gauge!("larder_coordinator_peers"),
            contents: gauge!("larder_coordinator_contents"),
            records: gauge!("larder_coordinator_records"),
        }
    }

    /// Counts an answer to one of [`CALLS`].
    pub(super) fn answered(&self, call: usize, status: u16) {
        let class = match status {
            0..400 => 0,
            400..500 => 1,
            _ => 2,
        };
        if let Some(counter) = self.requests.get(call * CLASSES.len() + class) {
            counter.increment(1);
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    pub(super) fn kept(&self, (peers, contents, records): (usize, usize, usize)) {
        self.peers.set(peers as f64);
        self.contents.set(contents as f64);
        self.records.set(records as f64);
    }
}
