//! What the policies of Delivery Optimization decide. The rule: settings, facts about the device and the time are
//! arguments, and a decision comes with its reason in words; the edges only ask.
//!
//! `settings` is the whole table with the defaults of a device and of an appliance, `mode` says which peers there are
//! for one download, `eligibility` whether this device may take from them and give to them, `serving` which of those that
//! connect are given anything, `month` what has gone to Internet peers, `group` whose they are, `bandwidth` how fast
//! downloads may be, and `schedule` at which hours, `delay` when HTTP may be used, `cache_host` who is asked before the
//! origin, and `cache` how long and how much is kept. `import` reads the settings that other programs keep.

pub mod bandwidth;
pub mod cache;
pub mod cache_host;
pub mod delay;
pub mod eligibility;
pub mod group;
pub mod import;
pub mod mode;
pub mod month;
pub mod schedule;
pub mod serving;
pub mod settings;
#[cfg(test)]
mod tests;

pub use crate::tracker::message::{DownloadMode, PeerType};
pub use cache_host::CacheHostSource;
pub use eligibility::{Bar, Battery, Facts, is_vpn, may_download, may_upload};
pub use group::{Group, GroupFrom, GroupSource, Names, group};
pub use mode::{Coordinator, Taken, Why, taken};
pub use settings::{Dialect, Hours, Policies, Priority, Role};
