//! `batch`: many invocations, several at a time, out of one input.
//!
//! ```text
//! input (lines) ──> source (jobs) ──> service (runs, journal) ──> report (results, job log, progress)
//! ```
//!
//! A line is read when a run may start, so that an input without end takes no more memory than a short one. Runs are the
//! service's, with a journal of this batch's own; the executable that has the journal is the large one.

mod forgotten;
mod input;
mod joblog;
mod journal;
mod report;
mod source;

use anyhow::{Context, Result, bail};
use executor_runtime::{
    CancelReason, CancelToken, ErrorKind, Failure, Termination,
    protocol::{RuntimeInvocation, RuntimeResult, Status},
    reject,
};
use executor_runtime_command::{BatchOptions, Batching, Halt, exit};
use executor_runtime_service::{
    Attempts, Completed, Retention, RunNumber, Runs, RunsOptions, Service, SubmitError, SubmitOptions,
};
use input::Lines;
use joblog::{JobLog, Past};
use journal::BatchJournal;
use report::Report;
use source::{Job, Source};
use std::{
    num::{NonZeroU64, NonZeroUsize},
    sync::Arc,
    time::Duration,
};
use tokio::task::{JoinHandle, JoinSet};

/// The line of the input that a result is of.
const LINE: &str = "batch.line";
/// How often a run for which the host has no room is put off before it counts as rejected: about half a minute.
const MAX_WAITS: u32 = 8;
/// How long a job waits before it asks the journal again.
const JOURNAL_PAUSE: Duration = Duration::from_millis(200);
/// How often the journal may refuse a job though it can be written.
const MAX_REFUSALS: u32 = 3;
/// How long this process stays when it was told to end at once and its output has no reader.
const LINGER: Duration = Duration::from_secs(5);
/// How often progress is shown.
const TICK: Duration = Duration::from_millis(200);
/// Results that wait for one before them, with `--keep-order`, for each run at a time.
const WAITING_RESULTS: usize = 64;

/// Does what `batching` says. It ends the process where the reader of the input may still wait for it.
///
/// # Errors
/// What keeps a batch from being begun, or from going on.
pub fn batch(batching: Batching) -> Result<u8> {
    let Batching {
        options,
        template,
        format,
        config,
        start,
    } = batching;
    let mut source = Source::new(&options, template)?;
    let log = match &options.joblog {
        Some(path) => Some(JobLog::open(
            path,
            options.resume || options.retry_failed,
            options.retry_failed,
        )?),
        None => None,
    };
    let (host, executor) = start()?;
    let lines = Lines::open(options.file.as_deref(), source.separator(), source.blank())?;
    let (journal, database) =
        BatchJournal::open(&options, Retention::of(&config), 2 * most_waiting(options.jobs))?;
    source.name_jobs(journal.id());
    let report = Report::new(format, options.quiet, options.keep_order, log);
    let service = Service::new(host, options.jobs);
    let status = executor.block_on(async {
        let runs = Runs::open(service, database, runs_options(&options)).await?;
        execute(&options, runs, journal, source, lines, report).await
    })?;
    // The reader of the input may still wait for it.
    std::process::exit(status.into())
}

/// How many results may wait for one before them.
fn most_waiting(jobs: NonZeroUsize) -> usize {
    jobs.get().saturating_mul(WAITING_RESULTS)
}

fn runs_options(options: &BatchOptions) -> RunsOptions {
    RunsOptions {
        // No more lines are read than there are runs at a time.
        max_queued: usize::MAX,
        attempts: Attempts {
            retries: options.retries,
            waits: MAX_WAITS,
        },
    }
}

/// A job that has ended.
struct Ended {
    number: u64,
    name: String,
    result: RuntimeResult,
    /// Its number in the journal; none if that does not have it.
    run: Option<RunNumber>,
}

/// A job whose result is written.
struct Printed {
    job: u64,
    run: Option<RunNumber>,
    succeeded: bool,
}

