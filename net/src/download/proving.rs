//! What is made of hashes: pieces are judged as they come, piece-hash files are read when clients fetch them, and whole
//! files are hashed. The rule: nothing of it runs on a thread that serves, an origin is asked for no piece-hash file
//! that no client asked for, and one that is wrong blocks no good object: a hint costs one piece a second fetch, and a
//! trusted one its file (see [`larder_proto::proving`] for who is believed, and why).
//!
//! What waits for a disk or takes long is done by one thread, piece after piece as they come, so that a whole file is
//! rarely read again for its SHA-1.
//!
//! What it costs, measured on one core with SHA extensions: SHA-256 of what comes in 0.82 CPU seconds per GB, on the
//! control threads; SHA-1 of files whose names have one 0.77, on the thread. Both are paid once, when bytes come in.

use super::Inner;
use super::appeal::leftovers;
use crate::metrics::Figures;
use crossbeam::channel::{Receiver, Sender, unbounded};
use larder_content::hash::{FileHasher, of_piece};
use larder_content::neighbour::{Describes, beside, describes, may_speak_for, sha1_of};
use larder_content::phf::{PHF_BYTES_MAX, Phf};
use larder_content::{ContentNo, PieceId};
use larder_proto::proving::{Verdict, judge};
use larder_storage::proof::{Expected, Whole};
use larder_storage::record::Content;
use larder_storage::store::{Filter, Found, LookBuf, Looked, PieceHash, Store, WholeFile};
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use tokio::sync::{OnceCell, oneshot};

/// Pieces that came wrong and are remembered until they come again.
const REJECTED_MAX: usize = 4096;
/// Contents that were met since the start and are remembered; forgotten ones are looked at once more.
const MET_MAX: usize = 100_000;
/// Files that are being hashed at a time; of others hashing begins anew with their next piece.
const HASHING_MAX: usize = 4096;

/// The proving side.
pub(super) struct Proving {
    shared: Arc<Shared>,
    met: Mutex<HashMap<ContentNo, Arc<OnceCell<bool>>>>,
    /// Contents of which a piece is asked for once more, one at a time.
    turns: Mutex<HashMap<ContentNo, Weak<Turn>>>,
    /// Files whose own name was asked already whether they are what they should be.
    appealed: Mutex<HashSet<ContentNo>>,
    /// To the thread: a piece of this content has landed. None: it is over.
    landed: Option<Sender<ContentNo>>,
    thread: Option<JoinHandle<()>>,
}

/// Is held by the one who asks.
type Turn = tokio::sync::Mutex<()>;

struct Shared {
    store: Store,
    figures: Arc<Figures>,
    /// What pieces hashed to that were not what they should be.
    rejected: Mutex<HashMap<PieceId, PieceHash>>,
    /// Files by the SHA-1 in their URLs, and piece-hash files by the one of the file that they describe.
    by_sha1: Mutex<HashMap<[u8; 20], Named>>,
    /// Who waits for the SHA-1 of a whole file.
    awaited: Mutex<HashMap<ContentNo, oneshot::Sender<WholeFile>>>,
    /// The thread is to end after the piece at hand.
    over: AtomicBool,
}

#[derive(Clone, Copy, Default)]
struct Named {
    file: Option<ContentNo>,
    phf: Option<ContentNo>,
}

impl Proving {
    /// Starts the thread. Where there is none to be had, whole files are not hashed.
    pub(super) fn start(store: &Store, figures: &Arc<Figures>) -> Self {
        let shared = Arc::new(Shared {
            store: store.clone(),
            figures: Arc::clone(figures),
            rejected: Mutex::default(),
            by_sha1: Mutex::default(),
            awaited: Mutex::default(),
            over: AtomicBool::new(false),
        });
        let (landed, heard) = unbounded();
        let reader = Reader {
            shared: Arc::clone(&shared),
            buf: LookBuf::default(),
            hashing: HashMap::new(),
        };
        let thread = std::thread::Builder::new().name("proving".to_owned());
        let thread = thread.spawn(move || reader.run(&heard));
        if let Err(error) = &thread {
            tracing::error!(%error, "no thread can be had to hash files; check the limits on processes");
        }
        Self {
            shared,
            met: Mutex::default(),
            turns: Mutex::default(),
            appealed: Mutex::default(),
            landed: Some(landed),
            thread: thread.ok(),
        }
    }

