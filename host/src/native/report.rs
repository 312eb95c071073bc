//! From what a child said, and how it ended, to an outcome.

use super::{conversation::End, template};
use crate::{
    ErrorKind, Failure, Outcome,
    component::{
        bindings::types,
        convert,
        journal::{Journal, printable},
        stop::StopCause,
    },
    receipt,
    supervisor::{Ended, Exit, Lost, Report},
};
use executor_runtime_protocol::{Status, native::Reply};
use std::num::NonZeroU64;

/// What is known about one run when it is over.
pub(super) struct Known<'a> {
    pub(super) plugin: &'a str,
    pub(super) journal: &'a Journal,
    /// Why it had been asked to stop, if it had.
    pub(super) asked: Option<StopCause>,
    pub(super) timeout_seconds: Option<NonZeroU64>,
}

impl Known<'_> {
    pub(super) fn outcome(&self, said: Option<End>, report: Result<Report, Lost>) -> Outcome {
        let mut outcome = match (said, &report) {
            (Some(End::Reply(reply)), _) => self.replied(reply),
            (Some(End::TooLong(bytes)), _) => self.broke(
                ErrorKind::PluginLimit,
                format!("returned a result of {bytes} bytes, more than the host takes"),
            ),
            (Some(End::Gibberish(error)), _) => self.broke(
                ErrorKind::PluginCrashed,
                format!("returned a result that makes no sense: {error}"),
            ),
            (None, Ok(Report::Ended(ended))) => self.silent(ended),
            (None, Ok(Report::NotStarted { errno, .. })) => Outcome::failure(
                ErrorKind::HostExhausted,
                format!("no process could be made for plugin '{}': {errno}", self.plugin),
            ),
            (None, Err(lost)) => {
                let left = if lost.swept { "was ended" } else { "may be left" };
                self.broke(
                    ErrorKind::SupervisorLost,
                    format!("lost the process that supervised it; what it started {left}"),
                )
            }
        };
        if let Ok(Report::Ended(ended)) = &report {
            account(&mut outcome, ended);
        }
        outcome
    }

    fn replied(&self, reply: Reply) -> Outcome {
        match reply {
            Reply::Outcome { exit_code, receipt } => {
                let mut outcome = match self.asked {
                    None => Outcome::succeeded(),
                    Some(cause) => self.stopped(cause, Some("it returned a result too late")),
                };
                outcome.exit_code = exit_code;
                outcome.receipt = convert::receipt(receipt.into_iter().collect());
                outcome
            }
            Reply::Failure {
                status,
                kind,
                summary,
                exit_code,
                receipt,
            } => {
                let status = match status {
                    Status::Rejected => types::FailureStatus::Rejected,
                    Status::TimedOut => types::FailureStatus::TimedOut,
                    Status::Cancelled => types::FailureStatus::Cancelled,
                    // A failure that says something else failed.
                    _ => types::FailureStatus::Failed,
                };
                let reported = types::Failure {
                    status,
                    kind,
                    summary,
                    exit_code,
                    receipt: Vec::new(),
                };
                let failure = convert::failure(&reported, self.asked);
                let mut outcome = match self.asked {
                    Some(cause) if failure.kind.status() != status_of(cause) => {
                        self.stopped(cause, Some(&failure.summary))
                    }
                    _ => failure.into(),
                };
                outcome.exit_code = exit_code;
                outcome.receipt = convert::receipt(receipt.into_iter().collect());
                outcome
            }
            Reply::Panicked { message } => self.broke(
                ErrorKind::PluginCrashed,
                format!("panicked: {}", printable(&message, 400)),
            ),
        }
    }

    /// A child that ended without a result.
    fn silent(&self, ended: &Ended) -> Outcome {
        if let (
            Some(cause),
            Exit::Signal {
                signal: libc::SIGKILL,
                ..
            },
        ) = (self.asked, ended.exit)
        {
            return self.stopped(cause, None);
        }
        let mut what = match ended.exit {
            Exit::Code(_) => format!("broke off without a result: {}", template::exit(&ended.exit)),
            Exit::Signal { .. } => format!("crashed: {}", template::exit(&ended.exit)),
        };
        if let Some(stderr) = self.journal.stderr_tail() {
            what.push_str(": ");
            what.push_str(&stderr);
        }
        self.broke(ErrorKind::PluginCrashed, what)
    }

    /// A run that broke off by itself; if it had been asked to stop, that counts more.
    fn broke(&self, kind: ErrorKind, what: String) -> Outcome {
        match self.asked {
            Some(cause) => self.stopped(cause, Some(&format!("it {what}"))),
            None => Failure::new(kind, format!("plugin '{}' {what}", self.plugin)).into(),
        }
    }

    /// A run that had been asked to stop, and what the plugin said to that.
    fn stopped(&self, cause: StopCause, said: Option<&str>) -> Outcome {
        let name = self.plugin;
        let (kind, mut summary) = match cause {
            StopCause::Deadline => {
                let limit = match self.timeout_seconds {
                    Some(seconds) => format!(" after {seconds} s"),
                    None => String::new(),
                };
                (ErrorKind::Timeout, format!("plugin '{name}' timed out{limit}"))
            }
            StopCause::Cancelled => (ErrorKind::Cancelled, format!("plugin '{name}' was told to stop")),
        };
        match said {
            Some(said) => {
                summary.push_str(": ");
                summary.push_str(said);
            }
            None => summary.push_str(" and was ended: it did not return in its grace"),
        }
        Outcome::failure(kind, summary)
    }
}

fn status_of(cause: StopCause) -> Status {
    match cause {
        StopCause::Deadline => Status::TimedOut,
        StopCause::Cancelled => Status::Cancelled,
    }
}

fn account(outcome: &mut Outcome, ended: &Ended) {
    let mut put = |key: &str, value: String| {
        outcome.receipt.insert(key.to_owned(), value);
    };
    let seconds = |time: std::time::Duration| format!("{:.6}", time.as_secs_f64());
    put(
        receipt::USAGE_MAX_RSS_BYTES,
        ended.usage.max_rss_bytes.to_string(),
    );
    put(receipt::USAGE_USER_SECONDS, seconds(ended.usage.user));
    put(receipt::USAGE_SYSTEM_SECONDS, seconds(ended.usage.system));
    if ended.leaked > 0 {
        put(receipt::LEAKED_DESCENDANTS, ended.leaked.to_string());
    }
    if ended.unkillable > 0 {
        put(receipt::UNKILLABLE_DESCENDANTS, ended.unkillable.to_string());
    }
    if let Exit::Signal {
        core_dumped: true, ..
    } = ended.exit
    {
        put(receipt::CORE_DUMPED, "true".to_owned());
    }
}
