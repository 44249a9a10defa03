//! Disks for tests: one in memory, one that fails, one that loses power. The rule: what goes wrong is decided by a
//! script or a seed, never by chance.

pub(crate) mod crash_io;
pub(crate) mod fault_io;
pub(crate) mod mem_io;
pub(crate) mod seed;

/// A run that tries one thing after another tries one in `step`, so that it ends in seconds; all of them where
/// `LARDER_LONG_TESTS` is set, as it should be once after a change to what is tried.
pub(crate) fn one_in(step: usize) -> usize {
    if std::env::var_os("LARDER_LONG_TESTS").is_some() {
        1
    } else {
        step
    }
}
