//! Requests to the collector, from the thread that sends spans: each on a connection of its own, as there are seconds
//! between them.

use crate::settings::{Protocol, Settings};
use bytes::Bytes;
use executor_runtime_tls::trusted_roots;
use http::{
    HeaderMap, HeaderValue, Method, Request, StatusCode, Uri,
    header::{CONNECTION, CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT},
    uri::Scheme,
};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use std::{
    cell::OnceCell,
    error::Error,
    io,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    runtime::Runtime,
};
use tokio_rustls::TlsConnector;

const OWN_USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("executor-runtime/", env!("CARGO_PKG_VERSION")));

/// The pause before a second attempt. It doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const MAX_ATTEMPTS: u32 = 4;
/// Bytes of an answer that are read.
const MAX_ANSWER: usize = 64 * 1024;

/// How often to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Someone waits for it.
    OneAttempt,
    SomeAttempts,
}

pub(crate) struct Transport {
    runtime: Runtime,
    /// Made when it is first needed: reading the trusted roots takes milliseconds.
    tls: OnceCell<TlsConnector>,
    endpoint: Uri,
    headers: HeaderMap,
    timeout: Duration,
}

/// Why a batch was not taken.
enum Failure {
    /// Trying again may help, after this time if it is known.
    Transient(String, Option<Duration>),
    Final(String),
}

impl Transport {
    pub(crate) fn new(settings: Settings) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()?;
        let mut headers = settings.headers;
        let content_type = match settings.protocol {
            Protocol::Protobuf => "application/x-protobuf",
            Protocol::Json => "application/json",
        };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.entry(USER_AGENT).or_insert(OWN_USER_AGENT);
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        if let Some(authority) = settings.endpoint.authority() {
            let host = HeaderValue::from_str(authority.as_str()).map_err(io::Error::other)?;
            headers.insert(HOST, host);
        }
        Ok(Self {
            runtime,
            tls: OnceCell::new(),
            endpoint: settings.endpoint,
            headers,
            timeout: settings.timeout,
        })
    }

    /// Sends a batch, in the time that there is for it. Blocks.
    pub(crate) fn send(&self, body: Vec<u8>, patience: Patience) -> Result<(), String> {
        let body = Bytes::from(body);
        let until = Instant::now() + self.timeout;
        let mut pause = FIRST_PAUSE;
        let mut attempt = 1;
        loop {
            let (reason, retry_after) = match self.attempt(body.clone(), until) {
                Ok(()) => return Ok(()),
                Err(Failure::Final(reason)) => return Err(reason),
                Err(Failure::Transient(reason, retry_after)) => (reason, retry_after),
            };
            let wait = retry_after.unwrap_or(pause);
            if patience == Patience::OneAttempt
                || attempt == MAX_ATTEMPTS
                || wait >= until.saturating_duration_since(Instant::now())
            {
                return Err(reason);
            }
            std::thread::sleep(wait);
            pause *= 2;
            attempt += 1;
        }
    }

    fn attempt(&self, body: Bytes, until: Instant) -> Result<(), Failure> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.headers_mut() = self.headers.clone();
        if let Some(target) = self.endpoint.path_and_query() {
            *request.uri_mut() = Uri::from(target.clone());
        }
        let tls = match self.endpoint.scheme() == Some(&Scheme::HTTPS) {
            true => Some(self.tls().map_err(Failure::Final)?),
            false => None,
        };
        self.runtime.block_on(async {
            tokio::time::timeout_at(until.into(), self.exchange(request, tls))
                .await
                .unwrap_or_else(|_| {
                    let limit = self.timeout.as_secs_f64();
                    Err(Failure::Transient(format!("no answer within {limit} s"), None))
                })
        })
    }

    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
        tls: Option<&TlsConnector>,
    ) -> Result<(), Failure> {
        let stream = self
            .connect(tls)
            .await
            .map_err(|error| Failure::transient(&error))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| Failure::transient(&error))?;
        let exchange = async {
            let response = sender.send_request(request).await;
            let (head, body) = response.map_err(|error| Failure::transient(&error))?.into_parts();
            // Whatever it says, the status counts.
            let _ = Limited::new(body, MAX_ANSWER).collect().await;
            judge(head.status, &head.headers)
        };
        // Where the connection ends first, the exchange knows why.
        let driven = async {
            let _ = connection.await;
            std::future::pending().await
        };
        tokio::select! {
            judged = exchange => judged,
            never = driven => never,
        }
    }

    async fn connect(&self, tls: Option<&TlsConnector>) -> io::Result<Box<dyn Stream>> {
        let host = self.endpoint.host().unwrap_or_default().trim_matches(['[', ']']);
        let default = if tls.is_some() { 443 } else { 80 };
        let port = self.endpoint.port_u16().unwrap_or(default);
        let stream = TcpStream::connect((host, port)).await?;
        match tls {
            Some(tls) => {
                let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
                Ok(Box::new(tls.connect(name, stream).await?))
            }
            None => Ok(Box::new(stream)),
        }
    }

    fn tls(&self) -> Result<&TlsConnector, String> {
        if let Some(connector) = self.tls.get() {
            return Ok(connector);
        }
        let connector = tls_connector()?;
        Ok(self.tls.get_or_init(|| connector))
    }
}

/// A connection, in the clear or not.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Failure {
    fn transient(error: &(dyn Error + 'static)) -> Self {
        Self::Transient(words(error), None)
    }
}

fn tls_connector() -> Result<TlsConnector, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(trusted_roots().map_err(|error| error.to_string())?);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config).into())
}

/// What the collector's answer means: which codes are worth another attempt is OTLP's.
fn judge(status: StatusCode, headers: &HeaderMap) -> Result<(), Failure> {
    if status.is_success() {
        return Ok(());
    }
    let reason = format!("it answers {status}");
    match status.as_u16() {
        429 | 502 | 503 | 504 => {
            let seconds = headers
                .get(RETRY_AFTER)
                .and_then(|value| value.to_str().ok()?.parse().ok());
            Err(Failure::Transient(reason, seconds.map(Duration::from_secs)))
        }
        _ => Err(Failure::Final(reason)),
    }
}

/// The innermost cause, which says what happened.
fn words(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
