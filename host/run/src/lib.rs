//! What one run is, whatever executes it: the seam to a [`Runner`], how a run is told to stop, what it reports, and where
//! its output is kept.

mod cancel;
pub mod capture;
mod error_kind;
mod events;
pub mod exhaustion;
mod input;
mod outcome;
mod panic;
pub mod receipt;
pub mod result_file;
mod runner;
pub mod signals;
pub mod supervised;
pub mod trace;
mod usage;

pub use cancel::{CancelReason, CancelToken};
pub use error_kind::ErrorKind;
pub use events::{ArtifactState, Event, Events, LogLine, Notifier, OutputFeed};
pub use input::input_payload;
pub use outcome::{Ending, Failure, Outcome};
pub use panic::panic_message;
pub use runner::{Run, RunFuture, RunPermissions, Runner, in_runtime, until};
pub use usage::ProcessUsage;
