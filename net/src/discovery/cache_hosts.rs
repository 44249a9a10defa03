//! The cache hosts that a network names, for `DOCacheHostSource`. The rule: what is not wanted is not looked for, and what
//! can not be found within [`WITHIN`] is not there, so that a download goes on by what else there is.

use super::dhcp;
use larder_proto::dhcp::CACHE_HOSTS;
use larder_proto::policy::Policies;
use larder_proto::policy::cache_host::{hosts, wants_option};
use std::path::Path;
use std::time::Duration;
use tokio::time::timeout;

/// How long looking may take: a person may be waiting, and the origin is there in any case.
pub const WITHIN: Duration = Duration::from_secs(2);

/// Whom to ask before the origin, in order, with this machine's files below `root`; and why DHCP named none, where it
/// should have.
pub async fn find(policies: &Policies, root: &Path) -> (Vec<String>, Option<String>) {
    if !wants_option(policies) {
        return (hosts(policies, None), None);
    }
    let looked = timeout(WITHIN, dhcp::option(root, CACHE_HOSTS)).await;
    match looked.unwrap_or_else(|_| Err("no DHCP server answers in time".to_owned())) {
        Ok(option) => (hosts(policies, Some(&option)), None),
        Err(why) => (hosts(policies, None), Some(why)),
    }
}
