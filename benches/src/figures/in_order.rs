//! How an object lies on the disk that many clients fetched in orders of their own: what reading it from its first
//! byte to its last would cost a disk that turns. The rule: the larder that fetched it is the whole program, the places
//! are those that its store tells when it is opened again, and every read that does not go on where the one before it
//! ended counts as a seek, however near it is.

use crate::crowd;
use crate::office::{guid_file, runtime};
use crate::servers::{LarderSetup, Server};
use anyhow::{Context, Result, bail, ensure};
use larder::demo::content::File;
use larder::demo::origin::Origin;
use larder_content::{PieceId, Span};
use larder_storage::store::{Filter, Found, Store, StoreOptions};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A disk of 7200 turns a minute.
const SEEKS_A_SECOND: f64 = 150.0;
const BYTES_A_SECOND: f64 = 150e6;

const SHARE_MIN: f64 = 0.8;

/// An object read in order from a disk that turns (150 seeks a second), over the disk's own rate.
#[derive(clap::Args, Debug)]
pub struct InOrder {
    /// Clients that fetch the objects at once, shuffled.
    #[arg(long, default_value_t = 10)]
    clients: u64,
    /// Objects.
    #[arg(long, default_value_t = 3)]
    objects: u64,
    /// MiB of each.
    #[arg(long, default_value_t = 256)]
    mib: u64,
}

impl InOrder {
    /// Fetches, and looks where it lies. Good where seeks leave 0.8 of the disk's rate.
    ///
    /// # Errors
    /// Something does not start, or a piece is missing.
    pub fn run(&self, out: &mut impl Write) -> Result<bool> {
        let directory = tempfile::tempdir()?;
        let store = directory.path().join("store");
        let numbers = 0..self.objects;
        let files: Vec<File> = numbers.map(|n| guid_file(n, self.mib << 20, 0)).collect();
        runtime()?.block_on(self.fetch(directory.path(), &store, &files))?;
        let store = Store::open(StoreOptions::new(&store))?;
        let mut worst = f64::MAX;
        for file in &files {
            let (seeks, bytes) = read_in_order(&store, file)?;
            let moving = bytes as f64 / BYTES_A_SECOND;
            let share = moving / (moving + seeks as f64 / SEEKS_A_SECOND);
            writeln!(
                out,
                "{} pieces, fetched by {} clients with {} objects at once: {seeks} seeks, {share:.3} of the disk's rate",
                file.pieces(),
                self.clients,
                self.objects
            )?;
            worst = worst.min(share);
        }
        Ok(super::at_least(
            out,
            "share of the disk's rate",
            worst,
            SHARE_MIN,
        )?)
    }

    async fn fetch(&self, directory: &Path, store: &Path, files: &[File]) -> Result<()> {
        let origin = Origin::start((Ipv4Addr::LOCALHOST, 0).into(), files.to_vec()).await?;
        let setup = LarderSetup {
            connect: vec![(files[0].hosts[0].clone(), origin.address())],
            store: Some(store.to_path_buf()),
            ..LarderSetup::default()
        };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 8830));
        let larder = Server::larder(directory, address, &setup, None)?;
        let wanted: Vec<_> = files.iter().cloned().map(Arc::new).collect();
        let seen = crowd::fetch(address, self.clients, &wanted).await;
        ensure!(seen.faults.is_empty(), "{}", seen.faults[0]);
        let pieces: u64 = files.iter().map(File::pieces).sum();
        for _ in 0..500 {
            if larder.metric("larder_store_pieces", "")? >= pieces as f64 {
                // What is on disk is durable a second later.
                tokio::time::sleep(Duration::from_secs(2)).await;
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!("not all of {pieces} pieces were stored within 10 s");
    }
}

/// Seeks and bytes of reading a file piece by piece.
fn read_in_order(store: &Store, file: &File) -> Result<(u64, u64)> {
    let listed = store.list(&Filter::All);
    let of_file = |url: &str| url.ends_with(&file.path);
    let content = listed.iter().find(|listed| of_file(&listed.record.url));
    let content = content
        .with_context(|| format!("{} is not stored", file.path))?
        .no;
    let (mut seeks, mut bytes, mut head) = (0, 0, None);
    for piece in 0..u32::try_from(file.pieces())? {
        let Found::Disk(place) = store.find(PieceId { content, piece }) else {
            bail!("piece {piece} of {} is not on disk", file.path);
        };
        let read = place.read_of(Span::new(0, u64::from(place.len)));
        let begins = (place.disk, place.slab, read.offset);
        seeks += u64::from(head != Some(begins));
        head = Some((place.disk, place.slab, read.offset + u64::from(read.len)));
        bytes += u64::from(place.len);
    }
    Ok((seeks, bytes))
}
