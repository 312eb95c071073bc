//! Waiting for several things at once, the request to stop among them.

use super::bindings::{
    executor_runtime::plugin::host,
    wasi::{
        clocks::monotonic_clock,
        io::poll::{self, Pollable},
    },
};
use crate::{Instant, http::WaitLimits};
use std::{cell::OnceCell, rc::Rc, time::Duration};

/// The request to stop, subscribed to once in a run.
#[derive(Clone, Debug, Default)]
pub(super) struct Stop(Rc<OnceCell<Pollable>>);

impl Stop {
    pub(super) fn pollable(&self) -> &Pollable {
        self.0.get_or_init(host::subscribe_stop)
    }
}

/// What ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Woken {
    Ready,
    Stopped,
    TimedOut,
}

/// What an exchange heeds while it waits.
#[derive(Debug)]
pub(super) struct Waiter {
    stop: Option<Stop>,
    timer: Option<Pollable>,
}

impl Waiter {
    pub(super) fn new(stop: &Stop, wait_limits: WaitLimits) -> Self {
        let timer = |until: Instant| {
            let left = until.duration_since(Instant::now());
            monotonic_clock::subscribe_duration(nanoseconds(left))
        };
        Self {
            stop: wait_limits.end_on_stop.then(|| stop.clone()),
            timer: wait_limits.until.map(timer),
        }
    }

    /// Waits for any of `events`.
    pub(super) fn wait(&self, events: &[&Pollable]) -> Woken {
        let mut all = events.to_vec();
        all.extend(self.stop.iter().map(Stop::pollable));
        all.extend(&self.timer);
        let ready = poll::poll(&all);
        if ready.iter().any(|index| (*index as usize) < events.len()) {
            Woken::Ready
        } else if self.stop.is_some() && ready.contains(&(events.len() as u32)) {
            Woken::Stopped
        } else {
            Woken::TimedOut
        }
    }
}

pub(super) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
