//! `serve`: many runs, for clients that ask over HTTP. The server itself is in the large executable alone.

use super::{
    args::{HostOptions, ServeOptions},
    host, many_runs, reload,
    trace_export::Parent,
};
use anyhow::{Result, anyhow};
use executor_runtime::{Failure, Host, config::Config};
use executor_runtime_service::{Limits, Retention, Service};
use std::{num::NonZeroUsize, pin::Pin, process::ExitCode};
use tokio::runtime::Runtime;

/// Runs at a time, unless something else is said.
const MAX_RUNNING: NonZeroUsize = NonZeroUsize::new(256).unwrap();
/// Runs that wait, unless something else is said.
const MAX_QUEUED: usize = 10_000;

/// Serves until a signal ends it; returns the exit status.
pub type Serve = fn(Serving) -> Result<u8>;

/// Starts the host, and what its runs are executed on. Before it is called, this process has one thread.
pub type StartHost = Box<dyn FnOnce() -> Result<(Host, Runtime)>>;

/// Takes up plugins and configuration that change, for as long as it is polled.
pub type FollowChanges = Box<dyn Fn(Service) -> Pin<Box<dyn Future<Output = ()> + Send>>>;

/// What is served, and how.
pub struct Serving {
    /// What was said at the command line.
    pub options: ServeOptions,
    /// How many runs at a time.
    pub limits: Limits,
    /// How many runs may wait.
    pub max_queued: usize,
    /// What stays in the journal.
    pub retention: Retention,
    /// Starts the host.
    pub start: StartHost,
    /// Takes up what changes on disk.
    pub follow_changes: FollowChanges,
}

pub(super) fn serve(options: ServeOptions, host_options: HostOptions) -> Result<ExitCode> {
    host_options.executable.need_engine()?;
    let Some(serve) = host_options.executable.serve else {
        return Err(anyhow!("this executable can't serve"));
    };
    let named = host_options.config.clone();
    let config = host::configuration(named.as_deref())?;
    let limits = limits(&options, &config);
    let jobs = limits.max_running;
    let builder = host::builder_for(jobs, Parent::None, &host_options)?;
    let start = move || {
        let host = host::start(builder)?.map_err(|error| anyhow!(Failure::exhausted(&error).summary))?;
        many_runs::raise_descriptor_limit();
        Ok((host, many_runs::executor(jobs)?))
    };
    let configured = config.serve().max_queued.map(number);
    serve(Serving {
        max_queued: options.max_queued.or(configured).unwrap_or(MAX_QUEUED),
        options,
        limits,
        retention: many_runs::retention(&config),
        start: Box::new(start),
        follow_changes: Box::new(move |service| Box::pin(reload::follow_changes(service, named.clone()))),
    })
    .map(ExitCode::from)
}

/// The command line says it, or else the configuration.
fn limits(options: &ServeOptions, config: &Config) -> Limits {
    let serve = config.serve();
    let positive = |value| NonZeroUsize::new(number(value)).unwrap_or(NonZeroUsize::MIN);
    let configured = serve.max_running.map(positive);
    let by_kind = serve.max_running_by_kind.iter();
    Limits {
        max_running: options.jobs.or(configured).unwrap_or(MAX_RUNNING),
        max_running_by_kind: by_kind
            .map(|(kind, runs)| (kind.clone(), positive(*runs)))
            .collect(),
    }
}

fn number(value: impl Into<u64>) -> usize {
    usize::try_from(value.into()).unwrap_or(usize::MAX)
}
