//! What an operator says about serving.

use anyhow::Result;
use executor_runtime::Host;
use executor_runtime_service::{Limits, Retention, Service};
use std::{net::SocketAddr, path::PathBuf, pin::Pin};
use tokio::runtime::Runtime;

/// Starts the host, and what its runs are executed on.
pub type StartHost = Box<dyn FnOnce() -> Result<(Host, Runtime)>>;

/// Takes up plugins and configuration that change, for as long as it is polled.
pub type FollowChanges = Box<dyn Fn(Service) -> Pin<Box<dyn Future<Output = ()> + Send>>>;

/// How to serve.
pub struct Options {
    /// Where.
    pub endpoints: Endpoints,
    /// Where the journal is kept; in the user's state directory if that is not said.
    pub state_directory: Option<PathBuf>,
    /// How many runs at a time.
    pub limits: Limits,
    /// How many runs may wait.
    pub max_queued: usize,
    /// What stays in the journal.
    pub retention: Retention,
    /// Whether a signal lets runs that are under way end by themselves.
    pub drain: bool,
    /// Called once everything that was asked for is known to be possible, and before any thread is started.
    pub start: StartHost,
    /// Takes up what changes on disk.
    pub follow_changes: FollowChanges,
}

/// Where to serve. Without anything, and if systemd has passed nothing either: on a Unix socket in the user's runtime
/// directory.
#[derive(Debug, Default)]
pub struct Endpoints {
    /// Path of a Unix socket.
    pub socket: Option<PathBuf>,
    /// Address for TCP.
    pub address: Option<SocketAddr>,
    /// File with the token that requests over TCP need.
    pub token_file: Option<PathBuf>,
    /// What TLS needs; without it, TCP is for loopback addresses only.
    pub tls: Option<TlsFiles>,
    /// Further names that this host is known by.
    pub allow_hosts: Vec<String>,
}

/// What TLS needs, as PEM.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The certificate, and those above it.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}
