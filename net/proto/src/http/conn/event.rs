//! What happens to a connection, and what it wants done. The rule: these are words; what follows from them is in
//! [`Conn`](super::Conn).

use crate::http::head::Head;

/// Which requests of a connection are taken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Taking {
    /// All of them.
    All,
    /// One more.
    Last,
    /// The one that has begun to come, and the first of a connection that is new.
    None,
}

/// What has happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// Bytes were added to the inbox.
    Received,
    /// The client sends nothing any more.
    Ended,
    /// The connection is broken.
    Broken,
    /// There is room in the socket again.
    Room,
    /// Nothing is under way for the socket any more.
    Cancelled,
    /// The request waits for a resolution.
    Resolving,
    /// What was waited for (resolution, bytes of the body) may be there.
    Arrived,
    /// The answer is decided and its head is written.
    Answering {
        /// The connection is kept after it.
        keep_alive: bool,
    },
    /// The request is not for here.
    HandOver,
    /// Some bytes of the answer were sent.
    Sent,
    /// The socket is full.
    Full,
    /// The next bytes of the body are not there yet.
    Starved,
    /// Others shall have their turn first.
    Yielded,
    /// The whole answer was sent.
    Done,
    /// The next bytes of the body can not be had.
    Failed(Failure),
    /// The moment of [`Conn::deadline`](super::Conn::deadline) may have come.
    Tick,
    /// From here on each answer says that it is the last one. What is idle stays: the client may be just asking, and
    /// is to learn it from an answer.
    Last,
    /// Connections are to end soon: no further request after the one at hand.
    Drain,
    /// The connection is to end now.
    Stop,
}

/// Why the next bytes of a body can not be had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Failure {
    /// What to answer where nothing was sent yet.
    pub status: u16,
    /// In words for the client.
    pub reason: &'static str,
    /// What may help.
    pub remedy: Remedy,
}

/// What may help against a failure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Remedy {
    /// Asking once more for the same.
    Again,
    /// Finding out anew what the URL is; of no use in the middle of a body.
    Anew,
    /// Nothing.
    None,
}

/// What is to be done next.
#[derive(Clone, Copy, Debug)]
pub enum Action<'b> {
    /// Nothing, until something happens.
    Rest,
    /// Receive once: `Received`, `Ended` or `Broken` follows.
    Receive,
    /// Decide on this request: `Resolving`, `Answering` or `HandOver` follows at once.
    Decide {
        /// The request.
        head: Head<'b>,
        /// Why now.
        cause: Cause,
    },
    /// Write an error as the answer: `Answering` follows at once.
    Refuse(Refuse),
    /// Send what comes next of the answer: `Sent`, then `Full`, `Starved`, `Yielded`, `Done`, `Failed` or `Broken`.
    Send,
    /// Say when the socket has room: `Room` follows.
    AwaitRoom,
    /// Forget so many bytes at the beginning of the inbox: their request is answered.
    Forget(usize),
    /// Say that nothing more will be sent (shut down for writing).
    FinishSending,
    /// Forget all that was received.
    Discard,
    /// Call off what is under way for the socket: `Cancelled` follows.
    Cancel,
    /// Give the socket and all of the inbox away. The last action.
    TakeOver,
    /// Close the socket. The last action.
    Close {
        /// In the middle of an answer, because its rest could not be had.
        cut: bool,
    },
}

/// Why a request is to be decided on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// It has just come.
    New,
    /// The resolution that it waited for may be there.
    Resolved,
    /// What was decided on has changed meanwhile: resolve it whatever is known.
    Changed,
}

/// An error to write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refuse {
    /// The status.
    pub status: u16,
    /// In words for the client.
    pub reason: &'static str,
    /// The connection can go on after it, as far as the client is concerned.
    pub keep_alive: bool,
    /// The request was a HEAD: no body.
    pub head_only: bool,
}
