//! The span of one request of a component, and the header by which the server continues it. Names and attributes are
//! OpenTelemetry's for HTTP clients. A path or a query may hold a secret, so neither is told.

use executor_runtime_egress::RequestError;
use executor_runtime_run::trace::{Span, SpanKind, TRACEPARENT, TRACESTATE};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, uri::Scheme};

/// Methods that name a span. A guest can make up any number of others, which would make any number of names.
const KNOWN: [Method; 9] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::DELETE,
    Method::CONNECT,
    Method::OPTIONS,
    Method::TRACE,
    Method::PATCH,
];

/// Begins the span of a request, below that of its run.
pub(super) fn begin<B>(run: &Span, request: &Request<B>) -> Span {
    if !run.is_recorded() {
        return run.clone();
    }
    let known = KNOWN.iter().find(|known| *known == request.method());
    let span = run.child(
        known.map_or_else(|| "HTTP".to_owned(), ToString::to_string),
        SpanKind::Client,
    );
    match known {
        Some(method) => span.set("http.request.method", method.to_string()),
        None => span.set("http.request.method", "_OTHER"),
    }
    tell_server(&span, request.uri());
    span
}

fn tell_server(span: &Span, uri: &Uri) {
    let is_https = uri.scheme() == Some(&Scheme::HTTPS);
    span.set("url.scheme", if is_https { "https" } else { "http" });
    if let Some(host) = uri.host() {
        span.set("server.address", host.trim_matches(['[', ']']).to_owned());
        let default = if is_https { 443 } else { 80 };
        span.set("server.port", i64::from(uri.port_u16().unwrap_or(default)));
    }
}

/// Names the span to the server, unless the plugin names one of its own.
pub(super) fn put_into(headers: &mut HeaderMap, span: &Span) {
    let Some(context) = span.context() else { return };
    if headers.contains_key(TRACEPARENT) {
        return;
    }
    if let Ok(value) = HeaderValue::try_from(context.traceparent()) {
        headers.insert(TRACEPARENT, value);
        headers.remove(TRACESTATE);
    }
    if let Some(Ok(state)) = context.tracestate().map(HeaderValue::try_from) {
        headers.insert(TRACESTATE, state);
    }
}

/// Ends the span of a request with the head of its answer.
pub(super) fn answered(span: &Span, status: StatusCode) {
    span.set("http.response.status_code", i64::from(status.as_u16()));
    if status.is_client_error() || status.is_server_error() {
        span.fail(status.as_u16().to_string());
    }
    span.end();
}

/// Ends the span of a request that has no answer.
pub(super) fn failed(span: &Span, error: &RequestError) {
    span.fail(name(error));
    span.end();
}

fn name(error: &RequestError) -> &'static str {
    match error {
        RequestError::InvalidUri => "invalid_uri",
        RequestError::Denied => "denied",
        RequestError::TooMany => "too_many_requests",
        RequestError::Configuration => "tls_configuration",
        RequestError::Dns(_) => "dns",
        RequestError::Guarded => "guarded_address",
        RequestError::Unroutable => "no_route",
        RequestError::Refused => "connection_refused",
        RequestError::ConnectTimeout => "connect_timeout",
        RequestError::ReadTimeout | RequestError::ResponseTimeout => "timeout",
        RequestError::Terminated => "connection_closed",
        RequestError::Certificate => "certificate",
        RequestError::TlsAlert { .. } | RequestError::Tls => "tls",
        RequestError::RequestBodyLength(_) => "request_body_length",
        RequestError::ResponseIncomplete => "incomplete_response",
        RequestError::Protocol => "protocol",
        RequestError::Other(_) => "other",
    }
}
