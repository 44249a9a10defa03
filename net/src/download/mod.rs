//! The sources of one object, together: what a URL is, and how its missing pieces come in. The rule: every ask is
//! answered and every flight ends, whole or failed, whatever becomes of the task that works on it.

mod through;

pub use through::ThroughBody;

use crate::ask::{Answer, Ask};
use crate::clock::Clock;
use crate::origin::OriginClient;
use crate::settings::Settings;
use arc_swap::ArcSwap;
use larder_storage::store::Store;
use std::sync::Arc;

/// The download side; clones share it.
#[derive(Clone)]
pub struct Download(Arc<Inner>);

struct Inner {
    store: Store,
    settings: Arc<ArcSwap<Settings>>,
    origin: OriginClient,
    clock: Clock,
}

impl Download {
    /// Starts the download side on the present tokio runtime. `clock` is the one that deadlines in asks are told by.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn spawn(
        store: Store,
        settings: Arc<ArcSwap<Settings>>,
        origin: OriginClient,
        clock: Clock,
    ) -> Self {
        Self(Arc::new(Inner {
            store,
            settings,
            origin,
            clock,
        }))
    }
}

impl Answer for Download {
    fn ask(&self, ask: Ask) {
        let _ = (&self.0.store, &self.0.settings, self.0.clock.now());
        drop(ask);
    }
}
