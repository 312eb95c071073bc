//! TLS over a connection, which tells a handshake that was broken off from an answer that was, and a body that was
//! cut on its way from one that has ended.

use super::socket::no_end;
use std::fmt;
use ureq::{
    Error,
    unversioned::transport::{
        Buffers, ConnectionDetails, Connector, NextTimeout, RustlsConnector, Transport,
    },
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
    type Out = SecureTransport<<RustlsConnector as Connector<In>>::Out>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        match self.0.connect(details, chained) {
            Ok(transport) => Ok(transport.map(SecureTransport)),
            Err(error) => Err(Error::Other(Box::new(HandshakeFailed(error)))),
        }
    }
}

/// A connection that ends only when the other side says so.
#[derive(Debug)]
pub(super) struct SecureTransport<T>(T);

impl<T: Transport> Transport for SecureTransport<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.0.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.0.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.0.await_input(timeout).map_err(no_end)
    }

    fn is_open(&mut self) -> bool {
        self.0.is_open()
    }

    fn is_tls(&self) -> bool {
        self.0.is_tls()
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
