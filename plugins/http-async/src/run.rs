//! One run: kickoff, polls, and what is left at the end.

use crate::{
    exchange::{Answer, ExchangeError, exchange, text_at, unexpected_code},
    plan::Plan,
    schedule::Schedule,
};
use executor_runtime_plugin_common::{interrupted, keep_artifact, kickoff_request};
use executor_runtime_sdk::{
    Context, HttpError, Invocation, Level, Outcome, RunError, http_types::StatusCode,
};
use std::time::Duration;

const ARTIFACT: &str = "final_status";

/// What is known so far.
#[derive(Debug, Default)]
struct Record {
    run_id: Option<String>,
    run_status: Option<String>,
    polls: u64,
    code: Option<StatusCode>,
    payload: Option<Vec<u8>>,
    resumed: bool,
    cancelled: Option<Result<StatusCode, String>>,
}

/// Why a run does not get to a terminal status.
enum Halt {
    /// It is to stop; this is under way.
    Interrupted(&'static str),
    /// The backend has started it, and its state can't be queried.
    Lost(RunError),
    Failed(RunError),
}

pub(crate) fn run(invocation: &Invocation, ctx: &Context) -> Result<Outcome, RunError> {
    let plan = Plan::read(invocation)?;
    let mut record = Record::default();
    let ended = record.follow(invocation, ctx, &plan);
    if let Err(Halt::Interrupted(_) | Halt::Lost(_)) = ended
        && let Some(cancel) = &plan.cancel
    {
        record.cancelled = Some(cancel.call(ctx, record.run_id.as_deref()));
    }
    let ended = match ended {
        Ok(status) if plan.is_success(&status) => Ok(Outcome::succeeded().exit_code(0)),
        Ok(status) => Err(RunError::failed(
            "backend_status",
            format!("backend reported terminal status: {status}"),
        )
        .exit_code(1)),
        Err(Halt::Interrupted(doing)) => Err(interrupted(invocation, ctx, doing)),
        Err(Halt::Lost(error) | Halt::Failed(error)) => Err(error),
    };
    let kept = record.keep_payload(invocation, ctx);
    let receipt = record.into_receipt();
    match ended.and_then(|outcome| kept.map(|()| outcome)) {
        Ok(outcome) => Ok(receipt
            .into_iter()
            .fold(outcome, |outcome, (key, value)| outcome.receipt(key, value))),
        Err(error) => Err(receipt
            .into_iter()
            .fold(error, |error, (key, value)| error.receipt(key, value))),
    }
}

impl Record {
    /// Follows the run to its terminal status.
    fn follow(&mut self, invocation: &Invocation, ctx: &Context, plan: &Plan) -> Result<String, Halt> {
        let mut retry_after = None;
        if let Some(state) = ctx.resumed() {
            // A second kickoff would start a second run: rather fail.
            self.run_id = resumed_run_id(&state).map_err(Halt::Failed)?;
            self.resumed = true;
        } else {
            let answer = self.kickoff(invocation, ctx, plan)?;
            let ended = self.run_status.clone().filter(|status| plan.is_terminal(status));
            if let Some(status) = ended {
                return Ok(status);
            }
            retry_after = answer;
            let state = serde_json::json!({"run_id": self.run_id}).to_string();
            if let Err(error) = ctx.checkpoint(state.as_bytes()) {
                ctx.log(
                    Level::Warn,
                    &format!("an interrupted run could not be resumed: {error}"),
                );
            }
        }
        self.poll(ctx, plan, retry_after)
    }

    /// Starts the run; returns how long the backend wants to be left alone.
    fn kickoff(
        &mut self,
        invocation: &Invocation,
        ctx: &Context,
        plan: &Plan,
    ) -> Result<Option<Duration>, Halt> {
        const DOING: &str = "kickoff";
        let failed = |error: RunError| Halt::Failed(error.context(DOING));
        let request = kickoff_request(invocation).map_err(Halt::Failed)?;
        let answer = exchange(ctx, request).map_err(|error| match error {
            ExchangeError::Interrupted => Halt::Interrupted(DOING),
            ExchangeError::Http(error) => failed(RunError::from_http(&error)),
            ExchangeError::Unusable(error) => failed(error),
        })?;
        self.code = Some(answer.status);
        match answer.status {
            StatusCode::OK => {
                // Anything but a terminal status is an acknowledgement.
                self.run_status = text_at(&plan.status, &answer.payload).ok();
            }
            StatusCode::ACCEPTED => {}
            _ => return Err(failed(unexpected_code("202 or 200", &answer))),
        }
        let ended = self
            .run_status
            .as_ref()
            .is_some_and(|status| plan.is_terminal(status));
        if let Some(path) = &plan.run_id {
            match text_at(path, &answer.payload) {
                Ok(id) if !id.is_empty() => self.run_id = Some(id),
                // A run that has ended already needs no id, nor do URLs without one.
                _ if ended || !plan.needs_run_id() => {}
                Ok(_) => {
                    let summary = format!("the run's id at path '{path}' is empty");
                    return Err(failed(RunError::failed("invalid_response", summary)));
                }
                Err(error) => return Err(failed(error)),
            }
        }
        let Answer {
            retry_after, payload, ..
        } = answer;
        if ended {
            self.payload = Some(payload);
        }
        Ok(retry_after)
    }

