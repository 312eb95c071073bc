//! `batch`: many invocations, several at a time, out of one input.
//!
//! ```text
//! input (lines) ──> source (jobs) ──> service (runs) ──> report (results, job log, progress)
//! ```
//!
//! A line is read when a run may start, so that an input without end takes no more memory than a short one.

mod input;
mod joblog;
mod report;
mod source;

use super::{
    Format,
    args::{BatchOptions, HostOptions},
    exit, host, many_runs,
    trace_export::Parent,
};
use anyhow::{Context, Result};
use executor_runtime::{
    CancelReason, CancelToken, ErrorKind, Host, Run, Termination,
    protocol::{RuntimeResult, Status},
    receipt,
};
use executor_runtime_service::{Service, Slot};
use input::Lines;
use joblog::{JobLog, Past};
use report::Report;
use source::{Job, Source};
use std::{
    num::{NonZeroU64, NonZeroUsize},
    process::ExitCode,
    sync::Arc,
    thread,
    time::Duration,
};
use tokio::task::JoinSet;

/// Which attempt at a run a result is of, if it is not the first.
const ATTEMPTS: &str = "batch.attempts";
/// The line of the input that a result is of.
const LINE: &str = "batch.line";
/// The pause before a second attempt. It doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How often a run for which the host has no room is put off before it counts as rejected: about half a minute.
const MAX_WAITS: u32 = 8;
/// How long this process stays when it was told to end at once and its output has no reader.
const LINGER: Duration = Duration::from_secs(5);
/// How often progress is shown.
const TICK: Duration = Duration::from_millis(200);
/// Results that wait for one before them, with `--keep-order`, for each run at a time.
const WAITING_RESULTS: usize = 64;

/// When to start no more runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Halt {
    /// So many did not succeed.
    Runs(u64),
    /// This share of those that have ended, in percent.
    Percent(u64),
}

impl Halt {
    /// Fewer runs say nothing about a share.
    const LEAST: u64 = 10;

    fn is_reached(self, ended: u64, unsuccessful: u64) -> bool {
        match self {
            Self::Runs(runs) => unsuccessful >= runs,
            Self::Percent(percent) => ended >= Self::LEAST && unsuccessful * 100 >= percent * ended,
        }
    }
}

/// `fail=N` or `fail=N%`.
pub(super) fn halt(text: &str) -> Result<Halt, String> {
    let expected = || "expected `fail=` and a number or a percentage, such as fail=1 or fail=10%".to_owned();
    let amount = text.strip_prefix("fail=").ok_or_else(expected)?;
    let number = |text: &str| text.parse::<u64>().ok().filter(|number| *number > 0);
    match amount.strip_suffix('%') {
        Some(percent) => number(percent)
            .filter(|percent| *percent <= 100)
            .map(Halt::Percent),
        None => number(amount).map(Halt::Runs),
    }
    .ok_or_else(expected)
}

/// `N` or `N%` of the processors, rounded up.
pub(super) fn jobs(text: &str) -> Result<NonZeroUsize, String> {
    let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let jobs = match text.strip_suffix('%') {
        Some(percent) => percent
            .parse::<usize>()
            .ok()
            .and_then(|percent| percent.checked_mul(processors))
            .map(|share| share.div_ceil(100)),
        None => text.parse().ok(),
    };
    jobs.and_then(NonZeroUsize::new).ok_or_else(|| {
        "expected a number, 1 or more, or a share of the processors, such as 8 or 50%".to_owned()
    })
}

pub(super) fn batch(
    options: &BatchOptions,
    host_options: &HostOptions,
    format: Option<Format>,
) -> Result<ExitCode> {
    host_options.executable.need_export(None);
    let builder = host::builder_for(options.jobs, Parent::OfProcess, host_options)?;
    if options.words.is_empty() {
        host_options.executable.prefer_engine(&builder);
    }
    let source = Source::new(options)?;
    let log = match &options.joblog {
        Some(path) => Some(JobLog::open(
            path,
            options.resume || options.retry_failed,
            options.retry_failed,
        )?),
        None => None,
    };
    let host = host::start(builder)?.map_err(|error| {
        let failure = executor_runtime::Failure::exhausted(&error);
        anyhow::anyhow!(failure.summary)
    })?;
    let lines = Lines::open(options.file.as_deref(), source.separator(), source.blank())?;
    let report = Report::new(Format::or_detect(format), options.quiet, options.keep_order, log);
    many_runs::raise_descriptor_limit();
    let status =
        many_runs::executor(options.jobs)?.block_on(execute(options, host, source, lines, report))?;
    // The reader of the input may still wait for it.
    std::process::exit(status.into())
}

/// A job that has ended.
struct Ended {
    job: Job,
    result: RuntimeResult,
    attempts: u32,
}

