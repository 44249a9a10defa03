//! `[privacy]`: what may be seen of clients, and for how long. The rule: the default serves who looks for the machine that
//! goes past the cache, and whoever may not know that of people says so in one word.

use super::raw::Section;
use larder_proto::clients::Privacy;

/// A day: by the next morning everybody who asked for what was new has been here.
const RETENTION_HOURS: u64 = 24;

/// What may be seen of clients on the page, in the log and by the admin API.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen {
    /// How their addresses are shown.
    pub clients: Privacy,
    /// For how many hours a client that does not come any more is remembered.
    pub retention_hours: u64,
}

impl Default for Seen {
    fn default() -> Self {
        Self {
            clients: Privacy::Full,
            retention_hours: RETENTION_HOURS,
        }
    }
}

pub(super) fn read(section: &mut Section<'_>) -> Seen {
    let mut seen = Seen::default();
    let words = "\"full\", \"subnet\" or \"hashed\"";
    if let Some(clients) = section.text("clients", words) {
        match clients.value {
            "full" => seen.clients = Privacy::Full,
            "subnet" => seen.clients = Privacy::Subnet,
            "hashed" => seen.clients = Privacy::Hashed,
            other => {
                let what = format!("{other:?} is no way to show clients; write {words}");
                section.add(clients.problem(what));
            }
        }
    }
    if let Some(hours) = section.number("retention_hours", 1..=8760, "hours") {
        seen.retention_hours = hours.value;
    }
    seen
}
