//! The HTTP API of a host that serves many runs.
