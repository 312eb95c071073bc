//! From what goes wrong in the HTTP client to the kinds of failure that a request can have, and to words.

use crate::resolver::ResolveError;
use executor_runtime_tls::words as tls_words;
use nix::errno::Errno;
use std::{error::Error as StdError, io, iter, net::IpAddr};

/// Why a request failed, as its caller is told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// It names no authority.
    #[error("the request's URI is not valid")]
    InvalidUri,
    /// The run has no grant for it.
    #[error("the request was denied")]
    Denied,
    /// The run has too many in flight.
    #[error("too many requests are in flight")]
    TooMany,
    /// This machine's configuration of TLS is of no use.
    #[error("TLS can't be configured")]
    Configuration,
    /// The name has no address, in the resolver's words.
    #[error("{0}")]
    Dns(String),
    /// The name leads to a guarded address only.
    #[error("the name leads to an address that must be named literally")]
    Guarded,
    /// There is no way to the address.
    #[error("there is no route to the address")]
    Unroutable,
    /// Nothing listens there.
    #[error("the connection was refused")]
    Refused,
    /// No connection in time.
    #[error("there was no connection in time")]
    ConnectTimeout,
    /// No answer, or no more of it, in time.
    #[error("there was no answer in time")]
    ReadTimeout,
    /// The connection ended.
    #[error("the connection was closed")]
    Terminated,
    /// The server's certificate is not trusted.
    #[error("the server's certificate is not trusted")]
    Certificate,
    /// The server ended TLS with an alert.
    #[error("{words}")]
    TlsAlert {
        /// Its number.
        number: u8,
        /// What it means.
        words: String,
    },
    /// TLS failed otherwise.
    #[error("TLS failed")]
    Tls,
    /// The request's body does not have the length that was announced, but this one.
    #[error("the request's body does not have the announced length")]
    RequestBodyLength(Option<u64>),
    /// The answer broke off.
    #[error("the response is incomplete")]
    ResponseIncomplete,
    /// HTTP's own time-out.
    #[error("the response did not come in time")]
    ResponseTimeout,
    /// The answer is no HTTP.
    #[error("the response is not valid HTTP")]
    Protocol,
    /// Something else, in words.
    #[error("{0}")]
    Other(String),
}

/// Why a request's body was cut short, as its writer reports it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestBodyError {
    /// It has this length, and another was announced.
    #[error("{1}")]
    Length(Option<u64>, String),
    /// It was not written to its end.
    #[error("{0}")]
    BrokenOff(String),
}

impl From<&RequestBodyError> for RequestError {
    fn from(error: &RequestBodyError) -> Self {
        match error {
            RequestBodyError::Length(length, _) => Self::RequestBodyLength(*length),
            RequestBodyError::BrokenOff(_) => Self::Terminated,
        }
    }
}

/// Why a request failed.
pub(crate) struct Failure {
    /// What the one who made it is told.
    pub(crate) error: RequestError,
    /// What that leaves out.
    pub(crate) words: Option<String>,
    /// The guarded address that the name led to.
    pub(crate) guarded: Option<IpAddr>,
}

impl Failure {
    pub(crate) fn new(error: RequestError, words: String) -> Self {
        Self {
            error,
            words: Some(words),
            guarded: None,
        }
    }
}

impl From<RequestError> for Failure {
    fn from(error: RequestError) -> Self {
        Self {
            error,
            words: None,
            guarded: None,
        }
    }
}

/// Finds the cause that says most.
pub(crate) fn classify(error: &hyper_util::client::legacy::Error) -> Failure {
    if error.is_connect() && breaks_off_handshake(error) {
        let words = "in the TLS handshake".to_owned();
        return Failure::new(RequestError::Terminated, words);
    }
    for cause in causes(error) {
        if let Some(resolve) = cause.downcast_ref::<ResolveError>() {
            return from_resolve(resolve);
        }
        if let Some(tls) = tls_error(cause) {
            return Failure::new(RequestError::of_tls(tls), tls_words(tls));
        }
        if let Some(hyper) = cause.downcast_ref::<hyper::Error>() {
            return Failure::new(RequestError::of_hyper(hyper), words(error));
        }
        if let Some(io) = cause.downcast_ref::<io::Error>()
            && io.get_ref().is_none()
        {
            return Failure::new(RequestError::of_io(io), io_words(io));
        }
    }
    let words = words(error);
    Failure::new(RequestError::Other(words.clone()), words)
}

impl RequestError {
    /// For an error of an established connection.
    pub(crate) fn of_hyper(error: &hyper::Error) -> Self {
        for cause in causes(error) {
            if let Some(own_body) = cause.downcast_ref::<RequestBodyError>() {
                return own_body.into();
            }
            if let Some(tls) = tls_error(cause) {
                return Self::of_tls(tls);
            }
            if let Some(io) = cause.downcast_ref::<io::Error>() {
                return Self::of_io(io);
            }
        }
        if error.is_incomplete_message() {
            Self::ResponseIncomplete
        } else if error.is_timeout() {
            Self::ResponseTimeout
        } else if error.is_canceled() || error.is_closed() || error.is_body_write_aborted() {
            Self::Terminated
        } else {
            Self::Protocol
        }
    }

    fn of_io(error: &io::Error) -> Self {
        use io::ErrorKind as Kind;
        match error.kind() {
            Kind::ConnectionRefused => Self::Refused,
            Kind::TimedOut => Self::ConnectTimeout,
            Kind::NetworkUnreachable | Kind::HostUnreachable => Self::Unroutable,
            Kind::ConnectionReset
            | Kind::ConnectionAborted
            | Kind::BrokenPipe
            | Kind::NotConnected
            | Kind::UnexpectedEof => Self::Terminated,
            // No system call says so, but the decoder of a body that is in chunks.
            Kind::InvalidInput | Kind::InvalidData => Self::Protocol,
            _ => Self::Other(error.to_string()),
        }
    }

    fn of_tls(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented => {
                Self::Certificate
            }
            rustls::Error::AlertReceived(alert) => Self::TlsAlert {
                number: u8::from(*alert),
                words: tls_words(error),
            },
            _ => Self::Tls,
        }
    }
}

fn from_resolve(error: &ResolveError) -> Failure {
    let words = error.to_string();
    match error {
        ResolveError::Guarded(ip) => Failure {
            guarded: Some(*ip),
            ..Failure::new(RequestError::Guarded, words)
        },
        ResolveError::Lookup(_) | ResolveError::NoAddress => {
            Failure::new(RequestError::Dns(words.clone()), words)
        }
    }
}

/// What the system calls the error, without its number.
fn io_words(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => Errno::from_raw(number).desc().to_lowercase(),
        None => error.to_string(),
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
