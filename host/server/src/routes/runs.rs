//! Submitting, listing, showing and cancelling runs.

use crate::{
    api::{Api, json},
    documents::{RunList, RunStatus, RunSummary},
    extract::{self, Path, Query, seconds},
    problem::Problem,
    routes::result::{MAX_WAIT, result_within},
    traced,
};
use axum::{body::Body, extract::State, response::Response};
use executor_runtime::CancelReason;
use executor_runtime_protocol::{RuntimeKind, Status, Timestamp};
use executor_runtime_service::{Filter, SubmitOptions};
use http::{HeaderMap, HeaderValue, StatusCode, header::LOCATION};
use serde::Deserialize;
use std::{fmt::Write, time::Duration};
use utoipa::IntoParams;

/// The longest time that a run may be told to wait in the queue: a year.
const MAX_QUEUE_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 3600);
const MAX_PAGE: usize = 1000;
const DEFAULT_PAGE: usize = 100;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct SubmitQuery {
    /// How many seconds the run may wait until it is started. After that it ends, timed out. Without this it waits as long
    /// as it takes.
    #[param(value_type = Option<f64>, minimum = 0, maximum = 31_536_000)]
    queue_timeout: Option<String>,
    /// How many seconds to wait for the end of the run. If it has ended by then, the answer is its result (200), else the run
    /// (202). Without this the answer is the run: 202 if it is new, 200 if it was there before.
    #[param(value_type = Option<f64>, minimum = 0, maximum = 3600)]
    wait: Option<String>,
}

