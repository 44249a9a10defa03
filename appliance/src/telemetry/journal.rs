//! Log lines as entries of the journal, with fields (systemd's native protocol): `journalctl -u larder -o json`, or
//! `journalctl LARDER_ORIGIN=...`. The rule: a line that the journal does not take goes to standard error, with its
//! priority before it.

use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

/// Where the journal listens.
const SOCKET: &str = "/run/systemd/journal/socket";

/// Longer values are cut: a datagram has to take all of an entry.
const VALUE_BYTES_MAX: usize = 16 << 10;

/// The longest name of a field that the journal takes.
const NAME_BYTES_MAX: usize = 64;

/// Sends each event to the journal.
#[derive(Debug)]
pub(super) struct Journal(UnixDatagram);

impl Journal {
    /// The journal of this machine, where standard error leads to it and it can be reached.
    pub(super) fn of_this_service() -> Option<Self> {
        if !stderr_is(&std::env::var("JOURNAL_STREAM").ok()?) {
            return None;
        }
        Self::at(Path::new(SOCKET)).ok()
    }

    fn at(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        Ok(Self(socket))
    }
}

/// Whether standard error is the stream with these numbers of device and inode. The variable is inherited by
/// whatever a service starts, wherever that writes to.
pub(super) fn stderr_is(stream: &str) -> bool {
    let Ok(is) = rustix::fs::fstat(io::stderr()) else {
        return false;
    };
    stream == format!("{}:{}", is.st_dev, is.st_ino)
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut said = Said::default();
        event.record(&mut said);
        let metadata = event.metadata();
        let priority = priority(*metadata.level());
        let mut entry = Vec::with_capacity(512);
        put(&mut entry, "MESSAGE", &said.message);
        put(&mut entry, "PRIORITY", &priority.to_string());
        put(&mut entry, "SYSLOG_IDENTIFIER", "larder");
        put(&mut entry, "LARDER_MODULE", metadata.target());
        if let (Some(file), Some(line)) = (metadata.file(), metadata.line()) {
            put(&mut entry, "CODE_FILE", file);
            put(&mut entry, "CODE_LINE", &line.to_string());
        }
        for (name, value) in &said.fields {
            put(&mut entry, &name_of(name), value);
        }
        if self.0.send(&entry).is_err() {
            // Nobody is left who could be told that this fails, too.
            let _ = writeln!(io::stderr().lock(), "<{priority}>{}", said.message);
        }
    }
}

/// The priorities of syslog(3).
pub(super) fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

/// What an event says: as a line, and field by field.
#[derive(Default)]
struct Said {
    message: String,
    fields: Vec<(&'static str, String)>,
}

impl Said {
    fn add(&mut self, field: &Field, value: String, shown: &str) {
        if field.name() == "message" {
            self.message.insert_str(0, &value);
            return;
        }
        // Writing to a String does not fail.
        let _ = write!(self.message, " {}={shown}", field.name());
        self.fields.push((field.name(), value));
    }
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        self.add(field, text.clone(), &text);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.to_owned(), &format!("{value:?}"));
    }
}

/// The name that a field has in the journal, which takes capitals, digits and `_`, and no `_` in front.
fn name_of(field: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_uppercase()
        } else {
            '_'
        }
    };
    let name: String = "LARDER_".chars().chain(field.chars().map(plain)).collect();
    name.chars().take(NAME_BYTES_MAX).collect()
}

/// `NAME=value`, or where the value has several lines: the name, its length, and the value.
fn put(entry: &mut Vec<u8>, name: &str, value: &str) {
    let mut end = value.len().min(VALUE_BYTES_MAX);
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    let value = &value[..end];
    entry.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        entry.push(b'\n');
        entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        entry.push(b'=');
    }
    entry.extend_from_slice(value.as_bytes());
    entry.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::layer::SubscriberExt;

    fn entry_of(say: impl FnOnce()) -> Vec<u8> {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("socket");
        let journal = UnixDatagram::bind(&path).expect("bound");
        let layer = Journal::at(&path).expect("connected");
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), say);
        let mut entry = vec![0; 64 << 10];
        let len = journal.recv(&mut entry).expect("an entry");
        entry.truncate(len);
        entry
    }

    #[test]
    fn an_entry_has_its_message_and_each_field() {
        let entry = entry_of(|| {
            tracing::warn!(disk = "/srv/1", count = 3, "piece: {} is damaged", 7);
        });
        let text = String::from_utf8(entry).expect("text");
        for line in [
            "MESSAGE=piece: 7 is damaged disk=\"/srv/1\" count=3",
            "PRIORITY=4",
            "SYSLOG_IDENTIFIER=larder",
            "LARDER_MODULE=larder::telemetry::journal::tests",
            "LARDER_DISK=/srv/1",
            "LARDER_COUNT=3",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
        assert!(
            text.contains("\nCODE_FILE=") && text.contains("\nCODE_LINE="),
            "{text}"
        );
    }

    #[test]
    fn several_lines_are_one_value_and_can_make_no_field() {
        let entry = entry_of(|| tracing::error!("one\nPRIORITY=7"));
        let wanted = [
            b"MESSAGE\n".as_slice(),
            &14_u64.to_le_bytes(),
            b"one\nPRIORITY=7\nPRIORITY=3\n",
        ]
        .concat();
        assert!(
            entry.starts_with(&wanted),
            "{}",
            String::from_utf8_lossy(&entry)
        );
    }

    #[test]
    fn a_value_that_is_too_long_is_cut_between_characters() {
        let long = "ä".repeat(VALUE_BYTES_MAX);
        let entry = entry_of(|| tracing::info!("x{long}"));
        let end = entry
            .iter()
            .position(|byte| *byte == b'\n')
            .expect("a line");
        let message = std::str::from_utf8(&entry[..end]).expect("characters");
        assert_eq!(message.len(), "MESSAGE=".len() + VALUE_BYTES_MAX - 1);
    }

    #[test]
    fn names_are_what_the_journal_takes() {
        assert_eq!(name_of("disk"), "LARDER_DISK");
        assert_eq!(name_of("a.b-c"), "LARDER_A_B_C");
        assert_eq!(name_of(&"x".repeat(99)).len(), NAME_BYTES_MAX);
    }
}
