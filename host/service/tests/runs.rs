//! Runs behind a journal, as those who serve many use them.

use executor_runtime::{
    ArtifactState, CancelReason, ErrorKind, Event, Failure, Host, LogLine, Outcome, Run, RunFuture, Runner,
    protocol::{RuntimeInvocation, RuntimeKind, RuntimeResult, Status},
    receipt, reject,
};
use executor_runtime_run::capture::{CaptureDirectory, FinishedArtifacts, location};
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

#[tokio::test]
async fn the_same_document_is_one_run_however_often_it_is_sent() {
    let directory = tempfile::tempdir().unwrap();
    let Opened { runs, runner } = open(directory.path(), 4, 10).await;
    let sent: Vec<_> = (0..10)
        .map(|_| {
            let runs = runs.clone();
            tokio::spawn(async move {
                let is_new = submit(&runs, invocation("one", "work")).await;
                (is_new, result(&runs, "one").await)
            })
        })
        .collect();
    let (mut new, mut results) = (0, Vec::new());
    for sent in sent {
        let (is_new, result) = sent.await.unwrap();
        new += usize::from(is_new);
        results.push(result);
    }
    assert_eq!(new, 1);
    assert_eq!(runner.started.load(Ordering::SeqCst), 1);
    assert!(results.iter().all(|result| *result == results[0]));
    let started = all_events(&runs, "one", 0).await;
    let started = started.iter().filter(|event| event.kind == EventKind::Started);
    assert_eq!(started.count(), 1);

    // Also with another time-out, which is not what it asks for; what it asks for is another run, and needs its own id.
    let mut later = invocation("one", "work");
    later.timeout_seconds = std::num::NonZeroU64::new(7);
    assert!(!submit(&runs, later).await);
    let other = runs
        .submit(invocation("one", "other"), SubmitOptions::default())
        .await;
    assert!(matches!(other, Err(SubmitError::Conflict { .. })), "{other:?}");
    assert_eq!(runner.started.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_is_about_to_be_refused_has_not_got_its_id() {
    let directory = tempfile::tempdir().unwrap();
    let first = open(directory.path(), 4, 100).await;
    for id in 0..200 {
        submit(&first.runs, invocation(&id.to_string(), "")).await;
    }
    first.runs.idle().await;
    drop(first);
    // It is closed when the last task is gone that has it.
    while let Err(JournalError::InUse { .. }) = Journal::open(directory.path()) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // These are in the journal alone, which is asked about each.
    let again = open(directory.path(), 4, 100).await;
    for id in 0..200 {
        let options = SubmitOptions::default();
        let [other, same] = ["another", ""].map(|work| {
            let (runs, invocation) = (again.runs.clone(), invocation(&id.to_string(), work));
            tokio::spawn(async move { runs.submit(invocation, options).await })
        });
        let (other, same) = (other.await.unwrap(), same.await.unwrap());
        assert!(matches!(other, Err(SubmitError::Conflict { .. })), "{other:?}");
        assert!(same.is_ok_and(|same| !same.is_new), "{id}");
    }
}

#[tokio::test]
async fn a_full_queue_refuses_and_a_queued_run_can_be_cancelled_or_time_out() {
    let directory = tempfile::tempdir().unwrap();
    let Opened { runs, runner } = open(directory.path(), 1, 2).await;
    submit(&runs, invocation("first", "wait")).await;
    until_running(&runs, "first").await;
    submit(&runs, invocation("second", "work")).await;
    let impatient = SubmitOptions {
        queue_timeout: Some(Duration::from_millis(20)),
        ..SubmitOptions::default()
    };
    runs.submit(invocation("third", "work"), impatient).await.unwrap();
    let refused = runs
        .submit(invocation("fourth", "work"), SubmitOptions::default())
        .await;
    assert!(
        matches!(refused, Err(SubmitError::QueueFull { max_queued: 2, .. })),
        "{refused:?}"
    );
    assert!(runs.get("fourth").await.unwrap().is_none());
    // What is there needs no place.
    assert!(!submit(&runs, invocation("second", "work")).await);
    // Another document of a run that is under way, or waits, is no other run and not the same.
    for id in ["first", "second"] {
        let other = runs
            .submit(invocation(id, "other"), SubmitOptions::default())
            .await;
        assert!(matches!(other, Err(SubmitError::Conflict { .. })), "{other:?}");
    }

    assert_eq!(error_kind(&result(&runs, "third").await), "timeout");
    runs.cancel("second", CancelReason::Requested).await.unwrap();
    let second = result(&runs, "second").await;
    assert_eq!(
        (second.status, error_kind(&second)),
        (Status::Cancelled, "cancelled")
    );
    runs.cancel("first", CancelReason::Requested).await.unwrap();
    assert_eq!(result(&runs, "first").await.status, Status::Cancelled);
    assert_eq!(runner.started.load(Ordering::SeqCst), 1);
    // Cancelling what has ended changes nothing.
    let first = runs
        .cancel("first", CancelReason::Immediate)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((first.status, first.cancel_requested), (Status::Cancelled, false));
    assert_eq!((runs.counts().queued, runs.counts().running), (0, 0));
    assert!(submit(&runs, invocation("fourth", "work")).await);
    assert_eq!(result(&runs, "fourth").await.status, Status::Succeeded);
}

#[tokio::test]
async fn slots_and_places_never_leak() {
    let directory = tempfile::tempdir().unwrap();
    let Opened { runs, runner } = open(directory.path(), 3, 1000).await;
    for n in 0..300 {
        let work = ["work", "panic", "wait", "report"][n % 4];
        let id = format!("run-{n}");
        submit(&runs, invocation(&id, work)).await;
        if work == "wait" {
            // At any moment: queued, about to begin, under way.
            let runs = runs.clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_micros(n as u64 * 37 % 5000)).await;
                runs.cancel(&id, CancelReason::Requested).await.unwrap();
            });
        }
    }
    let mut by_status = BTreeMap::<&str, usize>::new();
    for n in 0..300 {
        let ended = result(&runs, &format!("run-{n}")).await;
        *by_status.entry(ended.status.as_str()).or_default() += 1;
    }
    assert_eq!(
        by_status,
        BTreeMap::from([("succeeded", 150), ("failed", 75), ("cancelled", 75)])
    );
    tokio::time::timeout(LIMIT, runs.idle()).await.unwrap();
    let counts = runs.counts();
    assert_eq!((counts.queued, counts.running), (0, 0));
    assert!(counts.running_by_kind.values().all(|running| *running == 0));
    assert_eq!(counts.ended.values().sum::<u64>(), 300);
    assert!(runner.started.load(Ordering::SeqCst) >= 225);
}

