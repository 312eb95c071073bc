//! Executes RxP 0.1 invocations and tells the truth about what happened.
//!
//! A caller hands [`Runtime::run`] one [`RuntimeInvocation`]; the runtime dispatches it by `runtime_kind` to
//! a [`Runner`] and returns one [`RuntimeResult`], whatever happens.

mod cancel;
pub mod component;
mod error_kind;
mod outcome;
pub mod receipt;
mod runner;

pub use cancel::{CancelReason, CancelToken};
pub use error_kind::ErrorKind;
pub use executor_runtime_protocol as protocol;
pub use outcome::{Ending, Failure, Outcome};
pub use runner::{Run, RunFuture, Runner};
