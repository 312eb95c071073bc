//! How an exchange that did not work out ends the run.

use executor_runtime_sdk::{Context, HttpError, Invocation, RunError};
use std::io;

/// A run that ends because it was told to: `timed out in poll (timeout 3 s)`, or `cancelled in poll`.
pub fn interrupted(invocation: &Invocation, ctx: &Context, doing: &str) -> RunError {
    match invocation.timeout_seconds {
        Some(seconds) if ctx.remaining().is_some_and(|left| left.is_zero()) => {
            ctx.stopped(&format!("{doing} (timeout {seconds} s)"))
        }
        _ => ctx.stopped(doing),
    }
}

/// A failed exchange: `http error: ` and the cause in words, or [`interrupted`].
pub fn http_error(invocation: &Invocation, ctx: &Context, doing: &str, error: &HttpError) -> RunError {
    match error {
        HttpError::Timeout | HttpError::Stopped => interrupted(invocation, ctx, doing),
        error => RunError::from_http(error),
    }
}

/// Why reading a body failed.
#[derive(Debug)]
pub enum ReadFailure {
    /// The exchange.
    Http(HttpError),
    /// Whatever the body was written to.
    Other(io::Error),
}

/// Which side of a copy failed.
pub fn read_failure(error: io::Error) -> ReadFailure {
    match error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<HttpError>())
    {
        Some(http) => ReadFailure::Http(http.clone()),
        None => ReadFailure::Other(error),
    }
}
