//! Supervised processes: when a job is over, or the host dies by whatever cause, no process of it is left.
//!
//! Three processes share the work, each small enough to be understood by itself:
//!
//! ```text
//! host ──orders──> spawner ──fork──> supervisor ──fork, exec──> target ──> whatever it starts
//!   └──────────────control───────────────┘
//! ```
//!
//! - The **host** describes a [`Job`] and takes its [`Report`] ([`Supervisors`]). How it waits for that is its own affair:
//!   a [`Supervised`] job has a descriptor to poll.
//! - The **spawner** is forked once, early, and forks the supervisors (`spawner`). A host that has one job only does
//!   without, and forks the supervisor itself (`only`).
//! - A **supervisor** per job keeps the promise (`supervise`): deadline, output, every descendant. The end
//!   of the control socket tells it that the host is gone.
//!
//! What runs after a `fork` allocates nothing and takes no lock, because the host may have had threads.
//! Needs Linux 5.9 (`close_range`) and `CONFIG_PROC_CHILDREN`.

mod client;
mod descendants;
mod helper;
pub mod idle;
mod job;
mod memory;
mod only;
mod output;
mod pool;
mod spawner;
mod spec;
mod supervise;
mod sys;
mod target;
mod wire;

pub use client::{Detached, Received, Shutdown, StartFailed, Supervised, Supervisors, serve_entry};
pub use job::{Cause, Ended, Exit, Job, Limits, OutputReport, Report, Stage, Usage};
pub use sys::{monotonic_ns, open_process, reset_dispositions};
