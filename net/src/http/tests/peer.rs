//! A peer that writes bytes and reads them back strictly, by the codec of the swarm protocol.

use super::PATIENCE;
use larder_content::ContentId;
use larder_proto::swarm::wire::{Decoder, Handshake, Incoming};
use larder_proto::swarm::{Bitfield, Block, Message, PeerId};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

/// Who the rig is among peers.
pub(super) const RIG: PeerId = PeerId([7; 16]);

/// One connection.
pub(super) struct RawPeer {
    pub(super) stream: TcpStream,
    decoder: Decoder,
    rest: Vec<u8>,
}

/// What was heard, whole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Heard {
    Handshake(Handshake),
    Message(Message),
    Bitfield(Vec<u8>),
    Piece(Block, Vec<u8>),
}

impl RawPeer {
    pub(super) fn connect(address: SocketAddr) -> Self {
        Self::on(TcpStream::connect(address).expect("connected"))
    }

    pub(super) fn on(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        Self {
            stream,
            decoder: Decoder::new(),
            rest: Vec::new(),
        }
    }

    /// One that holds little: the rest stays with the plane.
    pub(super) fn narrow(address: SocketAddr) -> Self {
        let peer = Self::connect(address);
        socket2::SockRef::from(&peer.stream)
            .set_recv_buffer_size(32 << 10)
            .expect("a small buffer");
        peer
    }

    pub(super) fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("written");
    }

    pub(super) fn say(&mut self, messages: &[Message]) {
        let mut bytes = Vec::new();
        for message in messages {
            message.write(&mut bytes);
        }
        self.write(&bytes);
    }

    pub(super) fn hello(&mut self, swarm: ContentId) {
        self.hello_as(swarm, PeerId([9; 16]), [0; 4]);
    }

    pub(super) fn hello_as(&mut self, swarm: ContentId, peer: PeerId, suffix: [u8; 4]) {
        let handshake = Handshake {
            swarm,
            peer,
            suffix,
        };
        self.write(&handshake.to_bytes());
    }

    /// Shakes hands; what the other has, of so many pieces.
    pub(super) fn open(&mut self, swarm: ContentId, pieces: u32) -> Bitfield {
        self.hello(swarm);
        let Some(Heard::Handshake(answer)) = self.next() else {
            panic!("no handshake");
        };
        assert_eq!((answer.swarm, answer.peer), (swarm, RIG));
        let Some(Heard::Bitfield(bytes)) = self.next() else {
            panic!("no bitfield");
        };
        Bitfield::from_wire(pieces, bytes).expect("a bitfield")
    }

    /// Shakes hands, and waits until it may ask.
    pub(super) fn ready(&mut self, swarm: ContentId, pieces: u32) -> Bitfield {
        let field = self.open(swarm, pieces);
        self.say(&[Message::Interested]);
        assert_eq!(self.next(), Some(Heard::Message(Message::Unchoke)));
        field
    }

    /// What comes next; None where the connection ends. Keep-alives are passed over.
    pub(super) fn next(&mut self) -> Option<Heard> {
        let mut held: Option<Heard> = None;
        loop {
            let mut input = self.rest.as_slice();
            let incoming = self.decoder.next(&mut input).expect("it keeps the rules");
            let whole = match incoming {
                None => None,
                Some(Incoming::Handshake(handshake)) => Some(Heard::Handshake(handshake)),
                Some(Incoming::Message(message)) => Some(Heard::Message(message)),
                Some(Incoming::Discard { id }) => panic!("a message of id {id}"),
                Some(Incoming::Bitfield { of, bytes, .. }) => {
                    let Heard::Bitfield(all) = held.get_or_insert(Heard::Bitfield(Vec::new()))
                    else {
                        panic!("a bitfield in the middle");
                    };
                    all.extend_from_slice(bytes);
                    (all.len() == of as usize).then(|| held.take()).flatten()
                }
                Some(Incoming::Piece { block, bytes, .. }) => {
                    let begun = held.get_or_insert_with(|| Heard::Piece(block, Vec::new()));
                    let Heard::Piece(_, all) = begun else {
                        panic!("a block in the middle");
                    };
                    all.extend_from_slice(bytes);
                    (all.len() == block.len as usize)
                        .then(|| held.take())
                        .flatten()
                }
            };
            let nothing = incoming.is_none();
            let read = self.rest.len() - input.len();
            self.rest.drain(..read);
            match whole {
                Some(Heard::Message(Message::KeepAlive)) => {}
                Some(heard) => return Some(heard),
                None if nothing && self.more().is_err() => return None,
                None => {}
            }
        }
    }

    /// The bytes of the next block.
    pub(super) fn block(&mut self) -> (Block, Vec<u8>) {
        match self.next() {
            Some(Heard::Piece(block, bytes)) => (block, bytes),
            other => panic!("no block but {other:?}"),
        }
    }

    /// Whether the connection ends, with nothing said before.
    pub(super) fn is_over(&mut self) -> bool {
        self.rest.is_empty() && self.more().is_err()
    }

    /// Reads so many bytes as they come, and leaves them.
    pub(super) fn up_to(&mut self, count: usize) -> usize {
        while self.rest.len() < count && self.more().is_ok() {}
        self.rest.len()
    }

    fn more(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; 256 << 10];
        let got = self.stream.read(&mut buffer);
        // A connection that is left in silence is as wrong as a wrong byte.
        let silent = |e: &io::Error| e.kind() == io::ErrorKind::WouldBlock;
        assert!(!got.as_ref().is_err_and(silent), "nothing more comes");
        let got = got?;
        if got == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.rest.extend_from_slice(&buffer[..got]);
        Ok(())
    }
}
