//! When each content is to be joined again. The rule: it is told by the times that are given to it, and by nothing else.

use larder_content::{ContentId, ContentNo};
use larder_proto::time::Time;
use larder_proto::tracker::message::JoinEvent;
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

/// Contents that nobody waits for are joined no more often than this.
const HELD_EVERY: Duration = Duration::from_millis(50);

/// After a failure it is tried again after so long, and then after twice as long each time.
const AGAIN_MIN: Duration = Duration::from_secs(5);
const AGAIN_MAX: Duration = Duration::from_secs(300);

/// Contents that may be joined at a time; what is on its way longer than this was lost.
const UNDER_WAY_MAX: usize = 8;

/// Who begins is told of few, since others begin at the same moment: it asks again after these times, before it has
/// fetched by itself what they share out among each other (in the simulation of the swarm, a site that begins together
/// took in a third more without the first of them).
const BEGINNING: [Duration; 5] = [
    Duration::from_millis(700),
    Duration::from_secs(2),
    Duration::from_secs(3),
    Duration::from_secs(3),
    Duration::from_secs(3),
];

/// See the file's head.
#[derive(Default)]
pub(super) struct Roll {
    entries: HashMap<ContentNo, Entry>,
    order: BTreeSet<(Time, ContentNo)>,
    under_way: usize,
    /// When the next content may be joined that nobody waits for.
    held_next: Time,
}

struct Entry {
    id: ContentId,
    next: Time,
    wanted: bool,
    held: bool,
    event: JoinEvent,
    failures: u32,
    /// Joins since it is wanted.
    joins: usize,
    under_way: bool,
}

/// A content that is to be joined now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Due {
    pub(super) no: ContentNo,
    pub(super) id: ContentId,
    pub(super) event: JoinEvent,
    pub(super) wants_peers: bool,
}

impl Roll {
    fn entry(&mut self, no: ContentNo, id: ContentId, now: Time) -> &mut Entry {
        let order = &mut self.order;
        self.entries.entry(no).or_insert_with(|| {
            order.insert((now, no));
            Entry {
                id,
                next: now,
                wanted: false,
                held: false,
                event: JoinEvent::Started,
                failures: 0,
                joins: 0,
                under_way: false,
            }
        })
    }

    fn at(&mut self, no: ContentNo, next: Time) {
        if let Some(entry) = self.entries.get_mut(&no) {
            self.order.remove(&(entry.next, no));
            entry.next = next;
            self.order.insert((next, no));
        }
    }

    /// Others are wanted who have it.
    pub(super) fn want(&mut self, no: ContentNo, id: ContentId, now: Time) {
        let entry = self.entry(no, id, now);
        if !entry.wanted {
            entry.wanted = true;
            entry.joins = 0;
            self.at(no, now);
        }
    }

    pub(super) fn want_no_more(&mut self, no: ContentNo) {
        if let Some(entry) = self.entries.get_mut(&no) {
            entry.wanted = false;
        }
    }

    /// It is here, or a part of it. True where that is news.
    pub(super) fn hold(&mut self, no: ContentNo, id: ContentId, is_whole: bool, now: Time) -> bool {
        let entry = self.entry(no, id, now);
        let is_news = !entry.held;
        entry.held = true;
        if is_whole && entry.wanted && entry.event == JoinEvent::Heartbeat {
            entry.event = JoinEvent::Completed;
        }
        is_news
    }

    pub(super) fn is_held(&self, no: ContentNo) -> bool {
        self.entries.get(&no).is_some_and(|entry| entry.held)
    }

    /// Its id, where it has been joined.
    pub(super) fn remove(&mut self, no: ContentNo) -> Option<ContentId> {
        let entry = self.entries.remove(&no)?;
        self.order.remove(&(entry.next, no));
        self.under_way -= usize::from(entry.under_way);
        (entry.event != JoinEvent::Started).then_some(entry.id)
    }

    pub(super) fn all(&self) -> Vec<ContentNo> {
        self.entries.keys().copied().collect()
    }

    /// Those that somebody waits for and that were joined.
    pub(super) fn wanted(&self) -> Vec<ContentId> {
        let joined = self
            .entries
            .values()
            .filter(|entry| entry.wanted && entry.event != JoinEvent::Started);
        joined.map(|entry| entry.id).collect()
    }

    /// What is to be joined now.
    pub(super) fn due(&mut self, now: Time) -> Vec<Due> {
        let ready: Vec<ContentNo> = self
            .order
            .range(..=(now, ContentNo::new(u64::MAX)))
            .map(|(_, no)| *no)
            .collect();
        let mut due = Vec::new();
        for no in ready {
            let Some(entry) = self.entries.get_mut(&no) else {
                continue;
            };
            if self.under_way >= UNDER_WAY_MAX {
                break;
            }
            if entry.under_way {
                continue;
            }
            if !entry.wanted {
                if now < self.held_next {
                    continue;
                }
                self.held_next = now + HELD_EVERY;
            }
            entry.under_way = true;
            self.under_way += 1;
            due.push(Due {
                no,
                id: entry.id,
                event: entry.event,
                wants_peers: entry.wanted,
            });
        }
        due
    }

