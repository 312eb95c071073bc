//! What a process that executes many runs at a time needs.

use crate::host;
use anyhow::{Context, Result, anyhow};
use executor_runtime::{Failure, Host, HostBuilder};
use executor_runtime_run::exhaustion;
use std::{num::NonZeroUsize, thread};
use tokio::runtime::Runtime;

/// Threads that execute runs, at most. The work is the system's for the most part.
const MAX_THREADS: usize = 8;

/// Starts the host, and what its runs are executed on. Before it is called, this process has one thread.
pub type StartHost = Box<dyn FnOnce() -> Result<(Host, Runtime)>>;

/// Starts a host that has so many runs at a time.
pub(super) fn start(builder: HostBuilder, runs: NonZeroUsize) -> StartHost {
    Box::new(move || {
        let host = host::start(builder)?.map_err(|error| anyhow!(Failure::exhausted(&error).summary))?;
        raise_descriptor_limit();
        Ok((host, executor(runs)?))
    })
}

/// A runtime with a few threads, or one where no more can be had.
fn executor(jobs: NonZeroUsize) -> Result<Runtime> {
    let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let threads = jobs.get().min(processors).min(MAX_THREADS);
    if threads == 1 || exhaustion::check_threads(threads + 1).is_err() {
        return executor_runtime::executor().context("no run can be executed");
    }
    exhaustion::check_descriptors(8).context("no run can be executed")?;
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .context("no run can be executed")
}

/// Each run takes a few descriptors, and a soft limit of 1024 is common. The commands keep the limit that this process was
/// started with if what starts them is there already.
fn raise_descriptor_limit() {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is valid for both calls. If one fails, the limit is as it was.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
    }
}
