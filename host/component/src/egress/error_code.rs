//! From the errors of egress to the codes of `wasi:http`, and back from those that a stream of a body has.

use executor_runtime_egress::{RequestBodyError, RequestError};
use wasmtime_wasi_http::{
    Error,
    p2::bindings::http::types::{DnsErrorPayload, ErrorCode, TlsAlertReceivedPayload},
};

/// What the guest is told.
pub(super) fn code(error: RequestError) -> ErrorCode {
    match error {
        RequestError::InvalidUri => ErrorCode::HttpRequestUriInvalid,
        RequestError::Denied => ErrorCode::HttpRequestDenied,
        RequestError::TooMany => ErrorCode::ConnectionLimitReached,
        RequestError::Configuration => ErrorCode::ConfigurationError,
        RequestError::Dns(words) => ErrorCode::DnsError(DnsErrorPayload {
            rcode: Some(words),
            info_code: None,
        }),
        RequestError::Guarded => ErrorCode::DestinationIpProhibited,
        RequestError::Unroutable => ErrorCode::DestinationIpUnroutable,
        RequestError::Refused => ErrorCode::ConnectionRefused,
        RequestError::ConnectTimeout => ErrorCode::ConnectionTimeout,
        RequestError::ReadTimeout => ErrorCode::ConnectionReadTimeout,
        RequestError::Terminated => ErrorCode::ConnectionTerminated,
        RequestError::Certificate => ErrorCode::TlsCertificateError,
        RequestError::TlsAlert { number, words } => ErrorCode::TlsAlertReceived(TlsAlertReceivedPayload {
            alert_id: Some(number),
            alert_message: Some(words),
        }),
        RequestError::Tls => ErrorCode::TlsProtocolError,
        RequestError::RequestBodyLength(length) => ErrorCode::HttpRequestBodySize(length),
        RequestError::ResponseIncomplete => ErrorCode::HttpResponseIncomplete,
        RequestError::ResponseTimeout => ErrorCode::HttpResponseTimeout,
        RequestError::Protocol => ErrorCode::HttpProtocolError,
        RequestError::Other(words) => ErrorCode::InternalError(Some(words)),
    }
}

/// The error of a request body that the guest broke off, or that is not as long as it announced.
pub(super) fn of_own_body(error: &Error) -> RequestBodyError {
    let words = error.to_string();
    match error {
        Error::HttpRequestBodySize(size) => RequestBodyError::Length(*size, words),
        _ => RequestBodyError::BrokenOff(words),
    }
}

/// The code for an error that a response's body ended with: one of those that [`code`] gives.
pub(super) fn of_body(error: &Error) -> ErrorCode {
    match error {
        Error::ConnectionRefused => ErrorCode::ConnectionRefused,
        Error::ConnectionTerminated => ErrorCode::ConnectionTerminated,
        Error::ConnectionTimeout => ErrorCode::ConnectionTimeout,
        Error::ConnectionReadTimeout => ErrorCode::ConnectionReadTimeout,
        Error::DestinationIpUnroutable => ErrorCode::DestinationIpUnroutable,
        Error::TlsProtocolError => ErrorCode::TlsProtocolError,
        Error::TlsCertificateError => ErrorCode::TlsCertificateError,
        Error::TlsAlertReceived {
            alert_id,
            alert_message,
        } => ErrorCode::TlsAlertReceived(TlsAlertReceivedPayload {
            alert_id: *alert_id,
            alert_message: alert_message.clone(),
        }),
        Error::HttpResponseIncomplete => ErrorCode::HttpResponseIncomplete,
        Error::HttpResponseTimeout => ErrorCode::HttpResponseTimeout,
        Error::HttpProtocolError => ErrorCode::HttpProtocolError,
        other => ErrorCode::InternalError(Some(other.to_string())),
    }
}
