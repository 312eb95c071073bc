//! Executes RxP 0.1 invocations and tells the truth about what happened.
//!
//! A caller hands [`Host::run`] one [`RuntimeInvocation`](protocol::RuntimeInvocation); the host dispatches it by `runtime_kind` to
//! a [`Runner`] and returns one [`RuntimeResult`](protocol::RuntimeResult), whatever happens. [`Host::builder`] puts a host
//! together: which configuration counts, where plugins are, and which carriers run them.

mod builder;
mod executor;
mod host;
mod manual;
mod registry;
mod termination;
mod traced;

pub use builder::HostBuilder;
pub use executor::{executor, run_with_late_executor};
pub use executor_runtime_config as config;
pub use executor_runtime_plugin as plugin;
pub use executor_runtime_protocol as protocol;
pub use executor_runtime_run::capture::DEFAULT_BASE;
pub use executor_runtime_run::{
    ArtifactState, CancelReason, CancelToken, Ending, ErrorKind, Event, Events, Failure, LogLine, Notifier,
    Outcome, OutputFeed, Run, RunFuture, RunPermissions, Runner, receipt, trace,
};
pub use executor_runtime_supervisor::Supervisors;
pub use host::{Host, Shutdown, reject};
pub use manual::ManualRunner;
pub use registry::{Explanation, Origin};
pub use termination::Termination;
