//! The program as an administrator meets it: the built binary, its files, its signals, its exit codes. The rule: each
//! test starts its own process on ports that the kernel chooses, and ends it whatever happens.

mod admin;
mod commands;
mod content;
mod running;
mod signals;
mod start;
mod units;
