//! The catalogue on a disk that fills up, and killed between any two writes. The rule: every write of a run is tried
//! as the one that fails, and as the last before the kill.

use super::*;
use redb::{Database, DatabaseError, StorageBackend};
use std::collections::BTreeSet;

#[derive(Debug, Default)]
struct Disk {
    data: Vec<u8>,
    /// Writes that succeed before the disk is full.
    room: Option<u64>,
    /// Writing over what was written before needs no room, as on file systems that do so in place.
    in_place: bool,
    /// Pages of 4096 bytes that were written before.
    written: BTreeSet<usize>,
    writes: u64,
    /// Every state that the file was in after a write, where they are wanted.
    history: Option<Vec<Vec<u8>>>,
}

impl Disk {
    fn spend(&mut self) -> io::Result<()> {
        self.writes += 1;
        match &mut self.room {
            Some(0) => Err(io::ErrorKind::StorageFull.into()),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn remember(&mut self) {
        if let Some(history) = &mut self.history {
            history.push(self.data.clone());
        }
    }
}

#[derive(Clone, Debug, Default)]
struct MemPlace(Arc<Mutex<Disk>>);

impl StorageBackend for MemPlace {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().data.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let disk = self.0.lock();
        let at = usize::try_from(offset).unwrap();
        let from = disk.data.get(at..at + out.len());
        out.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut disk = self.0.lock();
        if len > disk.data.len() as u64 {
            disk.spend()?;
        }
        disk.data.resize(usize::try_from(len).unwrap(), 0);
        disk.remember();
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut disk = self.0.lock();
        let at = usize::try_from(offset).unwrap();
        let mut pages = at / 4096..(at + data.len()).div_ceil(4096);
        if !disk.in_place || pages.clone().any(|page| !disk.written.contains(&page)) {
            disk.spend()?;
        }
        disk.written.extend(&mut pages);
        let to = disk.data.get_mut(at..at + data.len());
        to.ok_or(io::ErrorKind::UnexpectedEof)?
            .copy_from_slice(data);
        disk.remember();
        Ok(())
    }
}

impl Place for MemPlace {
    fn open(&self, check: bool) -> Result<Database, DatabaseError> {
        let is_new = self.0.lock().data.is_empty();
        let opened = redb::Builder::new()
            .set_cache_size(CACHE)
            .set_check_integrity_on_open(check)
            .create_with_backend(self.clone());
        if is_new && opened.is_err() {
            self.0.lock().data.clear();
        }
        opened
    }

    fn set_aside(&self) -> io::Result<PathBuf> {
        self.0.lock().data.clear();
        Ok(PathBuf::from("aside"))
    }

