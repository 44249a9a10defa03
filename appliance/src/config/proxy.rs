//! The keys of `[origins]` that concern the upstream proxy. The rule: a password stands in a file of its own, never in
//! the configuration, and a file that everybody may read is told.

use super::check::Machine;
use super::raw::{Section, Spotted};
use larder_net::settings::Proxy;
use larder_proto::http::proxy::ProxyRules;
use std::path::{Path, PathBuf};

const URL: &str = "a URL, as in \"http://proxy.example.org:3128\"";
const FILE: &str = "the path of a file that holds user:password";
const EXCEPTIONS: &str = "[\"wsus.corp\", \".corp\", \"10.0.0.0/8\"]";

/// Reads `proxy`, `proxy_credentials_file` and `no_proxy`.
pub(super) fn read(
    section: &mut Section<'_>,
    machine: &Machine,
    warnings: &mut Vec<String>,
) -> Option<Proxy> {
    let url = section.text("proxy", URL);
    let file = section.text("proxy_credentials_file", FILE);
    let except = section.texts("no_proxy", EXCEPTIONS);
    let Some(url) = url else {
        let idle = file.map(|spot| spot.key).into_iter();
        for key in idle.chain(except.map(|spot| spot.key)) {
            warnings.push(format!("{key} has no effect: origins.proxy is not set"));
        }
        return None;
    };
    let mut rules = match ProxyRules::of_url(url.value) {
        Ok(rules) => rules,
        Err(why) => {
            section.add(url.problem(format!("{:?} {why}", shown(url.value))));
            return None;
        }
    };
    match except {
        Some(list) => {
            for item in list.value {
                if let Err(why) = rules.except(item.value) {
                    section.add(item.problem(format!("{:?} {why}", item.value)));
                }
            }
        }
        // As other programs take it, where the file says nothing of its own.
        None => {
            for text in machine.no_proxy.split([',', ' ']).filter(|t| !t.is_empty()) {
                if let Err(why) = rules.except(text) {
                    warnings.push(format!("{text:?} in the environment's NO_PROXY {why}"));
                }
            }
        }
    }
    let credentials_file = file.and_then(|file| credentials(section, &file, machine, warnings));
    Some(Proxy {
        rules,
        credentials_file,
    })
}

/// A URL without what may be a password.
fn shown(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://...@{host}"),
        _ => url.to_owned(),
    }
}

fn credentials(
    section: &mut Section<'_>,
    file: &Spotted<&str>,
    machine: &Machine,
    warnings: &mut Vec<String>,
) -> Option<PathBuf> {
    let name = file.value;
    let path = if name.starts_with('/') {
        PathBuf::from(name)
    } else if name.is_empty() || name.contains('/') {
        let what = format!(
            "{name:?} is no whole path; write it from the root, or the bare name of a systemd credential \
             (LoadCredential=)"
        );
        section.add(file.problem(what));
        return None;
    } else if let Some(directory) = &machine.credentials_directory {
        directory.join(name)
    } else {
        // Only the service itself has that directory: to check a file beside it is no mistake.
        warnings.push(format!(
            "{} {name:?} is a systemd credential, and systemd gave this process none; \
             inside the unit LoadCredential={name}:FILE provides it",
            file.key
        ));
        return Some(PathBuf::from("/run/credentials/larder.service").join(name));
    };
    if let Err(error) = (machine.readable)(&path) {
        let what = format!(
            "{:?} cannot be read: {error}; name a file that larder may read",
            path.display().to_string()
        );
        section.add(file.problem(what));
    } else if (machine.others_may_read)(Path::new(&path)) {
        warnings.push(format!(
            "{} {} can be read by every user of this machine; chmod 640, with the group that larder runs as",
            file.key,
            path.display()
        ));
    }
    Some(path)
}
