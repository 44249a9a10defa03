//! `larder csr`: what an authority wants for a certificate. The rule: it prints a request and says what comes next; the
//! key stays where it is.

use crate::csr::{self, Name};
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// Options of `larder csr`.
#[derive(clap::Args, Debug)]
pub(super) struct CsrArgs {
    /// Names and addresses by which clients call this appliance, the most usual first.
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// The key; made where there is none.
    #[arg(long, value_name = "FILE", default_value = "key.pem")]
    key: PathBuf,
    /// Where the request goes, instead of standard output.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(super) fn run(args: &CsrArgs) -> anyhow::Result<ExitCode> {
    let names = args.names.iter().map(|name| Name::parse(name));
    let names = names.collect::<Result<Vec<_>, _>>()?;
    let (key, made) = csr::key(&args.key)?;
    let request = csr::request(&key, &names)?;
    match &args.output {
        None => io::stdout().lock().write_all(request.as_bytes())?,
        Some(path) => fs::write(path, request)
            .map_err(|error| anyhow::anyhow!("cannot write {}: {error}", path.display()))?,
    }
    let file = args.key.display();
    if made {
        eprintln!(
            "larder: {file} is a new key; let larder read it: chgrp larder {file} && chmod 640 {file}"
        );
    }
    eprintln!(
        "larder: have the request signed for a server, and name the certificate, with those up to the authority behind \
         it, and the key in [tls] cert and key"
    );
    Ok(ExitCode::SUCCESS)
}
