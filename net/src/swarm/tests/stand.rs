//! Peers and a coordinator that do as they are told. The rule: peers speak by the codec and by nothing else of larder's.

use crate::coordinator::{ClientOptions, CoordinatorClient};
use crate::download::tests::script::{Object, Origin, Step};
use crate::download::tests::world::World;
use crate::settings::Settings;
use crate::swarm::{Place, Swarm, SwarmOptions};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming as Body;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use larder_content::hash::of_piece;
use larder_content::phf::Phf;
use larder_content::{ContentId, PIECE_BYTES, Span};
use larder_proto::swarm::wire::{piece_head, write_bitfield};
use larder_proto::swarm::{Bitfield, Block, Decoder, Handshake, Incoming, Message, PeerId};
use larder_proto::tracker::guid::Guid;
use larder_proto::tracker::message::{
    ContentPolicy, ErrorAnswer, JoinAnswer, JoinRequest, PeerAddress, PeerType, PublishRequest,
    Trust,
};
use larder_storage::record::Content;
use parking_lot::Mutex;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub(super) const URL: &str = "http://dl.test/fixed/object";
const ETAG: &str = "ETag: \"one\"\r\n";

/// How a peer behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Manner {
    Honest,
    /// It has the first six pieces only.
    Half,
    /// One byte of every piece is wrong.
    Lies,
    /// It never lets anybody ask.
    Chokes,
    /// It takes requests and answers none.
    Silent,
    /// It breaks the connection after so many bytes of pieces, and is gone.
    Dies(u64),
}

/// A peer that has an object, or a part of it.
pub(super) struct TestPeer {
    pub(super) address: SocketAddr,
    pub(super) id: PeerId,
    pub(super) heard: Arc<Heard>,
    accepting: tokio::task::AbortHandle,
}

/// What a peer was asked.
#[derive(Default)]
pub(super) struct Heard {
    pub(super) connections: AtomicUsize,
    pub(super) interested: AtomicBool,
    pub(super) bytes: AtomicU64,
    pub(super) asked: Mutex<Vec<Block>>,
    pub(super) landed: AtomicUsize,
}

impl TestPeer {
    pub(super) async fn start(object: &Object, manner: Manner) -> Self {
        static NUMBERS: AtomicU8 = AtomicU8::new(1);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let id = PeerId([NUMBERS.fetch_add(1, Ordering::Relaxed); 16]);
        let heard = Arc::new(Heard::default());
        let (object, seen) = (object.clone(), Arc::clone(&heard));
        let accepting = tokio::spawn(async move {
            let mut talks = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                seen.connections.fetch_add(1, Ordering::Relaxed);
                let (object, seen) = (object.clone(), Arc::clone(&seen));
                talks.spawn(async move { serve(stream, &object, id, manner, &seen).await });
            }
        });
        Self {
            address,
            id,
            heard,
            accepting: accepting.abort_handle(),
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.heard.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn named(&self, kind: PeerType) -> PeerAddress {
        PeerAddress {
            peer_id: Guid(self.id.0),
            address: self.address.ip(),
            port: self.address.port(),
            peer_type: kind,
            preferred: false,
        }
    }
}

impl Drop for TestPeer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(
    mut stream: TcpStream,
    object: &Object,
    id: PeerId,
    manner: Manner,
    heard: &Heard,
) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut decoder = Decoder::new();
    let mut buf = vec![0; 64 << 10];
    loop {
        let count = stream.read(&mut buf).await.ok().filter(|n| *n > 0)?;
        let mut input = &buf[..count];
        let mut out = Vec::new();
        while let Some(incoming) = decoder.next(&mut input).expect("the protocol is kept") {
            match incoming {
                Incoming::Handshake(hello) => {
                    let suffix = [0; 4];
                    let mine = Handshake {
                        peer: id,
                        suffix,
                        ..hello
                    };
                    out.extend_from_slice(&mine.to_bytes());
                    let pieces = object.body.len().div_ceil(PIECE_BYTES as usize);
                    let pieces = u32::try_from(pieces).expect("few");
                    let mut has = Bitfield::full(pieces);
                    if manner == Manner::Half {
                        (6..pieces).for_each(|piece| _ = has.clear(piece));
                    }
                    write_bitfield(&mut out, has.bytes());
                }
                Incoming::Message(Message::Interested) => {
                    heard.interested.store(true, Ordering::Relaxed);
                    if manner != Manner::Chokes {
                        Message::Unchoke.write(&mut out);
                    }
                }
                Incoming::Message(Message::Have(_)) => {
                    heard.landed.fetch_add(1, Ordering::Relaxed);
                }
                Incoming::Message(Message::Request(block)) => {
                    heard.asked.lock().push(block);
                    if manner == Manner::Silent {
                        continue;
                    }
                    let from = (block.piece * PIECE_BYTES + block.offset) as usize;
                    let mut bytes = object.body[from..from + block.len as usize].to_vec();
                    if manner == Manner::Lies && block.offset == 0 {
                        bytes[7] ^= 1;
                    }
                    let before = heard
                        .bytes
                        .fetch_add(u64::from(block.len), Ordering::Relaxed);
                    if let Manner::Dies(after) = manner
                        && before + u64::from(block.len) > after
                    {
                        bytes.truncate(bytes.len() / 2);
                        out.extend_from_slice(&piece_head(block));
                        out.extend_from_slice(&bytes);
                        stream.write_all(&out).await.ok()?;
                        return None;
                    }
                    out.extend_from_slice(&piece_head(block));
                    out.extend_from_slice(&bytes);
                }
                _ => {}
            }
        }
        stream.write_all(&out).await.ok()?;
    }
}

