//! What the metadata asks for. The keys are documented in `plugin.json`.

use crate::{parser::Event, state::Ended};
use executor_runtime_plugin_common::{
    Call, Found, KICKOFF_CODES, MIN_INTERVAL, Paths, Template, add_headers, count, invalid, kickoff_codes,
    method, path, sendable, states, words_at,
};
use executor_runtime_sdk::{
    Body, Invocation, RunError,
    http_types::{HeaderMap, HeaderValue, Method, Request, Uri, header},
};
use std::time::Duration;

pub(crate) const RUN_ID: &str = "sse.run_id_path";
pub(crate) const STATUS: &str = "sse.status_path";
const STREAM: &str = "sse.stream_url_template";

/// Where the events are, and how the run is followed.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The stream's URL, if it is not the kickoff's answer.
    pub(crate) stream: Option<Template>,
    pub(crate) reconnect: Option<Template>,
    /// Whether the kickoff may be sent again, because it only asks.
    pub(crate) repeats_kickoff: bool,
    /// Whether it is of a method that only asks.
    pub(crate) only_asks: bool,
    /// What the kickoff may be answered with besides 200 and 202.
    pub(crate) kickoff_codes: Vec<u16>,
    pub(crate) run_id: Option<Paths>,
    pub(crate) cursor: Option<Paths>,
    pub(crate) without_cursor: WithoutCursor,
    pub(crate) ends: Ends,
    pub(crate) pings: Vec<String>,
    pub(crate) progress: Option<Paths>,
    pub(crate) error: Option<Paths>,
    pub(crate) input: Option<Paths>,
    pub(crate) status: Option<StatusPlan>,
    pub(crate) waits: Waits,
    pub(crate) idle: Duration,
    pub(crate) max_failures: u64,
    pub(crate) max_event: usize,
    pub(crate) cancel: Option<Call>,
    headers: HeaderMap,
}

/// What to do about a stream that broke off, and that does not say where it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WithoutCursor {
    Fail,
    /// It begins anew: what is known is left out.
    Replay,
    /// It goes on somewhere.
    Continue,
}

/// Which events end the run, and how.
#[derive(Debug)]
pub(crate) struct Ends {
    events: Vec<String>,
    success_events: Vec<String>,
    path: Option<Paths>,
    states: Vec<String>,
    success_states: Vec<String>,
    success_data: Option<String>,
}

/// How the run's state is asked for where the stream does not tell it.
#[derive(Debug)]
pub(crate) struct StatusPlan {
    pub(crate) url: Template,
    pub(crate) path: Paths,
    terminal: Vec<String>,
    success: Vec<String>,
}

/// The time before the stream is asked for again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waits {
    pub(crate) first: Duration,
    pub(crate) longest: Duration,
}

impl Plan {
    /// Also looks at the requests that will follow the kickoff: once that is sent, it is too late to reject the invocation
    /// for them.
    pub(crate) fn read(invocation: &Invocation) -> Result<Self, RunError> {
        let mut headers = HeaderMap::new();
        add_headers(invocation, "http.header.", &mut headers)?;
        let stream = template(invocation, STREAM)?;
        let plan = Self {
            repeats_kickoff: stream.is_none() && method(invocation, "http.method")? == Method::GET,
            only_asks: method(invocation, "http.method")?.is_safe(),
            stream,
            reconnect: template(invocation, "sse.reconnect_url_template")?,
            kickoff_codes: kickoff_codes(invocation)?,
            run_id: path(invocation, RUN_ID)?,
            cursor: path(invocation, "sse.cursor_path")?,
            without_cursor: match invocation.text("sse.without_cursor") {
                None | Some("fail") => WithoutCursor::Fail,
                Some("replay") => WithoutCursor::Replay,
                Some("continue") => WithoutCursor::Continue,
                Some(other) => {
                    return Err(invalid(format!(
                        "metadata key 'sse.without_cursor' is '{}', expected fail, replay or continue",
                        other.escape_debug()
                    )));
                }
            },
            ends: Ends::read(invocation)?,
            pings: states(invocation, "sse.ping_events", Some("ping"))?,
            progress: path(invocation, "sse.progress_path")?,
            error: path(invocation, "sse.error_path")?,
            input: path(invocation, "sse.input_path")?,
            status: StatusPlan::read(invocation)?,
            waits: Waits::read(invocation)?,
            idle: invocation
                .duration("sse.idle_timeout_seconds")?
                .unwrap_or(Duration::from_secs(300))
                .max(MIN_INTERVAL),
            max_failures: count(invocation, "sse.max_failures", 5)?,
            max_event: usize::try_from(count(invocation, "sse.max_event_bytes", 1 << 20)?)
                .unwrap_or(usize::MAX),
            cancel: Call::read(
                invocation,
                "cancel call",
                "http.cancel_url_template",
                "http.cancel_method",
                Method::POST,
            )?,
            headers,
        };
        plan.check()?;
        Ok(plan)
    }

