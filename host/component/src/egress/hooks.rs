//! What a run's side of `wasi:http` decides: who may be asked, and how much at a time.

use super::{
    EgressClient, RequestFailures, exchange::Exchange, request::OutgoingBody, request_failures::Denial,
};
use executor_runtime_egress::{Authority, AuthorityError, Grant};
use http::{HeaderValue, Request};
use std::{future::Future, sync::Arc};
use tokio::sync::Semaphore;
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttpHooks, p2::bindings::http::types::ErrorCode,
};

/// Requests that one run may have in flight; each has a connection and its buffers.
const IN_FLIGHT: usize = 64;

/// Bytes of a request body that the guest may write in one call.
const BODY_CHUNK: usize = 128 * 1024;

/// The authority that a request goes to.
fn authority_of(uri: &http::Uri) -> Result<Authority, AuthorityError> {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    Authority::of_parts(uri.scheme_str().unwrap_or_default(), authority)
}

/// The side of `wasi:http` that belongs to one run.
pub(crate) struct EgressHooks {
    client: EgressClient,
    grant: Arc<Grant>,
    request_failures: Arc<RequestFailures>,
    in_flight: Arc<Semaphore>,
}

impl EgressHooks {
    pub(crate) fn new(
        client: EgressClient,
        grant: Arc<Grant>,
        request_failures: Arc<RequestFailures>,
    ) -> Self {
        Self {
            client,
            grant,
            request_failures,
            in_flight: Arc::new(Semaphore::new(IN_FLIGHT)),
        }
    }

    /// Begins to send a request, if it is granted.
    pub(super) fn begin(&self, mut request: Request<OutgoingBody>, options: RequestOptions) -> Exchange {
        let admitted = self.admit(&request).and_then(|authority| {
            let place = Arc::clone(&self.in_flight)
                .try_acquire_owned()
                .map_err(|_| ErrorCode::ConnectionLimitReached)?;
            Ok((authority, place))
        });
        let (authority, place) = match admitted {
            Ok(admitted) => admitted,
            Err(code) => return Exchange::failed(code),
        };
        request
            .headers_mut()
            .entry(http::header::USER_AGENT)
            .or_insert(USER_AGENT);
        let whole = request.body().is_whole();
        let client = self.client.clone();
        let request_failures = Arc::clone(&self.request_failures);
        Exchange::begin(whole, |dispatched| async move {
            client
                .send(request, authority, options, place, &request_failures, &dispatched)
                .await
        })
    }

    fn admit<B>(&self, request: &Request<B>) -> Result<Authority, ErrorCode> {
        let authority = authority_of(request.uri()).map_err(|_| ErrorCode::HttpRequestUriInvalid)?;
        if self.grant.allows(&authority) {
            Ok(authority)
        } else {
            tracing::debug!(%authority, "request denied: no grant");
            self.request_failures.deny(Denial::NoGrant(authority));
            Err(ErrorCode::HttpRequestDenied)
        }
    }
}

type Sent = Result<
    (
        http::Response<WasiBody>,
        Box<dyn Future<Output = Result<(), Error>> + Send>,
    ),
    Error,
>;

impl WasiHttpHooks for EgressHooks {
    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        BODY_CHUNK
    }

    /// Never asked: requests go through the [handler](super::handler) of this crate. Were it asked all the
    /// same, nothing would be sent.
    fn send_request(
        &mut self,
        _: Request<WasiBody>,
        _: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        Box::new(async { Err(Error::HttpRequestDenied) })
    }
}

/// Sent unless the guest sets its own: servers that log or limit by client want to know.
const USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("executor-runtime/", env!("CARGO_PKG_VERSION")));
