//! What the network of this machine tells, for what is not yet on a runtime. The rule: where nothing can be looked for, what
//! the configuration names holds.

use larder_net::discovery::cache_hosts;
use larder_proto::policy::{Policies, cache_host};
use std::path::Path;

/// The cache hosts to ask, in order, and why DHCP named none where it should have.
pub(crate) fn of_this_network(policies: &Policies) -> (Vec<String>, Option<String>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(cache_hosts::find(policies, Path::new("/"))),
        Err(error) => (cache_host::hosts(policies, None), Some(error.to_string())),
    }
}
