//! Waiting for a job that a supervisor watches, without blocking.
//!
//! The supervisor crate knows the system only, and gives a descriptor to poll; this polls it in tokio, for every runner
//! that has processes.

use crate::{exhaustion, in_runtime};
use executor_runtime_supervisor::{Received, Report, Supervised};
use std::{future::Future, io, pin::pin, task::Poll};
use tokio::io::{Interest, unix::AsyncFd};

/// A supervisor ended without a report.
#[derive(Debug)]
pub struct Lost {
    /// Whether every process of the job is known to have ended.
    pub swept: bool,
    /// Whether the host itself gave it up because it did not answer in time.
    pub overdue: bool,
}

/// Waits until every process of the job has ended. When `terminate` completes, the job is asked to end and gets its grace
/// period; when `kill` completes, it is killed at once.
///
/// # Errors
/// When the supervisor is lost.
pub async fn finish(
    supervised: Supervised<'_>,
    terminate: impl Future<Output = ()>,
    kill: impl Future<Output = ()>,
) -> Result<Report, Lost> {
    in_runtime().await;
    let mut control = match register(supervised) {
        Ok(control) => control,
        Err(supervised) => return Err(lose(supervised, true).await),
    };
    let waited = report(&mut control, terminate, kill).await;
    // It has to leave the poller before it is another run's.
    let supervised = control.into_inner();
    match waited {
        Waited::Report(received) => Ok(supervised.finish(received)),
        Waited::Gone => Err(lose(supervised, false).await),
        Waited::Overdue => Err(lose(supervised, true).await),
    }
}

/// How waiting for a report ended.
enum Waited {
    Report(Received),
    /// The supervisor is gone.
    Gone,
    /// It may be there still, but says nothing.
    Overdue,
}

type Control<'a> = AsyncFd<Supervised<'a>>;

/// Gives the job back if it can't be polled.
fn register(supervised: Supervised<'_>) -> Result<Control<'_>, Supervised<'_>> {
    // SAFETY: a job keeps its descriptor, and the same one, for as long as it is there; the registration owns the job.
    let registered = unsafe { AsyncFd::register_with_interest(supervised, Interest::READABLE) };
    registered.map_err(|refused| refused.into_parts().0)
}

async fn report(
    control: &mut Control<'_>,
    terminate: impl Future<Output = ()>,
    kill: impl Future<Output = ()>,
) -> Waited {
    let (mut terminate, mut kill) = (pin!(terminate), pin!(kill));
    let (mut terminated, mut killed) = (false, false);
    loop {
        let overdue_at = control.get_ref().overdue_at();
        tokio::select! {
            biased;
            received = receive(control) => match received {
                Ok(Some(received)) => return Waited::Report(received),
                Ok(None) | Err(_) => return Waited::Gone,
            },
            () = &mut kill, if !killed => {
                (terminated, killed) = (true, true);
                control.get_mut().kill();
            }
            () = &mut terminate, if !terminated => {
                terminated = true;
                control.get_mut().terminate();
            }
            () = crate::until(overdue_at) => return Waited::Overdue,
        }
    }
}

async fn receive(control: &Control<'_>) -> io::Result<Option<Received>> {
    loop {
        let mut ready = control.readable().await?;
        match ready.get_inner().poll_report() {
            Poll::Ready(received) => return Ok(received),
            Poll::Pending => ready.clear_ready(),
        }
    }
}

async fn lose(supervised: Supervised<'_>, overdue: bool) -> Lost {
    let job = supervised.detach();
    // It blocks for as long as the spawner takes to end the job.
    let swept = exhaustion::run_blocking(move || job.abandon()).await;
    Lost {
        swept: swept.unwrap_or(false),
        overdue,
    }
}
