//! How clients find this appliance without being told, and what this machine finds out about its network. The rule: it is
//! off unless the configuration asks for it, and no trouble of it keeps anybody from being served.

pub mod ad;
pub mod cache_hosts;
pub mod dhcp;
pub mod dns_sd;
pub mod links;
pub mod names;
#[cfg(test)]
pub(crate) mod namespace;
mod resolver;
