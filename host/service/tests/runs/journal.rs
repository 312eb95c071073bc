//! A journal that can't be written, is damaged, is pruned, or is another host's.

use super::*;

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
    until("the journal being written to again", || runs.trouble().is_none()).await;
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
    until("the trouble being noticed", || runs.trouble().is_some()).await;
    let now = Some(Instant::now());
    assert!(matches!(
        runs.wait("it", now).await.unwrap(),
        Some(Waited::Unfinished(_))
    ));
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(result(&runs, "it").await.status, Status::Succeeded);
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
