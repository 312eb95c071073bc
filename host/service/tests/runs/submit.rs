//! How runs come to run: accepted once, queued within bounds, cancelled, tried again.

use super::*;

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
