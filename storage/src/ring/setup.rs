//! Making a ring of what the kernel has. The rule: features are asked for or tried, versions are never compared, and
//! what is missing is said in words that an administrator can act on.

use super::recv;
use crate::arena::Arena;
use io_uring::{IoUring, Probe, opcode};
use std::fmt;
use std::io;

/// Every operation the driver submits, with its name: what is probed at start, and all that a restricted ring would
/// have to allow.
pub(super) const OPCODES: [(u8, &str); 6] = [
    (opcode::Accept::CODE, "accept"),
    (opcode::Recv::CODE, "receive"),
    (opcode::PollAdd::CODE, "poll"),
    (opcode::Read::CODE, "read"),
    (opcode::ReadFixed::CODE, "read into registered memory"),
    (opcode::AsyncCancel::CODE, "cancel"),
];

/// Entries of the two queues, with what to try where that is too much memory: newer kernels count it as locked. The
/// second is larger than what one wait usually brings, so that the kernel seldom has to keep completions aside.
const QUEUES: [(u32, u32); 2] = [(512, 4096), (64, 512)];

/// Why there is no ring, and what to do for one.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The sysctl forbids it.
    #[error(
        "io_uring is refused: kernel.io_uring_disabled = {value}; larder uses epoll instead; to use io_uring: sysctl -w kernel.io_uring_disabled=0"
    )]
    Disabled {
        /// What the sysctl says: 1 (but for a group and for CAP_SYS_ADMIN) or 2 (for all).
        value: String,
    },
    /// Something else forbids it, most likely a container's seccomp filter.
    #[error(
        "io_uring is refused ({0}), as a container's seccomp profile does; larder uses epoll instead; to use io_uring: allow io_uring_setup, io_uring_enter and io_uring_register in the profile"
    )]
    Denied(#[source] io::Error),
    /// The kernel was built without it.
    #[error(
        "this kernel has no io_uring; larder uses epoll instead; to use io_uring: a kernel with CONFIG_IO_URING, 5.19 or newer"
    )]
    Absent,
    /// The kernel has an older io_uring.
    #[error(
        "this kernel's io_uring lacks {0}; larder uses epoll instead; to use io_uring: kernel 5.19 or newer"
    )]
    Lacks(&'static str),
    /// Not enough memory that may be locked, descriptors, or memory at all.
    #[error(
        "io_uring got no resources while it {doing} ({cause}); larder uses epoll instead; to use io_uring: raise memlock (LimitMEMLOCK=infinity) and the number of open files"
    )]
    Resources {
        /// What was being done.
        doing: &'static str,
        /// What the kernel answered.
        #[source]
        cause: io::Error,
    },
}

/// What a ring has, for `doctor`, a metric's label and the log.
#[derive(Debug, Clone)]
pub struct RingFeatures {
    /// How completions are run: "deferred", "cooperative" or "interrupting".
    pub task_work: &'static str,
    /// How many receive buffers there are.
    pub receive_buffers: u16,
    /// Entries of the two queues.
    pub queues: (u32, u32),
    /// How much memory for cold reads is registered: all of the arena, or nothing.
    pub registered_bytes: u64,
    /// Why they are not, if they are not, with what to do.
    pub unregistered_because: Option<String>,
    /// Whether one request accepts many connections; false once the kernel has refused it.
    pub multishot_accept: bool,
}

impl fmt::Display for RingFeatures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (submissions, completions) = self.queues;
        write!(
            f,
            "io_uring with {} task work, queues of {submissions} and {completions}, {} receive buffers of {} bytes, {} accept, {} MiB of registered frames",
            self.task_work,
            self.receive_buffers,
            recv::BUFFER_BYTES,
            if self.multishot_accept {
                "multishot"
            } else {
                "single"
            },
            self.registered_bytes >> 20,
        )
    }
}

/// Makes a ring and takes it down again, for `doctor`: what is there, or why not.
///
/// # Errors
/// As [`super::RingDriver::new`].
pub fn probe() -> Result<RingFeatures, SetupError> {
    let arena = Arena::new(0).map_err(|cause| SetupError::Resources {
        doing: "mapped a frame",
        cause,
    })?;
    let driver = super::RingDriver::new(&arena)?;
    Ok(driver.features().clone())
}

/// What a ring is made of: the best there is, or less, so that tests try what older kernels have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// Receive buffers, a power of two.
    pub(crate) buffers: u16,
    /// No deferred task work, no multishot, no registered memory.
    pub(crate) plain: bool,
}

impl Default for Shape {
    fn default() -> Self {
        Shape {
            buffers: recv::BUFFERS,
            plain: false,
        }
    }
}

