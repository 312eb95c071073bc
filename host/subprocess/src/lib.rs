//! The built-in kind `subprocess`: runs a program under supervision.
//!
//! `prepare` checks everything that can be checked before a process exists and opens what the run needs;
//! the supervisor crate keeps the promise about processes; `report` turns what happened into an outcome.

mod prepare;
mod program;
mod report;
mod settings;

pub use settings::{KEYS as SETTINGS_KEYS, SubprocessPolicy};

use executor_runtime_run::{CancelReason, ErrorKind, Failure, Outcome, Run, RunFuture, Runner};
use executor_runtime_supervisor::{Report, Supervisors};
use prepare::Prepared;
use std::{sync::Arc, time::Instant};

/// Runs programs.
#[derive(Debug)]
pub struct SubprocessRunner {
    supervisors: Arc<Supervisors>,
    policy: SubprocessPolicy,
}

impl SubprocessRunner {
    /// A runner whose processes `supervisors` watch, within what `policy` allows.
    pub fn new(supervisors: Arc<Supervisors>, policy: SubprocessPolicy) -> Self {
        Self { supervisors, policy }
    }

    async fn execute(&self, run: &Run) -> Result<Outcome, Failure> {
        let started = Instant::now();
        let Prepared { job, files, program } = prepare::prepare(run, &self.policy)?;
        let argv = job.argv.clone();
        let max_output_bytes = job.max_output_bytes;
        let supervised = self
            .supervisors
            .supervise(job)
            .map_err(|error| Failure::new(ErrorKind::HostExhausted, error.to_string()));
        let supervised = match supervised {
            Ok(supervised) => supervised,
            Err(failure) => {
                files.directory.discard(&prepare::OUTPUT_FILES);
                return Err(failure);
            }
        };
        match supervised
            .finish(
                run.cancel.raised(CancelReason::Requested),
                run.cancel.raised(CancelReason::Immediate),
            )
            .await
        {
            Ok(Report::NotStarted { stage, errno }) => {
                files.directory.discard(&prepare::OUTPUT_FILES);
                Err(report::not_started(
                    stage,
                    errno,
                    &program,
                    &argv,
                    &run.invocation,
                ))
            }
            Ok(Report::Ended(ended)) => Ok(report::ended(&ended, started.elapsed(), files, run).await),
            Err(lost) => Ok(report::lost(&lost, started.elapsed(), files, max_output_bytes, run).await),
        }
    }
}

impl Runner for SubprocessRunner {
    fn run<'a>(&'a self, run: &'a Run) -> RunFuture<'a> {
        Box::pin(async move { self.execute(run).await.unwrap_or_else(Outcome::from) })
    }
}
