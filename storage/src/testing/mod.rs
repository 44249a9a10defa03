//! Disks for tests: one in memory, one that fails, one that loses power. The rule: what goes wrong is decided by a
//! script or a seed, never by chance.

#[cfg(test)]
pub(crate) mod cow_io;
#[cfg(test)]
pub(crate) mod crash_io;
#[cfg(test)]
pub(crate) mod fault_io;
pub(crate) mod mem_io;
#[cfg(test)]
pub(crate) mod seed;
#[cfg(test)]
pub(crate) mod states;

/// A number that a long run by hand sets higher than CI can afford.
#[cfg(test)]
pub(crate) fn number_from(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).map_or(usual, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is to be a number, not {text:?}"))
    })
}