/// What a coordinator says.
#[derive(Default)]
pub(super) struct Said {
    pub(super) peers: Mutex<Vec<PeerAddress>>,
    pub(super) policy: Mutex<Option<(Phf, Trust)>>,
    pub(super) joins: Mutex<Vec<JoinRequest>>,
    pub(super) published: Mutex<Vec<PublishRequest>>,
    pub(super) asked_policy: AtomicUsize,
}

/// A coordinator; it ends with its owner.
pub(super) struct TestCoordinator {
    pub(super) address: SocketAddr,
    pub(super) said: Arc<Said>,
    accepting: tokio::task::AbortHandle,
}

impl TestCoordinator {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let said = Arc::new(Said::default());
        let of_task = Arc::clone(&said);
        let accepting = tokio::spawn(async move {
            let mut talks = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let said = Arc::clone(&of_task);
                let service = service_fn(move |request| answer(Arc::clone(&said), request));
                talks.spawn(async move {
                    let io = TokioIo::new(stream);
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(io, service)
                        .await;
                });
            }
        });
        Self {
            address,
            said,
            accepting: accepting.abort_handle(),
        }
    }

    pub(super) fn client(&self) -> CoordinatorClient {
        let options = ClientOptions::new(format!("http://{}", self.address));
        CoordinatorClient::new(options).expect("a URL")
    }
}

