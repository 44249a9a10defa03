//! The coordinator's rules: which devices want a content, who is told of whom, and what is known of the content. The
//! rule: nothing here reads a clock, a socket or a random number; they are arguments.
//!
//! The API over HTTP, call by call with examples, is written down in `net/proto/TRACKER.md`.

pub mod guid;
pub mod member;
pub mod message;
pub mod policy;
pub mod proof;
pub mod query;
pub mod quota;
pub mod reach;
pub mod records;
pub mod site;
pub mod state;

pub use guid::Guid;
