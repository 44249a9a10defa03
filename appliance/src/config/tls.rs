//! `[tls]`: the certificates that clients are shown. The rule: each certificate has its key, both are there and belong
//! together, or the file is not in order.

use super::check::Machine;
use super::problem::Problem;
use super::raw::{Section, Spotted};
use larder_net::http::tls::PairFiles;
use std::path::PathBuf;

const CERT: &str = "the path of a PEM file, as in \"/etc/larder/cert.pem\", or a list of them";
const KEY: &str = "the path of a PEM file, as in \"/etc/larder/key.pem\", or a list of them";

/// Reads the pairs. `asked_for` is where the file asks for https, if it does.
pub(super) fn read(
    section: &mut Section<'_>,
    asked_for: Option<Spotted<()>>,
    machine: &Machine,
) -> Vec<PairFiles> {
    let certs = paths(section, "cert", CERT);
    let keys = paths(section, "key", KEY);
    let (certs, keys) = match (certs, keys) {
        (None, None) => {
            if let Some(https) = asked_for {
                let what = "needs a certificate; write [tls] with cert and key, the paths of two PEM files";
                section.add(https.problem(what));
            }
            return Vec::new();
        }
        (Some(certs), None) => {
            let what = "has no key; write [tls] key, the path of its private key";
            section.add(certs.problem(what));
            return Vec::new();
        }
        (None, Some(keys)) => {
            let what = "has no certificate; write [tls] cert, the path of the certificate";
            section.add(keys.problem(what));
            return Vec::new();
        }
        (Some(certs), Some(keys)) => (certs, keys),
    };
    if certs.value.len() != keys.value.len() || certs.value.is_empty() {
        let what = format!(
            "names {} keys for {} certificates; write one key for each certificate, in the same order",
            keys.value.len(),
            certs.value.len()
        );
        section.add(keys.problem(what));
        return Vec::new();
    }
    let mut pairs = Vec::new();
    for (cert, key) in certs.value.iter().zip(&keys.value) {
        let files = PairFiles {
            cert: PathBuf::from(cert.value),
            key: PathBuf::from(key.value),
        };
        match whole(cert).or(whole(key)) {
            Some(problem) => section.add(problem),
            None => match (machine.pair)(&files) {
                Ok(()) => pairs.push(files),
                Err(error) => {
                    let at_fault = if error.file() == files.cert {
                        cert
                    } else {
                        key
                    };
                    section.add(at_fault.problem(error.to_string()));
                }
            },
        }
    }
    pairs
}

type Paths<'d> = Spotted<Vec<Spotted<&'d str>>>;

fn paths<'d>(section: &mut Section<'d>, key: &'static str, wanted: &str) -> Option<Paths<'d>> {
    let alone = section.any(key)?.value.as_str().is_some();
    if !alone {
        return section.texts(key, wanted);
    }
    section.text(key, wanted).map(|one| Spotted {
        key: one.key.clone(),
        at: one.at,
        value: vec![one],
    })
}

fn whole(path: &Spotted<&str>) -> Option<Problem> {
    let is_whole = path.value.starts_with('/');
    (!is_whole).then(|| {
        path.problem(format!(
            "{:?} is no whole path; write it from the root, as in \"/etc/larder/cert.pem\"",
            path.value
        ))
    })
}