    /// Whether the SHA-256 of a content's pieces is kept though nobody named one: of a file that is proved as a whole,
    /// so that a piece which is fetched again is proved by itself. It costs more than all else that is done to bytes
    /// on their way in, so what nobody compares is hashed by whoever comes to need it.
    pub(super) fn keeps_hashes(content: &Content) -> bool {
        sha1_of(&content.record().url).is_some()
    }

    /// Judges a piece that has come whole.
    pub(super) fn judge(&self, content: &Content, id: PieceId, got: &PieceHash) -> Verdict {
        let Shared {
            store,
            figures,
            rejected,
            ..
        } = &*self.shared;
        let Some(expected) = store.expected(content, id.piece) else {
            store.unproved(content);
            rejected.lock().remove(&id);
            return Verdict::Good;
        };
        let url = &content.record().url;
        let may_appeal = sha1_of(url).is_some() && store.proof(content.no).whole == Whole::Unknown;
        let mut rejected = rejected.lock();
        let before = rejected.remove(&id);
        let Expected { hash, trusted } = &expected;
        let verdict = judge(hash, *trusted, got, before.as_ref(), may_appeal);
        match verdict {
            Verdict::Good if expected.trusted => figures.pieces_verified_phf.increment(1),
            Verdict::Good => {}
            Verdict::Again | Verdict::Refuse | Verdict::Appeal => {
                self.shared.count_rejected(expected.trusted);
                let last = verdict != Verdict::Again;
                tracing::warn!(%url, piece = id.piece, trusted = expected.trusted, last, "the bytes of a piece are not those that its hash names");
                if !last {
                    remember(&mut rejected, id, *got);
                }
            }
            Verdict::DropHint => {
                self.shared.count_rejected(false);
                tracing::warn!(%url, piece = id.piece, "a piece-hash file beside the object is wrong: its origin sends the same bytes again; the file is not believed any more");
                store.drop_hashes(content);
            }
        }
        verdict
    }

    /// Whether a piece that hashes so is not what it should be.
    pub(super) fn differs(&self, content: &Content, id: PieceId, got: &PieceHash) -> bool {
        let expected = self.shared.store.expected(content, id.piece);
        expected.is_some_and(|expected| expected.hash != *got)
    }

    /// Whose turn it is to ask for a piece of a content once more.
    pub(super) fn turn(&self, no: ContentNo) -> Arc<Turn> {
        let mut turns = self.turns.lock();
        if let Some(turn) = turns.get(&no).and_then(Weak::upgrade) {
            return turn;
        }
        turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::new(Turn::default());
        turns.insert(no, Arc::downgrade(&turn));
        turn
    }

    /// Whether a content is to be judged by its own name: once, unless [`Proving::may_appeal_again`] says otherwise.
    pub(super) fn may_appeal(&self, no: ContentNo) -> bool {
        let mut appealed = self.appealed.lock();
        if appealed.len() >= REJECTED_MAX {
            appealed.clear();
        }
        appealed.insert(no)
    }

    /// It was not to be had.
    pub(super) fn may_appeal_again(&self, no: ContentNo) {
        self.appealed.lock().remove(&no);
    }

    /// From now on nothing that is known of its name is attached to a content: its name alone is to judge it. Says what
    /// it has found, unless it is let go before.
    pub(super) fn judge_by_name(&self, no: ContentNo) -> oneshot::Receiver<WholeFile> {
        let cell = Arc::new(OnceCell::new_with(Some(false)));
        self.met.lock().insert(no, cell);
        let (tell, told) = oneshot::channel();
        self.shared.awaited.lock().insert(no, tell);
        told
    }

    /// The end of that.
    pub(super) fn let_go(&self, no: ContentNo) {
        self.met.lock().remove(&no);
        self.shared.awaited.lock().remove(&no);
    }

    /// A piece is kept.
    pub(super) fn landed(&self, content: &Content) {
        let url = &content.record().url;
        if sha1_of(url).is_some() || describes(url).is_some() {
            // Where the thread could not be started, nobody listens.
            let _ = self.landed.as_ref().map(|landed| landed.send(content.no));
        }
    }

