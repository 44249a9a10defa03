//! Keeps the count of what goes to Internet peers in a month. The rule: what may be sent is counted on the disk before
//! it may be, under a lock that all processes with this folder share; so a kill or a power cut forgets nothing, and
//! leaves counted at most 24 MiB that were not sent: one step, and what was left of the one before.

use larder_net::plane::Monthly;
use larder_net::settings::Settings;
use larder_proto::policy::month::{Event, Ledger, Month};
use larder_proto::policy::settings::{GB, MB};
use metrics::{Gauge, describe_gauge, gauge};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// So much is counted at a time.
const STEP_BYTES: u64 = 16 * MB;

/// How often the month and the settings are looked at though nobody sends anything.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The count on the disk.
#[derive(Debug)]
pub(crate) struct Uploads {
    folder: PathBuf,
    monthly: Arc<Monthly>,
    sent: Gauge,
    cap: Gauge,
    has_failed: AtomicBool,
}

impl Uploads {
    /// What lies in this folder. Its figures count with the recorder in force.
    pub(crate) fn new(folder: &Path) -> Self {
        describe_gauge!(
            "larder_upload_month_bytes",
            "Bytes of pieces sent to Internet peers in this calendar month."
        );
        describe_gauge!(
            "larder_upload_month_bytes_max",
            "DOMonthlyUploadDataCap in bytes; 0 is unlimited."
        );
        Self {
            folder: folder.to_path_buf(),
            monthly: Arc::new(Monthly::counted()),
            sent: gauge!("larder_upload_month_bytes"),
            cap: gauge!("larder_upload_month_bytes_max"),
            has_failed: AtomicBool::new(false),
        }
    }

    /// From where bytes are taken.
    pub(crate) fn monthly(&self) -> Arc<Monthly> {
        Arc::clone(&self.monthly)
    }

    /// Looks at month and cap, and counts more where more is wanted. Blocks for as long as the disk takes.
    pub(crate) fn look(&self, settings: &Settings, wants: bool) {
        let cap = settings.policies.upload_month_bytes_max;
        let counted = if wants && self.monthly.is_low() {
            self.count(cap)
        } else {
            read(&self.folder, this_month()).map(|ledger| ledger.bytes())
        };
        match counted {
            Ok(bytes) => {
                self.has_failed.store(false, Ordering::Relaxed);
                self.limit(bytes, cap);
                let sent = bytes.saturating_sub(self.monthly.left());
                self.sent.set(approximately(sent));
            }
            Err(error) => self.failed(&error, cap, wants),
        }
        self.cap.set(approximately(cap));
    }

    /// Counts one step, as far as the cap leaves room. Says what is counted then.
    fn count(&self, cap: u64) -> io::Result<u64> {
        let mut step = 0;
        let bytes = change(&self.folder, this_month(), |ledger| {
            let room = match cap {
                0 => u64::MAX,
                cap => cap.saturating_sub(ledger.bytes()),
            };
            step = STEP_BYTES.min(room);
            Event::Sending(step)
        })?;
        if step > 0 {
            self.monthly.add(step);
        }
        Ok(bytes)
    }

    /// Ends, or goes on, where the count has reached the cap, or the cap or the month is another.
    fn limit(&self, bytes: u64, cap: u64) {
        if cap == 0 || bytes < cap {
            self.monthly.add(0);
        } else if bytes.saturating_sub(self.monthly.left()) >= cap {
            self.give_back();
        } else {
            self.monthly.last();
        }
    }

    /// Without a count nothing goes to Internet peers, unless there is no cap.
    fn failed(&self, error: &io::Error, cap: u64, wants: bool) {
        if !self.has_failed.swap(true, Ordering::Relaxed) {
            let path = file(&self.folder);
            tracing::error!(
                %error,
                "cannot count what goes to Internet peers in {}; they get nothing while DOMonthlyUploadDataCap is set",
                path.display()
            );
        }
        if cap == 0 && wants {
            self.monthly.add(STEP_BYTES);
        } else {
            self.monthly.last();
        }
    }

    /// What was counted and not sent is not to be counted. To be called when nothing is sent any more, or may be.
    pub(crate) fn give_back(&self) {
        let left = self.monthly.end();
        if left > 0
            && let Err(error) = change(&self.folder, this_month(), |_| Event::NotSent(left))
        {
            tracing::warn!(%error, "{left} bytes too many are counted as sent to Internet peers");
        }
    }

    /// Looks again and again, until the process ends.
    pub(crate) async fn keep(self: Arc<Self>, settings: Arc<arc_swap::ArcSwap<Settings>>) {
        loop {
            let wanted = tokio::time::timeout(LOOK_EVERY, self.monthly.low()).await;
            let (uploads, settings) = (Arc::clone(&self), settings.load_full());
            let look = move || uploads.look(&settings, wanted.is_ok());
            if tokio::task::spawn_blocking(look).await.is_err() {
                return;
            }
        }
    }
}

/// What `larder policy show` says of it: the bytes, and in words.
pub(crate) fn shown(folder: &Path, cap: u64) -> (u64, String) {
    let month = this_month();
    let bytes = match read(folder, month) {
        Ok(ledger) => ledger.bytes(),
        Err(error) => return (0, format!("not known: {error}")),
    };
    let (year, of_year) = month.parts();
    let mb = bytes.div_ceil(MB);
    let words = match cap {
        0 => format!("{mb} MB in {year}-{of_year:02}, without a cap"),
        cap => format!("{mb} MB of {} GB in {year}-{of_year:02}", cap / GB),
    };
    (bytes, words)
}

