//! One run: the stream, asked for again as often as it breaks off, to its end.

use crate::{
    connect::Attempt,
    journal::Journal,
    parser::{Event, Item, Parser},
    plan::{Plan, STATUS, StatusPlan},
    state::{Ended, Known, State},
};
use executor_runtime_plugin_common::{
    ExchangeError, Found, ReadFailure, Values, exchange, may_pass, read_failure, text_at, unexpected_code,
    words_at,
};
use executor_runtime_sdk::{
    BodyReader, Context, HttpError, Invocation, Level, RunError, http_types::StatusCode,
};
use std::time::Duration;

const DOING: &str = "stream";

/// Bytes of a stream that are read at a time.
const CHUNK: usize = 64 * 1024;

/// Why a run is not followed to its end.
pub(crate) enum Halt {
    /// It is to stop; this is under way.
    Interrupted(&'static str),
    /// The backend has started it, and it can't be followed.
    Lost(RunError),
    Failed(RunError),
}

impl Halt {
    pub(crate) fn context(self, doing: &str) -> Self {
        match self {
            Self::Interrupted(doing) => Self::Interrupted(doing),
            Self::Lost(error) => Self::Lost(error.context(doing)),
            Self::Failed(error) => Self::Failed(error.context(doing)),
        }
    }
}

/// What is known of the run so far.
pub(crate) struct Follower<'r> {
    pub(crate) invocation: &'r Invocation,
    pub(crate) ctx: &'r Context,
    pub(crate) plan: &'r Plan,
    pub(crate) journal: &'r mut Journal,
    pub(crate) state: State,
    pub(crate) code: Option<StatusCode>,
    /// Whether the backend may have started what the kickoff asks for.
    pub(crate) started: bool,
    /// How often the stream was asked for again.
    pub(crate) reconnects: u64,
    /// Attempts in a row that brought nothing.
    failures: u64,
    message: Option<String>,
}

/// How a connection ended without an end of the run.
struct Cut {
    error: RunError,
    retry_after: Option<Duration>,
    /// It brought nothing, and did not break.
    is_dry: bool,
    /// The server says that there will be no more.
    is_over: bool,
}

impl<'r> Follower<'r> {
    pub(crate) fn new(
        invocation: &'r Invocation,
        ctx: &'r Context,
        plan: &'r Plan,
        journal: &'r mut Journal,
    ) -> Self {
        Self {
            invocation,
            ctx,
            plan,
            journal,
            state: State::default(),
            code: None,
            started: false,
            reconnects: 0,
            failures: 0,
            message: None,
        }
    }

    /// Whether the backend may have a run under way that is more than its stream. Ask only while its end is not known.
    pub(crate) fn may_still_run(&self) -> bool {
        let is_known = self.state.location.is_some() || self.state.run_id.is_some();
        let outlives_stream = self.plan.outlives_stream() || is_known;
        self.started && outlives_stream && !self.plan.only_asks
    }

