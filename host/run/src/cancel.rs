//! How a run is told to stop.
//!
//! A [`CancelToken`] is shared by the code that may stop a run and the code that runs it. It is raised in two steps,
//! because a person who presses Ctrl-C twice means it: `cancel` asks for an orderly end (TERM, grace,
//! KILL), `kill` ends at once. A step is never taken back.

use std::sync::Arc;
use tokio::sync::watch;

/// How urgently a run has been told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CancelReason {
    /// Stop gracefully: the run gets its grace period.
    Requested,
    /// Stop now: nothing gets a grace period.
    Immediate,
}

/// A shared request to stop. Clones are the same token.
#[derive(Clone, Debug)]
pub struct CancelToken {
    state: Arc<watch::Sender<Option<CancelReason>>>,
}

impl Default for CancelToken {
    fn default() -> Self {
        Self::new()
    }
}

impl CancelToken {
    /// A token that has not been raised yet.
    pub fn new() -> Self {
        Self {
            state: Arc::new(watch::Sender::new(None)),
        }
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
        *self.state.borrow()
    }

    /// Completes as soon as `at_least` (or more) has been asked for; never, if that does not happen.
    pub async fn raised(&self, at_least: CancelReason) {
        let mut changes = self.state.subscribe();
        // The sender lives in `self`, so waiting can't fail.
        let _ = changes.wait_for(|reason| *reason >= Some(at_least)).await;
    }

    /// Asks for an end as urgent as `to`; what was asked for before is not taken back.
    pub fn raise(&self, to: CancelReason) {
        self.state.send_if_modified(|reason| {
            let raised = *reason < Some(to);
            if raised {
                *reason = Some(to);
            }
            raised
        });
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
