//! Metadata keys that are more than text: paths, states, codes, counts.

use crate::Paths;
use executor_runtime_sdk::{
    Body, Client, Invocation, RunError,
    http_types::{Request, StatusCode},
};
use std::{ops::RangeInclusive, time::Duration};

/// The shortest interval between two requests of a run, whatever it asks for.
pub const MIN_INTERVAL: Duration = Duration::from_millis(50);

/// `rejected`, `invalid_metadata`.
pub fn invalid(summary: impl Into<String>) -> RunError {
    RunError::rejected("invalid_metadata", summary)
}

/// The dotted path in the value of `key`, or several of them.
///
/// # Errors
/// `rejected`.
pub fn path(invocation: &Invocation, key: &str) -> Result<Option<Paths>, RunError> {
    let Some(text) = invocation.text(key) else {
        return Ok(None);
    };
    Paths::parse(text).map(Some).ok_or_else(|| {
        invalid(format!(
            "metadata key '{key}' is '{}', expected a dotted path, such as run.status",
            text.escape_debug()
        ))
    })
}

/// The items of the list in the value of `key`, at least one; without the key those of `default`.
///
/// # Errors
/// `rejected`.
pub fn states(invocation: &Invocation, key: &str, default: Option<&str>) -> Result<Vec<String>, RunError> {
    let states: Vec<_> = match (invocation.text(key), default) {
        (None, Some(default)) => vec![default.to_owned()],
        (None, None) => return Err(invalid(format!("metadata key '{key}' is missing"))),
        (Some(_), _) => invocation.list(key).into_iter().map(str::to_owned).collect(),
    };
    if states.is_empty() {
        return Err(invalid(format!("metadata key '{key}' lists no states")));
    }
    Ok(states)
}

/// HTTP codes that the kickoff may be answered with besides 200 and 202.
pub const KICKOFF_CODES: &str = "http.kickoff_codes";

/// The codes of [`KICKOFF_CODES`]; empty without it. They are codes of a success: no other answer is read whole, and what
/// refuses a run has started none.
///
/// # Errors
/// `rejected`, `invalid_metadata`: an item is no such code.
pub fn kickoff_codes(invocation: &Invocation) -> Result<Vec<u16>, RunError> {
    codes_in(
        invocation,
        KICKOFF_CODES,
        200..=299,
        "HTTP codes from 200 to 299: comma-separated integers",
    )
}

/// What the kickoff should have been answered with instead of `answered`, if these codes are allowed besides 200 and 202.
pub fn expected_kickoff(codes: &[u16], answered: StatusCode) -> String {
    match codes.split_last() {
        // Another code of a success may be how this backend says it.
        None if answered.is_success() => format!(
            "202 or 200 (to allow others: metadata key '{KICKOFF_CODES}', in a recipe set by its file)"
        ),
        None => "202 or 200".to_owned(),
        Some((last, others)) => {
            let others: String = others.iter().map(|code| format!(", {code}")).collect();
            format!("202, 200{others} or {last} (metadata key '{KICKOFF_CODES}')")
        }
    }
}

/// A list of HTTP codes; empty without it.
///
/// # Errors
/// `rejected`, `invalid_metadata`: an item is no code.
pub fn codes(invocation: &Invocation, key: &str) -> Result<Vec<u16>, RunError> {
    codes_in(invocation, key, 100..=999, "HTTP codes: comma-separated integers")
}

fn codes_in(
    invocation: &Invocation,
    key: &str,
    allowed: RangeInclusive<u16>,
    expected: &str,
) -> Result<Vec<u16>, RunError> {
    let code = |item: &str| {
        item.parse()
            .ok()
            .filter(|code| allowed.contains(code))
            .ok_or_else(|| {
                invalid(format!(
                    "metadata key '{key}' has '{}' in it, expected {expected}",
                    item.escape_debug()
                ))
            })
    };
    invocation.list(key).into_iter().map(code).collect()
}

/// A whole number of at least 0 in the value of `key`, or the default.
///
/// # Errors
/// `rejected`.
pub fn count(invocation: &Invocation, key: &str, default: u64) -> Result<u64, RunError> {
    match invocation.integer(key)? {
        None => Ok(default),
        Some(number) => number
            .try_into()
            .map_err(|_| invalid(format!("metadata key '{key}' is {number}, expected 0 or more"))),
    }
}

/// Whether a request that will follow could be sent. Once the first is, it is too late to reject the invocation.
///
/// # Errors
/// `rejected`.
pub fn sendable(what: &str, request: &Request<Body>) -> Result<(), RunError> {
    Client::check(request).map_err(|error| RunError::from_http(&error).context(what))
}
