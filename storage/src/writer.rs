//! The thread that owns a disk. The rule: orders are carried out in the order they were given, and what was stored is
//! durable a fraction of a second later.

use crate::disk::{Disk, Job};
use crate::hot::HotOrder;
use crate::index::{Index, Location};
use crate::limits::SizeLimit;
use crate::ram_tier::RamFrame;
use crossbeam::channel::{Receiver, RecvTimeoutError, Sender};
use larder_content::{ContentNo, PieceId};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long what was stored may wait for its group's commit.
const GROUP_FOR: Duration = Duration::from_millis(200);
/// How much a group holds at most. A sync each 16 MiB was measured to cost nothing that shows.
const GROUP_BYTES: u64 = 16 << 20;
/// How much is taken from the queue at once, so that frames go free steadily.
const BATCH_BYTES: u64 = 4 << 20;
/// How often limits and free space are assessed.
const TICK_EVERY: Duration = Duration::from_secs(1);

/// What the thread is told.
#[derive(Debug)]
pub(crate) enum Order {
    /// Store a whole piece, of an object of so many (0: not known).
    Keep(PieceId, Arc<RamFrame>, u32),
    /// A piece was found damaged, and has left the index.
    Forget {
        slab: u32,
        cell: u32,
        generation: u32,
    },
    /// Forget the pieces of some contents (with how many pieces each has) durably; the answer is their bytes.
    Purge(Vec<(ContentNo, u32)>, Option<Sender<u64>>),
    /// Have another limit from now on.
    Limit(SizeLimit),
    /// Make durable what was given before.
    Flush(Sender<()>),
    /// Commit and end.
    Close,
}

/// Runs until it is told to end, or nobody can tell it anything any more.
pub(crate) fn run(mut disk: Disk, orders: &Receiver<Order>, index: &Index, hot: &HotOrder) {
    let mut now = Instant::now();
    let mut group = Group {
        due: None,
        bytes: 0,
    };
    let mut tick_at = now + TICK_EVERY;
    let mut open = true;
    while open {
        let until = group.due.map_or(tick_at, |due| due.min(tick_at));
        let first = match orders.recv_timeout(until.saturating_duration_since(now)) {
            Ok(order) => Some(order),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Order::Close),
        };
        now = Instant::now();
        let mut batch = Batch::default();
        for order in first.into_iter().chain(orders.try_iter()) {
            match order {
                Order::Keep(id, frame, pieces) => batch.add(Job { id, frame, pieces }),
                Order::Forget {
                    slab,
                    cell,
                    generation,
                } => disk.forget(slab, cell, generation),
                Order::Purge(contents, reply) => {
                    group.bytes += batch.store(&mut disk, hot, index);
                    let pieces = pieces_of(index, &contents);
                    let bytes = disk.forget_pieces(&pieces);
                    if let Some(reply) = reply {
                        disk.commit();
                        // Who asked may be gone: then nobody wants to know.
                        let _ = reply.send(bytes);
                    }
                }
                Order::Limit(limit) => {
                    disk.limit_to(limit);
                    // Assessed at once, so that what is shown is what holds.
                    tick_at = now;
                }
                Order::Flush(reply) => {
                    batch.store(&mut disk, hot, index);
                    disk.commit();
                    let _ = reply.send(());
                }
                Order::Close => open = false,
            }
            if batch.bytes >= BATCH_BYTES || !open {
                break;
            }
        }
        group.bytes += batch.store(&mut disk, hot, index);
        if disk.is_dirty() {
            let due = *group.due.get_or_insert(now + GROUP_FOR);
            if Instant::now() >= due || group.bytes >= GROUP_BYTES || !open {
                disk.commit();
            }
        }
        if !disk.is_dirty() {
            (group.due, group.bytes) = (None, 0);
        }
        now = Instant::now();
        if now >= tick_at {
            disk.tick(now);
            tick_at = now + TICK_EVERY;
        }
        disk.report();
    }
}

struct Group {
    /// When it must be committed.
    due: Option<Instant>,
    bytes: u64,
}

#[derive(Default)]
struct Batch {
    jobs: Vec<Job>,
    bytes: u64,
}

impl Batch {
    fn add(&mut self, job: Job) {
        self.bytes += u64::from(job.frame.len());
        self.jobs.push(job);
    }

    /// Stores what was gathered, and returns its bytes.
    fn store(&mut self, disk: &mut Disk, hot: &HotOrder, index: &Index) -> u64 {
        let jobs = std::mem::take(&mut self.jobs);
        let ids: Vec<PieceId> = jobs.iter().map(|job| job.id).collect();
        if !jobs.is_empty() {
            disk.store(jobs);
        }
        let in_memory = ids
            .into_iter()
            .filter(|id| index.shard(*id).hot.contains_key(id));
        hot.fetched(in_memory);
        std::mem::take(&mut self.bytes)
    }
}

/// What the index knows of these contents.
fn pieces_of(index: &Index, contents: &[(ContentNo, u32)]) -> Vec<(PieceId, Location)> {
    let wanted: u64 = contents.iter().map(|(_, pieces)| u64::from(*pieces)).sum();
    let held: usize = index.shards().map(|shard| shard.count_on_disk()).sum();
    let mut found = Vec::new();
    // An origin may claim any length, so the shorter way round is taken.
    if wanted > held as u64 {
        let contents: std::collections::HashSet<_> = contents.iter().map(|(no, _)| *no).collect();
        for shard in index.shards() {
            found.extend(
                shard
                    .on_disk()
                    .filter(|(id, _)| contents.contains(&id.content)),
            );
        }
        return found;
    }
    for (content, pieces) in contents {
        for piece in 0..*pieces {
            let id = PieceId {
                content: *content,
                piece,
            };
            if let Some(location) = index.shard(id).location(id) {
                found.push((id, location));
            }
        }
    }
    found
}
