//! A connection on its way from a shard thread to the control runtime. The rule: it is handed over with every byte
//! that was received and nothing under way, so that whoever takes it goes on as if it had accepted it.

use crate::crowd::Seat;
use std::os::fd::OwnedFd;

/// A connection that a shard thread gives away.
#[derive(Debug)]
pub struct HandedOver {
    /// The socket, non-blocking.
    pub socket: OwnedFd,
    /// What was received and not answered, from the beginning of a request's head on.
    pub received: Vec<u8>,
    /// What it is counted by, where it is counted.
    pub seat: Option<Seat>,
}

/// Who takes connections over: the hyper service in the appliance, a script in tests.
pub trait TakeOver: Send + Sync {
    /// Takes a connection; never blocks.
    fn take_over(&self, connection: HandedOver);
}
