//! Runs behind a journal, as those who serve many use them.

mod follow;
mod journal;
mod recovery;
mod submit;

use executor_runtime::{
    ArtifactState, CancelReason, ErrorKind, Event, Failure, Host, LogLine, Outcome, Run, RunFuture, Runner,
    protocol::{RuntimeInvocation, RuntimeKind, RuntimeResult, Status},
    receipt, reject,
};
use executor_runtime_run::capture::{CaptureDirectory, Fingerprint, FinishedArtifacts, location};
use executor_runtime_service::{
    Attempts, EventKind, EventRecord, Filter, Journal, JournalError, Limits, OutputStream, Prune, Runs,
    RunsOptions, Service, SubmitError, SubmitOptions, Waited,
};
use serde_json::json;
use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    os::unix::fs::FileExt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{sync::Notify, time::Instant};

/// No run of these tests takes longer.
const LIMIT: Duration = Duration::from_secs(60);
/// How long a run waits in the queue that is not to begin after its host has died.
const QUEUE_TIMEOUT: Duration = Duration::from_millis(300);

/// Counts its runs. `work` says what each does.
struct Scripted {
    started: AtomicUsize,
    /// What runs wait for whose work that is.
    go: Notify,
}

impl Runner for Scripted {
    fn run<'a>(&'a self, run: &'a Run) -> RunFuture<'a> {
        Box::pin(async move {
            self.started.fetch_add(1, Ordering::SeqCst);
            match run.invocation.command[0].as_str() {
                "report" => {
                    for step in 0..100_u32 {
                        run.events.report(Event::Progress {
                            fraction: Some(f64::from(step) / 100.0),
                            message: format!("step {step}"),
                        });
                        tokio::task::yield_now().await;
                    }
                }
                "flaky" if !self.started.load(Ordering::SeqCst).is_multiple_of(3) => {
                    return Outcome::failure(ErrorKind::ExitStatus, "not yet");
                }
                "go" => self.go.notified().await,
                "flood" => flood(run).await,
                "panic" => panic!("on purpose"),
                "keep" => {
                    self.go.notified().await;
                    let capture = CaptureDirectory::open(&run.invocation).unwrap();
                    let kept =
                        FinishedArtifacts::default().checkpoint(&capture, run.fingerprint(), b"half of it");
                    kept.unwrap();
                    run.unrecorded.leave(&capture);
                    let mut outcome = Outcome::succeeded();
                    outcome.exit_code = Some(7);
                    return outcome;
                }
                "wait" => {
                    run.cancel.raised(CancelReason::Requested).await;
                    return Outcome::failure(ErrorKind::Cancelled, "cancelled");
                }
                _ => {}
            }
            Outcome::succeeded()
        })
    }
}

/// How many events of each kind a run reports that reports too many.
const FLOOD: u64 = 3000;

async fn flood(run: &Run) {
    for number in 1..=FLOOD {
        let events = [
            Event::Log(LogLine {
                number,
                level: "info",
                message: "x".repeat(1000),
                left_out: 0,
            }),
            Event::Progress {
                fraction: None,
                message: format!("step {number}"),
            },
            Event::Checkpoint { bytes: number },
            Event::Artifact(ArtifactState {
                artifact_id: format!("artifact-{}", number % 7),
                path: "/".into(),
                bytes: number,
                is_finished: number + 7 > FLOOD,
            }),
            Event::Artifact(ArtifactState {
                artifact_id: format!("another-{number}"),
                path: "/".into(),
                bytes: 1,
                is_finished: true,
            }),
        ];
        for event in events {
            run.events.report(event);
        }
        if number % 100 == 0 {
            // Longer than events that take each other's place are held back.
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
    }
}

fn kind() -> RuntimeKind {
    RuntimeKind::new("scripted").unwrap()
}

fn invocation(id: &str, work: &str) -> RuntimeInvocation {
    let document = json!({
        "invocation_id": id, "runtime_name": "test", "runtime_kind": "scripted",
        "working_directory": "/", "command": [work],
    });
    RuntimeInvocation::from_json(document.to_string().as_bytes()).unwrap()
}

struct Opened {
    runs: Runs,
    runner: Arc<Scripted>,
}

async fn open(directory: &Path, max_running: usize, max_queued: usize) -> Opened {
    let journal = Journal::open(directory).unwrap();
    let options = RunsOptions {
        max_queued,
        attempts: Attempts::default(),
    };
    open_with(journal, max_running, options).await
}

async fn open_with(journal: Journal, max_running: usize, options: RunsOptions) -> Opened {
    let runner = Arc::new(Scripted {
        started: AtomicUsize::new(0),
        go: Notify::new(),
    });
    let host = Host::builder().runner(kind(), runner.clone()).build().unwrap();
    let limits = Limits::from(NonZeroUsize::new(max_running).unwrap());
    let runs = Runs::open(Service::new(host, limits), journal, options)
        .await
        .unwrap();
    Opened { runs, runner }
}

async fn submit(runs: &Runs, invocation: RuntimeInvocation) -> bool {
    let submitted = runs.submit(invocation, SubmitOptions::default()).await.unwrap();
    submitted.is_new
}

async fn result(runs: &Runs, id: &str) -> Arc<RuntimeResult> {
    match runs.wait(id, Some(Instant::now() + LIMIT)).await.unwrap() {
        Some(Waited::Ended(result)) => result,
        other => panic!("{id}: {other:?}"),
    }
}

/// Waits until a run is under way.
/// Looks until this holds, which has to happen in time.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !holds() {
        assert!(
            Instant::now() < deadline,
            "{what} did not happen within {LIMIT:?}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn until_running(runs: &Runs, id: &str) {
    let mut events = runs.events(id, 0).await.unwrap().unwrap();
    loop {
        let event = tokio::time::timeout(LIMIT, events.next()).await.unwrap().unwrap();
        if event.is_none_or(|event| event.kind == EventKind::Started) {
            return;
        }
    }
}

async fn all_events(runs: &Runs, id: &str, after: u64) -> Vec<EventRecord> {
    let mut follower = runs.events(id, after).await.unwrap().unwrap();
    let mut events = Vec::new();
    while let Some(event) = tokio::time::timeout(LIMIT, follower.next())
        .await
        .unwrap()
        .unwrap()
    {
        events.push(event);
    }
    events
}

fn error_kind(result: &Arc<RuntimeResult>) -> &str {
    result
        .metadata
        .get(receipt::ERROR_KIND)
        .map_or("", String::as_str)
}
