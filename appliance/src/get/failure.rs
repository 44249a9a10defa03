//! What a download can fail of. The rule: each kind has an exit code of its own, so that a script need not read words.

use std::fmt;
use std::io;
use std::path::Path;

/// Why a download did not succeed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Failure {
    /// What was asked for makes no sense.
    Usage(String),
    /// The origin has no such object, or does not give it.
    Refused { status: u16, what: String },
    /// The origin can not be reached, breaks off, or is in trouble.
    Network(String),
    /// The bytes are not what they should be.
    Verification(String),
    /// There is no room for the file.
    DiskFull(String),
    /// By a signal.
    Interrupted(String),
    /// This machine's: a file that can not be written, say.
    Other(String),
}

impl Failure {
    /// The exit code.
    pub(crate) const fn code(&self) -> u8 {
        match self {
            Self::Other(_) => 1,
            Self::Usage(_) => 2,
            Self::Refused { .. } => 3,
            Self::Network(_) => 4,
            Self::Verification(_) => 5,
            Self::DiskFull(_) => 6,
            // As shells tell an interrupt.
            Self::Interrupted(_) => 130,
        }
    }

    /// What an error of the file system means.
    pub(crate) fn of_io(doing: &str, path: &Path, error: &io::Error) -> Self {
        let path = path.display();
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull(format!(
                "{doing} {path} failed: {error}; make room, or name another place by -o"
            )),
            _ => Self::Other(format!("{doing} {path} failed: {error}")),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { status, what } => write!(f, "{what} (status {status})"),
            Self::Usage(what)
            | Self::Network(what)
            | Self::Verification(what)
            | Self::DiskFull(what)
            | Self::Interrupted(what)
            | Self::Other(what) => f.write_str(what),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_a_code_of_its_own() {
        let what = String::new;
        let all = [
            Failure::Other(what()),
            Failure::Usage(what()),
            Failure::Refused {
                status: 404,
                what: what(),
            },
            Failure::Network(what()),
            Failure::Verification(what()),
            Failure::DiskFull(what()),
            Failure::Interrupted(what()),
        ];
        assert_eq!(all.map(|one| one.code()), [1, 2, 3, 4, 5, 6, 130]);
    }

    #[test]
    fn a_full_disk_is_told_from_other_errors() {
        let of = |kind: io::ErrorKind| Failure::of_io("writing", Path::new("/x"), &kind.into());
        assert_eq!(of(io::ErrorKind::StorageFull).code(), 6);
        assert_eq!(of(io::ErrorKind::QuotaExceeded).code(), 6);
        assert_eq!(of(io::ErrorKind::PermissionDenied).code(), 1);
    }
}
