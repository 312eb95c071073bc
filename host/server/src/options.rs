//! What an operator says about serving.

use executor_runtime_service::Limits;
use std::{net::SocketAddr, path::PathBuf};

/// How to serve.
#[derive(Debug)]
pub struct Options {
    /// Where.
    pub endpoints: Endpoints,
    /// Where the journal is kept; in the user's state directory if that is not said.
    pub state_directory: Option<PathBuf>,
    /// How many runs at a time.
    pub limits: Limits,
    /// How many runs may wait.
    pub max_queued: usize,
    /// Whether a signal lets runs that are under way end by themselves.
    pub drain: bool,
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
#[derive(Debug)]
pub struct TlsFiles {
    /// The certificate, and those above it.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}
