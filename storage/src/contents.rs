//! The contents that are in memory, by key and by number. The rule: a key names one content, and a content that no
//! key names any more is gone.

use crate::record::{Content, Record};
use larder_content::{ContentNo, UrlKey};
use parking_lot::{Mutex, RwLock};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A power of two; looking up takes a read lock on one of them.
const SHARDS: usize = 16;

/// Contents by key and by number.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    by_key: [RwLock<HashMap<UrlKey, Arc<Content>>>; SHARDS],
    /// Also held while keys change hands, so that two changes never cross.
    by_no: Mutex<HashMap<ContentNo, Arc<Content>>>,
    /// How often a key has come to name something else.
    changes: AtomicU64,
}

impl Contents {
    fn shard(&self, key: &UrlKey) -> &RwLock<HashMap<UrlKey, Arc<Content>>> {
        // A key is a hash already.
        &self.by_key[usize::from(key.0[0]) % SHARDS]
    }

    pub(crate) fn get(&self, key: &UrlKey) -> Option<Arc<Content>> {
        self.shard(key).read().get(key).cloned()
    }

    /// While this number stays, [`Contents::get`] gives what it gave.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// To be called after a key has come to name something else.
    fn changed(&self) {
        self.changes.fetch_add(1, Ordering::Release);
    }

    pub(crate) fn len(&self) -> usize {
        self.by_no.lock().len()
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<Arc<Content>> {
        self.by_no.lock().values().cloned().collect()
    }

    /// Calls `then` with a content that is in memory, while no key changes hands: what `then` queues for the catalogue
    /// comes before what the next change queues. It must neither wait nor call back.
    pub(crate) fn while_named(&self, no: ContentNo, then: impl FnOnce(&Content)) {
        if let Some(content) = self.by_no.lock().get(&no) {
            then(content);
        }
    }

    pub(crate) fn by_no(&self, no: ContentNo) -> Option<Arc<Content>> {
        self.by_no.lock().get(&no).cloned()
    }

    /// Lets `key` name `content`. Returns the content that it named before, if that is nameless now and therefore
    /// gone, and the one that has lost a name but lives.
    pub(crate) fn name(&self, key: UrlKey, content: &Arc<Content>) -> Renamed {
        let mut by_no = self.by_no.lock();
        // Whoever asks may hold what it was before a renewal.
        let content = by_no
            .entry(content.no)
            .or_insert_with(|| Arc::clone(content));
        let content = Arc::clone(content);
        content.add_name(key);
        let before = self.shard(&key).write().insert(key, Arc::clone(&content));
        self.changed();
        let Some(before) = before.filter(|before| before.no != content.no) else {
            return Renamed::Nothing;
        };
        if before.remove_name(&key) {
            by_no.remove(&before.no);
            Renamed::Gone(before)
        } else {
            Renamed::Lives(before)
        }
    }

    /// Puts a content with another record in the place of one that has the same number, with all its names. Where it
    /// is gone already, nobody will find the new one either.
    pub(crate) fn replace(&self, content: &Content, record: Record) -> Arc<Content> {
        let mut by_no = self.by_no.lock();
        let present = by_no.get(&content.no);
        let names = present.map_or_else(Vec::new, |present| present.names());
        let pinned = present.is_some_and(|present| present.is_pinned());
        let record = Record { pinned, ..record };
        let renewed = Arc::new(Content::new(content.no, content.key, record, names.clone()));
        if present.is_some() {
            by_no.insert(content.no, Arc::clone(&renewed));
            for key in names {
                self.shard(&key).write().insert(key, Arc::clone(&renewed));
            }
            self.changed();
        }
        renewed
    }

    /// Takes a content out of memory: no key leads to it any more. False where it was gone already.
    pub(crate) fn remove(&self, content: &Content) -> bool {
        let mut by_no = self.by_no.lock();
        let Some(present) = by_no.remove(&content.no) else {
            return false;
        };
        for key in present.names() {
            let mut shard = self.shard(&key).write();
            if shard.get(&key).is_some_and(|held| held.no == content.no) {
                shard.remove(&key);
            }
        }
        self.changed();
        true
    }
}

/// What became of the content that a key named before.
#[derive(Debug)]
pub(crate) enum Renamed {
    /// It named none, or the same.
    Nothing,
    /// No key names it any more.
    Gone(Arc<Content>),
    /// Other keys name it still.
    Lives(Arc<Content>),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(no: u64, key: UrlKey) -> Arc<Content> {
        let record = Record {
            length: 1,
            ..Record::default()
        };
        Arc::new(Content::new(ContentNo::new(no), key, record, vec![key]))
    }

    #[test]
    fn a_content_is_gone_with_its_last_name() {
        let contents = Contents::default();
        let (a, b) = (UrlKey([1; 32]), UrlKey([2; 32]));
        let first = content(1, a);
        assert!(matches!(contents.name(a, &first), Renamed::Nothing));
        assert!(matches!(contents.name(b, &first), Renamed::Nothing));
        assert!(matches!(contents.name(a, &first), Renamed::Nothing));
        let second = content(2, a);
        let before = contents.changes();
        assert!(contents.get(&a).is_some() && contents.changes() == before);
        assert!(matches!(contents.name(a, &second), Renamed::Lives(_)));
        assert_ne!(contents.changes(), before);
        assert_eq!(contents.get(&b).unwrap().no, first.no);
        assert!(matches!(contents.name(b, &second), Renamed::Gone(gone) if gone.no == first.no));
        assert!(contents.by_no(first.no).is_none());
        assert_eq!(contents.len(), 1);
        let before = contents.changes();
        contents.replace(&second, Record::default());
        let renewed = contents.changes();
        assert_ne!(renewed, before);
        assert!(contents.remove(&second));
        assert_ne!(contents.changes(), renewed);
        assert!(!contents.remove(&second));
        assert!(contents.get(&a).is_none() && contents.all().is_empty());
    }
}