    /// Whether what the kickoff starts is more than its stream: it is known by a URL of its own.
    pub(crate) fn outlives_stream(&self) -> bool {
        self.stream.is_some() || self.reconnect.is_some() || self.status.is_some() || self.cancel.is_some()
    }

    fn check(&self) -> Result<(), RunError> {
        if self.stream.is_none() && !self.kickoff_codes.is_empty() {
            return Err(invalid(format!(
                "metadata key '{KICKOFF_CODES}' needs '{STREAM}': without that the kickoff's answer is the stream, and its code \
                 is 200"
            )));
        }
        let urls = [
            self.stream.as_ref(),
            self.reconnect.as_ref(),
            self.status.as_ref().map(|status| &status.url),
            self.cancel.as_ref().map(Call::url),
        ];
        for url in urls.into_iter().flatten() {
            if self.run_id.is_none() && url.needs_run_id() {
                return Err(invalid(format!(
                    "metadata key '{RUN_ID}' is missing: '{}' has {{run_id}} in it",
                    url.key()
                )));
            }
            sendable(url.key(), &self.get(&url.example()?))?;
        }
        Ok(())
    }

    /// A GET request with the headers of all requests.
    pub(crate) fn get(&self, url: &Uri) -> Request<Body> {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = url.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }

    /// How an event ends the run; None: it does not.
    pub(crate) fn end(&self, event: &Event) -> Option<Ended> {
        let (success, by) = self.ends.by(event)?;
        let words = match &self.error {
            Some(path) if !success => words_at(path, event.data.as_bytes()),
            _ => None,
        };
        Some(Ended { success, by, words })
    }
}

/// Asks for an event stream, unless the invocation says what it takes.
pub(crate) fn accept_events(request: &mut Request<Body>) {
    let events = HeaderValue::from_static("text/event-stream");
    request.headers_mut().entry(header::ACCEPT).or_insert(events);
}

fn template(invocation: &Invocation, key: &'static str) -> Result<Option<Template>, RunError> {
    invocation
        .text(key)
        .map(|text| Template::parse(key, text))
        .transpose()
}

fn optional(invocation: &Invocation, key: &str) -> Result<Vec<String>, RunError> {
    match invocation.text(key) {
        None => Ok(Vec::new()),
        Some(_) => states(invocation, key, None),
    }
}