/// A ring with the arena registered, where memlock permits.
pub(super) fn ring(arena: &Arena, shape: Shape) -> Result<(IoUring, RingFeatures), SetupError> {
    let (ring, task_work) = build(shape.plain)?;
    let parameters = ring.params();
    for (there, what) in [
        (parameters.is_feature_ext_arg(), "a timeout for waiting"),
        (
            parameters.is_feature_nodrop(),
            "the promise to drop no completion",
        ),
        (
            parameters.is_feature_fast_poll(),
            "waiting for sockets without threads",
        ),
    ] {
        if !there {
            return Err(SetupError::Lacks(what));
        }
    }
    let mut probe = Probe::new();
    ring.submitter()
        .register_probe(&mut probe)
        .map_err(|_| SetupError::Lacks("the probe for its operations"))?;
    for (code, name) in OPCODES {
        if !probe.is_supported(code) {
            return Err(SetupError::Lacks(name));
        }
    }
    let refused = if shape.plain {
        Some("registration was not asked for".to_owned())
    } else {
        register(&ring, arena).err()
    };
    let features = RingFeatures {
        task_work,
        receive_buffers: shape.buffers,
        queues: (parameters.sq_entries(), parameters.cq_entries()),
        registered_bytes: if refused.is_some() {
            0
        } else {
            arena.capacity_bytes()
        },
        unregistered_because: refused,
        multishot_accept: !shape.plain,
    };
    Ok((ring, features))
}

/// A way of running completions: its name, and what to ask for.
type Way = (&'static str, fn(&mut io_uring::Builder));

/// Tries the ways of running completions, best first.
fn build(plain: bool) -> Result<(IoUring, &'static str), SetupError> {
    let ways: [Way; 3] = [
        // One thread submits and waits, and completions run when it waits: no interruptions at all.
        ("deferred", |b| {
            b.setup_single_issuer()
                .setup_defer_taskrun()
                .setup_taskrun_flag()
                .setup_submit_all();
        }),
        ("cooperative", |b| {
            b.setup_coop_taskrun()
                .setup_taskrun_flag()
                .setup_submit_all();
        }),
        ("interrupting", |_| {}),
    ];
    let mut last = io::Error::from_raw_os_error(libc::EINVAL);
    for (submissions, completions) in QUEUES {
        for (name, set) in ways.into_iter().skip(if plain { 2 } else { 0 }) {
            let mut builder = IoUring::builder();
            builder.setup_clamp().setup_cqsize(completions).dontfork();
            set(&mut builder);
            match builder.build(submissions) {
                Ok(ring) => return Ok((ring, name)),
                Err(e) if e.raw_os_error() == Some(libc::EINVAL) => last = e,
                Err(e) if e.raw_os_error() == Some(libc::ENOMEM) => {
                    last = e;
                    break;
                }
                Err(e) => return Err(explain(e)),
            }
        }
    }
    Err(explain(last))
}

fn explain(cause: io::Error) -> SetupError {
    match cause.raw_os_error() {
        Some(libc::ENOSYS) => SetupError::Absent,
        Some(libc::EPERM | libc::EACCES) => {
            let value = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled");
            match value.as_deref().map(str::trim) {
                Ok(value @ ("1" | "2")) => SetupError::Disabled {
                    value: value.to_owned(),
                },
                _ => SetupError::Denied(cause),
            }
        }
        Some(libc::EINVAL) => SetupError::Lacks("a completion queue of its own size"),
        _ => SetupError::Resources {
            doing: "made the ring",
            cause,
        },
    }
}

/// Registers the frames, or says why they stay plain.
fn register(ring: &IoUring, arena: &Arena) -> Result<(), String> {
    let plain = "cold reads use plain memory, which costs a little more CPU";
    // SAFETY: the frames are mapped, and the driver holds the arena until the ring is closed.
    unsafe { ring.submitter().register_buffers(&[arena.buffer()]) }.map_err(|e| {
        format!(
            "{} bytes of frames are not registered with io_uring ({e}); {plain}; to register them: raise memlock (LimitMEMLOCK=infinity)",
            arena.capacity_bytes()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_say_what_to_do() {
        let absent = explain(io::Error::from_raw_os_error(libc::ENOSYS)).to_string();
        assert!(absent.contains("CONFIG_IO_URING"), "{absent}");
        let short = explain(io::Error::from_raw_os_error(libc::ENOMEM)).to_string();
        assert!(short.contains("LimitMEMLOCK"), "{short}");
        let disabled = SetupError::Disabled {
            value: "2".to_owned(),
        };
        assert_eq!(
            disabled.to_string(),
            "io_uring is refused: kernel.io_uring_disabled = 2; larder uses epoll instead; to use io_uring: sysctl -w kernel.io_uring_disabled=0"
        );
    }
}
