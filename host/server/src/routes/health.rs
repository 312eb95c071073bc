//! How the host is: for people, load balancers and Prometheus.

use crate::{
    api::{Api, Phase, json, typed},
    documents::Health,
    metrics,
    problem::Problem,
};
use axum::{extract::State, response::Response};
use http::StatusCode;

/// Ask whether the host can take runs
///
/// Needs no token.
#[utoipa::path(
    get, path = "/healthz", tag = "host", security(()),
    responses(
        (status = 200, description = "It can", body = Health),
        (status = 503, description = "It can't, and why", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn health(State(api): State<Api>) -> Result<Response, Problem> {
    let unwell = |reason: String| Problem::new(StatusCode::SERVICE_UNAVAILABLE, reason);
    if let Some(trouble) = api.runs.trouble() {
        return Err(unwell(trouble));
    }
    match api.phase() {
        Phase::Serving => Ok(json(StatusCode::OK, &Health { status: "ok" })),
        Phase::Closing | Phase::Ended => Err(unwell("the host is ending".to_owned())),
    }
}

/// Read the metrics of the host
#[utoipa::path(
    get, path = "/metrics", tag = "host",
    responses((status = 200, description = "In the text format of Prometheus", body = String, content_type = "text/plain; version=0.0.4"))
)]
pub(crate) async fn metrics(State(api): State<Api>) -> Response {
    let text = metrics::text(&api.runs.counts(), &api.requests, api.runs.trouble().is_none());
    typed(StatusCode::OK, "text/plain; version=0.0.4", text)
}
