//! Fills the store with an object that no client waits for, a step at a time. The rule: nobody here watches a flight,
//! since being watched is what takes a piece forward; so all that a client waits for comes first, and what a client
//! comes to wait for is taken forward from then on.

use super::{Download, Inner};
use crate::ask::Reply;
use crate::ask::{Answer, Ask, FetchAsk, Resolution, ResolveAsk};
use larder_content::span::piece_start;
use larder_content::{ContentNo, PIECE_BYTES, PieceId};
use larder_proto::http::route::OwnedRoute;
use larder_storage::flight::{Flight, FlightError, FlightState};
use larder_storage::record::Content;
use larder_storage::store::{Claim, Found};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// Pieces that one step looks at, most of which may be there already.
const LOOKED_AT_MAX: u32 = 4096;

/// How often it is looked whether the pieces of a step have come. Nobody waits for the moment.
const LOOK_AGAIN: Duration = Duration::from_millis(25);

/// The part of the store that one step may ask for: what it brings must not push itself out.
const PART_OF_STORE: u64 = 16;

/// One step.
#[derive(Debug)]
pub struct Bring {
    /// The object.
    pub route: Arc<OwnedRoute>,
    /// The version that an earlier step found: its origin is not asked about it again while the store has it.
    pub version: Option<ContentNo>,
    /// The first piece to look at.
    pub from: u32,
    /// About so many bytes are asked for at most; one piece at least.
    pub bytes_max: u64,
    /// Bytes that must stay in the store beside all of the object.
    pub beside_bytes: u64,
    /// How long finding out and bringing in may take, each.
    pub within: Duration,
}

/// What one step came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Brought {
    /// The version that the URL names now.
    pub version: ContentNo,
    /// Bytes in the object.
    pub length_bytes: u64,
    /// How many pieces it has.
    pub pieces: u32,
    /// The first piece that the next step is to look at; [`Brought::pieces`] where all have been.
    pub next: u32,
    /// Bytes that came in while the step ran, for it or for a client.
    pub fetched_bytes: u64,
    /// Why not all that was asked for came, if so; [`FlightError::Overloaded`] where clients needed the link or the
    /// memory.
    pub unfinished: Option<FlightError>,
}

/// Why a step brought nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NotBrought {
    /// The origin answered so.
    Origin {
        /// Status code.
        status: u16,
    },
    /// It was not asked, or gave no answer.
    Refused {
        /// 403 where it may not be asked; else 502, 503 or 504.
        status: u16,
        /// Why, in words.
        reason: String,
    },
    /// The store can not hold what the origin gives.
    Unstorable,
    /// The object does not fit in the store beside what is to stay there.
    TooLarge {
        /// Bytes in the object.
        length_bytes: u64,
        /// Bytes that the store may hold.
        capacity_bytes: u64,
    },
    /// Pieces came and are not there: the store is full or fails.
    NotKept,
    /// larder is stopping.
    Closing,
}

impl NotBrought {
    /// Whether the same step may go well a little later.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        match self {
            Self::Origin { status } => matches!(status, 408 | 425 | 429 | 500..),
            Self::Refused { status, .. } => *status != 403,
            Self::Closing => true,
            Self::Unstorable | Self::TooLarge { .. } | Self::NotKept => false,
        }
    }
}

