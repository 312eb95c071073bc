//! What a host makes of the runs that a dead one has left.

use super::*;

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
        tokio::time::sleep_until(expires).await;
        until_closed(directory.path()).await;
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
        until("the result being kept", || capture.join(".result").exists()).await;
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
    let is_in_use = || matches!(Journal::open(directory), Err(JournalError::InUse { .. }));
    until("the journal being closed", || !is_in_use()).await;
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

/// The file of the result was written, and the host died before the checkpoint gave way to the result.
#[test]
fn a_run_that_has_written_its_result_to_its_file_does_not_go_on_from_its_checkpoint() {
    let directory = tempfile::tempdir().unwrap();
    let (state, file) = (
        directory.path().join("state"),
        directory.path().join("result.json"),
    );
    let mut asked = invocation("it", "wait");
    asked.working_directory = directory.path().to_str().unwrap().to_owned();
    asked.output_result_path = Some(file.to_str().unwrap().to_owned());
    let first = tokio::runtime::Runtime::new().unwrap();
    first.block_on(async {
        let Opened { runs, .. } = open(&state, 2, 10).await;
        submit(&runs, asked.clone()).await;
        until_running(&runs, "it").await;
    });
    first.shutdown_background();
    let second = tokio::runtime::Runtime::new().unwrap();
    second.block_on(async {
        until_closed(&state).await;
        let capture = CaptureDirectory::open(&asked).unwrap();
        let kept = FinishedArtifacts::default().checkpoint(&capture, Fingerprint::of(&asked), b"half of it");
        kept.unwrap();
        drop(capture);
        let written = RuntimeResult {
            status: Status::Succeeded,
            error_summary: None,
            metadata: BTreeMap::new(),
            ..reject(&asked, Failure::new(ErrorKind::Cancelled, ""))
        };
        std::fs::write(&file, serde_json::to_string(&written).unwrap()).unwrap();
        let Opened { runs, runner } = open(&state, 2, 10).await;
        assert_eq!(*result(&runs, "it").await, written);
        assert_eq!(runner.started.load(Ordering::SeqCst), 0);
        runs.idle().await;
        assert!(!location(&asked).exists());
    });
}

/// Runs are to stop while the journal can't be written: who waits for the result has it, and the next host, too.
#[test]
fn a_result_that_the_journal_was_not_waited_for_is_known_to_the_next_host() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let mut asked = invocation("it", "keep");
    asked.working_directory = directory.path().to_str().unwrap().to_owned();
    let options = || RunsOptions {
        max_queued: 10,
        attempts: Attempts::default(),
    };
    let first = tokio::runtime::Runtime::new().unwrap();
    let lock = first.block_on(async {
        let journal = Journal::open_for_results(&state).unwrap();
        let Opened { runs, runner } = open_with(journal, 1, options()).await;
        submit(&runs, asked.clone()).await;
        until("the run being started", || {
            runner.started.load(Ordering::SeqCst) > 0
        })
        .await;
        let lock = rusqlite::Connection::open(state.join("journal.sqlite")).unwrap();
        lock.execute_batch("BEGIN IMMEDIATE").unwrap();
        runner.go.notify_one();
        until("the result being kept", || {
            location(&asked).join(".result").exists()
        })
        .await;
        runs.cancel_all(CancelReason::Requested);
        assert_eq!(result(&runs, "it").await.exit_code, Some(7));
        lock
    });
    first.shutdown_background();
    let second = tokio::runtime::Runtime::new().unwrap();
    second.block_on(async {
        until_closed(&state).await;
        lock.execute_batch("ROLLBACK").unwrap();
        assert_eq!(ends(&lock), 0);
        let journal = Journal::open_for_results(&state).unwrap();
        let Opened { runs, runner } = open_with(journal, 1, options()).await;
        assert_eq!(result(&runs, "it").await.exit_code, Some(7));
        assert_eq!(runner.started.load(Ordering::SeqCst), 0);
    });
}