#[tokio::test]
async fn followers_get_every_event_in_order_whenever_they_come() {
    let directory = tempfile::tempdir().unwrap();
    let Opened { runs, .. } = open(directory.path(), 2, 10).await;
    submit(&runs, invocation("it", "report")).await;
    let early = all_events(&runs, "it", 0).await;
    let late = all_events(&runs, "it", 0).await;
    for events in [&early, &late] {
        assert!(events.is_sorted_by(|one, next| one.sequence < next.sequence));
        let kinds: Vec<_> = events.iter().map(|event| event.kind).collect();
        assert_eq!(kinds[..2], [EventKind::Accepted, EventKind::Started]);
        assert_eq!(kinds.last(), Some(&EventKind::Ended));
        let last = events[events.len() - 2].body["message"].as_str().unwrap();
        assert_eq!(last, "step 99");
    }
    // Progress that was overtaken is not kept.
    assert_eq!(late.len(), 4);
    let again = all_events(&runs, "it", late[1].sequence).await;
    assert_eq!(again, late[2..]);
    assert_eq!(late[3].body["status"], "succeeded");
    // After a number that no event has, there is none to wait for.
    assert_eq!(all_events(&runs, "it", 9999).await, []);
}

#[tokio::test]
async fn the_events_of_a_run_that_reports_too_much_are_bounded_and_the_newest() {
    let directory = tempfile::tempdir().unwrap();
    let Opened { runs, .. } = open(directory.path(), 2, 10).await;
    submit(&runs, invocation("it", "flood")).await;
    // One that is there from the beginning, and one that comes late.
    let early = all_events(&runs, "it", 0).await;
    let mut seen = Vec::new();
    for events in [&early, &all_events(&runs, "it", 0).await] {
        assert!(events.is_sorted_by(|one, next| one.sequence < next.sequence));
        assert_eq!(events.last().unwrap().kind, EventKind::Ended);
        let of = |kind| -> Vec<_> { events.iter().filter(|event| event.kind == kind).collect() };
        let lines: Vec<_> = of(EventKind::Log)
            .iter()
            .map(|event| event.body["line"].as_u64().unwrap())
            .collect();
        assert!(lines.is_sorted_by(|one, next| one < next));
        assert_eq!(lines.last(), Some(&FLOOD));
        assert_eq!(of(EventKind::Checkpoint).last().unwrap().body["bytes"], FLOOD);
        let progress = of(EventKind::Progress);
        assert_eq!(progress.last().unwrap().body["message"], format!("step {FLOOD}"));
        for number in 0..7 {
            let name = format!("artifact-{number}");
            let of_it: Vec<_> = of(EventKind::Artifact)
                .into_iter()
                .filter(|event| event.body["artifact_id"] == *name)
                .collect();
            let last = of_it.last().unwrap();
            assert_eq!(last.body["finished"], true, "{last:?}");
            assert!(last.body["bytes"].as_u64().unwrap() > FLOOD - 7, "{last:?}");
        }
        seen.push(events.len());
    }
    // What is kept: lines, artifacts, one checkpoint and progress, and what there always is.
    assert_eq!(seen[1], 200 + 1000 + 2 + 3);
    // The same with a connection that is lost again and again.
    let (mut after, mut again, mut is_over) = (0, Vec::new(), false);
    while !is_over {
        let mut follower = runs.events("it", after).await.unwrap().unwrap();
        for _ in 0..10 {
            let Some(event) = follower.next().await.unwrap() else {
                is_over = true;
                break;
            };
            after = event.sequence;
            again.push(event);
        }
    }
    assert_eq!(again, all_events(&runs, "it", 0).await);
}

