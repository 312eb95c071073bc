//! Executes RxP 0.1 invocations and tells the truth about what happened.
//!
//! A caller hands [`Runtime::run`] one [`RuntimeInvocation`](protocol::RuntimeInvocation); the runtime dispatches it by `runtime_kind` to
//! a [`Runner`] and returns one [`RuntimeResult`](protocol::RuntimeResult), whatever happens.

pub mod component;
pub mod config;
pub mod conformance;
mod manual;
pub mod native;
pub mod plugin;
mod runtime;
mod termination;

pub use executor_runtime_protocol as protocol;
pub use executor_runtime_run::{
    CancelReason, CancelToken, Ending, ErrorKind, Failure, Outcome, Run, RunFuture, Runner, receipt,
};
pub use executor_runtime_subprocess as subprocess;
pub use executor_runtime_supervisor::Shutdown;
pub use manual::ManualRunner;
pub use runtime::{RunnerSource, Runtime};
pub use termination::Termination;
