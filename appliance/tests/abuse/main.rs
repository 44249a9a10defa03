//! larder under abuse, as a whole program: crowds, floods, huge heads, and whoever may not ask. The rule: whoever behaves
//! is served meanwhile, memory stays within what is configured, and what is asserted is counted, never timed.

#[path = "../rig/mod.rs"]
mod rig;

mod admin;
mod asks;
mod crowds;
mod files;
mod logs;
mod metadata;
mod origin;
mod peers;
