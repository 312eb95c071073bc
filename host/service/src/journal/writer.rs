//! The thread that writes the journal.
//!
//! What has been asked for when a transaction begins is in it, so that one commit serves many runs. When the journal can't be
//! written, a new run is refused; what has happened to runs that were accepted is kept and tried again until it can be
//! written.
//!
//! A journal that was found to be damaged is written as far as that goes, for the runs that it has, and takes no new ones: it
//! could not be relied on to know of them.

use super::{JournalError, Keeps, failed, is_damage, schema::VERSION};
use crate::event::EventRecord;
use executor_runtime::protocol::Status;
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};
use tokio::sync::{oneshot, watch};

/// Most that goes into one transaction.
const MAX_BATCH: usize = 1024;
/// How long the thread waits before it tries again to write what it could not.
const RETRY: Duration = Duration::from_millis(200);

/// A run that is to be accepted.
pub(crate) struct NewRun {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) fingerprint: Vec<u8>,
    pub(crate) invocation: String,
    pub(crate) accepted: EventRecord,
    /// The event of its start, if it begins with that.
    pub(crate) started: Option<EventRecord>,
    /// Where the journal has it with another end than success, of a run with this number at most, that one is forgotten.
    pub(crate) again_up_to: Option<i64>,
    /// Until when it may wait for its turn, in microseconds after 1970.
    pub(crate) queue_until: Option<i64>,
}

/// What became of a run that was to be accepted.
#[derive(Debug)]
pub(crate) enum Accepted {
    /// It is in the journal.
    New {
        /// Its number.
        number: i64,
        /// Whether an earlier one had to go for it.
        is_again: bool,
    },
    /// It was there already.
    Same,
    /// Another invocation has its id.
    Conflict,
}

/// Where a run's capture directory is, and what tells it from another at the same place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Capture {
    pub(crate) path: String,
    pub(crate) marker: Vec<u8>,
}

/// How a run ended.
pub(crate) struct End {
    pub(crate) status: Status,
    pub(crate) result: String,
    pub(crate) capture: Option<Capture>,
}

/// An event of a run, and who is told when it is in the journal.
pub(crate) struct Told {
    pub(crate) run: i64,
    pub(crate) event: EventRecord,
    pub(crate) committed: Committed,
}

/// The sequence number of the last event of a run that the journal has.
pub(crate) type Committed = Arc<watch::Sender<u64>>;

/// Told when it is in the journal.
type Reply<T> = oneshot::Sender<Result<T, JournalError>>;

enum Write {
    Accept {
        run: Box<NewRun>,
        reply: Reply<Accepted>,
    },
    Start {
        told: Told,
        done: oneshot::Sender<()>,
    },
    Cancel {
        run: i64,
        done: oneshot::Sender<()>,
    },
    Event {
        told: Told,
        /// The number of an event that this one takes the place of.
        replaces: Option<u64>,
    },
    End {
        told: Told,
        end: Box<End>,
        done: oneshot::Sender<()>,
    },
    Forget {
        runs: Vec<i64>,
        reply: Reply<()>,
    },
}

/// What is going to be in the journal.
pub(crate) struct Written(oneshot::Receiver<()>);

impl Written {
    /// Waits until it is, however long that takes. False if it never will be, because this process ends.
    pub(crate) async fn wait(self) -> bool {
        self.0.await.is_ok()
    }
}

/// Hands work to the thread, which ends when this is dropped and all has been written.
pub(crate) struct Writer {
    queue: Option<mpsc::Sender<Write>>,
    thread: Option<thread::JoinHandle<()>>,
    trouble: Arc<Trouble>,
    path: PathBuf,
}

/// Why no run can be accepted, if that is so.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    /// It can't be written at the moment.
    passing: Mutex<Option<JournalError>>,
    /// What is in it can't be right, and that does not pass.
    damage: OnceLock<JournalError>,
}