async fn execute(
    options: &BatchOptions,
    host: Host,
    mut source: Source,
    mut lines: Lines,
    mut report: Report,
) -> Result<u8> {
    let termination = Arc::new(Termination::watch().context("signals can't be watched for")?);
    let cancel = termination.token().clone();
    leave_when_told_twice(&termination);
    let service = Service::new(host, options.jobs);
    let plan = Plan {
        timeout: options.timeout.and_then(NonZeroU64::new),
        retries: options.retries,
    };
    let most_waiting = options.jobs.get().saturating_mul(WAITING_RESULTS);
    let mut running = JoinSet::new();
    let mut slot: Option<Slot> = None;
    // What ends the batch before its input does.
    let mut trouble = None;
    let mut is_open = true;
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
        let may_start = is_open && report.waiting() < most_waiting;
        tokio::select! {
            biased;
            Some(ended) = running.join_next(), if !running.is_empty() => {
                report.ended(ended.context("a run was lost")?);
                if is_open && let Some(halt) = options.halt && report.counts().halts(halt) {
                    is_open = false;
                    report.note(&format!(
                        "stopped by --halt: {} of {} runs did not succeed; no more are started",
                        report.counts().unsuccessful,
                        report.counts().ended,
                    ));
                }
            }
            () = cancel.raised(CancelReason::Requested), if is_open => {}
            free = service.slot(None), if may_start && slot.is_none() => slot = Some(free),
            line = lines.next(), if may_start && slot.is_some() => match line {
                Err(error) => trouble = Some(error),
                Ok(None) => match source.rest() {
                    Some(job) => start(&mut running, &service, slot.take(), job, &plan, &cancel, &mut trouble, &mut report),
                    None => {
                        is_open = false;
                        report.all_read(source.jobs());
                    }
                },
                Ok(Some(line)) => if let Some(job) = source.job(line) {
                    start(&mut running, &service, slot.take(), job, &plan, &cancel, &mut trouble, &mut report);
                },
            },
            _ = tick.tick(), if report.shows_progress() => {
                report.progress(running.len(), lines.count().map(|lines| source.jobs_of(lines)));
            }
        }
        if report.is_lost() {
            // What can't be told need not be done.
            cancel.cancel();
        }
    }
    report.finish();
    let trouble = trouble.or_else(|| report.take_trouble());
    // Nothing is left of the runs; the helper processes go now.
    drop(service.host().shut_down());
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
    retries: u32,
}

/// Starts a job, unless the job log has it, or it is none.
#[allow(clippy::too_many_arguments, reason = "they are the state of the loop above")]
fn start(
    running: &mut JoinSet<Ended>,
    service: &Service,
    slot: Option<Slot>,
    job: Job,
    plan: &Plan,
    cancel: &CancelToken,
    trouble: &mut Option<anyhow::Error>,
    report: &mut Report,
) {
    match report.past(&job) {
        Ok(Past::Unknown) => {}
        Ok(Past::Ended { succeeded }) => return report.skipped(job.number, succeeded),
        Err(error) => {
            trouble.get_or_insert(error);
            return;
        }
    }
    let Some(slot) = slot else { return };
    report.started();
    let (service, plan, cancel) = (service.clone(), *plan, cancel.clone());
    running.spawn(async move { attempts(&service, slot, job, plan, &cancel).await });
}

/// Runs a job, and again where that may help.
async fn attempts(service: &Service, slot: Slot, job: Job, plan: Plan, cancel: &CancelToken) -> Ended {
    let (mut attempt, mut waits) = (1, 0);
    let mut pause = FIRST_PAUSE;
    let mut result = loop {
        let mut invocation = match &job.invocation {
            Ok(invocation) => invocation.clone(),
            Err(rejected) => break (**rejected).clone(),
        };
        if plan.timeout.is_some() {
            invocation.timeout_seconds = plan.timeout;
        }
        let mut run = Run::new(invocation);
        run.cancel = cancel.clone();
        let result = service.start(slot.clone(), run).wait().await;
        if is_exhausted(&result) && waits < MAX_WAITS && cancel.reason().is_none() {
            // Other runs have what this one needs; they end.
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = cancel.raised(CancelReason::Requested) => break result,
            }
            waits += 1;
            pause = (pause * 2).min(LONGEST_PAUSE);
            continue;
        }
        let transient = result
            .metadata
            .get(receipt::ERROR_TRANSIENT)
            .is_some_and(|word| word == "true");
        if !transient || attempt > plan.retries || cancel.reason().is_some() {
            break result;
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = cancel.raised(CancelReason::Requested) => break result,
        }
        attempt += 1;
        pause = (pause * 2).min(LONGEST_PAUSE);
    };
    result.metadata.insert(LINE.to_owned(), job.line.to_string());
    if attempt > 1 {
        result.metadata.insert(ATTEMPTS.to_owned(), attempt.to_string());
    }
    Ended {
        job,
        result,
        attempts: attempt,
    }
}

/// Whether a run never began because the host lacked something.
fn is_exhausted(result: &RuntimeResult) -> bool {
    let kind = result.metadata.get(receipt::ERROR_KIND);
    kind.is_some_and(|kind| *kind == ErrorKind::HostExhausted.code())
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
    /// In the job log.
    skipped: u64,
    /// In the job log, and not successful.
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
fn no_invocation(reason: String) -> executor_runtime::Failure {
    executor_runtime::Failure::new(ErrorKind::InvalidInvocation, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_the_processors_are_rounded_up_and_never_none() {
        let processors = thread::available_parallelism().unwrap().get();
        assert_eq!(jobs("3").unwrap().get(), 3);
        assert_eq!(jobs("100%").unwrap().get(), processors);
        assert_eq!(jobs("1%").unwrap().get(), processors.div_ceil(100));
        for bad in ["0", "0%", "-1", "many", "", "%", "1.5"] {
            assert!(jobs(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_batch_halts_at_a_number_or_at_a_share_of_enough_runs() {
        assert_eq!(halt("fail=1").unwrap(), Halt::Runs(1));
        assert_eq!(halt("fail=10%").unwrap(), Halt::Percent(10));
        for bad in ["fail=0", "fail=101%", "1", "fail=", "now,fail=1"] {
            assert!(halt(bad).is_err(), "{bad}");
        }
        assert!(Halt::Runs(2).is_reached(2, 2));
        assert!(!Halt::Percent(10).is_reached(9, 9));
        assert!(Halt::Percent(10).is_reached(10, 1));
        assert!(!Halt::Percent(10).is_reached(11, 1));
    }
}
