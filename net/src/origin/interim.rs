//! Interim answers (RFC 9110, section 15.2) on their way from an origin to the client that waits. The rule: they are news
//! for one client and no answer, so nothing waits for them, and of too many the last are dropped.

use ::http::header::HeaderMap;
use ::http::{Request, StatusCode};
use tokio::sync::mpsc;

/// So many wait for the client to take them.
const WAITING_MAX: usize = 8;

/// One interim answer.
#[derive(Debug)]
pub(crate) struct Interim {
    /// 102 to 199.
    pub(crate) status: StatusCode,
    /// Its fields, as they came.
    pub(crate) headers: HeaderMap,
}

/// Where the interim answers to one request are told.
#[derive(Clone, Debug)]
pub struct TellInterim(mpsc::Sender<Interim>);

/// Where they are heard; it ends when the request does.
pub(crate) type HearInterim = mpsc::Receiver<Interim>;

/// Both ends.
pub(crate) fn interim() -> (TellInterim, HearInterim) {
    let (tell, hear) = mpsc::channel(WAITING_MAX);
    (TellInterim(tell), hear)
}

impl TellInterim {
    /// Has those that come for a request told. 100 and 101 are between the two ends of one connection.
    pub(super) fn of<B>(&self, request: &mut Request<B>) {
        let tell = self.0.clone();
        hyper::ext::on_informational(request, move |answer| {
            if answer.status().as_u16() >= 102 {
                let _ = tell.try_send(Interim {
                    status: answer.status(),
                    headers: answer.headers().clone(),
                });
            }
        });
    }
}
