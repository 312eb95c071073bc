//! Checks a plugin file: what would fail in use, and how to fix it.
//!
//! [`check`] goes through a fixed list of checks ([`CheckName`]). The first ones only look at the file; then the
//! plugin is loaded and run a few times, under the real host and its limits, with invocations made up from its
//! descriptor. They reach nothing but two ports of this machine's loopback interface, one closed and one that
//! never answers. A check that needs one that failed is skipped, with the reason.

mod file;
mod report;
mod runs;
mod samples;
mod scratch;
mod suite;

pub use report::{Check, CheckName, Report, Verdict};
pub use suite::check;
