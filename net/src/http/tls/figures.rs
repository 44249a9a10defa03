//! What is counted of TLS for clients. The rule: labels are those listed here, and no client can make one.

use metrics::{
    Counter, Gauge, Histogram, counter, describe_counter, describe_gauge, describe_histogram,
    gauge, histogram,
};

/// How a handshake ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// Well, from the beginning.
    Full,
    /// Well, by a ticket of an earlier one.
    Resumed,
    /// The two could not agree, or it was no TLS.
    Failed,
    /// It took too long.
    Late,
    /// There were too many, and this one had taken the longest.
    CutForAnother,
    /// The client closed.
    Left,
    /// It spoke plain HTTP, and was told.
    PlainHttp,
}

const OUTCOMES: [&str; 7] = [
    "full",
    "resumed",
    "failed",
    "late",
    "cut_for_another",
    "left",
    "plain_http",
];

/// The handles.
pub(super) struct Figures {
    handshakes: [Counter; OUTCOMES.len()],
    /// From an accepted connection to a finished handshake.
    pub(super) seconds: Histogram,
    /// Open connections, handshakes among them.
    pub(super) connections: Gauge,
}

impl Figures {
    /// Registers them with the recorder in force.
    pub(super) fn new() -> Self {
        describe_counter!(
            "larder_tls_handshakes_total",
            "Handshakes with clients, by how they ended."
        );
        describe_histogram!(
            "larder_tls_handshake_seconds",
            "From an accepted connection to a handshake that went well."
        );
        describe_gauge!(
            "larder_tls_connections",
            "Open connections of clients on the ports for https."
        );
        Self {
            handshakes: OUTCOMES
                .map(|result| counter!("larder_tls_handshakes_total", "result" => result)),
            seconds: histogram!("larder_tls_handshake_seconds"),
            connections: gauge!("larder_tls_connections"),
        }
    }

    /// Counts one.
    pub(super) fn ended(&self, outcome: Outcome) {
        self.handshakes[match outcome {
            Outcome::Full => 0,
            Outcome::Resumed => 1,
            Outcome::Failed => 2,
            Outcome::Late => 3,
            Outcome::CutForAnother => 4,
            Outcome::Left => 5,
            Outcome::PlainHttp => 6,
        }]
        .increment(1);
    }
}