    fn poll(&mut self, ctx: &Context, plan: &Plan, first: Option<Duration>) -> Result<String, Halt> {
        const DOING: &str = "poll";
        let failed = |error: RunError| Halt::Failed(error.context(DOING));
        let id = self.run_id.as_deref().unwrap_or_default();
        let url = plan
            .poll
            .fill(id)
            .map_err(|error| Halt::Lost(error.context(DOING)))?;
        let mut schedule = Schedule::new(plan.interval, ctx.now(), first);
        let mut failures = 0;
        loop {
            let wait = schedule.wait(ctx.now());
            if !wait.is_zero() && ctx.sleep(wait).is_stopped() {
                return Err(Halt::Interrupted(DOING));
            }
            self.polls += 1;
            let mut retry_after = None;
            let failure = match exchange(ctx, plan.poll_request(&url)) {
                Err(ExchangeError::Interrupted) => return Err(Halt::Interrupted(DOING)),
                Err(ExchangeError::Unusable(error)) => return Err(failed(error)),
                // The run has been started: a failed poll is a failure, not a rejection.
                Err(ExchangeError::Http(error @ HttpError::InvalidRequest { .. })) => {
                    let error = RunError::failed(error.code(), format!("http error: {error}"));
                    return Err(Halt::Lost(error.context(DOING)));
                }
                Err(ExchangeError::Http(error)) => {
                    let summary = RunError::from_http(&error);
                    if !error.is_transient() {
                        return Err(failed(summary));
                    }
                    Some(summary)
                }
                Ok(answer) => {
                    self.code = Some(answer.status);
                    retry_after = answer.retry_after;
                    let code = answer.status.as_u16();
                    if plan.pending_codes.contains(&code) {
                        None
                    } else if answer.status == StatusCode::OK {
                        let status = text_at(&plan.status, &answer.payload);
                        self.payload = Some(answer.payload);
                        let status = status.map_err(failed)?;
                        self.see(ctx, &status);
                        if plan.is_terminal(&status) {
                            return Ok(status);
                        }
                        None
                    } else {
                        let error = unexpected_code("200", &answer);
                        if code < 500 {
                            return Err(failed(error));
                        }
                        Some(error)
                    }
                }
            };
            match failure {
                None => failures = 0,
                Some(error) => {
                    failures += 1;
                    if failures > plan.max_failures {
                        let times = match failures {
                            1 => DOING.to_owned(),
                            n => format!("{DOING}, {n} times in a row"),
                        };
                        return Err(Halt::Failed(error.context(times)));
                    }
                    let text = format!("polling failed {failures} times in a row: {error}");
                    ctx.log(Level::Warn, &text);
                }
            }
            schedule.advance(ctx.now(), retry_after);
        }
    }

    fn see(&mut self, ctx: &Context, status: &str) {
        if self.run_status.as_deref() != Some(status) {
            ctx.progress(None, status);
            self.run_status = Some(status.to_owned());
        }
    }

    /// Keeps the last payload. Where the caller asked for artifacts it has to work.
    fn keep_payload(&self, invocation: &Invocation, ctx: &Context) -> Result<(), RunError> {
        let Some(payload) = &self.payload else {
            return Ok(());
        };
        keep_artifact(invocation, ctx, ARTIFACT, payload)
    }

    fn into_receipt(self) -> Vec<(&'static str, String)> {
        let (cancel_status, cancel_error) = match self.cancelled {
            None => (None, None),
            Some(Ok(code)) => (Some(code.as_str().to_owned()), None),
            Some(Err(reason)) => (None, Some(reason)),
        };
        [
            ("http.run_id", self.run_id),
            ("http.run_status", self.run_status),
            ("http.polls", Some(self.polls.to_string())),
            ("http.status", self.code.map(|code| code.as_str().to_owned())),
            ("http.resumed", self.resumed.then(|| "true".to_owned())),
            ("http.cancel_status", cancel_status),
            ("http.cancel_error", cancel_error),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)))
        .collect()
    }
}

impl Plan {
    fn needs_run_id(&self) -> bool {
        self.poll.needs_run_id()
            || self
                .cancel
                .as_ref()
                .is_some_and(|cancel| cancel.url.needs_run_id())
    }
}

fn resumed_run_id(state: &[u8]) -> Result<Option<String>, RunError> {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct State {
        run_id: Option<String>,
    }
    let state: State = serde_json::from_slice(state).map_err(|error| {
        RunError::failed(
            "invalid_checkpoint",
            format!("the checkpoint of the earlier run can't be read: {error}"),
        )
    })?;
    Ok(state.run_id)
}
