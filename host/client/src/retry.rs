//! Trying again after a connection has broken.

use crate::ClientError;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// A host that is restarted is back within this time.
const GIVE_UP_AFTER: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How long it has not worked, if it has worked before.
#[derive(Clone, Debug)]
pub(crate) struct Retries {
    has_worked: bool,
    failing_since: Option<Instant>,
    pause: Duration,
    give_up_after: Duration,
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            has_worked: false,
            failing_since: None,
            pause: FIRST_PAUSE,
            give_up_after: GIVE_UP_AFTER,
        }
    }
}

impl Retries {
    /// The host was there.
    pub(crate) fn reached(&mut self) {
        self.has_worked = true;
    }

    /// The host has answered as it should.
    pub(crate) fn worked(&mut self) {
        self.reached();
        self.failing_since = None;
        self.pause = FIRST_PAUSE;
    }

    /// Waits until it is time to try again.
    ///
    /// # Errors
    /// The same error, if there is no sense in that: it has never worked, not for too long, or will not.
    pub(crate) async fn after(&mut self, error: ClientError) -> Result<(), ClientError> {
        let since = *self.failing_since.get_or_insert_with(Instant::now);
        if !self.has_worked || !error.is_transient() || since.elapsed() >= self.give_up_after {
            return Err(error);
        }
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken() -> ClientError {
        ClientError::Broken {
            socket: "/s".into(),
            reason: "it was cut".to_owned(),
        }
    }

    #[tokio::test]
    async fn what_has_worked_is_tried_again_for_a_while() {
        let mut retries = Retries {
            give_up_after: Duration::from_millis(120),
            ..Retries::default()
        };
        assert!(retries.after(broken()).await.is_err(), "it has never worked");
        retries.worked();
        let mut tries = 0;
        while retries.after(broken()).await.is_ok() {
            tries += 1;
        }
        assert!((1..=3).contains(&tries), "{tries}");
        retries.worked();
        assert!(retries.after(broken()).await.is_ok());
        let lost = ClientError::NoRun {
            socket: "/s".into(),
            id: "x".to_owned(),
        };
        assert!(retries.after(lost).await.is_err(), "trying again does not help");
    }
}
