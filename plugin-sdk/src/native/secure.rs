//! TLS over a connection, which tells a handshake that was broken off from an answer that was.

use std::fmt;
use ureq::{
    Error,
    unversioned::transport::{ConnectionDetails, Connector, RustlsConnector, Transport},
};

/// `ureq`'s own connector, whose errors say that they are of the handshake.
#[derive(Default)]
pub(super) struct SecureConnector(RustlsConnector);

impl fmt::Debug for SecureConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecureConnector")
    }
}

impl<In: Transport> Connector<In> for SecureConnector {
    type Out = <RustlsConnector as Connector<In>>::Out;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        self.0
            .connect(details, chained)
            .map_err(|error| Error::Other(Box::new(HandshakeFailed(error))))
    }
}

/// There is a connection, but no secure one.
#[derive(Debug)]
pub(super) struct HandshakeFailed(pub(super) Error);

impl fmt::Display for HandshakeFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no secure connection: {}", self.0)
    }
}

impl std::error::Error for HandshakeFailed {}
