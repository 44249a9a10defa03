//! Where the bytes of each content came from. The rule: a byte is counted once, when its piece is kept, by who brought
//! it; so the parts of a content never add up to more than it has.

use larder_content::ContentNo;
use parking_lot::Mutex;
use std::collections::HashMap;

/// Contents that are remembered; which of them makes room for another is left to chance.
const CONTENTS_MAX: usize = 16_384;

/// Who brought a piece.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// The origin.
    Http,
    /// A cache host that stands before the origin (`DOCacheHost`).
    CacheServer,
    /// A peer on the same network.
    Lan,
    /// A peer of the same group.
    Group,
    /// A peer anywhere else.
    Internet,
    /// An appliance at the other end of a link.
    Link,
}

impl Way {
    /// All of them, in the order of the fields of [`Sources`].
    pub const ALL: [Self; 6] = [
        Self::Http,
        Self::CacheServer,
        Self::Lan,
        Self::Group,
        Self::Internet,
        Self::Link,
    ];

    /// Its name in figures.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::CacheServer => "cache_server",
            Self::Lan => "lan",
            Self::Group => "group",
            Self::Internet => "internet",
            Self::Link => "link",
        }
    }
}

/// Bytes of one content that were fetched since larder has started, by where they came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct Sources {
    /// From its origin.
    pub http: u64,
    /// From a cache host.
    pub cache_server: u64,
    /// From peers on the same network.
    pub lan: u64,
    /// From peers of the same group.
    pub group: u64,
    /// From other peers.
    pub internet: u64,
    /// From appliances at the other ends of links.
    pub link: u64,
}

impl Sources {
    /// From peers of all kinds.
    #[must_use]
    pub const fn peers(&self) -> u64 {
        self.lan + self.group + self.internet + self.link
    }

    /// From everywhere.
    #[must_use]
    pub const fn all(&self) -> u64 {
        self.http + self.cache_server + self.peers()
    }

    fn add(&mut self, way: Way, bytes: u64) {
        let part = match way {
            Way::Http => &mut self.http,
            Way::CacheServer => &mut self.cache_server,
            Way::Lan => &mut self.lan,
            Way::Group => &mut self.group,
            Way::Internet => &mut self.internet,
            Way::Link => &mut self.link,
        };
        *part += bytes;
    }
}

/// The books.
#[derive(Default)]
pub(super) struct Books(Mutex<HashMap<ContentNo, Sources>>);

impl Books {
    /// A piece of so many bytes was kept. True where it is the first of its content.
    pub(super) fn add(&self, content: ContentNo, way: Way, bytes: u32) -> bool {
        let mut books = self.0.lock();
        let is_first = !books.contains_key(&content);
        if books.len() >= CONTENTS_MAX
            && is_first
            && let Some(one) = books.keys().next().copied()
        {
            books.remove(&one);
        }
        books.entry(content).or_default().add(way, u64::from(bytes));
        is_first
    }

    pub(super) fn of(&self, content: ContentNo) -> Sources {
        self.0.lock().get(&content).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_is_counted_apart_and_the_books_are_bounded() {
        let books = Books::default();
        let one = ContentNo::new(1);
        for (bytes, way) in (1..).zip(Way::ALL) {
            books.add(one, way, bytes);
        }
        let sources = books.of(one);
        let Sources {
            http,
            cache_server,
            lan,
            group,
            internet,
            link,
        } = sources;
        let ways = [http, cache_server, lan, group, internet, link];
        assert_eq!(ways, [1, 2, 3, 4, 5, 6]);
        assert_eq!((sources.peers(), sources.all()), (18, 21));
        for no in 2..2 * CONTENTS_MAX as u64 {
            books.add(ContentNo::new(no), Way::Http, 1);
        }
        assert_eq!(books.0.lock().len(), CONTENTS_MAX);
        assert_eq!(books.of(ContentNo::new(u64::MAX)), Sources::default());
    }
}
