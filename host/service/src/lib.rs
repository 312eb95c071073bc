//! Many runs in one host: how many at a time, and a handle on each.
//!
//! Whatever serves many runs is a thin layer over [`Service`]: it waits for a [`Slot`], starts a run in it, and keeps the
//! [`RunHandle`]. A slot belongs to what runs in it, so that it is free again however that ends.

use executor_runtime::{
    CancelReason, CancelToken, ErrorKind, Failure, Host, Run, protocol::RuntimeResult, reject,
};
use std::{num::NonZeroUsize, sync::Arc};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinHandle,
};

/// A host, and how many runs it has at a time.
#[derive(Clone, Debug)]
pub struct Service {
    host: Arc<Host>,
    slots: Arc<Semaphore>,
}

/// The right to have one run under way. Clones are the same right, which ends with the last of them.
#[derive(Clone, Debug)]
pub struct Slot {
    _permit: Arc<OwnedSemaphorePermit>,
}

impl Service {
    /// A service of `host` with this many runs at a time.
    pub fn new(host: Host, max_runs: NonZeroUsize) -> Self {
        Self {
            host: Arc::new(host),
            slots: Arc::new(Semaphore::new(max_runs.get().min(Semaphore::MAX_PERMITS))),
        }
    }

    /// The host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Waits until a run may be started. Those who wait get their turn in the order in which they came.
    ///
    /// # Panics
    /// Never: the semaphore is not closed.
    pub async fn slot(&self) -> Slot {
        let permit = Arc::clone(&self.slots).acquire_owned().await;
        Slot {
            _permit: Arc::new(permit.expect("the semaphore is never closed")),
        }
    }

    /// Starts a run, on the tokio runtime that this is called in. It goes on if the handle is dropped.
    pub fn start(&self, slot: Slot, run: Run) -> RunHandle {
        let host = Arc::clone(&self.host);
        let cancel = run.cancel.clone();
        let invocation = run.invocation.clone();
        let task = tokio::spawn(async move {
            let result = host.execute(&run).await;
            drop(slot);
            result
        });
        RunHandle {
            lost: Box::new(move |failure| reject(&invocation, failure)),
            cancel,
            task,
        }
    }
}

/// A run that was started.
pub struct RunHandle {
    /// Makes a result where there is none.
    lost: Box<dyn FnOnce(Failure) -> RuntimeResult + Send>,
    cancel: CancelToken,
    task: JoinHandle<RuntimeResult>,
}

impl RunHandle {
    /// Asks the run to stop: in good order, or at once.
    pub fn cancel(&self, reason: CancelReason) {
        match reason {
            CancelReason::Requested => self.cancel.cancel(),
            CancelReason::Immediate => self.cancel.kill(),
        }
    }

    /// Whether it has ended.
    pub fn is_over(&self) -> bool {
        self.task.is_finished()
    }

    /// The result, once the run has ended.
    pub async fn wait(self) -> RuntimeResult {
        match self.task.await {
            Ok(result) => result,
            // Panics of runners are caught below; what is left is a runtime that is being shut down.
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

#[cfg(test)]
mod tests {
    use super::*;
    use executor_runtime::{
        Outcome, RunFuture, Runner,
        protocol::{RuntimeInvocation, RuntimeKind, Status},
    };
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Counts the runs that are under way, waits a little, and panics every third time.
    #[derive(Default)]
    struct Counting {
        runs: AtomicUsize,
        under_way: AtomicUsize,
        most: AtomicUsize,
    }

    impl Runner for Counting {
        fn run<'a>(&'a self, run: &'a Run) -> RunFuture<'a> {
            Box::pin(async move {
                let now = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
                self.most.fetch_max(now, Ordering::SeqCst);
                tokio::select! {
                    () = tokio::time::sleep(std::time::Duration::from_millis(2)) => {}
                    () = run.cancel.raised(CancelReason::Requested) => {}
                }
                self.under_way.fetch_sub(1, Ordering::SeqCst);
                assert!(self.runs.fetch_add(1, Ordering::SeqCst) % 3 != 2, "every third");
                match run.cancel.reason() {
                    None => Outcome::succeeded(),
                    Some(_) => Outcome::failure(ErrorKind::Cancelled, "cancelled"),
                }
            })
        }
    }

    fn invocation(id: usize) -> RuntimeInvocation {
        let document = serde_json::json!({
            "invocation_id": format!("run-{id}"), "runtime_name": "test", "runtime_kind": "counting",
            "working_directory": "/", "command": ["x"],
        });
        RuntimeInvocation::from_json(document.to_string().as_bytes()).unwrap()
    }

    fn service(runner: &Arc<Counting>, max_runs: usize) -> Service {
        let kind = RuntimeKind::new("counting").unwrap();
        let runner: Arc<dyn Runner> = runner.clone();
        let host = Host::builder().runner(kind, runner).build().unwrap();
        Service::new(host, NonZeroUsize::new(max_runs).unwrap())
    }

    #[tokio::test]
    async fn no_more_run_at_a_time_than_there_are_slots_and_no_slot_leaks() {
        let runner = Arc::new(Counting::default());
        let service = service(&runner, 5);
        let mut handles = Vec::new();
        for id in 0..300 {
            let slot = service.slot().await;
            let handle = service.start(slot, Run::new(invocation(id)));
            match id % 4 {
                // No one waits for it.
                0 => drop(handle),
                1 => handle.cancel(CancelReason::Requested),
                _ => handles.push(handle),
            }
        }
        let mut succeeded = 0;
        for handle in handles {
            succeeded += usize::from(handle.wait().await.status == Status::Succeeded);
        }
        assert!(succeeded > 0);
        // All slots at once are only there when every run has given its own back.
        let mut slots = Vec::new();
        for _ in 0..5 {
            slots.push(service.slot().await);
        }
        assert_eq!(runner.runs.load(Ordering::SeqCst), 300);
        assert_eq!(runner.most.load(Ordering::SeqCst), 5);
    }
}
