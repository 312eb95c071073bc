//! How long the files of a run are looked at after its end.
//!
//! A run may leave files of any size, and reading them takes as long as it takes: a run that is over would not be
//! over for its caller. What can't be read until then is listed without its digest.

use crate::{
    cancel::{CancelReason, CancelToken},
    exhaustion,
    runner::{in_runtime, until},
};
use std::{
    io,
    time::{Duration, Instant},
};

/// Also given to a run that is late: enough for what most runs leave.
const AT_LEAST: Duration = Duration::from_millis(100);
/// How much longer a thread that looks at files is waited for: enough to notice that no more are to be read, and not for
/// a file system that has stopped answering.
const LAST_LOOK: Duration = Duration::from_secs(2);

/// Until when files are read.
#[derive(Clone, Debug)]
pub struct ReadDeadline {
    until: Option<Instant>,
    cancel: CancelToken,
    /// What ends it at once: whatever more is asked for than was when it began.
    ended_by: CancelReason,
}

impl ReadDeadline {
    /// Begins now: until the deadline of the run, or a little longer if that is past or the run was cancelled.
    pub fn new(deadline: Option<Instant>, cancel: &CancelToken) -> Self {
        let least = Instant::now() + AT_LEAST;
        let (until, ended_by) = match cancel.reason() {
            None => (
                deadline.map(|deadline| deadline.max(least)),
                CancelReason::Requested,
            ),
            Some(_) => (Some(least), CancelReason::Immediate),
        };
        Self {
            until,
            cancel: cancel.clone(),
            ended_by,
        }
    }

    /// For a run's own use of files, which it has while it is stopping, too: until it is ended by force.
    pub fn of_plugin(forced_end: Option<Instant>, cancel: &CancelToken) -> Self {
        Self {
            until: forced_end,
            cancel: cancel.clone(),
            ended_by: CancelReason::Immediate,
        }
    }

    /// Over from the beginning: no file is read.
    pub fn none() -> Self {
        Self {
            until: Some(Instant::now()),
            cancel: CancelToken::new(),
            ended_by: CancelReason::Immediate,
        }
    }

    /// What `work`, which looks at files until this is over, comes to; on a thread of its own. The wait for it is
    /// bounded as well: what takes no heed of this is left to itself.
    ///
    /// # Errors
    /// When it panics, or is not done in time.
    pub async fn look<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        in_runtime().await;
        tokio::select! {
            biased;
            done = exhaustion::run_blocking(work) => done,
            () = self.long_over() => {
                Err(io::Error::new(io::ErrorKind::TimedOut, "the file system did not answer in time"))
            }
        }
    }

    async fn long_over(&self) {
        tokio::select! {
            () = until(self.until) => {}
            () = self.cancel.raised(self.ended_by) => {}
        }
        tokio::time::sleep(LAST_LOOK).await;
    }

    /// Whether files are to be read no longer.
    pub fn is_over(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
            || self.cancel.reason().is_some_and(|reason| reason >= self.ended_by)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_with_the_deadline_or_what_is_asked_for_meanwhile() {
        let cancel = CancelToken::new();
        let endless = ReadDeadline::new(None, &cancel);
        let long = ReadDeadline::new(Some(Instant::now() + Duration::from_secs(3600)), &cancel);
        let late = ReadDeadline::new(Some(Instant::now()), &cancel);
        assert!(!endless.is_over() && !long.is_over() && !late.is_over());
        std::thread::sleep(AT_LEAST);
        assert!(late.is_over() && !endless.is_over() && !long.is_over());
        cancel.cancel();
        assert!(endless.is_over() && long.is_over());
        let cancelled = ReadDeadline::new(None, &cancel);
        assert!(!cancelled.is_over(), "that much is for every run");
        cancel.kill();
        assert!(cancelled.is_over());
    }
}
