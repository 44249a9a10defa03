//! One end of a connection to a server, with TLS or without. The rule: nothing here waits, but for the handshake.

use larder_content::ContentId;
use larder_proto::swarm::wire::{Decoder, Incoming};
use larder_proto::swarm::{Handshake, Message, PeerId};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;

/// How much one receive brings of a TLS connection at most.
const RECEIVED_BYTES: usize = 64 << 10;

/// A connection.
#[derive(Debug)]
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<Tls>),
}

#[derive(Debug)]
pub(super) struct Tls {
    session: ClientConnection,
    socket: BufReader<TcpStream>,
    waste: Vec<u8>,
}

impl Stream {
    /// Connects, and shakes hands where there is TLS.
    pub(super) fn connect(
        address: SocketAddr,
        tls: Option<&Arc<ClientConfig>>,
    ) -> io::Result<Self> {
        let mut socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        let Some(config) = tls else {
            socket.set_nonblocking(true)?;
            return Ok(Self::Plain(socket));
        };
        let name = ServerName::try_from(crate::secure::NAME).map_err(io::Error::other)?;
        let mut session =
            ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
        while session.is_handshaking() {
            session.complete_io(&mut socket)?;
        }
        socket.set_nonblocking(true)?;
        Ok(Self::Tls(Box::new(Tls {
            session,
            socket: BufReader::with_capacity(RECEIVED_BYTES, socket),
            waste: vec![0; RECEIVED_BYTES],
        })))
    }

    /// Connects as a peer of a swarm, and waits until it may ask.
    pub(super) fn join(address: SocketAddr, swarm: ContentId) -> io::Result<Self> {
        let mut socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        let handshake = Handshake {
            swarm,
            peer: PeerId([0xbe; 16]),
            suffix: [0; 4],
        };
        let mut hello = handshake.to_bytes().to_vec();
        Message::Interested.write(&mut hello);
        socket.write_all(&hello)?;
        let (mut decoder, mut byte) = (Decoder::new(), [0]);
        loop {
            // One by one, so that nothing is read that belongs to the first block.
            socket.read_exact(&mut byte)?;
            let heard = decoder
                .next(&mut byte.as_slice())
                .map_err(io::Error::other)?;
            if heard == Some(Incoming::Message(Message::Unchoke)) {
                socket.set_nonblocking(true)?;
                return Ok(Self::Plain(socket));
            }
        }
    }

    /// Received bytes may be held here, of which the kernel knows nothing.
    pub(super) const fn holds_bytes(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// As read(2) on a socket that does not block.
    pub(super) fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(into),
            Self::Tls(tls) => tls.read(into),
        }
    }

    /// Receives up to so many bytes and forgets them, inside the kernel where that can be.
    pub(super) fn forget(&mut self, len: usize) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => larder_net::sock::discard(socket.as_raw_fd(), len),
            Self::Tls(tls) => {
                let mut waste = std::mem::take(&mut tls.waste);
                let room = len.min(waste.len());
                let got = tls.read(&mut waste[..room]);
                tls.waste = waste;
                got
            }
        }
    }

    /// Sends what there is room for; `WouldBlock` where there is none.
    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => larder_net::sock::send(socket.as_raw_fd(), bytes, false),
            Self::Tls(tls) => {
                let n = tls.session.writer().write(bytes)?;
                while tls.session.wants_write() {
                    match tls.session.write_tls(tls.socket.get_mut()) {
                        // The session keeps the rest, which goes with the next.
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                        sent => sent?,
                    };
                }
                Ok(n)
            }
        }
    }
}

impl Tls {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.session.reader().read(into) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read,
            }
            if self.session.read_tls(&mut self.socket)? == 0 {
                return Ok(0);
            }
            self.session
                .process_new_packets()
                .map_err(io::Error::other)?;
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Plain(socket) => socket.as_fd(),
            Self::Tls(tls) => tls.socket.get_ref().as_fd(),
        }
    }
}