#[test]
fn the_page_for_orchestrators_lists_the_events() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ORCHESTRATORS.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, table) = page.split_once("<!-- test: events -->\n").unwrap();
    let rows: Vec<_> = table
        .lines()
        .skip(2)
        .take_while(|line| !line.is_empty())
        .collect();
    let expected: Vec<_> = EventKind::ALL
        .iter()
        .map(|(kind, meaning)| format!("| `{}` | {} |", kind.as_str(), meaning.trim()))
        .collect();
    assert_eq!(rows, expected);
}

#[tokio::test]
async fn output_is_followed_byte_for_byte_while_it_grows() {
    let directory = tempfile::tempdir().unwrap();
    let Opened { runs, .. } = open(&directory.path().join("state"), 2, 10).await;
    let document = json!({
        "invocation_id": "growing", "runtime_name": "test", "runtime_kind": "subprocess",
        "working_directory": directory.path(), "timeout_seconds": 60,
        "command": ["sh", "-c", "for i in $(seq 1 200); do echo line $i; sleep 0.002; done; echo end >&2"],
    });
    let invocation = RuntimeInvocation::from_json(document.to_string().as_bytes()).unwrap();
    submit(&runs, invocation).await;
    let mut files = [
        runs.output("growing", OutputStream::Stdout)
            .await
            .unwrap()
            .unwrap(),
        runs.output("growing", OutputStream::Stderr)
            .await
            .unwrap()
            .unwrap(),
    ];
    let mut texts = [Vec::new(), Vec::new()];
    let mut pieces = 0;
    for (file, text) in files.iter_mut().zip(&mut texts) {
        let mut goes_on = true;
        loop {
            let mut buffer = [0; 1000];
            let read = file.read_at(&mut buffer, text.len() as u64).unwrap();
            text.extend_from_slice(&buffer[..read]);
            pieces += usize::from(read > 0);
            if read == 0 {
                if !goes_on {
                    break;
                }
                goes_on = tokio::time::timeout(LIMIT, file.grown()).await.unwrap();
            }
        }
    }
    let expected: String = (1..=200).map(|n| format!("line {n}\n")).collect();
    assert_eq!(String::from_utf8_lossy(&texts[0]), expected);
    assert_eq!(texts[1], b"end\n");
    assert!(pieces > 3, "{pieces}");
    let events = all_events(&runs, "growing", 0).await;
    let output = events
        .iter()
        .rfind(|event| event.kind == EventKind::Output)
        .unwrap();
    assert_eq!(output.body["stdout"], expected.len());
    assert_eq!(output.body["stderr"], 4);
    // And when it has ended.
    let file = runs
        .output("growing", OutputStream::Stdout)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(file.length().unwrap(), expected.len() as u64);
    assert!(
        runs.output("other", OutputStream::Stdout)
            .await
            .unwrap()
            .is_none()
    );
    assert!(runs.artifact("growing", "../stdout.txt").await.unwrap().is_none());
}