impl Download {
    /// Brings in some of what is missing of an object, and waits for it. What is there costs nothing, and where it is
    /// fresh nothing is asked. Whoever stops waiting leaves what was asked for to come in, which is one step's at most.
    ///
    /// # Errors
    /// See [`NotBrought`]. What came before is kept.
    pub async fn bring(&self, step: Bring) -> Result<Brought, NotBrought> {
        let inner = &self.0;
        let known = inner.store.load(&inner.key_of(&step.route));
        let is_there = |content: &Content, piece| {
            let id = PieceId {
                content: content.no,
                piece,
            };
            matches!(inner.store.find(id), Found::Ram(_) | Found::Disk(_))
        };
        let missing = known.as_ref().map_or(Some(0), |content| {
            (step.from..content.pieces()).find(|piece| !is_there(content, *piece))
        });
        let content = match known
            .as_ref()
            .filter(|known| Some(known.no) == step.version)
        {
            Some(known) => Arc::clone(known),
            None => self.what_it_is(&step, missing.unwrap_or(0)).await?,
        };
        let same = known.is_some_and(|known| known.no == content.no);
        let capacity_bytes = inner.store.figures().capacity_bytes;
        let length_bytes = content.length();
        // What is there needs no room, as where another URL of a list led to it before.
        let is_all_there = same && missing.is_none();
        if !is_all_there && length_bytes.saturating_add(step.beside_bytes) > capacity_bytes {
            return Err(NotBrought::TooLarge {
                length_bytes,
                capacity_bytes,
            });
        }
        // The question to the origin brought the first of these.
        let just_came = |piece| if same { missing == Some(piece) } else { true };
        let bytes_max = step.bytes_max.min(capacity_bytes / PART_OF_STORE);
        let from = if same { step.from } else { 0 };
        let mut brought = Brought {
            version: content.no,
            length_bytes,
            pieces: content.pieces(),
            next: from,
            fetched_bytes: 0,
            unfinished: None,
        };
        let (mut flights, mut mine, mut asked_bytes) = (Vec::new(), Vec::new(), 0);
        let end = content.pieces().min(from.saturating_add(LOOKED_AT_MAX));
        while brought.next < end && (asked_bytes == 0 || asked_bytes < bytes_max) {
            let piece = brought.next;
            let len = content.piece_len(piece);
            let id = PieceId {
                content: content.no,
                piece,
            };
            match inner.store.claim(id, len) {
                Claim::Stored if just_came(piece) => {
                    brought.fetched_bytes += u64::from(len);
                    asked_bytes += u64::from(len);
                }
                Claim::Stored => {}
                Claim::Waiter(flight) => {
                    asked_bytes += u64::from(len);
                    flights.push(flight);
                }
                Claim::Owner(flight) => {
                    asked_bytes += u64::from(len);
                    mine.push(Arc::clone(&flight));
                    flights.push(flight);
                }
            }
            brought.next += 1;
        }
        let until = inner.clock.now() + step.within;
        if !mine.is_empty() {
            self.ask(Ask::Fetch(FetchAsk {
                content: Arc::clone(&content),
                route: Arc::clone(&step.route),
                flights: mine,
                deadline: until,
                spare_until: Some(until),
            }));
        }
        inner.come_in(&flights, &mut brought, step.within).await;
        if brought.unfinished.is_some() {
            return Ok(brought);
        }
        if inner.store.by_no(content.no).is_none() {
            // It was forgotten meanwhile, and its pieces with it: by an administrator, or for a newer version.
            brought.unfinished = Some(FlightError::Changed);
            return Ok(brought);
        }
        let lost = flights
            .iter()
            .any(|flight| flight.state() == FlightState::Whole && !inner.holds(flight.id()));
        if lost {
            return Err(NotBrought::NotKept);
        }
        Ok(brought)
    }

    /// Asks what the URL is, which brings the piece `first` where its origin has to be asked.
    async fn what_it_is(&self, step: &Bring, first: u32) -> Result<Arc<Content>, NotBrought> {
        let first = piece_start(first);
        let (tell, told) = oneshot::channel();
        self.ask(Ask::Resolve(ResolveAsk {
            route: OwnedRoute::clone(&step.route),
            // The rest waits behind the clients.
            wanted: Some((first, Some(first + u64::from(PIECE_BYTES)))),
            deadline: self.clock().now() + step.within,
            revalidate: false,
            reply: Reply::new(move |resolution| {
                // Whoever asked may be gone.
                let _ = tell.send(resolution);
            }),
        }));
        match told.await {
            Ok(Resolution::Content(content)) => Ok(content),
            Ok(Resolution::Stale(_)) => Err(NotBrought::Refused {
                status: 504,
                reason: "the origin does not say whether what is stored is still right".to_owned(),
            }),
            Ok(Resolution::Answer(answer)) => Err(NotBrought::Origin {
                status: answer.status,
            }),
            Ok(Resolution::HandOver) => Err(NotBrought::Unstorable),
            Ok(Resolution::Refused { status, reason }) => {
                Err(NotBrought::Refused { status, reason })
            }
            Err(_) => Err(NotBrought::Closing),
        }
    }
}

impl Inner {
    fn holds(&self, id: PieceId) -> bool {
        !matches!(self.store.find(id), Found::Absent)
    }

    /// Waits for flights without watching them. The step goes back to the first that did not come.
    async fn come_in(&self, flights: &[Arc<Flight>], brought: &mut Brought, within: Duration) {
        // A request that was sent in time may end later.
        let until = self.clock.now() + within + within;
        for flight in flights {
            let error = loop {
                match flight.state() {
                    FlightState::Whole => break None,
                    FlightState::Failed(error) => break Some(error),
                    _ if self.clock.now() >= until => break Some(FlightError::Overloaded),
                    FlightState::Waiting | FlightState::Filling => {
                        tokio::time::sleep(LOOK_AGAIN).await;
                    }
                }
            };
            match error {
                None => brought.fetched_bytes += u64::from(flight.len()),
                Some(error) => {
                    brought.next = brought.next.min(flight.id().piece);
                    brought.unfinished = brought.unfinished.or(Some(error));
                }
            }
        }
    }
}
