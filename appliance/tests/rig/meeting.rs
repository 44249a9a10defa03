//! A coordinator in the test's own process. The rule: it takes the word of whoever has its key, and of nobody else.

use larder_content::hash::of_piece;
use larder_content::{PIECE_BYTES, Phf};
use larder_net::clock::Clock;
use larder_net::coordinator::{
    Backend, ClientOptions, Coordinator, CoordinatorClient, Key, Memory, Publisher, Server,
    ServerOptions, ServiceOptions,
};
use larder_proto::tracker::message::{PublishRequest, Trust};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;
use tokio::runtime::Runtime;

/// See the file's head; it ends with the value.
pub(crate) struct Meeting {
    runtime: Runtime,
    server: Option<Server>,
    pub(crate) address: SocketAddr,
}

fn key() -> Key {
    Key::new("site", &[7; 32]).expect("a key")
}

impl Meeting {
    pub(crate) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let options = ServiceOptions {
            heartbeat_secs: 5,
            publishers: vec![Publisher {
                key: key(),
                may_verify: false,
                group: None,
            }],
            ..ServiceOptions::default()
        };
        let backend = Backend::Memory(Box::new(Memory::new(options.limits, 100, 16 << 20)));
        let coordinator = Coordinator::new(options, backend, Clock::start());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let server = {
            let _entered = runtime.enter();
            let (http, options) = (vec![listener], ServerOptions::default());
            Server::start(coordinator, http, Vec::new(), None, options).expect("it serves")
        };
        let address = server.addresses()[0];
        Self {
            runtime,
            server: Some(server),
            address,
        }
    }

    /// Whoever has the key.
    pub(crate) fn client(&self) -> CoordinatorClient {
        let options = ClientOptions {
            publisher_key: Some(key()),
            ..ClientOptions::new(format!("http://{}", self.address))
        };
        CoordinatorClient::new(options).expect("a URL")
    }

    /// Tells what the pieces of the object at `url` hash to.
    pub(crate) fn publish(&self, url: &str, bytes: &[u8]) {
        self.publish_version(url, bytes, None);
    }

    /// The same with the `ETag` that it has there.
    pub(crate) fn publish_version(&self, url: &str, bytes: &[u8], etag: Option<String>) {
        let hashes = bytes.chunks(PIECE_BYTES as usize).map(of_piece).collect();
        let phf = Phf::new(bytes.len() as u64, hashes).expect("hashes");
        let mut request = PublishRequest::new(phf, Trust::Attested);
        request.content_cdn_urls = vec![url.to_owned()];
        request.etag = etag;
        let client = self.client();
        let published = self.runtime.block_on(client.publish(&request));
        published.expect("published");
    }

    /// Whether somebody has told it of the object at `url`.
    pub(crate) fn knows(&self, url: &str) -> bool {
        let client = self.client();
        let policy = self.runtime.block_on(client.policy_by_url(url));
        policy.expect("it answers").is_some()
    }

    pub(crate) fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            self.runtime.block_on(server.stop(Duration::ZERO));
        }
    }
}

impl Drop for Meeting {
    fn drop(&mut self) {
        self.stop();
    }
}
