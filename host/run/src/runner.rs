//! The seam between the runtime and whatever executes a kind.

use crate::{CancelToken, Outcome};
use executor_runtime_protocol::RuntimeInvocation;
use std::{future::Future, pin::Pin, time::Instant};

/// One invocation on its way through a runner.
#[derive(Debug)]
pub struct Run {
    /// What to execute.
    pub invocation: RuntimeInvocation,
    /// When the run has to be over; the runner keeps it. None: never.
    pub deadline: Option<Instant>,
    /// Raised when the run is to stop; the runner obeys it.
    pub cancel: CancelToken,
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
}
