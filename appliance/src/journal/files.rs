//! Files of lines that make room for their successors. The rule: all of one family together are never larger than so
//! many files of so many bytes; a line is whole or is not read.

use super::entry::Entry;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// One family of files: `name.jsonl`, which is written to, and `name.1.jsonl` and so on, the older the higher.
pub(super) struct Files {
    folder: PathBuf,
    name: &'static str,
    bytes_max: u64,
    count_max: u32,
    /// When the present file got its first line.
    began: Option<SystemTime>,
    has_failed: bool,
}

impl Files {
    pub(super) const fn new_in(
        folder: PathBuf,
        name: &'static str,
        bytes_max: u64,
        count_max: u32,
    ) -> Self {
        Self {
            folder,
            name,
            bytes_max,
            count_max,
            began: None,
            has_failed: false,
        }
    }

    pub(super) fn new(folder: &Path, name: &'static str, bytes_max: u64, count_max: u32) -> Self {
        Self::new_in(folder.to_path_buf(), name, bytes_max, count_max)
    }

    /// Adds these. What can not be written is lost, and that is said once.
    pub(super) fn write(&mut self, entries: &[Entry]) {
        if entries.is_empty() {
            return;
        }
        match self.add(entries) {
            Ok(()) => self.has_failed = false,
            Err(error) => {
                if !std::mem::replace(&mut self.has_failed, true) {
                    tracing::warn!(%error, "the log of downloads in {} can not be written", self.folder.display());
                }
            }
        }
    }

    fn add(&mut self, entries: &[Entry]) -> io::Result<()> {
        let mut lines = Vec::new();
        for entry in entries {
            serde_json::to_writer(&mut lines, entry)?;
            lines.push(b'\n');
        }
        fs::create_dir_all(&self.folder)?;
        let path = self.path(0);
        let mut present = fs::metadata(&path).map_or(0, |found| found.len());
        if present > 0 && present + lines.len() as u64 > self.bytes_max {
            self.turn()?;
            present = 0;
        }
        let mut file = open(&path)?;
        // A line that was cut off by a power cut is ended, so that it spoils no other.
        if present > 0 && !ends_with_line(&path)? {
            file.write_all(b"\n")?;
        }
        file.write_all(&lines)?;
        self.began.get_or_insert_with(SystemTime::now);
        Ok(())
    }

    fn path(&self, nth: u32) -> PathBuf {
        self.folder.join(match nth {
            0 => format!("{}.jsonl", self.name),
            nth => format!("{}.{nth}.jsonl", self.name),
        })
    }

    /// Begins a new file.
    fn turn(&mut self) -> io::Result<()> {
        for nth in (0..self.count_max - 1).rev() {
            match fs::rename(self.path(nth), self.path(nth + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.began = None;
        Ok(())
    }

    /// Forgets what is older; a quarter of that later at most.
    pub(super) fn keep_for(&mut self, retention: Duration) {
        let now = SystemTime::now();
        let age = |at: SystemTime| now.duration_since(at).unwrap_or_default();
        // One of an earlier process began at an unknown time.
        let present = fs::metadata(self.path(0)).and_then(|found| found.modified());
        let began = self.began.or(present.ok());
        if began.is_some_and(|at| age(at) >= retention / 4) && self.turn().is_err() {
            return;
        }
        for nth in 1..self.count_max {
            let path = self.path(nth);
            let modified = fs::metadata(&path).and_then(|found| found.modified());
            if modified.is_ok_and(|at| age(at) >= retention) {
                // Tried again at the next look.
                let _ = fs::remove_file(path);
            }
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path)
}

fn ends_with_line(path: &Path) -> io::Result<bool> {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = File::open(path)?;
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

#[cfg(test)]
mod tests {
    use super::super::entry::Level;
    use super::*;

    fn entry(words: &str) -> Entry {
        Entry::new(Level::Info, "test", words.to_owned())
    }

    fn read(path: &Path) -> Vec<Entry> {
        let text = fs::read_to_string(path).unwrap_or_default();
        let lines = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        lines.collect()
    }

    #[test]
    fn files_turn_and_are_bounded() {
        let folder = tempfile::tempdir().expect("a directory");
        let mut files = Files::new(folder.path(), "x", 1000, 3);
        for nth in 0..100 {
            files.write(&[entry(&format!("{nth}"))]);
        }
        let names = fs::read_dir(folder.path()).expect("read").count();
        assert_eq!(names, 3);
        let sizes = (0..3).map(|nth| fs::metadata(files.path(nth)).expect("there").len());
        assert!(sizes.max() <= Some(1000));
        let last = read(&files.path(0)).pop().expect("an entry");
        assert_eq!(last.message, "99");
    }

    #[test]
    fn half_a_line_spoils_no_other() {
        let folder = tempfile::tempdir().expect("a directory");
        let mut files = Files::new(folder.path(), "x", 10_000, 3);
        files.write(&[entry("first")]);
        let whole = fs::read(files.path(0)).expect("read");
        fs::write(files.path(0), &whole[..whole.len() / 2]).expect("written");
        files.write(&[entry("second")]);
        let words: Vec<_> = read(&files.path(0))
            .into_iter()
            .map(|one| one.message)
            .collect();
        assert_eq!(words, ["second"]);
    }

    #[test]
    fn what_is_too_old_is_gone() {
        let folder = tempfile::tempdir().expect("a directory");
        let mut files = Files::new(folder.path(), "x", 10_000, 3);
        files.write(&[entry("first")]);
        files.keep_for(Duration::from_secs(3600));
        assert_eq!(read(&files.path(0)).len(), 1, "it is young");
        files.keep_for(Duration::ZERO);
        assert!(!files.path(0).exists() && !files.path(1).exists());
    }
}
