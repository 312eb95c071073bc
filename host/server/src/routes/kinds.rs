//! The kinds that can run.

use crate::{
    api::{Api, json},
    documents::{Kind, Kinds},
    problem::Problem,
};
use axum::{extract::State, response::Response};
use executor_runtime_run::exhaustion;
use http::StatusCode;

/// List the kinds that can run, and what runs each
#[utoipa::path(
    get, path = "/v1/kinds", tag = "host",
    responses((status = 200, description = "The kinds", body = Kinds))
)]
pub(crate) async fn kinds(State(api): State<Api>) -> Result<Response, Problem> {
    // Plugins directories may have to be read.
    let listed = exhaustion::run_blocking(move || {
        let origins = api.runs.service().host().origins();
        origins
            .iter()
            .map(|(kind, origin)| Kind::new(kind, origin))
            .collect()
    });
    match listed.await {
        Ok(kinds) => Ok(json(StatusCode::OK, &Kinds { kinds })),
        Err(error) => Err(Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("the kinds can't be listed: {error}"),
        )),
    }
}
