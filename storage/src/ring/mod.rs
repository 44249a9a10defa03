//! The ring: io_uring as a [`Driver`](crate::driver::Driver). The rule: memory that the kernel may write to is owned
//! here until the kernel has said that it is done, whoever goes away meanwhile.
//!
//! `setup` finds what the kernel has and says in plain words what it lacks; `op` keeps what is under way; `recv` is
//! the ring of receive buffers; `driver` takes operations
//! in and `complete` turns completions into events; `waker` is shared with the epoll driver.

mod complete;
mod driver;
mod op;
mod recv;
mod setup;
pub(crate) mod waker;

pub(crate) use complete::is_passing;
pub use driver::RingDriver;
#[cfg(test)]
pub(crate) use setup::Shape;
pub use setup::{RingFeatures, SetupError, probe};
