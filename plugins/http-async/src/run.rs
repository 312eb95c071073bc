//! One run: kickoff, polls, and what is left at the end.

use crate::{
    plan::{Plan, RUN_ID, STATUS, Verdict},
    progress::Progress,
    result,
    schedule::Schedule,
    state::{Ended, State},
};
use executor_runtime_plugin_common::{
    Answer, ExchangeError, Values, call_receipt, exchange, expected_kickoff, interrupted, keep_artifact,
    kickoff_request, may_have_arrived, may_have_started, preview, refused, text_at, unexpected_code,
    words_at,
};
use executor_runtime_sdk::{
    Context, FailureStatus, HttpError, Invocation, Level, Outcome, RunError, http_types::StatusCode,
};
use std::time::Duration;

const ARTIFACT: &str = "final_status";

/// The share of the grace that the cancel call may take where a cleanup call follows it.
const CANCEL_SHARE: f32 = 0.4;

/// What is known so far.
#[derive(Debug, Default)]
struct Record {
    state: State,
    /// The backend may have started the run.
    started: bool,
    run_status: Option<String>,
    progress: Option<Progress>,
    polls: u64,
    code: Option<StatusCode>,
    payload: Option<Vec<u8>>,
    resumed: bool,
    cancelled: Option<Result<StatusCode, String>>,
    cleaned_up: Option<Result<StatusCode, String>>,
}

