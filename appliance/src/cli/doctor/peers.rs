//! Whether other peers were seen. The rule: it is counted what came to this appliance and what it went to, whoever told it;
//! where there was none, the steps of the seed's troubleshooting are said.

use super::finding::{Told, fair, good};
use super::patient::Patient;
use larder_proto::policy::DownloadMode;

pub(super) fn seen(patient: &Patient) -> Vec<Told> {
    let Some(accepted) = patient.figure("larder_peer_accepted_total") else {
        return Vec::new();
    };
    let mode = patient
        .config
        .as_ref()
        .map(|config| config.settings.policies.mode);
    if let Some(mode @ (DownloadMode::HttpOnly | DownloadMode::Simple | DownloadMode::Bypass)) =
        mode
    {
        let found = format!("none are wanted: DODownloadMode is {}", u8::from(mode));
        return vec![good(found)];
    }
    let of = |name| patient.figure(name).unwrap_or(0.0);
    let (gave, to) = (
        of("larder_peer_sent_bytes_total"),
        of("larder_peer_received_bytes_total"),
    );
    let (asked, from) = (
        of("larder_peer_requests_total"),
        of("larder_peer_download_connections"),
    );
    // Connections alone prove nothing: this program makes some, and the coordinator for it, to see whether the port is open.
    if gave + to + asked + from > 0.0 {
        return vec![good(format!(
            "{accepted} connections of peers since the start, {asked} requests; {gave} bytes given, {to} bytes taken, from \
             {from} just now"
        ))];
    }
    vec![fair(
        "none was seen since the start",
        "download the same content of over 10 MB on another device of this network, with the same DODownloadMode, DOGroupID and coordinator; if it stays at none, see `coordinator` and `port-peer` here and on that device",
    )]
}