impl Trouble {
    /// What is in the journal was found not to be right.
    pub(super) fn note_damage(&self, error: &JournalError) {
        if self.damage.set(error.clone()).is_ok() {
            tracing::error!("{error}; no run is accepted any more");
        }
    }

    fn now(&self) -> Option<JournalError> {
        let passing = self.passing.lock().unwrap_or_else(PoisonError::into_inner);
        self.damage.get().or(passing.as_ref()).cloned()
    }
}

impl Writer {
    pub(super) fn start(connection: Connection, path: PathBuf, keeps: Keeps) -> io::Result<Self> {
        let (queue, work) = mpsc::channel();
        let trouble = Arc::<Trouble>::default();
        let thread = Thread {
            identity: identity(&path),
            connection,
            keeps,
            path: path.clone(),
            work,
            kept: Vec::new(),
            trouble: Arc::clone(&trouble),
        };
        let thread = thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || thread.run())?;
        Ok(Self {
            queue: Some(queue),
            thread: Some(thread),
            trouble,
            path,
        })
    }

    /// Why it can't be written at the moment.
    pub(crate) fn trouble(&self) -> Option<JournalError> {
        self.trouble.now()
    }

    /// Whether what is in the journal was found not to be right, which does not pass.
    pub(crate) fn is_damaged(&self) -> bool {
        self.trouble.damage.get().is_some()
    }

    pub(super) fn trouble_noted(&self) -> Arc<Trouble> {
        Arc::clone(&self.trouble)
    }

    /// Enters a run, unless its id is there already.
    pub(crate) async fn accept(&self, run: NewRun) -> Result<Accepted, JournalError> {
        let (reply, answer) = oneshot::channel();
        let run = Box::new(run);
        self.send(Write::Accept { run, reply });
        self.answer(answer).await
    }

    /// Notes that a run starts, with the event that says so.
    pub(crate) fn start_run(&self, told: Told) -> Written {
        let (done, written) = oneshot::channel();
        self.send(Write::Start { told, done });
        Written(written)
    }

    /// Notes that a run was told to stop.
    pub(crate) fn cancel_run(&self, run: i64) -> Written {
        let (done, written) = oneshot::channel();
        self.send(Write::Cancel { run, done });
        Written(written)
    }

    /// Notes an event, some time soon.
    pub(crate) fn event(&self, told: Told, replaces: Option<u64>) {
        self.send(Write::Event { told, replaces });
    }

    /// Notes the end of a run, with the event that says so.
    pub(crate) fn end_run(&self, told: Told, end: End) -> Written {
        let (done, written) = oneshot::channel();
        let end = Box::new(end);
        self.send(Write::End { told, end, done });
        Written(written)
    }

    /// Removes runs that have ended.
    pub(crate) async fn forget(&self, runs: Vec<i64>) -> Result<(), JournalError> {
        let (reply, answer) = oneshot::channel();
        self.send(Write::Forget { runs, reply });
        self.answer(answer).await
    }

    fn send(&self, write: Write) {
        // The thread lives as long as this does.
        if let Some(queue) = &self.queue {
            let _ = queue.send(write);
        }
    }

    async fn answer<T>(&self, answer: oneshot::Receiver<Result<T, JournalError>>) -> Result<T, JournalError> {
        answer.await.unwrap_or_else(|_| {
            Err(JournalError::Failed {
                path: self.path.clone(),
                reason: "the thread that writes it has ended".to_owned(),
            })
        })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Thread {
    connection: Connection,
    keeps: Keeps,
    path: PathBuf,
    /// Of the file that is open.
    identity: Option<(u64, u64)>,
    work: mpsc::Receiver<Write>,
    /// What could not be written yet, in order.
    kept: Vec<Write>,
    trouble: Arc<Trouble>,
}

impl Thread {
    fn run(mut self) {
        loop {
            let mut is_over = false;
            let mut batch = std::mem::take(&mut self.kept);
            let is_in_trouble = self.is_in_trouble();
            let first = if is_in_trouble {
                self.work.recv_timeout(RETRY)
            } else {
                self.work.recv().map_err(|_| RecvTimeoutError::Disconnected)
            };
            match first {
                Ok(first) => {
                    batch.push(first);
                    // What is kept is made as little as it can be, so all that comes is looked at then.
                    let most = if is_in_trouble { usize::MAX } else { MAX_BATCH };
                    batch.extend(self.work.try_iter().take(most));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => is_over = true,
            }
            self.write(batch, is_in_trouble);
            if is_over {
                return;
            }
        }
    }

    fn write(&mut self, batch: Vec<Write>, is_in_trouble: bool) {
        if batch.is_empty() && !is_in_trouble {
            return;
        }
        let batch = match self.trouble.damage.get() {
            Some(damage) => batch
                .into_iter()
                .filter_map(|write| match write {
                    Write::Accept { .. } => refuse(write, damage),
                    other => Some(other),
                })
                .collect(),
            None => batch,
        };
        if !self.is_in_place() {
            let reason =
                "it was removed or replaced while this host uses it; put it back, or restart the host";
            return self.put_off(
                batch,
                JournalError::Failed {
                    path: self.path.clone(),
                    reason: reason.to_owned(),
                },
            );
        }
        match commit(&mut self.connection, self.keeps, &batch, is_in_trouble) {
            Ok(answers) => {
                self.note(None);
                for (write, answer) in batch.into_iter().zip(answers) {
                    tell(write, answer);
                }
            }
            Err(error) if may_pass(&error) => {
                let error = failed(&self.path, &error);
                self.put_off(batch, error);
            }
            Err(_) if batch.len() > 1 => {
                // One of them can't be written at all, and the others must not wait for it.
                for write in batch {
                    self.write(vec![write], false);
                }
            }
            Err(error) => {
                let is_damaged = is_damage(&error);
                let error = failed(&self.path, &error);
                if is_damaged {
                    self.trouble.note_damage(&error);
                }
                tracing::error!("a record is left out: {error}");
                for lost in batch.into_iter().filter_map(|write| refuse(write, &error)) {
                    tell(lost, Answer::Done);
                }
            }
        }
    }

    /// Refuses what was asked for, and keeps what has happened.
    fn put_off(&mut self, batch: Vec<Write>, error: JournalError) {
        self.note(Some(error.clone()));
        for happened in batch.into_iter().filter_map(|write| refuse(write, &error)) {
            self.keep(happened);
        }
    }

    /// Whether its path still leads to the file that is open.
    fn is_in_place(&self) -> bool {
        identity(&self.path) == self.identity
    }

    fn is_in_trouble(&self) -> bool {
        let passing = self.trouble.passing.lock();
        passing.unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Keeps what has to be written later. Of events that take each other's place only the last is kept.
    fn keep(&mut self, write: Write) {
        let Write::Event {
            told,
            replaces: Some(replaced),
        } = write
        else {
            return self.kept.push(write);
        };
        let before = self.kept.iter().rposition(
            |kept| matches!(kept, Write::Event { told: other, .. } if other.run == told.run && other.event.sequence == replaced),
        );
        let replaces = match before.map(|position| self.kept.remove(position)) {
            // That one was never written: this takes the place of what it was to take the place of.
            Some(Write::Event { replaces, .. }) => replaces,
            _ => Some(replaced),
        };
        self.kept.push(Write::Event { told, replaces });
    }

    fn note(&self, trouble: Option<JournalError>) {
        let noted = self.trouble.passing.lock();
        let mut noted = noted.unwrap_or_else(PoisonError::into_inner);
        match (&*noted, &trouble) {
            (None, Some(error)) => tracing::error!("{error}; no run is accepted until it can be written"),
            (Some(_), None) => tracing::info!("the journal can be written again"),
            _ => {}
        }
        *noted = trouble;
    }
}

/// File system and inode.
fn identity(path: &Path) -> Option<(u64, u64)> {
    let found = fs::metadata(path).ok()?;
    Some((found.dev(), found.ino()))
}

/// What a write came to.
enum Answer {
    Accepted(Accepted),
    Done,
}

/// Whether the same may be written later: the disk is full, or another process holds the journal.
fn may_pass(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{
        CannotOpen, DatabaseBusy, DatabaseLocked, DiskFull, OutOfMemory, PermissionDenied, ReadOnly,
        SystemIoFailure,
    };
    error.sqlite_error_code().is_some_and(|code| {
        matches!(
            code,
            CannotOpen
                | DatabaseBusy
                | DatabaseLocked
                | DiskFull
                | OutOfMemory
                | PermissionDenied
                | ReadOnly
                | SystemIoFailure
        )
    })
}

/// Tells those who asked that it can't be; what has happened is returned.
fn refuse(write: Write, error: &JournalError) -> Option<Write> {
    match write {
        Write::Accept { reply, .. } => drop(reply.send(Err(error.clone()))),
        Write::Forget { reply, .. } => drop(reply.send(Err(error.clone()))),
        happened => return Some(happened),
    }
    None
}

/// Writes all of it or nothing; something at least, if it is to be tried whether that can be done.
fn commit(
    connection: &mut Connection,
    keeps: Keeps,
    batch: &[Write],
    is_trial: bool,
) -> rusqlite::Result<Vec<Answer>> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    if is_trial {
        let version = i64::try_from(VERSION).unwrap_or(i64::MAX);
        transaction.pragma_update(None, "user_version", version)?;
    }
    let answers: rusqlite::Result<Vec<_>> = batch
        .iter()
        .map(|write| apply(&transaction, keeps, write))
        .collect();
    let answers = answers?;
    transaction.commit()?;
    Ok(answers)
}

fn apply(transaction: &Transaction<'_>, keeps: Keeps, write: &Write) -> rusqlite::Result<Answer> {
    match write {
        Write::Accept { run, .. } => return accept(transaction, keeps, run).map(Answer::Accepted),
        Write::Start { told, .. } => {
            let mut statement = transaction
                .prepare_cached("UPDATE runs SET status = 'running', started_at = ?2 WHERE run = ?1")?;
            statement.execute(params![told.run, told.event.time.unix_micros()])?;
            insert_event(transaction, keeps, told.run, &told.event)?;
        }
        Write::Cancel { run, .. } => {
            let mut statement =
                transaction.prepare_cached("UPDATE runs SET is_cancelled = TRUE WHERE run = ?1")?;
            statement.execute([run])?;
        }
        Write::Event { told, replaces } => {
            if let Some(replaced) = replaces {
                let mut statement =
                    transaction.prepare_cached("DELETE FROM events WHERE run = ?1 AND sequence = ?2")?;
                statement.execute(params![told.run, sequence(*replaced)])?;
            }
            insert_event(transaction, keeps, told.run, &told.event)?;
        }
        Write::End { told, end, .. } => {
            let mut statement = transaction.prepare_cached(
                "UPDATE runs SET status = ?2, finished_at = ?3, result = ?4, capture_path = ?5, capture_marker = ?6
                 WHERE run = ?1 AND result IS NULL",
            )?;
            let capture = end.capture.as_ref();
            let ended = statement.execute(params![
                told.run,
                end.status.as_str(),
                told.event.time.unix_micros(),
                end.result,
                capture.map(|capture| &capture.path),
                capture.map(|capture| &capture.marker),
            ])?;
            // An end is final.
            if ended == 1 {
                insert_event(transaction, keeps, told.run, &told.event)?;
            }
        }
        Write::Forget { runs, .. } => {
            let mut statement =
                transaction.prepare_cached("DELETE FROM runs WHERE run = ?1 AND result IS NOT NULL")?;
            for run in runs {
                statement.execute([run])?;
            }
        }
    }
    Ok(Answer::Done)
}

fn accept(transaction: &Transaction<'_>, keeps: Keeps, run: &NewRun) -> rusqlite::Result<Accepted> {
    let is_again = match there(transaction, run)? {
        None => false,
        Some(there) if there.may_be_replaced_by(run) => {
            let mut statement = transaction.prepare_cached("DELETE FROM runs WHERE run = ?1")?;
            statement.execute([there.run])?;
            true
        }
        Some(there) if there.fingerprint == run.fingerprint => return Ok(Accepted::Same),
        Some(_) => return Ok(Accepted::Conflict),
    };
    let mut statement = transaction.prepare_cached(
        "INSERT INTO runs (id, name, kind, status, fingerprint, invocation, accepted_at, queue_until, started_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    let status = match run.started {
        Some(_) => Status::Running,
        None => Status::Pending,
    };
    let number = statement.insert(params![
        run.id,
        run.name,
        run.kind,
        status.as_str(),
        run.fingerprint,
        run.invocation,
        run.accepted.time.unix_micros(),
        run.queue_until,
        run.started.as_ref().map(|started| started.time.unix_micros()),
    ])?;
    insert_event(transaction, keeps, number, &run.accepted)?;
    if let Some(started) = &run.started {
        insert_event(transaction, keeps, number, started)?;
    }
    Ok(Accepted::New { number, is_again })
}

/// What the journal has under an id.
struct There {
    run: i64,
    fingerprint: Vec<u8>,
    is_unsuccessful: bool,
}

impl There {
    fn may_be_replaced_by(&self, run: &NewRun) -> bool {
        self.is_unsuccessful && run.again_up_to.is_some_and(|newest| self.run <= newest)
    }
}

fn there(transaction: &Transaction<'_>, run: &NewRun) -> rusqlite::Result<Option<There>> {
    let mut statement = transaction.prepare_cached(
        "SELECT run, fingerprint, result IS NOT NULL AND status <> 'succeeded' FROM runs WHERE id = ?1",
    )?;
    let there = statement.query_row([&run.id], |row| {
        Ok(There {
            run: row.get(0)?,
            fingerprint: row.get(1)?,
            is_unsuccessful: row.get(2)?,
        })
    });
    there.optional()
}

fn insert_event(
    transaction: &Transaction<'_>,
    keeps: Keeps,
    run: i64,
    event: &EventRecord,
) -> rusqlite::Result<()> {
    if keeps == Keeps::Results {
        return Ok(());
    }
    // The run may have been forgotten.
    let mut statement = transaction.prepare_cached(
        "INSERT OR IGNORE INTO events (run, sequence, at, type, body)
         SELECT ?1, ?2, ?3, ?4, ?5 WHERE EXISTS (SELECT 1 FROM runs WHERE run = ?1)",
    )?;
    let body = serde_json::to_string(&event.body).unwrap_or_default();
    statement.execute(params![
        run,
        sequence(event.sequence),
        event.time.unix_micros(),
        event.kind.as_str(),
        body
    ])?;
    Ok(())
}

/// As the database has it.
pub(super) fn sequence(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn tell(write: Write, answer: Answer) {
    let commit = |told: &Told| told.committed.send_replace(told.event.sequence);
    match (write, answer) {
        (Write::Accept { reply, .. }, Answer::Accepted(accepted)) => drop(reply.send(Ok(accepted))),
        (Write::Start { told, done } | Write::End { told, done, .. }, _) => {
            commit(&told);
            let _ = done.send(());
        }
        (Write::Event { told, .. }, _) => {
            commit(&told);
        }
        (Write::Cancel { done, .. }, _) => drop(done.send(())),
        (Write::Forget { reply, .. }, _) => drop(reply.send(Ok(()))),
        (Write::Accept { .. }, Answer::Done) => {}
    }
}
