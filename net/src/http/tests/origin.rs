//! A scripted origin: it answers asks from objects that tests put up, and fills flights from a thread of its own. The
//! rule: it does what the test says and counts what it was asked, piece by piece.

use crate::ask::{Answer, Ask, FetchAsk, Resolution, ResolveAsk, SmallAnswer};
use crate::clock::Clock;
use larder_content::span::piece_start;
use larder_storage::flight::{Flight, FlightError};
use larder_storage::record::Record;
use larder_storage::store::Store;
use std::collections::HashMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

/// An object of the origin.
#[derive(Clone)]
pub(super) enum Object {
    /// Content of this length, fresh for so many seconds.
    Content { length: u64, fresh_s: u64 },
    /// A short answer.
    Answer(Arc<SmallAnswer>),
    /// Nothing that can be stored.
    Through,
    /// What was stored before, and is stale.
    Kept,
    /// No answer.
    Refused(u16),
    /// The question is never answered.
    Silent,
}

/// How flights are filled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Manner {
    /// At once.
    Whole,
    /// So many bytes of each piece, and the rest when [`Origin::release_all`] is called.
    Held(u32),
    /// So many bytes of the piece, then a failure.
    Fails(u32, FlightError),
}

struct State {
    objects: HashMap<String, Object>,
    manner: Manner,
    /// After so many failures it fills whole again.
    failures_left: u32,
    released: bool,
    resolves: Vec<String>,
    wanted: Vec<Option<(u64, Option<u64>)>>,
    fetched: HashMap<u32, u32>,
    landed: usize,
    silent: Vec<ResolveAsk>,
}

/// The origin.
pub(super) struct Origin {
    store: Store,
    clock: Clock,
    state: Mutex<State>,
    changed: Condvar,
    work: Mutex<Option<Sender<FetchAsk>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Held while a question is answered, so that two at once do not make two versions.
    answering: Mutex<()>,
}

/// The bytes of every object: each depends on its offset, also beyond 4 GiB.
pub(super) fn body(start: u64, len: usize) -> Vec<u8> {
    (start..start + len as u64)
        .map(|at| (at ^ at >> 8 ^ at >> 20 ^ at >> 32) as u8)
        .collect()
}

pub(super) const ETAG: &str = "\"one\"";
pub(super) const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
pub(super) const MODIFIED_UNIX: u64 = 784_111_777;

impl Origin {
    pub(super) fn start(store: Store, clock: Clock) -> Arc<Self> {
        let (work, todo) = channel();
        let origin = Arc::new(Self {
            store,
            clock,
            state: Mutex::new(State {
                objects: HashMap::new(),
                manner: Manner::Whole,
                failures_left: 0,
                released: false,
                resolves: Vec::new(),
                wanted: Vec::new(),
                fetched: HashMap::new(),
                landed: 0,
                silent: Vec::new(),
            }),
            changed: Condvar::new(),
            work: Mutex::new(Some(work)),
            thread: Mutex::new(None),
            answering: Mutex::new(()),
        });
        let filling = Arc::clone(&origin);
        let thread = std::thread::spawn(move || filling.fill_all(&todo));
        *origin.thread.lock().expect("unpoisoned") = Some(thread);
        origin
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let result = act(&mut self.state.lock().expect("unpoisoned"));
        self.changed.notify_all();
        result
    }

    /// Puts an object up.
    pub(super) fn put(&self, path: &str, object: Object) {
        self.with(|state| state.objects.insert(path.to_owned(), object));
    }

    /// Puts fresh content up.
    pub(super) fn content(&self, path: &str, length: u64) {
        self.put(
            path,
            Object::Content {
                length,
                fresh_s: 3600,
            },
        );
    }

    pub(super) fn manner(&self, manner: Manner, failures: u32) {
        self.with(|state| {
            state.manner = manner;
            state.failures_left = failures;
            state.released = false;
        });
    }

    /// Lets held flights go on, and answers the questions that were not answered.
    pub(super) fn release_all(&self) {
        let silent = self.with(|state| {
            state.released = true;
            std::mem::take(&mut state.silent)
        });
        drop(silent);
    }

    pub(super) fn resolves(&self) -> usize {
        self.with(|state| state.resolves.len())
    }

    pub(super) fn last_wanted(&self) -> Option<(u64, Option<u64>)> {
        self.with(|state| state.wanted.last().copied().flatten())
    }

    /// How many pieces are stored.
    pub(super) fn landed(&self) -> usize {
        self.with(|state| state.landed)
    }

    /// How often each piece was fetched.
    pub(super) fn fetched(&self) -> Vec<(u32, u32)> {
        let mut all: Vec<_> = self.with(|state| state.fetched.clone().into_iter().collect());
        all.sort_unstable();
        all
    }

