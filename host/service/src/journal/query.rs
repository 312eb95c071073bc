//! What the journal is asked.

use super::{Journal, JournalError, writer::sequence};
use crate::{
    document::outline,
    event::{EventKind, EventRecord},
    summary::RunSummary,
};
use executor_runtime::protocol::{RuntimeInvocation, RuntimeKind, RuntimeResult, Status, Timestamp};
use executor_runtime_run::capture::{CaptureMark, Fingerprint};
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::{fmt, str::FromStr};

/// Events that are read at a time.
const MAX_EVENTS: i64 = 256;

/// A place in the list of runs. Its text is of no meaning to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor(i64);

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl FromStr for Cursor {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        i64::from_str_radix(text, 16).map(Self)
    }
}

/// Which runs to list.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Those with this status.
    pub status: Option<Status>,
    /// Those of this kind.
    pub kind: Option<RuntimeKind>,
    /// Those accepted at this time or later.
    pub since: Option<Timestamp>,
    /// Those after this place.
    pub cursor: Option<Cursor>,
    /// At most so many.
    pub limit: usize,
}

/// Some of the runs, the newest first.
#[derive(Clone, Debug)]
pub struct Page {
    /// The runs.
    pub runs: Vec<RunSummary>,
    /// Where the list goes on, if it does.
    pub next: Option<Cursor>,
}

/// A run that has ended, as the journal has it.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    pub(crate) run: i64,
    pub(crate) fingerprint: Vec<u8>,
    pub(crate) summary: RunSummary,
    /// None if it has not ended.
    pub(crate) result: Option<RuntimeResult>,
}

/// A run that a dead host has left.
#[derive(Debug)]
pub(crate) struct Unfinished {
    pub(crate) run: i64,
    /// What of its invocation is needed all the time.
    pub(crate) outline: RuntimeInvocation,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) accepted_at: Timestamp,
    pub(crate) started_at: Option<Timestamp>,
    /// Until when it may wait for its turn.
    pub(crate) queue_until: Option<Timestamp>,
    /// Whether it was told to stop.
    pub(crate) is_cancelled: bool,
    pub(crate) last_event: u64,
}

/// How many runs a journal has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JournalContents {
    /// That have ended.
    pub ended: u64,
    /// That have not.
    pub unfinished: u64,
}

/// A run that has ended and may be forgotten.
#[derive(Debug)]
pub(crate) struct Expired {
    pub(crate) run: i64,
    pub(crate) capture: Option<CaptureMark>,
}

const SUMMARY: &str =
    "run, id, name, kind, status, accepted_at, started_at, finished_at, result, fingerprint";

