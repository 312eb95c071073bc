//! The HTTP API of a host that serves many runs: a thin layer over [`Runs`](executor_runtime_service::Runs).
//!
//! ```text
//! listen (Unix socket, TCP, systemd) ─> connection (HTTP/1.1, bounds) ─> auth ─> routes ─> Runs
//! ```
//!
//! Anyone who gets in can run anything as this user. So the Unix socket is for this user and root alone; TCP is for those who
//! have the token, and encrypted off the machine; and web pages are refused everywhere.
//!
//! What a client could make large or slow is bounded: connections, heads and bodies of requests, the time for each, and the
//! time that it may not read. A file of a run is read as fast as the client takes it, piece by piece.

mod api;
mod auth;
mod connection;
mod documents;
mod extract;
mod listen;
mod metrics;
mod openapi;
mod options;
mod pieces;
mod problem;
mod routes;
mod server;
mod state;
mod traced;

pub use options::{Endpoints, FollowChanges, Options, StartHost, TlsFiles};
pub use server::serve;
