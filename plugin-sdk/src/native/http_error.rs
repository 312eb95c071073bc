//! From `ureq`'s errors to errors in words.

use super::socket::{Interrupted, LookupFailed};
use crate::http::HttpError;
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
        ureq::Error::Other(inner) => match inner.downcast_ref::<LookupFailed>() {
            Some(LookupFailed(reason)) => HttpError::Dns {
                host,
                reason: reason.clone(),
            },
            None => HttpError::Other {
                host,
                reason: inner.to_string(),
            },
        },
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
            reason: "the head of its answer is too long".to_owned(),
        },
        ureq::Error::ConnectProxyFailed(reason) => HttpError::Unreachable { host, reason },
        other => HttpError::Other {
            host,
            reason: other.to_string(),
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
    let check = match error {
        rustls::Error::InvalidCertificate(problem) => certificate(problem),
        rustls::Error::NoCertificatesPresented => "the server shows no certificate".to_owned(),
        rustls::Error::AlertReceived(alert) => format!("the server broke off: {alert:?}"),
        rustls::Error::InvalidMessage(_) => "the server does not speak TLS".to_owned(),
        other => other.to_string(),
    };
    HttpError::Tls { host, check }
}

fn certificate(problem: &rustls::CertificateError) -> String {
    use rustls::CertificateError as E;
    let words = match problem {
        E::Expired | E::ExpiredContext { .. } => "its certificate has expired",
        E::NotValidYet | E::NotValidYetContext { .. } => "its certificate is not valid yet",
        E::Revoked => "its certificate has been revoked",
        E::UnknownIssuer => "its certificate is signed by nobody that this machine trusts",
        E::NotValidForName | E::NotValidForNameContext { .. } => "its certificate is for another name",
        E::BadSignature => "its certificate has a bad signature",
        other => return format!("its certificate is not valid: {other}"),
    };
    words.to_owned()
}
