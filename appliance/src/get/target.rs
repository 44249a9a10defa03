//! Where the bytes go. The rule: a file is written in order beside its place and takes it in one step when it is whole
//! and on the disk, so that nobody ever sees half of it, and an older one stays until then.

use super::Failure;
use super::url::file_name;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Where to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Target {
    /// `-o -`.
    Stdout,
    /// A file, or where one will be.
    File(PathBuf),
    /// Something that can be written to and is no file: a pipe, a terminal, `/dev/null`.
    Stream(PathBuf),
}

impl Target {
    /// What `-o` means for a URL with this path and query.
    ///
    /// # Errors
    /// It can be no place for a file.
    pub(super) fn of(output: Option<&Path>, target: &str) -> Result<Self, Failure> {
        let Some(output) = output else {
            return Self::at(Path::new(&file_name(target)), target);
        };
        if output.as_os_str() == "-" {
            return Ok(Self::Stdout);
        }
        Self::at(output, target)
    }

    fn at(path: &Path, target: &str) -> Result<Self, Failure> {
        match fs::metadata(path) {
            Ok(found) if found.is_dir() => {
                let inside = path.join(file_name(target));
                if inside.is_dir() {
                    let what = format!("{} is a directory; name a file by -o", inside.display());
                    return Err(Failure::Usage(what));
                }
                Ok(Self::File(inside))
            }
            Ok(found) if !found.is_file() => Ok(Self::Stream(path.to_path_buf())),
            // What can not be looked at is told when it is opened.
            _ if path.file_name().is_none() || path.to_string_lossy().ends_with('/') => {
                let what = format!("{} is no name of a file", path.display());
                Err(Failure::Usage(what))
            }
            _ => Ok(Self::File(path.to_path_buf())),
        }
    }

    /// For people.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Stdout => "standard output".to_owned(),
            Self::File(path) | Self::Stream(path) => path.display().to_string(),
        }
    }

    /// Begins to write.
    ///
    /// # Errors
    /// It can not be opened, or another download writes there.
    pub(super) fn open(&self) -> Result<Writer, Failure> {
        let (sink, path): (Box<dyn Write>, PathBuf) = match self {
            Self::Stdout => (Box::new(io::stdout()), PathBuf::from("standard output")),
            Self::Stream(path) => {
                let file = File::options().write(true).open(path);
                let file = file.map_err(|e| Failure::of_io("opening", path, &e))?;
                (Box::new(file), path.clone())
            }
            Self::File(path) => return Writer::beside(path),
        };
        Ok(Writer {
            sink: Sink::Stream(sink),
            path,
            written: 0,
        })
    }
}

enum Sink {
    Stream(Box<dyn Write>),
    /// The file, and where it will be.
    Part(File, PathBuf),
}

/// Something that is being written.
pub(super) struct Writer {
    sink: Sink,
    /// What is written to.
    path: PathBuf,
    written: u64,
}

/// The name that a file has until it is whole.
fn part_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    PathBuf::from(name)
}