    /// When to ask for what is due again.
    pub(super) fn next_wake(&self, now: Time) -> Option<Time> {
        if self.under_way >= UNDER_WAY_MAX {
            // Whoever comes back rings.
            return None;
        }
        let waits = |(_, no): &&(Time, ContentNo)| {
            let entry = self.entries.get(no);
            entry.is_some_and(|entry| !entry.under_way)
        };
        let (at, no) = self.order.iter().find(waits)?;
        let held = self.entries.get(no).is_some_and(|entry| !entry.wanted);
        let at = if held { (*at).max(self.held_next) } else { *at };
        Some(at.max(now))
    }

    /// The coordinator has it on its list; again after `next`.
    pub(super) fn joined(&mut self, no: ContentNo, next: Duration, now: Time) {
        let Some(entry) = self.entries.get_mut(&no) else {
            return;
        };
        entry.event = JoinEvent::Heartbeat;
        entry.failures = 0;
        let early = BEGINNING.get(entry.joins).filter(|_| entry.wanted);
        entry.joins += 1;
        let next = early.map_or(next, |early| next.min(*early));
        self.came_back(no, now + next);
    }

    /// It has not.
    pub(super) fn failed(&mut self, no: ContentNo, pause: Option<Duration>, now: Time) {
        let Some(entry) = self.entries.get_mut(&no) else {
            return;
        };
        let doubled = AGAIN_MIN * 2_u32.saturating_pow(entry.failures.min(10));
        entry.failures += 1;
        let pause = pause.unwrap_or(doubled.min(AGAIN_MAX));
        self.came_back(no, now + pause);
    }

    fn came_back(&mut self, no: ContentNo, next: Time) {
        let Some(entry) = self.entries.get_mut(&no) else {
            return;
        };
        self.under_way -= usize::from(std::mem::take(&mut entry.under_way));
        // Nobody wants it and nothing of it is here: it need not be joined again.
        if entry.wanted || entry.held {
            self.at(no, next);
        } else {
            self.order.remove(&(entry.next, no));
            self.entries.remove(&no);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Time {
        Time::from_micros(1_000_000 + ms * 1000)
    }

    fn no(n: u64) -> (ContentNo, ContentId) {
        (ContentNo::new(n), ContentId([n as u8; 32]))
    }

    #[test]
    fn what_is_wanted_is_joined_at_once_and_what_is_held_one_by_one() {
        let mut roll = Roll::default();
        for n in 1..=5 {
            let (no, id) = no(n);
            assert!(roll.hold(no, id, true, at(0)));
            assert!(!roll.hold(no, id, true, at(0)));
        }
        assert_eq!(roll.due(at(0)).len(), 1);
        assert_eq!(roll.due(at(0)).len(), 0);
        assert_eq!(roll.next_wake(at(0)), Some(at(50)));
        let (wanted, id) = no(9);
        roll.want(wanted, id, at(1));
        let due = roll.due(at(1));
        assert_eq!(due.len(), 1);
        assert!(due[0].no == wanted && due[0].wants_peers);
        assert_eq!(due[0].event, JoinEvent::Started);
        assert_eq!(roll.due(at(60)).len(), 1);
        // Soon again at the beginning; then a heartbeat when it is due, and not before.
        let of_wanted = |due: Vec<Due>| due.into_iter().find(|due| due.no == wanted);
        let mut now = 100;
        for pause in [700, 2000, 3000, 3000, 3000, 10_000, 10_000] {
            roll.joined(wanted, Duration::from_secs(10), at(now));
            now += pause;
            assert_eq!(of_wanted(roll.due(at(now - 1))), None);
            let due = of_wanted(roll.due(at(now))).unwrap();
            assert_eq!(due.event, JoinEvent::Heartbeat);
        }
        // Nobody wants it any more, and it is not here.
        roll.want_no_more(wanted);
        roll.joined(wanted, Duration::from_secs(10), at(now + 100));
        assert!(!roll.all().contains(&wanted));
    }

    #[test]
    fn who_does_not_answer_is_asked_less_and_less_often() {
        let mut roll = Roll::default();
        let (no, id) = no(1);
        roll.want(no, id, at(0));
        let mut now = at(0);
        for pause in [5, 10, 20, 40, 80, 160, 300, 300] {
            assert_eq!(roll.due(now).len(), 1);
            roll.failed(no, None, now);
            assert_eq!(roll.next_wake(now), Some(now + Duration::from_secs(pause)));
            now = now + Duration::from_secs(pause);
        }
        roll.due(now);
        roll.failed(no, Some(Duration::from_secs(7)), now);
        assert_eq!(roll.next_wake(now), Some(now + Duration::from_secs(7)));
        assert_eq!(roll.remove(no), None, "it was never joined");
    }
}
