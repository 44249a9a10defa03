//! Whether a client has left for the WAN. The rule: nobody tells a cache so; what is said here is what a client does that
//! behaves as the open-source one was measured to (facts: clients 1.13), and is said as no more than that.

use super::short;
use crate::Time;
use std::time::Duration;

/// How long a client leaves a cache host alone.
pub const BAN: Duration = Duration::from_secs(15 * 60);

/// What a client leaves for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// Its host is not on the list.
    Host,
    /// Another answer of 400 to 499.
    Status(u16),
    /// It got too little for too long, and left.
    TooSlow,
}

impl Refused {
    /// In words.
    #[must_use]
    pub fn words(self) -> String {
        match self {
            Self::Host => "the host is not on the list of [origins] allow".to_owned(),
            Self::Status(status) => format!("it was answered {status}"),
            Self::TooSlow => "it got too little for 20 s and left".to_owned(),
        }
    }
}

/// A client that seems to have left.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ban {
    /// Why.
    pub why: Refused,
    /// What it goes elsewhere for; None for everything.
    pub host: Option<Box<str>>,
    /// Since when.
    pub since: Time,
}

impl Ban {
    pub(super) fn new(why: Refused, host: Option<&str>, since: Time) -> Self {
        let host = host.map(short);
        Self { why, host, since }
    }

    /// Until when.
    #[must_use]
    pub fn until(&self) -> Time {
        self.since + BAN
    }
}