    pub(crate) fn values(&self) -> Values<'_> {
        Values::run_id(self.state.run_id.as_deref())
    }

    /// Follows the run to its end, from the beginning or from what an interrupted run has kept.
    pub(crate) fn follow(&mut self, resumed: Option<State>) -> Result<Ended, Halt> {
        let is_resumed = resumed.is_some();
        let mut attempt = None;
        if let Some(state) = resumed {
            self.state = state;
            self.started = true;
            if let Some(ended) = self.state.ended.clone() {
                return Ok(ended);
            }
        } else {
            attempt = self.kick_off()?;
            self.journal.keep(self.ctx, &self.state);
        }
        let mut known = Known::of(&self.state, false);
        // The first request for a stream of its own is not one more.
        let mut is_first = !is_resumed;
        loop {
            let attempt = match attempt.take() {
                Some(attempt) => attempt,
                None => match self.again()? {
                    None => Attempt::Nothing,
                    Some(again) => {
                        self.reconnects += u64::from(!is_first);
                        known = Known::of(&self.state, again.replays);
                        self.connect(again)?
                    }
                },
            };
            is_first = false;
            let ended = match attempt {
                Attempt::Open(body) => self.read(body, &mut known)?,
                Attempt::Nothing => Err(Cut {
                    error: RunError::failed("stream_ended", "the server has no more of the stream"),
                    retry_after: None,
                    is_dry: true,
                    is_over: true,
                }),
                Attempt::MayPass(error, retry_after) => Err(Cut {
                    error,
                    retry_after,
                    is_dry: false,
                    is_over: false,
                }),
            };
            let cut = match ended {
                Ok(ended) => return Ok(self.end(ended)),
                Err(cut) => cut,
            };
            if let Some(ended) = self.recover(cut)? {
                return Ok(self.end(ended));
            }
        }
    }

    fn end(&mut self, ended: Ended) -> Ended {
        self.state.ended = Some(ended.clone());
        self.journal.keep(self.ctx, &self.state);
        ended
    }

    /// After a connection that did not tell the end: asks for the run's state where that is the way, and waits for the next
    /// attempt. Returns how the run ended, if that is known now.
    fn recover(&mut self, cut: Cut) -> Result<Option<Ended>, Halt> {
        let can_go_on = self.again()?.is_some();
        self.failures += 1;
        let plan = self.plan;
        let status = plan.status.as_ref().filter(|status| {
            let asks = cut.is_dry || !can_go_on;
            asks && status.url.can_be_filled(self.values())
        });
        if let Some(status) = status {
            if let Some(ended) = self.ask(status)? {
                return Ok(Some(ended));
            }
        } else if can_go_on && cut.is_over {
            return Err(Halt::Lost(cut.error.context(DOING)));
        } else if !can_go_on {
            let why = match self.state.events {
                0 => "there is no URL to ask for it again",
                _ if self.state.place().is_none() => {
                    "its events have neither id nor cursor (sse.without_cursor says what to do then)"
                }
                _ => "there is no URL to ask for it again (sse.reconnect_url_template)",
            };
            let summary = format!("{}, and it can't be gone on with: {why}", cut.error);
            return Err(Halt::Lost(
                RunError::failed(cut.error.kind(), summary).context(DOING),
            ));
        } else if self.failures > self.plan.max_failures {
            let times = match self.failures {
                1 => DOING.to_owned(),
                n => format!("{DOING}, {n} times in a row"),
            };
            return Err(Halt::Lost(cut.error.context(times)));
        }
        let retry = self.state.retry.map(Duration::from_millis);
        let wait = self.plan.waits.wait(self.failures, retry, cut.retry_after);
        let text = format!("{}; asking again in {:.2} s", cut.error, wait.as_secs_f64());
        self.ctx.log(Level::Info, &text);
        if self.ctx.sleep(wait).is_stopped() {
            return Err(Halt::Interrupted(DOING));
        }
        Ok(None)
    }

    /// Asks for the run's state; returns how it ended, if it has.
    fn ask(&mut self, status: &StatusPlan) -> Result<Option<Ended>, Halt> {
        const DOING: &str = "status";
        let lost = |error: RunError| Halt::Lost(error.context(DOING));
        let url = status.url.fill(self.values()).map_err(lost)?;
        let error = match exchange(self.ctx, self.plan.get(&url)) {
            Err(ExchangeError::Interrupted) => return Err(Halt::Interrupted(DOING)),
            Err(ExchangeError::Unusable(error)) => return Err(lost(error)),
            Err(ExchangeError::Http(error)) => {
                let failure = RunError::failed(error.code(), format!("http error: {error}"));
                if !error.is_transient() {
                    return Err(lost(failure));
                }
                failure
            }
            Ok(answer) if answer.status == StatusCode::OK => {
                self.code = Some(answer.status);
                let state = text_at(STATUS, &status.path, &answer.payload).map_err(lost)?;
                // The run is known to be alive.
                let alive = status.verdict(&state).is_none();
                self.failures = self.failures.min(self.plan.max_failures);
                if alive {
                    return Ok(None);
                }
                let success = status.verdict(&state) == Some(true);
                let words = match &self.plan.error {
                    Some(path) if !success => words_at(path, &answer.payload),
                    _ => None,
                };
                return Ok(Some(Ended {
                    success,
                    by: state,
                    words,
                }));
            }
            Ok(answer) => {
                self.code = Some(answer.status);
                let error = unexpected_code("200", &answer);
                if !may_pass(answer.status) {
                    return Err(lost(error));
                }
                error
            }
        };
        match self.failures > self.plan.max_failures {
            true => Err(lost(error)),
            false => Ok(None),
        }
    }

    /// Reads a connection to the end of the run, or to its own.
    fn read(&mut self, mut body: BodyReader, known: &mut Known) -> Result<Result<Ended, Cut>, Halt> {
        let ctx = self.ctx;
        let mut parser = Parser::new(self.state.id.clone(), self.plan.max_event);
        let mut buffer = vec![0; CHUNK];
        let mut items = Vec::new();
        let events_before = self.state.events;
        let mut last = ctx.now();
        let cut = loop {
            if ctx.stop_requested() {
                return Err(Halt::Interrupted(DOING));
            }
            let idle = self.plan.idle.saturating_sub(ctx.now().duration_since(last));
            if idle.is_zero() {
                let seconds = self.plan.idle.as_secs_f64();
                break Cut {
                    error: RunError::failed("idle_timeout", format!("no event came within {seconds} s")),
                    retry_after: None,
                    is_dry: false,
                    is_over: false,
                };
            }
            match body.read_within(self.journal.wait(ctx, idle), &mut buffer) {
                Ok(None) => {}
                Ok(Some(0)) => {
                    break Cut {
                        error: RunError::failed("stream_ended", "the stream ended without a terminal event"),
                        retry_after: None,
                        is_dry: self.state.events == events_before,
                        is_over: false,
                    };
                }
                Ok(Some(length)) => {
                    let taken = parser.take(&buffer[..length], &mut items);
                    let (came, ended) = self.take(&mut items, known)?;
                    if came {
                        last = ctx.now();
                    }
                    if let Some(ended) = ended {
                        return Ok(Ok(ended));
                    }
                    if taken.is_err() {
                        let limit = self.plan.max_event;
                        let summary = format!("an event is longer than {limit} bytes (sse.max_event_bytes)");
                        let error = RunError::failed("event_too_long", summary);
                        return Err(Halt::Lost(error.context(DOING)));
                    }
                }
                Err(error) => match read_failure(error) {
                    ReadFailure::Http(HttpError::Timeout | HttpError::Stopped) => {
                        return Err(Halt::Interrupted(DOING));
                    }
                    ReadFailure::Http(error) => {
                        break Cut {
                            error: RunError::failed(error.code(), format!("http error: {error}")),
                            retry_after: None,
                            is_dry: false,
                            is_over: false,
                        };
                    }
                    ReadFailure::Other(error) => {
                        let error = RunError::failed("network", error.to_string());
                        return Err(Halt::Lost(error.context(DOING)));
                    }
                },
            }
            self.journal.keep_in_time(ctx, &self.state);
        };
        self.journal.keep(ctx, &self.state);
        Ok(Err(cut))
    }

    /// Takes in what has come. Returns whether there were events, known ones too, and how the run ended, if one said so.
    fn take(&mut self, items: &mut Vec<Item>, known: &mut Known) -> Result<(bool, Option<Ended>), Halt> {
        let mut came = false;
        let mut ended = None;
        let had_id = self.state.run_id.is_some();
        for item in items.drain(..) {
            let event = match item {
                Item::Retry(time) => {
                    self.state.retry = Some(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
                    continue;
                }
                Item::Event(event) if self.plan.pings.contains(&event.name) => continue,
                Item::Event(event) => event,
            };
            came = true;
            let cursor = self.plan.cursor.as_ref().and_then(|path| text(path, &event));
            if known.has(&event, cursor.as_deref()) {
                continue;
            }
            self.journal.add(&event);
            self.state.see(&event, cursor);
            self.failures = 0;
            if let (None, Some(path)) = (&self.state.run_id, &self.plan.run_id) {
                self.state.run_id = text(path, &event);
            }
            if let Some(path) = &self.plan.input
                && let Some(words) = words_at(path, event.data.as_bytes())
            {
                self.state.input = Some(words);
            }
            if let Some(path) = &self.plan.progress
                && let Some(words) = words_at(path, event.data.as_bytes())
                && self.message.as_ref() != Some(&words)
            {
                self.ctx.progress(None, &words);
                self.message = Some(words);
            }
            ended = self.plan.end(&event);
            if ended.is_some() {
                break;
            }
        }
        self.journal
            .write(self.ctx, &mut self.state)
            .map_err(Halt::Lost)?;
        if !had_id && self.state.run_id.is_some() {
            // With it the run can be asked for again, and cancelled.
            self.journal.keep(self.ctx, &self.state);
        }
        Ok((came, ended))
    }
}

/// The text at a path in an event's data, if that is JSON.
fn text(path: &executor_runtime_plugin_common::Paths, event: &Event) -> Option<String> {
    match path.find(event.data.as_bytes()) {
        Ok(Found::Text(text)) if !text.is_empty() => Some(text),
        _ => None,
    }
}
