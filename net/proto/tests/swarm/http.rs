//! HTTP in the simulation: the origin, and appliances that are asked in its place. The rule: every byte of the origin
//! crosses the line of its site, and is counted there.

use super::node::{Http, length, piece_id};
use super::world::{Happens, LAN_DELAY, WAN_DELAY, World, ms};
use larder_content::span::piece_len;
use larder_proto::Time;
use larder_proto::fetch::{Failure, Job};
use larder_proto::swarm::picker::Event;
use std::collections::VecDeque;

/// A part of an HTTP answer on its way.
const PART_BYTES: u64 = 256 << 10;

impl World {
    /// Begins what the scheduler wants begun.
    pub(crate) fn pump(&mut self, n: usize) {
        let now = self.now;
        while let Some(job) = self.nodes[n].scheduler.next(now, |_| 0) {
            self.ask(n, job);
        }
        self.plan_wake(n);
    }

    /// Sends a request.
    pub(crate) fn ask(&mut self, n: usize, job: Job) {
        let missing = self.nodes[n].scheduler.missing(&job);
        let pieces: VecDeque<u32> = missing.iter().map(|id| id.piece).collect();
        for piece in &pieces {
            if self.plan.peers {
                self.tell(n, Event::AtOrigin(*piece));
            }
        }
        let serial = job.serial;
        self.nodes[n].http.push(Http {
            job,
            pieces,
            of_first: 0,
            coming: 0,
            sent: 0,
        });
        let (life, site) = (self.nodes[n].life, self.nodes[n].site);
        if !self.goes_outside(n) {
            let appliance = self
                .nodes
                .iter()
                .position(|other| other.is_appliance && other.site == site);
            let appliance = appliance.expect("each site has one");
            self.after(LAN_DELAY, Happens::AskAppliance(appliance, n, life, serial));
        } else if self.cut[site] {
            self.after(ms(3000), Happens::HttpFails(n, life, serial));
        } else {
            // Two parts are on their way at a time.
            for _ in 0..2 {
                self.origin_sends(n, serial);
            }
        }
    }

    /// The origin sends the next part of an answer.
    pub(crate) fn origin_sends(&mut self, n: usize, serial: u64) {
        let (now, len) = (self.now, length(&self.plan));
        let node = &mut self.nodes[n];
        let Some(http) = node.http.iter_mut().find(|http| http.job.serial == serial) else {
            return;
        };
        let whole: u64 = http
            .pieces
            .iter()
            .map(|p| u64::from(piece_len(len, *p)))
            .sum();
        let left = (whole - http.of_first).saturating_sub(http.sent);
        if left == 0 {
            return;
        }
        let bytes = left.min(PART_BYTES);
        http.sent += bytes;
        let (life, site) = (node.life, node.site);
        self.out.origin_bytes += bytes;
        // The request, and the answer's first byte.
        let at = if http.coming == 0 {
            now + 2 * WAN_DELAY
        } else {
            now
        };
        http.coming += 1;
        let crossed = self.wan_in[site].send(at, bytes);
        let next = None;
        self.at(crossed, Happens::PartCrossed(n, life, serial, bytes, next));
    }

    pub(crate) fn http_part(&mut self, n: usize, serial: u64, bytes: u64, piece: Option<u32>) {
        let (now, len) = (self.now, length(&self.plan));
        let node = &mut self.nodes[n];
        let Some(at) = node.http.iter().position(|http| http.job.serial == serial) else {
            return;
        };
        node.http_bytes += bytes;
        let http = &mut node.http[at];
        let job = http.job;
        http.sent = http.sent.saturating_sub(bytes);
        let mut landed = Vec::new();
        match piece {
            // An appliance sends pieces as it has them.
            Some(piece) => {
                http.pieces.retain(|other| *other != piece);
                landed.push(piece);
            }
            None => http.of_first += bytes,
        }
        while let Some(piece) = http.pieces.front().copied() {
            let piece_bytes = u64::from(piece_len(len, piece));
            if http.of_first < piece_bytes {
                break;
            }
            http.of_first -= piece_bytes;
            http.pieces.pop_front();
            landed.push(piece);
        }
        let over = http.pieces.is_empty();
        node.scheduler.received(now, &job, bytes);
        if over {
            node.http.remove(at);
        }
        for piece in landed {
            self.nodes[n].scheduler.landed(piece_id(piece));
            self.landed(n, piece, Vec::new());
        }
        if !over && self.goes_outside(n) {
            self.origin_sends(n, serial);
        }
        self.pump(n);
    }

    pub(crate) fn http_fails(&mut self, n: usize, serial: u64) {
        let node = &mut self.nodes[n];
        let Some(at) = node.http.iter().position(|http| http.job.serial == serial) else {
            return;
        };
        let http = node.http.remove(at);
        let given_up = node.scheduler.failed(self.now, &http.job, Failure::Broken);
        for piece in http.pieces {
            // Whoever wants all of it does not give up.
            let _ = given_up.contains(&piece_id(piece));
            self.want(n, piece, Time::from_micros(u64::MAX), true);
        }
        self.pump(n);
    }

    /// A device asks the appliance for what it would ask the origin for.
    pub(crate) fn ask_appliance(&mut self, appliance: usize, n: usize, life: u32, serial: u64) {
        if !self.lives(n, life) {
            return;
        }
        let http = self.nodes[n]
            .http
            .iter()
            .find(|http| http.job.serial == serial);
        let pieces = http.map(|http| http.pieces.clone()).unwrap_or_default();
        for piece in pieces {
            let seat = (n, life, serial);
            self.nodes[appliance]
                .customers
                .entry(piece)
                .or_default()
                .push(seat);
            if self.nodes[appliance].store.contains_key(&piece) {
                self.serve(appliance, piece);
            } else if !self.nodes[appliance].scheduler.has(piece_id(piece)) {
                self.want(appliance, piece, self.now + ms(14_000), false);
            }
        }
        self.pump(appliance);
    }

    /// An appliance sends a piece to all who wait for it.
    pub(crate) fn serve(&mut self, appliance: usize, piece: u32) {
        let customers = self.nodes[appliance].customers.remove(&piece);
        let bytes = u64::from(piece_len(length(&self.plan), piece));
        for (n, life, serial) in customers.into_iter().flatten() {
            let crossed = self.nodes[appliance].up.send(self.now, bytes);
            let whole = Some(piece);
            self.at(crossed, Happens::PartCrossed(n, life, serial, bytes, whole));
        }
    }
}
