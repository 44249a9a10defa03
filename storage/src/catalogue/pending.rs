//! What is put and not yet on disk. The rule: it holds the outcome, not the history: one entry for each content and
//! one owner for each key, so that it grows with the objects and not with the calls, however long the disk is full.

use super::row::Entry;
use crate::proof::Proof;
use larder_content::{ContentNo, UrlKey};
use std::collections::HashMap;
use std::sync::Arc;

/// Changes that are waiting.
#[derive(Clone, Debug, Default)]
pub(super) struct Pending {
    /// What each content becomes; None: it is removed.
    pub(super) contents: HashMap<ContentNo, Option<Arc<Entry>>>,
    /// Which content each key was given to last. It leads there only if that content still names it.
    pub(super) keys: HashMap<UrlKey, ContentNo>,
    /// What proves the bytes of contents.
    pub(super) proofs: HashMap<ContentNo, Proof>,
    /// Parts of their hashes; None: the part is removed.
    pub(super) hashes: HashMap<(ContentNo, u32), Option<Arc<Vec<u8>>>>,
}

/// What changes say about a key or a content.
pub(super) enum Says {
    /// Nothing: look further.
    Nothing,
    /// There is none.
    None,
    /// This one.
    Some(ContentNo, Arc<Entry>),
}

impl Pending {
    pub(super) fn put(&mut self, no: ContentNo, entry: Entry) {
        for key in &entry.keys {
            self.keys.insert(*key, no);
        }
        self.contents.insert(no, Some(Arc::new(entry)));
    }

    pub(super) fn remove(&mut self, no: ContentNo) {
        self.contents.insert(no, None);
        self.proofs.remove(&no);
        self.hashes.retain(|(of, _), _| *of != no);
    }

    /// Whether a content is among what is removed.
    pub(super) fn removes(&self, no: ContentNo) -> bool {
        matches!(self.contents.get(&no), Some(None))
    }

    /// Proofs of a content that is being removed would outlive it.
    pub(super) fn put_proof(&mut self, no: ContentNo, proof: Proof) {
        if !self.removes(no) {
            self.proofs.insert(no, proof);
        }
    }

    pub(super) fn put_hashes(&mut self, no: ContentNo, part: u32, hashes: Option<Vec<u8>>) {
        if !self.removes(no) {
            self.hashes.insert((no, part), hashes.map(Arc::new));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.contents.is_empty() && self.proofs.is_empty() && self.hashes.is_empty()
    }

    /// What is known of a content by its number, where `key` is asked for.
    pub(super) fn content(&self, no: ContentNo, key: &UrlKey) -> Says {
        match self.contents.get(&no) {
            None => Says::Nothing,
            Some(Some(entry)) if entry.keys.contains(key) => Says::Some(no, Arc::clone(entry)),
            Some(_) => Says::None,
        }
    }

    /// What is known of a key.
    pub(super) fn key(&self, key: &UrlKey) -> Says {
        self.keys
            .get(key)
            .map_or(Says::Nothing, |no| self.content(*no, key))
    }

    /// Puts older changes under these.
    pub(super) fn over(&mut self, older: &Self) {
        for (no, entry) in &older.contents {
            self.contents.entry(*no).or_insert_with(|| entry.clone());
        }
        for (key, no) in &older.keys {
            self.keys.entry(*key).or_insert(*no);
        }
        for (no, proof) in &older.proofs {
            if !self.removes(*no) {
                self.proofs.entry(*no).or_insert_with(|| proof.clone());
            }
        }
        for (at, hashes) in &older.hashes {
            if !self.removes(at.0) {
                self.hashes.entry(*at).or_insert_with(|| hashes.clone());
            }
        }
    }
}
