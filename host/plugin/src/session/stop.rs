//! When a run is asked to stop, and when it is ended.
//!
//! A run is asked once: its deadline passed, or it was cancelled. From then on it has its grace to tell its
//! backend and return; then it is ended. [`Stop`] is the one place that knows these times: the supervising
//! future, the guest's host functions and the engine's interrupt all read it.

use executor_runtime_protocol::Status;
use executor_runtime_run::{CancelReason, CancelToken, ErrorKind, Outcome, until};
use std::{
    num::NonZeroU64,
    pin::pin,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};
use tokio::sync::Notify;

/// Why a run was asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopCause {
    /// Its deadline passed.
    Deadline,
    /// Its cancel token was raised.
    Cancelled,
}

impl StopCause {
    /// The status of a run that ends for this reason.
    pub fn status(self) -> Status {
        match self {
            Self::Deadline => Status::TimedOut,
            Self::Cancelled => Status::Cancelled,
        }
    }

    /// How a run of `plugin` ends that had been asked to stop, with what the plugin said to that; none if it
    /// did not return.
    pub fn outcome(self, plugin: &str, timeout_seconds: Option<NonZeroU64>, said: Option<&str>) -> Outcome {
        let (kind, mut summary) = match self {
            Self::Deadline => {
                let limit = timeout_seconds.map_or_else(String::new, |seconds| format!(" after {seconds} s"));
                (ErrorKind::Timeout, format!("plugin '{plugin}' timed out{limit}"))
            }
            Self::Cancelled => (
                ErrorKind::Cancelled,
                format!("plugin '{plugin}' was told to stop"),
            ),
        };
        match said {
            Some(said) => {
                summary.push_str(": ");
                summary.push_str(said);
            }
            None => summary.push_str(" and was killed: it did not return within its grace period"),
        }
        Outcome::failure(kind, summary)
    }
}

/// The request to stop, once it has been made.
#[derive(Clone, Copy, Debug)]
struct StopRequest {
    cause: StopCause,
    at: Instant,
}

/// The stopping of one run. Clones are the same.
#[derive(Clone, Debug)]
pub struct Stop {
    request: Arc<(OnceLock<StopRequest>, Notify)>,
    deadline: Option<Instant>,
    grace: Duration,
    cancel: CancelToken,
}

impl Stop {
    /// The stopping of a run that has to be over at `deadline`, or is told to stop by `cancel`.
    pub fn new(deadline: Option<Instant>, grace: Duration, cancel: CancelToken) -> Self {
        Self {
            request: Arc::default(),
            deadline,
            grace,
            cancel,
        }
    }

    /// Why the run was asked to stop, if it was.
    pub fn requested(&self) -> Option<StopCause> {
        self.request.0.get().map(|request| request.cause)
    }

    /// Completes when the run is asked to stop.
    pub async fn asked(&self) {
        let (request, asked) = &*self.request;
        let mut asked = pin!(asked.notified());
        // Before it is looked: a request from then on wakes this.
        asked.as_mut().enable();
        if request.get().is_none() {
            asked.await;
        }
    }

    /// Time between the request to stop and the forced end.
    pub fn grace(&self) -> Duration {
        self.grace
    }

    /// Time to the deadline; zero once it has passed, None without one.
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline
            .map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Completes when the run has to be ended; asks it to stop when the time for that comes.
    pub async fn supervise(&self) {
        let request = tokio::select! {
            () = until(self.deadline) => self.request(StopCause::Deadline),
            () = self.cancel.raised(CancelReason::Requested) => self.request(StopCause::Cancelled),
        };
        tokio::select! {
            () = tokio::time::sleep_until((request.at + self.grace).into()) => {}
            () = self.cancel.raised(CancelReason::Immediate) => {}
        }
    }

    /// Whether the run has to be ended now. For the engine's interrupt, which must not depend on timers that
    /// the executor may serve late while guests spin.
    pub fn is_over(&self) -> bool {
        let cancelled = self.cancel.reason();
        if self.remaining().is_some_and(|left| left.is_zero()) {
            self.request(StopCause::Deadline);
        } else if cancelled.is_some() {
            self.request(StopCause::Cancelled);
        }
        cancelled == Some(CancelReason::Immediate)
            || (self.request.0.get()).is_some_and(|request| request.at + self.grace <= Instant::now())
    }

    /// Asks the run to stop, unless it was asked before. The grace counts from the deadline itself, however
    /// late it was noticed.
    fn request(&self, cause: StopCause) -> StopRequest {
        let now = Instant::now();
        let at = match (cause, self.deadline) {
            (StopCause::Deadline, Some(deadline)) => deadline,
            _ => now,
        };
        let (request, asked) = &*self.request;
        let mut is_first = false;
        let request = request.get_or_init(|| {
            is_first = true;
            StopRequest { cause, at }
        });
        if is_first {
            asked.notify_waiters();
        }
        *request
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_cause_stays() {
        let cancel = CancelToken::new();
        let stop = Stop::new(Some(Instant::now()), Duration::ZERO, cancel.clone());
        assert_eq!(stop.requested(), None);
        assert!(stop.is_over());
        cancel.kill();
        assert!(stop.is_over());
        assert_eq!(stop.requested(), Some(StopCause::Deadline));
    }

    #[tokio::test]
    async fn a_kill_ends_the_grace() {
        let cancel = CancelToken::new();
        let stop = Stop::new(None, Duration::from_secs(3600), cancel.clone());
        assert!(!stop.is_over());
        cancel.cancel();
        assert!(!stop.is_over());
        assert_eq!(stop.requested(), Some(StopCause::Cancelled));
        cancel.kill();
        assert!(stop.is_over());
        stop.supervise().await;
    }
}
