//! Requests over connections of the plugin's own, with `ureq`.
//!
//! Straight to the host that is asked: the environment's `HTTP_PROXY` and the like count for the host's user, and
//! a component does not see them either.

use super::{
    Host, http_error,
    secure::SecureConnector,
    socket::{Interrupt, InterruptibleResolver, Pause, Paused, SocketConnector},
};
use crate::{
    Instant, Invocation,
    http::{HttpError, Payload, WaitLimits},
};
use ::http::{HeaderName, HeaderValue, Request, Response, request};
use executor_runtime_tls::{NoRoots, trusted_roots};
use std::{cell::OnceCell, fmt, io::Read, sync::Arc, time::Duration};
use ureq::{
    Agent, AsSendBody, SendBody,
    config::Config,
    tls::{Certificate, RootCerts, TlsConfig},
    unversioned::transport::Connector,
};

/// The largest head of a response. It has to fit into the agent's input buffer (128 KiB): what fills that up looks
/// like the end of the connection.
const MAX_HEAD: usize = 100 * 1024;

/// Name the trace of a run, in its metadata as in requests.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Agents, made when they are first needed: one per way of waiting, each with and without the platform's
/// certificates, which take longer to read than a plain request.
#[derive(Debug)]
pub(crate) struct Transport {
    host: Host,
    /// Headers that name the trace of the run.
    trace: Vec<(HeaderName, HeaderValue)>,
    ending_on_stop: Agents,
    last_word: Agents,
    /// One for all connections: a run waits for one of them at a time.
    pause: Arc<Pause>,
}

#[derive(Debug, Default)]
struct Agents {
    plain: OnceCell<Agent>,
    secure: OnceCell<Agent>,
}

impl Transport {
    pub(crate) fn new(host: &Host) -> Self {
        Self {
            host: host.clone(),
            trace: Vec::new(),
            ending_on_stop: Agents::default(),
            last_word: Agents::default(),
            pause: Arc::default(),
        }
    }

    /// Has requests continue the trace that the invocation's metadata names, as the host does for a component.
    pub(crate) fn continue_trace(&mut self, invocation: &Invocation) {
        let header = |name: HeaderName| {
            let value = HeaderValue::from_str(invocation.text(name.as_str())?).ok()?;
            Some((name, value))
        };
        self.trace = [TRACEPARENT, TRACESTATE].into_iter().filter_map(header).collect();
    }

    pub(crate) fn send(
        &self,
        mut head: request::Parts,
        payload: Payload<'_>,
        wait_limits: WaitLimits,
    ) -> Result<Response<BodyStream>, HttpError> {
        // The plugin may name one of its own.
        if !head.headers.contains_key(TRACEPARENT) {
            head.headers.extend(self.trace.iter().cloned());
        }
        let exchange = Exchange {
            host: head.uri.authority().map(ToString::to_string).unwrap_or_default(),
            remaining: self.host.clone(),
            wait_limits,
        };
        if wait_limits.end_on_stop && self.host.stop_requested() {
            return Err(WaitLimits::stopped(self.host.remaining()));
        }
        let agent = self.agent(&head, wait_limits).map_err(|error| HttpError::Tls {
            host: exchange.host.clone(),
            check: error.to_string(),
        })?;
        // The run's own deadline interrupts; a setting for one request keeps the agent from sharing what
        // its connections need.
        let limit = wait_limits
            .until
            .filter(|_| wait_limits.is_own_limit() || !wait_limits.end_on_stop);
        let sent = match payload {
            Payload::Empty => run(agent, Request::from_parts(head, ()), limit),
            Payload::Sized(mut reader, _) | Payload::Streamed(mut reader) => {
                let body = SendBody::from_reader(&mut reader);
                run(agent, Request::from_parts(head, body), limit)
            }
        };
        match sent {
            Ok(response) => Ok(response.map(|body| BodyStream {
                reader: body.into_reader(),
                pause: Arc::clone(&self.pause),
                exchange,
            })),
            Err(error) => Err(exchange.error(error)),
        }
    }

    fn agent(&self, head: &request::Parts, wait_limits: WaitLimits) -> Result<&Agent, NoRoots> {
        let agents = if wait_limits.end_on_stop {
            &self.ending_on_stop
        } else {
            &self.last_word
        };
        let interrupt = || Interrupt {
            host: Arc::clone(&self.host.0),
            end_on_stop: wait_limits.end_on_stop,
            pause: Arc::clone(&self.pause),
        };
        if head.uri.scheme_str() != Some("https") {
            return Ok(agents.plain.get_or_init(|| agent(interrupt(), None)));
        }
        if let Some(agent) = agents.secure.get() {
            return Ok(agent);
        }
        let roots = root_certificates()?;
        Ok(agents.secure.get_or_init(|| agent(interrupt(), Some(roots))))
    }
}

fn run(
    agent: &Agent,
    request: Request<impl AsSendBody>,
    limit: Option<Instant>,
) -> Result<Response<ureq::Body>, ureq::Error> {
    let Some(limit) = limit else {
        return agent.run(request);
    };
    let left = limit.duration_since(Instant::now());
    agent.run(
        agent
            .configure_request(request)
            .timeout_global(Some(left))
            .build(),
    )
}

fn agent(interrupt: Interrupt, roots: Option<RootCerts>) -> Agent {
    let mut config = Config::builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .max_response_header_size(MAX_HEAD)
        .allow_non_standard_methods(true)
        .accept("")
        .user_agent("")
        .proxy(None);
    if let Some(roots) = roots {
        config = config.tls_config(TlsConfig::builder().root_certs(roots).build());
    }
    let connector = ().chain(SocketConnector(interrupt.clone())).chain(SecureConnector::default());
    Agent::with_parts(config.build(), connector, InterruptibleResolver(interrupt))
}

fn root_certificates() -> Result<RootCerts, NoRoots> {
    let certificates: Vec<_> = trusted_roots()?
        .iter()
        .map(|certificate| Certificate::from_der(certificate).to_owned())
        .collect();
    Ok(RootCerts::Specific(Arc::new(certificates)))
}

/// What an exchange knows when it fails.
#[derive(Debug)]
struct Exchange {
    host: String,
    remaining: Host,
    wait_limits: WaitLimits,
}

impl Exchange {
    fn error(&self, error: ureq::Error) -> HttpError {
        match http_error::from_ureq(error, &self.host) {
            HttpError::Stopped => WaitLimits::stopped(self.remaining.remaining()),
            HttpError::Timeout => self.wait_limits.timed_out(&self.host),
            error => error,
        }
    }
}

pub(crate) struct BodyStream {
    reader: ureq::BodyReader<'static>,
    pause: Arc<Pause>,
    exchange: Exchange,
}

impl fmt::Debug for BodyStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyStream")
            .field("exchange", &self.exchange)
            .finish_non_exhaustive()
    }
}

impl BodyStream {
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, HttpError> {
        self.reader
            .read(buffer)
            .map_err(|error| self.exchange.error(error.into()))
    }

    pub(crate) fn read_within(
        &mut self,
        time: Duration,
        buffer: &mut [u8],
    ) -> Result<Option<usize>, HttpError> {
        let read = self.pause.after(time, || self.reader.read(buffer));
        match read.map_err(ureq::Error::from) {
            Ok(length) => Ok(Some(length)),
            Err(ureq::Error::Other(inner)) if inner.is::<Paused>() => Ok(None),
            Err(error) => Err(self.exchange.error(error)),
        }
    }
}
