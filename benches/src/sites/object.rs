//! The object that all devices want. The rule: what the coordinator is told of it is what was written for the origin.

use super::device::coordinator_url;
use super::network::wan_address;
use crate::office::runtime;
use anyhow::{Context, Result};
use larder_content::Phf;
use larder_content::hash::of_piece;
use larder_net::coordinator::{ClientOptions, CoordinatorClient, Key};
use larder_proto::tracker::message::{PublishRequest, Trust};
use std::fs;
use std::io::Write;
use std::path::Path;

/// By this the bench may say what the object is.
pub(super) const PUBLISHER_KEY: &[u8] = b"a key of the bench's own, for as long as it runs";

/// The object, and what the coordinator is told of it.
pub(super) struct Object {
    pub(super) url: String,
    pub(super) phf: Phf,
}

impl Object {
    /// Makes the object of this round below the origin's folder.
    ///
    /// # Errors
    /// It can not be written.
    pub(super) fn make(root: &Path, round: u64, mib: u64) -> Result<Self> {
        let mut file = crate::office::guid_file(7_000 + round, mib << 20, 0);
        file.path = format!("/content/object-{round}.bin");
        let path = root.join(&file.path[1..]);
        fs::create_dir_all(path.parent().context("a folder")?)?;
        let mut out = std::io::BufWriter::new(fs::File::create(&path)?);
        let mut hashes = Vec::new();
        let mut piece = Vec::new();
        for number in 0..file.pieces() {
            let (start, end) = file.piece(number);
            piece.resize(usize::try_from(end - start)?, 0);
            file.fill(start, &mut piece);
            hashes.push(of_piece(&piece));
            out.write_all(&piece)?;
        }
        out.flush()?;
        let phf = Phf::new(file.len, hashes)?;
        let url = format!("http://{}{}", wan_address(), file.path);
        Ok(Self { url, phf })
    }

    /// Tells the coordinator what it is, as its vendor would.
    ///
    /// # Errors
    /// The coordinator does not take it.
    pub(super) fn publish(&self) -> Result<()> {
        let options = ClientOptions {
            publisher_key: Some(Key::new("bench", PUBLISHER_KEY).map_err(anyhow::Error::msg)?),
            ..ClientOptions::new(coordinator_url())
        };
        let mut request = PublishRequest::new(self.phf.clone(), Trust::Verified);
        request.content_cdn_urls.push(self.url.clone());
        runtime()?.block_on(async {
            let client = CoordinatorClient::new(options)?;
            anyhow::Ok(client.publish(&request).await?)
        })
    }
}
