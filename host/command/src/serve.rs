//! `serve`: many runs, for clients that ask over HTTP. The server itself is in the large executable alone.

use super::{
    args::{HostOptions, ServeOptions},
    host::{self, ConfigurationFile},
    many_runs::{self, StartHost},
    trace_export::Parent,
};
use anyhow::{Result, anyhow};
use executor_runtime::config::Config;
use std::{num::NonZeroUsize, process::ExitCode};

/// Runs at a time, unless something else is said.
const MAX_RUNNING: NonZeroUsize = NonZeroUsize::new(256).unwrap();

/// Serves until a signal ends it; returns the exit status.
pub type Serve = fn(Serving) -> Result<u8>;

/// What is served, and how.
pub struct Serving {
    /// What was said at the command line.
    pub options: ServeOptions,
    /// How many runs at a time.
    pub max_running: NonZeroUsize,
    /// The operator's configuration.
    pub config: Config,
    /// Where that was read from, and can be read again.
    pub config_file: ConfigurationFile,
    /// Starts the host.
    pub start: StartHost,
}

pub(super) fn serve(options: ServeOptions, host_options: &HostOptions) -> Result<ExitCode> {
    host_options.executable.need_engine()?;
    let Some(serve) = host_options.executable.serve else {
        return Err(anyhow!("this executable can't serve"));
    };
    let config_file = host::configuration_file(host_options);
    let config = config_file.read()?;
    let max_running = max_running(&options, &config);
    let builder = host::builder_for(max_running, Parent::None, host_options)?;
    serve(Serving {
        options,
        max_running,
        config,
        config_file,
        start: many_runs::start(builder, max_running),
    })
    .map(ExitCode::from)
}

/// The command line says it, or else the configuration.
fn max_running(options: &ServeOptions, config: &Config) -> NonZeroUsize {
    let configured = config.serve().max_running.map(|runs| {
        let runs = usize::try_from(u64::from(runs)).unwrap_or(usize::MAX);
        NonZeroUsize::new(runs).unwrap_or(NonZeroUsize::MIN)
    });
    options.jobs.or(configured).unwrap_or(MAX_RUNNING)
}