impl Journal {
    /// How many runs it has. Blocks.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn contents(&self) -> Result<JournalContents, JournalError> {
        self.read_now(|connection| {
            let query = "SELECT count(result), count(*) - count(result) FROM runs";
            connection.query_row(query, [], |row| {
                let number = |column| row.get::<_, i64>(column).map(i64::unsigned_abs);
                Ok(JournalContents {
                    ended: number(0)?,
                    unfinished: number(1)?,
                })
            })
        })
    }

    /// A run by its id.
    pub(crate) async fn find(&self, id: &str) -> Result<Option<Recorded>, JournalError> {
        let id = id.to_owned();
        self.read(move |connection| {
            let query = format!("SELECT {SUMMARY} FROM runs WHERE id = ?1");
            let mut statement = connection.prepare_cached(&query)?;
            statement.query_row([&id], recorded).optional()
        })
        .await
    }

    /// Runs, the newest first.
    pub(crate) async fn list(&self, filter: Filter) -> Result<Page, JournalError> {
        self.read(move |connection| {
            let query = format!(
                "SELECT {SUMMARY} FROM runs
                 WHERE (?1 IS NULL OR status = ?1) AND (?2 IS NULL OR kind = ?2)
                   AND (?3 IS NULL OR accepted_at >= ?3) AND (?4 IS NULL OR run < ?4)
                 ORDER BY run DESC LIMIT ?5"
            );
            let mut statement = connection.prepare_cached(&query)?;
            let limit = filter.limit.max(1);
            let rows = statement.query_map(
                params![
                    filter.status.map(Status::as_str),
                    filter.kind.as_ref().map(RuntimeKind::as_str),
                    filter.since.as_ref().map(Timestamp::unix_micros),
                    filter.cursor.map(|cursor| cursor.0),
                    i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1),
                ],
                listed,
            )?;
            let mut rows = rows.collect::<rusqlite::Result<Vec<_>>>()?;
            let goes_on = rows.len() > limit;
            rows.truncate(limit);
            let next = rows.last().filter(|_| goes_on).map(|(run, _)| Cursor(*run));
            let runs = rows.into_iter().map(|(_, summary)| summary).collect();
            Ok(Page { runs, next })
        })
        .await
    }

    /// Events of a run after one of them, in order; not all at once.
    pub(crate) async fn events(&self, run: i64, after: u64) -> Result<Vec<EventRecord>, JournalError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT sequence, at, type, body FROM events WHERE run = ?1 AND sequence > ?2
                 ORDER BY sequence LIMIT ?3",
            )?;
            let rows = statement.query_map(params![run, sequence(after), MAX_EVENTS], |row| {
                let (kind, body): (String, String) = (row.get(2)?, row.get(3)?);
                Ok(EventRecord {
                    sequence: row.get::<_, i64>(0)?.unsigned_abs(),
                    time: Timestamp::from_unix_micros(row.get(1)?),
                    kind: EventKind::from_name(&kind).ok_or_else(|| unreadable(2, kind))?,
                    body: serde_json::from_str(&body).map_err(|error| unreadable(3, error.to_string()))?,
                })
            })?;
            rows.collect()
        })
        .await
    }

    /// What a dead host has left, in the order in which it was accepted.
    pub(crate) async fn unfinished(&self) -> Result<Vec<Unfinished>, JournalError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT run, invocation, accepted_at, started_at, queue_until, is_cancelled, fingerprint,
                        (SELECT max(sequence) FROM events WHERE events.run = runs.run)
                 FROM runs WHERE result IS NULL ORDER BY run",
            )?;
            let rows = statement.query_map([], |row| {
                let (run, text): (i64, String) = (row.get(0)?, row.get(1)?);
                // It is longer than the document that it was read from, so that no limit may count here.
                let invocation: RuntimeInvocation = match serde_json::from_str(&text) {
                    Ok(invocation) => invocation,
                    Err(error) => {
                        tracing::error!("run number {run} of the journal can't be read: {error}");
                        return Ok(None);
                    }
                };
                let fingerprint: Vec<u8> = row.get(6)?;
                let of_it = || Fingerprint::of(&invocation);
                Ok(Some(Unfinished {
                    run,
                    outline: outline(&invocation),
                    fingerprint: Fingerprint::from_bytes(&fingerprint).unwrap_or_else(of_it),
                    accepted_at: Timestamp::from_unix_micros(row.get(2)?),
                    started_at: time(row, 3)?,
                    queue_until: time(row, 4)?,
                    is_cancelled: row.get(5)?,
                    last_event: row.get::<_, Option<i64>>(7)?.unwrap_or(0).unsigned_abs(),
                }))
            })?;
            rows.filter_map(Result::transpose).collect()
        })
        .await
    }

    /// What a run was asked for; none if there is no such run, the inner error if it can't be understood.
    pub(crate) async fn document(
        &self,
        run: i64,
    ) -> Result<Option<Result<RuntimeInvocation, String>>, JournalError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached("SELECT invocation FROM runs WHERE run = ?1")?;
            let text: Option<String> = statement.query_row([run], |row| row.get(0)).optional()?;
            Ok(text.map(|text| serde_json::from_str(&text).map_err(|error| error.to_string())))
        })
        .await
    }

    /// Runs that have ended before `cutoff`, or that are more than the newest `keep` of those that have ended.
    pub(crate) async fn expired(
        &self,
        cutoff: Option<Timestamp>,
        keep: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Expired>, JournalError> {
        self.read(move |connection| {
            let beyond = match keep {
                Some(keep) => beyond(connection, keep)?,
                None => None,
            };
            let mut statement = connection.prepare_cached(
                "SELECT run, capture_path, capture_marker, finished_at FROM runs
                 WHERE result IS NOT NULL AND (finished_at < ?1 OR run <= ?2) ORDER BY run LIMIT ?3",
            )?;
            let rows = statement.query_map(
                params![
                    cutoff.as_ref().map(Timestamp::unix_micros),
                    beyond,
                    i64::try_from(limit).unwrap_or(i64::MAX)
                ],
                |row| {
                    let (path, marker): (Option<String>, Option<Vec<u8>>) = (row.get(1)?, row.get(2)?);
                    let ended_at = row.get::<_, Option<i64>>(3)?.unwrap_or(0);
                    Ok(Expired {
                        run: row.get(0)?,
                        capture: path.zip(marker).map(|(path, marker)| CaptureMark {
                            path: path.into(),
                            marker,
                            ended_at,
                        }),
                    })
                },
            )?;
            rows.collect()
        })
        .await
    }
}

/// The newest run that is one too many.
fn beyond(connection: &Connection, keep: u64) -> rusqlite::Result<Option<i64>> {
    let mut statement = connection.prepare_cached(
        "SELECT run FROM runs WHERE result IS NOT NULL ORDER BY run DESC LIMIT 1 OFFSET ?1",
    )?;
    statement.query_row([sequence(keep)], |row| row.get(0)).optional()
}

fn recorded(row: &Row<'_>) -> rusqlite::Result<Recorded> {
    let result: Option<String> = row.get(8)?;
    // It may be longer than a document that is sent.
    let result = result.map(|text| serde_json::from_str::<RuntimeResult>(&text));
    let result = result
        .transpose()
        .map_err(|error| unreadable(8, error.to_string()))?;
    let mut summary = summary(row)?;
    if let Some(result) = &result {
        summary.end(result);
    }
    Ok(Recorded {
        run: row.get(0)?,
        fingerprint: row.get(9)?,
        summary,
        result,
    })
}

/// The same for a list, which one that can't be read must not keep from the reader.
fn listed(row: &Row<'_>) -> rusqlite::Result<(i64, RunSummary)> {
    let listed = match recorded(row) {
        Ok(recorded) => recorded.summary,
        Err(_) => summary(row)?,
    };
    Ok((row.get(0)?, listed))
}

/// What there is without the result.
fn summary(row: &Row<'_>) -> rusqlite::Result<RunSummary> {
    let (kind, status): (String, String) = (row.get(3)?, row.get(4)?);
    Ok(RunSummary {
        invocation_id: row.get(1)?,
        runtime_name: row.get(2)?,
        runtime_kind: RuntimeKind::new(&kind).ok_or_else(|| unreadable(3, kind))?,
        status: Status::from_name(&status).ok_or_else(|| unreadable(4, status))?,
        accepted_at: Timestamp::from_unix_micros(row.get(5)?),
        started_at: time(row, 6)?,
        finished_at: time(row, 7)?,
        exit_code: None,
        error_kind: None,
        error_summary: None,
        cancel_requested: false,
    })
}

fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    let micros: Option<i64> = row.get(column)?;
    Ok(micros.map(Timestamp::from_unix_micros))
}

/// A column has what no version of this host has written.
fn unreadable(column: usize, what: String) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, what.into())
}
