//! The configuration: read as written, then checked ([`checked`]). The rule: only the checked type travels,
//! and a file with a mistake in it changes nothing.

pub mod checked;

pub use checked::{Checked, Log, LogFormat};
