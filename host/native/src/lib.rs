//! Runs plugins that are shared libraries, each invocation in a process of its own.
//!
//! ```text
//! host ──order──> template ──fork──> supervisor ──fork──> child: invoke()
//!   │             (library loaded)                          │
//!   └──────────────────────── channel ──────────────────────┘
//! ```
//!
//! - The **template** is this executable, started again in a hidden mode ([`worker_main`]), one per plugin. It
//!   loads the library once, and then is a spawner (`supervisor::serve_entry`): it has no other code
//!   to run, so nothing can go wrong in it later. It runs under supervision itself: it ends with the host, or when it has
//!   had no run for a while (`loaded`).
//! - A **child** per invocation is a copy of the template, made in a fraction of a millisecond. It calls
//!   `invoke` and tells the host the result over its channel (`wire`). A crash, an abort, `exit(0)`, a hang,
//!   leaked threads and processes, closed descriptors: all of it is the end of that child, seen and cleaned up
//!   by its supervisor. No state of one invocation is left for the next.
//!
//! A run may leave a **last will**, a command that is run when its process has ended (`last_will`).
//!
//! A run that is to stop is told so by a descriptor that becomes readable, not by a signal: a library
//! can't be expected to handle one. It has its grace to return; then the supervisor kills everything at once.

mod artifacts;
mod child;
mod conversation;
mod files;
mod growth;
mod last_will;
mod library;
mod loaded;
mod report;
mod rights;
mod runner;
mod stop_request;
mod template;
mod wire;
mod worker;

pub use runner::NativePlugins;
pub use worker::{WORKER_MODE, worker_main};
