//! Going on with a run whose host has died.
//!
//! One that is to stop learns it when it has its checkpoint, and not before: only then can it stop what it has started
//! elsewhere.

use super::Runs;
use crate::admission::Slot;
use executor_runtime::{
    CancelReason, ErrorKind, Event, Events, Failure, Run,
    protocol::{RuntimeResult, Status},
    reject,
};
use executor_runtime_run::{capture::forget_left, exhaustion};
use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::sync::Notify;

/// How long a run that is to stop may take from when its plugin was called until that asks for the checkpoint. It may do
/// without.
const MAX_WAIT_FOR_CHECKPOINT: Duration = Duration::from_secs(1);

/// What is known of a run that goes on.
#[derive(Default)]
struct Progress {
    is_called: Notify,
    is_resumed: Notify,
    has_checkpoint: AtomicBool,
}

impl Runs {
    /// Goes on with a run.
    pub(super) async fn resume(&self, slot: Slot, mut run: Run) -> RuntimeResult {
        let (asked, listener) = (std::mem::take(&mut run.cancel), std::mem::take(&mut run.events));
        let was_to_stop = asked.reason().is_some();
        let invocation = run.invocation.clone();
        run.must_resume = true;
        let (told, progress) = (run.cancel.clone(), Arc::new(Progress::default()));
        let to_listener = (asked.clone(), told.clone(), Arc::clone(&progress));
        run.events = Events::to(move |event| {
            let (asked, told, progress) = &to_listener;
            match event {
                Event::Called => progress.is_called.notify_one(),
                Event::Resumed => {
                    progress.has_checkpoint.store(true, Ordering::SeqCst);
                    // At once, before it does anything else.
                    if let Some(reason) = asked.reason() {
                        told.raise(reason);
                    }
                    progress.is_resumed.notify_one();
                }
                event => listener.report(event),
            }
        });
        let without_checkpoint = async {
            progress.is_called.notified().await;
            tokio::time::sleep(MAX_WAIT_FOR_CHECKPOINT).await;
        };
        let pass_on = async {
            tokio::select! {
                () = progress.is_resumed.notified() => {}
                () = without_checkpoint => {}
                () = asked.raised(CancelReason::Immediate) => {}
            }
            for reason in [CancelReason::Requested, CancelReason::Immediate] {
                asked.raised(reason).await;
                told.raise(reason);
            }
            std::future::pending::<Infallible>().await
        };
        let result = tokio::select! {
            result = self.0.service.start(slot, run).wait() => result,
            never = pass_on => match never {},
        };
        if result.status == Status::Succeeded || progress.has_checkpoint.load(Ordering::SeqCst) {
            return result;
        }
        let end = match (was_to_stop, result.status) {
            (true, _) => {
                let end = move || {
                    forget_left(&invocation);
                    reject(&invocation, not_stopped())
                };
                exhaustion::run_blocking(end).await
            }
            // It is not true that nothing was run.
            (false, Status::Rejected) => {
                let failure = not_gone_on(result.error_summary.as_deref());
                exhaustion::run_blocking(move || reject(&invocation, failure)).await
            }
            (false, _) => return result,
        };
        end.unwrap_or(result)
    }
}

/// Of a run that was to stop, and could not go on.
fn not_stopped() -> Failure {
    Failure::new(
        ErrorKind::Cancelled,
        "the host ended before the run had stopped; what it has started elsewhere may still be under way",
    )
}

/// Of a run that this host does not run.
fn not_gone_on(why: Option<&str>) -> Failure {
    Failure::new(
        ErrorKind::HostLost,
        format!(
            "the host ended while the run was under way, and it can't go on: {}",
            why.unwrap_or("it was rejected")
        ),
    )
}
