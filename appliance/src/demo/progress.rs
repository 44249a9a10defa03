//! One line that says how far the demo is. The rule: it goes to standard error, so that the table alone is what
//! standard output has.

use super::origin::Origin;
use super::table;
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often the line is written anew on a terminal, and how often a new line is written elsewhere.
const EVERY_ON_TERMINAL: Duration = Duration::from_millis(200);
const EVERY_ELSEWHERE: Duration = Duration::from_secs(2);

const BAR_CELLS: u64 = 24;

pub(super) struct Progress<'t> {
    pub(super) title: &'t str,
    /// Bytes that the clients will have received in the end.
    pub(super) total: u64,
    /// What the origin had sent when it began.
    pub(super) origin_before: u64,
}

impl Progress<'_> {
    /// Shows the line until it is dropped.
    pub(super) async fn show(&self, received: &AtomicU64, origin: &Origin) {
        let terminal = std::io::stderr().is_terminal();
        let every = if terminal {
            EVERY_ON_TERMINAL
        } else {
            EVERY_ELSEWHERE
        };
        let started = Instant::now();
        loop {
            tokio::time::sleep(every).await;
            let received = received.load(Ordering::Relaxed);
            let line = self.line(
                received,
                origin.body_bytes() - self.origin_before,
                started.elapsed(),
            );
            let (before, after) = if terminal {
                ("\r", "\x1b[K")
            } else {
                ("", "\n")
            };
            // Where nobody can read it there is nothing to be done.
            let _ = write!(std::io::stderr(), "{before}{line}{after}");
        }
    }

    /// Takes the line away.
    pub(super) fn done(&self) {
        if std::io::stderr().is_terminal() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }

    fn line(&self, received: u64, from_origin: u64, elapsed: Duration) -> String {
        let full = received * BAR_CELLS / self.total.max(1);
        let bar: String = (0..BAR_CELLS)
            .map(|cell| if cell < full { '█' } else { '░' })
            .collect();
        let rate = received as f64 / elapsed.as_secs_f64().max(0.001);
        format!(
            "  {:<16} {bar} {:>3} %  {:>9} to clients  {:>9} from the origin  {:>7.2} GB/s",
            self.title,
            received * 100 / self.total.max(1),
            table::bytes(received),
            table::bytes(from_origin),
            rate / 1e9,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_far_it_is() {
        let progress = Progress {
            title: "first day",
            total: 1000,
            origin_before: 0,
        };
        let line = progress.line(500, 100, Duration::from_secs(1));
        assert!(line.contains(" 50 %"), "{line}");
        assert_eq!(line.matches('█').count(), 12);
        assert!(progress.line(0, 0, Duration::ZERO).contains("  0 %"));
    }
}