    /// The first time that a content's pieces are fetched: what is known of it is attached. Whoever fetches others of
    /// them at the same time waits for that. True: all of it is stored already under another name, which leads there
    /// now; this content is gone.
    async fn meet(&self, content: &Arc<Content>) -> bool {
        let met = {
            let mut met = self.met.lock();
            if met.len() >= MET_MAX {
                met.clear();
            }
            Arc::clone(met.entry(content.no).or_default())
        };
        *met.get_or_init(|| self.attach_known(content)).await
    }

    async fn attach_known(&self, content: &Arc<Content>) -> bool {
        if self.shared.leads_to_its_twin(content) {
            return true;
        }
        self.shared.enter(content);
        let found = self.shared.described_by(content);
        if found.is_empty() {
            return false;
        }
        let (shared, content) = (Arc::clone(&self.shared), Arc::clone(content));
        let attached = tokio::task::spawn_blocking(move || {
            let mut buf = LookBuf::default();
            for (phf, trusted) in found {
                shared.attach(&content, &phf, trusted, &mut buf);
            }
        });
        if let Err(error) = attached.await {
            tracing::error!("attaching a piece-hash file failed: {error}");
        }
        false
    }
}

impl Drop for Proving {
    /// Waits for the thread, which has the store in its hands; that takes no longer than one piece.
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        self.landed = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that hashes files has panicked");
        }
    }
}

impl Inner {
    /// Attaches hashes that did not come by a piece-hash file of a client's, and compares what is here with them. `by`:
    /// whose word they are.
    pub(crate) async fn attach_hashes(
        &self,
        content: &Arc<Content>,
        phf: Phf,
        trusted: bool,
        by: String,
    ) {
        let (shared, content) = (Arc::clone(&self.proving.shared), Arc::clone(content));
        let attached = tokio::task::spawn_blocking(move || {
            shared.attach_phf(&content, &phf, trusted, &by, &mut LookBuf::default());
        });
        if let Err(error) = attached.await {
            tracing::error!("attaching hashes failed: {error}");
        }
    }

    /// See [`Proving::meet`].
    pub(super) async fn meet(&self, content: &Arc<Content>) -> bool {
        self.proving.meet(content).await
    }
}

fn remember(rejected: &mut HashMap<PieceId, PieceHash>, id: PieceId, hash: PieceHash) {
    if rejected.len() >= REJECTED_MAX {
        rejected.clear();
    }
    rejected.insert(id, hash);
}

impl Shared {
    fn count_rejected(&self, trusted: bool) {
        if trusted {
            self.figures.pieces_rejected_phf.increment(1);
        } else {
            self.figures.pieces_rejected_hint.increment(1);
        }
    }

    /// Takes a content into the books of names.
    fn enter(&self, content: &Content) {
        let url = &content.record().url;
        if let Some(sha1) = sha1_of(url) {
            self.by_sha1.lock().entry(sha1).or_default().file = Some(content.no);
        }
        if let Some(Describes::File { sha1, .. }) = describes(url) {
            self.by_sha1.lock().entry(sha1).or_default().phf = Some(content.no);
        }
    }

    /// A new content whose URL names the SHA-1 of a file that is stored whole, and verified: it is the same file, and
    /// is stored once.
    fn leads_to_its_twin(&self, content: &Arc<Content>) -> bool {
        let url = &content.record().url;
        let Some(sha1) = sha1_of(url) else {
            return false;
        };
        let named = self.by_sha1.lock().get(&sha1).copied();
        let Some(twin) = named.and_then(|named| self.store.by_no(named.file?)) else {
            return false;
        };
        let is_same = twin.no != content.no
            && twin.length() == content.length()
            && twin.record().immutable
            && content.record().immutable
            && self.store.proof(twin.no).whole == Whole::Matches
            && self.store.pieces_of(&twin).len() == twin.pieces() as usize;
        if is_same {
            tracing::info!(%url, stored_as = %twin.record().url, "the same file under another name; it is stored once");
            for key in content.names() {
                self.store.alias(key, &twin);
            }
        }
        is_same
    }

