//! What a run of a plugin is, on any carrier: its log, when it is asked to stop, what it may call its artifacts, and
//! what the host believes of what it reports.

mod artifact_name;
mod lines;
mod log;
mod reported;
mod stop;

pub use artifact_name::{MAX_ARTIFACT_NAME, is_valid_artifact_name};
pub use lines::{LineStream, Source};
pub use log::{Level, RunLog, cut, printable};
pub use reported::{ReportedFailure, is_about_this_host, receipt};
pub use stop::{Stop, StopCause};
