//! What is known of runs after the host that had them has died: an SQLite database in a directory of the host's own.
//!
//! One thread writes ([`writer`]): all that came in while it was busy is one transaction, so that many runs at a time cost
//! few commits. Reading goes through connections of its own ([`query`]) and holds up nothing. The log is written ahead
//! (WAL) and not forced to the disk at each commit: the death of the process loses nothing, a loss of power may lose the
//! newest transactions and corrupts nothing.
//!
//! A journal belongs to one host at a time, which holds a lock on it. One that a newer version has written is refused and
//! left as it is.

mod query;
mod schema;
mod writer;

pub(crate) use query::Unfinished;
pub use query::{Cursor, Filter, JournalContents, Page};
pub(crate) use writer::{Accepted, Capture, Committed, End, NewRun, Told, Written};

use nix::fcntl::{Flock, FlockArg};
use rusqlite::{Connection, OpenFlags};
use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::Semaphore;
use writer::Writer;

const DATABASE: &str = "journal.sqlite";
const LOCK: &str = "journal.lock";
/// How long a connection waits for another process that holds the database, such as a backup, before that is an error.
const BUSY: Duration = Duration::from_millis(500);
/// How much of a journal of results is written before the disk has to have it, in pages of 4 KiB.
const PAGES_BETWEEN_CHECKPOINTS: i64 = 4000;
/// How many read at a time, each with a connection of its own.
const MAX_READERS: usize = 8;

/// Why the journal can't be used.
#[derive(Clone, Debug, thiserror::Error)]
pub enum JournalError {
    /// Another host has it.
    #[error(
        "another host uses the journal in '{}'; end it, or give this one a directory of its own with --state-dir",
        path.display()
    )]
    InUse {
        /// Its directory.
        path: PathBuf,
    },
    /// The directory is another user's, or others may write in it.
    #[error("the journal's directory '{}' {reason}", path.display())]
    Untrusted {
        /// The directory.
        path: PathBuf,
        /// Why, as a sentence that goes after its path.
        reason: String,
    },
    /// A newer version has written it.
    #[error(
        "the journal '{}' is of version {found}, and this host knows {known} at most; use the newer host, or give this one another directory",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: usize,
        /// The newest that is known here.
        known: usize,
    },
    /// It can't be read or written.
    #[error("the journal '{}' can't be used: {reason}", path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// What the database says.
        reason: String,
    },
}

/// What a journal keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeps {
    /// All there is.
    All,
    /// Runs and their results.
    Results,
}

/// The number of a run in its journal; the later a run was accepted, the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunNumber(pub(crate) i64);

/// The journal of one host.
pub struct Journal {
    path: PathBuf,
    /// Of the newest run that earlier hosts have left, or 0.
    newest_of_earlier_hosts: i64,
    keeps: Keeps,
    writer: Writer,
    readers: Arc<Mutex<Vec<Connection>>>,
    reading: Semaphore,
    _lock: Flock<File>,
}

impl Journal {
    /// Opens the journal in `directory`, which is made if it is not there, for this user alone. Blocks.
    ///
    /// # Errors
    /// When another host has it, it is of a newer version, others may write to it, or it can't be read and written.
    pub fn open(directory: &Path) -> Result<Self, JournalError> {
        Self::open_to_keep(directory, Keeps::All)
    }

    /// The same for runs that are neither followed nor listed, which costs less: it keeps no events, not where runs have left
    /// their output, and no indexes for lists.
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub fn open_for_results(directory: &Path) -> Result<Self, JournalError> {
        Self::open_to_keep(directory, Keeps::Results)
    }

