//! The HTTP client that all runs share.
//!
//! Connections are kept and used again, across invocations and plugins: HTTP/1.1 in the clear, HTTP/1.1 or 2
//! over TLS. Trusted roots are the platform's (`SSL_CERT_FILE` and `SSL_CERT_DIR` are honoured); they are
//! loaded when the first `https` URL is used, because reading them takes milliseconds.

use crate::{
    RequestBodyError, RequestError, RequestFailures, ResponseBody,
    error::{Failure, classify},
    request_failures::{Cause, Denial},
    resolver::GuardedResolver,
};
use bytes::Bytes;
use executor_runtime_authority::Authority;
use executor_runtime_tls::trusted_roots;
use http::{Request, Response, uri::Scheme};
use http_body::Body;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{
        Client,
        connect::{Connect, HttpConnector, capture_connection},
    },
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{ClientConfig, RootCertStore};
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::sync::{OnceCell, OwnedSemaphorePermit};

/// Time for a connection when a request sets none: a host that drops packets would use up the whole run
/// otherwise.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// How long an unused connection is kept. Shorter than what servers commonly allow (60 s and more), so that
/// one seldom is closed under a request.
const IDLE: Duration = Duration::from_secs(30);

/// Unused connections kept for one authority.
const IDLE_PER_HOST: usize = 64;

type Http = HttpConnector<GuardedResolver>;

/// What is sent as a request's body.
pub trait RequestBody: Body<Data = Bytes, Error = RequestBodyError> + Send + Unpin + 'static {}

impl<B: Body<Data = Bytes, Error = RequestBodyError> + Send + Unpin + 'static> RequestBody for B {}

/// How long a request waits. None: as long as the run lasts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection; 30 s if there is none.
    pub connect: Option<Duration>,
    /// From the connection to the head of the response.
    pub first_byte: Option<Duration>,
    /// Between two pieces of the response's body.
    pub between_bytes: Option<Duration>,
}

/// Set when a connection has taken the request.
#[derive(Clone, Debug, Default)]
pub struct Dispatched(Arc<AtomicBool>);

impl Dispatched {
    fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether a connection has taken it.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The client. Clones are the same client. Its connections live in the tokio runtime that first used them,
/// so that a client belongs to one runtime.
pub struct EgressClient<B>(Arc<Clients<B>>);

struct Clients<B> {
    resolver: GuardedResolver,
    plain: Client<Http, B>,
    tls: OnceCell<Client<HttpsConnector<Http>, B>>,
}

impl<B> Clone for EgressClient<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<B> fmt::Debug for EgressClient<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EgressClient").finish_non_exhaustive()
    }
}

impl<B: RequestBody> Default for EgressClient<B> {
    fn default() -> Self {
        Self::new()
    }
}

impl<B: RequestBody> EgressClient<B> {
    /// A client without connections.
    pub fn new() -> Self {
        let resolver = GuardedResolver::new();
        Self(Arc::new(Clients {
            plain: client(http_connector(resolver.clone())),
            resolver,
            tls: OnceCell::new(),
        }))
    }

    /// Sends one request that was granted, to `authority`.
    pub(crate) async fn send(
        &self,
        request: Request<B>,
        authority: Authority,
        timeouts: Timeouts,
        in_flight: OwnedSemaphorePermit,
        request_failures: &RequestFailures,
        dispatched: &Dispatched,
    ) -> Result<Response<ResponseBody>, RequestError> {
        let result = if request.uri().scheme() == Some(&Scheme::HTTPS) {
            match self.tls().await {
                Ok(client) => send(client, request, timeouts, dispatched).await,
                Err(words) => Err(Failure::new(RequestError::Configuration, words)),
            }
        } else {
            send(&self.0.plain, request, timeouts, dispatched).await
        };
        let response = result.map_err(|failure| {
            if let Some(ip) = failure.guarded {
                request_failures.deny(Denial::Guarded(authority.clone(), ip));
            }
            request_failures.set_cause(failure.words.map(|words| Cause::new(authority.clone(), words)));
            failure.error
        })?;
        request_failures.set_cause(None);
        Ok(response.map(|incoming| ResponseBody::new(incoming, timeouts.between_bytes, in_flight)))
    }

    async fn tls(&self) -> Result<&Client<HttpsConnector<Http>, B>, String> {
        let resolver = self.0.resolver.clone();
        self.0
            .tls
            .get_or_try_init(async || {
                let config = tokio::task::spawn_blocking(tls_config)
                    .await
                    .map_err(|error| error.to_string())??;
                let connector = HttpsConnectorBuilder::new()
                    .with_tls_config(config)
                    .https_or_http()
                    .enable_all_versions()
                    .wrap_connector(http_connector(resolver));
                Ok(client(connector))
            })
            .await
    }
}

/// Blocks: it reads the trusted roots.
fn tls_config() -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(trusted_roots().map_err(|error| format!("TLS: {error}"))?);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn http_connector(resolver: GuardedResolver) -> Http {
    let mut connector = HttpConnector::new_with_resolver(resolver);
    connector.enforce_http(false);
    // Requests are written in one piece; waiting for more to send only adds a round trip.
    connector.set_nodelay(true);
    connector
}

fn client<C: Connect + Clone, B: RequestBody>(connector: C) -> Client<C, B> {
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(IDLE_PER_HOST)
        .build(connector)
}

async fn send<C, B>(
    client: &Client<C, B>,
    mut request: Request<B>,
    timeouts: Timeouts,
    dispatched: &Dispatched,
) -> Result<Response<hyper::body::Incoming>, Failure>
where
    C: Connect + Clone + Send + Sync + 'static,
    B: RequestBody,
{
    let mut connection = capture_connection(&mut request);
    let mut response = client.request(request);
    let connect_timeout = timeouts.connect.unwrap_or(CONNECT_TIMEOUT);
    // A connection that is taken from the pool or made in time starts the wait for the first byte.
    tokio::select! {
        biased;
        result = &mut response => return result.map_err(|error| classify(&error)),
        _ = connection.wait_for_connection_metadata() => dispatched.set(),
        () = tokio::time::sleep(connect_timeout) => return Err(RequestError::ConnectTimeout.into()),
    }
    let result = match timeouts.first_byte {
        Some(timeout) => tokio::time::timeout(timeout, response)
            .await
            .map_err(|_| RequestError::ReadTimeout)?,
        None => response.await,
    };
    result.map_err(|error| classify(&error))
}
