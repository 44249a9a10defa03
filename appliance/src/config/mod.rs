//! The configuration: read as written (`raw`), then checked ([`check()`]). The rule: only the checked type travels, and
//! a file with a mistake in it changes nothing.

mod check;
mod checked;
mod coordinator;
mod crowds;
mod import;
mod links;
mod policy;
mod privacy;
mod problem;
mod proxy;
mod raw;
mod sources;
#[cfg(test)]
mod tests;
mod tls;
mod typed;
mod variables;

pub use check::{MEMORY_BYTES_MIN, Machine, check};
pub use checked::{Checked, Log, LogFormat, PeerAddress};
pub use coordinator::{Coordination, Embedded};
pub use import::{Imported, import, with_policy};
pub use policy::{Policy, Value, effect as policy_effect, names as policy_names};
pub use privacy::Seen;
pub use problem::{Problem, Problems};
pub(crate) use raw::size_of;

use crate::machine;
use larder_net::http::tls::Pair;
use sources::Sources;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Reads and checks the file at `path` and `conf.d/*.toml` beside it; None gives the defaults.
///
/// # Errors
/// Everything that is wrong in the files, each with its place.
pub fn load(path: Option<&Path>) -> Result<Checked, Problems> {
    let sources = Sources::read(path)?;
    let machine = Machine {
        memory_bytes: machine::memory_bytes(),
        store: default_store(),
        readable: |path| fs::File::open(path).map(drop),
        secret: |path| fs::read_to_string(path),
        pair: |files| Pair::load(files).map(drop),
        others_may_read: |path| {
            fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o004 != 0)
        },
        credentials_directory: std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from),
        variable: |name| std::env::var(name).ok(),
        no_proxy: ["NO_PROXY", "no_proxy"]
            .iter()
            .find_map(|name| std::env::var(name).ok())
            .unwrap_or_default(),
    };
    let (document, problems) = sources.parse();
    if !problems.is_empty() {
        return Err(sources.located(problems));
    }
    let mut checked = check::check_document(document.get_ref(), &machine)
        .map_err(|problems| sources.located(problems))?;
    let policy = document.get_ref().get("policy");
    let settings = policy.and_then(|policy| policy.get_ref().as_table());
    for (name, value) in settings.into_iter().flatten() {
        if let Some(file) = sources.file_of(value.span().start) {
            let name = name.get_ref().to_string();
            checked.policy_files.insert(name, file.to_path_buf());
        }
    }
    checked.files = sources.paths();
    Ok(checked)
}

/// The data directory of the user, as the XDG base directory specification has it.
fn default_store() -> PathBuf {
    let absolute = |name| {
        let path = PathBuf::from(std::env::var_os(name)?);
        path.is_absolute().then_some(path)
    };
    let data = absolute("XDG_DATA_HOME").or_else(|| Some(absolute("HOME")?.join(".local/share")));
    data.unwrap_or_else(|| PathBuf::from("/var/lib"))
        .join("larder")
}