    pub(super) fn stop(&self) {
        drop(self.work.lock().expect("unpoisoned").take());
        let thread = self.thread.lock().expect("unpoisoned").take();
        if let Some(thread) = thread {
            thread.join().expect("the origin did not panic");
        }
    }

    fn record(&self, url: &str, length: u64, fresh_s: u64) -> Record {
        let now = self.clock.unix();
        Record {
            url: url.to_owned(),
            host: super::HOST.to_owned(),
            length,
            etag: Some(ETAG.to_owned()),
            last_modified: Some(MODIFIED.to_owned()),
            last_modified_unix: Some(MODIFIED_UNIX),
            content_type: Some("application/octet-stream".to_owned()),
            extra: vec![("X-Cid".to_owned(), "7".to_owned())],
            date: now,
            fresh_until: now + fresh_s,
            stored_at: now,
            ..Record::default()
        }
    }

    fn resolve(&self, ask: ResolveAsk) {
        let _one = self.answering.lock().expect("unpoisoned");
        let path = ask.route.target.clone();
        let object = self.with(|state| {
            state.resolves.push(path.clone());
            state.wanted.push(ask.wanted);
            state.objects.get(&path).cloned()
        });
        let resolution = match object {
            Some(Object::Content { length, fresh_s }) => {
                let key = ask.route.identity.key;
                let known = self.store.content(&key);
                let known = known.filter(|known| known.length() == length);
                let content = match known {
                    Some(known) => {
                        let now = self.clock.unix();
                        let record = Record {
                            fresh_until: now + fresh_s,
                            date: now,
                            answered_at: now,
                            ..known.snapshot()
                        };
                        self.store.renew(&known, record)
                    }
                    None => {
                        let record = self.record(&ask.route.url, length, fresh_s);
                        self.store.create(key, record)
                    }
                };
                Resolution::Content(content)
            }
            Some(Object::Answer(answer)) => Resolution::Answer(answer),
            Some(Object::Kept) => match self.store.content(&ask.route.identity.key) {
                Some(known) => Resolution::Stale(known),
                None => panic!("{path} was not asked for before"),
            },
            Some(Object::Through) => Resolution::HandOver,
            Some(Object::Silent) => {
                return self.with(|state| state.silent.push(ask));
            }
            Some(Object::Refused(status)) => Resolution::Refused {
                status,
                reason: "the origin is not well".to_owned(),
            },
            None => Resolution::Refused {
                status: 502,
                reason: format!("no object {path}"),
            },
        };
        ask.reply.send(resolution);
    }

    fn fill_all(&self, todo: &Receiver<FetchAsk>) {
        for ask in todo {
            for flight in &ask.flights {
                self.fill(flight);
            }
        }
    }

    fn fill(&self, flight: &Arc<Flight>) {
        let manner = self.with(|state| {
            *state.fetched.entry(flight.id().piece).or_default() += 1;
            match state.manner {
                Manner::Fails(..) if state.failures_left == 0 => Manner::Whole,
                Manner::Fails(..) => {
                    state.failures_left -= 1;
                    state.manner
                }
                manner => manner,
            }
        });
        let Some(writer) = self.store.frame(flight.len()) else {
            return self.store.abandon(flight, FlightError::Overloaded);
        };
        assert!(flight.start(writer), "nobody else fills it");
        let start = piece_start(flight.id().piece);
        let bytes = body(start, flight.len() as usize);
        match manner {
            Manner::Whole => {}
            Manner::Held(first) => {
                let first = bytes.len().min(first as usize);
                flight.append(&bytes[..first]);
                let state = self.state.lock().expect("unpoisoned");
                let released = self.changed.wait_while(state, |state| !state.released);
                drop(released);
            }
            Manner::Fails(first, error) => {
                flight.append(&bytes[..bytes.len().min(first as usize)]);
                return self.store.abandon(flight, error);
            }
        }
        let done = flight.filled() as usize;
        for chunk in bytes[done..].chunks(48_000) {
            flight.append(chunk);
        }
        assert!(flight.finish());
        self.store.keep(flight);
        self.with(|state| state.landed += 1);
    }
}

impl Answer for Origin {
    fn ask(&self, ask: Ask) {
        match ask {
            Ask::Resolve(ask) => self.resolve(ask),
            Ask::Touched(_) | Ask::Wanted(..) => {}
            Ask::Offer(ask) => {
                let pieces = self.store.offered(&ask.content, &ask.swarm);
                ask.reply.send(pieces);
            }
            Ask::Fetch(ask) => match &*self.work.lock().expect("unpoisoned") {
                Some(work) => work.send(ask).expect("the origin runs"),
                None => {
                    for flight in &ask.flights {
                        self.store.abandon(flight, FlightError::Closing);
                    }
                }
            },
        }
    }
}