impl Writer {
    fn beside(path: &Path) -> Result<Self, Failure> {
        let part = part_of(path);
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&part);
        let file = file.map_err(|error| Failure::of_io("creating", &part, &error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Failure::Other(format!(
                    "another download writes {} right now; wait for it, or name another file by -o",
                    part.display()
                )));
            }
            // Some file systems know no locks; there two at once are the user's to avoid.
            Err(TryLockError::Error(error)) => {
                tracing::debug!(%error, "{} can not be locked", part.display());
            }
        }
        let mut writer = Self {
            sink: Sink::Part(file, path.to_path_buf()),
            path: part,
            written: 0,
        };
        writer.restart()?;
        Ok(writer)
    }

    /// Adds the next bytes.
    ///
    /// # Errors
    /// The disk's, above all that it is full.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let done = match &mut self.sink {
            Sink::Stream(sink) => sink.write_all(bytes),
            Sink::Part(file, _) => file.write_all(bytes),
        };
        done.map_err(|error| Failure::of_io("writing", &self.path, &error))?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Begins anew, since what was written is of another version.
    ///
    /// # Errors
    /// What went down a pipe can not be taken back.
    pub(super) fn restart(&mut self) -> Result<(), Failure> {
        match &mut self.sink {
            Sink::Stream(_) if self.written > 0 => {
                return Err(Failure::Verification(format!(
                    "the object broke off or changed and has to be fetched anew, and {} bytes of it went to {} already",
                    self.written,
                    self.path.display()
                )));
            }
            Sink::Stream(_) => {}
            Sink::Part(file, _) => {
                let emptied = file.set_len(0).and_then(|()| {
                    use std::io::Seek;
                    file.rewind()
                });
                emptied.map_err(|error| Failure::of_io("emptying", &self.path, &error))?;
            }
        }
        self.written = 0;
        Ok(())
    }

    /// All of it is written and right: it is brought to the disk and takes its place.
    ///
    /// # Errors
    /// The disk's.
    pub(super) fn finish(mut self) -> Result<(), Failure> {
        match &mut self.sink {
            Sink::Stream(sink) => sink
                .flush()
                .map_err(|error| Failure::of_io("writing", &self.path, &error)),
            Sink::Part(file, place) => {
                file.sync_all()
                    .map_err(|error| Failure::of_io("writing", &self.path, &error))?;
                fs::rename(&self.path, &place)
                    .map_err(|error| Failure::of_io("naming", place, &error))?;
                let folder = match place.parent() {
                    Some(folder) if !folder.as_os_str().is_empty() => folder,
                    _ => Path::new("."),
                };
                // The name is not there after a power cut unless its directory is; the bytes are in the store, too.
                if let Err(error) = File::open(folder).and_then(|folder| folder.sync_all()) {
                    tracing::debug!(%error, "{} can not be synced", folder.display());
                }
                Ok(())
            }
        }
    }

    /// It will not be whole. What is there of a file is of no use: it comes again from the store.
    pub(super) fn abandon(self) {
        if let Sink::Part(..) = self.sink {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_o_names_decides_where_it_goes() {
        let dir = tempfile::tempdir().expect("a directory");
        let of = |path: &Path| Target::of(Some(path), "/a/b.cab?x");
        assert_eq!(of(Path::new("-")), Ok(Target::Stdout));
        assert_eq!(of(dir.path()), Ok(Target::File(dir.path().join("b.cab"))));
        let file = dir.path().join("x");
        assert_eq!(of(&file), Ok(Target::File(file.clone())));
        fs::write(&file, "old").expect("written");
        assert_eq!(of(&file), Ok(Target::File(file)));
        let null = PathBuf::from("/dev/null");
        assert_eq!(of(&null), Ok(Target::Stream(null)));
        let usage = |path: &Path| of(path).expect_err("none").code();
        assert_eq!(usage(&dir.path().join("none/")), 2);
        fs::create_dir(dir.path().join("b.cab")).expect("made");
        assert_eq!(usage(dir.path()), 2, "a directory has its name");
        assert_eq!(
            Target::of(None, "/a/c.cab"),
            Ok(Target::File(PathBuf::from("c.cab")))
        );
    }

    #[test]
    fn a_file_takes_its_place_when_it_is_whole() {
        let dir = tempfile::tempdir().expect("a directory");
        let place = dir.path().join("x");
        fs::write(&place, "old").expect("written");
        let target = Target::File(place.clone());
        let read = || fs::read_to_string(&place).expect("there");
        let names = || fs::read_dir(dir.path()).expect("a directory").count();
        let mut writer = target.open().expect("opened");
        writer.write(b"wrong").expect("written");
        assert_eq!(read(), "old");
        let another = target.open().err().map(|failure| failure.code());
        assert_eq!(another, Some(1), "two do not write one file");
        writer.restart().expect("a file can begin anew");
        writer.write(b"new").expect("written");
        writer.finish().expect("finished");
        assert_eq!((read().as_str(), names()), ("new", 1));
        let mut writer = target.open().expect("opened");
        writer.write(b"half").expect("written");
        writer.abandon();
        assert_eq!((read().as_str(), names()), ("new", 1));
        let missing = Target::File(dir.path().join("no/x")).open();
        assert_eq!(missing.err().map(|failure| failure.code()), Some(1));
    }

    #[test]
    fn what_went_down_a_pipe_can_not_be_taken_back() {
        let mut writer = Target::Stream(PathBuf::from("/dev/null"))
            .open()
            .expect("opened");
        writer.restart().expect("nothing was written");
        writer.write(b"x").expect("written");
        assert_eq!(writer.restart().map_err(|failure| failure.code()), Err(5));
        let full = Target::Stream(PathBuf::from("/dev/full")).open();
        let mut full = full.expect("opened");
        assert_eq!(full.write(b"x").map_err(|failure| failure.code()), Err(6));
    }
}
