//! Ends a host that takes so long that its test would never end.

use crate::amount;
use std::{
    process::Child,
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
    time::Duration,
};

/// Longer than any run of a test takes, also on a busy machine.
const LIMIT: Duration = Duration::from_secs(240);
/// The same where tests do all that is promised, in seconds.
const FULL_LIMIT: usize = 4 * 60 * 60;

/// Watches one child process, and kills it if it lives past the limit.
#[derive(Debug)]
#[must_use = "the child is watched until `assert_in_time`"]
pub struct Watchdog {
    ended: Sender<()>,
    watching: JoinHandle<bool>,
}

impl Watchdog {
    /// Watches `child` from now on.
    pub fn over(child: &Child) -> Self {
        let limit = amount(LIMIT.as_secs() as usize, FULL_LIMIT);
        Self::within(child, Duration::from_secs(limit as u64))
    }

    fn within(child: &Child, limit: Duration) -> Self {
        let pid = child.id() as libc::pid_t;
        let (ended, wait) = mpsc::channel();
        let watching = thread::spawn(move || {
            let overdue = wait.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
            if overdue {
                // SAFETY: no memory is involved.
                unsafe { libc::kill(pid, libc::SIGKILL) };
            }
            overdue
        });
        Self { ended, watching }
    }

    /// The child has ended by itself.
    ///
    /// # Panics
    /// When it had to be killed.
    #[track_caller]
    pub fn assert_in_time(self) {
        // The receiver is gone if it has killed the child.
        let _ = self.ended.send(());
        let killed = self.watching.join().expect("watching can't panic");
        assert!(
            !killed,
            "the host was still running after its time and was killed"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    #[should_panic(expected = "was killed")]
    fn a_child_that_never_ends_is_killed() {
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        let watchdog = Watchdog::within(&child, Duration::from_millis(10));
        child.wait().unwrap();
        watchdog.assert_in_time();
    }

    #[test]
    fn one_that_ends_is_left_alone() {
        let mut child = Command::new("true").spawn().unwrap();
        let watchdog = Watchdog::over(&child);
        assert!(child.wait().unwrap().success());
        watchdog.assert_in_time();
    }
}