fn this_month() -> Month {
    let now = jiff::Zoned::now();
    Month::of(now.year(), now.month())
}

fn file(folder: &Path) -> PathBuf {
    folder.join("uploads.json")
}

/// The count as it is in this month.
fn read(folder: &Path, month: Month) -> io::Result<Ledger> {
    let mut ledger = load(folder)?;
    ledger.apply(Event::Looked, month);
    Ok(ledger)
}

fn load(folder: &Path) -> io::Result<Ledger> {
    let path = file(folder);
    let bytes = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Ledger::default()),
        read => read?,
    };
    let ledger: Option<Ledger> = serde_json::from_slice(&bytes).ok();
    ledger.filter(Ledger::is_sound).ok_or_else(|| {
        let what = format!(
            "{} is damaged; remove it, and the month is counted from nothing",
            path.display()
        );
        io::Error::new(io::ErrorKind::InvalidData, what)
    })
}

/// Changes the count, alone among all processes. Says what counts then.
fn change(folder: &Path, month: Month, event: impl FnOnce(&Ledger) -> Event) -> io::Result<u64> {
    let lock = File::create(folder.join("uploads.lock"))?;
    lock.lock()?;
    let mut ledger = read(folder, month)?;
    let event = event(&ledger);
    if event == Event::Sending(0) {
        return Ok(ledger.bytes());
    }
    ledger.apply(event, month);
    let (path, new) = (file(folder), folder.join("uploads.json.new"));
    let mut written = File::create(&new)?;
    written.write_all(&serde_json::to_vec(&ledger)?)?;
    written.sync_all()?;
    fs::rename(&new, &path)?;
    File::open(folder)?.sync_all()?;
    Ok(ledger.bytes())
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
const fn approximately(bytes: u64) -> f64 {
    bytes as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use larder_proto::http::route::OriginRules;

    const KILLED_BYTES_MAX: u64 = 24 * MB;

    fn limited(cap: u64) -> Settings {
        let mut settings = Settings::new(OriginRules::default());
        settings.policies.upload_month_bytes_max = cap;
        settings
    }

    #[test]
    fn what_is_given_out_is_counted_before_and_never_passes_the_cap() {
        let dir = tempfile::tempdir().expect("a directory");
        let settings = limited(40 * MB);
        let mut given = 0;
        // Each life is killed, but for the last.
        for life in 0..3 {
            let uploads = Uploads::new(dir.path());
            uploads.look(&settings, false);
            assert!(!uploads.monthly.is_over(), "life {life}");
            uploads.look(&settings, true);
            given += uploads.monthly.left();
            assert!(uploads.monthly.left() <= KILLED_BYTES_MAX);
            let (counted, _) = shown(dir.path(), 40 * MB);
            assert_eq!(counted, given, "life {life}");
        }
        assert_eq!(given, 40 * MB);
        let uploads = Uploads::new(dir.path());
        uploads.look(&settings, true);
        assert!(uploads.monthly.is_over());
        let (_, words) = shown(dir.path(), 20 * GB);
        assert!(words.starts_with("40 MB of 20 GB in 20"), "{words}");
        // More is allowed, and less again.
        uploads.look(&limited(0), true);
        assert_eq!(uploads.monthly.left(), STEP_BYTES);
        uploads.look(&settings, true);
        assert!(uploads.monthly.is_over());
        assert_eq!(
            shown(dir.path(), 0).0,
            40 * MB,
            "what was not sent is given back"
        );
    }

    #[test]
    fn what_was_not_sent_is_given_back_at_the_end() {
        let dir = tempfile::tempdir().expect("a directory");
        let uploads = Uploads::new(dir.path());
        uploads.look(&limited(GB), true);
        assert_eq!(shown(dir.path(), GB).0, STEP_BYTES);
        uploads.give_back();
        assert_eq!(shown(dir.path(), GB).0, 0);
    }

    #[test]
    fn many_processes_share_one_count() {
        let dir = tempfile::tempdir().expect("a directory");
        let given: u64 = std::thread::scope(|scope| {
            let one = || {
                let uploads = Uploads::new(dir.path());
                uploads.look(&limited(100 * MB), true);
                uploads.monthly.left()
            };
            let all: Vec<_> = (0..8).map(|_| scope.spawn(one)).collect();
            all.into_iter().map(|one| one.join().expect("ended")).sum()
        });
        assert_eq!(given, 100 * MB);
        assert_eq!(shown(dir.path(), 0).0, 100 * MB);
    }

    #[test]
    fn without_a_count_nothing_goes_unless_there_is_no_cap() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(file(dir.path()), "{\"total\":1,\"months\":[").expect("written");
        let uploads = Uploads::new(dir.path());
        uploads.look(&limited(GB), true);
        assert!(uploads.monthly.is_over());
        assert!(shown(dir.path(), GB).1.contains("damaged"));
        uploads.look(&limited(0), true);
        assert_eq!(uploads.monthly.left(), STEP_BYTES);
    }
}
