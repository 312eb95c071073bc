//! Why a request failed, in words.

use std::{fmt, io};

/// Why a request failed. A response with an error status is not a failure.
///
/// `host` is the authority that was asked: `example.com:8080`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HttpError {
    /// The request itself can't be sent: no absolute http or https URL, a forbidden header.
    InvalidRequest {
        /// What is wrong with it.
        reason: String,
    },
    /// The operator's policy does not let this plugin reach the host.
    Denied {
        /// What was asked.
        host: String,
    },
    /// The host's name has no address.
    Dns {
        /// What was asked.
        host: String,
        /// What the resolver said.
        reason: String,
    },
    /// Nothing listens there.
    Refused {
        /// What was asked.
        host: String,
    },
    /// There is no way to the address, or no answer from it.
    Unreachable {
        /// What was asked.
        host: String,
        /// In which way.
        reason: String,
    },
    /// No secure connection.
    Tls {
        /// What was asked.
        host: String,
        /// The check that failed, such as `certificate expired`.
        check: String,
    },
    /// The connection broke before it was secure.
    HandshakeBroken {
        /// What was asked.
        host: String,
    },
    /// The connection broke before the answer was complete.
    Disconnected {
        /// What was asked.
        host: String,
    },
    /// The answer is no HTTP, or more than the host takes.
    Protocol {
        /// What was asked.
        host: String,
        /// What was wrong with it.
        reason: String,
    },
    /// The deadline of the run, or the time for this request, has passed.
    Timeout,
    /// The host asked the run to stop.
    Stopped,
    /// More redirects than the limit.
    TooManyRedirects {
        /// The limit.
        limit: u32,
    },
    /// A redirect that can't be followed.
    Redirect {
        /// Why not.
        reason: String,
    },
    /// The request's body could not be read.
    Body {
        /// Why not.
        reason: String,
    },
    /// Something else.
    Other {
        /// What was asked.
        host: String,
        /// What happened.
        reason: String,
    },
}

impl HttpError {
    /// The code for `error.kind`: `network`, or what says more.
    pub fn code(&self) -> &'static str {
        match self {
            Self::InvalidRequest { .. } => "invalid_request",
            Self::Denied { .. } => "egress_denied",
            Self::Timeout => "timeout",
            Self::Stopped => "cancelled",
            Self::TooManyRedirects { .. } | Self::Redirect { .. } => "redirect",
            Self::Body { .. } => "request_body",
            Self::Dns { .. }
            | Self::Refused { .. }
            | Self::Unreachable { .. }
            | Self::Tls { .. }
            | Self::HandshakeBroken { .. }
            | Self::Disconnected { .. }
            | Self::Protocol { .. }
            | Self::Other { .. } => "network",
        }
    }

    /// Whether the same request may well succeed later: the network was at fault, not what was asked.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Dns { .. }
                | Self::Refused { .. }
                | Self::Unreachable { .. }
                | Self::HandshakeBroken { .. }
                | Self::Disconnected { .. }
        )
    }
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidRequest { reason } => write!(f, "the request can't be sent: {reason}"),
            Self::Denied { host } => write!(f, "this plugin may not reach {host}"),
            Self::Dns { host, reason } => write!(f, "no address was found for {host}: {reason}"),
            Self::Refused { host } => write!(f, "connection refused by {host}"),
            Self::Unreachable { host, reason } => write!(f, "{host} can't be reached: {reason}"),
            Self::Tls { host, check } => write!(f, "TLS: no secure connection to {host}: {check}"),
            Self::HandshakeBroken { host } => write!(
                f,
                "{host} closed the connection before its answer was complete (in the TLS handshake)"
            ),
            Self::Disconnected { host } => {
                write!(f, "{host} closed the connection before its answer was complete")
            }
            Self::Protocol { host, reason } => write!(f, "{host} sent an invalid HTTP response: {reason}"),
            Self::Timeout => f.write_str("timed out"),
            Self::Stopped => f.write_str("the run was told to stop"),
            Self::TooManyRedirects { limit } => write!(f, "more than {limit} redirects"),
            Self::Redirect { reason } => write!(f, "a redirect that can't be followed: {reason}"),
            Self::Body { reason } => write!(f, "the request's body can't be read: {reason}"),
            Self::Other { host, reason } => write!(f, "{host}: {reason}"),
        }
    }
}

impl std::error::Error for HttpError {}

impl From<HttpError> for io::Error {
    fn from(error: HttpError) -> Self {
        let kind = match &error {
            HttpError::Timeout => io::ErrorKind::TimedOut,
            HttpError::HandshakeBroken { .. } | HttpError::Disconnected { .. } => {
                io::ErrorKind::UnexpectedEof
            }
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}
