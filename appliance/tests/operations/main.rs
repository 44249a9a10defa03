//! What the administrator of many machines has besides the program: rules, dashboards, units, packages. The rule: what
//! lies in `deploy` and `systemd` is tried against the program as it runs, so that neither goes without the other.

mod container;
mod fleet;
mod monitoring;
mod package;
mod renewal;
#[path = "../rig/mod.rs"]
mod rig;
mod shell;

use std::path::{Path, PathBuf};

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
