//! What the metadata asks for. The keys are documented in `plugin.json`.

use crate::exit::ExitPaths;
use executor_runtime_plugin_common::{
    Call, MIN_INTERVAL, Paths, Template, Values, add_headers, codes, count, invalid, kickoff_codes, method,
    method_or, path, sendable, states,
};
use executor_runtime_sdk::{
    Body, Invocation, RunError,
    http_types::{HeaderMap, HeaderValue, Method, Request, Uri, header},
};
use serde::de::IgnoredAny;
use std::time::Duration;

pub(crate) const RUN_ID: &str = "http.poll_run_id_path";
pub(crate) const STATUS: &str = "http.poll_status_path";

/// The state that means success, unless the invocation says otherwise. A host fills it in, so that nothing tells whether the
/// invocation gave it.
const DEFAULT_SUCCESS: &str = "completed";

/// What a body's `{run_id}` stands for.
const PLACEHOLDER: &str = "{run_id}";

/// Intervals that grow do so up to this, unless the invocation says otherwise.
const MAX_INTERVAL: Duration = Duration::from_secs(60);

/// How a run is polled, and what follows its end.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) poll: Poll,
    pub(crate) run_id: Option<Paths>,
    pub(crate) status: Paths,
    pub(crate) terminal: Vec<String>,
    pub(crate) success: Vec<String>,
    pub(crate) input: Vec<String>,
    pub(crate) progress: Option<Paths>,
    pub(crate) error: Option<Paths>,
    pub(crate) exit: ExitPaths,
    pub(crate) intervals: Intervals,
    /// Whether the kickoff is of a method that only asks, so that it may be sent again.
    pub(crate) only_asks: bool,
    /// What the kickoff may be answered with besides 200 and 202.
    pub(crate) kickoff_codes: Vec<u16>,
    pub(crate) pending_codes: Vec<u16>,
    pub(crate) max_failures: u64,
    pub(crate) result: Option<Template>,
    pub(crate) cancel: Option<Call>,
    pub(crate) cleanup: Option<Call>,
}

/// The time between polls.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Intervals {
    pub(crate) first: Duration,
    /// What each is multiplied by for the next.
    pub(crate) factor: f64,
    pub(crate) longest: Duration,
}

/// The request that asks for the run's state.
#[derive(Debug)]
pub(crate) struct Poll {
    pub(crate) url: Template,
    method: Method,
    headers: HeaderMap,
    body: Option<String>,
}

/// Whether a status ends a run, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Success,
    Failure,
    NeedsInput,
}

impl Plan {
    /// Also looks at the requests that will follow the kickoff: once that is sent, it is too late to reject
    /// the invocation for them.
    pub(crate) fn read(invocation: &Invocation) -> Result<Self, RunError> {
        let plan = Self {
            poll: Poll::read(invocation)?,
            cancel: Call::read(
                invocation,
                "cancel call",
                "http.cancel_url_template",
                "http.cancel_method",
                Method::POST,
            )?,
            cleanup: Call::read(
                invocation,
                "cleanup call",
                "http.cleanup_url_template",
                "http.cleanup_method",
                Method::DELETE,
            )?,
            result: match invocation.text("http.result_url_template") {
                Some(text) => Some(Template::parse("http.result_url_template", text)?),
                None => None,
            },
            run_id: path(invocation, RUN_ID)?,
            status: {
                invocation.required(STATUS)?;
                path(invocation, STATUS)?
                    .ok_or_else(|| invalid(format!("metadata key '{STATUS}' is missing")))?
            },
            terminal: states(invocation, "http.poll_terminal_states", None)?,
            success: states(invocation, "http.poll_success_states", Some(DEFAULT_SUCCESS))?,
            input: match invocation.text("http.poll_input_states") {
                Some(_) => states(invocation, "http.poll_input_states", None)?,
                None => Vec::new(),
            },
            progress: path(invocation, "http.poll_progress_path")?,
            error: path(invocation, "http.poll_error_path")?,
            exit: ExitPaths::read(invocation)?,
            intervals: Intervals::read(invocation)?,
            only_asks: method(invocation, "http.method")?.is_safe(),
            kickoff_codes: kickoff_codes(invocation)?,
            pending_codes: codes(invocation, "http.poll_pending_codes")?,
            max_failures: count(invocation, "http.poll_max_failures", 0)?,
        };
        if plan.run_id.is_none()
            && let Some(key) = plan.key_that_needs_run_id()
        {
            return Err(invalid(format!(
                "metadata key '{RUN_ID}' is missing: '{key}' has {{run_id}} in it"
            )));
        }
        sendable("poll", &plan.poll.request(&plan.poll.url.example()?, "1"))?;
        if let Some(result) = &plan.result {
            sendable("result", &plan.result_request(&result.example()?))?;
        }
        Ok(plan)
    }

