//! How far redirects are followed. The rule: a chain of them ends.

pub(super) use larder_proto::http::reference::follow;

/// How many redirects in a row are followed, as many as the vendor's agent follows (facts: clients 1.6).
pub(super) const REDIRECTS_MAX: usize = 10;
