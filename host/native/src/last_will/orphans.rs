//! Reaps executors that outlive their run.
//!
//! An executor is normally not a child of the host. It becomes one where the host inherits orphans, for example as the first
//! process of a container, and would then stay a zombie for as long as the host lives. So the host checks now and then
//! whether it has ended.

use executor_runtime_supervisor::idle::{self, Idle};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use std::{
    os::fd::{AsFd, OwnedFd},
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

/// How often they are checked.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Executors that are children of this process.
#[derive(Default)]
struct Orphans(Mutex<Vec<Arc<OwnedFd>>>);

static ORPHANS: LazyLock<Arc<Orphans>> = LazyLock::new(Arc::default);

/// Collects a process now if it has ended, and later if not. Nothing is done about one that another process has to collect.
/// Never blocks.
pub(super) fn collect(process: Arc<OwnedFd>) {
    if is_settled(&process) {
        return;
    }
    ORPHANS.left().push(process);
    let orphans: Weak<Orphans> = Arc::downgrade(&ORPHANS);
    idle::ask_at(Instant::now() + LOOK_AGAIN, orphans);
}

/// Whether there is nothing to collect any more, or nothing for this process.
fn is_settled(process: &OwnedFd) -> bool {
    let ended = waitid(
        Id::PIDFd(process.as_fd()),
        WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG,
    );
    ended != Ok(WaitStatus::StillAlive)
}

impl Orphans {
    fn left(&self) -> MutexGuard<'_, Vec<Arc<OwnedFd>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Idle for Orphans {
    fn end_idle(&self, now: Instant) -> Option<Instant> {
        let mut left = self.left();
        left.retain(|process| !is_settled(process));
        (!left.is_empty()).then(|| now + LOOK_AGAIN)
    }
}
