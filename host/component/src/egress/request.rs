//! From the resource `outgoing-request` to a request that the client sends.

use super::error_code::{code, of_own_body};
use bytes::Bytes;
use executor_runtime_egress::RequestBodyError;
use http::{HeaderMap, Method, Request, Uri, header::CONTENT_LENGTH, uri::Scheme};
use http_body::{Body, Frame, SizeHint};
use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, Waker},
};
use wasmtime_wasi_http::{
    WasiBody,
    p2::{
        bindings::http::types::{self, ErrorCode},
        types::HostOutgoingRequest,
    },
};

/// The request, with as much of its body as the guest has written so far.
///
/// # Errors
/// When a part of it is not HTTP, or the length that it announces is not that of its body.
pub(super) fn request(outgoing: HostOutgoingRequest) -> Result<Request<OutgoingBody>, ErrorCode> {
    let body = OutgoingBody::new(outgoing.body)?;
    let headers = HeaderMap::from(outgoing.headers);
    if body.is_whole() {
        check_length(&headers, body.ready_bytes())?;
    }
    let uri = Uri::builder()
        .scheme(scheme(outgoing.scheme)?)
        .authority(outgoing.authority.unwrap_or_default())
        .path_and_query(outgoing.path_with_query.as_deref().unwrap_or("/"))
        .build()
        .map_err(|_| ErrorCode::HttpRequestUriInvalid)?;
    let mut request = Request::new(body);
    *request.method_mut() = method(outgoing.method)?;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    Ok(request)
}

/// The streamed body checks its length itself, when the guest finishes it.
fn check_length(headers: &HeaderMap, length: u64) -> Result<(), ErrorCode> {
    match headers.get(CONTENT_LENGTH) {
        Some(announced) if announced.as_bytes() != length.to_string().as_bytes() => {
            Err(ErrorCode::HttpRequestBodySize(Some(length)))
        }
        _ => Ok(()),
    }
}

fn method(method: types::Method) -> Result<Method, ErrorCode> {
    method.try_into().map_err(|_| ErrorCode::HttpRequestMethodInvalid)
}

/// Without a scheme a request is `https`, as the WIT has it.
fn scheme(scheme: Option<types::Scheme>) -> Result<Scheme, ErrorCode> {
    match scheme {
        Some(types::Scheme::Http) => Ok(Scheme::HTTP),
        Some(types::Scheme::Https) | None => Ok(Scheme::HTTPS),
        Some(types::Scheme::Other(_)) => Err(ErrorCode::HttpProtocolError),
    }
}

/// A request's body: what the guest has written, and what is still to come.
pub(crate) struct OutgoingBody {
    ready: VecDeque<Frame<Bytes>>,
    rest: Option<WasiBody>,
}

impl OutgoingBody {
    /// Takes what is there. The guest's stream holds a bounded number of chunks, and so does this.
    fn new(body: Option<WasiBody>) -> Result<Self, ErrorCode> {
        let mut ready = VecDeque::new();
        let mut rest = body;
        // Nobody has to be woken: hyper polls what is left again.
        let mut context = Context::from_waker(Waker::noop());
        while let Some(body) = &mut rest {
            match Pin::new(body).poll_frame(&mut context) {
                Poll::Ready(Some(frame)) => {
                    ready.push_back(frame.map_err(|error| code((&of_own_body(&error)).into()))?)
                }
                Poll::Ready(None) => rest = None,
                Poll::Pending => break,
            }
        }
        Ok(Self { ready, rest })
    }

    /// Whether nothing is still to come from the guest.
    pub(super) fn is_whole(&self) -> bool {
        self.rest.is_none()
    }

    fn ready_bytes(&self) -> u64 {
        let data = self.ready.iter().filter_map(Frame::data_ref);
        data.map(|bytes| bytes.len() as u64).sum()
    }
}

impl Body for OutgoingBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        if let Some(frame) = self.ready.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        match &mut self.rest {
            Some(rest) => Pin::new(rest).poll_frame(cx).map_err(|error| of_own_body(&error)),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ready.is_empty() && self.rest.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.rest {
            None => SizeHint::with_exact(self.ready_bytes()),
            Some(_) => SizeHint::default(),
        }
    }
}
