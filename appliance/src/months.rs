//! What this appliance has served and fetched in each calendar month, over restarts. The rule: the file is whole or the
//! one before it, and a file that can not be read is put aside, never written over.

use larder_net::metrics::Figures;
use larder_proto::months::Months;
use larder_proto::policy::month::Month;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Its name in the first directory of the store.
const NAME: &str = "months.json";

/// The form of the file. One of a later form is read as far as it can be, and what is not known of it is handed on.
const VERSION: u32 = 1;

/// More is no file of ours: 48 months of a few dozen sums are under 100 KB.
const BYTES_MAX: u64 = 1 << 20;

/// The months, kept.
pub(crate) struct Kept {
    folder: PathBuf,
    figures: Arc<Figures>,
    books: Mutex<Books>,
}

#[derive(Debug, Default)]
struct Books {
    months: Months,
    /// What of the figures is in the months already.
    counted: BTreeMap<&'static str, u64>,
    /// The months as they were written last.
    written: Months,
    has_failed: bool,
}

#[derive(Serialize, Deserialize)]
struct Form {
    version: u32,
    #[serde(flatten)]
    months: Months,
}

impl Kept {
    /// What lies in this folder. What the figures count from now on is added.
    pub(crate) fn open(folder: &Path, figures: Arc<Figures>) -> Self {
        let months = load(folder).unwrap_or_else(|error| {
            let (path, aside) = (file(folder), folder.join(format!("{NAME}.damaged")));
            let moved = fs::rename(&path, &aside);
            tracing::error!(
                %error,
                "the months of reports can not be read from {}; they are counted anew{}",
                path.display(),
                if moved.is_ok() { format!(", and what was there is in {}", aside.display()) } else { String::new() }
            );
            Months::default()
        });
        let books = Books {
            written: months.clone(),
            months,
            ..Books::default()
        };
        Self {
            folder: folder.to_path_buf(),
            figures,
            books: Mutex::new(books),
        }
    }

    /// The months as they are now.
    pub(crate) fn months(&self) -> Months {
        let mut books = self.books.lock();
        books.count(&self.figures, this_month());
        books.months.clone()
    }

    /// Counts, and writes what has changed. Blocks for as long as the disk takes.
    pub(crate) fn keep(&self) {
        let mut books = self.books.lock();
        books.count(&self.figures, this_month());
        if books.months == books.written {
            return;
        }
        match write(&self.folder, &books.months) {
            Ok(()) => {
                books.written = books.months.clone();
                books.has_failed = false;
            }
            // It is tried again, and nothing is lost as long as the process lives.
            Err(error) => {
                if !std::mem::replace(&mut books.has_failed, true) {
                    let path = file(&self.folder);
                    tracing::error!(%error, "cannot write the months of reports to {}", path.display());
                }
            }
        }
    }
}

impl Books {
    fn count(&mut self, figures: &Figures, month: Month) {
        let counted = &mut self.counted;
        let more = figures.sums().into_iter().map(|(name, all)| {
            let before = counted.insert(name, all).unwrap_or(0);
            (name, all.saturating_sub(before))
        });
        self.months.add(month, more.collect::<Vec<_>>());
    }
}

/// The month by the wall clock, local time.
pub(crate) fn this_month() -> Month {
    let now = jiff::Zoned::now();
    Month::of(now.year(), now.month())
}

fn file(folder: &Path) -> PathBuf {
    folder.join(NAME)
}

fn load(folder: &Path) -> io::Result<Months> {
    let path = file(folder);
    let damaged = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    match fs::metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Months::default()),
        Err(error) => return Err(error),
        Ok(found) if found.len() > BYTES_MAX => return Err(damaged("it is too large")),
        Ok(_) => {}
    }
    let form: Form = serde_json::from_slice(&fs::read(&path)?)?;
    if form.months.is_sound() {
        Ok(form.months)
    } else {
        Err(damaged("it holds what is no month"))
    }
}

fn write(folder: &Path, months: &Months) -> io::Result<()> {
    let form = Form {
        version: VERSION,
        months: months.clone(),
    };
    let new = folder.join(format!("{NAME}.new"));
    let mut written = File::create(&new)?;
    written.write_all(&serde_json::to_vec(&form)?)?;
    written.sync_all()?;
    fs::rename(&new, file(folder))?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served(kept: &Kept) -> u64 {
        let months = kept.months();
        let sums = months.of(this_month());
        sums.and_then(|sums| sums.get("served_memory"))
            .copied()
            .unwrap_or(0)
    }

    #[test]
    fn what_was_counted_outlives_the_process_and_is_counted_once() {
        let dir = tempfile::tempdir().expect("a directory");
        for life in 1..=3 {
            let figures = Arc::new(Figures::new());
            let kept = Kept::open(dir.path(), Arc::clone(&figures));
            figures.bytes_memory.increment(10);
            kept.keep();
            figures.bytes_memory.increment(5);
            kept.keep();
            kept.keep();
            assert_eq!(served(&kept), 15 * life);
        }
    }

    #[test]
    fn a_damaged_file_is_put_aside_and_one_of_tomorrow_is_read() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(file(dir.path()), "{\"version\":1,\"mon").expect("written");
        let figures = Arc::new(Figures::new());
        let kept = Kept::open(dir.path(), Arc::clone(&figures));
        figures.bytes_memory.increment(1);
        kept.keep();
        assert_eq!(served(&kept), 1);
        assert!(dir.path().join("months.json.damaged").exists());
        let newer = r#"{"version":9,"more":{"a":[1]},"months":[{"month":"2020-02","sums":{"of_tomorrow":3}}]}"#;
        fs::write(file(dir.path()), newer).expect("written");
        let figures = Arc::new(Figures::new());
        let kept = Kept::open(dir.path(), Arc::clone(&figures));
        figures.bytes_memory.increment(1);
        kept.keep();
        let text = fs::read_to_string(file(dir.path())).expect("read");
        assert!(
            text.contains("of_tomorrow") && text.contains("2020-02"),
            "{text}"
        );
    }

    #[test]
    fn what_can_not_be_written_is_written_later() {
        let dir = tempfile::tempdir().expect("a directory");
        let folder = dir.path().join("gone");
        let figures = Arc::new(Figures::new());
        let kept = Kept::open(&folder, Arc::clone(&figures));
        figures.bytes_memory.increment(7);
        kept.keep();
        assert_eq!(served(&kept), 7);
        fs::create_dir(&folder).expect("made");
        kept.keep();
        let again = Kept::open(&folder, Arc::new(Figures::new()));
        assert_eq!(served(&again), 7);
    }
}
