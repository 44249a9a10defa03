//! The connections of a server that is not for clients' bytes (coordinator, administration), by when each was last of use.
//! The rule: where there are too many, the one that has been idle for the longest is cut.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{oneshot, watch};

/// All connections.
#[derive(Debug)]
pub struct Connections {
    most: usize,
    open: Mutex<Open>,
    count: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct Open {
    /// By the order in which they were last of use; who is dropped from here is cut.
    cut: BTreeMap<u64, oneshot::Sender<()>>,
    next: u64,
}

/// One connection, until this is dropped.
#[derive(Debug)]
pub struct Seat {
    of: Arc<Connections>,
    number: AtomicU64,
}

impl Connections {
    /// None of at most so many.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self {
            most: most.max(1),
            open: Mutex::new(Open::default()),
            count: watch::Sender::new(0),
        }
    }

    /// Takes one more in, which hears when it is cut.
    pub fn enter(self: &Arc<Self>) -> (Seat, oneshot::Receiver<()>) {
        let (cut, when_cut) = oneshot::channel();
        let mut open = self.open.lock();
        let number = open.next;
        open.next += 1;
        open.cut.insert(number, cut);
        drop(open);
        self.count.send_modify(|count| *count += 1);
        let seat = Seat {
            of: Arc::clone(self),
            number: AtomicU64::new(number),
        };
        (seat, when_cut)
    }

    /// Whether there are more than there may be.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.open.lock().cut.len() > self.most
    }

    /// Ends the one that has been idle for the longest.
    pub fn cut_idlest(&self) {
        self.open.lock().cut.pop_first();
    }

    /// Ends all of them.
    pub fn cut_all(&self) {
        self.open.lock().cut.clear();
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        *self.count.borrow()
    }

    /// Waits until there is none.
    pub async fn until_none(&self) {
        let mut count = self.count.subscribe();
        // The sender is here as long as this is.
        let _ = count.wait_for(|count| *count == 0).await;
    }
}

impl Seat {
    /// It is of use now.
    pub fn is_busy(&self) {
        let mut open = self.of.open.lock();
        let old = self.number.load(Ordering::Relaxed);
        // One that was cut stays so.
        if let Some(cut) = open.cut.remove(&old) {
            let number = open.next;
            open.next += 1;
            open.cut.insert(number, cut);
            self.number.store(number, Ordering::Relaxed);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let number = self.number.load(Ordering::Relaxed);
        self.of.open.lock().cut.remove(&number);
        self.of.count.send_modify(|count| *count -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_idlest_is_cut() {
        let connections = Arc::new(Connections::new(2));
        let (first, mut first_cut) = connections.enter();
        let (_second, mut second_cut) = connections.enter();
        assert!(!connections.is_over());
        first.is_busy();
        let (third, mut third_cut) = connections.enter();
        assert!(connections.is_over());
        connections.cut_idlest();
        assert!(!connections.is_over());
        assert!(
            second_cut
                .try_recv()
                .is_err_and(|e| e == oneshot::error::TryRecvError::Closed)
        );
        for alive in [&mut first_cut, &mut third_cut] {
            assert!(
                alive
                    .try_recv()
                    .is_err_and(|e| e == oneshot::error::TryRecvError::Empty)
            );
        }
        drop((first, third));
        assert_eq!(connections.open.lock().cut.len(), 0);
        assert_eq!(*connections.count.borrow(), 1);
    }
}
