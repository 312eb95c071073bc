//! What `wasi:http` calls when a guest makes a request.

use super::{Authority, EgressClient, Grant, Ledger, ledger::Denial};
use http::{HeaderValue, Request, Response};
use std::{future::Future, sync::Arc};
use tokio::sync::Semaphore;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

/// Requests that one run may have in flight; each has a connection and its buffers.
const IN_FLIGHT: usize = 64;

/// Bytes of a request body that the guest may write in one call.
const BODY_CHUNK: usize = 128 * 1024;

/// The side of `wasi:http` that belongs to one run.
pub(in crate::component) struct EgressHooks {
    client: EgressClient,
    grant: Arc<Grant>,
    ledger: Arc<Ledger>,
    in_flight: Arc<Semaphore>,
}

impl EgressHooks {
    pub(in crate::component) fn new(client: EgressClient, grant: Arc<Grant>, ledger: Arc<Ledger>) -> Self {
        Self {
            client,
            grant,
            ledger,
            in_flight: Arc::new(Semaphore::new(IN_FLIGHT)),
        }
    }

    fn admit(&self, request: &Request<WasiBody>) -> Result<Authority, Error> {
        let authority = Authority::of_request(request.uri()).map_err(|_| Error::HttpRequestUriInvalid)?;
        if self.grant.allows(&authority) {
            Ok(authority)
        } else {
            tracing::debug!(%authority, "request denied: no grant");
            self.ledger.deny(Denial::NoGrant(authority));
            Err(Error::HttpRequestDenied)
        }
    }
}

type ResponseParts = (
    Response<WasiBody>,
    Box<dyn Future<Output = Result<(), Error>> + Send>,
);

impl WasiHttpHooks for EgressHooks {
    fn set_host_header(&mut self) -> bool {
        // The client sets it from the URI, which is what the grant was asked about.
        false
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        BODY_CHUNK
    }

    fn send_request(
        &mut self,
        mut request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _processed: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<ResponseParts, Error>> + Send> {
        let admitted = self.admit(&request).and_then(|authority| {
            let place = Arc::clone(&self.in_flight)
                .try_acquire_owned()
                .map_err(|_| Error::ConnectionLimitReached)?;
            Ok((authority, place))
        });
        let client = self.client.clone();
        let ledger = Arc::clone(&self.ledger);
        Box::new(async move {
            let (authority, place) = admitted?;
            request
                .headers_mut()
                .entry(http::header::USER_AGENT)
                .or_insert(USER_AGENT);
            let response = client
                .send(request, authority, options.unwrap_or_default(), place, &ledger)
                .await?;
            let processed: Box<dyn Future<Output = Result<(), Error>> + Send> = Box::new(async { Ok(()) });
            Ok((response, processed))
        })
    }
}

/// Sent unless the guest sets its own: servers that log or limit by client want to know.
const USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("executor-runtime/", env!("CARGO_PKG_VERSION")));
