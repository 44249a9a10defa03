//! The states that a loss of power may leave of a run. The rule: of what was written since the last sync of its file,
//! each write is there, is not there, or is torn in eighths of its sectors, each on its own; the rest is as written.

use super::cow_io::{Change, CowDir, Sectors};
use super::seed::Seed;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// A longer write is torn in this many places at most.
const TORN_PLACES: u64 = 2;

/// What becomes of a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Gone,
    There,
    /// As the seed decides.
    Torn(u64),
}

/// How many states are taken of each moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Subsets of the writes that were not synced: all of them where there are no more.
    pub(crate) subsets: usize,
    /// Besides them, those in which a write is torn.
    pub(crate) torn: usize,
}

/// A moment of the run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// So many changes were made.
    pub(crate) changes: usize,
    /// Files that were made and never synced.
    pub(crate) unfinished: usize,
    /// Writes that were not synced.
    pub(crate) pending: usize,
}

#[derive(Clone, Debug)]
struct File {
    name: String,
    numbers: Vec<u32>,
    synced: bool,
}

#[derive(Clone, Debug, Default)]
struct Image {
    files: BTreeMap<usize, File>,
    /// A sum over all sectors, by which images are told apart.
    sum: u64,
}

/// What one number at one place adds to the sum.
fn mixed(file: usize, sector: usize, number: u32) -> u64 {
    if number == 0 {
        return 0;
    }
    Seed((file as u64) << 56 ^ (sector as u64) << 32 ^ u64::from(number)).next()
}

impl Image {
    fn put(&mut self, file: usize, sector: usize, number: u32) {
        let Some(found) = self.files.get_mut(&file) else {
            return;
        };
        // Its size did not survive, so nothing behind it did.
        if let Some(place) = found.numbers.get_mut(sector) {
            let before = mixed(file, sector, *place);
            self.sum = self.sum.wrapping_sub(before);
            *place = number;
            self.sum = self.sum.wrapping_add(mixed(file, sector, number));
        }
    }

    fn number(&self, file: usize, sector: usize) -> u32 {
        let found = self.files.get(&file);
        found
            .and_then(|found| found.numbers.get(sector).copied())
            .unwrap_or(0)
    }

    fn apply(&mut self, change: &Change, fate: Fate, sectors: &Mutex<Sectors>) {
        match (change, fate) {
            (_, Fate::Gone) => {}
            (Change::Size(file, size), _) => {
                if let Some(found) = self.files.get_mut(file) {
                    found.numbers.resize(*size, 0);
                    let added = Seed((*file as u64) << 32 ^ *size as u64).next();
                    self.sum = self.sum.wrapping_add(added);
                }
            }
            (Change::Write(file, first, numbers), Fate::There) => {
                for (at, number) in numbers.iter().enumerate() {
                    self.put(*file, first + at, *number);
                }
            }
            (Change::Write(file, first, numbers), Fate::Torn(seed)) => {
                let mut seed = Seed(seed);
                let torn: Vec<u64> = (0..TORN_PLACES)
                    .map(|_| seed.below(numbers.len() as u64))
                    .collect();
                for (at, new) in numbers.iter().enumerate() {
                    let sector = first + at;
                    if torn.contains(&(at as u64)) {
                        let eighths = 1 + seed.below(254) as u8;
                        let old = self.number(*file, sector);
                        let blend = sectors.lock().blend(old, *new, eighths);
                        self.put(*file, sector, blend);
                    } else if seed.below(2) == 0 {
                        self.put(*file, sector, *new);
                    }
                }
            }
            _ => {}
        }
    }
}

