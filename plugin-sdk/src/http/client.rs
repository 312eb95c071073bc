//! The client: what is common to both carriers.

use super::{
    Body, BodyReader, HttpError, Payload,
    body::Source,
    redirect::{self, Hop},
    retry::Retry,
    url,
};
use crate::{Context, Input, Instant, Level};
use http::{Method, Request, Response, header, request};
use std::{
    io::{Cursor, Read},
    time::Duration,
};

/// How many redirects are followed.
const MAX_REDIRECTS: u32 = 20;

const USER_AGENT: &str = concat!("executor-runtime-sdk/", env!("CARGO_PKG_VERSION"));

/// An input payload up to this long is sent with its length instead of in chunks.
const SMALL_INPUT: usize = 64 * 1024;

/// Bytes of a request's headers at most: names and values. More is refused by most servers, and by WASI HTTP.
const MAX_HEADERS: usize = 64 * 1024;

/// Headers that belong to the connection, not to the request: those that WASI HTTP does not take.
const FORBIDDEN: [&str; 9] = [
    "connection",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "transfer-encoding",
    "upgrade",
];

/// Sends requests.
///
/// - Redirects are followed, up to 20: after 301, 302 and 303 with GET and without the body (HEAD stays
///   HEAD), after 307 and 308 with the same method and body. To another origin, headers whose names say that they
///   hold a secret are left out: `authorization`, `cookie`, and those with a word such as `key`, `token` or `secret` in
///   their name, as in `x-api-key`. `idempotency-key` is kept. A redirect from https to http is an error, unless [`allow_redirects_to_http`] is called.
/// - A request ends with [`HttpError::Timeout`] when the deadline of the run passes, and with
///   [`HttpError::Stopped`] when the run is cancelled, wherever it waits.
/// - An answer with an error status is an answer.
/// - Requests go straight to the host that they name. A proxy that the environment names (`HTTP_PROXY` and the
///   like) is not used, on either carrier.
///
/// ```no_run
/// use executor_runtime_sdk::{Body, Context, RunError, http_types::Request};
///
/// fn submit(ctx: &Context) -> Result<String, RunError> {
///     let request = Request::post("https://jobs.example.com/runs")
///         .header("content-type", "application/json")
///         .body(Body::from(r#"{"job": "nightly"}"#))?;
///     let mut response = ctx.http().send(request)?;
///     if !response.status().is_success() {
///         let preview = response.body_mut().preview(200)?;
///         return Err(RunError::failed("http_status", format!("HTTP {}: {preview}", response.status())));
///     }
///     Ok(response.body_mut().preview(200)?)
/// }
/// ```
///
/// [`allow_redirects_to_http`]: Self::allow_redirects_to_http
#[derive(Clone, Copy, Debug)]
pub struct Client<'a> {
    context: &'a Context,
    time: Option<Duration>,
    after_stop: bool,
    to_http: bool,
    retry: Retry,
}

/// How long an exchange may wait, and what it heeds meanwhile.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WaitLimits {
    /// End when the host asks the run to stop.
    pub(crate) end_on_stop: bool,
    pub(crate) until: Option<Instant>,
    /// `until` is the caller's own limit for the request, not the run's.
    own_limit: Option<Duration>,
}

impl WaitLimits {
    /// Whether `until` is a limit for this request only.
    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn is_own_limit(&self) -> bool {
        self.own_limit.is_some()
    }

    /// The error when the host has asked the run to stop.
    pub(crate) fn stopped(remaining: Option<Duration>) -> HttpError {
        match remaining {
            Some(Duration::ZERO) => HttpError::Timeout,
            _ => HttpError::Stopped,
        }
    }

    /// The error when `until` has passed.
    pub(crate) fn timed_out(&self, host: &str) -> HttpError {
        match self.own_limit {
            None => HttpError::Timeout,
            Some(limit) => HttpError::Unreachable {
                host: host.to_owned(),
                reason: format!("no complete answer within {} s", limit.as_secs_f64()),
            },
        }
    }
}

impl<'a> Client<'a> {
    pub(crate) fn new(context: &'a Context) -> Self {
        Self {
            context,
            time: None,
            after_stop: false,
            to_http: false,
            retry: Retry::times(0),
        }
    }

    /// The same with a limit for each request, from sending it to the last byte of the answer. One that is tried again
    /// has it each time.
    #[must_use]
    pub fn timeout(mut self, time: Duration) -> Self {
        self.time = Some(time);
        self
    }

    /// The same, following redirects from https to http, which send the request on unencrypted.
    #[must_use]
    pub fn allow_redirects_to_http(mut self) -> Self {
        self.to_http = true;
        self
    }

