//! Disks for tests. The rule: x
