//! The requests to the backend, and what their answers mean.

use crate::{
    path::{Found, Path},
    plan::{Cancel, Plan},
};
use executor_runtime_plugin_common::{ReadFailure, beginning, preview, read_failure};
use executor_runtime_sdk::{
    Body, BodyReader, Context, HttpError, RunError,
    http::retry_after,
    http_types::{Request, Response, StatusCode, Uri},
};
use std::{io, time::Duration};

/// The longest payload that is read.
const MAX_PAYLOAD: usize = 8 << 20;

/// How long the cancel call may take where the run's grace does not limit it.
const CANCEL_TIME: Duration = Duration::from_secs(10);

/// A complete answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) retry_after: Option<Duration>,
    /// The whole body of a 200 or 202; the beginning of others.
    pub(crate) payload: Vec<u8>,
}

/// Why there is none.
#[derive(Debug)]
pub(crate) enum ExchangeError {
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
pub(crate) fn exchange(ctx: &Context, request: Request<Body>) -> Result<Answer, ExchangeError> {
    if ctx.stop_requested() {
        return Err(ExchangeError::Interrupted);
    }
    answer(ctx, ctx.http().send(request)?)
}

fn answer(ctx: &Context, response: Response<BodyReader>) -> Result<Answer, ExchangeError> {
    let (head, mut body) = response.into_parts();
    let payload = match head.status {
        StatusCode::OK | StatusCode::ACCEPTED => body.bytes(MAX_PAYLOAD)?,
        _ => beginning(&mut body)?,
    };
    Ok(Answer {
        status: head.status,
        retry_after: retry_after(&head.headers, ctx.system_time()),
        payload,
    })
}

impl Plan {
    /// The next poll.
    pub(crate) fn poll_request(&self, url: &Uri) -> Request<Body> {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = url.clone();
        *request.headers_mut() = self.poll_headers.clone();
        request
    }

    pub(crate) fn is_terminal(&self, status: &str) -> bool {
        self.terminal.iter().any(|state| state == status)
    }

    pub(crate) fn is_success(&self, status: &str) -> bool {
        self.success.iter().any(|state| state == status)
    }
}

impl Cancel {
    /// Sends the cancel request; returns the code of the response, or why there is none.
    pub(crate) fn call(&self, ctx: &Context, run_id: Option<&str>) -> Result<StatusCode, String> {
        if run_id.is_none() && self.url.needs_run_id() {
            return Err("not called: the run's id was not known yet".to_owned());
        }
        let url = self.url.fill(run_id.unwrap_or_default());
        let url = url.map_err(|error| format!("not called: {error}"))?;
        let client = if ctx.stop_requested() {
            ctx.http().after_stop()
        } else {
            ctx.http().timeout(CANCEL_TIME)
        };
        client
            .send(self.request(&url))
            .map(|response| response.status())
            .map_err(|error| error.to_string())
    }

    pub(crate) fn request(&self, url: &Uri) -> Request<Body> {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = url.clone();
        *request.method_mut() = self.method.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }
}

/// The text at `path` in the JSON of an answer.
pub(crate) fn text_at(path: &Path, payload: &[u8]) -> Result<String, RunError> {
    match path.find(payload) {
        Ok(Found::Text(text)) => Ok(text),
        Ok(Found::Nothing) => Err(unusable(format!("no field at path '{path}'"))),
        Ok(Found::Composite) => Err(unusable(format!(
            "the field at path '{path}' is a list or an object, expected text or a number"
        ))),
        Err(error) => Err(unusable(format!(
            "the answer is not JSON ({error}): {}",
            preview(payload)
        ))),
    }
}

/// A code that the protocol of this kind does not have.
pub(crate) fn unexpected_code(expected: &str, answer: &Answer) -> RunError {
    let code = answer.status.as_str();
    let summary = format!(
        "expected HTTP {expected}, got HTTP {code}: {}",
        preview(&answer.payload)
    );
    RunError::failed("http_status", summary.trim_end())
}

fn unusable(summary: String) -> RunError {
    RunError::failed("invalid_response", summary.trim_end())
}