async fn execute(
    options: &BatchOptions,
    runs: Runs,
    mut journal: BatchJournal,
    mut source: Source,
    mut lines: Lines,
    mut report: Report,
) -> Result<u8> {
    let termination = Arc::new(Termination::watch().context("signals can't be watched for")?);
    let cancel = termination.token().clone();
    leave_when_told_twice(&termination);
    let cancelling = cancel_with(&cancel, &runs);
    let plan = Plan {
        has_template: !options.words.is_empty(),
        timeout: options.timeout.and_then(NonZeroU64::new),
        submit: SubmitOptions {
            again: options.retry_failed,
            ..SubmitOptions::default()
        },
    };
    let most_waiting = most_waiting(options.jobs);
    let mut running = JoinSet::new();
    // What ends the batch before its input does.
    let mut trouble = None;
    let mut is_open = true;
    let mut is_halted = false;
    let mut is_all_read = false;
    let mut tick = tokio::time::interval_at(tokio::time::Instant::now() + TICK, TICK);
    loop {
        if trouble.is_none() {
            trouble = report.take_trouble();
        }
        if cancel.reason().is_some() || report.is_lost() || trouble.is_some() {
            is_open = false;
        }
        if !is_open && running.is_empty() {
            break;
        }
        let may_start = is_open && report.waiting() < most_waiting && running.len() < options.jobs.get();
        tokio::select! {
            biased;
            Some(ended) = running.join_next(), if !running.is_empty() => {
                match ended.context("a run was lost")? {
                    Ok(ended) => report.ended(ended),
                    Err(error) => trouble = trouble.or(Some(error)),
                }
                journal.written(report.take_printed(), &runs).await;
                if is_open && let Some(halt) = options.halt && report.counts().halts(halt) {
                    (is_open, is_halted) = (false, true);
                    report.note(&format!(
                        "stopped by --halt: {} of {} runs did not succeed; no more are started",
                        report.counts().unsuccessful,
                        report.counts().ended,
                    ));
                }
            }
            () = cancel.raised(CancelReason::Requested), if is_open => {}
            line = lines.next(), if may_start => {
                let job = match line {
                    Ok(Some(line)) => source.job(line),
                    Ok(None) => {
                        let rest = source.rest();
                        if rest.is_none() {
                            (is_open, is_all_read) = (false, true);
                            report.all_read(source.jobs());
                        }
                        rest
                    }
                    Err(error) => {
                        trouble = Some(error);
                        None
                    }
                };
                if let Some(job) = job.and_then(|job| left_to_do(job, &journal, &mut trouble, &mut report)) {
                    let (runs, cancel) = (runs.clone(), cancel.clone());
                    running.spawn(complete(runs, job, plan, cancel));
                }
            }
            _ = tick.tick(), if report.shows_progress() => {
                report.progress(running.len(), lines.count().map(|lines| source.jobs_of(lines)));
            }
        }
        if report.is_lost() {
            // What can't be told need not be done.
            cancel.cancel();
        }
    }
    // Those that an earlier batch has left end too.
    runs.idle().await;
    cancelling.abort();
    report.finish();
    let trouble = trouble.or_else(|| report.take_trouble());
    // Nothing is left of the runs; the helper processes go now.
    drop(runs.service().host().shut_down());
    let ended_by_itself = is_all_read || is_halted;
    let is_complete = ended_by_itself && cancel.reason().is_none() && !report.is_lost() && trouble.is_none();
    let left = journal.end(is_complete || report.has_run_nothing(), runs);
    if let Some(directory) = left
        && !report.is_lost()
    {
        report.note(&journal::how_to_go_on(&directory));
        journal::tell_no_more(&directory);
    }
    if let Some(error) = trouble {
        return Err(error);
    }
    Ok(if report.is_lost() {
        exit::UNDELIVERED
    } else if let Some(signal) = termination.signal() {
        exit::of_signal(signal)
    } else if report.counts().unsuccessful + report.counts().unsuccessful_before > 0 {
        1
    } else {
        0
    })
}

/// What counts for every run.
#[derive(Clone, Copy)]
struct Plan {
    timeout: Option<NonZeroU64>,
    /// Whether jobs have ids of the journal's.
    has_template: bool,
    submit: SubmitOptions,
}

/// The job, unless it was done before and the job log has it, or the journal has forgotten it.
fn left_to_do(
    job: Job,
    journal: &BatchJournal,
    trouble: &mut Option<anyhow::Error>,
    report: &mut Report,
) -> Option<Job> {
    match report.past(&job) {
        Ok(Past::Unknown) if journal.has_forgotten(job.number) => report.forgotten(job.number),
        Ok(Past::Unknown) => return Some(job),
        Ok(Past::Ended { succeeded }) => report.skipped(job.number, succeeded),
        Err(error) => {
            trouble.get_or_insert(error);
        }
    }
    None
}

