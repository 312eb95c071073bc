//! What a guest says while it runs: log lines, stdout and stderr, progress.
//!
//! All of it is bounded. Lines go to the host's log under the target `plugin`, at most [`BURST`] at once and
//! [`PER_SECOND`] in the long run, each cut to [`MAX_LINE`] bytes; what is over is counted, not kept. What
//! is not printable is escaped, so that a guest can't forge lines or steer a terminal.
//!
//! Those who follow the run's events are told the same lines, shorter. Details (`debug`, `trace`), which may have in them
//! what is not for everyone, only if the host logs them too.

use executor_runtime_run::{Event, Events, LogLine};
use std::{
    collections::VecDeque,
    fmt::{self, Write as _},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

const BURST: f64 = 200.0;
const PER_SECOND: f64 = 50.0;
const MAX_LINE: usize = 4096;
const MAX_EVENT: usize = 1024;
const MAX_PROGRESS: usize = 200;
/// The last lines of stderr that are kept: where a language's runtime says why it gave up.
const TAIL_LINES: usize = 4;
const MAX_TAIL: usize = 400;

/// How serious a line is.
#[derive(Clone, Copy, Debug)]
pub enum Level {
    /// Every step.
    Trace,
    /// Details that help to find a fault.
    Debug,
    /// Worth knowing.
    Info,
    /// Something that may be wrong.
    Warn,
    /// Something that is wrong.
    Error,
}

impl Level {
    const fn name(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }

    /// Whether followers are told lines of this level.
    fn is_told(self) -> bool {
        match self {
            Self::Trace => tracing::enabled!(target: "plugin", tracing::Level::TRACE),
            Self::Debug => tracing::enabled!(target: "plugin", tracing::Level::DEBUG),
            Self::Info | Self::Warn | Self::Error => true,
        }
    }
}

/// What one run logs and reports as its progress.
#[derive(Debug)]
pub struct RunLog {
    plugin: String,
    invocation: String,
    events: Events,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    tokens: f64,
    refilled: Instant,
    dropped: u64,
    /// How many lines were logged, those that were dropped included.
    lines: u64,
    /// How many were dropped since the last event.
    left_out: u64,
    progress: Option<String>,
    tail: VecDeque<String>,
}

impl RunLog {
    /// The log of one run of `plugin`, whose progress goes to `events`.
    pub fn new(plugin: &str, invocation: &str, events: &Events) -> Self {
        Self {
            plugin: plugin.to_owned(),
            invocation: invocation.to_owned(),
            events: events.clone(),
            state: Mutex::new(State {
                tokens: BURST,
                refilled: Instant::now(),
                dropped: 0,
                lines: 0,
                left_out: 0,
                progress: None,
                tail: VecDeque::new(),
            }),
        }
    }

    /// Logs a message, each of its lines as one of the log.
    pub fn log(&self, level: Level, message: &str) {
        if message.is_empty() {
            return self.line(level, "");
        }
        for line in message.lines() {
            self.line(level, line);
        }
    }

    /// Logs a line, unless there were too many.
    fn line(&self, level: Level, message: &str) {
        let is_told = level.is_told();
        {
            let mut state = self.state();
            state.lines += u64::from(is_told);
            if !state.take_token() {
                state.left_out += u64::from(is_told);
                return;
            }
            if is_told && self.events.are_wanted() {
                let line = LogLine {
                    number: state.lines,
                    level: level.name(),
                    message: printable(message, MAX_EVENT),
                    left_out: std::mem::take(&mut state.left_out),
                };
                // In the order of their numbers, also from several threads.
                self.events.report(Event::Log(line));
            }
        }
        let (plugin, invocation) = (self.plugin.as_str(), self.invocation.as_str());
        // Made only where it is written.
        let message = Printable(message);
        match level {
            Level::Trace => tracing::trace!(target: "plugin", plugin, invocation, "{message}"),
            Level::Debug => tracing::debug!(target: "plugin", plugin, invocation, "{message}"),
            Level::Info => tracing::info!(target: "plugin", plugin, invocation, "{message}"),
            Level::Warn => tracing::warn!(target: "plugin", plugin, invocation, "{message}"),
            Level::Error => tracing::error!(target: "plugin", plugin, invocation, "{message}"),
        }
    }

    /// A line of the guest's stderr: logged, and kept for the summary of a crash.
    pub fn stderr_line(&self, line: &str) {
        let line = line.trim();
        if line.is_empty() {
            return;
        }
        {
            let mut state = self.state();
            if state.tail.len() == TAIL_LINES {
                state.tail.pop_front();
            }
            state.tail.push_back(printable(line, MAX_TAIL));
        }
        self.log(Level::Warn, line);
    }

    /// Keeps what the run reports as its progress; `fraction` is 0 to 1.
    pub fn progress(&self, fraction: Option<f64>, message: &str) {
        let fraction = fraction
            .filter(|fraction| fraction.is_finite())
            .map(|fraction| fraction.clamp(0.0, 1.0));
        let message = printable(message, MAX_PROGRESS);
        let mut text = String::new();
        if let Some(fraction) = fraction {
            // Writing to a string can't fail.
            let _ = write!(text, "{fraction}");
        }
        if !message.is_empty() {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(&message);
        }
        self.events.report(Event::Progress { fraction, message });
        self.state().progress = Some(text);
    }

    /// The last progress that was reported.
    pub fn last_progress(&self) -> Option<String> {
        self.state().progress.clone()
    }

    /// The run is over: tells followers of lines that were left out at the end.
    pub fn finish(&self) {
        let mut state = self.state();
        let left_out = std::mem::take(&mut state.left_out);
        if left_out > 0 {
            state.lines += 1;
            self.events.report(Event::Log(LogLine {
                number: state.lines,
                level: Level::Warn.name(),
                message: format!("{left_out} lines were left out: the run logged too many"),
                left_out,
            }));
        }
    }

    /// How many log lines were not kept.
    pub fn dropped(&self) -> u64 {
        self.state().dropped
    }

    /// What the guest wrote to stderr last, as one line.
    pub fn stderr_tail(&self) -> Option<String> {
        let state = self.state();
        let mut tail = String::new();
        for line in &state.tail {
            // Advice of the Rust runtime that does not apply here.
            if line.starts_with("note: run with `RUST_BACKTRACE") {
                continue;
            }
            if !tail.is_empty() {
                tail.push(' ');
            }
            tail.push_str(line);
        }
        (!tail.is_empty()).then(|| cut(&tail, MAX_TAIL).to_owned())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A line as the host's log has it.
struct Printable<'a>(&'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(self.0, MAX_LINE))
    }
}

