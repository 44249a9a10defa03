//! No descriptor left. The rule: who is connected is served, who comes waits, and when descriptors are free again
//! larder accepts again by itself.

mod rig;

use rig::fetch::Get;
use rig::larder::{Larder, Setup};
use rig::{eventually, have};
use std::net::TcpStream;

#[test]
fn it_accepts_again_when_descriptors_are_free_again() {
    if !have(&["prlimit"]) {
        return;
    }
    for driver in ["io_uring", "epoll"] {
        let larder = Larder::start(&Setup {
            driver,
            files_max: 100,
            ..Setup::default()
        });
        // What is served is a refusal, which needs no origin.
        let ask = |larder: &Larder| larder.get("elsewhere.example", "/a").run().ok();
        assert_eq!(ask(&larder).map(|got| got.status), Some(403));
        // They are connected by the kernel, whether they are accepted or not.
        let crowd: Vec<_> = (0..200)
            .map(|_| TcpStream::connect(larder.http()).expect("connected"))
            .collect();
        eventually("it can not accept", || {
            larder
                .log()
                .contains("cannot accept connections")
                .then_some(())
        });
        drop(crowd);
        let again = eventually("it accepts again", || ask(&larder));
        assert_eq!(again.status, 403, "{driver}");
        let ready = eventually("so does its administration", || {
            Get::new(larder.admin(), "/readyz").run().ok()
        });
        assert_eq!(ready.status, 200, "{driver}");
    }
}