/// Submit a run
///
/// Idempotent by `invocation_id`: the same document again is the same run, also after its end. (`timeout_seconds` and
/// `output_result_path` may differ.) With `wait`, the answer is that of `GET /v1/runs/{id}/result`, so that a short run needs
/// only one request. If the caller disconnects while it waits, the run continues.
#[utoipa::path(
    post, path = "/v1/runs", tag = "runs",
    params(
        SubmitQuery,
        ("traceparent" = Option<String>, Header, description = "The trace that the run is part of (W3C trace context), unless the invocation's metadata names one"),
        ("tracestate" = Option<String>, Header, description = "What else is passed on in that trace"),
    ),
    request_body(content = ref("#/components/schemas/RuntimeInvocation"), content_type = "application/json"),
    responses(
        (status = 202, description = "It is accepted, and kept in the journal; with `wait`, it has not ended yet", body = RunSummary,
         headers(("Location" = String, description = "The path of the run"))),
        (status = 200, description = "With `wait`, the result; without, the same document was accepted before", body = RunSummary,
         headers(("Location" = String, description = "The path of the run"))),
        (status = 400, description = "The document is not an invocation, or the query can't be used", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Another document has this id", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The document is too long", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "The queue is full; see Retry-After", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The host is ending, or its journal can't be written; see Retry-After", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn submit(
    State(api): State<Api>,
    Query(query): Query<SubmitQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let options = SubmitOptions {
        queue_timeout: seconds("queue_timeout", query.queue_timeout.as_deref(), MAX_QUEUE_TIMEOUT)?,
        ..SubmitOptions::default()
    };
    let wait = seconds("wait", query.wait.as_deref(), MAX_WAIT)?;
    let (mut invocation, place) = extract::invocation(&api, &headers, body).await?;
    traced::take_over(&headers, &mut invocation);
    let submitted = api.runs.submit(invocation, options).await?;
    drop(place);
    let location = path_of(&submitted.run.invocation_id);
    let mut response = match wait {
        Some(wait) => result_within(&api, &submitted.run.invocation_id, wait).await?,
        None if submitted.is_new => json(StatusCode::ACCEPTED, &RunSummary::from(submitted.run)),
        None => json(StatusCode::OK, &RunSummary::from(submitted.run)),
    };
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// Only runs with this status.
    #[param(inline)]
    status: Option<RunStatus>,
    /// Only runs of this kind.
    #[param(pattern = "^[a-z][a-z0-9_]{0,63}$")]
    kind: Option<String>,
    /// Only runs that were accepted at this time or later.
    #[param(format = DateTime)]
    since: Option<String>,
    /// Where to go on: `next_cursor` of the page before.
    cursor: Option<String>,
    /// How many runs to list at most.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
}

impl ListQuery {
    fn filter(self) -> Result<Filter, Problem> {
        let kind = self.kind.as_deref().map(|name| {
            RuntimeKind::new(name).ok_or_else(|| {
                Problem::bad_request(format!(
                    "kind={name:?}: expected a lower-case letter, then at most 63 of a-z, 0-9 and _"
                ))
            })
        });
        let since = self.since.as_deref().map(|text| {
            Timestamp::parse(text).map_err(|error| Problem::bad_request(format!("since={text:?}: {error}")))
        });
        let cursor = self.cursor.as_deref().map(|text| {
            text.parse().map_err(|_| {
                Problem::bad_request(format!("cursor={text:?}: expected the next_cursor of a page"))
            })
        });
        let limit = self.limit.unwrap_or(DEFAULT_PAGE);
        if !(1..=MAX_PAGE).contains(&limit) {
            return Err(Problem::bad_request(format!(
                "limit={limit}: expected a number from 1 to {MAX_PAGE}"
            )));
        }
        Ok(Filter {
            status: self.status.map(Status::from),
            kind: kind.transpose()?,
            since: since.transpose()?,
            cursor: cursor.transpose()?,
            limit,
        })
    }
}

/// List runs
///
/// The newest first.
#[utoipa::path(
    get, path = "/v1/runs", tag = "runs", params(ListQuery),
    responses(
        (status = 200, description = "A page of runs", body = RunList),
        (status = 400, description = "The query can't be used", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list(
    State(api): State<Api>,
    Query(query): Query<ListQuery>,
) -> Result<Response, Problem> {
    let page = api.runs.list(query.filter()?).await?;
    let list = RunList {
        runs: page.runs.into_iter().map(RunSummary::from).collect(),
        next_cursor: page.next.map(|cursor| cursor.to_string()),
    };
    Ok(json(StatusCode::OK, &list))
}

/// Show a run
#[utoipa::path(
    get, path = "/v1/runs/{id}", tag = "runs",
    params(("id" = String, Path, description = "The invocation_id, percent-encoded")),
    responses(
        (status = 200, description = "The run", body = RunSummary),
        (status = 400, description = "The path or the query can't be used", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such run", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn show(State(api): State<Api>, Path(id): Path<String>) -> Result<Response, Problem> {
    let run = api.runs.get(&id).await?.ok_or_else(|| Problem::no_run(&id))?;
    Ok(json(StatusCode::OK, &RunSummary::from(run)))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct CancelQuery {
    /// Whether to end it at once, without its grace.
    #[serde(default)]
    #[param(default = false)]
    immediate: bool,
}

/// Cancel a run
///
/// A run that waits is not started; one that is under way is asked to stop, and ended after its grace.
#[utoipa::path(
    post, path = "/v1/runs/{id}/cancel", tag = "runs",
    params(("id" = String, Path, description = "The invocation_id, percent-encoded"), CancelQuery),
    responses(
        (status = 202, description = "It is going to end", body = RunSummary),
        (status = 200, description = "It has ended", body = RunSummary),
        (status = 400, description = "The path or the query can't be used", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such run", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn cancel(
    State(api): State<Api>,
    Path(id): Path<String>,
    Query(query): Query<CancelQuery>,
) -> Result<Response, Problem> {
    let reason = match query.immediate {
        true => CancelReason::Immediate,
        false => CancelReason::Requested,
    };
    let run = api.runs.cancel(&id, reason).await?;
    let run = run.ok_or_else(|| Problem::no_run(&id))?;
    let status = match run.status {
        Status::Pending | Status::Running => StatusCode::ACCEPTED,
        _ => StatusCode::OK,
    };
    Ok(json(status, &RunSummary::from(run)))
}

/// The path of a run, with everything in its id encoded that has a meaning in paths.
fn path_of(id: &str) -> String {
    let mut path = "/v1/runs/".to_owned();
    // A segment of dots alone has a meaning as well.
    let dots = id.bytes().all(|byte| byte == b'.');
    for byte in id.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'~' => path.push(byte.into()),
            b'.' if !dots => path.push('.'),
            _ => {
                let _ = write!(path, "%{byte:02X}");
            }
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::path_of;

    #[test]
    fn ids_of_any_text_are_one_segment_of_a_path() {
        for (id, path) in [
            ("run-1.a_b~C", "run-1.a_b~C"),
            ("..", "%2E%2E"),
            ("a/../b", "a%2F..%2Fb"),
            ("50% ä?#", "50%25%20%C3%A4%3F%23"),
        ] {
            assert_eq!(path_of(id), format!("/v1/runs/{path}"));
        }
    }
}
