//! The seam between the runtime and whatever executes a kind.

use crate::{
    CancelReason, CancelToken, ErrorKind, Event, Events, Failure, Outcome,
    capture::{Fingerprint, Unrecorded},
    exhaustion, panic_message,
    trace::Span,
};
use executor_runtime_protocol::RuntimeInvocation;
use std::{
    collections::BTreeMap,
    convert::Infallible,
    future::Future,
    os::fd::OwnedFd,
    pin::Pin,
    sync::OnceLock,
    task::Poll,
    time::{Duration, Instant},
};
use tokio::runtime::Handle;

/// One invocation on its way through a runner.
#[derive(Debug)]
pub struct Run {
    /// What to execute.
    pub invocation: RuntimeInvocation,
    /// When its time began to run.
    pub begun: Instant,
    /// When the run has to be over; the runner keeps it. None: never.
    pub deadline: Option<Instant>,
    /// Raised when the run is to stop; the runner obeys it.
    pub cancel: CancelToken,
    /// Where the runner reports what happens meanwhile.
    pub events: Events,
    /// What a subprocess reads as its stdin, if the caller gives it open instead of naming a payload.
    pub stdin: Option<OwnedFd>,
    /// How long it has waited for its turn, if it had to.
    pub queued: Option<Duration>,
    /// What the caller asked for, where `invocation` was made of that.
    pub asked: Option<Fingerprint>,
    /// It goes on from a checkpoint, and must not begin without: an earlier host has begun it.
    pub must_resume: bool,
    /// What there is to go on from when it has ended, until that is recorded.
    pub unrecorded: Unrecorded,
    span: OnceLock<Span>,
}

impl Run {
    /// A run of `invocation`, whose time runs from now.
    pub fn new(invocation: RuntimeInvocation) -> Self {
        let limit = invocation.timeout_seconds;
        let begun = Instant::now();
        Self {
            invocation,
            begun,
            deadline: limit.and_then(|limit| begun.checked_add(Duration::from_secs(limit.get()))),
            cancel: CancelToken::new(),
            events: Events::default(),
            stdin: None,
            queued: None,
            asked: None,
            must_resume: false,
            unrecorded: Unrecorded::default(),
            span: OnceLock::new(),
        }
    }

    /// This run as one of another invocation: with its deadline, its token, its listener and its span.
    #[must_use]
    pub fn as_another(&self, invocation: RuntimeInvocation) -> Self {
        Self {
            invocation,
            begun: self.begun,
            deadline: self.deadline,
            cancel: self.cancel.clone(),
            events: self.events.clone(),
            stdin: None,
            queued: self.queued,
            asked: Some(self.fingerprint()),
            must_resume: self.must_resume,
            unrecorded: self.unrecorded.clone(),
            span: self.span.clone(),
        }
    }

    /// What the caller asked for, by which a checkpoint is found again: also where another invocation was made of it, which may
    /// be made differently the next time.
    pub fn fingerprint(&self) -> Fingerprint {
        self.asked.unwrap_or_else(|| Fingerprint::of(&self.invocation))
    }

    /// Its span, below which its parts are; one that is not recorded before the run is executed.
    pub fn span(&self) -> &Span {
        static NONE: Span = Span::none();
        self.span.get().unwrap_or(&NONE)
    }

    /// Gives it its span. It keeps the first one.
    pub fn set_span(&self, span: Span) {
        let _ = self.span.set(span);
    }

    /// What `work`, which blocks, comes to; on a thread of its own, and waited for no longer than the run may take. What
    /// comes of it later is dropped there. `what` says in a few words when that was, as in "while ... were read".
    ///
    /// # Errors
    /// `timeout` or `cancelled`, if that comes first; `runner_panicked` if it panics; `host_exhausted` without a thread.
    pub async fn blocking<T: Send + 'static>(
        &self,
        what: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Failure> {
        in_runtime().await;
        let working = exhaustion::try_spawn_blocking(work).map_err(|error| Failure::exhausted(&error))?;
        tokio::select! {
            // The work itself may take heed of both.
            biased;
            () = self.cancel.raised(CancelReason::Requested) => {
                Err(Failure::new(ErrorKind::Cancelled, format!("told to stop {what}")))
            }
            () = until(self.deadline) => Err(Failure::new(ErrorKind::Timeout, format!("timed out {what}"))),
            done = working.join() => {
                done.map_err(|panic| Failure::new(ErrorKind::RunnerPanicked, panic_message(&*panic)))
            }
        }
    }

    /// Reports that the run is stopping, with this grace, once it is cancelled in good order. To be polled beside the
    /// run; it never completes.
    pub async fn report_stopping(&self, grace: Duration) -> Infallible {
        self.cancel.raised(CancelReason::Requested).await;
        if self.cancel.reason() == Some(CancelReason::Requested) {
            self.events.report(Event::Stopping { grace });
        }
        std::future::pending().await
    }
}

/// Completes at a deadline; never without one.
pub async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => {
            in_runtime().await;
            tokio::time::sleep_until(at.into()).await;
        }
        None => std::future::pending().await,
    }
}

/// Completes at once in a tokio runtime, else once it is polled in one. A run begins without, if its caller makes the
/// runtime only when the run has something to wait for; so this comes before whatever needs one.
pub async fn in_runtime() {
    std::future::poll_fn(|_| match Handle::try_current() {
        Ok(_) => Poll::Ready(()),
        Err(_) => Poll::Pending,
    })
    .await;
}

/// What a run may use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunPermissions {
    /// Limits and settings, by the names of their metadata keys.
    pub limits: BTreeMap<String, String>,
    /// Hosts that it may reach; `*` where nothing confines it.
    pub grants: Vec<String>,
}

/// The future of one run.
pub type RunFuture<'a> = Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

/// Executes invocations of one kind.
///
/// A runner is shared by all invocations of its kind, on any thread, many at a time. It turns everything
/// that can happen into an [`Outcome`], keeps the deadline and obeys the cancel token by itself: what it
/// started has ended when its future is done.
pub trait Runner: Send + Sync + 'static {
    /// Executes one invocation to its end.
    fn run<'a>(&'a self, run: &'a Run) -> RunFuture<'a>;

    /// What would count for an invocation, without running it.
    ///
    /// # Errors
    /// Why it would be rejected, as far as the invocation alone decides that.
    fn terms(&self, invocation: &RuntimeInvocation) -> Result<RunPermissions, Failure> {
        let _ = invocation;
        Ok(RunPermissions::default())
    }
}
