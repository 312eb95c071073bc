//! Where the API is served: a Unix socket, TCP, or what systemd has passed.

mod activation;
mod private;
mod tls;
mod token;
mod unix;

use crate::options::Endpoints;
use activation::Activated;
pub(crate) use activation::Notifier;
use anyhow::{Context, Result, bail};
use std::{fmt, net::SocketAddr, path::PathBuf, sync::Arc};
pub(crate) use tls::Tls;
pub(crate) use token::Token;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_rustls::TlsAcceptor;
use unix::SocketFile;

/// What is going to be listened at, with everything that can be checked before.
pub(crate) struct Plan {
    socket: Option<PathBuf>,
    address: Option<SocketAddr>,
    activated: Vec<Activated>,
    token: Option<Arc<Token>>,
    tls: Option<Arc<Tls>>,
}

impl Plan {
    /// Reads the files that are named, and takes over what systemd has passed.
    ///
    /// # Errors
    /// What is missing, or could be used by others.
    pub(crate) fn new(endpoints: &Endpoints) -> Result<(Self, Notifier)> {
        let (activated, notifier) = activation::take()?;
        let token = endpoints.token_file.as_deref().map(Token::read);
        let tls = endpoints.tls.as_ref();
        let tls = tls.map(|files| Tls::read(files).map(Arc::new));
        let mut plan = Self {
            socket: endpoints.socket.clone(),
            address: endpoints.address,
            activated,
            token: token.transpose()?.map(Arc::new),
            tls: tls.transpose()?,
        };
        if plan.socket.is_none() && plan.address.is_none() && plan.activated.is_empty() {
            plan.socket = Some(match unix::named_path() {
                Some(named) => named,
                None => {
                    let socket = unix::default_path()?;
                    unix::make_directory(&socket)?;
                    socket
                }
            });
        }
        for address in plan.addresses()? {
            plan.check(address)?;
        }
        Ok((plan, notifier))
    }

    /// How connections are encrypted, if any are.
    pub(crate) fn tls(&self) -> Option<Arc<Tls>> {
        self.tls.clone()
    }

    /// All addresses of TCP.
    fn addresses(&self) -> Result<Vec<SocketAddr>> {
        let mut addresses: Vec<_> = self.address.into_iter().collect();
        for socket in &self.activated {
            if let Activated::Tcp(listener) = socket {
                addresses.push(
                    listener
                        .local_addr()
                        .context("a socket that was passed (LISTEN_FDS)")?,
                );
            }
        }
        Ok(addresses)
    }

    /// Fails if others could get in at an address, or read what passes.
    fn check(&self, address: SocketAddr) -> Result<()> {
        if self.token.is_none() {
            bail!(
                "serving on {address} needs a token: write one to a file of mode 0600 and give --token-file FILE"
            );
        }
        if !address.ip().to_canonical().is_loopback() && self.tls.is_none() {
            bail!(
                "serving on {address}, which is not a loopback address, needs TLS: give --tls-cert FILE and --tls-key FILE"
            );
        }
        Ok(())
    }

    /// Listens. Needs a tokio runtime.
    pub(crate) async fn open(self) -> Result<Vec<Listener>> {
        let mut listeners = Vec::new();
        if let Some(path) = &self.socket {
            let (listener, file) = unix::listen(path)?;
            listeners.push(Listener::Unix {
                listener,
                _file: Some(file),
            });
        }
        if let Some(address) = self.address {
            let listener = TcpListener::bind(address).await;
            let listener = listener.with_context(|| format!("{address} can't be listened at"))?;
            listeners.push(tcp(listener, &self.token, &self.tls)?);
        }
        for socket in self.activated {
            listeners.push(match socket {
                Activated::Unix(listener) => {
                    listener.set_nonblocking(true)?;
                    Listener::Unix {
                        listener: UnixListener::from_std(listener)?,
                        _file: None,
                    }
                }
                Activated::Tcp(listener) => {
                    listener.set_nonblocking(true)?;
                    tcp(TcpListener::from_std(listener)?, &self.token, &self.tls)?
                }
            });
        }
        Ok(listeners)
    }
}

fn tcp(listener: TcpListener, token: &Option<Arc<Token>>, tls: &Option<Arc<Tls>>) -> Result<Listener> {
    let Some(token) = token.clone() else {
        bail!("serving over TCP needs a token");
    };
    Ok(Listener::Tcp {
        address: listener.local_addr()?,
        listener,
        token,
        tls: tls.clone(),
    })
}

/// One place where connections come in.
pub(crate) enum Listener {
    /// For this user and root.
    Unix {
        /// What is listened at.
        listener: UnixListener,
        /// What is removed at the end.
        _file: Option<SocketFile>,
    },
    /// For those who have the token.
    Tcp {
        /// What is listened at.
        listener: TcpListener,
        /// Where that is.
        address: SocketAddr,
        /// What clients need.
        token: Arc<Token>,
        /// How connections are encrypted.
        tls: Option<Arc<Tls>>,
    },
}

/// A connection that has come in.
pub(crate) enum Incoming {
    /// From this user or root.
    Unix(UnixStream),
    /// From anyone.
    Tcp(TcpStream),
    /// From anyone, to be encrypted.
    Tls(TcpStream, TlsAcceptor),
}

impl Listener {
    /// The next connection; none if it was of someone who may not connect.
    pub(crate) async fn accept(&self) -> std::io::Result<Option<Incoming>> {
        match self {
            Self::Unix { listener, .. } => {
                let (stream, _) = listener.accept().await?;
                let is_trusted = unix::is_trusted(&stream);
                if !is_trusted {
                    tracing::warn!("a connection of another user to {self} was closed");
                }
                Ok(is_trusted.then_some(Incoming::Unix(stream)))
            }
            Self::Tcp { listener, tls, .. } => {
                let (stream, _) = listener.accept().await?;
                // Answers are written whole. Where this fails they only take longer.
                let _ = stream.set_nodelay(true);
                Ok(Some(match tls {
                    Some(tls) => Incoming::Tls(stream, tls.acceptor()),
                    None => Incoming::Tcp(stream),
                }))
            }
        }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix { listener, .. } => match listener.local_addr() {
                Ok(address) => match address.as_pathname() {
                    Some(path) => write!(f, "unix:{}", path.display()),
                    None => f.write_str("a Unix socket without a path"),
                },
                Err(_) => f.write_str("a Unix socket"),
            },
            Self::Tcp { address, tls, .. } => match tls {
                Some(_) => write!(f, "https://{address}"),
                None => write!(f, "http://{address}"),
            },
        }
    }
}
