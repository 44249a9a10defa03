//! Content records in a file of lines, until the catalogue is there. The rule: the last line about a number counts.

use crate::record::Record;
use larder_content::{ContentNo, UrlKey};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;

#[derive(Debug)]
pub(crate) struct Catalogue(Mutex<File>, Vec<(ContentNo, Record, Vec<UrlKey>)>);

type Line = (u64, Option<(Record, Vec<[u8; 32]>)>);

impl Catalogue {
    pub(crate) fn open(dir: &Path) -> Result<Self, String> {
        let path = dir.join("catalogue.lines");
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let mut all = HashMap::new();
        for line in text.lines() {
            let Ok((no, what)) = serde_json::from_str::<Line>(line) else {
                continue;
            };
            all.insert(no, what);
        }
        let file = File::options()
            .append(true)
            .create(true)
            .open(path)
            .map_err(|error| error.to_string())?;
        let there = all.into_iter().filter_map(|(no, what)| {
            let (record, keys) = what?;
            let keys = keys.into_iter().map(UrlKey).collect();
            Some((ContentNo::new(no), record, keys))
        });
        Ok(Self(Mutex::new(file), there.collect()))
    }

    pub(crate) fn load_all(&self) -> Vec<(ContentNo, Record, Vec<UrlKey>)> {
        self.1.clone()
    }

    pub(crate) fn put(&self, no: ContentNo, record: &Record, keys: &[UrlKey]) {
        let keys = keys.iter().map(|key| key.0).collect();
        self.line(&(no.get(), Some((record.clone(), keys))));
    }

    pub(crate) fn remove(&self, no: ContentNo) {
        self.line(&(no.get(), None));
    }

    fn line(&self, line: &Line) {
        if let Ok(text) = serde_json::to_string(line) {
            let _ = writeln!(self.0.lock(), "{text}");
        }
    }

    pub(crate) fn flush(&self) {
        let _ = self.0.lock().sync_data();
    }
}
