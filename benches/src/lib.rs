//! Measurements: load, and runs side by side with other caches. The rule: what is compared runs in one run, in turns,
//! on the same core.
#![forbid(unsafe_code)]

pub mod aims;
pub mod bare;
pub mod cgroup;
pub mod command;
pub mod cpu;
pub mod crowd;
pub mod figures;
pub mod fio;
pub mod kind;
pub mod latency;
pub mod line;
pub mod load;
pub mod office;
pub mod place;
pub mod readers;
pub mod secure;
pub mod servers;
pub mod side_by_side;
pub mod sites;
pub mod stage;
pub mod table;
