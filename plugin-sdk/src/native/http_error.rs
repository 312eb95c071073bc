//! From `ureq`'s errors to errors in words.

use super::{
    secure::HandshakeFailed,
    socket::{Broken, Interrupted, LookupFailed},
};
use crate::http::HttpError;
use executor_runtime_tls::{is_about_certificate, words};
use std::io;

pub(super) fn from_ureq(error: ureq::Error, host: &str) -> HttpError {
    let host = host.to_owned();
    match error {
        ureq::Error::Timeout(_) => HttpError::Timeout,
        ureq::Error::HostNotFound => HttpError::Dns {
            host,
            reason: "the name is not known".to_owned(),
        },
        ureq::Error::Rustls(error) => tls(&error, host),
        ureq::Error::Tls(check) => HttpError::Tls {
            host,
            check: check.to_owned(),
        },
        ureq::Error::Io(error) => from_io(&error, host),
        ureq::Error::Other(inner) if inner.is::<Interrupted>() => HttpError::Stopped,
        ureq::Error::Other(inner) if inner.is::<Broken>() => HttpError::Disconnected { host },
        ureq::Error::Other(inner) => from_inner(inner, host),
        ureq::Error::Http(error) => HttpError::InvalidRequest {
            reason: error.to_string(),
        },
        ureq::Error::BadUri(reason) => HttpError::InvalidRequest { reason },
        ureq::Error::Protocol(error) => HttpError::Protocol {
            host,
            reason: error.to_string(),
        },
        ureq::Error::LargeResponseHeader(..) => HttpError::Protocol {
            host,
            reason: "its response headers are too long".to_owned(),
        },
        other => HttpError::Other {
            host,
            reason: other.to_string(),
        },
    }
}

/// From one of the errors that connector and resolver have made.
fn from_inner(inner: Box<dyn std::error::Error + Send + Sync>, host: String) -> HttpError {
    let inner = match inner.downcast::<HandshakeFailed>() {
        Ok(failed) => {
            return match from_ureq(failed.0, &host) {
                HttpError::Disconnected { host } => HttpError::HandshakeBroken { host },
                error => error,
            };
        }
        Err(inner) => inner,
    };
    match inner.downcast::<LookupFailed>() {
        Ok(failed) => HttpError::Dns {
            host,
            reason: failed.0,
        },
        Err(inner) => HttpError::Other {
            host,
            reason: inner.to_string(),
        },
    }
}

fn from_io(error: &io::Error, host: String) -> HttpError {
    // A request's body is read inside ureq.
    if let Some(inner) = error.get_ref() {
        if let Some(error) = inner.downcast_ref::<rustls::Error>() {
            return tls(error, host);
        }
        if let Some(error) = inner.downcast_ref::<HttpError>() {
            return error.clone();
        }
    }
    let unreachable = |reason: &str| HttpError::Unreachable {
        host: host.clone(),
        reason: reason.to_owned(),
    };
    match error.kind() {
        io::ErrorKind::ConnectionRefused => HttpError::Refused { host },
        io::ErrorKind::HostUnreachable => unreachable("no route to the host"),
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::AddrNotAvailable => {
            unreachable("the network is unreachable")
        }
        io::ErrorKind::TimedOut => unreachable("no answer to the attempt to connect"),
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof => HttpError::Disconnected { host },
        _ => HttpError::Other {
            host,
            reason: error.to_string(),
        },
    }
}

fn tls(error: &rustls::Error, host: String) -> HttpError {
    let words = words(error);
    let check = if is_about_certificate(error) {
        format!("its certificate is not valid ({words})")
    } else if matches!(error, rustls::Error::AlertReceived(_)) {
        format!("the server aborted it: {words}")
    } else {
        format!("the handshake failed ({words})")
    };
    HttpError::Tls { host, check }
}
