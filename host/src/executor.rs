//! The tokio runtime that runs are executed on where the caller has none.

use executor_runtime_run::exhaustion;
use std::{
    future::Future,
    io,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};
use tokio::runtime::{Builder, Runtime};

/// What tokio opens for a runtime with everything enabled, and some more.
const DESCRIPTORS: usize = 8;
/// What a run has opened by the time that it waits for its program, and some more.
const DESCRIPTORS_OF_A_START: usize = 10;

/// As good as for ever. A thread that was to be had once need not be asked for again: tokio panics if it gets none.
const KEEP_THREADS: Duration = Duration::from_secs(365 * 24 * 3600);

/// Makes a runtime for one thread.
///
/// # Errors
/// When there are not enough descriptors left. Tokio by itself would panic.
pub fn executor() -> io::Result<Runtime> {
    exhaustion::check_descriptors(DESCRIPTORS)?;
    build()
}

fn build() -> io::Result<Runtime> {
    Builder::new_current_thread()
        .enable_all()
        .thread_keep_alive(KEEP_THREADS)
        .build()
}

/// Runs a future to its end on a runtime for one thread, which is made when the future has something to wait for, and not
/// before: what it does first (starting a program) is not held up. `prepare` is called in the runtime.
///
/// The future has to expect to be begun without a runtime, as those of [`Host::execute`](crate::Host::execute) do for the kind
/// `subprocess`.
///
/// # Errors
/// When there are not enough descriptors left; mostly before the future is begun. Those of `prepare`.
pub fn run_with_late_executor<T>(
    future: impl Future<Output = T>,
    prepare: impl FnOnce() -> io::Result<()>,
) -> io::Result<T> {
    exhaustion::check_descriptors(DESCRIPTORS + DESCRIPTORS_OF_A_START)?;
    let mut future = pin!(future);
    // It is polled again in the runtime, whatever it waits for.
    let begun = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    if let Poll::Ready(done) = begun {
        return Ok(done);
    }
    let executor = build()?;
    let done = executor.block_on(async {
        prepare()?;
        Ok(future.await)
    });
    // As in a runtime that ends with its process: a thread that is still blocked must not delay that.
    executor.shutdown_background();
    done
}