    fn open_to_keep(directory: &Path, keeps: Keeps) -> Result<Self, JournalError> {
        make_private_directory(directory)?;
        let lock = lock(directory)?;
        let path = directory.join(DATABASE);
        let connection = open_to_write(&path, keeps).map_err(|error| match error {
            Opening::Newer(found) => JournalError::Newer {
                path: path.clone(),
                found,
                known: schema::VERSION,
            },
            Opening::Failed(error) => failed(&path, &error),
        })?;
        let newest = "SELECT coalesce(max(run), 0) FROM runs";
        let newest = connection.query_row(newest, [], |row| row.get(0));
        let newest_of_earlier_hosts = newest.map_err(|error| failed(&path, &error))?;
        let writer =
            Writer::start(connection, path.clone(), keeps).map_err(|error| JournalError::Failed {
                path: path.clone(),
                reason: error.to_string(),
            })?;
        Ok(Self {
            path,
            newest_of_earlier_hosts,
            keeps,
            writer,
            readers: Arc::default(),
            reading: Semaphore::new(MAX_READERS),
            _lock: lock,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn newest_of_earlier_hosts(&self) -> i64 {
        self.newest_of_earlier_hosts
    }

    /// Whether it keeps more than results.
    pub(crate) fn keeps_all(&self) -> bool {
        self.keeps == Keeps::All
    }

    pub(crate) fn writer(&self) -> &Writer {
        &self.writer
    }

    /// What a query comes to. Blocks.
    fn read_now<T>(&self, query: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, JournalError> {
        ask(&self.path, &self.readers, &self.writer.trouble_noted(), query)
    }

    /// What a query comes to, on a thread that may block.
    async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, JournalError> {
        // It is never closed.
        let _turn = self.reading.acquire().await;
        let (readers, path) = (Arc::clone(&self.readers), self.path.clone());
        let trouble = self.writer.trouble_noted();
        let work = move || ask(&path, &readers, &trouble, query);
        let answer = executor_runtime_run::exhaustion::run_blocking(work).await;
        answer.map_err(|error| JournalError::Failed {
            path: self.path.clone(),
            reason: error.to_string(),
        })?
    }
}

/// What a query comes to, with a connection that is kept for the next. Blocks.
fn ask<T>(
    path: &Path,
    readers: &Mutex<Vec<Connection>>,
    trouble: &writer::Trouble,
    query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> Result<T, JournalError> {
    let kept = readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let connection = match kept {
        Some(connection) => connection,
        None => open_to_read(path).map_err(|error| failed(path, &error))?,
    };
    let answer = query(&connection).map_err(|error| {
        let is_damaged = is_damage(&error);
        let error = failed(path, &error);
        if is_damaged {
            trouble.note_damage(&error);
        }
        error
    })?;
    readers
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(connection);
    Ok(answer)
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// The error of a database as one of the journal's.
pub(super) fn failed(path: &Path, error: &rusqlite::Error) -> JournalError {
    let reason = match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DiskFull) => "the disk is full; free some space".to_owned(),
        Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => {
            "another process holds it locked; end that".to_owned()
        }
        Some(rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt) => {
            format!("{error}; stop what uses the journal and move it away: a new one is made")
        }
        _ => error.to_string(),
    };
    JournalError::Failed {
        path: path.to_owned(),
        reason,
    }
}

/// Whether what is in the file can't be right.
fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
}

/// Makes the directory, and checks that only this user and root can change what is in it.
fn make_private_directory(path: &Path) -> Result<(), JournalError> {
    let unusable = |error: &io::Error| JournalError::Failed {
        path: path.to_owned(),
        reason: error.to_string(),
    };
    let untrusted = |reason: String| JournalError::Untrusted {
        path: path.to_owned(),
        reason,
    };
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(path).map_err(|error| unusable(&error))?;
    let found = fs::metadata(path).map_err(|error| unusable(&error))?;
    let user = nix::unistd::geteuid().as_raw();
    if found.uid() != user {
        return Err(untrusted(format!(
            "belongs to user {}, not to the user of this host ({user})",
            found.uid()
        )));
    }
    if found.mode() & 0o022 != 0 {
        return Err(untrusted(format!(
            "can be written to by other users (mode {:04o}); run: chmod go-w '{}'",
            found.mode() & 0o7777,
            path.display()
        )));
    }
    Ok(())
}

fn lock(directory: &Path) -> Result<Flock<File>, JournalError> {
    let path = directory.join(LOCK);
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&path)
        .map_err(|error| JournalError::Failed {
            path: path.clone(),
            reason: error.to_string(),
        })?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| JournalError::InUse {
        path: directory.to_owned(),
    })
}

enum Opening {
    Newer(usize),
    Failed(rusqlite::Error),
}

impl From<rusqlite::Error> for Opening {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(error)
    }
}

fn open_to_write(path: &Path, keeps: Keeps) -> Result<Connection, Opening> {
    // SQLite gives its other files the mode of this one: invocations may have secrets in them.
    let made = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path);
    drop(made);
    let mut connection = open(path)?;
    let version = schema::version(&connection)?;
    if version > schema::VERSION {
        return Err(Opening::Newer(version));
    }
    if version == 0 {
        // Nothing is in it that could be lost.
        connection.pragma_update(None, "synchronous", "OFF")?;
    }
    connection.pragma_update(None, "journal_mode", "WAL")?;
    if version < schema::VERSION {
        schema::migrate(&mut connection, version)?;
    }
    if keeps == Keeps::Results {
        schema::drop_indexes_for_lists(&connection)?;
        connection.pragma_update(None, "wal_autocheckpoint", PAGES_BETWEEN_CHECKPOINTS)?;
    }
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

fn open_to_read(path: &Path) -> rusqlite::Result<Connection> {
    let connection = open(path)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    // Each connection is one thread's at a time.
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    Ok(connection)
}
