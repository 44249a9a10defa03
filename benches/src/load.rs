//! Load: connections that ask for random aligned ranges as fast as they are answered. The rule: it costs as little as
//! a client can, so it is one thread with one epoll, bodies are dropped inside the kernel, and only a sample is read
//! and compared; else the client would be what is measured.

mod connection;
mod stream;

use crate::cpu::{self, Group};
use crate::latency::Latencies;
use connection::{Connection, Shared};
use larder::demo::content::File as MadeUp;
use larder_content::ContentId;
use rustix::event::{Timespec, epoll};
use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use stream::Stream;

/// Events that one wait fetches.
const EVENTS: usize = 64;

/// How long the last answers may take when all is over.
const LAST_ANSWERS_MAX: Duration = Duration::from_secs(60);

/// What is asked, and how.
#[derive(Clone, Debug)]
pub struct Load {
    /// The server.
    pub address: SocketAddr,
    /// The object; its bytes are known from its seed.
    pub file: MadeUp,
    /// What stands in the `Host` field.
    pub host: String,
    /// Bytes of each range; they begin at multiples of it.
    pub range_bytes: u64,
    /// Which ranges.
    pub order: Order,
    /// Connections at once.
    pub connections: usize,
    /// Requests that each connection has under way.
    pub pipeline: usize,
    /// How long it runs before it is measured.
    pub warm_up: Duration,
    /// How long it is measured.
    pub duration: Duration,
    /// One answer in so many of a connection is read and compared; 0: none.
    pub compare_every: u64,
    /// Ask as a peer of this swarm, and not by HTTP. Ranges are blocks then, so that one lies in one piece.
    pub swarm: Option<ContentId>,
    /// How TLS is spoken, if it is.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// Whose work is measured meanwhile.
    pub watch: Option<Watch>,
}

/// Which ranges are asked for. Each goes to whichever connection is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Random ones until the time is over.
    Random,
    /// The same, but none twice, so that none is there because it was asked for before. It is a fault where they do
    /// not last.
    Shuffled,
    /// All of them once, in order, however long it takes.
    Once,
}

/// A server whose work is measured for just as long as the load.
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    /// The core that it has for itself.
    pub core: usize,
    /// Its process group.
    pub group: u32,
    /// The core that the client has for itself.
    pub client_core: usize,
}

/// What came of it, in the time that was measured. Answers that were not whole then count with the bytes that came.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Body bytes received.
    pub bytes: u64,
    /// Answers received.
    pub requests: u64,
    /// Answers that were read and compared, before and after, too.
    pub compared: u64,
    /// How long it was measured.
    pub seconds: f64,
    /// From each request to its answer's last byte.
    pub latencies: Latencies,
    /// Body bytes of each connection.
    pub of_each: Vec<u64>,
    /// What went wrong, in words.
    pub faults: Vec<String>,
    /// Busy seconds of the watched core.
    pub core_seconds: f64,
    /// Seconds that the watched processes ran.
    pub process_seconds: f64,
    /// Bytes that the watched processes had from disks.
    pub disk_bytes: f64,
    /// Seconds that this process ran: near to [`Outcome::seconds`] it is the client that was measured.
    pub client_seconds: f64,
    /// Busy seconds of the client's core that were not the client's: what disturbed the measurement.
    pub others_seconds: f64,
}

impl Outcome {
    /// 1 where all connections got the same, near 0 where one got all (Jain, Chiu and Hawe).
    #[must_use]
    pub fn fairness(&self) -> f64 {
        let n = self.of_each.len().max(1) as f64;
        let sum: f64 = self.of_each.iter().map(|bytes| *bytes as f64).sum();
        let squares: f64 = self
            .of_each
            .iter()
            .map(|bytes| (*bytes as f64).powi(2))
            .sum();
        if squares == 0.0 {
            0.0
        } else {
            sum * sum / (n * squares)
        }
    }

    /// What the slowest connection got, as a share of the mean.
    #[must_use]
    pub fn slowest_share(&self) -> f64 {
        let slowest = self.of_each.iter().min().copied().unwrap_or(0) as f64;
        let sum: f64 = self.of_each.iter().map(|bytes| *bytes as f64).sum();
        if sum == 0.0 {
            0.0
        } else {
            slowest * self.of_each.len() as f64 / sum
        }
    }
}

/// Seconds of work up to one moment.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    core: f64,
    processes: f64,
    client: f64,
    client_core: f64,
    disk_bytes: f64,
}

