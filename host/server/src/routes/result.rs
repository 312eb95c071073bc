//! The result of a run, with waiting for it.

use crate::{
    api::{Api, json},
    documents::RunSummary,
    extract::{Path, Query, seconds},
    problem::Problem,
};
use axum::{extract::State, response::Response};
use executor_runtime_service::Waited;
use http::StatusCode;
use serde::Deserialize;
use std::time::Duration;
use tokio::time::Instant;
use utoipa::IntoParams;

/// The longest time that a request may wait.
pub(super) const MAX_WAIT: Duration = Duration::from_secs(3600);

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ResultQuery {
    /// How many seconds to wait for the end of the run.
    #[param(value_type = Option<f64>, minimum = 0, maximum = 3600, default = 0)]
    wait: Option<String>,
}

/// Get the result of a run
///
/// Without `wait` the answer comes at once. If the host is ending, those who wait are answered before their time.
#[utoipa::path(
    get, path = "/v1/runs/{id}/result", tag = "runs",
    params(("id" = String, Path, description = "The invocation_id, percent-encoded"), ResultQuery),
    responses(
        (status = 200, description = "The result", body = ref("#/components/schemas/RuntimeResult"), content_type = "application/json"),
        (status = 202, description = "It has not ended yet", body = RunSummary),
        (status = 400, description = "The path or the query can't be used", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such run", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn result(
    State(api): State<Api>,
    Path(id): Path<String>,
    Query(query): Query<ResultQuery>,
) -> Result<Response, Problem> {
    let wait = seconds("wait", query.wait.as_deref(), MAX_WAIT)?.unwrap_or_default();
    result_within(&api, &id, wait).await
}

/// The result of a run, or the run itself if it has not ended in time.
pub(super) async fn result_within(api: &Api, id: &str, wait: Duration) -> Result<Response, Problem> {
    let now = Instant::now();
    let mut ending = api.ending();
    let waited = tokio::select! {
        biased;
        waited = api.runs.wait(id, Some(now + wait)) => waited,
        () = ending.reached() => api.runs.wait(id, Some(now)).await,
    };
    match waited?.ok_or_else(|| Problem::no_run(id))? {
        Waited::Ended(result) => Ok(json(StatusCode::OK, &*result)),
        Waited::Unfinished(run) => Ok(json(StatusCode::ACCEPTED, &RunSummary::from(*run))),
    }
}
