//! How a run is told to stop.
//!
//! A [`CancelToken`] is shared by the code that may stop a run and the code that runs it. It is raised in two steps,
//! because a person who presses Ctrl-C twice means it: `cancel` asks for an orderly end (TERM, grace,
//! KILL), `kill` ends at once. A step is never taken back.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};
use tokio::sync::Notify;

/// How urgently a run has been told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CancelReason {
    /// Stop gracefully: the run gets its grace period.
    Requested = 1,
    /// Stop now: nothing gets a grace period.
    Immediate,
}

/// A shared request to stop. Clones are the same token.
#[derive(Clone, Debug, Default)]
pub struct CancelToken(Arc<State>);

#[derive(Debug, Default)]
struct State {
    /// A [`CancelReason`], or 0. It only grows.
    reason: AtomicU8,
    /// Wakes those who wait for more.
    raised: Notify,
}

impl CancelToken {
    /// A token that has not been raised yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks for an orderly end.
    pub fn cancel(&self) {
        self.raise(CancelReason::Requested);
    }

    /// Asks for an end without grace.
    pub fn kill(&self) {
        self.raise(CancelReason::Immediate);
    }

    /// What has been asked for so far.
    pub fn reason(&self) -> Option<CancelReason> {
        match self.0.reason.load(Ordering::SeqCst) {
            0 => None,
            1 => Some(CancelReason::Requested),
            _ => Some(CancelReason::Immediate),
        }
    }

    /// Completes as soon as `at_least` (or more) has been asked for; never, if that does not happen.
    pub async fn raised(&self, at_least: CancelReason) {
        let mut raised = pin!(self.0.raised.notified());
        loop {
            // Before it is looked: what is raised from then on wakes this.
            raised.as_mut().enable();
            if self.reason() >= Some(at_least) {
                return;
            }
            raised.as_mut().await;
            raised.set(self.0.raised.notified());
        }
    }

    /// Asks for an end as urgent as `to`; what was asked for before is not taken back.
    pub fn raise(&self, to: CancelReason) {
        if self.0.reason.fetch_max(to as u8, Ordering::SeqCst) < to as u8 {
            self.0.raised.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_token_only_becomes_more_urgent() {
        let token = CancelToken::new();
        assert_eq!(token.reason(), None);
        token.kill();
        token.cancel();
        assert_eq!(token.reason(), Some(CancelReason::Immediate));
        token.raised(CancelReason::Requested).await;
        token.raised(CancelReason::Immediate).await;
    }

    #[tokio::test]
    async fn a_waiter_is_woken_from_another_thread() {
        let token = CancelToken::new();
        let raiser = token.clone();
        let thread = std::thread::spawn(move || raiser.cancel());
        token.raised(CancelReason::Requested).await;
        thread.join().unwrap();
        assert_eq!(token.reason(), Some(CancelReason::Requested));
    }
}
