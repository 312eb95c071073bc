//! Servers that speak TLS, or break off while they should.

use super::authority::Identity;
use bytes::Bytes;
use hyper::{
    Request, Response,
    body::{Body, Frame, Incoming},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ServerConfig, ServerConnection, SupportedProtocolVersion};
use std::{
    convert::Infallible,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

/// A server on loopback; it stops when dropped.
pub(crate) struct Server {
    pub(crate) port: u16,
    _stop: Option<oneshot::Sender<()>>,
}

impl Server {
    /// Answers each request with 200 and `HTTP/1.1` or `HTTP/2.0`, which was spoken; one of `/broken` has no
    /// proper end.
    pub(crate) fn secure(
        identity: Identity,
        protocols: &[&str],
        versions: &[&'static SupportedProtocolVersion],
    ) -> Self {
        let mut config = config(identity, versions);
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (stop, stopped) = oneshot::channel::<()>();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                tokio::select! {
                    () = accept(listener, TlsAcceptor::from(Arc::new(config))) => {}
                    _ = stopped => {}
                }
            });
        });
        Self {
            port,
            _stop: Some(stop),
        }
    }

    /// Does as it likes with each connection.
    pub(crate) fn plain(serve: impl Fn(TcpStream) -> std::io::Result<()> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                // The other side is free to break off.
                let _ = stream.and_then(&serve);
            }
        });
        Self { port, _stop: None }
    }

    /// Answers each request with these bytes over TLS, and closes the connection, with or without saying so first.
    pub(crate) fn closing(identity: Identity, answer: &'static str, says_so: bool) -> Self {
        let config = Arc::new(config(identity, rustls::ALL_VERSIONS));
        Self::plain(move |mut stream| {
            let mut tls = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut secure = rustls::Stream::new(&mut tls, &mut stream);
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                secure.read_exact(&mut byte)?;
                request.extend(byte);
            }
            secure.write_all(answer.as_bytes())?;
            secure.flush()?;
            if says_so {
                tls.send_close_notify();
                while tls.wants_write() {
                    tls.write_tls(&mut stream)?;
                }
            }
            stream.shutdown(std::net::Shutdown::Write)?;
            // Closed at once, what the client has sent in between would reset it.
            std::io::copy(&mut stream, &mut std::io::sink()).map(drop)
        })
    }

    /// Answers the client's first message with these bytes.
    pub(crate) fn answering_hello(bytes: Vec<u8>) -> Self {
        Self::plain(move |mut stream| {
            read_record(&mut stream)?;
            stream.write_all(&bytes)?;
            // What the client thinks of it.
            stream.set_read_timeout(Some(Duration::from_secs(20)))?;
            std::io::copy(&mut stream, &mut std::io::sink())?;
            Ok(())
        })
    }

    /// The URL of `/` here, by this name or address.
    pub(crate) fn url(&self, host: &str) -> String {
        format!("https://{host}:{}/", self.port)
    }
}

fn config(identity: Identity, versions: &[&'static SupportedProtocolVersion]) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![identity.certificate], identity.key)
        .unwrap()
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor) {
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            // A client that does not like the certificate breaks off.
            let Ok(stream) = acceptor.accept(stream).await else {
                return;
            };
            let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            let stream = TokioIo::new(stream);
            // The end of a connection is nobody's business here.
            if http2 {
                let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(stream, service_fn(answer)).await;
            } else {
                let server = hyper::server::conn::http1::Builder::new();
                let _ = server.serve_connection(stream, service_fn(answer)).await;
            }
        });
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Answer>, Infallible> {
    let body = format!("{:?}", request.version());
    Ok(Response::new(Answer {
        breaks_off: request.uri().path() == "/broken",
        body: Some(body.into()),
    }))
}

/// A body, and whether its end never comes.
struct Answer {
    body: Option<Bytes>,
    breaks_off: bool,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let broken = || Err(std::io::Error::other("it is truncated"));
        Poll::Ready(match self.body.take() {
            Some(body) => Some(Ok(Frame::data(body))),
            None => self.breaks_off.then(broken),
        })
    }
}

/// Reads one TLS record, such as the client's hello.
pub(crate) fn read_record(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut header = [0; 5];
    stream.read_exact(&mut header)?;
    let mut body = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
    stream.read_exact(&mut body)
}