impl Ends {
    fn read(invocation: &Invocation) -> Result<Self, RunError> {
        let ends = Self {
            events: optional(invocation, "sse.terminal_events")?,
            success_events: optional(invocation, "sse.success_events")?,
            path: path(invocation, "sse.terminal_path")?,
            states: optional(invocation, "sse.terminal_states")?,
            success_states: states(invocation, "sse.success_states", Some("completed"))?,
            success_data: invocation.text("sse.success_data").map(str::to_owned),
        };
        if ends.path.is_some() && ends.states.is_empty() {
            return Err(invalid(
                "metadata key 'sse.terminal_states' is missing: 'sse.terminal_path' needs it",
            ));
        }
        if ends.success_events.is_empty() && ends.path.is_none() && ends.success_data.is_none() {
            return Err(invalid(
                "nothing says how the stream ends with success: give metadata key 'sse.success_events', \
                 'sse.terminal_path' or 'sse.success_data'",
            ));
        }
        Ok(ends)
    }

    /// Whether an event ends the run with success or without, and what about it says so.
    fn by(&self, event: &Event) -> Option<(bool, String)> {
        let is_in = |names: &[String], name: &str| names.iter().any(|known| known == name);
        if is_in(&self.success_events, &event.name) {
            return Some((true, event.name.clone()));
        }
        if is_in(&self.events, &event.name) {
            return Some((false, event.name.clone()));
        }
        if self.success_data.as_ref() == Some(&event.data) {
            return Some((true, event.data.clone()));
        }
        let Ok(Found::Text(state)) = self.path.as_ref()?.find(event.data.as_bytes()) else {
            return None;
        };
        let success = is_in(&self.success_states, &state);
        is_in(&self.states, &state).then_some((success, state))
    }
}

impl StatusPlan {
    fn read(invocation: &Invocation) -> Result<Option<Self>, RunError> {
        let Some(url) = template(invocation, "sse.status_url_template")? else {
            return Ok(None);
        };
        Ok(Some(Self {
            url,
            path: path(invocation, STATUS)?
                .ok_or_else(|| invalid(format!("metadata key '{STATUS}' is missing")))?,
            terminal: states(invocation, "sse.status_terminal_states", None)?,
            success: states(invocation, "sse.status_success_states", Some("completed"))?,
        }))
    }

    /// Whether a state is an end, and a success.
    pub(crate) fn verdict(&self, state: &str) -> Option<bool> {
        let is_in = |states: &[String]| states.iter().any(|known| known == state);
        is_in(&self.terminal).then(|| is_in(&self.success))
    }
}

impl Waits {
    fn read(invocation: &Invocation) -> Result<Self, RunError> {
        let first = invocation.duration("sse.reconnect_seconds")?;
        let longest = invocation.duration("sse.max_reconnect_seconds")?;
        let longest = longest.unwrap_or(Duration::from_secs(30)).max(MIN_INTERVAL);
        Ok(Self {
            first: first
                .unwrap_or(Duration::from_secs(1))
                .clamp(MIN_INTERVAL, longest),
            longest,
        })
    }

