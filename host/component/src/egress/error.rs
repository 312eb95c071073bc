//! From what goes wrong in the HTTP client to the codes of `wasi:http`, and to words.

use super::resolver::ResolveError;
use executor_runtime_tls::words as tls_words;
use nix::errno::Errno;
use std::{error::Error as StdError, io, iter, net::IpAddr};
use wasmtime_wasi_http::{
    Error,
    p2::bindings::http::types::{DnsErrorPayload, ErrorCode, TlsAlertReceivedPayload},
};

/// Why a request failed.
pub(super) struct Failure {
    /// What the guest is told.
    pub(super) code: ErrorCode,
    /// What the code leaves out.
    pub(super) words: Option<String>,
    /// The guarded address that the name led to.
    pub(super) guarded: Option<IpAddr>,
}

impl Failure {
    pub(super) fn new(code: ErrorCode, words: String) -> Self {
        Self {
            code,
            words: Some(words),
            guarded: None,
        }
    }
}

impl From<ErrorCode> for Failure {
    fn from(code: ErrorCode) -> Self {
        Self {
            code,
            words: None,
            guarded: None,
        }
    }
}

/// Finds the cause that says most.
pub(super) fn classify(error: &hyper_util::client::legacy::Error) -> Failure {
    if error.is_connect() && breaks_off_handshake(error) {
        let words = "in the TLS handshake".to_owned();
        return Failure::new(ErrorCode::ConnectionTerminated, words);
    }
    for cause in causes(error) {
        if let Some(resolve) = cause.downcast_ref::<ResolveError>() {
            return from_resolve(resolve);
        }
        if let Some(tls) = tls_error(cause) {
            return Failure::new(from_tls(tls), tls_words(tls));
        }
        if let Some(hyper) = cause.downcast_ref::<hyper::Error>() {
            return Failure::new(from_hyper(hyper), words(error));
        }
        if let Some(io) = cause.downcast_ref::<io::Error>()
            && io.get_ref().is_none()
        {
            return Failure::new(from_io(io), io_words(io));
        }
    }
    let words = words(error);
    Failure::new(ErrorCode::InternalError(Some(words.clone())), words)
}

/// The code for an error of an established connection.
pub(super) fn from_hyper(error: &hyper::Error) -> ErrorCode {
    for cause in causes(error) {
        if let Some(wasi) = cause.downcast_ref::<Error>() {
            // The guest's own request body broke off.
            return from_own_body(wasi);
        }
        if let Some(tls) = tls_error(cause) {
            return from_tls(tls);
        }
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            return from_io(io);
        }
    }
    if error.is_incomplete_message() {
        ErrorCode::HttpResponseIncomplete
    } else if error.is_timeout() {
        ErrorCode::HttpResponseTimeout
    } else if error.is_canceled() || error.is_closed() || error.is_body_write_aborted() {
        ErrorCode::ConnectionTerminated
    } else {
        ErrorCode::HttpProtocolError
    }
}

/// The code for a request body that the guest broke off, or that is not as long as it announced.
pub(super) fn from_own_body(error: &Error) -> ErrorCode {
    match error {
        Error::HttpRequestBodySize(size) => ErrorCode::HttpRequestBodySize(*size),
        _ => ErrorCode::ConnectionTerminated,
    }
}

/// The code for an error that a response's body ended with: one of those that [`from_hyper`] gives.
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

fn from_resolve(error: &ResolveError) -> Failure {
    let words = error.to_string();
    match error {
        ResolveError::Guarded(ip) => Failure {
            guarded: Some(*ip),
            ..Failure::new(ErrorCode::DestinationIpProhibited, words)
        },
        ResolveError::Lookup(_) | ResolveError::NoAddress => Failure::new(
            ErrorCode::DnsError(DnsErrorPayload {
                rcode: Some(words.clone()),
                info_code: None,
            }),
            words,
        ),
    }
}

/// What the system calls the error, without its number.
fn io_words(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => Errno::from_raw(number).desc().to_lowercase(),
        None => error.to_string(),
    }
}

fn from_io(error: &io::Error) -> ErrorCode {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::ConnectionRefused => ErrorCode::ConnectionRefused,
        Kind::TimedOut => ErrorCode::ConnectionTimeout,
        Kind::NetworkUnreachable | Kind::HostUnreachable => ErrorCode::DestinationIpUnroutable,
        Kind::ConnectionReset
        | Kind::ConnectionAborted
        | Kind::BrokenPipe
        | Kind::NotConnected
        | Kind::UnexpectedEof => ErrorCode::ConnectionTerminated,
        // No system call says so, but the decoder of a body that is in chunks.
        Kind::InvalidInput | Kind::InvalidData => ErrorCode::HttpProtocolError,
        _ => ErrorCode::InternalError(Some(error.to_string())),
    }
}

fn from_tls(error: &rustls::Error) -> ErrorCode {
    match error {
        rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented => {
            ErrorCode::TlsCertificateError
        }
        rustls::Error::AlertReceived(alert) => ErrorCode::TlsAlertReceived(TlsAlertReceivedPayload {
            alert_id: Some(u8::from(*alert)),
            alert_message: Some(tls_words(error)),
        }),
        _ => ErrorCode::TlsProtocolError,
    }
}

/// Whether a connection was there, and was closed before it was secure. An error of TCP has the connector's own
/// error between itself and the client's; one of the handshake has not.
fn breaks_off_handshake(error: &hyper_util::client::legacy::Error) -> bool {
    use io::ErrorKind as Kind;
    let mut next = error.source();
    while let Some(io) = next.and_then(|cause| cause.downcast_ref::<io::Error>()) {
        if matches!(
            io.kind(),
            Kind::UnexpectedEof | Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe
        ) {
            return true;
        }
        next = io.get_ref().map(|inner| inner as &(dyn StdError + 'static));
    }
    false
}

/// The TLS error in an error; rustls travels inside an `io::Error`, and may be wrapped twice.
fn tls_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    if let Some(tls) = error.downcast_ref::<rustls::Error>() {
        return Some(tls);
    }
    let inner = error.downcast_ref::<io::Error>()?.get_ref()?;
    tls_error(inner)
}

fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    iter::successors(Some(error), |error: &&'a (dyn StdError + 'static)| {
        (*error).source()
    })
}

/// The innermost cause.
fn words(error: &(dyn StdError + 'static)) -> String {
    causes(error)
        .last()
        .map_or_else(String::new, |cause| cause.to_string())
}
