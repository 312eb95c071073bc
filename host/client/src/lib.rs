//! A client of `executor-runtime serve`, over its Unix socket.
//!
//! [`Client`] has a method for each thing that a host can be asked. A request that is not answered in time, an answer that
//! breaks off and an answer that says no are [`ClientError`]s, each a sentence for the person who asked.
//!
//! What takes long goes on when its connection breaks: [`Client::wait`] asks again, and [`Output`] goes on at the offset
//! that it had reached, so that a host may be restarted meanwhile.

mod client;
mod connection;
mod error;
mod events;
mod model;
mod output;
mod path;
mod retry;
mod sse;

pub use client::Client;
pub use error::{ClientError, Problem};
pub use events::{Events, RunEvent};
pub use model::{Filter, OutputStream, Page, Pruned, RunSummary, Submitted, Waited};
pub use output::Output;
