//! The format of a store, told by the file `format` in each of its directories. The rule: a larder that does not know a
//! store's format changes nothing in it, and one that does leaves it so that the release before can read it, too.
//!
//! ```text
//! format = 1          what it is
//! readable_by = 1     the oldest format whose larder can read and go on with it
//! written_by = 0.1.0  the larder that made it so, for people
//! ```
//!
//! A store without the file is of format 1, from before there was one. Lines that are not known are passed over. A slab,
//! a table and a row have a version of their own besides, which goes up together with this one.

use super::OpenError;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Goes up with every change of what is on disk. Where the larder of the release before can go on with it, `readable_by`
/// stays: so that it can be gone back to.
const FORMAT: u32 = 1;
const READABLE_BY: u32 = 1;

/// Of stores that do not say.
const FIRST: u32 = 1;

const NAME: &str = "format";

/// What a store says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Format {
    format: u32,
    readable_by: u32,
    written_by: String,
}

impl Format {
    /// None where it says nothing that can be understood.
    fn parse(text: &str) -> Option<Self> {
        let value = |name: &str| {
            let lines = text.lines().filter_map(|line| line.split_once('='));
            lines
                .map(|(key, value)| (key.trim(), value.trim()))
                .find_map(|(key, value)| (key == name).then_some(value))
        };
        let format = value("format")?.parse().ok()?;
        let readable_by = value("readable_by").map_or(Some(format), |by| by.parse().ok())?;
        Some(Self {
            format,
            readable_by,
            written_by: value("written_by").unwrap_or("a newer one").to_owned(),
        })
    }
}

/// Whether this larder may use the store in `directory`, which nobody else has open. A store that is new or does not say
/// says so from now on.
pub(super) fn check(directory: &Path) -> Result<(), OpenError> {
    let path = directory.join(NAME);
    let failed = |source| OpenError::Path {
        path: directory.to_path_buf(),
        source,
    };
    let found = match fs::read_to_string(&path) {
        Ok(text) => Format::parse(&text).ok_or_else(|| {
            let what = format!("the file {NAME} in it does not say `format = NUMBER`");
            failed(io::Error::new(io::ErrorKind::InvalidData, what))
        })?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // On a disk that is full the next start does it; larder serves meanwhile.
            if let Err(error) = write(directory) {
                tracing::warn!("{} can not be written: {error}", path.display());
            }
            return Ok(());
        }
        Err(error) => return Err(failed(error)),
    };
    if found.readable_by > FORMAT || found.format < FIRST {
        return Err(OpenError::Format {
            path: directory.to_path_buf(),
            theirs: found.format,
            written_by: found.written_by,
            ours: FORMAT,
        });
    }
    if found.format > FORMAT {
        tracing::info!(
            "the store at {} is of format {}, by larder {}; this larder knows {FORMAT} and goes on with it",
            directory.display(),
            found.format,
            found.written_by
        );
    }
    Ok(())
}

/// Written beside and moved, so that nobody ever sees half of it.
fn write(directory: &Path) -> io::Result<()> {
    let fresh = directory.join(format!("{NAME}.new"));
    let mut file = File::create(&fresh)?;
    writeln!(
        file,
        "format = {FORMAT}\nreadable_by = {READABLE_BY}\nwritten_by = {}",
        env!("CARGO_PKG_VERSION")
    )?;
    file.sync_all()?;
    fs::rename(&fresh, directory.join(NAME))?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_says_what_it_is_and_is_believed() {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join(NAME);
        check(folder.path()).expect("a new one");
        let said = fs::read_to_string(&path).expect("it says so");
        assert!(said.starts_with("format = 1\nreadable_by = 1\nwritten_by = "));
        check(folder.path()).expect("its own");
        for (text, fine) in [
            ("format = 2\nreadable_by = 1\nwritten_by = 9.0.0\n", true),
            ("format=1", true),
            ("format = 2\nreadable_by = 2\nwritten_by = 9.0.0\n", false),
            ("format = 2\n", false),
            ("format = 0\n", false),
            ("format = two\n", false),
            ("", false),
        ] {
            fs::write(&path, text).expect("written");
            assert_eq!(check(folder.path()).is_ok(), fine, "{text:?}");
            let now = fs::read_to_string(&path).expect("it is there");
            assert_eq!(now, text, "nobody else's word is changed");
        }
    }

    #[test]
    fn an_error_names_both_and_what_to_do() {
        let folder = tempfile::tempdir().expect("a directory");
        let text = "format = 3\nreadable_by = 2\nwritten_by = 0.4.2\n";
        fs::write(folder.path().join(NAME), text).expect("written");
        let error = check(folder.path()).expect_err("newer").to_string();
        let path = folder.path().display();
        let own = env!("CARGO_PKG_VERSION");
        assert_eq!(
            error,
            format!(
                "the store at {path} is of format 3, written by larder 0.4.2, and this is larder {own}, which knows \
                 format 1; nothing in it was changed: install larder 0.4.2 or newer again, or name another directory \
                 under [store] paths"
            )
        );
    }
}