    fn bytes(&self) -> u64 {
        self.0.lock().data.len() as u64
    }
}

impl MemPlace {
    fn open_catalogue(&self) -> (Catalogue, Opened) {
        Catalogue::open_at(Box::new(self.clone()), Path::new("memory")).unwrap()
    }
}

/// Three batches; how many of them were durable.
fn run(catalogue: &Catalogue) -> u64 {
    let mut durable = 0;
    for batch in 0..3_u64 {
        for n in 1..=5 {
            let n = batch * 5 + n;
            catalogue.put(no(n), record("http://a/", n), vec![key(n)]);
        }
        if batch == 2 {
            catalogue.remove(no(1));
        }
        durable = if catalogue.flush().is_ok() {
            batch + 1
        } else {
            durable
        };
    }
    durable
}

fn all() -> Vec<u64> {
    (2..=15).collect()
}

fn fill_up_at_each_write(in_place: bool) {
    let begin = |room| {
        let place = MemPlace::default();
        place.0.lock().room = room;
        place.0.lock().in_place = in_place;
        place
    };
    let place = begin(None);
    let (catalogue, _) = place.open_catalogue();
    run(&catalogue);
    drop(catalogue);
    let writes = place.0.lock().writes;
    assert!(writes > 10, "{writes}");
    let mut failed = 0;
    for room in 0..writes {
        let place = begin(Some(room));
        let (catalogue, _) = place.open_catalogue();
        let durable = run(&catalogue);
        failed += u64::from(durable < 3);
        // What is queued is read back, and what is on disk as well, unless redb cannot open it on such a disk.
        let rows = catalogue.load_all();
        if in_place && durable > 0 || rows.is_ok() {
            assert_eq!(numbers(&rows.unwrap()), all(), "room for {room}");
            assert!(catalogue.get(&key(7)).is_some(), "room for {room}");
        }
        assert!(catalogue.get(&key(1)).is_none(), "room for {room}");
        if durable < 3 {
            let figures = catalogue.figures();
            assert!(
                figures.errors_total > 0 && figures.trouble.is_some(),
                "{figures:?}"
            );
            assert_eq!(
                figures.set_aside_total, 0,
                "a full disk is no damage: room for {room}"
            );
        }
        place.0.lock().room = None;
        catalogue.flush().unwrap();
        assert_eq!(catalogue.figures().trouble, None);
        drop(catalogue);
        let (_catalogue, opened) = place.open_catalogue();
        assert_eq!(numbers(&opened.rows), all(), "room for {room}");
    }
    assert!(failed > writes / 2, "{failed} of {writes}");
}

#[test]
fn a_disk_that_is_full_at_any_write_costs_nothing_once_there_is_room() {
    fill_up_at_each_write(true);
}

#[test]
fn so_it_is_where_even_writing_in_place_needs_room() {
    fill_up_at_each_write(false);
}

#[test]
fn a_full_disk_at_the_start_does_not_keep_it_closed() {
    let place = MemPlace::default();
    let (catalogue, _) = place.open_catalogue();
    run(&catalogue);
    drop(catalogue);
    place.0.lock().room = Some(0);
    let (catalogue, opened) = place.open_catalogue();
    assert!(opened.set_aside.is_none());
    catalogue.put(no(99), record("http://a/", 99), vec![key(99)]);
    assert!(catalogue.flush().is_err());
    assert!(catalogue.get(&key(99)).is_some());
    place.0.lock().room = None;
    catalogue.flush().unwrap();
    drop(catalogue);
    let (_catalogue, opened) = place.open_catalogue();
    assert_eq!(numbers(&opened.rows), [all(), vec![99]].concat());
}

/// A killed process leaves the writes that it had made: each prefix of them opens, and holds what was flushed.
#[test]
fn killed_after_any_write_it_opens_with_what_was_flushed() {
    let place = MemPlace::default();
    let (catalogue, _) = place.open_catalogue();
    place.0.lock().history = Some(Vec::new());
    let mut flushed = Vec::new();
    for n in 1..=4 {
        catalogue.put(no(n), record("http://a/", n), vec![key(n)]);
        catalogue.flush().unwrap();
        let states = place.0.lock().history.as_ref().unwrap().len();
        flushed.push(states);
    }
    drop(catalogue);
    let history = place.0.lock().history.take().unwrap();
    assert!(history.len() > 8, "{}", history.len());
    for (at, data) in history.into_iter().enumerate() {
        let kept = flushed.iter().filter(|states| **states <= at + 1).count();
        let killed = MemPlace::default();
        killed.0.lock().data = data;
        let (catalogue, opened) = killed.open_catalogue();
        assert!(opened.set_aside.is_none(), "after write {at}: {opened:?}");
        assert_eq!(opened.unreadable, 0);
        let found = numbers(&opened.rows);
        assert!(
            found.len() >= kept,
            "after write {at}: {found:?}, flushed {kept}"
        );
        assert!(found.iter().copied().eq(1..=found.len() as u64));
        catalogue.put(no(9), record("http://a/", 9), vec![key(9)]);
        catalogue.flush().unwrap();
    }
}

/// Damage that shows only while the store runs.
#[test]
fn a_file_that_rots_while_it_is_open_is_set_aside_and_what_follows_is_kept() {
    let place = MemPlace::default();
    let (catalogue, _) = place.open_catalogue();
    run(&catalogue);
    drop(catalogue);
    let (catalogue, _) = place.open_catalogue();
    // What is in memory: more than the file ever had, and one content less.
    catalogue.supply(Box::new(|put| {
        for n in (3..=15).chain([40, 50]) {
            put((no(n), record("http://a/", n), vec![key(n)]));
        }
    }));
    place.0.lock().data.fill(0xA5);
    catalogue.put(no(50), record("http://a/", 50), vec![key(50)]);
    let _ = catalogue.flush();
    catalogue.flush().unwrap();
    assert_eq!(catalogue.figures().set_aside_total, 1);
    assert!(catalogue.get(&key(50)).is_some());
    drop(catalogue);
    let (_catalogue, opened) = place.open_catalogue();
    assert!(opened.set_aside.is_none());
    assert!(
        numbers(&opened.rows)
            .into_iter()
            .eq((3..=15).chain([40, 50]))
    );
}
