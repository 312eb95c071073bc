//! What the end-to-end tests and benches share.
//!
//! A [`Scene`] is where a test takes place: a directory, the host binary, and a way to find every process
//! that came of it. [`eventually`] waits for a condition; nothing here sleeps to be in step with something.

mod amount;
mod binaries;
pub mod c;
pub mod collector;
pub mod component;
pub mod debian;
pub mod descriptors;
pub mod examples;
mod finished;
pub mod fixtures;
mod golden;
pub mod guest_tools;
pub mod home;
pub mod installed;
mod invocation;
pub mod javascript;
pub mod kind;
pub mod memory;
pub mod namespace;
mod not_tested;
mod own_process;
pub mod plugins;
pub mod podman;
mod processes;
pub mod python;
pub mod readme;
mod scene;
pub mod scripted;
pub mod server;
pub mod serving;
mod terminal;
pub mod ulimit;
mod waiting;
mod watchdog;

pub use amount::{FULL_VARIABLE, amount};
pub use binaries::{copy_executable, helper_binary, host_binary, nasty};
pub use finished::Finished;
pub use golden::assert_golden;
pub use invocation::{Invocation, invocation_id};
pub use not_tested::not_tested;
pub use own_process::in_own_process;
pub use processes::{Process, descriptor_count, marked, status_field};
pub use scene::{MARKER, Scene};
pub use terminal::{Setup, Shown, Terminal, on_terminal};
pub use waiting::{eventually, holds};
pub use watchdog::Watchdog;
