//! What the network around this machine is called, for `DOGroupIdSource`. The rule: only what is wanted is looked for, which
//! is one source or the two of a domain's controller, and it ends within [`WITHIN`].

#[cfg(test)]
mod tests;

use super::ad;
use super::dhcp;
use super::resolver::Resolver;
use larder_proto::dhcp::GROUP;
use larder_proto::policy::group::{is_usual, wanted};
use larder_proto::policy::{GroupSource, Names, Policies};
use std::path::Path;
use std::time::Duration;
use tokio::time::timeout;

/// How long looking may take.
pub const WITHIN: Duration = Duration::from_secs(4);

/// Finds out what these policies ask for, with this machine's files below `root`.
pub async fn find(policies: &Policies, root: &Path) -> Names {
    let mut names = Names::default();
    let wanted = wanted(policies);
    let of_domain =
        |source: &GroupSource| matches!(source, GroupSource::AdSite | GroupSource::DomainSid);
    let from_domain: Vec<GroupSource> = wanted.iter().copied().filter(of_domain).collect();
    if !from_domain.is_empty() {
        let resolver = Resolver::of(root);
        let domains = if is_usual(policies) {
            ad::joined(root)
        } else {
            ad::likely(root, &resolver)
        };
        // Who belongs to no domain, and was not told to look for one, has nothing to find.
        if !domains.is_empty() || !is_usual(policies) {
            let asked = timeout(
                WITHIN,
                domain(&resolver, &domains, &from_domain, &mut names),
            )
            .await;
            if asked.is_err() {
                for source in from_domain {
                    names.learn(
                        source,
                        Err("no domain controller answers in time".to_owned()),
                    );
                }
            }
        }
    }
    for source in wanted {
        let found = match source {
            GroupSource::DhcpOption => timeout(WITHIN, dhcp::option(root, GROUP))
                .await
                .unwrap_or_else(|_| Err("no DHCP server answers in time".to_owned())),
            GroupSource::DnsSuffix => {
                let suffix = Resolver::of(root).suffixes.into_iter().next();
                suffix.ok_or_else(|| "/etc/resolv.conf names no search domain".to_owned())
            }
            GroupSource::EntraTenant => {
                Err("larder is in no Entra tenant; write DOGroupID".to_owned())
            }
            GroupSource::AdSite | GroupSource::DomainSid => continue,
        };
        names.learn(source, found);
    }
    names
}

async fn domain(
    resolver: &Resolver,
    domains: &[String],
    wanted: &[GroupSource],
    names: &mut Names,
) {
    let found = match ad::find(resolver, domains).await {
        Ok(found) => found,
        Err(why) => {
            for source in wanted {
                names.learn(*source, Err(why.clone()));
            }
            return;
        }
    };
    let controller = &found.pong.controller;
    for source in wanted {
        let found = match source {
            GroupSource::AdSite => found.pong.site.clone().ok_or_else(|| {
                format!("{controller} knows no site for this machine's address; add its subnet to a site")
            }),
            _ if names.ad_site.is_some() => continue,
            _ => ad::sid(found.at).await,
        };
        names.learn(*source, found);
    }
}
