//! What the metadata asks for. The keys are documented in `plugin.json`.

use crate::{path::Path, template::Template};
use executor_runtime_plugin_common::{add_headers, method};
use executor_runtime_sdk::{
    Body, Client, Invocation, RunError,
    http_types::{HeaderMap, Method, Request},
};
use std::time::Duration;

/// How a run is polled and cancelled.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) poll: Template,
    pub(crate) poll_headers: HeaderMap,
    pub(crate) run_id: Option<Path>,
    pub(crate) status: Path,
    pub(crate) terminal: Vec<String>,
    pub(crate) success: Vec<String>,
    pub(crate) interval: Duration,
    pub(crate) pending_codes: Vec<u16>,
    pub(crate) max_failures: u64,
    pub(crate) cancel: Option<Cancel>,
}

/// The cancel request to the backend.
#[derive(Debug)]
pub(crate) struct Cancel {
    pub(crate) url: Template,
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
}

impl Plan {
    /// Also looks at the requests that will follow the kickoff: once that is sent, it is too late to reject
    /// the invocation for them.
    pub(crate) fn read(invocation: &Invocation) -> Result<Self, RunError> {
        const POLL: &str = "http.poll_url_template";
        const CANCEL: &str = "http.cancel_url_template";
        const RUN_ID: &str = "http.poll_run_id_path";
        let poll = Template::parse(POLL, invocation.required(POLL)?)?;
        let cancel = match invocation.text(CANCEL) {
            None => None,
            Some(text) => {
                let mut headers = HeaderMap::new();
                add_headers(invocation, "http.header.", &mut headers)?;
                Some(Cancel {
                    url: Template::parse(CANCEL, text)?,
                    method: method(invocation, "http.cancel_method")?,
                    headers,
                })
            }
        };
        let run_id = match invocation.text(RUN_ID) {
            Some(text) => Some(path(RUN_ID, text)?),
            None => None,
        };
        let templates = [Some(&poll), cancel.as_ref().map(|cancel| &cancel.url)];
        if run_id.is_none()
            && let Some(template) = templates
                .into_iter()
                .flatten()
                .find(|template| template.needs_run_id())
        {
            return Err(invalid(format!(
                "metadata key '{RUN_ID}' is missing: '{}' has {{run_id}} in it",
                template.key()
            )));
        }
        let mut poll_headers = HeaderMap::new();
        add_headers(invocation, "http.header.", &mut poll_headers)?;
        add_headers(invocation, "http.poll_header.", &mut poll_headers)?;
        let plan = Self {
            status: path(
                "http.poll_status_path",
                invocation.required("http.poll_status_path")?,
            )?,
            terminal: states(invocation, "http.poll_terminal_states", None)?,
            success: states(invocation, "http.poll_success_states", Some("completed"))?,
            interval: invocation
                .duration("http.poll_interval_seconds")?
                .unwrap_or(Duration::from_secs(2)),
            pending_codes: pending_codes(invocation)?,
            max_failures: max_failures(invocation)?,
            poll,
            poll_headers,
            run_id,
            cancel,
        };
        sendable("poll", &plan.poll_request(&plan.poll.example()?))?;
        if let Some(cancel) = &plan.cancel {
            sendable("cancel call", &cancel.request(&cancel.url.example()?))?;
        }
        Ok(plan)
    }
}

fn sendable(what: &str, request: &Request<Body>) -> Result<(), RunError> {
    Client::check(request).map_err(|error| RunError::from_http(&error).context(what))
}

fn path(key: &str, text: &str) -> Result<Path, RunError> {
    Path::parse(text.trim()).ok_or_else(|| {
        invalid(format!(
            "metadata key '{key}' is '{}', expected a dotted path, such as run.status",
            text.escape_debug()
        ))
    })
}

fn states(invocation: &Invocation, key: &str, default: Option<&str>) -> Result<Vec<String>, RunError> {
    let states: Vec<_> = match (invocation.text(key), default) {
        (None, Some(default)) => vec![default.to_owned()],
        (None, None) => return Err(invalid(format!("metadata key '{key}' is missing"))),
        (Some(_), _) => invocation.list(key).into_iter().map(str::to_owned).collect(),
    };
    if states.is_empty() {
        return Err(invalid(format!("metadata key '{key}' lists no states")));
    }
    Ok(states)
}

fn pending_codes(invocation: &Invocation) -> Result<Vec<u16>, RunError> {
    const KEY: &str = "http.poll_pending_codes";
    let code = |item: &str| {
        item.parse()
            .ok()
            .filter(|code| (100..=999).contains(code))
            .ok_or_else(|| {
                invalid(format!(
                    "metadata key '{KEY}' has '{}' in it, expected HTTP codes: comma-separated integers",
                    item.escape_debug()
                ))
            })
    };
    invocation.list(KEY).into_iter().map(code).collect()
}

fn max_failures(invocation: &Invocation) -> Result<u64, RunError> {
    const KEY: &str = "http.poll_max_failures";
    let number = invocation.integer(KEY)?.unwrap_or(0);
    number
        .try_into()
        .map_err(|_| invalid(format!("metadata key '{KEY}' is {number}, expected 0 or more")))
}

fn invalid(summary: String) -> RunError {
    RunError::rejected("invalid_metadata", summary)
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
        assert_eq!(plan.interval, Duration::from_secs(2));
        assert_eq!(plan.max_failures, 0);
        assert!(plan.pending_codes.is_empty() && plan.cancel.is_none());
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
        assert_eq!(plan.poll_headers["x-a"], "poll");
        assert_eq!(plan.poll_headers["x-b"], "all");
        assert_eq!(plan.cancel.unwrap().headers["x-a"], "all");
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
            ("http.poll_max_failures", "-1"),
            ("http.poll_header.x", "a\nb"),
            ("http.cancel_url_template", "h"),
            ("http.cancel_method", "CONNECT"),
        ] {
            let invocation = invocation().with("http.cancel_url_template", "http://h/cancel");
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
        ] {
            let error = Plan::read(&invocation().with(key, value)).unwrap_err();
            assert_eq!(error.status(), FailureStatus::Rejected, "{key}");
            assert_eq!(error.kind(), "invalid_request", "{key}");
        }
        for key in ["http.poll_url_template", "http.cancel_url_template"] {
            let error = Plan::read(&invocation().with(key, "http://h/{run_id}")).unwrap_err();
            let expected =
                format!("metadata key 'http.poll_run_id_path' is missing: '{key}' has {{run_id}} in it");
            assert_eq!(error.summary(), expected);
        }
    }
}