/// Why a run does not get to a terminal status.
pub(crate) enum Halt {
    /// It is to stop; this is under way.
    Interrupted(&'static str),
    /// The backend has started it, and its state can't be queried.
    Lost(RunError),
    Failed(RunError),
}

pub(crate) fn run(invocation: &Invocation, ctx: &Context) -> Result<Outcome, RunError> {
    let plan = Plan::read(invocation)?;
    let mut record = Record::default();
    let followed = record.follow(invocation, ctx, &plan);
    if let Err(Halt::Interrupted(_) | Halt::Lost(_)) = followed
        && let Some(cancel) = &plan.cancel
    {
        let share = if plan.cleanup.is_some() { CANCEL_SHARE } else { 1.0 };
        record.cancelled = Some(cancel.send(ctx, record.values(), share));
    }
    let kept = record.keep_payload(invocation, ctx);
    let may_still_run = followed.is_err() && record.may_still_run(&plan);
    let has_succeeded = matches!(&followed, Ok(ended) if failure(&plan, ended).is_none());
    let ended = followed.and_then(|ended| record.conclude(ctx, &plan, ended));
    record.clean_up(ctx, &plan);
    let ended = ended.map_err(|halt| match halt {
        Halt::Interrupted(doing) => record.explained(&plan, interrupted(invocation, ctx, doing)),
        Halt::Lost(error) | Halt::Failed(error) => error,
    });
    let receipt = record.into_receipt();
    match ended.and_then(|code| kept.map(|()| code)) {
        // Another try would start a second run beside it, or do its work again.
        Err(error) if may_still_run || has_succeeded && !plan.only_asks => {
            Err(with_receipt(error.transient(false), receipt))
        }
        Err(error) => Err(with_receipt(error, receipt)),
        Ok(code) => Ok(receipt
            .into_iter()
            .fold(Outcome::succeeded().exit_code(code), |outcome, (key, value)| {
                outcome.receipt(key, value)
            })),
    }
}

fn with_receipt(error: RunError, receipt: Vec<(&'static str, String)>) -> RunError {
    let with = |error: RunError, (key, value)| error.receipt(key, value);
    receipt.into_iter().fold(error, with)
}

/// The end of a run whose status is no success.
fn failure(plan: &Plan, ended: &Ended) -> Option<RunError> {
    let Ended {
        status,
        words,
        exit_code,
    } = ended;
    let words = words
        .as_ref()
        .map(|words| format!(": {words}"))
        .unwrap_or_default();
    match plan.verdict(status) {
        Some(Verdict::Success) => None,
        Some(Verdict::NeedsInput) => {
            let summary = format!("the run waits for input: {status}{words}");
            Some(RunError::failed("needs_input", summary).transient(false))
        }
        Some(Verdict::Failure) | None => {
            let why = match plan.lacks_success() {
                true => format!(
                    ", which is not one of http.poll_success_states ({})",
                    plan.success.join(",")
                ),
                false => String::new(),
            };
            let summary = format!("backend reported terminal status: {status}{why}{words}");
            Some(
                RunError::failed("backend_status", summary)
                    .exit_code(exit_code.filter(|code| *code != 0).unwrap_or(1)),
            )
        }
    }
}

impl Record {
    /// Whether the backend may have a run under way whose end is not known.
    fn may_still_run(&self, plan: &Plan) -> bool {
        let is_cancelled = matches!(&self.cancelled, Some(Ok(code)) if code.is_success());
        self.started && !plan.only_asks && !is_cancelled
    }

    /// The same end of a run that was told to stop. One that was out of time also says which status it was waiting on: it may
    /// be that of a run that has ended, which the invocation does not know.
    fn explained(&self, plan: &Plan, stopped: RunError) -> RunError {
        match &self.run_status {
            Some(status) if stopped.status() == FailureStatus::TimedOut && plan.verdict(status).is_none() => {
                let status = preview(status.as_bytes());
                let summary = format!(
                    "{}; the last status was '{}', which is none of http.poll_terminal_states",
                    stopped.summary(),
                    status.escape_debug()
                );
                RunError::timed_out("timeout", summary)
            }
            _ => stopped,
        }
    }

    fn values(&self) -> Values<'_> {
        Values::run_id(self.state.run_id.as_deref())
    }

    /// Follows the run to its terminal status.
    fn follow(&mut self, invocation: &Invocation, ctx: &Context, plan: &Plan) -> Result<Ended, Halt> {
        let mut retry_after = None;
        // A second kickoff would start a second run: rather fail.
        if let Some(state) = State::resumed(ctx).map_err(Halt::Failed)? {
            self.state = state;
            self.started = true;
            self.resumed = true;
            if let Some(ended) = self.state.ended.clone() {
                self.run_status = Some(ended.status.clone());
                return Ok(ended);
            }
        } else {
            let answer = self.kickoff(invocation, ctx, plan)?;
            let ended = self.run_status.clone();
            if let Some(status) = ended.filter(|status| plan.verdict(status).is_some()) {
                return Ok(self.ended(plan, status));
            }
            retry_after = answer;
            self.state.keep(ctx);
        }
        let status = self.poll(ctx, plan, retry_after)?;
        Ok(self.ended(plan, status))
    }

    fn ended(&self, plan: &Plan, status: String) -> Ended {
        let words = match (&plan.error, &self.payload) {
            (Some(path), Some(payload)) if plan.verdict(&status) != Some(Verdict::Success) => {
                words_at(path, payload)
            }
            _ => None,
        };
        let exit_code = self.payload.as_ref().and_then(|payload| plan.exit.find(payload));
        Ended {
            status,
            words,
            exit_code,
        }
    }

    /// What a run that has ended comes to: its exit code, if it succeeded.
    fn conclude(&mut self, ctx: &Context, plan: &Plan, ended: Ended) -> Result<i64, Halt> {
        let failure = failure(plan, &ended);
        let code = ended.exit_code.unwrap_or(0);
        if plan.has_aftermath() {
            self.state.ended = Some(ended);
            self.state.keep(ctx);
        }
        if let Some(failure) = failure {
            return Err(Halt::Failed(failure));
        }
        if let Some(template) = &plan.result
            && self.state.result_status.is_none()
        {
            let answered = result::fetch(ctx, plan, template, self.values())?;
            self.state.result_status = Some(answered.as_u16());
            self.state.keep(ctx);
        }
        Ok(code)
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
            ExchangeError::Interrupted => {
                self.started = true;
                Halt::Interrupted(DOING)
            }
            ExchangeError::Http(error) => {
                self.started = may_have_arrived(&error);
                failed(RunError::from_http(&error))
            }
            ExchangeError::Unusable(error) => {
                self.started = true;
                failed(error)
            }
        })?;
        self.code = Some(answer.status);
        self.started = may_have_started(answer.status);
        match answer.status {
            StatusCode::OK => {
                // Anything but a terminal status is an acknowledgement.
                self.run_status = text_at(STATUS, &plan.status, &answer.payload).ok();
            }
            StatusCode::ACCEPTED => {}
            other if plan.kickoff_codes.contains(&other.as_u16()) => {}
            _ => {
                let expected = expected_kickoff(&plan.kickoff_codes, answer.status);
                let error = unexpected_code(&expected, &answer);
                return Err(failed(refused(error, answer.status)));
            }
        }
        let ended = self
            .run_status
            .as_ref()
            .is_some_and(|status| plan.verdict(status).is_some());
        if let Some(path) = &plan.run_id {
            match text_at(RUN_ID, path, &answer.payload) {
                Ok(id) if !id.is_empty() => self.state.run_id = Some(id),
                // A run that has ended already is not polled, and URLs may do without an id.
                _ if !plan.needs_run_id(ended) => {}
                Ok(_) => {
                    let summary = format!("the run's id at path '{path}' ({RUN_ID}) is empty");
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
        let id = self.state.run_id.clone().unwrap_or_default();
        let url = plan
            .poll
            .url(&id)
            .map_err(|error| Halt::Lost(error.context(DOING)))?;
        let mut schedule = Schedule::new(plan.intervals, ctx.now(), first);
        let mut failures = 0;
        loop {
            let wait = schedule.wait(ctx.now());
            if !wait.is_zero() && ctx.sleep(wait).is_stopped() {
                return Err(Halt::Interrupted(DOING));
            }
            self.polls += 1;
            let mut retry_after = None;
            let failure = match exchange(ctx, plan.poll.request(&url, &id)) {
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
                        let status = text_at(STATUS, &plan.status, &answer.payload);
                        let progress = match (&status, &plan.progress) {
                            (Ok(status), Some(path)) => Progress::at(path, &answer.payload, status),
                            (Ok(status), None) => Some(Progress::of(status)),
                            (Err(_), _) => None,
                        };
                        self.payload = Some(answer.payload);
                        let status = status.map_err(failed)?;
                        self.see(ctx, &status, progress);
                        if plan.verdict(&status).is_some() {
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

    /// Tells a status that is new, and how far the run is, if that is.
    fn see(&mut self, ctx: &Context, status: &str, progress: Option<Progress>) {
        let is_new = self.run_status.as_deref() != Some(status);
        self.run_status = Some(status.to_owned());
        let Some(progress) = progress else {
            if is_new {
                ctx.progress(None, status);
            }
            return;
        };
        if is_new || self.progress.as_ref() != Some(&progress) {
            ctx.progress(progress.fraction, &progress.words);
            self.progress = Some(progress);
        }
    }

    /// Keeps the last payload. Where the caller asked for artifacts it has to work.
    fn keep_payload(&self, invocation: &Invocation, ctx: &Context) -> Result<(), RunError> {
        let Some(payload) = &self.payload else {
            return Ok(());
        };
        keep_artifact(invocation, ctx, ARTIFACT, payload)
    }

    /// Tells the backend that the run is no longer needed, if it has started one.
    fn clean_up(&mut self, ctx: &Context, plan: &Plan) {
        if let Some(cleanup) = &plan.cleanup
            && self.started
        {
            self.cleaned_up = Some(cleanup.send(ctx, self.values(), 1.0));
        }
    }

    fn into_receipt(self) -> Vec<(&'static str, String)> {
        let cancel = ["http.cancel_status", "http.cancel_error"];
        let cleanup = ["http.cleanup_status", "http.cleanup_error"];
        [
            ("http.run_id", self.state.run_id),
            ("http.run_status", self.run_status),
            ("http.polls", Some(self.polls.to_string())),
            ("http.status", self.code.map(|code| code.as_str().to_owned())),
            ("http.resumed", self.resumed.then(|| "true".to_owned())),
            (
                "http.result_status",
                self.state.result_status.map(|code| code.to_string()),
            ),
        ]
        .into_iter()
        .chain(call_receipt(cancel, self.cancelled))
        .chain(call_receipt(cleanup, self.cleaned_up))
        .filter_map(|(key, value)| Some((key, value?)))
        .collect()
    }
}
