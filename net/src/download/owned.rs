//! A flight that the download side must see to its end. The rule: it ends; where nobody says how, it failed.

use larder_storage::flight::{Flight, FlightError};
use larder_storage::store::Store;
use std::sync::Arc;

/// The duty to end one flight. Dropped, the flight fails.
pub(super) struct Owned {
    store: Store,
    flight: Option<Arc<Flight>>,
}

impl Owned {
    pub(super) fn new(store: &Store, flight: Arc<Flight>) -> Self {
        Self {
            store: store.clone(),
            flight: Some(flight),
        }
    }

    pub(super) fn flight(&self) -> Option<&Arc<Flight>> {
        self.flight.as_ref()
    }

    /// All its bytes are there: it is whole, and the store's. False where it was over already.
    pub(super) fn keep(mut self) -> bool {
        let Some(flight) = self.flight.take() else {
            return false;
        };
        if !flight.finish() {
            self.store.abandon(&flight, FlightError::Origin);
            return false;
        }
        self.store.keep(&flight);
        true
    }

    /// It will not come.
    pub(super) fn abandon(mut self, error: FlightError) {
        if let Some(flight) = self.flight.take() {
            self.store.abandon(&flight, error);
        }
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        if let Some(flight) = self.flight.take() {
            self.store.abandon(&flight, FlightError::Origin);
        }
    }
}
