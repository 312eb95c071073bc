//! The tokio runtime that runs are executed on where the caller has none.

use executor_runtime_run::exhaustion;
use std::{io, time::Duration};
use tokio::runtime::{Builder, Runtime};

/// What tokio opens for a runtime with everything enabled, and some more.
const DESCRIPTORS: usize = 8;

/// As good as for ever. A thread that was to be had once need not be asked for again: tokio panics if it gets none.
const KEEP_THREADS: Duration = Duration::from_secs(365 * 24 * 3600);

/// Makes a runtime for one thread.
///
/// # Errors
/// When there are not enough descriptors left. Tokio by itself would panic.
pub fn executor() -> io::Result<Runtime> {
    exhaustion::check_descriptors(DESCRIPTORS)?;
    Builder::new_current_thread()
        .enable_all()
        .thread_keep_alive(KEEP_THREADS)
        .build()
}