impl State {
    fn take_token(&mut self) -> bool {
        let now = Instant::now();
        let earned = now.duration_since(self.refilled).as_secs_f64() * PER_SECOND;
        self.tokens = (self.tokens + earned).min(BURST);
        self.refilled = now;
        let has = self.tokens >= 1.0;
        if has {
            self.tokens -= 1.0;
        } else {
            self.dropped += 1;
        }
        has
    }
}

/// `text` cut to `max` bytes, with what is [not printable](executor_runtime_protocol::is_printable) escaped.
pub fn printable(text: &str, max: usize) -> String {
    executor_runtime_protocol::printable(cut(text, max)).into_owned()
}

/// The longest prefix of `text` that has at most `max` bytes and ends between two characters.
pub fn cut(text: &str, max: usize) -> &str {
    let mut end = max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_off_and_counted() {
        let log = RunLog::new("p", "i", &Events::default());
        for _ in 0..10_000 {
            log.log(Level::Info, "x");
        }
        assert!(log.dropped() > 9_000, "{}", log.dropped());
    }

    #[test]
    fn followers_are_told_which_lines_and_how_many_were_left_out() {
        let (tell, told) = std::sync::mpsc::channel();
        let events = Events::to(move |event| match event {
            Event::Log(line) => tell.send(line).unwrap(),
            other => panic!("{other:?}"),
        });
        let log = RunLog::new("p", "i", &events);
        log.log(Level::Debug, "a detail");
        log.log(Level::Info, &"é\r".repeat(10_000));
        for _ in 0..10_000 {
            log.log(Level::Error, "x");
        }
        log.finish();
        log.finish();
        let told: Vec<_> = told.try_iter().collect();
        assert_eq!((told[0].number, told[0].level), (1, "info"));
        assert!(told[0].message.starts_with("é\\ré\\r"), "{}", told[0].message);
        assert!(told[0].message.len() < 2 * MAX_EVENT);
        let (kept, last) = (&told[..told.len() - 1], &told[told.len() - 1]);
        let left_out: u64 = told.iter().map(|line| line.left_out).sum();
        assert_eq!(kept.len() as u64 + left_out, 10_001);
        assert_eq!(left_out, log.dropped());
        assert_eq!(last.number, 10_002);
        assert!(kept.is_sorted_by(|one, next| one.number + 1 + next.left_out == next.number));
    }

    #[test]
    fn each_line_of_a_message_is_one_of_the_log() {
        let (tell, told) = std::sync::mpsc::channel();
        let events = Events::to(move |event| match event {
            Event::Log(line) => tell.send((line.number, line.message)).unwrap(),
            other => panic!("{other:?}"),
        });
        let log = RunLog::new("p", "i", &events);
        for message in ["Error: x\n    at run\r\n\nend\n", ""] {
            log.log(Level::Info, message);
        }
        let expected = ["Error: x", "    at run", "", "end", ""].map(str::to_owned);
        assert!(told.try_iter().eq((1..).zip(expected)));
    }

    #[test]
    fn progress_keeps_the_latest() {
        let log = RunLog::new("p", "i", &Events::default());
        log.progress(Some(0.25), "");
        log.progress(Some(f64::NAN), "half\nway");
        assert_eq!(log.last_progress().as_deref(), Some("half\\nway"));
        log.progress(Some(7.0), "done");
        assert_eq!(log.last_progress().as_deref(), Some("1 done"));
    }

    #[test]
    fn the_tail_is_the_end_of_stderr() {
        let log = RunLog::new("p", "i", &Events::default());
        for line in ["a", "", "b", "c", "d", "e"] {
            log.stderr_line(line);
        }
        assert_eq!(log.stderr_tail().as_deref(), Some("b c d e"));
    }

    #[test]
    fn text_is_cut_between_characters() {
        assert_eq!(cut("aé", 2), "a");
        assert_eq!(printable("a\u{1b}[31m", 100), "a\\u{1b}[31m");
        assert_eq!(printable("a\u{202e}b", 4), "a\\u{202e}");
    }
}
