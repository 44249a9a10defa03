//! Who is connected from addresses that may have only so many connections. The rule: a connection is counted when it is
//! accepted and until it is over, whichever thread has it by then; where no rule is written nothing is looked at.

use larder_proto::crowd::{Crowd, CrowdRules, Full, Mark};
use parking_lot::Mutex;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::Arc;

/// All that are counted.
#[derive(Debug, Default)]
pub struct Doors(Mutex<Crowd>);

/// One connection that is counted, until this is dropped.
#[derive(Debug)]
pub struct Seat {
    doors: Arc<Doors>,
    /// None once it has left.
    mark: Option<Mark>,
}

impl Doors {
    /// A connection was accepted.
    ///
    /// # Errors
    /// Its address has as many as it may have.
    pub fn enter(
        self: &Arc<Self>,
        socket: &impl AsFd,
        rules: &CrowdRules,
    ) -> Result<Option<Seat>, Full> {
        if rules.is_empty() {
            return Ok(None);
        }
        let from = socket2::SockRef::from(socket).peer_addr().ok();
        // One that is gone already is counted for nobody.
        match from.and_then(|from| from.as_socket()) {
            Some(from) => self.enter_from(from.ip(), rules),
            None => Ok(None),
        }
    }

    fn enter_from(
        self: &Arc<Self>,
        from: IpAddr,
        rules: &CrowdRules,
    ) -> Result<Option<Seat>, Full> {
        let mark = self.0.lock().enter(from, rules)?;
        Ok(mark.map(|mark| Seat {
            doors: Arc::clone(self),
            mark: Some(mark),
        }))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(mark) = self.mark.take() {
            self.doors.0.lock().leave(mark);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use larder_proto::crowd::CrowdRule;

    #[test]
    fn a_seat_is_free_when_its_connection_is_over() {
        let rules = CrowdRules::new(&[CrowdRule {
            networks: vec!["127.0.0.0/8".parse().expect("a network")],
            connections_max: 1,
        }]);
        let doors = Arc::new(Doors::default());
        let from = [127, 0, 0, 1].into();
        let seat = doors.enter_from(from, &rules).expect("room");
        assert!(doors.enter_from(from, &rules).is_err());
        // Who was counted leaves, whatever the rules are by then.
        drop(seat);
        assert!(doors.0.lock().is_empty());
        assert!(matches!(
            doors.enter_from(from, &CrowdRules::default()),
            Ok(None)
        ));
    }
}
