//! Pause, resume and cancel of a download. The rule: what has come stays, what is here is served, and nobody waits longer
//! for a download that is paused than for one that is slow.
//!
//! Of a paused content nothing is begun, and what is under way is broken off: requests to its origin at the next bytes
//! that come, peers at once. Who waits for a piece is held until its own patience ends, as if the origin had fallen
//! silent: an answer that has not begun is 503 after it, one that has begun is cut. What is wanted when it is resumed
//! comes as always, and what nobody waits for by then comes as far as the link has room, for a minute. A pause ends with
//! the process.
//!
//! Of a cancelled one all that waits is told at once, and it is wanted anew when somebody asks.

use super::reading::validator_of;
use super::{Download, abandon};
use larder_content::ContentNo;
use larder_storage::record::Content;
use std::collections::HashSet;
use std::fmt;

/// Why a download can not be paused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotPaused {
    /// All of it is here.
    Whole,
    /// It comes in one answer, and what is missing of it could not be asked for.
    OneAnswer,
}

impl fmt::Display for NotPaused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Whole => "all of it is here, so that there is nothing to pause",
            Self::OneAnswer => {
                "its origin gives it in one answer that can not be taken up again; it can be cancelled"
            }
        })
    }
}

impl Download {
    /// Pauses the download of a content, whether something of it is wanted at present or not.
    ///
    /// # Errors
    /// See [`NotPaused`]; nothing has changed.
    pub fn pause(&self, content: &Content) -> Result<(), NotPaused> {
        let record = content.record();
        if self.0.store.pieces_of(content).len() >= content.pieces() as usize {
            return Err(NotPaused::Whole);
        }
        let known = validator_of(record);
        let is_proved = record.immutable || known.if_range(content.date()).is_some();
        if record.whole || !is_proved {
            return Err(NotPaused::OneAnswer);
        }
        self.0.queue.lock().pause(content.no);
        Ok(())
    }

    /// Lets a paused download go on. False where it was not paused.
    pub fn resume(&self, content: ContentNo) -> bool {
        let was_paused = self.0.queue.lock().resume(content);
        self.0.work.notify_one();
        was_paused
    }

    /// Ends the download of a content, and its pause; says of how many pieces that were wanted.
    pub fn cancel(&self, content: ContentNo) -> usize {
        let given_up = self.0.queue.lock().cancel(content);
        let pieces = given_up.len();
        abandon(given_up);
        self.0.work.notify_one();
        pieces
    }

    /// The contents that are paused.
    #[must_use]
    pub fn paused(&self) -> HashSet<ContentNo> {
        self.0.queue.lock().scheduler.held().collect()
    }
}