    /// The same, trying requests again where that may help, as `retry` says. Each further attempt is logged (`info`).
    ///
    /// ```no_run
    /// # use executor_runtime_sdk::{Context, Retry, RunError};
    /// # fn run(ctx: &Context) -> Result<(), RunError> {
    /// let answer = ctx.http().retry(Retry::times(3)).get("https://api.example.com/state")?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// For a last word to the backend once the run has been told to stop: requests are not interrupted by
    /// that any more, and have three quarters of the grace.
    ///
    /// ```no_run
    /// # use executor_runtime_sdk::{Body, Context, RunError, http_types::Request};
    /// # use std::time::Duration;
    /// # fn wait(ctx: &Context) -> Result<(), RunError> {
    /// if ctx.sleep(Duration::from_secs(60)).is_stopped() {
    ///     let cancel = Request::delete("https://jobs.example.com/runs/7").body(Body::empty())?;
    ///     let _ = ctx.http().after_stop().send(cancel);
    ///     return Err(ctx.stopped("poll"));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn after_stop(mut self) -> Self {
        self.after_stop = true;
        self
    }

    /// Whether a request can be sent, as [`send`](Self::send) finds before it sends anything. For a request
    /// that will follow another one, which had better not be sent if this one can't be.
    ///
    /// # Errors
    /// [`HttpError::InvalidRequest`]: what about it can't be sent.
    pub fn check<B>(request: &Request<B>) -> Result<(), HttpError> {
        let invalid = |reason: String| Err(HttpError::InvalidRequest { reason });
        if request.method() == Method::CONNECT {
            return invalid("method CONNECT is not supported".to_owned());
        }
        let mut names = request.headers().keys();
        if let Some(name) = names.find(|name| FORBIDDEN.contains(&name.as_str())) {
            return invalid(format!(
                "header '{name}' belongs to the connection and can't be set"
            ));
        }
        let bytes: usize = request
            .headers()
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum();
        if bytes > MAX_HEADERS {
            return invalid(format!(
                "its headers have {bytes} bytes; the limit is {MAX_HEADERS}"
            ));
        }
        url::check(request.uri())
    }

    /// Sends a GET request, and waits for the head of the answer. [`with_query`](super::with_query) adds a query to a URL.
    ///
    /// ```no_run
    /// use executor_runtime_sdk::{Context, RunError, http::with_query};
    /// use std::collections::BTreeMap;
    ///
    /// fn stars(ctx: &Context, owner: &str) -> Result<BTreeMap<String, u64>, RunError> {
    ///     let url = with_query("https://api.example.com/stars", [("owner", owner)]);
    ///     let mut answer = ctx.http().get(&url)?;
    ///     Ok(answer.body_mut().json(1 << 20)?)
    /// }
    /// ```
    ///
    /// # Errors
    /// As for [`send`](Self::send).
    pub fn get(&self, url: &str) -> Result<Response<BodyReader>, HttpError> {
        let request = Request::get(url).body(Body::empty());
        self.send(request.map_err(|error| HttpError::InvalidRequest {
            reason: format!("'{}': {error}", url::shown(url)),
        })?)
    }

    /// Sends a request and waits for the head of the answer.
    ///
    /// # Errors
    /// When there is no answer; the cause is in words.
    pub fn send(&self, request: Request<Body>) -> Result<Response<BodyReader>, HttpError> {
        Self::check(&request)?;
        let (parts, Body(mut source)) = request.into_parts();
        let mut hop = Hop {
            method: parts.method,
            url: parts.uri,
            headers: parts.headers,
        };
        hop.headers
            .entry(header::USER_AGENT)
            .or_insert(header::HeaderValue::from_static(USER_AGENT));
        let mut retries = 0;
        loop {
            let answer = self.follow(hop.clone(), &mut source);
            let Some(wait) = self.wait_before_retry(&hop, &source, retries, &answer) else {
                return answer;
            };
            retries += 1;
            self.log_retry(&hop, &answer, wait, retries);
            // The connection is given back, or closed.
            drop(answer);
            if self.context.sleep(wait).is_stopped() {
                return Err(WaitLimits::stopped(self.context.remaining()));
            }
        }
    }

    /// How long to wait before the request is sent again; None if the answer is to be returned.
    fn wait_before_retry(
        &self,
        hop: &Hop,
        source: &Source,
        retries: u32,
        answer: &Result<Response<BodyReader>, HttpError>,
    ) -> Option<Duration> {
        if !self.retry.repeats(&hop.method) || matches!(source, Source::Reader(_)) {
            return None;
        }
        // Not random, but no two clients have the same.
        let nanoseconds = self.context.now().duration_since(Instant::ZERO).subsec_nanos();
        let share = f64::from(nanoseconds % 1000) / 1000.0;
        let wait = self
            .retry
            .wait(retries, answer, self.context.system_time(), share)?;
        let in_time = self.context.remaining().is_none_or(|left| wait < left);
        (in_time && !self.context.stop_requested()).then_some(wait)
    }

    fn log_retry(
        &self,
        hop: &Hop,
        answer: &Result<Response<BodyReader>, HttpError>,
        wait: Duration,
        retries: u32,
    ) {
        let why = match answer {
            Ok(answer) => format!("HTTP {}", answer.status()),
            Err(error) => error.to_string(),
        };
        let (method, url, seconds) = (&hop.method, url::without_query(&hop.url), wait.as_secs_f64());
        let text = format!("{method} {url}: {why}; trying again in {seconds:.1} s (retry {retries})");
        self.context.log(Level::Info, &text);
    }

    /// Sends a request, and those that redirects ask for.
    fn follow(&self, mut hop: Hop, source: &mut Source) -> Result<Response<BodyReader>, HttpError> {
        let mut nothing = Source::Empty;
        let mut source = source;
        let wait_limits = self.wait_limits();
        for redirects in 0..=MAX_REDIRECTS {
            let response = match self.send_once(&hop, source, wait_limits) {
                // The request itself was sent: it is the answer that can't be followed.
                Err(HttpError::InvalidRequest { reason }) if redirects > 0 => {
                    return Err(HttpError::Redirect {
                        reason: format!("to '{}': {reason}", url::without_query(&hop.url)),
                    });
                }
                other => other?,
            };
            let Some(next) = redirect::next(&hop, response.status(), response.headers(), self.to_http)?
            else {
                return Ok(response);
            };
            if next.drops_body {
                source = &mut nothing;
            } else if matches!(source, Source::Reader(_)) {
                return Err(HttpError::Redirect {
                    reason: format!(
                        "{} requires sending the body again, but it was a stream",
                        response.status()
                    ),
                });
            }
            hop = next.hop;
        }
        Err(HttpError::TooManyRedirects { limit: MAX_REDIRECTS })
    }

    fn wait_limits(&self) -> WaitLimits {
        let limit = self.time.and_then(|time| self.context.now().checked_add(time));
        let bound = if self.after_stop {
            Some(self.context.last_moment())
        } else {
            self.context.deadline()
        };
        let until = limit.into_iter().chain(bound).min();
        WaitLimits {
            end_on_stop: !self.after_stop,
            until,
            own_limit: self.time.filter(|_| until == limit),
        }
    }

    fn send_once(
        &self,
        hop: &Hop,
        source: &mut Source,
        wait_limits: WaitLimits,
    ) -> Result<Response<BodyReader>, HttpError> {
        let payload = self.payload(source)?;
        let mut head = head(hop);
        if let Payload::Sized(_, length) = &payload {
            head.headers.insert(header::CONTENT_LENGTH, (*length).into());
        } else if matches!(payload, Payload::Empty) {
            head.headers.remove(header::CONTENT_LENGTH);
            if matches!(head.method, Method::POST | Method::PUT | Method::PATCH) {
                head.headers.insert(header::CONTENT_LENGTH, 0.into());
            }
        }
        let exchanged = self.context.transport.send(head, payload, wait_limits);
        if let Err(HttpError::Stopped | HttpError::Timeout) = exchanged {
            // From now on the grace is running out.
            self.context.stop_requested();
        }
        Ok(exchanged?.map(|stream| BodyReader { stream }))
    }

    fn payload<'s>(&self, source: &'s mut Source) -> Result<Payload<'s>, HttpError> {
        let unreadable = |error: std::io::Error| HttpError::Body {
            reason: error.to_string(),
        };
        Ok(match source {
            Source::Empty => Payload::Empty,
            Source::Bytes(bytes) => Payload::Sized(Box::new(bytes.as_slice()), bytes.len() as u64),
            Source::Reader(reader) => Payload::Streamed(Box::new(reader)),
            Source::Input => match self.context.open_input().map_err(unreadable)? {
                None => Payload::Empty,
                Some(input) => input_payload(input).map_err(unreadable)?,
            },
        })
    }
}

fn input_payload(mut input: Input) -> std::io::Result<Payload<'static>> {
    let mut beginning = Vec::new();
    let limit = SMALL_INPUT as u64 + 1;
    input.by_ref().take(limit).read_to_end(&mut beginning)?;
    let length = beginning.len();
    Ok(match length {
        0 => Payload::Empty,
        1..=SMALL_INPUT => Payload::Sized(Box::new(Cursor::new(beginning)), length as u64),
        _ => Payload::Streamed(Box::new(Cursor::new(beginning).chain(input))),
    })
}

fn head(hop: &Hop) -> request::Parts {
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.method = hop.method.clone();
    parts.uri = hop.url.clone();
    parts.headers = hop.headers.clone();
    parts
}
