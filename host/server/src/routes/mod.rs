//! The routes. What a route is and how it is described is one declaration, so that none is missing in the OpenAPI document.

mod events;
mod health;
mod kinds;
mod logs;
mod prune;
mod result;
mod runs;

use crate::{api::Api, openapi, problem::Problem};
use axum::{
    Router,
    routing::{MethodRouter, get, post},
};
use http::StatusCode;
use utoipa::openapi::Paths;

/// The router, and the paths that it has.
pub(crate) struct Routes {
    pub(crate) router: Router<Api>,
    pub(crate) paths: Paths,
}

impl Routes {
    fn new() -> Self {
        Self {
            router: Router::new(),
            paths: Paths::new(),
        }
    }

    /// Adds a route as it is described by `P`.
    fn with<P: utoipa::Path>(mut self, handler: MethodRouter<Api>) -> Self {
        let path = P::path();
        self.router = self.router.route(&path, handler);
        self.paths.add_path_operation(path, P::methods(), P::operation());
        self
    }
}

/// All routes.
pub(crate) fn all() -> Routes {
    let mut routes = Routes::new()
        .with::<runs::__path_submit>(post(runs::submit))
        .with::<runs::__path_list>(get(runs::list))
        .with::<runs::__path_show>(get(runs::show))
        .with::<runs::__path_cancel>(post(runs::cancel))
        .with::<result::__path_result>(get(result::result))
        .with::<events::__path_events>(get(events::events))
        .with::<logs::__path_log>(get(logs::log))
        .with::<logs::__path_artifact>(get(logs::artifact))
        .with::<kinds::__path_kinds>(get(kinds::kinds))
        .with::<prune::__path_prune>(post(prune::prune))
        .with::<health::__path_health>(get(health::health))
        .with::<health::__path_metrics>(get(health::metrics))
        .with::<openapi::__path_document>(get(openapi::document));
    routes.router = routes
        .router
        .fallback(|| async {
            Problem::new(StatusCode::NOT_FOUND, "there is no such path; see /openapi.json")
        })
        .method_not_allowed_fallback(|| async {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "this path has other methods; see /openapi.json",
            )
        });
    routes
}
