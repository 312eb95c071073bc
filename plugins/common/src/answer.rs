//! Requests whose answers are read whole, and what is found in them.

use crate::{Found, Paths, ReadFailure, beginning, preview, read_failure};
use executor_runtime_sdk::{
    Body, BodyReader, Context, HttpError, RunError,
    http::retry_after,
    http_types::{Request, Response, StatusCode},
};
use std::{io, time::Duration};

/// The longest payload that is read.
const MAX_PAYLOAD: usize = 8 << 20;

/// How many characters of what a backend says about a run are passed on.
const MAX_WORDS: usize = 1000;

/// A complete answer.
#[derive(Debug)]
pub struct Answer {
    /// Its code.
    pub status: StatusCode,
    /// How long the backend wants to be left alone.
    pub retry_after: Option<Duration>,
    /// The whole body after a code of 2xx; the beginning of others.
    pub payload: Vec<u8>,
}

/// Why there is none.
#[derive(Debug)]
pub enum ExchangeError {
    /// The run is to stop.
    Interrupted,
    /// The exchange failed.
    Http(HttpError),
    /// It is unusable.
    Unusable(RunError),
}

impl From<HttpError> for ExchangeError {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::Timeout | HttpError::Stopped => Self::Interrupted,
            error => Self::Http(error),
        }
    }
}

impl From<io::Error> for ExchangeError {
    fn from(error: io::Error) -> Self {
        match read_failure(error) {
            ReadFailure::Http(error) => error.into(),
            ReadFailure::Other(error) => Self::Unusable(unusable(error.to_string())),
        }
    }
}

/// Sends a request and reads what there is to read of the answer.
///
/// # Errors
/// When there is no answer, or it is not complete.
pub fn exchange(ctx: &Context, request: Request<Body>) -> Result<Answer, ExchangeError> {
    if ctx.stop_requested() {
        return Err(ExchangeError::Interrupted);
    }
    answer(ctx, ctx.http().send(request)?)
}

/// Reads what there is to read of an answer.
///
/// # Errors
/// When it is not complete.
pub fn answer(ctx: &Context, response: Response<BodyReader>) -> Result<Answer, ExchangeError> {
    let (head, mut body) = response.into_parts();
    let payload = match head.status.is_success() {
        true => body.bytes(MAX_PAYLOAD)?,
        false => beginning(&mut body)?,
    };
    Ok(Answer {
        status: head.status,
        retry_after: retry_after(&head.headers, ctx.system_time()),
        payload,
    })
}

/// The text at `path`, the value of the metadata key `key`, in the JSON of an answer.
///
/// # Errors
/// `failed`, `invalid_response`: there is none, or it is not JSON.
pub fn text_at(key: &str, path: &Paths, payload: &[u8]) -> Result<String, RunError> {
    match path.find(payload) {
        Ok(Found::Text(text)) => Ok(text),
        Ok(Found::Nothing) => {
            let hint = match path.looks_like_json_path() {
                true => "; paths have no '$'",
                false => "",
            };
            Err(unusable(format!("no field at path '{path}' ({key}){hint}")))
        }
        Ok(Found::Composite(_)) => Err(unusable(format!(
            "the field at path '{path}' ({key}) is a list or an object, expected text or a number"
        ))),
        Err(error) => Err(unusable(format!(
            "the answer is not JSON ({error}): {}",
            preview(payload)
        ))),
    }
}

/// What a backend says at `path`, for people: text, or JSON as written; the beginning of it if it is long. None if there is
/// nothing.
pub fn words_at(path: &Paths, payload: &[u8]) -> Option<String> {
    let (Found::Text(words) | Found::Composite(words)) = path.find(payload).ok()? else {
        return None;
    };
    let words: String = words.trim().chars().take(MAX_WORDS).collect();
    (!words.is_empty()).then_some(words)
}

/// A code that the protocol of this kind does not have.
pub fn unexpected_code(expected: &str, answer: &Answer) -> RunError {
    let code = answer.status.as_str();
    let summary = format!(
        "expected HTTP {expected}, got HTTP {code}: {}",
        preview(&answer.payload)
    );
    RunError::failed("http_status", summary.trim_end())
}

/// `failed`, `invalid_response`.
pub fn unusable(summary: impl Into<String>) -> RunError {
    RunError::failed("invalid_response", summary.into().trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_at_a_path_is_said_with_the_metadata_key() {
        for (path, summary) in [
            ("build.id", "no field at path 'build.id' (http.id_path)"),
            ("a,b", "no field at path 'a,b' (http.id_path)"),
            (
                "$.build.id",
                "no field at path '$.build.id' (http.id_path); paths have no '$'",
            ),
            (
                "id,$[0].id",
                "no field at path 'id,$[0].id' (http.id_path); paths have no '$'",
            ),
            (
                "list",
                "the field at path 'list' (http.id_path) is a list or an object, expected text or a number",
            ),
        ] {
            let paths = Paths::parse(path).unwrap();
            let error = text_at("http.id_path", &paths, br#"{"list": []}"#).unwrap_err();
            assert_eq!(
                (error.kind(), error.summary()),
                ("invalid_response", summary),
                "{path}"
            );
        }
    }
}
