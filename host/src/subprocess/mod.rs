//! The built-in kind `subprocess`: runs a program under supervision.
//!
//! `prepare` checks everything that can be checked before a process exists and opens what the run needs;
//! `crate::supervisor` keeps the promise about processes; `report` turns what happened into an outcome.

mod prepare;
mod program;
mod report;
mod settings;

pub(crate) use prepare::input_payload;
pub use settings::{KEYS as SETTINGS_KEYS, SubprocessPolicy};

use crate::{
    Failure, Outcome,
    runner::{Run, RunFuture, Runner},
    supervisor::{Lost, Supervisors},
};
use prepare::Prepared;
use std::{sync::Arc, time::Instant};

/// Runs programs.
#[derive(Debug)]
pub struct SubprocessRunner {
    supervisors: Arc<Supervisors>,
    policy: SubprocessPolicy,
}

impl SubprocessRunner {
    pub(crate) fn new(supervisors: Arc<Supervisors>, policy: SubprocessPolicy) -> Self {
        Self { supervisors, policy }
    }

    async fn execute(&self, run: &Run) -> Result<Outcome, Failure> {
        let Prepared {
            job,
            capture,
            program,
        } = prepare::prepare(run, &self.policy)?;
        let (cwd, argv) = (job.cwd.try_clone(), job.argv.clone());
        let supervised = self
            .supervisors
            .supervise(job)
            .map_err(|error| Failure::exhausted(&error.0));
        let supervised = match supervised {
            Ok(supervised) => supervised,
            Err(failure) => {
                capture.discard(&prepare::OUTPUT_FILES);
                return Err(failure);
            }
        };
        match supervised.finish(&run.cancel).await {
            Ok(crate::supervisor::Report::NotStarted { stage, errno }) => {
                capture.discard(&prepare::OUTPUT_FILES);
                Err(report::not_started(
                    stage,
                    errno,
                    &program,
                    &argv,
                    cwd.ok(),
                    &run.invocation,
                ))
            }
            Ok(crate::supervisor::Report::Ended(ended)) => Ok(report::ended(&ended, capture, run).await),
            Err(lost) => Ok(self.lost(&lost, run, capture)),
        }
    }

    fn lost(&self, lost: &Lost, run: &Run, capture: crate::capture::CaptureDirectory) -> Outcome {
        let due = run.deadline.is_some_and(|deadline| Instant::now() >= deadline);
        report::lost(lost, due, run.cancel.reason().is_some(), &capture)
    }
}

impl Runner for SubprocessRunner {
    fn run<'a>(&'a self, run: &'a Run) -> RunFuture<'a> {
        Box::pin(async move { self.execute(run).await.unwrap_or_else(Outcome::from) })
    }
}