    /// The time before the next attempt, after so many in a row that brought nothing. `retry` is what the stream asked for,
    /// `retry_after` what the last answer did.
    pub(crate) fn wait(
        self,
        failures: u64,
        retry: Option<Duration>,
        retry_after: Option<Duration>,
    ) -> Duration {
        let first = retry.unwrap_or(self.first).clamp(MIN_INTERVAL, self.longest);
        let doublings = u32::try_from(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        let backoff = first.saturating_mul(factor);
        backoff.max(retry_after.unwrap_or_default()).min(self.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invocation() -> Invocation {
        Invocation::new("http_sse").with("sse.success_events", "end")
    }

    fn event(name: &str, data: &str) -> Event {
        Event {
            name: name.to_owned(),
            data: data.to_owned(),
            ..Event::default()
        }
    }

    #[test]
    fn a_name_a_state_or_the_data_ends_the_run() {
        let plan = Plan::read(
            &invocation()
                .with("sse.terminal_events", "end, error")
                .with("sse.terminal_path", "run.status")
                .with("sse.terminal_states", "completed, failed")
                .with("sse.success_data", "[DONE]")
                .with("sse.error_path", "why"),
        )
        .unwrap();
        let end = |name: &str, data: &str| {
            plan.end(&event(name, data))
                .map(|end| (end.success, end.by, end.words))
        };
        let ended =
            |success, by: &str, words: Option<&str>| Some((success, by.to_owned(), words.map(str::to_owned)));
        for (name, data, expected) in [
            ("end", "", ended(true, "end", None)),
            (
                "error",
                r#"{"why": "no room"}"#,
                ended(false, "error", Some("no room")),
            ),
            ("message", "[DONE]", ended(true, "[DONE]", None)),
            (
                "message",
                r#"{"run": {"status": "completed"}}"#,
                ended(true, "completed", None),
            ),
            (
                "x",
                r#"{"run": {"status": "failed"}, "why": 7}"#,
                ended(false, "failed", Some("7")),
            ),
            ("x", r#"{"run": {"status": "running"}}"#, None),
            ("x", r#"{"status": "completed"}"#, None),
            ("x", "completed", None),
            ("End", "", None),
        ] {
            assert_eq!(end(name, data), expected, "{name} {data}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (key, value) in [
            ("sse.stream_url_template", "/x"),
            ("sse.reconnect_url_template", "/x"),
            ("sse.status_url_template", "/x"),
            ("sse.run_id_path", ""),
            ("sse.cursor_path", "a..b"),
            ("sse.input_path", "a,"),
            ("sse.terminal_events", ","),
            ("sse.success_events", ","),
            ("sse.terminal_path", "."),
            ("sse.success_states", ","),
            ("sse.without_cursor", "perhaps"),
            ("sse.max_failures", "-1"),
            ("sse.idle_timeout_seconds", "soon"),
            ("http.cancel_url_template", "x"),
            ("http.header.x", "a\nb"),
            ("http.kickoff_codes", "409"),
            ("http.kickoff_codes", "201"),
        ] {
            let error = Plan::read(&invocation().with(key, value)).unwrap_err();
            assert_eq!(error.kind(), "invalid_metadata", "{key}");
            assert!(error.summary().contains(&format!("'{key}'")), "{error}");
        }
        for key in [
            "sse.stream_url_template",
            "sse.reconnect_url_template",
            "http.cancel_url_template",
        ] {
            let error = Plan::read(&invocation().with(key, "http://h/{run_id}")).unwrap_err();
            assert!(
                error.summary().contains("'sse.run_id_path' is missing"),
                "{error}"
            );
        }
        let with_stream = invocation()
            .with("sse.stream_url_template", "http://h/")
            .with("http.kickoff_codes", "201");
        assert_eq!(Plan::read(&with_stream).unwrap().kickoff_codes, [201]);
        let error = Plan::read(&Invocation::new("http_sse")).unwrap_err();
        assert!(error.summary().contains("'sse.success_events'"), "{error}");
        let error = Plan::read(&invocation().with("sse.terminal_path", "a")).unwrap_err();
        assert!(
            error.summary().contains("'sse.terminal_states' is missing"),
            "{error}"
        );
    }

    #[test]
    fn waits_double_and_keep_within_their_bounds() {
        let waits = Waits {
            first: Duration::from_secs(1),
            longest: Duration::from_secs(30),
        };
        let seconds = |failures, retry, retry_after| {
            let time = |seconds: Option<u64>| seconds.map(Duration::from_secs);
            waits.wait(failures, time(retry), time(retry_after)).as_secs_f64()
        };
        assert_eq!(
            [0, 1, 2, 3, 6, 1000].map(|n| seconds(n, None, None)),
            [1.0, 1.0, 2.0, 4.0, 30.0, 30.0]
        );
        assert_eq!(seconds(1, Some(5), None), 5.0);
        assert_eq!(seconds(1, Some(0), None), 0.05);
        assert_eq!(seconds(1, Some(u64::MAX), None), 30.0);
        assert_eq!(seconds(1, None, Some(7)), 7.0);
        assert_eq!(seconds(1, None, Some(3600)), 30.0);
    }
}