#[test]
fn what_a_dead_host_has_left_is_taken_up_and_nothing_is_begun_twice() {
    let directory = tempfile::tempdir().unwrap();
    let runtime = || tokio::runtime::Runtime::new().unwrap();
    let first = runtime();
    first.block_on(async {
        let Opened { runs, .. } = open(directory.path(), 2, 100).await;
        submit(&runs, invocation("ended", "work")).await;
        result(&runs, "ended").await;
        for id in ["begun-1", "begun-2"] {
            submit(&runs, invocation(id, "wait")).await;
            until_running(&runs, id).await;
        }
        let impatient = SubmitOptions {
            queue_timeout: Some(QUEUE_TIMEOUT),
            ..SubmitOptions::default()
        };
        runs.submit(invocation("impatient", "wait"), impatient)
            .await
            .unwrap();
        for n in 0..20 {
            submit(&runs, invocation(&format!("queued-{n}"), "work")).await;
        }
    });
    // All that it was doing stops here.
    first.shutdown_background();
    let expires = Instant::now() + QUEUE_TIMEOUT;
    let second = runtime();
    second.block_on(async {
        let deadline = Instant::now() + LIMIT;
        while Instant::now() < expires
            || matches!(Journal::open(directory.path()), Err(JournalError::InUse { .. }))
        {
            assert!(Instant::now() < deadline);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let Opened { runs, runner } = open(directory.path(), 2, 1).await;
        assert_eq!(result(&runs, "ended").await.status, Status::Succeeded);
        for id in ["begun-1", "begun-2"] {
            let lost = result(&runs, id).await;
            assert_eq!((lost.status, error_kind(&lost)), (Status::Failed, "host_lost"));
            let events = all_events(&runs, id, 0).await;
            let kinds: Vec<_> = events.iter().map(|event| event.kind).collect();
            assert_eq!(kinds, [EventKind::Accepted, EventKind::Started, EventKind::Ended]);
            // An end is final.
            assert!(!submit(&runs, invocation(id, "wait")).await);
        }
        for n in 0..20 {
            let ended = result(&runs, &format!("queued-{n}")).await;
            assert_eq!(ended.status, Status::Succeeded);
        }
        assert_eq!(runner.started.load(Ordering::SeqCst), 20);
        let list = |cursor| {
            let runs = runs.clone();
            async move {
                let filter = Filter {
                    cursor,
                    limit: 10,
                    ..Filter::default()
                };
                runs.list(filter).await.unwrap()
            }
        };
        let (mut seen, mut cursor) = (Vec::new(), None);
        loop {
            let page = list(cursor).await;
            seen.extend(page.runs.into_iter().map(|run| run.invocation_id));
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(seen.len(), 24);
        assert_eq!((seen[0].as_str(), seen[23].as_str()), ("queued-19", "ended"));
        assert_eq!(error_kind(&result(&runs, "impatient").await), "timeout");
    });
}

/// Between the acknowledgement of a cancel and the end of the run, the host dies.
#[test]
fn a_cancel_that_was_acknowledged_is_known_to_the_next_host() {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("journal.sqlite");
    let first = tokio::runtime::Runtime::new().unwrap();
    first.block_on(async {
        let Opened { runs, .. } = open(directory.path(), 1, 10).await;
        submit(&runs, invocation("first", "wait")).await;
        until_running(&runs, "first").await;
        submit(&runs, invocation("queued", "work")).await;
        // No end gets into the journal.
        let other = rusqlite::Connection::open(&database).unwrap();
        other
            .execute_batch(
                "CREATE TRIGGER no_end BEFORE UPDATE OF result ON runs BEGIN SELECT raise(ABORT, 'no'); END",
            )
            .unwrap();
        let cancelled = runs.cancel("queued", CancelReason::Requested).await.unwrap();
        assert!(cancelled.is_some());
    });
    first.shutdown_background();
    let second = tokio::runtime::Runtime::new().unwrap();
    second.block_on(async {
        until_closed(directory.path()).await;
        let other = rusqlite::Connection::open(&database).unwrap();
        assert_eq!(ends(&other), 0);
        other.execute_batch("DROP TRIGGER no_end").unwrap();
        let Opened { runs, runner } = open(directory.path(), 1, 10).await;
        assert_eq!(result(&runs, "queued").await.status, Status::Cancelled);
        assert_eq!(error_kind(&result(&runs, "first").await), "host_lost");
        assert_eq!(runner.started.load(Ordering::SeqCst), 0);
    });
}

/// Between the end of a run and the journal's note of it, the host dies.
#[test]
fn what_a_run_with_a_checkpoint_came_to_is_known_although_the_journal_was_not_told() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let mut asked = invocation("it", "keep");
    asked.working_directory = directory.path().to_str().unwrap().to_owned();
    let capture = location(&asked);
    let database = state.join("journal.sqlite");
    let first = tokio::runtime::Runtime::new().unwrap();
    let lock = first.block_on(async {
        let Opened { runs, runner } = open(&state, 1, 10).await;
        submit(&runs, asked.clone()).await;
        until_running(&runs, "it").await;
        let lock = rusqlite::Connection::open(&database).unwrap();
        lock.execute_batch("BEGIN IMMEDIATE").unwrap();
        runner.go.notify_one();
        let deadline = Instant::now() + LIMIT;
        while !capture.join(".result").exists() {
            assert!(Instant::now() < deadline);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let now = Some(Instant::now());
        let waited = runs.wait("it", now).await.unwrap();
        assert!(matches!(waited, Some(Waited::Unfinished(_))), "{waited:?}");
        lock
    });
    first.shutdown_background();
    let second = tokio::runtime::Runtime::new().unwrap();
    second.block_on(async {
        until_closed(&state).await;
        lock.execute_batch("ROLLBACK").unwrap();
        assert_eq!(ends(&lock), 0);
        let Opened { runs, runner } = open(&state, 1, 10).await;
        let ended = result(&runs, "it").await;
        assert_eq!((ended.status, ended.exit_code), (Status::Succeeded, Some(7)));
        assert_eq!(runner.started.load(Ordering::SeqCst), 0);
        runs.idle().await;
        assert!(!capture.exists());
        // Nor is anything left of one whose end is recorded.
        asked.invocation_id = "another".to_owned();
        submit(&runs, asked.clone()).await;
        runner.go.notify_one();
        assert_eq!(result(&runs, "another").await.exit_code, Some(7));
        assert!(!location(&asked).exists());
    });
}

/// How many ends a journal has.
fn ends(database: &rusqlite::Connection) -> i64 {
    let count = "SELECT count(*) FROM runs WHERE result IS NOT NULL";
    database.query_row(count, [], |row| row.get(0)).unwrap()
}

/// Waits until no task of a dead host has the journal.
async fn until_closed(directory: &Path) {
    let deadline = Instant::now() + LIMIT;
    while matches!(Journal::open(directory), Err(JournalError::InUse { .. })) {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_journal_that_cant_be_written_refuses_new_runs_and_loses_no_end() {
    let directory = tempfile::tempdir().unwrap();
    let Opened { runs, .. } = open(directory.path(), 4, 10).await;
    submit(&runs, invocation("under-way", "wait")).await;
    until_running(&runs, "under-way").await;
    let other = rusqlite::Connection::open(directory.path().join("journal.sqlite")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let refused = runs
        .submit(invocation("new", "work"), SubmitOptions::default())
        .await;
    let Err(SubmitError::Journal(error)) = refused else {
        panic!("{refused:?}");
    };
    assert!(error.to_string().contains("locked"), "{error}");
    assert!(runs.trouble().is_some());
    runs.cancel("under-way", CancelReason::Requested).await.unwrap();
    let soon = Some(Instant::now() + Duration::from_millis(300));
    let waited = runs.wait("under-way", soon).await.unwrap();
    assert!(matches!(waited, Some(Waited::Unfinished(_))), "{waited:?}");
    other.execute_batch("ROLLBACK").unwrap();
    // It is noticed without a run that is submitted.
    let deadline = Instant::now() + LIMIT;
    while runs.trouble().is_some() {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(result(&runs, "under-way").await.status, Status::Cancelled);
    assert!(submit(&runs, invocation("new", "work")).await);
    assert_eq!(result(&runs, "new").await.status, Status::Succeeded);
    assert!(runs.trouble().is_none());
}

#[tokio::test]
async fn an_end_that_is_the_first_to_find_the_journal_locked_is_told_when_it_is_recorded() {
    let directory = tempfile::tempdir().unwrap();
    let Opened { runs, runner } = open(directory.path(), 4, 10).await;
    submit(&runs, invocation("it", "go")).await;
    until_running(&runs, "it").await;
    let other = rusqlite::Connection::open(directory.path().join("journal.sqlite")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    runner.go.notify_one();
    let deadline = Instant::now() + LIMIT;
    while runs.trouble().is_none() {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let now = Some(Instant::now());
    assert!(matches!(
        runs.wait("it", now).await.unwrap(),
        Some(Waited::Unfinished(_))
    ));
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(result(&runs, "it").await.status, Status::Succeeded);
}

#[test]
fn a_result_that_a_run_has_written_to_its_file_is_its_end_even_if_the_host_died_just_then() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("result.json");
    let mut asked = invocation("it", "wait");
    asked.output_result_path = Some(file.to_str().unwrap().to_owned());
    let state = directory.path().join("state");
    let first = tokio::runtime::Runtime::new().unwrap();
    first.block_on(async {
        let Opened { runs, .. } = open(&state, 2, 10).await;
        submit(&runs, asked).await;
        until_running(&runs, "it").await;
    });
    first.shutdown_background();
    let written = RuntimeResult {
        status: Status::Succeeded,
        error_summary: None,
        metadata: BTreeMap::new(),
        ..reject(&invocation("it", "wait"), Failure::new(ErrorKind::Cancelled, ""))
    };
    let written = serde_json::to_string(&written).unwrap();
    let second = tokio::runtime::Runtime::new().unwrap();
    second.block_on(async {
        until_closed(&state).await;
        // No task of the first host is left that could write it.
        std::fs::write(&file, &written).unwrap();
        let Opened { runs, .. } = open(&state, 2, 10).await;
        assert_eq!(result(&runs, "it").await.status, Status::Succeeded);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), written);
    });
}

#[tokio::test]
async fn a_journal_that_was_removed_while_it_is_used_accepts_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let Opened { runs, .. } = open(directory.path(), 4, 10).await;
    assert!(submit(&runs, invocation("before", "work")).await);
    result(&runs, "before").await;
    let (path, away) = (
        directory.path().join("journal.sqlite"),
        directory.path().join("away"),
    );
    std::fs::rename(&path, &away).unwrap();
    let refused = runs
        .submit(invocation("it", "work"), SubmitOptions::default())
        .await;
    let Err(SubmitError::Journal(error)) = refused else {
        panic!("{refused:?}");
    };
    assert!(error.to_string().contains("removed or replaced"), "{error}");
    std::fs::rename(&away, &path).unwrap();
    assert!(submit(&runs, invocation("it", "work")).await);
    assert_eq!(result(&runs, "it").await.status, Status::Succeeded);
}

#[tokio::test]
async fn a_journal_that_is_found_to_be_damaged_accepts_nothing_more() {
    let directory = tempfile::tempdir().unwrap();
    let Opened { runs, .. } = open(directory.path(), 4, 10).await;
    for n in 0..200 {
        submit(&runs, invocation(&format!("run-{n}"), "work")).await;
        result(&runs, &format!("run-{n}")).await;
    }
    submit(&runs, invocation("under-way", "wait")).await;
    until_running(&runs, "under-way").await;
    let path = directory.path().join("journal.sqlite");
    damage(&path);
    // It is a reader that comes across it.
    let mut found = None;
    for n in 0..200 {
        found = found.or(runs.get(&format!("run-{n}")).await.err());
    }
    let found = found.expect("a page was overwritten").to_string();
    assert!(found.contains("malformed"), "{found}");
    assert!(
        found.contains("stop what uses the journal and move it away"),
        "{found}"
    );
    assert_eq!(runs.trouble(), Some(found.clone()));
    let refused = runs
        .submit(invocation("new", "work"), SubmitOptions::default())
        .await;
    let Err(SubmitError::Journal(error)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(error.to_string(), found);
    // What is under way still comes to its end.
    runs.cancel("under-way", CancelReason::Requested).await.unwrap();
    assert_eq!(result(&runs, "under-way").await.status, Status::Cancelled);
    assert!(runs.trouble().is_some());
}

/// Overwrites the pages of a database that is in use with the oldest runs.
fn damage(path: &Path) {
    let other = rusqlite::Connection::open(path).unwrap();
    let checkpointed = other.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0));
    assert_eq!(checkpointed, Ok(0));
    let page: u32 = other.query_row("PRAGMA page_size", [], |row| row.get(0)).unwrap();
    let query = "SELECT pageno FROM dbstat WHERE name = 'runs' AND pagetype = 'leaf' ORDER BY pageno LIMIT 3";
    let mut statement = other.prepare(query).unwrap();
    let pages = statement.query_map([], |row| row.get(0)).unwrap();
    let pages: Vec<u32> = pages.map(Result::unwrap).collect();
    assert_eq!(pages.len(), 3);
    let file = std::fs::File::options().write(true).open(path).unwrap();
    let garbage = vec![0xa5; page as usize];
    for number in pages {
        file.write_all_at(&garbage, u64::from(number - 1) * u64::from(page))
            .unwrap();
    }
    // Who has read pages before reads them again.
    other.pragma_update(None, "application_id", 1).unwrap();
}

#[tokio::test]
async fn a_journal_is_one_hosts_and_a_newer_one_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::open(directory.path()).unwrap();
    assert!(matches!(
        Journal::open(directory.path()),
        Err(JournalError::InUse { .. })
    ));
    drop(journal);
    let path = directory.path().join("journal.sqlite");
    rusqlite::Connection::open(&path)
        .unwrap()
        .pragma_update(None, "user_version", 99)
        .unwrap();
    let before = std::fs::read(&path).unwrap();
    let error = Journal::open(directory.path()).unwrap_err();
    assert!(matches!(error, JournalError::Newer { found: 99, .. }), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), before);

    let open_to_all = tempfile::tempdir().unwrap();
    std::fs::set_permissions(
        open_to_all.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o777),
    )
    .unwrap();
    let error = Journal::open(open_to_all.path()).unwrap_err();
    assert!(error.to_string().contains("chmod go-w"), "{error}");
}

