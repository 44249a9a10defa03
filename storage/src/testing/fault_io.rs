//! A directory whose n-th operation fails. The rule: every operation is counted by its kind, so that a run without a
//! fault says which faults there are to try.

use crate::block_io::{BlockDir, BlockIo};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Kinds of operation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Op {
    Open,
    Read,
    Write,
    Sync,
    Preallocate,
    Remove,
    List,
    Free,
}

/// What fails, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    /// Which kind.
    pub(crate) op: Op,
    /// The first that fails, from 1.
    pub(crate) first: u64,
    /// All later ones fail, too.
    pub(crate) for_ever: bool,
    /// `errno`.
    pub(crate) errno: i32,
}

/// Counts, and the fault that is in force.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    counts: BTreeMap<Op, u64>,
    fault: Option<Fault>,
}

impl Faults {
    pub(crate) fn set(&self, fault: Option<Fault>) {
        *self.0.lock() = State {
            fault,
            ..State::default()
        };
    }

    pub(crate) fn counts(&self) -> BTreeMap<Op, u64> {
        self.0.lock().counts.clone()
    }

    fn count(&self, op: Op) -> io::Result<()> {
        let mut state = self.0.lock();
        let of_kind = state.counts.entry(op).or_default();
        *of_kind += 1;
        let of_kind = *of_kind;
        let Some(fault) = state.fault.filter(|fault| fault.op == op) else {
            return Ok(());
        };
        if of_kind == fault.first || (fault.for_ever && of_kind > fault.first) {
            return Err(io::Error::from_raw_os_error(fault.errno));
        }
        Ok(())
    }
}

/// The directory.
#[derive(Debug)]
pub(crate) struct FaultDir<D> {
    pub(crate) inner: D,
    pub(crate) faults: Faults,
}

impl<D: BlockDir> BlockDir for FaultDir<D> {
    fn list(&self) -> io::Result<Vec<String>> {
        self.faults.count(Op::List)?;
        self.inner.list()
    }

    fn open(&self, name: &str, make: bool) -> io::Result<Box<dyn BlockIo>> {
        self.faults.count(Op::Open)?;
        Ok(Box::new(FaultFile {
            inner: self.inner.open(name, make)?,
            faults: self.faults.clone(),
        }))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.faults.count(Op::Remove)?;
        self.inner.remove(name)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.faults.count(Op::Free)?;
        self.inner.free_bytes()
    }
}

#[derive(Debug)]
struct FaultFile {
    inner: Box<dyn BlockIo>,
    faults: Faults,
}

impl BlockIo for FaultFile {
    fn size(&self) -> io::Result<u64> {
        self.inner.size()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.faults.count(Op::Read)?;
        self.inner.read_at(buf, offset)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.faults.count(Op::Write)?;
        self.inner.write_at(data, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.faults.count(Op::Sync)?;
        self.inner.sync()
    }

    fn preallocate(&self, bytes: u64) -> io::Result<()> {
        self.faults.count(Op::Preallocate)?;
        self.inner.preallocate(bytes)
    }

    fn fd(&self) -> Option<Arc<OwnedFd>> {
        self.inner.fd()
    }
}
