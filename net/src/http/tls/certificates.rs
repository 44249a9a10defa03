//! The certificates that clients are shown. The rule: a pair of files is taken as a whole or not at all; where a new
//! one is no good, the one in force stays in force and the reason is told with the file's name.

use arc_swap::ArcSwap;
use larder_proto::UnixSecs;
use larder_proto::tls::names::Names;
use larder_proto::tls::validity::Validity;
use parking_lot::Mutex;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use webpki::EndEntityCert;

/// Permission bits that let others than owner and group read a file, or the group write it.
const OPEN_TO_OTHERS: u32 = 0o027;

/// The files of one certificate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PairFiles {
    /// PEM: the certificate, then those that lead from it to an authority.
    pub cert: PathBuf,
    /// PEM: its private key.
    pub key: PathBuf,
}

/// What is wrong with a pair of files.
#[derive(Debug, thiserror::Error)]
pub enum PairError {
    /// A file can not be read.
    #[error("{path}: {why}; name a PEM file that larder may read")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A file holds nothing of what it should.
    #[error("{path} holds no {what}; it must be PEM, with a line -----BEGIN {mark}-----")]
    Empty {
        /// Which.
        path: PathBuf,
        /// What is missing.
        what: &'static str,
        /// How it would begin.
        mark: &'static str,
    },
    /// What a file holds can not be used.
    #[error("{path}: {why}")]
    Unusable {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The two do not belong together.
    #[error(
        "{key} is not the key of {cert}; the first certificate of the file must be the one for the key"
    )]
    Strangers {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
}

impl PairError {
    /// The file that it lies in.
    #[must_use]
    pub fn file(&self) -> &Path {
        match self {
            Self::Unreadable { path, .. }
            | Self::Empty { path, .. }
            | Self::Unusable { path, .. }
            | Self::Strangers { key: path, .. } => path,
        }
    }
}

/// A certificate with its key.
#[derive(Debug)]
pub struct Pair {
    shown: Arc<CertifiedKey>,
    /// Names of hosts that it is for; none where it names addresses alone.
    pub names: Vec<String>,
    /// From when to when it holds.
    pub validity: Validity,
    /// Others on this machine can read the key.
    pub key_is_open: bool,
}

impl Pair {
    /// Reads and checks both files.
    ///
    /// # Errors
    /// What is wrong, with the name of the file. A certificate that has expired is no error.
    pub fn load(files: &PairFiles) -> Result<Self, PairError> {
        let chain = CertificateDer::pem_file_iter(&files.cert)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| unreadable(&files.cert, &error))?;
        let Some(first) = chain.first() else {
            return Err(PairError::Empty {
                path: files.cert.clone(),
                what: "certificate",
                mark: "CERTIFICATE",
            });
        };
        let unusable = |path: &Path, why: String| PairError::Unusable {
            path: path.to_owned(),
            why,
        };
        let no_certificate = || unusable(&files.cert, "is no X.509 certificate".to_owned());
        let validity = Validity::of(first).ok_or_else(no_certificate)?;
        let names = {
            let read = EndEntityCert::try_from(first).map_err(|_| no_certificate())?;
            read.valid_dns_names().map(str::to_owned).collect()
        };
        let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| match error {
            pem::Error::NoItemsFound => PairError::Empty {
                path: files.key.clone(),
                what: "private key without a password",
                mark: "PRIVATE KEY",
            },
            error => unreadable(&files.key, &error),
        })?;
        let shown = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => PairError::Strangers {
                cert: files.cert.clone(),
                key: files.key.clone(),
            },
            error => unusable(
                &files.key,
                format!("is no key that can be used ({error}); write an ECDSA (P-256, P-384), RSA or Ed25519 key"),
            ),
        })?;
        let mode = fs::metadata(&files.key).map(|found| found.mode());
        Ok(Self {
            shown: Arc::new(shown),
            names,
            validity,
            key_is_open: mode.is_ok_and(|mode| mode & OPEN_TO_OTHERS != 0),
        })
    }

    /// Whether a client that calls by this address takes it.
    #[must_use]
    pub fn is_for_address(&self, address: IpAddr) -> bool {
        let first = self.shown.cert.first();
        let read = first.and_then(|first| EndEntityCert::try_from(first).ok());
        let name = ServerName::from(address);
        read.is_some_and(|read| read.verify_is_valid_for_subject_name(&name).is_ok())
    }
}

fn unreadable(path: &Path, error: &pem::Error) -> PairError {
    let why = match error {
        pem::Error::Io(error) => error.to_string(),
        error => format!("is not PEM ({error})"),
    };
    PairError::Unreadable {
        path: path.to_owned(),
        why,
    }
}

