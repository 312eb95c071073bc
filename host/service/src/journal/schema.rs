//! The tables of the journal, and how one of an earlier version becomes one of this.

use rusqlite::Connection;

/// What turns a journal of each version into one of the next; `user_version` is how many it has had.
const MIGRATIONS: [&str; 1] = [
    // Times are microseconds after 1970. A run that has not ended has no `result`.
    "CREATE TABLE runs (
        run INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        name TEXT NOT NULL,
        kind TEXT NOT NULL,
        status TEXT NOT NULL,
        fingerprint BLOB NOT NULL,
        invocation TEXT NOT NULL,
        accepted_at INTEGER NOT NULL,
        queue_until INTEGER,
        is_cancelled INTEGER NOT NULL DEFAULT FALSE,
        started_at INTEGER,
        finished_at INTEGER,
        result TEXT,
        capture_path TEXT,
        capture_marker BLOB
    ) STRICT;
    CREATE INDEX unfinished ON runs (run) WHERE result IS NULL;
    CREATE INDEX by_status ON runs (status, run);
    CREATE INDEX by_finish ON runs (finished_at) WHERE result IS NOT NULL;
    CREATE TABLE events (
        run INTEGER NOT NULL REFERENCES runs (run) ON DELETE CASCADE,
        sequence INTEGER NOT NULL,
        at INTEGER NOT NULL,
        type TEXT NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (run, sequence)
    ) STRICT, WITHOUT ROWID;",
];

/// Does without the indexes that only lists of runs and forgetting by age need.
pub(super) fn drop_indexes_for_lists(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch("DROP INDEX IF EXISTS by_status; DROP INDEX IF EXISTS by_finish;")
}

/// The version of the journals that this host writes.
pub(super) const VERSION: usize = MIGRATIONS.len();

/// The version of a journal.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<usize> {
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    Ok(usize::try_from(version).unwrap_or(usize::MAX))
}

/// Brings a journal of version `from` up to date, all at once or not at all.
pub(super) fn migrate(connection: &mut Connection, from: usize) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for migration in MIGRATIONS.iter().skip(from) {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "user_version", i64::try_from(VERSION).unwrap_or(i64::MAX))?;
    transaction.commit()
}