#[tokio::test]
async fn pruning_forgets_what_has_ended_and_removes_only_the_directories_that_runs_had() {
    let directory = tempfile::tempdir().unwrap();
    let Opened { runs, .. } = open(&directory.path().join("state"), 2, 10).await;
    for id in ["a", "b", "c", "d"] {
        let document = json!({
            "invocation_id": id, "runtime_name": "test", "runtime_kind": "subprocess",
            "working_directory": directory.path(), "timeout_seconds": 60, "command": ["echo", id],
        });
        submit(
            &runs,
            RuntimeInvocation::from_json(document.to_string().as_bytes()).unwrap(),
        )
        .await;
        result(&runs, id).await;
    }
    submit(&runs, invocation("under-way", "wait")).await;
    let captures = directory.path().join(".executor_runtime");
    // A later run, of which this host knows nothing, has had the directory of one.
    std::fs::remove_file(captures.join("c/stdout.txt")).unwrap();
    std::fs::write(captures.join("c/stdout.txt"), "later").unwrap();
    // Another directory has taken the place of one.
    std::fs::rename(captures.join("b"), captures.join("elsewhere")).unwrap();
    // A file of someone else's is among what one has left.
    std::fs::write(captures.join("d/notes"), "mine").unwrap();
    std::fs::create_dir(captures.join("b")).unwrap();

    let none = runs
        .prune(Prune {
            older_than: Some(LIMIT),
            keep: Some(4),
            captures: true,
        })
        .await
        .unwrap();
    assert_eq!(none.runs, 0);
    let pruned = runs
        .prune(Prune {
            older_than: Some(Duration::ZERO),
            keep: None,
            captures: true,
        })
        .await
        .unwrap();
    assert_eq!((pruned.runs, pruned.captures, pruned.captures_kept), (4, 1, 3));
    assert!(!captures.join("a").exists());
    assert_eq!(std::fs::read_to_string(captures.join("d/notes")).unwrap(), "mine");
    assert!(!captures.join("d/stdout.txt").exists());
    assert!(captures.join("b").exists());
    assert!(captures.join("elsewhere/stdout.txt").exists());
    assert!(runs.get("a").await.unwrap().is_none());
    assert!(runs.get("under-way").await.unwrap().is_some());
    runs.cancel("under-way", CancelReason::Immediate).await.unwrap();
    result(&runs, "under-way").await;
}

