//! From the codes of WASI HTTP to errors in words.

use super::bindings::wasi::http::types::ErrorCode;
use crate::http::HttpError;

pub(super) fn from_code(code: &ErrorCode, host: &str) -> HttpError {
    let host = host.to_owned();
    let unreachable = |reason: &str| HttpError::Unreachable {
        host: host.clone(),
        reason: reason.to_owned(),
    };
    let protocol = |reason: String| HttpError::Protocol {
        host: host.clone(),
        reason,
    };
    match code {
        ErrorCode::DnsError(payload) => HttpError::Dns {
            host,
            reason: payload
                .rcode
                .clone()
                .unwrap_or_else(|| "the name can't be resolved".to_owned()),
        },
        ErrorCode::DnsTimeout => HttpError::Dns {
            host,
            reason: "the resolver does not answer".to_owned(),
        },
        ErrorCode::DestinationNotFound => HttpError::Dns {
            host,
            reason: "the name is not known".to_owned(),
        },
        ErrorCode::HttpRequestDenied | ErrorCode::DestinationIpProhibited => HttpError::Denied { host },
        ErrorCode::ConnectionRefused => HttpError::Refused { host },
        ErrorCode::DestinationUnavailable => unreachable("the destination is not available"),
        ErrorCode::DestinationIpUnroutable => unreachable("no route to the address"),
        ErrorCode::ConnectionTimeout => unreachable("no answer to the attempt to connect"),
        ErrorCode::ConnectionReadTimeout
        | ErrorCode::ConnectionWriteTimeout
        | ErrorCode::HttpResponseTimeout => unreachable("no answer in the time that the host allows"),
        ErrorCode::ConnectionLimitReached => unreachable("the host has no connection left"),
        ErrorCode::ConnectionTerminated | ErrorCode::HttpResponseIncomplete => {
            HttpError::Disconnected { host }
        }
        ErrorCode::TlsCertificateError => HttpError::Tls {
            host,
            check: "its certificate is not valid".to_owned(),
        },
        ErrorCode::TlsAlertReceived(alert) => HttpError::Tls {
            host,
            check: match &alert.alert_message {
                Some(message) => format!("the server aborted it: {message}"),
                None => "the server aborted it".to_owned(),
            },
        },
        ErrorCode::TlsProtocolError => HttpError::Tls {
            host,
            check: "the handshake failed".to_owned(),
        },
        // The host adds what is missing.
        ErrorCode::ConfigurationError => HttpError::Other {
            host,
            reason: "the host has no working HTTP client for it".to_owned(),
        },
        ErrorCode::HttpRequestUriInvalid
        | ErrorCode::HttpRequestMethodInvalid
        | ErrorCode::HttpRequestUriTooLong
        | ErrorCode::HttpRequestHeaderSectionSize(_)
        | ErrorCode::HttpRequestHeaderSize(_)
        | ErrorCode::HttpRequestLengthRequired => HttpError::InvalidRequest {
            reason: format!("the host refused it ({})", words(code)),
        },
        ErrorCode::HttpRequestBodySize(_) => HttpError::Body {
            reason: "its length is not its content-length".to_owned(),
        },
        ErrorCode::InternalError(Some(reason)) => HttpError::Other {
            host,
            reason: reason.clone(),
        },
        ErrorCode::InternalError(None) => HttpError::Other {
            host,
            reason: "the host's HTTP client failed".to_owned(),
        },
        other => protocol(words(other)),
    }
}

/// The code's name in lower case, as WIT spells it.
fn words(code: &ErrorCode) -> String {
    let name = format!("{code:?}");
    let name = name.strip_prefix("ErrorCode::").unwrap_or(&name);
    let end = name.find(['(', ' ', '{']).unwrap_or(name.len());
    let mut words = String::new();
    for c in name[..end].chars() {
        if c.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(c.to_ascii_lowercase());
    }
    words
}