    /// The piece-hash files that describe a content, and whether they are trusted.
    fn described_by(&self, content: &Content) -> Vec<(Arc<Content>, bool)> {
        let url = &content.record().url;
        let mut found = Vec::new();
        if let Some(sha1) = sha1_of(url) {
            let named = self.by_sha1.lock().get(&sha1).copied();
            let phf = named.and_then(|named| self.store.by_no(named.phf?));
            found.extend(
                phf.filter(|phf| may_speak_for(&phf.record().url, url))
                    .map(|phf| (phf, true)),
            );
        }
        for key in beside(url) {
            found.extend(self.store.content(&key).map(|phf| (phf, false)));
        }
        found
    }

    /// Reads a piece-hash file out of the store. None where it is not whole, or of no use.
    fn read(&self, file: &Content, buf: &mut LookBuf) -> Option<Phf> {
        let url = &file.record().url;
        if file.length() > PHF_BYTES_MAX || file.pieces() == 0 {
            return None;
        }
        let mut text = Vec::with_capacity(usize::try_from(file.length()).ok()?);
        for piece in 0..file.pieces() {
            let id = PieceId {
                content: file.no,
                piece,
            };
            if !self
                .store
                .peek(id, buf, |bytes| text.extend_from_slice(bytes))
            {
                return None;
            }
        }
        let phf = match Phf::parse(&text) {
            Ok(phf) => phf,
            Err(error) => {
                self.figures.phf_refused.increment(1);
                tracing::info!(%url, %error, "not used");
                return None;
            }
        };
        if let Some(Describes::File { hash_of_hashes, .. }) = describes(url)
            && *phf.hash_of_hashes() != hash_of_hashes
        {
            // Its name says what it must be, so that this will never be right.
            self.figures.phf_refused.increment(1);
            tracing::warn!(%url, "a piece-hash file is not the one that its URL names; it is thrown away");
            self.store.purge(&Filter::Content(file.no));
            return None;
        }
        Some(phf)
    }

    /// Attaches a piece-hash file to the content that it describes, and compares what is stored already.
    fn attach(&self, content: &Arc<Content>, file: &Content, trusted: bool, buf: &mut LookBuf) {
        if let Some(phf) = self.read(file, buf) {
            self.attach_phf(content, &phf, trusted, &file.record().url, buf);
        }
    }

    /// The same with one that was found at `url`.
    fn attach_phf(
        &self,
        content: &Arc<Content>,
        phf: &Phf,
        trusted: bool,
        url: &str,
        buf: &mut LookBuf,
    ) {
        if phf.length() != content.length() {
            self.figures.phf_refused.increment(1);
            tracing::info!(%url, says = phf.length(), has = content.length(), "a piece-hash file is of another version of its object");
            return;
        }
        let object = &content.record().url;
        if self.store.name_hashes(content, phf, trusted, url) {
            tracing::info!(%url, %object, trusted, "a piece-hash file describes an object");
            self.compare(content, phf, trusted, buf);
        } else if self.store.proof(content.no).refuted.as_ref() == Some(phf.hash_of_hashes()) {
            self.figures.phf_refused.increment(1);
            tracing::warn!(%url, %object, trusted, "a piece-hash file is not that of its object; it is not believed");
        }
    }

    /// Compares what is stored of a content with hashes that were just attached. What a trusted one refutes is dropped;
    /// of what a hint refutes one piece is, for its next fetch to tell who is wrong.
    fn compare(&self, content: &Content, phf: &Phf, trusted: bool, buf: &mut LookBuf) {
        let seen = self.store.seen(content.no, content.pieces());
        for piece in 0..content.pieces() {
            let id = PieceId {
                content: content.no,
                piece,
            };
            // Also those that are on their way to the disk.
            if !matches!(self.store.find_part(id, 0), Found::Ram(_) | Found::Disk(_)) {
                continue;
            }
            let mut hash = seen.get(&piece).copied();
            if hash.is_none() {
                self.store
                    .peek(id, buf, |bytes| hash = Some(of_piece(bytes)));
            }
            let (Some(hash), Some(named)) = (hash, phf.piece_hash(piece)) else {
                continue;
            };
            if hash == *named {
                if !seen.contains_key(&piece) {
                    self.store.saw(id, &hash);
                }
                if trusted {
                    self.figures.pieces_verified_phf.increment(1);
                }
                continue;
            }
            self.count_rejected(trusted);
            remember(&mut self.rejected.lock(), id, hash);
            let why = "its SHA-256 is not the one that the piece-hash file names";
            let dropped = self.store.look(id, buf, |_| Err(why.to_owned()));
            if !trusted && matches!(dropped, Looked::Bad(_)) {
                return;
            }
        }
    }
}

