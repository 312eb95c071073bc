//! A run's side of `wasi:http`, in front of what the host decides about its requests.

use super::{error_code::code, exchange::Exchange, request::OutgoingBody, traced};
use executor_runtime_egress::{EgressClient, Grant, RequestFailures, RunEgress, Timeouts};
use executor_runtime_run::trace::Span;
use http::Request;
use http_body_util::BodyExt;
use std::{future::Future, sync::Arc};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

/// Bytes of a request body that the guest may write in one call.
const BODY_CHUNK: usize = 128 * 1024;

/// The side of `wasi:http` that belongs to one run.
pub(crate) struct EgressHooks {
    egress: RunEgress<OutgoingBody>,
    /// The run's.
    span: Span,
}

impl EgressHooks {
    pub(crate) fn new(
        client: EgressClient<OutgoingBody>,
        grant: Arc<Grant>,
        request_failures: Arc<RequestFailures>,
        span: Span,
    ) -> Self {
        Self {
            egress: RunEgress::new(client, grant, request_failures),
            span,
        }
    }

    /// Begins to send a request, if it is granted.
    pub(super) fn begin(&self, request: Request<OutgoingBody>, options: RequestOptions) -> Exchange {
        let whole = request.body().is_whole();
        let mut admitted = match self.egress.admit(request) {
            Ok(admitted) => admitted,
            Err(error) => return Exchange::failed(code(error)),
        };
        let span = traced::begin(&self.span, admitted.request());
        traced::put_into(admitted.headers_mut(), &span);
        let timeouts = Timeouts {
            connect: options.connect_timeout,
            first_byte: options.first_byte_timeout,
            between_bytes: options.between_bytes_timeout,
        };
        Exchange::begin(whole, |dispatched| async move {
            let response = match admitted.send(timeouts, &dispatched).await {
                Ok(response) => response,
                Err(error) => {
                    traced::failed(&span, &error);
                    return Err(code(error));
                }
            };
            traced::answered(&span, response.status());
            Ok(response.map(|body| body.map_err(|error| code(error).into()).boxed_unsync()))
        })
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
