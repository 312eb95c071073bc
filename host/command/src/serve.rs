//! `serve`: many runs, for whoever asks over HTTP. What serves is in the large executable alone.

use super::{
    args::{HostOptions, ServeOptions},
    host, many_runs,
};
use anyhow::{Result, anyhow};
use executor_runtime::{Failure, Host};
use std::process::ExitCode;
use tokio::runtime::Runtime;

/// Serves until a signal ends it; returns the exit status.
pub type Serve = fn(ServeOptions, StartHost) -> Result<u8>;

/// Starts the host, and what its runs are executed on. Before it is called, this process has one thread.
pub type StartHost = Box<dyn FnOnce() -> Result<(Host, Runtime)>>;

pub(super) fn serve(options: ServeOptions, host_options: HostOptions) -> Result<ExitCode> {
    host_options.executable.need_engine()?;
    let Some(serve) = host_options.executable.serve else {
        return Err(anyhow!("this executable can't serve"));
    };
    let jobs = options.jobs;
    let builder = host::builder_for(jobs, &host_options)?;
    let start = move || {
        let host = host::start(builder)?.map_err(|error| anyhow!(Failure::exhausted(&error).summary))?;
        many_runs::raise_descriptor_limit();
        Ok((host, many_runs::executor(jobs)?))
    };
    serve(options, Box::new(start)).map(ExitCode::from)
}