impl Load {
    /// Runs it on this thread.
    ///
    /// # Errors
    /// The server takes no connection, or what is watched can not be read. What goes wrong on a connection later is a
    /// fault.
    pub fn run(&self) -> io::Result<Outcome> {
        let mut run = Run::start(self)?;
        if self.order != Order::Once {
            run.until(Instant::now() + self.warm_up)?;
            run.reset();
        }
        let before = run.mark()?;
        let from = Instant::now();
        let until = (self.order != Order::Once).then(|| from + self.duration);
        match until {
            Some(until) => run.until(until)?,
            None => run.drain(None)?,
        }
        let seconds = from.elapsed().as_secs_f64();
        let after = run.mark()?;
        let mut outcome = Outcome {
            requests: run.shared.requests,
            latencies: run.shared.latencies.clone(),
            of_each: run.connections.iter().map(|c| c.bytes).collect(),
            seconds,
            core_seconds: after.core - before.core,
            process_seconds: after.processes - before.processes,
            client_seconds: after.client - before.client,
            others_seconds: (after.client_core - before.client_core)
                - (after.client - before.client),
            disk_bytes: after.disk_bytes - before.disk_bytes,
            ..Outcome::default()
        };
        outcome.bytes = outcome.of_each.iter().sum();
        // Nobody is cut off: that would be work for the server in the next round.
        run.shared.stop = true;
        run.drain(Some(Instant::now() + LAST_ANSWERS_MAX))?;
        outcome.compared = run.shared.compared;
        outcome.faults = run.faults;
        if self.order == Order::Shuffled && run.shared.asked >= self.ranges() {
            outcome
                .faults
                .push("the ranges did not last; take a larger object".to_owned());
        }
        Ok(outcome)
    }

    /// How many ranges there are.
    fn ranges(&self) -> u64 {
        match self.order {
            Order::Once => self.file.len.div_ceil(self.range_bytes),
            _ => self.file.len / self.range_bytes,
        }
    }
}

/// A load under way.
#[derive(Debug)]
struct Run<'l> {
    load: &'l Load,
    epoll: std::os::fd::OwnedFd,
    connections: Vec<Connection>,
    shared: Shared,
    /// Connections that are not given up.
    alive: usize,
    faults: Vec<String>,
    group: Option<Group>,
}

impl<'l> Run<'l> {
    fn start(load: &'l Load) -> io::Result<Self> {
        let mut run = Self {
            load,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            connections: Vec::with_capacity(load.connections),
            shared: Shared {
                stop: false,
                next: 0,
                asked: 0,
                requests: 0,
                compared: 0,
                latencies: Latencies::default(),
            },
            alive: load.connections,
            faults: Vec::new(),
            group: match load.watch {
                Some(watch) => Some(Group::find(watch.group).map_err(io::Error::other)?),
                None => None,
            },
        };
        for number in 0..load.connections as u64 {
            let stream = match &load.swarm {
                None => Stream::connect(load.address, load.tls.as_ref())?,
                Some(swarm) => Stream::join(load.address, *swarm)?,
            };
            let data = epoll::EventData::new_u64(number);
            epoll::add(&run.epoll, &stream, data, epoll::EventFlags::IN)?;
            run.connections.push(Connection::new(load, stream, number));
        }
        for number in 0..load.connections {
            run.go_on(number)?;
        }
        Ok(run)
    }

    fn go_on(&mut self, number: usize) -> io::Result<()> {
        let connection = &mut self.connections[number];
        if let Err(error) = connection.go_on(self.load, &mut self.shared) {
            self.faults.push(error.to_string());
            connection.give_up();
            epoll::delete(&self.epoll, &connection.stream)?;
            self.alive -= 1;
        }
        Ok(())
    }

    /// Waits for answers at most until then, and takes them.
    fn turn(&mut self, until: Option<Instant>) -> io::Result<()> {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let left = left.map(|left| Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        });
        let mut room = [MaybeUninit::<epoll::Event>::uninit(); EVENTS];
        let events = match epoll::wait(&self.epoll, &mut room, left.as_ref()) {
            Ok((events, _)) => events,
            Err(rustix::io::Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        for event in events.iter() {
            let number = event.data;
            self.go_on(usize::try_from(number.u64()).unwrap_or(0))?;
        }
        Ok(())
    }

    fn until(&mut self, until: Instant) -> io::Result<()> {
        while self.alive > 0 && Instant::now() < until && !self.ran_out() {
            self.turn(Some(until))?;
        }
        Ok(())
    }

    /// Whether there is nothing left to ask for, and all answers have come.
    fn ran_out(&self) -> bool {
        self.load.order == Order::Shuffled
            && self.shared.asked >= self.load.ranges()
            && self.connections.iter().all(Connection::is_done)
    }

    /// Takes answers until no connection waits for any.
    fn drain(&mut self, until: Option<Instant>) -> io::Result<()> {
        while self.connections.iter().any(|c| !c.is_done()) {
            if until.is_some_and(|until| Instant::now() >= until) {
                self.faults.push("answers do not end".to_owned());
                return Ok(());
            }
            self.turn(until)?;
        }
        Ok(())
    }

    /// From here on it counts.
    fn reset(&mut self) {
        self.shared.requests = 0;
        self.shared.latencies.clear();
        for connection in &mut self.connections {
            connection.bytes = 0;
        }
    }

    fn mark(&self) -> io::Result<Mark> {
        let client = cpu::own_seconds().map_err(io::Error::other)?;
        let (Some(watch), Some(group)) = (self.load.watch, &self.group) else {
            return Ok(Mark {
                client,
                ..Mark::default()
            });
        };
        Ok(Mark {
            core: cpu::core_seconds(watch.core).map_err(io::Error::other)?,
            client_core: cpu::core_seconds(watch.client_core).map_err(io::Error::other)?,
            processes: group.seconds(),
            disk_bytes: group.disk_bytes(),
            client,
        })
    }
}

#[cfg(test)]
mod tests;
