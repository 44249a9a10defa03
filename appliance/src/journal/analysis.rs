//! What a log comes to (seed's successor: `Get-DeliveryOptimizationLogAnalysis`). The rule: a file is counted once however
//! often something of it came, and bytes as often as they came.

use super::entry::{Connection, Entry};
use crate::cmdlets::percent;
use serde::Serialize;
use std::collections::BTreeMap;

/// The sums.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Analysis {
    /// Files that were downloaded.
    pub(crate) files: usize,
    /// Those of them whose mode lets peers bring them.
    pub(crate) eligible_files: usize,
    /// Those of which peers brought something.
    pub(crate) peering_files: usize,
    pub(crate) total_bytes: u64,
    pub(crate) bytes_from_http: u64,
    pub(crate) bytes_from_peers: u64,
    /// Percent of the bytes that came from peers.
    pub(crate) efficiency: f64,
    /// Connections to peers, where they are asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) connections: Option<Vec<Connection>>,
}

/// Adds a log up.
pub(crate) fn analyze(entries: &[Entry], list_connections: bool) -> Analysis {
    let mut analysis = Analysis::default();
    // Whether it was eligible, and whether peers brought something.
    let mut files: BTreeMap<&str, (bool, bool)> = BTreeMap::new();
    for download in entries.iter().filter_map(|entry| entry.download.as_ref()) {
        let file = files.entry(&download.file_id).or_default();
        file.0 |= download.is_eligible();
        file.1 |= download.bytes_from_peers > 0;
        for (sum, more) in [
            (&mut analysis.total_bytes, download.total_bytes),
            (&mut analysis.bytes_from_http, download.bytes_from_http),
            (&mut analysis.bytes_from_peers, download.bytes_from_peers),
        ] {
            *sum = sum.saturating_add(more);
        }
    }
    analysis.files = files.len();
    analysis.eligible_files = files.values().filter(|file| file.0).count();
    analysis.peering_files = files.values().filter(|file| file.1).count();
    analysis.efficiency = percent(analysis.bytes_from_peers, analysis.total_bytes);
    let connections = entries.iter().filter_map(|entry| entry.connection.clone());
    analysis.connections = list_connections.then(|| connections.collect());
    analysis
}

#[cfg(test)]
mod tests {
    use super::super::entry::{Download, Level};
    use super::*;

    #[test]
    fn files_are_counted_once_and_bytes_as_often_as_they_came() {
        let download = |id: &str, mode, http, peers| {
            let mut entry = Entry::new(Level::Info, "Download::end", String::new());
            entry.download = Some(Download {
                file_id: id.to_owned(),
                download_mode: mode,
                total_bytes: http + peers,
                bytes_from_http: http,
                bytes_from_peers: peers,
                ..Download::default()
            });
            entry
        };
        let entries = [
            download("a", 2, 10, 0),
            download("a", 2, 0, 20),
            download("b", 99, 30, 0),
            download("c", 1, 40, 0),
            Entry::of_connection(Connection::default()),
            Entry::new(Level::Info, "Download::begin", "x".to_owned()),
        ];
        let analysis = analyze(&entries, true);
        let counts = (
            analysis.files,
            analysis.eligible_files,
            analysis.peering_files,
        );
        assert_eq!(counts, (3, 2, 1));
        assert_eq!((analysis.total_bytes, analysis.efficiency), (100, 20.0));
        assert_eq!(analysis.connections.map(|all| all.len()), Some(1));
        assert_eq!(analyze(&[], false), Analysis::default());
    }
}