#[tokio::test]
async fn only_the_last_attempt_is_the_end_of_a_run_and_one_without_success_is_forgotten_when_asked_for_again()
{
    let directory = tempfile::tempdir().unwrap();
    let open = |retries| {
        let journal = Journal::open_for_results(directory.path()).unwrap();
        let attempts = Attempts { retries, waits: 0 };
        open_with(
            journal,
            1,
            RunsOptions {
                max_queued: 10,
                attempts,
            },
        )
    };
    let again = SubmitOptions {
        again: true,
        ..SubmitOptions::default()
    };
    {
        let Opened { runs, runner } = open(2).await;
        let first = runs.complete(invocation("a", "flaky"), again).await.unwrap();
        assert_eq!(first.result.metadata["batch.attempts"], "3");
        assert_eq!(first.result.status, Status::Succeeded);
        // It fails at its first attempt, and at its second; that it did in this host is known.
        let failed = runs.complete(invocation("b", "panic"), again).await.unwrap();
        let same = runs.complete(invocation("b", "panic"), again).await.unwrap();
        assert_eq!((failed.is_new, same.is_new), (true, false));
        assert_eq!(failed.number, same.number);
        assert_eq!(runner.started.load(Ordering::SeqCst), 4);
    }
    let Opened { runs, runner } = open(2).await;
    // An end is final, unless it is asked for again.
    let options = SubmitOptions::default();
    let failed = runs.complete(invocation("b", "panic"), options).await.unwrap();
    assert!(!failed.is_new);
    let conflict = runs.complete(invocation("b", "other"), options).await;
    assert!(
        matches!(conflict, Err(SubmitError::Conflict { .. })),
        "{conflict:?}"
    );
    for (id, work, is_new) in [("a", "flaky", false), ("b", "other", true), ("b", "other", false)] {
        let done = runs.complete(invocation(id, work), again).await.unwrap();
        assert_eq!(
            (done.is_new, done.result.status),
            (is_new, Status::Succeeded),
            "{id}"
        );
    }
    assert_eq!(runner.started.load(Ordering::SeqCst), 1);
    runs.forget(&[runs
        .complete(invocation("a", "flaky"), again)
        .await
        .unwrap()
        .number])
        .await
        .unwrap();
    assert!(runs.get("a").await.unwrap().is_none());
}

#[tokio::test]
async fn all_runs_are_cancelled_those_that_wait_included() {
    let directory = tempfile::tempdir().unwrap();
    let Opened { runs, .. } = open(directory.path(), 1, 10).await;
    for id in ["a", "b"] {
        submit(&runs, invocation(id, "wait")).await;
    }
    until_running(&runs, "a").await;
    runs.cancel_all(CancelReason::Requested);
    for id in ["a", "b"] {
        assert_eq!(result(&runs, id).await.status, Status::Cancelled);
    }
    runs.idle().await;
}
