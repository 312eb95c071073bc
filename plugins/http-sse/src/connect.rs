//! The requests for the stream: the first, and those for where it goes on.

use crate::{
    follow::{Follower, Halt},
    plan::{RUN_ID, WithoutCursor, accept_events},
    state::State,
};
use executor_runtime_plugin_common::{
    Answer, ExchangeError, Values, answer, expected_kickoff, kickoff_request, may_have_arrived,
    may_have_started, may_pass, refused, same_origin_location, text_at, unexpected_code, unusable,
};
use executor_runtime_sdk::{
    Body, BodyReader, HttpError, Level, RunError,
    http::retry_after,
    http_types::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, header},
};
use std::time::Duration;

const DOING: &str = "kickoff";

/// What came of a request for the stream.
pub(crate) enum Attempt {
    /// The stream.
    Open(BodyReader),
    /// The server has no more of it.
    Nothing,
    /// It may come another time.
    MayPass(RunError, Option<Duration>),
}

/// How a stream is asked for again.
pub(crate) struct Again {
    request: Request<Body>,
    /// Whether it begins anew.
    pub(crate) replays: bool,
}

impl Follower<'_> {
    /// Sends the first request; returns the stream if its answer is that.
    pub(crate) fn kick_off(&mut self) -> Result<Option<Attempt>, Halt> {
        let mut request = kickoff_request(self.invocation).map_err(Halt::Failed)?;
        let url = request.uri().clone();
        if self.plan.stream.is_none() {
            accept_events(&mut request);
        }
        self.started = true;
        let response = match self.ctx.http().send(request) {
            Ok(response) => response,
            Err(HttpError::Timeout | HttpError::Stopped) => return Err(Halt::Interrupted(DOING)),
            Err(error) if self.plan.repeats_kickoff && error.is_transient() => {
                return Ok(Some(Attempt::MayPass(RunError::from_http(&error), None)));
            }
            Err(error) => {
                self.started = may_have_arrived(&error);
                return Err(Halt::Failed(RunError::from_http(&error).context(DOING)));
            }
        };
        self.started = may_have_started(response.status());
        self.code = Some(response.status());
        if self.plan.stream.is_none() {
            self.state.location = self.location(&url, response.headers());
            let opened = self.open(response, self.plan.repeats_kickoff, false);
            return opened.map(Some).map_err(|halt| halt.context(DOING));
        }
        let failed = |error: RunError| Halt::Failed(error.context(DOING));
        let answer = answer(self.ctx, response).map_err(|error| match error {
            ExchangeError::Interrupted => Halt::Interrupted(DOING),
            ExchangeError::Http(error) => failed(RunError::from_http(&error)),
            ExchangeError::Unusable(error) => failed(error),
        })?;
        let is_expected = matches!(answer.status, StatusCode::OK | StatusCode::ACCEPTED)
            || self.plan.kickoff_codes.contains(&answer.status.as_u16());
        if !is_expected {
            let expected = expected_kickoff(&self.plan.kickoff_codes, answer.status);
            let error = unexpected_code(&expected, &answer);
            return Err(failed(refused(error, answer.status)));
        }
        if let Some(path) = &self.plan.run_id {
            let id = text_at(RUN_ID, path, &answer.payload).map_err(failed)?;
            if id.is_empty() {
                let summary = format!("the run's id at path '{path}' ({RUN_ID}) is empty");
                return Err(failed(RunError::failed("invalid_response", summary)));
            }
            self.state.run_id = Some(id);
        }
        Ok(None)
    }

    /// Where the answer says that the stream is; on another server it does not count.
    fn location(&self, url: &Uri, headers: &HeaderMap) -> Option<String> {
        let location = same_origin_location(url, headers);
        if location.is_none() && headers.contains_key(header::LOCATION) {
            let text = "the answer's location is no URL of the same server: it is not used";
            self.ctx.log(Level::Warn, text);
        }
        location.map(|url| url.to_string())
    }

    /// How the stream is asked for again; None if it can't be.
    pub(crate) fn again(&self) -> Result<Option<Again>, Halt> {
        let State { run_id, events, .. } = &self.state;
        let values = Values {
            run_id: run_id.as_deref(),
            cursor: self.state.place(),
        };
        let begun = *events > 0;
        let replays = begun && values.cursor.is_none();
        if replays && self.plan.without_cursor == WithoutCursor::Fail {
            return Ok(None);
        }
        let fillable = |template: &&executor_runtime_plugin_common::Template| template.can_be_filled(values);
        let reconnect = self.plan.reconnect.as_ref().filter(fillable);
        let stream = self.plan.stream.as_ref().filter(fillable);
        // Before the first event there is nothing to go on from.
        let template = match begun {
            true => reconnect.or(stream),
            false => stream.or(reconnect),
        };
        let location = self.state.location.as_ref().filter(|_| reconnect.is_none());
        let mut request = if let Some(location) = location {
            let url = location
                .parse()
                .map_err(|_| Halt::Lost(unusable("the answer's location is not a URL")))?;
            self.plan.get(&url)
        } else if let Some(template) = template {
            self.plan.get(&template.fill(values).map_err(Halt::Lost)?)
        } else if self.plan.repeats_kickoff {
            kickoff_request(self.invocation).map_err(Halt::Lost)?
        } else {
            return Ok(None);
        };
        accept_events(&mut request);
        if let Ok(id) = HeaderValue::from_bytes(self.state.id.as_bytes())
            && !id.is_empty()
        {
            request.headers_mut().insert("last-event-id", id);
        }
        Ok(Some(Again {
            request,
            replays: replays && self.plan.without_cursor == WithoutCursor::Replay,
        }))
    }

    /// Asks for the stream.
    pub(crate) fn connect(&mut self, again: Again) -> Result<Attempt, Halt> {
        const DOING: &str = "stream";
        if self.ctx.stop_requested() {
            return Err(Halt::Interrupted(DOING));
        }
        match self.ctx.http().send(again.request) {
            Ok(response) => {
                self.code = Some(response.status());
                self.open(response, true, true)
                    .map_err(|halt| halt.context(DOING))
            }
            Err(HttpError::Timeout | HttpError::Stopped) => Err(Halt::Interrupted(DOING)),
            Err(error) => {
                let failure = RunError::failed(error.code(), format!("http error: {error}"));
                match error.is_transient() {
                    true => Ok(Attempt::MayPass(failure, None)),
                    false => Err(Halt::Lost(failure.context(DOING))),
                }
            }
        }
    }

    /// Looks whether an answer is an event stream. One that may be asked for again may come another time; a run that was
    /// `started` is lost if it does not.
    fn open(&self, response: Response<BodyReader>, repeats: bool, started: bool) -> Result<Attempt, Halt> {
        let (head, mut body) = response.into_parts();
        let lost = |error| match started {
            true => Halt::Lost(error),
            false => Halt::Failed(error),
        };
        if head.status == StatusCode::NO_CONTENT {
            return Ok(Attempt::Nothing);
        }
        if head.status == StatusCode::OK && is_event_stream(&head.headers) {
            return Ok(Attempt::Open(body));
        }
        let payload = executor_runtime_plugin_common::beginning(&mut body).unwrap_or_default();
        let answer = Answer {
            status: head.status,
            retry_after: retry_after(&head.headers, self.ctx.system_time()),
            payload,
        };
        if head.status == StatusCode::OK {
            let found = head
                .headers
                .get(header::CONTENT_TYPE)
                .and_then(|value| value.to_str().ok());
            return Err(lost(unusable(format!(
                "expected content-type text/event-stream, got {}: {}",
                found.map_or("none".to_owned(), |found| format!("'{}'", found.escape_debug())),
                executor_runtime_plugin_common::preview(&answer.payload),
            ))));
        }
        let error = unexpected_code("200", &answer);
        match repeats && may_pass(head.status) {
            true => Ok(Attempt::MayPass(error, answer.retry_after)),
            false if started => Err(lost(error)),
            false => Err(lost(refused(error, head.status))),
        }
    }
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    let value = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    value.is_some_and(|value| {
        let essence = value.split(';').next().unwrap_or_default().trim();
        essence.eq_ignore_ascii_case("text/event-stream")
    })
}
