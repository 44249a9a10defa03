//! A device's download: a small appliance without listeners, in one process, that fetches one object and writes it to
//! a file. The rule: the engine is the appliance's own, so that a download resumes from the pieces on disk; and a file
//! bears its name only once it is whole and right.
//!
//! `failure` says what can go wrong and by which exit code it is told, `target` where the bytes go, `cache` where the
//! pieces are kept meanwhile, `peering` takes part in swarms, `fetch` brings the pieces, `plain` does so without any,
//! `progress` shows how far it is, and `report` what came of it.

mod cache;
mod failure;
mod fetch;
mod found;
mod peering;
mod plain;
pub(crate) mod progress;
mod report;
mod run;
mod target;
mod url;

pub(crate) use cache::folder as cache_folder;
pub(crate) use failure::Failure;
pub(crate) use found::of_this_network as cache_hosts_of_this_network;
pub(crate) use report::Report;
pub(crate) use run::run;

use crate::config::Checked;
use larder_proto::policy::Priority;
use std::path::PathBuf;

/// What is to be downloaded.
pub(crate) struct Order {
    /// As the user wrote it.
    pub(crate) url: String,
    /// Where to; None: the name in the URL, in the present directory.
    pub(crate) output: Option<PathBuf>,
    pub(crate) config: Checked,
    pub(crate) priority: Priority,
    /// To stay as a peer when it is done.
    pub(crate) seed: bool,
}