impl Drop for TestCoordinator {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn answer(
    said: Arc<Said>,
    request: Request<Body>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await?.to_bytes();
    let json = match path.as_str() {
        "/v1/join" => {
            let join = JoinRequest::parse(&body).expect("a join is one");
            let mut peers = said.peers.lock().clone();
            peers.truncate(join.peers_wanted.into());
            said.joins.lock().push(join);
            serde_json::to_vec(&JoinAnswer {
                peers,
                next_join_secs: 5,
                external_ip_address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            })
        }
        "/v1/policy" => {
            said.asked_policy.fetch_add(1, Ordering::Relaxed);
            let policy = said.policy.lock().clone();
            match policy {
                Some((phf, trust)) => serde_json::to_vec(&policy_of(phf, trust)),
                None => {
                    let error = ErrorAnswer {
                        error: "nothing is known of it".to_owned(),
                        server_time: 0,
                    };
                    let text = serde_json::to_vec(&error).expect("JSON");
                    let answer = Response::builder().status(StatusCode::NOT_FOUND);
                    return Ok(answer.body(text.into()).expect("an answer"));
                }
            }
        }
        "/v1/publish" => {
            let publish = PublishRequest::parse(&body).expect("a publication is one");
            said.published.lock().push(publish);
            Ok(b"{}".to_vec())
        }
        _ => Ok(b"{}".to_vec()),
    };
    Ok(Response::new(json.expect("JSON").into()))
}

fn policy_of(phf: Phf, trust: Trust) -> ContentPolicy {
    ContentPolicy {
        content_id: phf.content_id(),
        hash_of_hashes: String::new(),
        content_length: phf.length(),
        phf: Some(phf),
        trust,
        attested_by: (trust == Trust::Attested).then(|| "another".to_owned()),
        content_cdn_urls: vec![URL.to_owned()],
        etag: None,
        foreground_qos_bps: None,
        background_qos_bps: None,
        max_cache_age_secs: None,
        expire_at: u64::MAX,
    }
}

pub(super) fn phf_of(object: &Object) -> Phf {
    let pieces = object.body.chunks(PIECE_BYTES as usize).map(of_piece);
    Phf::new(object.body.len() as u64, pieces.collect()).expect("as many hashes as pieces")
}

/// All of it together.
pub(super) struct Stand {
    pub(super) object: Object,
    pub(super) origin: Origin,
    pub(super) coordinator: TestCoordinator,
    pub(super) world: World,
    pub(super) swarm: Swarm,
}

impl Stand {
    /// An object of 12 MiB and a bit, whose hashes the coordinator knows.
    pub(super) async fn new(change: impl FnOnce(&mut Settings)) -> Self {
        let object = Object::new((12 << 20) + 12_345, 1, ETAG);
        let of_origin = object.clone();
        let origin = Origin::start(move |asked| vec![Step::Send(of_origin.answer(asked))]).await;
        let coordinator = TestCoordinator::start().await;
        *coordinator.said.policy.lock() = Some((phf_of(&object), Trust::Verified));
        let world = World::with(&[("dl.test", &origin)], 64 << 20, change);
        let swarm = world.download.join_swarm(SwarmOptions {
            coordinator: coordinator.client(),
            coordinator_trusted: true,
            me: PeerId([0xee; 16]),
            port: 7680,
            place: Place::default(),
            surroundings: Arc::default(),
            seeds: true,
            look_every: Duration::from_millis(200),
        });
        Self {
            object,
            origin,
            coordinator,
            world,
            swarm,
        }
    }

    /// The coordinator tells of these from now on.
    pub(super) fn tell_of(&self, peers: &[&TestPeer], kind: PeerType) {
        let named = peers.iter().map(|peer| peer.named(kind));
        *self.coordinator.said.peers.lock() = named.collect();
    }

    /// Resolves, which brings the first piece from the origin, and waits until all these peers may be asked.
    pub(super) async fn begun(&self, peers: &[&TestPeer]) -> Arc<Content> {
        let content = self.world.content(URL, Some((0, Some(1)))).await;
        let first = self.world.bytes(&content, URL, Span::new(0, 1)).await;
        self.object.check(&first, 0..1);
        // One more piece brings the party together.
        let second = Span::new(1 << 20, (1 << 20) + 1);
        let got = self.world.bytes(&content, URL, second).await;
        self.object.check(&got, 1 << 20..(1 << 20) + 1);
        eventually("they may be asked", || {
            (self.swarm.usable(content.no) >= peers.len()).then_some(())
        })
        .await;
        content
    }

    /// Bytes that the origin was asked for.
    pub(super) fn origin_bytes(&self) -> usize {
        self.origin.bytes_asked()
    }

    pub(super) fn id(&self) -> ContentId {
        phf_of(&self.object).content_id()
    }
}

pub(super) async fn eventually<T>(what: &str, mut is: impl FnMut() -> Option<T>) -> T {
    let mut looks = tokio::time::interval(Duration::from_millis(5));
    for _ in 0..6000 {
        if let Some(found) = is() {
            return found;
        }
        looks.tick().await;
    }
    panic!("it never came true: {what}");
}