    /// The templates of requests other than polls.
    fn after(&self) -> impl Iterator<Item = &Template> {
        let calls = [&self.cancel, &self.cleanup];
        let calls = calls.into_iter().flatten().map(Call::url);
        calls.chain(&self.result)
    }

    fn key_that_needs_run_id(&self) -> Option<&'static str> {
        if self.poll.url.needs_run_id() {
            return Some(self.poll.url.key());
        }
        if self
            .poll
            .body
            .as_ref()
            .is_some_and(|body| body.contains(PLACEHOLDER))
        {
            return Some("http.poll_body");
        }
        self.after().find(|url| url.needs_run_id()).map(Template::key)
    }

    /// Whether the run's id has to be known, once the run has `ended` or before.
    pub(crate) fn needs_run_id(&self, ended: bool) -> bool {
        match ended {
            false => self.key_that_needs_run_id().is_some(),
            true => {
                let cleanup = self.cleanup.as_ref().map(Call::url);
                cleanup
                    .into_iter()
                    .chain(&self.result)
                    .any(Template::needs_run_id)
            }
        }
    }

    /// Whether there is something to do after the end, which an interrupted run has to do when it is resumed.
    pub(crate) fn has_aftermath(&self) -> bool {
        self.result.is_some() || self.cleanup.is_some()
    }

    /// What a status means; None: the run goes on.
    pub(crate) fn verdict(&self, status: &str) -> Option<Verdict> {
        let is_in = |states: &[String]| states.iter().any(|state| state == status);
        match () {
            () if is_in(&self.input) => Some(Verdict::NeedsInput),
            () if !is_in(&self.terminal) => None,
            () if is_in(&self.success) => Some(Verdict::Success),
            () => Some(Verdict::Failure),
        }
    }

    /// Whether no run can succeed, because none of the terminal states is the one that means success by default.
    pub(crate) fn lacks_success(&self) -> bool {
        self.success == [DEFAULT_SUCCESS] && !self.terminal.iter().any(|state| state == DEFAULT_SUCCESS)
    }

    /// The request for the run's result.
    pub(crate) fn result_request(&self, url: &Uri) -> Request<Body> {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = url.clone();
        *request.headers_mut() = self.poll.headers.clone();
        if self.poll.body.is_some() {
            request.headers_mut().remove(header::CONTENT_TYPE);
        }
        request
    }
}

impl Poll {
    fn read(invocation: &Invocation) -> Result<Self, RunError> {
        const URL: &str = "http.poll_url_template";
        const BODY: &str = "http.poll_body";
        let mut headers = HeaderMap::new();
        add_headers(invocation, "http.header.", &mut headers)?;
        add_headers(invocation, "http.poll_header.", &mut headers)?;
        let body = invocation.text(BODY).map(str::to_owned);
        if let Some(body) = &body {
            serde_json::from_str::<IgnoredAny>(&filled(body, "1"))
                .map_err(|error| invalid(format!("metadata key '{BODY}' is not JSON: {error}")))?;
            let json = HeaderValue::from_static("application/json");
            headers.entry(header::CONTENT_TYPE).or_insert(json);
        }
        Ok(Self {
            url: Template::parse(URL, invocation.required(URL)?)?,
            method: method_or(invocation, "http.poll_method", Method::GET)?,
            headers,
            body,
        })
    }

    /// Where the state of a run is asked for.
    pub(crate) fn url(&self, run_id: &str) -> Result<Uri, RunError> {
        self.url.fill(Values::run_id(Some(run_id)))
    }