/// The thread.
struct Reader {
    shared: Arc<Shared>,
    buf: LookBuf,
    /// How far files have been hashed: up to this piece.
    hashing: HashMap<ContentNo, (FileHasher, u32)>,
}

impl Reader {
    fn run(mut self, landed: &Receiver<ContentNo>) {
        let contents = self.shared.store.contents();
        let left = leftovers(&contents);
        for content in contents {
            if left.contains(&content.no) {
                self.shared.store.purge(&Filter::Content(content.no));
            } else {
                self.shared.enter(&content);
            }
        }
        for no in landed {
            if self.shared.over.load(Ordering::Relaxed) {
                return;
            }
            let Some(content) = self.shared.store.by_no(no) else {
                self.hashing.remove(&no);
                continue;
            };
            let url = &content.record().url;
            if let Some(sha1) = sha1_of(url) {
                self.hash(&content, &sha1);
            }
            if let Some(describes) = describes(url) {
                self.learn(&content, describes);
            }
        }
    }

    /// Hashes on from where it was, as far as pieces are there.
    fn hash(&mut self, content: &Arc<Content>, named: &[u8; 20]) {
        let Shared { store, figures, .. } = &*self.shared;
        if store.proof(content.no).whole != Whole::Unknown {
            return;
        }
        if self.hashing.len() >= HASHING_MAX && !self.hashing.contains_key(&content.no) {
            self.hashing.clear();
        }
        let (mut hasher, mut piece) = self.hashing.remove(&content.no).unwrap_or_default();
        while piece < content.pieces() {
            let id = PieceId {
                content: content.no,
                piece,
            };
            let is_over = self.shared.over.load(Ordering::Relaxed);
            if is_over || !store.peek(id, &mut self.buf, |bytes| hasher.update(bytes)) {
                self.hashing.insert(content.no, (hasher, piece));
                return;
            }
            piece += 1;
        }
        let pieces = u64::from(content.pieces());
        let matches = hasher.finish() == *named;
        let url = &content.record().url;
        let outcome = store.compared(content, matches);
        if let Some(tell) = self.shared.awaited.lock().remove(&content.no) {
            // Who has left has let go of the file.
            let _ = tell.send(outcome);
        }
        match outcome {
            WholeFile::Verified => figures.pieces_verified_sha1.increment(pieces),
            WholeFile::ThrownAway => {
                figures.pieces_rejected_sha1.increment(pieces);
                tracing::warn!(%url, "the file does not have the SHA-1 that its URL names; it is thrown away, and fetched again when somebody asks for it");
            }
            WholeFile::Kept => {
                figures.pieces_rejected_sha1.increment(pieces);
                tracing::warn!(%url, "the file does not have the SHA-1 that its URL names for the second time; it is kept, and not called verified");
            }
        }
    }

    /// A piece of a piece-hash file is there; when all of it is, it is attached to what it describes.
    fn learn(&mut self, file: &Arc<Content>, described: Describes) {
        self.shared.enter(file);
        let store = &self.shared.store;
        let (contents, trusted): (Vec<Arc<Content>>, bool) = match described {
            Describes::Neighbour(keys) => {
                let there = keys.iter().filter_map(|key| store.content(key));
                (there.collect(), false)
            }
            Describes::File { sha1, .. } => {
                let named = self.shared.by_sha1.lock().get(&sha1).copied();
                let content = named.and_then(|named| store.by_no(named.file?));
                let url = &file.record().url;
                let of_house = content.filter(|c| may_speak_for(url, &c.record().url));
                (of_house.into_iter().collect(), true)
            }
        };
        if contents.is_empty() {
            // What it is called is looked at all the same.
            self.shared.read(file, &mut self.buf);
        }
        for content in contents {
            self.shared.attach(&content, file, trusted, &mut self.buf);
        }
    }
}
