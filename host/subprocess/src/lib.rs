//! The built-in kind `subprocess`: runs a program under supervision.
//!
//! `prepare` checks everything that can be checked before a process exists and opens what the run needs;
//! the supervisor crate keeps the promise about processes; `report` turns what happened into an outcome.

mod prepare;
mod program;
mod report;
mod settings;

pub use settings::SubprocessPolicy;

use executor_runtime_protocol::RuntimeInvocation;
use executor_runtime_run::{
    CancelReason, Event, Failure, Notifier, Outcome, OutputFeed, Run, RunFuture, RunPermissions, Runner,
    capture::{CapturedFiles, OutputFile, ReadDeadline},
    supervised,
    trace::{Span, SpanKind},
};
use executor_runtime_supervisor::{Exit, Report, Supervisors};
use prepare::Prepared;
use std::{io, path::Path, sync::Arc};

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
        let Prepared {
            mut job,
            files,
            program,
        } = prepare::prepare(run, &self.policy).await?;
        let argv = job.argv.clone();
        let max_output_bytes = job.max_output_bytes;
        let grace = job.grace;
        if run.events.are_wanted()
            && let Ok((feed, grown)) = feed(&files)
        {
            job.output_event = Some(grown.into());
            run.events.report(Event::Output(feed));
        }
        let span = process_span(run.span(), &program);
        let supervised = self
            .supervisors
            .supervise(job)
            .map_err(|error| Failure::exhausted(&error.0));
        let supervised = match supervised {
            Ok(supervised) => supervised,
            Err(failure) => {
                discard(files, run).await;
                return Err(failure);
            }
        };
        let finished = supervised::finish(
            supervised,
            run.cancel.raised(CancelReason::Requested),
            run.cancel.raised(CancelReason::Immediate),
        );
        let report = tokio::select! {
            report = finished => report,
            never = run.report_stopping(grace) => match never {},
        };
        if let Ok(Report::Ended(ended)) = &report {
            tell_exit(&span, &ended.exit);
        }
        span.end();
        match report {
            Ok(Report::NotStarted { stage, errno }) => {
                discard(files, run).await;
                Err(report::not_started(
                    stage,
                    errno,
                    &program,
                    &argv,
                    &run.invocation,
                ))
            }
            Ok(Report::Ended(ended)) => Ok(report::ended(&ended, files, run).await),
            Err(lost) => Ok(report::lost(&lost, files, max_output_bytes, run).await),
        }
    }
}

/// The span of the program, from its start to the end of its last process.
fn process_span(run: &Span, program: &Path) -> Span {
    if !run.is_recorded() {
        return Span::none();
    }
    let name = program.file_name().unwrap_or(program.as_os_str());
    let name = name.to_string_lossy().into_owned();
    let span = run.child(name.clone(), SpanKind::Internal);
    span.set("process.executable.name", name);
    span.set("process.executable.path", program.to_string_lossy().into_owned());
    span
}

fn tell_exit(span: &Span, exit: &Exit) {
    match exit {
        Exit::Code(0) => span.set("process.exit.code", 0),
        Exit::Code(code) => {
            span.set("process.exit.code", i64::from(*code));
            span.fail("exit_status");
        }
        Exit::Signal { .. } => span.fail("signal"),
    }
}

/// Removes what a run that never started has made.
async fn discard(files: CapturedFiles, run: &Run) {
    if files.directory.answers_at_once() {
        files.directory.discard(&prepare::OUTPUT_FILES);
    } else {
        let time = ReadDeadline::new(run.deadline, &run.cancel);
        // It is a courtesy: the run has failed for another reason.
        let _ = time
            .look(move || files.directory.discard(&prepare::OUTPUT_FILES))
            .await;
    }
}

/// What a follower of the output needs, and what the supervisor tells it with. A run goes on without a follower if there
/// is no descriptor left for one.
fn feed(files: &CapturedFiles) -> io::Result<(OutputFeed, Notifier)> {
    let [stdout, stderr] = files.outputs.each_ref().map(OutputFile::share);
    let grown = Notifier::new()?;
    let theirs = grown.share()?;
    let feed = OutputFeed {
        files: [stdout?.into(), stderr?.into()],
        grown,
    };
    Ok((feed, theirs))
}

impl Runner for SubprocessRunner {
    fn run<'a>(&'a self, run: &'a Run) -> RunFuture<'a> {
        Box::pin(async move { self.execute(run).await.unwrap_or_else(Outcome::from) })
    }

    fn terms(&self, invocation: &RuntimeInvocation) -> Result<RunPermissions, Failure> {
        Ok(RunPermissions {
            limits: self.policy.terms(&invocation.metadata)?,
            // It reaches what the host's user reaches.
            grants: vec!["*".to_owned()],
        })
    }
}
