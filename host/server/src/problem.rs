//! Errors as the API has them: `application/problem+json` (RFC 9457), each saying what is wrong and what to do.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use executor_runtime_protocol::InvalidDocument;
use executor_runtime_service::{JournalError, SubmitError};
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use serde::Serialize;
use std::time::Duration;
use utoipa::ToSchema;

/// How long a client is told to wait when the host is ending or its journal can't be written.
const LATER: Duration = Duration::from_secs(5);

/// Why a request was not carried out.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// What kind of problem it is: `about:blank`, for what the status says.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: &'static str,
    /// The status.
    status: u16,
    /// What is wrong, and what to do.
    detail: String,
    /// Everything that is wrong with a document.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<DocumentProblem>,
    /// How many further problems the document has.
    #[serde(skip_serializing_if = "Option::is_none")]
    errors_omitted: Option<usize>,
    #[serde(skip)]
    headers: Box<HeaderMap>,
}

/// One thing that is wrong with a document.
#[derive(Debug, Serialize, ToSchema)]
struct DocumentProblem {
    /// JSON pointer to the value; empty for the document as a whole.
    pointer: String,
    /// What is there.
    found: String,
    /// What should be there.
    expected: String,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or_default(),
            status: status.as_u16(),
            detail: detail.into(),
            errors: Vec::new(),
            errors_omitted: None,
            headers: Box::default(),
        }
    }

    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// There is no run of this id.
    pub(crate) fn no_run(id: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            format!("there is no run with invocation_id {id:?}"),
        )
    }

    #[must_use]
    pub(crate) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Tells when to try again.
    fn retry_after(self, wait: Duration) -> Self {
        let seconds = wait.as_secs().max(1);
        self.with_header(RETRY_AFTER, seconds.into())
    }
}

impl IntoResponse for Problem {
    fn into_response(mut self) -> Response {
        let headers = std::mem::take(&mut *self.headers);
        // A struct of texts and numbers is always JSON.
        let text = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = Response::new(Body::from(text));
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response.headers_mut().extend(headers);
        response
    }
}

impl From<InvalidDocument> for Problem {
    fn from(invalid: InvalidDocument) -> Self {
        let text = invalid.to_string();
        let mut problem = Self::bad_request(text.lines().next().unwrap_or_default());
        problem.errors_omitted = Some(invalid.omitted).filter(|omitted| *omitted > 0);
        problem.errors = invalid
            .problems
            .into_iter()
            .map(|problem| DocumentProblem {
                pointer: problem.pointer,
                found: problem.found,
                expected: problem.expected,
            })
            .collect();
        problem
    }
}

impl From<JournalError> for Problem {
    fn from(error: JournalError) -> Self {
        tracing::warn!("{error}");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()).retry_after(LATER)
    }
}

impl From<SubmitError> for Problem {
    fn from(error: SubmitError) -> Self {
        let detail = error.to_string();
        match error {
            SubmitError::Conflict { .. } => Self::new(StatusCode::CONFLICT, detail),
            SubmitError::QueueFull { retry_after, .. } | SubmitError::QueueTooLarge { retry_after } => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, detail).retry_after(retry_after)
            }
            SubmitError::Closing => Self::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(LATER),
            SubmitError::Journal(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use executor_runtime_protocol::RuntimeInvocation;

    #[test]
    fn a_problem_has_the_fields_of_the_standard_and_those_of_the_document() {
        let invalid = RuntimeInvocation::from_json(b"[]").unwrap_err();
        let problem = serde_json::to_value(Problem::from(invalid)).unwrap();
        assert_eq!(
            problem,
            serde_json::json!({
                "type": "about:blank", "title": "Bad Request", "status": 400,
                "detail": "not a valid RuntimeInvocation: 1 problem",
                "errors": [{
                    "pointer": "", "found": "an empty array",
                    "expected": "a RuntimeInvocation, a JSON object",
                }],
            })
        );
    }

    #[test]
    fn a_wait_of_less_than_a_second_is_told_as_one() {
        let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "the queue is full")
            .retry_after(Duration::from_millis(3));
        assert_eq!(problem.into_response().headers()[RETRY_AFTER], "1");
    }
}
