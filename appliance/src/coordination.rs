//! The coordinator that runs in this process. The rule: who did not ask for its addresses is not kept from starting by
//! them; what it keeps is this process's to use by itself in any case.

use crate::appliance::StartError;
use crate::config::{Coordination, Embedded};
use crate::listen::{self, Purpose};
use crate::telemetry::Telemetry;
use larder_net::clock::Clock;
use larder_net::coordinator::{Backend, Coordinator, Memory, Redis, Server, ServerOptions};
use larder_net::http::Certificates;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

/// A coordinator that serves, or that only this process uses.
pub(crate) struct Coordinating {
    pub(crate) coordinator: Coordinator,
    pub(crate) server: Option<Server>,
}

/// The sockets that a coordinator serves on, before there is one.
#[derive(Default)]
pub(crate) struct Sockets {
    pub(crate) http: Vec<TcpListener>,
    pub(crate) https: Vec<TcpListener>,
}

impl Sockets {
    /// Opens those that the configuration names.
    pub(crate) fn open(config: &Coordination) -> Result<Self, StartError> {
        let Coordination::Embedded(embedded) = config else {
            return Ok(Self::default());
        };
        if embedded.is_asked_for {
            return Ok(Self {
                http: listen::all(&embedded.http, Purpose::Coordinator)?,
                https: listen::all(&embedded.https, Purpose::Coordinator)?,
            });
        }
        let mut http = Vec::new();
        for address in &embedded.http {
            match listen::at_once(*address) {
                Ok(listener) => http.push(listener),
                Err(error) => tracing::warn!(
                    "the coordinator serves nobody else: {address} can not be listened on ({error}); write another \
                     address as [coordinator] http, or mode = \"off\""
                ),
            }
        }
        Ok(Self {
            http,
            https: Vec::new(),
        })
    }
}

/// Starts it on the present runtime; None where the configuration has none.
pub(crate) fn start(
    config: &Coordination,
    sockets: Sockets,
    certificates: Option<Arc<Certificates>>,
    clock: Clock,
    telemetry: &Telemetry,
) -> Result<Option<Coordinating>, StartError> {
    let Coordination::Embedded(embedded) = config else {
        return Ok(None);
    };
    let made = telemetry.within(|| backend(embedded));
    let backend = made.map_err(|why| StartError::Threads(io::Error::other(why)))?;
    let service = embedded.service.clone();
    let coordinator = telemetry.within(|| Coordinator::new(service, backend, clock));
    let options = ServerOptions::default();
    let server = Server::start(
        coordinator.clone(),
        sockets.http,
        sockets.https,
        certificates,
        options,
    );
    Ok(Some(Coordinating {
        coordinator,
        server: Some(server.map_err(StartError::Threads)?),
    }))
}

fn backend(embedded: &Embedded) -> Result<Backend, String> {
    let limits = embedded.service.limits;
    let memory = Memory::new(limits, embedded.records_max, embedded.record_bytes_max);
    match &embedded.redis {
        None => Ok(Backend::Memory(Box::new(memory))),
        Some(redis) => {
            let redis = Redis::new(redis, limits, memory);
            let redis = redis.map_err(|why| format!("[coordinator] backend: {why}"))?;
            Ok(Backend::Redis(Box::new(redis)))
        }
    }
}

impl Coordinating {
    /// Where others are served.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        let server = self.server.as_ref();
        server.map_or_else(Vec::new, |server| server.addresses().to_vec())
    }
}