/// The one provider of what TLS for clients computes with. AES-128 goes first: it is as good as any here and costs the
/// least.
pub(super) fn provider() -> CryptoProvider {
    use rustls::crypto::ring::{cipher_suite as suite, default_provider};
    let mut provider = default_provider();
    let cheap = [
        suite::TLS13_AES_128_GCM_SHA256,
        suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ];
    // Stable: the rest stays in its order.
    provider
        .cipher_suites
        .sort_by_key(|other| !cheap.contains(other));
    provider
}

/// What tells a file from its next version: inode, modification in seconds and nanoseconds, length.
type Stamp = Option<(u64, i64, i64, u64)>;

fn stamp(path: &Path) -> Stamp {
    let found = fs::metadata(path).ok()?;
    Some((found.ino(), found.mtime(), found.mtime_nsec(), found.size()))
}

fn stamps(files: &PairFiles) -> [Stamp; 2] {
    [stamp(&files.cert), stamp(&files.key)]
}

/// One pair as it is in force.
#[derive(Clone, Debug)]
pub struct InForce {
    /// Its files.
    pub files: PairFiles,
    /// None where none was ever good.
    pub pair: Option<Arc<Pair>>,
    /// Why it is not what its files hold now.
    pub trouble: Option<String>,
    /// The files when they were last read.
    stamps: [Stamp; 2],
}

impl InForce {
    /// What to call it: the first of its names, else its file.
    #[must_use]
    pub fn name(&self) -> String {
        let first = self.pair.as_ref().and_then(|pair| pair.names.first());
        first.map_or_else(|| self.files.cert.display().to_string(), Clone::clone)
    }

    /// When it expires.
    #[must_use]
    pub fn not_after(&self) -> Option<UnixSecs> {
        Some(self.pair.as_ref()?.validity.not_after)
    }
}

/// The certificates in force; handshakes look here.
#[derive(Debug)]
pub struct Certificates {
    shown: ArcSwap<Shown>,
    /// Locked while files are read.
    pairs: Mutex<Vec<InForce>>,
}

#[derive(Debug)]
struct Shown {
    names: Names,
    /// By the numbers that `names` gives.
    certificates: Vec<Arc<CertifiedKey>>,
}

impl Certificates {
    /// Reads these pairs, the first of which is for clients that name no host, or one that nobody bears.
    ///
    /// # Errors
    /// The first one that is no good.
    pub fn load(wanted: &[PairFiles]) -> Result<Self, PairError> {
        let mut pairs = Vec::with_capacity(wanted.len());
        for files in wanted {
            let stamps = stamps(files);
            pairs.push(InForce {
                pair: Some(Arc::new(Pair::load(files)?)),
                files: files.clone(),
                trouble: None,
                stamps,
            });
        }
        Ok(Self {
            shown: ArcSwap::from_pointee(shown(&pairs)),
            pairs: Mutex::new(pairs),
        })
    }

    /// Whether a file is another one than when it was last read. Asks the disk.
    #[must_use]
    pub fn files_changed(&self) -> bool {
        let pairs = self.pairs.lock();
        pairs.iter().any(|pair| stamps(&pair.files) != pair.stamps)
    }

    /// Reads all pairs again, from the files that are wanted now. One that is no good stays as it was; what was wrong
    /// is told.
    pub fn renew(&self, wanted: &[PairFiles]) -> Vec<PairError> {
        let mut pairs = self.pairs.lock();
        let mut errors = Vec::new();
        let renewed = wanted.iter().map(|files| {
            // Before the files are read: a change while they are must be seen by the next look.
            let stamps = stamps(files);
            let (pair, trouble) = match Pair::load(files) {
                Ok(pair) => (Some(Arc::new(pair)), None),
                Err(error) => {
                    let old = pairs.iter().find(|old| old.files == *files);
                    let trouble = Some(error.to_string());
                    errors.push(error);
                    (old.and_then(|old| old.pair.clone()), trouble)
                }
            };
            InForce {
                files: files.clone(),
                pair,
                trouble,
                stamps,
            }
        });
        let renewed: Vec<InForce> = renewed.collect();
        self.shown.store(Arc::new(shown(&renewed)));
        *pairs = renewed;
        errors
    }

    /// All pairs, in order.
    #[must_use]
    pub fn in_force(&self) -> Vec<InForce> {
        self.pairs.lock().clone()
    }
}

fn shown(pairs: &[InForce]) -> Shown {
    let good: Vec<_> = pairs.iter().filter_map(|one| one.pair.as_ref()).collect();
    Shown {
        names: Names::new(
            good.iter()
                .map(|pair| pair.names.iter().map(String::as_str)),
        ),
        certificates: good.iter().map(|pair| Arc::clone(&pair.shown)).collect(),
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let shown = self.shown.load();
        let number = shown.names.find(hello.server_name());
        shown.certificates.get(number).map(Arc::clone)
    }
}
