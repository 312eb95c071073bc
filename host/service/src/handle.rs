//! A run that was started.

use crate::document::outline;
use executor_runtime::{
    CancelReason, CancelToken, ErrorKind, Failure, Host, Run, protocol::RuntimeResult, reject,
};
use std::sync::Arc;
use tokio::task::JoinHandle;

/// A run that was started.
pub struct RunHandle {
    /// Makes a result where there is none.
    lost: Box<dyn FnOnce(Failure) -> RuntimeResult + Send>,
    cancel: CancelToken,
    task: JoinHandle<RuntimeResult>,
}

impl RunHandle {
    /// Starts `run`, and keeps `held` until it has ended.
    pub(crate) fn start(host: Arc<Host>, run: Run, held: impl Send + 'static) -> Self {
        let cancel = run.cancel.clone();
        let invocation = outline(&run.invocation);
        let task = tokio::spawn(async move {
            let result = host.execute(&run).await;
            drop(held);
            result
        });
        Self {
            lost: Box::new(move |failure| reject(&invocation, failure)),
            cancel,
            task,
        }
    }

    /// Asks the run to stop: in good order, or at once.
    pub fn cancel(&self, reason: CancelReason) {
        self.cancel.raise(reason);
    }

    /// Whether it has ended.
    pub fn is_over(&self) -> bool {
        self.task.is_finished()
    }

    /// The result, once the run has ended.
    pub async fn wait(self) -> RuntimeResult {
        match self.task.await {
            Ok(result) => result,
            // Panics of runners are results; what is left is a runtime that is being shut down.
            Err(error) => (self.lost)(Failure::new(
                ErrorKind::RunnerPanicked,
                format!("the run was lost: {error}"),
            )),
        }
    }
}

impl std::fmt::Debug for RunHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunHandle")
            .field("is_over", &self.is_over())
            .finish_non_exhaustive()
    }
}
