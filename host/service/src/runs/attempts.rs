//! Trying a run again before it counts as ended.

use executor_runtime::{ErrorKind, protocol::RuntimeResult, receipt};
use std::time::Duration;

/// Which attempt at a run a result is of, if it is not the first.
const ATTEMPTS: &str = "batch.attempts";
/// The pause before a second attempt. It doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How often a run is tried again. An attempt that is followed by another is not the end of the run: only how the last one
/// ended is recorded and told. A host that dies between two attempts has died while the run was under way.
#[derive(Clone, Copy, Debug, Default)]
pub struct Attempts {
    /// How often where that may help: after an end that is `error.transient`.
    pub retries: u32,
    /// How often where the run did not begin, because the host lacked something that other runs give back as they end.
    pub waits: u32,
}

/// The attempts at one run.
pub(super) struct Attempting {
    left: Attempts,
    attempt: u32,
    pause: Duration,
}

impl Attempting {
    pub(super) fn new(attempts: Attempts) -> Self {
        Self {
            left: attempts,
            attempt: 1,
            pause: FIRST_PAUSE,
        }
    }

    /// How long to wait before the run is tried again after this result; none if that was the last attempt.
    pub(super) fn pause_after(&mut self, result: &RuntimeResult) -> Option<Duration> {
        let says = |key: &str, value: &str| result.metadata.get(key).is_some_and(|told| told == value);
        if says(receipt::ERROR_KIND, &ErrorKind::HostExhausted.code()) && self.left.waits > 0 {
            self.left.waits -= 1;
        } else if says(receipt::ERROR_TRANSIENT, "true") && self.left.retries > 0 {
            self.left.retries -= 1;
            self.attempt += 1;
        } else {
            return None;
        }
        let pause = self.pause;
        self.pause = (pause * 2).min(LONGEST_PAUSE);
        Some(pause)
    }

    /// Has a result tell which attempt it is of.
    pub(super) fn mark(&self, result: &mut RuntimeResult) {
        if self.attempt > 1 {
            result
                .metadata
                .insert(ATTEMPTS.to_owned(), self.attempt.to_string());
        }
    }
}
