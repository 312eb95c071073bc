//! From what a child said, and how it ended, to an outcome.

use super::{conversation::End, template};
use executor_runtime_plugin::session::{
    self, ReportedFailure, RunLog, StopCause, is_about_this_host, printable,
};
use executor_runtime_protocol::{
    Status,
    native::{DelegatedRun, Reply},
};
use executor_runtime_run::{
    ErrorKind, Failure, Outcome, ProcessUsage,
    receipt::{self, Receipt},
    supervised::Lost,
};
use executor_runtime_supervisor::{Ended, Exit, Report};
use std::{collections::BTreeMap, num::NonZeroU64};

/// What is known about one run when it is over.
pub(super) struct FinishedRun<'a> {
    pub(super) plugin: &'a str,
    pub(super) log: &'a RunLog,
    /// Why it had been asked to stop, if it had.
    pub(super) asked: Option<StopCause>,
    pub(super) timeout_seconds: Option<NonZeroU64>,
}

impl FinishedRun<'_> {
    pub(super) fn outcome(&self, said: Option<End>, report: Result<Report, Lost>) -> Outcome {
        let mut outcome = match (said, &report) {
            (Some(End::Reply(reply)), _) => self.replied(reply),
            (Some(End::TooLong(bytes)), _) => self.broke(
                ErrorKind::PluginLimit,
                format!("returned a result of {bytes} bytes, more than the host accepts"),
            ),
            (Some(End::Invalid(error)), _) => self.broke(
                ErrorKind::PluginCrashed,
                format!("returned an invalid result: {error}"),
            ),
            (None, Ok(Report::Ended(ended))) => self.silent(ended),
            (None, Ok(Report::NotStarted { errno, .. })) => Failure::exhausted(&(*errno).into()).into(),
            (None, Err(lost)) => {
                let left = if lost.swept { "was ended" } else { "may be left" };
                self.broke(
                    ErrorKind::SupervisorLost,
                    format!("lost the process that supervised it; what it started {left}"),
                )
            }
        };
        if let Ok(Report::Ended(ended)) = &report {
            let mut receipt = Receipt::default();
            let usage = ProcessUsage {
                max_rss_bytes: ended.usage.max_rss_bytes,
                user: ended.usage.user,
                system: ended.usage.system,
                leaked: ended.leaked,
                unkillable: ended.unkillable,
                core_dumped: ended.exit.dumped_core(),
            };
            usage.record(&mut receipt);
            // What a plugin may tell of a run elsewhere is about that run, and not about the plugin's process:
            // all but the processes that the plugin has left here.
            for key in [receipt::LEAKED_DESCENDANTS, receipt::UNKILLABLE_DESCENDANTS] {
                if receipt.contains_key(key) {
                    outcome.receipt.remove(key);
                }
            }
            receipt.append(&mut outcome.receipt);
            outcome.receipt = receipt;
        }
        outcome
    }

    fn replied(&self, reply: Reply) -> Outcome {
        match reply {
            Reply::Outcome {
                exit_code,
                receipt,
                delegated_run,
            } => {
                let mut outcome = match self.asked {
                    None => Outcome::succeeded(),
                    Some(cause) => self.stopped(cause, Some("it returned a result too late")),
                };
                outcome.exit_code = exit_code;
                self.tell(&mut outcome, receipt, delegated_run);
                outcome
            }
            Reply::Failure {
                status,
                kind,
                summary,
                exit_code,
                receipt,
                delegated_run,
            } => {
                let status = match status {
                    Status::Rejected | Status::TimedOut | Status::Cancelled => status,
                    // A failure that says something else failed.
                    _ => Status::Failed,
                };
                let mut failure = ReportedFailure {
                    status,
                    kind: &kind,
                    summary: &summary,
                }
                .failure(self.asked);
                if delegated_run.is_some() && !summary.is_empty() {
                    failure.summary = summary;
                }
                let mut outcome = match self.asked {
                    Some(cause) if failure.kind.status() != cause.status() => {
                        self.stopped(cause, Some(&failure.summary))
                    }
                    _ => failure.into(),
                };
                outcome.exit_code = exit_code;
                self.tell(&mut outcome, receipt, delegated_run);
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
            Exit::Code(_) => format!("ended without a result: {}", template::exit(&ended.exit)),
            Exit::Signal { .. } => format!("crashed: {}", template::exit(&ended.exit)),
        };
        if let Some(stderr) = self.log.stderr_tail() {
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

    /// Takes over the receipt, and what was reported about a run that another system executed: as it is, for it was not
    /// the plugin that wrote it.
    fn tell(
        &self,
        outcome: &mut Outcome,
        receipt: BTreeMap<String, String>,
        delegated_run: Option<Box<DelegatedRun>>,
    ) {
        let Some(delegated_run) = delegated_run else {
            outcome.receipt = session::receipt(receipt.into_iter().collect());
            return;
        };
        outcome.receipt = receipt;
        outcome
            .receipt
            .retain(|key, value| !is_about_this_host(key, value));
        if self.asked.is_none() && !delegated_run.finished_at.is_before(&delegated_run.started_at) {
            outcome.times = Some((delegated_run.started_at, delegated_run.finished_at));
        }
        outcome.stdout_path = delegated_run.stdout_path;
        outcome.stderr_path = delegated_run.stderr_path;
        outcome.artifacts = delegated_run.artifacts;
    }

    fn stopped(&self, cause: StopCause, said: Option<&str>) -> Outcome {
        cause.outcome(self.plugin, self.timeout_seconds, said)
    }
}
