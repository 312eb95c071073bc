//! Supervisors that have nothing to do, kept for later jobs.
//!
//! The one that came last is the first to get a job. So those that are not needed at the present pace are idle all the time,
//! and end when they have been for long.

use crate::{
    helper::Supervisor,
    idle::{self, Idle},
};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

/// How many are kept at most.
const MOST: usize = 32;
/// How many are kept however long they are idle.
const LEAST: usize = 2;

#[derive(Debug)]
pub(super) struct Pool {
    /// Since when each is idle, the longest first.
    idle: Mutex<Vec<(Instant, Supervisor)>>,
    /// How long each is kept.
    time: Duration,
}

impl Pool {
    pub(super) fn new(time: Duration) -> Self {
        Self {
            idle: Mutex::default(),
            time,
        }
    }

    /// One that was kept.
    pub(super) fn take(&self) -> Option<Supervisor> {
        self.idle().pop().map(|(_, supervisor)| supervisor)
    }

    /// Keeps one for later, or lets it end.
    pub(super) fn keep(self: &Arc<Self>, supervisor: Supervisor) {
        let mut idle = self.idle();
        if idle.len() == MOST {
            return;
        }
        let now = Instant::now();
        idle.push((now, supervisor));
        let ends_at = now.checked_add(self.time).filter(|_| idle.len() == LEAST + 1);
        drop(idle);
        if let Some(at) = ends_at {
            let this: Weak<Self> = Arc::downgrade(self);
            idle::ask_at(at, this);
        }
    }

    /// Lets all of them end.
    pub(super) fn clear(&self) {
        self.idle().clear();
    }

    fn idle(&self) -> MutexGuard<'_, Vec<(Instant, Supervisor)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Idle for Pool {
    fn end_idle(&self, now: Instant) -> Option<Instant> {
        let mut idle = self.idle();
        let extra = idle.len().saturating_sub(LEAST);
        let too_long = |since: Instant| now.saturating_duration_since(since) >= self.time;
        let ended = idle[..extra]
            .iter()
            .take_while(|(since, _)| too_long(*since))
            .count();
        // While it is locked, so that a host that is dropped meanwhile waits for it.
        idle.drain(..ended);
        let (since, _) = idle[..extra - ended].first()?;
        since.checked_add(self.time)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        idle::forget_dropped();
    }
}
