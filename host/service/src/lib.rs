//! Many runs in one host.
//!
//! ```text
//! faces (batch, serve) ──> Runs: table of runs, events ──> Journal (SQLite)
//!                            └──> Service: slots, runs under way ──> Host
//! ```
//!
//! [`Service`] has no storage: it gives a run a [`Slot`] and keeps a [`RunHandle`] on it. [`Runs`] is what a host that
//! serves others needs beyond that: each run has an id under which it is started once, found, followed, waited for and
//! cancelled, and the [`Journal`] knows all of it after the host has died.
//!
//! | promise | kept by |
//! |---|---|
//! | one run an id | [`Runs::submit`] enters the id in the table before anything else, and the journal has it as its key |
//! | accepted runs are not lost | the journal has committed a run before [`Runs::submit`] returns |
//! | none is started twice | the journal has committed the start before the run begins |
//! | an end is final | the journal has committed the result before any caller is told of it |
//! | a follower misses nothing | it reads the events from the journal, after the last one that it has seen |

mod admission;
mod artifacts;
mod document;
mod event;
mod follow;
mod handle;
mod journal;
mod prune;
mod recovery;
mod retention;
mod runs;
mod state_directory;
mod summary;
mod table;

pub use admission::{Limits, MAX_STOPPING, Service, Slot};
pub use event::{EventKind, EventRecord};
pub use follow::{EventFollower, GrowingFile, OutputStream};
pub use handle::RunHandle;
pub use journal::{Cursor, Filter, Journal, JournalContents, JournalError, Page, RunNumber};
pub use prune::{Prune, Pruned};
pub use retention::Retention;
pub use runs::{
    Attempts, Completed, Counts, Runs, RunsOptions, SubmitError, SubmitOptions, Submitted, Waited,
};
pub use state_directory::state_directory;
pub use summary::RunSummary;
