//! Requests to the collector, from the thread that sends spans.

use crate::settings::{Protocol, Settings};
use bytes::Bytes;
use executor_runtime_tls::trusted_roots;
use http::{
    HeaderMap, HeaderValue, Method, Request, StatusCode, Uri,
    header::{CONTENT_TYPE, RETRY_AFTER, USER_AGENT},
    uri::Scheme,
};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{ClientConfig, RootCertStore};
use std::{
    cell::OnceCell,
    error::Error,
    io,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::runtime::Runtime;

const OWN_USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("executor-runtime/", env!("CARGO_PKG_VERSION")));

/// The pause before a second attempt. It doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const MAX_ATTEMPTS: u32 = 4;
/// Bytes of an answer that are read, so that its connection can be used again.
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
    client: Client<HttpConnector, Full<Bytes>>,
    /// Made when it is first needed: reading the trusted roots takes milliseconds.
    tls: OnceCell<Client<HttpsConnector<HttpConnector>, Full<Bytes>>>,
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
        Ok(Self {
            runtime,
            client: builder().build(HttpConnector::new()),
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
            if patience == Patience::OneAttempt || attempt == MAX_ATTEMPTS || Instant::now() + wait >= until {
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
        *request.uri_mut() = self.endpoint.clone();
        *request.headers_mut() = self.headers.clone();
        let is_https = self.endpoint.scheme() == Some(&Scheme::HTTPS);
        let tls = match is_https {
            true => Some(self.tls().map_err(Failure::Final)?),
            false => None,
        };
        self.runtime.block_on(async {
            let exchange = async {
                let response = match tls {
                    Some(client) => client.request(request).await,
                    None => self.client.request(request).await,
                };
                let response = response.map_err(|error| Failure::Transient(words(&error), None))?;
                let (head, body) = response.into_parts();
                // Whatever it says, the status counts.
                let _ = Limited::new(body, MAX_ANSWER).collect().await;
                judge(head.status, &head.headers)
            };
            tokio::time::timeout_at(until.into(), exchange)
                .await
                .unwrap_or_else(|_| {
                    let limit = self.timeout.as_secs_f64();
                    Err(Failure::Transient(format!("no answer within {limit} s"), None))
                })
        })
    }

    fn tls(&self) -> Result<&Client<HttpsConnector<HttpConnector>, Full<Bytes>>, String> {
        if let Some(client) = self.tls.get() {
            return Ok(client);
        }
        let client = tls_client()?;
        Ok(self.tls.get_or_init(|| client))
    }
}

fn builder() -> hyper_util::client::legacy::Builder {
    let mut builder = Client::builder(TokioExecutor::new());
    builder.pool_timer(TokioTimer::new()).pool_max_idle_per_host(1);
    builder
}

fn tls_client() -> Result<Client<HttpsConnector<HttpConnector>, Full<Bytes>>, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(trusted_roots().map_err(|error| error.to_string())?);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(config)
        .https_only()
        .enable_all_versions()
        .build();
    Ok(builder().build(connector))
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