/// Does a job, or finds how it ended.
///
/// # Errors
/// Where the journal is of another command or input.
async fn complete(runs: Runs, job: Job, plan: Plan, cancel: CancelToken) -> Result<Ended> {
    let Job {
        number,
        line,
        name,
        invocation,
    } = job;
    let (mut result, run) = match invocation {
        Err(rejected) => (*rejected, None),
        Ok(mut invocation) => {
            if plan.timeout.is_some() {
                invocation.timeout_seconds = plan.timeout;
            }
            match end_of(&runs, &invocation, plan.submit, &cancel).await {
                Ok(Completed { number, result, .. }) => (Arc::unwrap_or_clone(result), Some(number)),
                Err(failure) if plan.has_template && failure.kind == ErrorKind::InvalidInvocation => bail!(
                    "the journal has another job {number}: a batch is continued with the same command and the same input; \
                     name another directory with --journal DIR"
                ),
                Err(failure) => (not_accepted(invocation, line, failure), None),
            }
        }
    };
    result.metadata.insert(LINE.to_owned(), line.to_string());
    Ok(Ended {
        number,
        name,
        result,
        run,
    })
}

/// The end of the run of an invocation, or why it was not accepted.
async fn end_of(
    runs: &Runs,
    invocation: &RuntimeInvocation,
    options: SubmitOptions,
    cancel: &CancelToken,
) -> Result<Completed, Failure> {
    let mut refusals = 0;
    loop {
        match runs.complete(invocation.clone(), options).await {
            Ok(completed) => return Ok(completed),
            Err(SubmitError::Journal(error)) => {
                // While it can't be written, which the log says, jobs wait until it can.
                refusals += u32::from(runs.trouble().is_none() || runs.is_damaged());
                if refusals > MAX_REFUSALS {
                    return Err(Failure::new(ErrorKind::HostExhausted, error.to_string()));
                }
            }
            Err(SubmitError::Conflict { .. }) => {
                return Err(Failure::new(
                    ErrorKind::InvalidInvocation,
                    "it has the id of another invocation in the journal of this batch; give it an id of its own",
                ));
            }
            Err(error) => return Err(Failure::new(ErrorKind::Cancelled, error.to_string())),
        }
        tokio::select! {
            () = tokio::time::sleep(JOURNAL_PAUSE) => {}
            () = cancel.raised(CancelReason::Requested) => {
                return Err(Failure::new(ErrorKind::Cancelled, "cancelled before it began"));
            }
        }
    }
}

/// The result of a job that became no run. It is not written to the result file that the invocation names: that may be of
/// the run which has its id.
fn not_accepted(invocation: RuntimeInvocation, line: u64, failure: Failure) -> RuntimeResult {
    let invocation = RuntimeInvocation {
        output_result_path: None,
        ..invocation
    };
    let summary = format!("line {line} became no run: {}", failure.summary);
    reject(&invocation, Failure::new(failure.kind, summary))
}

/// Tells all runs to stop when this process is told to.
fn cancel_with(cancel: &CancelToken, runs: &Runs) -> JoinHandle<()> {
    let (cancel, runs) = (cancel.clone(), runs.clone());
    tokio::spawn(async move {
        for reason in [CancelReason::Requested, CancelReason::Immediate] {
            cancel.raised(reason).await;
            runs.cancel_all(reason);
        }
    })
}

/// Ends this process after the second signal even if its output has no reader.
fn leave_when_told_twice(termination: &Arc<Termination>) {
    let termination = Arc::clone(termination);
    tokio::spawn(async move {
        termination.token().raised(CancelReason::Immediate).await;
        tokio::time::sleep(LINGER).await;
        let signal = termination.signal().unwrap_or(libc::SIGTERM);
        std::process::exit(exit::of_signal(signal).into());
    });
}

/// How many jobs came to what.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    ended: u64,
    unsuccessful: u64,
    /// In the job log, or forgotten by the journal.
    skipped: u64,
    /// Forgotten by the journal.
    forgotten: u64,
    /// Those of them that were not successful.
    unsuccessful_before: u64,
}

impl Counts {
    fn add(&mut self, status: Status) {
        self.ended += 1;
        self.unsuccessful += u64::from(status != Status::Succeeded);
    }

    fn halts(self, halt: Halt) -> bool {
        halt.is_reached(self.ended, self.unsuccessful)
    }
}

/// Why a line became no run.
fn no_invocation(reason: String) -> Failure {
    Failure::new(ErrorKind::InvalidInvocation, reason)
}
