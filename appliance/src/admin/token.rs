//! The token that a change asks for. The rule: it is made once, read by nobody but the user that larder runs as, and
//! compared in a time that says nothing of how much of it was right.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Its name in the first directory of the store.
const NAME: &str = "admin.token";
/// 256 bits, as hexadecimal digits.
const BYTES: usize = 32;

/// The token of one appliance.
#[derive(Clone)]
pub(crate) struct Token(String);

/// Where the token of a store lies.
pub(crate) fn file_in(store: &Path) -> PathBuf {
    store.join(NAME)
}

impl Token {
    /// The token of the store, made if there is none. One that others could read is replaced.
    ///
    /// # Errors
    /// Where the file can be neither read nor made.
    pub(crate) fn of_store(store: &Path) -> io::Result<Self> {
        let path = file_in(store);
        match fs::metadata(&path) {
            Ok(found) if found.permissions().mode() & 0o077 == 0 => {
                if let Some(token) = read(&path)? {
                    return Ok(token);
                }
                tracing::warn!("{} holds no token; a new one is made", path.display());
            }
            Ok(_) => tracing::warn!(
                "{} could be read by others than its owner; a new token is made",
                path.display()
            ),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Self::make(store, &path)
    }

    fn make(store: &Path, path: &Path) -> io::Result<Self> {
        let mut random = [0; BYTES];
        File::open("/dev/urandom")?.read_exact(&mut random)?;
        let token = random
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>();
        // Written beside and moved, so that no reader ever sees half of it.
        let fresh = store.join(format!("{NAME}.new"));
        fs::remove_file(&fresh).or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        })?;
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&fresh)?;
        writeln!(file, "{token}")?;
        file.sync_all()?;
        fs::rename(&fresh, path)?;
        Ok(Self(token))
    }

    /// Whether it is the same.
    pub(crate) fn is(&self, offered: &str) -> bool {
        let (ours, offered) = (self.0.as_bytes(), offered.as_bytes());
        if ours.len() != offered.len() {
            return false;
        }
        // All bytes are looked at, and the optimiser is kept from leaving early.
        let differences = ours
            .iter()
            .zip(offered)
            .fold(0, |seen, (a, b)| seen | (a ^ b));
        std::hint::black_box(differences) == 0
    }

    /// As it is sent.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

/// The token in a file, or None where there is none in it.
pub(crate) fn read(path: &Path) -> io::Result<Option<Token>> {
    let text = fs::read_to_string(path)?;
    let token = text.trim();
    let whole = token.len() == 2 * BYTES && token.bytes().all(|byte| byte.is_ascii_hexdigit());
    Ok(whole.then(|| Token(token.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_once_for_its_owner_alone() {
        let store = tempfile::tempdir().expect("a directory");
        let made = Token::of_store(store.path()).expect("made");
        let again = Token::of_store(store.path()).expect("read");
        assert!(made.is(again.text()));
        let mode = fs::metadata(file_in(store.path()))
            .expect("there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn one_that_others_could_read_or_that_is_none_is_replaced() {
        let store = tempfile::tempdir().expect("a directory");
        let path = file_in(store.path());
        let old = Token::of_store(store.path()).expect("made");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("opened up");
        let new = Token::of_store(store.path()).expect("made");
        assert!(!new.is(old.text()));
        fs::write(&path, "x\n").expect("spoilt");
        let third = Token::of_store(store.path()).expect("made");
        assert!(!third.is(new.text()) && third.text().len() == 64);
    }

    #[test]
    fn only_the_same_is_the_same() {
        let token = Token("ab".repeat(32));
        assert!(token.is(&"ab".repeat(32)));
        for other in [
            "",
            "ab",
            &"ab".repeat(33),
            &format!("{}ac", "ab".repeat(31)),
        ] {
            assert!(!token.is(other), "{other}");
        }
    }
}
