//! Executes RxP 0.1 invocations and tells the truth about what happened.
//!
//! A caller hands [`Runtime::run`] one [`RuntimeInvocation`](protocol::RuntimeInvocation); the runtime dispatches it by `runtime_kind` to
//! a [`Runner`] and returns one [`RuntimeResult`](protocol::RuntimeResult), whatever happens.

mod cancel;
mod capture;
pub mod component;
pub mod config;
pub mod conformance;
mod error_kind;
mod manual;
pub mod native;
mod outcome;
pub mod plugin;
pub mod receipt;
mod result_file;
mod runner;
mod runtime;
pub mod subprocess;
mod supervisor;
mod termination;

pub use cancel::{CancelReason, CancelToken};
pub use error_kind::ErrorKind;
pub use executor_runtime_protocol as protocol;
pub use manual::ManualRunner;
pub use outcome::{Ending, Failure, Outcome};
pub use runner::{Run, RunFuture, Runner};
pub use runtime::{RunnerSource, Runtime, reject};
pub use supervisor::Shutdown;
pub use termination::Termination;
