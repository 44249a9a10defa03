//! How the downloads of contents go: since when something of each is wanted, and how long it took in all. The rule: time
//! counts while a piece is wanted or under way, and not while nobody asks for any.

use super::Download;
use larder_content::ContentNo;
use larder_proto::policy::Priority;
use larder_proto::time::Time;
use larder_storage::record::Content;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Contents that are remembered; which of them makes room for another is left to chance.
const CONTENTS_MAX: usize = 16_384;

/// How the download of one content goes.
#[derive(Clone, Debug)]
pub struct Progress {
    /// Of what; None where nothing of it is wanted at present.
    pub under_way: Option<UnderWay>,
    /// How long something of it was wanted, in all, since larder has started.
    pub took: Duration,
    /// How long ago a piece was last wanted; nothing where one is.
    pub idle: Duration,
}

/// A download that is under way.
#[derive(Clone, Debug)]
pub struct UnderWay {
    /// The content, which the catalogue need not have yet.
    pub content: Arc<Content>,
    /// Pieces that are wanted, or on their way.
    pub pieces: usize,
    /// Requests to its origin that are on their way.
    pub http_requests: usize,
    /// Foreground where somebody waits for a piece.
    pub priority: Priority,
}

/// When each was wanted.
#[derive(Debug, Default)]
pub(super) struct Runs(HashMap<ContentNo, Run>);

#[derive(Clone, Copy, Debug)]
struct Run {
    /// Since when it is wanted; None where it is not.
    since: Option<Time>,
    before: Duration,
    last: Time,
}

impl Runs {
    /// Something of a content is wanted.
    pub(super) fn begins(&mut self, no: ContentNo, now: Time) {
        if self.0.len() >= CONTENTS_MAX && !self.0.contains_key(&no) {
            let idle = self.0.iter().find(|(_, run)| run.since.is_none());
            if let Some(one) = idle.map(|(no, _)| *no) {
                self.0.remove(&one);
            }
        }
        let run = self.0.entry(no).or_insert(Run {
            since: None,
            before: Duration::ZERO,
            last: now,
        });
        run.since.get_or_insert(now);
    }

    /// Nothing of it is wanted any more.
    pub(super) fn rests(&mut self, no: ContentNo, now: Time) {
        if let Some(run) = self.0.get_mut(&no)
            && let Some(since) = run.since.take()
        {
            run.before = run.before.saturating_add(now.since(since));
            run.last = now;
        }
    }

    /// How long each took, and how long ago it was last wanted.
    fn all(&self, now: Time) -> impl Iterator<Item = (ContentNo, Duration, Duration)> {
        self.0.iter().map(move |(no, run)| {
            let running = run.since.map(|since| now.since(since));
            let idle = match run.since {
                Some(_) => Duration::ZERO,
                None => now.since(run.last),
            };
            (
                *no,
                run.before.saturating_add(running.unwrap_or_default()),
                idle,
            )
        })
    }
}

impl Download {
    /// What the line was measured to bring, in bytes a second; None where no policy has asked for it.
    #[must_use]
    pub fn line_bytes_s(&self) -> Option<u64> {
        self.0.bandwidth().available()
    }

    /// How the downloads go of all contents of which something was wanted since the start, as far as they are remembered.
    #[must_use]
    pub fn progress(&self) -> HashMap<ContentNo, Progress> {
        let inner = &self.0;
        let now = inner.clock.now();
        let queue = inner.queue.lock();
        let mut under_way = queue.under_way();
        queue
            .runs
            .all(now)
            .map(|(no, took, idle)| {
                let under_way = under_way.remove(&no);
                let progress = Progress {
                    under_way,
                    took,
                    idle,
                };
                (no, progress)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_counts_while_something_is_wanted() {
        let at = |ms: u64| Time::from_micros(ms * 1000);
        let ms = Duration::from_millis;
        let no = ContentNo::new(7);
        let mut runs = Runs::default();
        runs.begins(no, at(100));
        runs.begins(no, at(200));
        assert_eq!(
            runs.all(at(300)).collect::<Vec<_>>(),
            [(no, ms(200), ms(0))]
        );
        runs.rests(no, at(400));
        runs.rests(no, at(500));
        runs.begins(no, at(1000));
        runs.rests(no, at(1100));
        assert_eq!(
            runs.all(at(1150)).collect::<Vec<_>>(),
            [(no, ms(400), ms(50))]
        );
        for no in 100..2 * CONTENTS_MAX as u64 {
            runs.begins(ContentNo::new(no), at(0));
            runs.rests(ContentNo::new(no), at(1));
        }
        assert_eq!(runs.0.len(), CONTENTS_MAX);
    }
}
