//! How an exchange that did not work out ends the run.

use executor_runtime_sdk::{Context, HttpError, Invocation, RunError, http_types::StatusCode};
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

/// Whether the backend may have got a request that failed like this, and carried it out.
pub fn may_have_arrived(error: &HttpError) -> bool {
    !matches!(
        error,
        HttpError::InvalidRequest { .. }
            | HttpError::Denied { .. }
            | HttpError::Dns { .. }
            | HttpError::Refused { .. }
            | HttpError::Tls { .. }
            | HttpError::HandshakeBroken { .. }
    )
}

/// Whether the backend may have started something that it answers with this code. What stands before it may have given up
/// waiting for its answer.
pub fn may_have_started(answered: StatusCode) -> bool {
    answered.is_success() || matches!(answered, StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT)
}

/// Whether a server may answer otherwise the next time.
pub fn may_pass(answered: StatusCode) -> bool {
    answered.is_server_error() || matches!(answered.as_u16(), 408 | 425 | 429)
}

/// The same failure, of a request that is the first: another try gets the same answer, if it can't pass.
pub fn refused(error: RunError, answered: StatusCode) -> RunError {
    match answered.is_client_error() && !may_pass(answered) {
        true => error.transient(false),
        false => error,
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
