//! What all handlers share.

use crate::{extract::BODY_UNITS, metrics::Requests};
use axum::{body::Body, response::Response};
use executor_runtime_service::Runs;
use http::{HeaderValue, StatusCode, header::CONTENT_TYPE};
use std::sync::Arc;
use tokio::sync::{Semaphore, watch};

/// How far this process is on its way to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// It takes runs.
    Serving,
    /// It takes no more runs, and waits for those that it has.
    Closing,
    /// No run is under way. Clients that wait are answered now.
    Ended,
}

/// The runs, and what bounds the requests.
pub(crate) struct Shared {
    pub(crate) runs: Runs,
    pub(crate) requests: Requests,
    /// Room for bodies of requests.
    pub(crate) bodies: Semaphore,
    /// The turn to read a long document.
    pub(crate) long_documents: Semaphore,
    phase: watch::Receiver<Phase>,
}

/// A handle on it, which handlers get.
pub(crate) type Api = Arc<Shared>;

impl Shared {
    pub(crate) fn new(runs: Runs, phase: watch::Receiver<Phase>) -> Self {
        Self {
            runs,
            requests: Requests::default(),
            bodies: Semaphore::new(BODY_UNITS),
            long_documents: Semaphore::new(1),
            phase,
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// To wait for the end with.
    pub(crate) fn ending(&self) -> Ending {
        Ending(self.phase.clone())
    }
}

/// Tells when clients that wait have to be answered.
pub(crate) struct Ending(watch::Receiver<Phase>);

impl Ending {
    pub(crate) async fn reached(&mut self) {
        // If the sender is gone, this process is as good as over.
        let _ = self.0.wait_for(|phase| *phase == Phase::Ended).await;
    }
}

/// A JSON document as an answer.
pub(crate) fn json(status: StatusCode, document: &impl serde::Serialize) -> Response {
    // The documents of the API have text as keys.
    let text = serde_json::to_vec(document).unwrap_or_default();
    typed(status, "application/json", text)
}

/// An answer of some type.
pub(crate) fn typed(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
