//! How many runs at a time: in total, and of each kind.
//!
//! A slot belongs to what runs in it, so that it is free again however that ends.

use crate::RunHandle;
use executor_runtime::{Host, Run, protocol::RuntimeKind};
use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    sync::{Arc, PoisonError, RwLock},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many runs there are at a time.
#[derive(Clone, Debug)]
pub struct Limits {
    /// In total.
    pub max_running: NonZeroUsize,
    /// Of one kind. A kind that is not in it has no limit of its own.
    pub max_running_by_kind: BTreeMap<RuntimeKind, NonZeroUsize>,
}

impl From<NonZeroUsize> for Limits {
    fn from(max_running: NonZeroUsize) -> Self {
        Self {
            max_running,
            max_running_by_kind: BTreeMap::new(),
        }
    }
}

/// How many runs that an earlier host has begun may go on at a time, beside those, only to stop.
pub const MAX_STOPPING: usize = 64;

/// A host, and how many runs it has at a time.
#[derive(Clone, Debug)]
pub struct Service(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    host: RwLock<Arc<Host>>,
    limits: Limits,
    slots: Arc<Semaphore>,
    /// For runs that go on only to stop.
    slots_to_stop: Arc<Semaphore>,
    slots_of_kind: BTreeMap<RuntimeKind, Arc<Semaphore>>,
}

/// The right to have one run under way. Clones are the same right, which ends with the last of them.
#[derive(Clone, Debug)]
pub struct Slot {
    _permits: Arc<(OwnedSemaphorePermit, Option<OwnedSemaphorePermit>)>,
}

impl Service {
    /// A service of `host` within `limits`.
    pub fn new(host: Host, limits: impl Into<Limits>) -> Self {
        let limits = limits.into();
        let semaphore =
            |slots: NonZeroUsize| Arc::new(Semaphore::new(slots.get().min(Semaphore::MAX_PERMITS)));
        Self(Arc::new(Inner {
            host: RwLock::new(Arc::new(host)),
            slots: semaphore(limits.max_running),
            slots_to_stop: Arc::new(Semaphore::new(MAX_STOPPING)),
            slots_of_kind: limits
                .max_running_by_kind
                .iter()
                .map(|(kind, slots)| (kind.clone(), semaphore(*slots)))
                .collect(),
            limits,
        }))
    }

    /// The host that runs are started in at the moment.
    pub fn host(&self) -> Arc<Host> {
        let host = self.0.host.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&host)
    }

    /// Starts runs in `host` from now on; those that are under way end where they began.
    pub fn replace_host(&self, host: Host) {
        let mut current = self.0.host.write().unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(host);
    }

    /// How many runs there are at a time.
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// Waits until a run of `kind` may be started; of any kind that has no limit of its own, if none is given. Those who
    /// wait get their turn in the order in which they came.
    ///
    /// # Panics
    /// Never: the semaphores are not closed.
    pub async fn slot(&self, kind: Option<&RuntimeKind>) -> Slot {
        let never_closed = "the semaphore is never closed";
        // A run that waits for a slot of its kind takes none of the others'.
        let of_kind = match kind.and_then(|kind| self.0.slots_of_kind.get(kind)) {
            Some(slots) => Some(Arc::clone(slots).acquire_owned().await.expect(never_closed)),
            None => None,
        };
        let permit = Arc::clone(&self.0.slots).acquire_owned().await;
        Slot {
            _permits: Arc::new((permit.expect(never_closed), of_kind)),
        }
    }

    /// A slot, if there is one now that no one waits for.
    pub fn try_slot(&self, kind: &RuntimeKind) -> Option<Slot> {
        let of_kind = match self.0.slots_of_kind.get(kind) {
            Some(slots) => Some(Arc::clone(slots).try_acquire_owned().ok()?),
            None => None,
        };
        let permit = Arc::clone(&self.0.slots).try_acquire_owned().ok()?;
        Some(Slot {
            _permits: Arc::new((permit, of_kind)),
        })
    }

    /// A slot for a run that goes on only to stop: it waits for none of those that are not to stop.
    ///
    /// # Panics
    /// Never: the semaphore is not closed.
    pub(crate) async fn slot_to_stop(&self) -> Slot {
        let permit = Arc::clone(&self.0.slots_to_stop).acquire_owned().await;
        Slot {
            _permits: Arc::new((permit.expect("the semaphore is never closed"), None)),
        }
    }

    /// Starts a run, on the tokio runtime that this is called in. It goes on if the handle is dropped.
    pub fn start(&self, slot: Slot, run: Run) -> RunHandle {
        RunHandle::start(self.host(), run, slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use executor_runtime::{
        CancelReason, ErrorKind, Outcome, RunFuture, Runner,
        protocol::{RuntimeInvocation, Status},
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
            let slot = service.slot(None).await;
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
            slots.push(service.slot(None).await);
        }
        assert_eq!(runner.runs.load(Ordering::SeqCst), 300);
        assert_eq!(runner.most.load(Ordering::SeqCst), 5);
    }
}