    /// The next poll.
    pub(crate) fn request(&self, url: &Uri, run_id: &str) -> Request<Body> {
        let body = self.body.as_ref().map(|body| filled(body, run_id));
        let mut request = Request::new(body.map_or(Body::empty(), Body::from));
        *request.uri_mut() = url.clone();
        *request.method_mut() = self.method.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }
}

/// A body in which the run's id stands as a JSON string has it, without the quotes.
fn filled(body: &str, run_id: &str) -> String {
    let quoted = serde_json::Value::from(run_id).to_string();
    body.replace(PLACEHOLDER, &quoted[1..quoted.len() - 1])
}

impl Intervals {
    fn read(invocation: &Invocation) -> Result<Self, RunError> {
        const FACTOR: &str = "http.poll_backoff";
        let first = invocation.duration("http.poll_interval_seconds")?;
        let longest = invocation.duration("http.poll_max_interval_seconds")?;
        let first = first.unwrap_or(Duration::from_secs(2)).max(MIN_INTERVAL);
        let factor = invocation.number(FACTOR)?.unwrap_or(1.0);
        if factor < 1.0 {
            return Err(invalid(format!(
                "metadata key '{FACTOR}' is {factor}, expected 1 or more"
            )));
        }
        Ok(Self {
            first,
            factor,
            longest: longest.unwrap_or(MAX_INTERVAL).max(first),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use executor_runtime_sdk::FailureStatus;

    fn invocation() -> Invocation {
        Invocation::new("http_async")
            .with("http.poll_url_template", "http://h/runs")
            .with("http.poll_status_path", "status")
            .with("http.poll_terminal_states", "completed, failed")
    }

    #[test]
    fn defaults_are_those_of_the_descriptor() {
        let plan = Plan::read(&invocation()).unwrap();
        assert_eq!(plan.terminal, ["completed", "failed"]);
        assert_eq!(plan.success, ["completed"]);
        assert_eq!(plan.intervals.first, Duration::from_secs(2));
        assert_eq!(plan.intervals.factor, 1.0);
        assert_eq!(plan.max_failures, 0);
        assert!(plan.pending_codes.is_empty() && plan.cancel.is_none() && !plan.has_aftermath());
    }

    #[test]
    fn success_is_lacking_where_the_default_is_no_terminal_state() {
        for (terminal, success, lacking) in [
            ("passed,failed", None, true),
            ("passed,failed", Some("completed"), true),
            ("completed,failed", None, false),
            ("passed,failed", Some("passed"), false),
            ("passed,failed", Some("done"), false),
        ] {
            let mut invocation = invocation().with("http.poll_terminal_states", terminal);
            if let Some(success) = success {
                invocation = invocation.with("http.poll_success_states", success);
            }
            let plan = Plan::read(&invocation).unwrap();
            assert_eq!(plan.lacks_success(), lacking, "{terminal} {success:?}");
        }
    }

    #[test]
    fn poll_headers_replace_common_ones() {
        let plan = Plan::read(
            &invocation()
                .with("http.header.X-A", "all")
                .with("http.header.X-B", "all")
                .with("http.poll_header.x-a", "poll")
                .with("http.cancel_url_template", "http://h/cancel"),
        )
        .unwrap();
        let poll = plan.poll.request(&plan.poll.url("1").unwrap(), "1");
        assert_eq!(poll.headers()["x-a"], "poll");
        assert_eq!(poll.headers()["x-b"], "all");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (key, value) in [
            ("http.poll_url_template", "/runs"),
            ("http.poll_status_path", "a..b"),
            ("http.poll_run_id_path", ""),
            ("http.poll_terminal_states", " , "),
            ("http.poll_success_states", ","),
            ("http.poll_interval_seconds", "-1"),
            ("http.poll_pending_codes", "404,x"),
            ("http.poll_pending_codes", "40"),
            ("http.kickoff_codes", "2xx"),
            ("http.kickoff_codes", "201,302"),
            ("http.kickoff_codes", "409"),
            ("http.poll_max_failures", "-1"),
            ("http.poll_header.x", "a\nb"),
            ("http.cancel_url_template", "h"),
            ("http.cancel_method", "CONNECT"),
            ("http.cleanup_method", "A B"),
            ("http.poll_method", "CONNECT"),
            ("http.poll_body", "{"),
            ("http.poll_input_states", ","),
            ("http.poll_progress_path", "."),
            ("http.poll_error_path", "a."),
            ("http.poll_exit_code_path", "a,"),
            ("http.poll_signal_path", ""),
            ("http.poll_wait_status_path", ".a"),
            ("http.result_url_template", "/result"),
            ("http.poll_backoff", "0.5"),
            ("http.poll_max_interval_seconds", "soon"),
        ] {
            let invocation = invocation()
                .with("http.cancel_url_template", "http://h/cancel")
                .with("http.cleanup_url_template", "http://h/cleanup");
            let error = Plan::read(&invocation.with(key, value)).unwrap_err();
            assert_eq!(error.kind(), "invalid_metadata", "{key}");
            assert!(error.summary().contains(&format!("'{key}'")), "{error}");
        }
        for (key, value) in [
            ("http.header.Host", "x"),
            ("http.poll_header.Host", "x"),
            ("http.poll_header.proxy-authorization", "x"),
            ("http.poll_header.Transfer-Encoding", "x"),
            ("http.poll_url_template", "http://u:p@h/"),
            ("http.cancel_url_template", "http://u:p@h/"),
            ("http.cleanup_url_template", "http://u:p@h/"),
            ("http.result_url_template", "http://u:p@h/"),
        ] {
            let error = Plan::read(&invocation().with(key, value)).unwrap_err();
            assert_eq!(error.status(), FailureStatus::Rejected, "{key}");
            assert_eq!(error.kind(), "invalid_request", "{key}");
        }
        for (key, value) in [
            ("http.poll_url_template", "http://h/{run_id}"),
            ("http.cancel_url_template", "http://h/{run_id}"),
            ("http.cleanup_url_template", "http://h/{run_id}"),
            ("http.result_url_template", "http://h/{run_id}"),
            ("http.poll_body", r#"{"id": "{run_id}"}"#),
        ] {
            let error = Plan::read(&invocation().with(key, value)).unwrap_err();
            let expected =
                format!("metadata key 'http.poll_run_id_path' is missing: '{key}' has {{run_id}} in it");
            assert_eq!(error.summary(), expected);
        }
    }

    #[test]
    fn the_id_in_a_body_stays_a_string() {
        let invocation = invocation()
            .with("http.poll_run_id_path", "id")
            .with("http.poll_body", r#"{"id": "{run_id}", "v": 1}"#);
        let plan = Plan::read(&invocation).unwrap();
        let body = plan.poll.body.as_ref().unwrap();
        assert_eq!(
            filled(body, "a\"}{run_id}\n"),
            r#"{"id": "a\"}{run_id}\n", "v": 1}"#
        );
        let poll = plan.poll.request(&plan.poll.url("1").unwrap(), "1");
        assert_eq!(poll.headers()["content-type"], "application/json");
    }

    #[test]
    fn intervals_have_a_floor_and_grow_to_a_limit() {
        let of = |keys: [(&str, &str); 3]| {
            let invocation = keys
                .iter()
                .fold(invocation(), |all, (key, value)| all.with(*key, *value));
            Plan::read(&invocation).unwrap().intervals
        };
        let keys = [
            "http.poll_interval_seconds",
            "http.poll_backoff",
            "http.poll_max_interval_seconds",
        ];
        let given = |values: [&'static str; 3]| of(std::array::from_fn(|n| (keys[n], values[n])));
        let expected = |first, factor, longest| Intervals {
            first: Duration::from_millis(first),
            factor,
            longest: Duration::from_millis(longest),
        };
        assert_eq!(given(["0", "1", "0"]), expected(50, 1.0, 50));
        assert_eq!(given(["1", "1.5", "30"]), expected(1000, 1.5, 30_000));
        assert_eq!(given(["90", "2", "30"]), expected(90_000, 2.0, 90_000));
    }
}
