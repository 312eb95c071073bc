//! Removing what is no longer wanted.

use crate::{
    api::{Api, json},
    documents::{PruneRequest, Pruned},
    extract,
    problem::Problem,
};
use axum::{body::Body, extract::State, response::Response};
use executor_runtime_service::Prune;
use http::{HeaderMap, StatusCode};
use std::time::Duration;

/// Remove runs that have ended from the journal
///
/// What runs have written stays, unless `captures` says otherwise.
#[utoipa::path(
    post, path = "/v1/prune", tag = "host",
    request_body(content = PruneRequest, content_type = "application/json"),
    responses(
        (status = 200, description = "What was removed", body = Pruned),
        (status = 400, description = "The document can't be used", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn prune(
    State(api): State<Api>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let request: PruneRequest = extract::json(&headers, body).await?;
    let prune = Prune {
        older_than: Some(Duration::from_secs(request.older_than_seconds)),
        keep: None,
        captures: request.captures,
    };
    let pruned = api.runs.prune(prune).await?;
    Ok(json(StatusCode::OK, &Pruned::from(pruned)))
}