/// Replays the changes one by one, and gives `look` every state that is taken of each moment; one that was given
/// before is not given again unless `promise` says something else of the moment. Returns how many different images
/// there were.
pub(crate) fn each_state(
    sectors: &Arc<Mutex<Sectors>>,
    changes: &[Change],
    bounds: Bounds,
    seed: &mut Seed,
    promise: &dyn Fn(usize) -> usize,
    look: &mut dyn FnMut(Moment, &CowDir),
) -> u64 {
    let mut image = Image::default();
    let mut pending: Vec<&Change> = Vec::new();
    let mut seen = HashSet::new();
    let mut images = HashSet::new();
    for (at, change) in changes.iter().enumerate() {
        match change {
            Change::Make(file, name) => {
                let made = File {
                    name: name.clone(),
                    numbers: Vec::new(),
                    synced: false,
                };
                image.files.insert(*file, made);
                image.sum = image.sum.wrapping_add(Seed(*file as u64).next());
            }
            Change::Remove(file) => {
                let gone = image.files.remove(file);
                let numbers = gone.map(|gone| gone.numbers).unwrap_or_default();
                for (sector, number) in numbers.iter().enumerate() {
                    let before = mixed(*file, sector, *number);
                    image.sum = image.sum.wrapping_sub(before);
                }
                pending.retain(|change| file_of(change) != *file);
            }
            Change::Size(..) | Change::Write(..) => pending.push(change),
            Change::Sync(file) => {
                let (done, left) = pending.iter().partition(|change| file_of(change) == *file);
                pending = left;
                let done: Vec<&Change> = done;
                for change in done {
                    image.apply(change, Fate::There, sectors);
                }
                if let Some(file) = image.files.get_mut(file) {
                    file.synced = true;
                }
            }
        }
        let moment = Moment {
            changes: at + 1,
            unfinished: image.files.values().filter(|file| !file.synced).count(),
            pending: pending.len(),
        };
        for fates in fates_of(pending.len(), bounds, seed) {
            let mut state = image.clone();
            for (change, fate) in pending.iter().zip(fates) {
                state.apply(change, fate, sectors);
            }
            images.insert(state.sum);
            if seen.insert((state.sum, promise(at + 1))) {
                let files = state.files.into_values();
                let files = files.map(|file| (file.name, file.numbers));
                look(moment, &CowDir::holding(sectors, files));
            }
        }
    }
    images.len() as u64
}

fn file_of(change: &Change) -> usize {
    match change {
        Change::Make(file, _)
        | Change::Remove(file)
        | Change::Size(file, _)
        | Change::Write(file, ..)
        | Change::Sync(file) => *file,
    }
}

/// What may become of so many writes.
fn fates_of(pending: usize, bounds: Bounds, seed: &mut Seed) -> Vec<Vec<Fate>> {
    let whole = |there: &dyn Fn(usize) -> bool| -> Vec<Fate> {
        let fate = |at| if there(at) { Fate::There } else { Fate::Gone };
        (0..pending).map(fate).collect()
    };
    let mut all = Vec::new();
    if pending < 32 && 1 << pending <= bounds.subsets {
        all.extend((0..1_usize << pending).map(|set| whole(&|at| set & (1 << at) != 0)));
    } else {
        all.push(whole(&|_| false));
        all.push(whole(&|_| true));
        for alone in 0..pending {
            all.push(whole(&|at| at == alone));
            all.push(whole(&|at| at != alone));
        }
        while all.len() < bounds.subsets {
            let set: Vec<bool> = (0..pending).map(|_| seed.below(2) == 0).collect();
            all.push(whole(&|at| set[at]));
        }
    }
    if pending > 0 {
        for number in 0..bounds.torn {
            // The last write in every second one: the others were the last before.
            let torn = if number % 2 == 0 {
                pending - 1
            } else {
                seed.below(pending as u64) as usize
            };
            let fates = (0..pending).map(|at| match seed.below(3) {
                _ if at == torn => Fate::Torn(seed.next()),
                0 => Fate::Gone,
                1 => Fate::There,
                _ => Fate::Torn(seed.next()),
            });
            all.push(fates.collect());
        }
    }
    all
}
