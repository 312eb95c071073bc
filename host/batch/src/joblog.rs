//! The job log: a line for each job that has ended, so that a batch can be gone on with.
//!
//! A line is added once the result has been printed, in one write. A batch that is killed in between does that job again;
//! a line that was cut off is dropped.

use super::{Ended, Job};
use anyhow::{Context, Result, bail};
use executor_runtime::{protocol::Status, receipt};
use std::{
    collections::HashMap,
    fs::{File, OpenOptions, TryLockError},
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, BufRead, BufReader, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

/// The first line: the names of the columns.
const HEADER: &str = "seq\tstatus\texit_code\tattempts\tstarted_at\twall_seconds\tjob";
const COLUMNS: usize = 7;
/// Where a result tells which attempt it is of.
const ATTEMPTS: &str = "batch.attempts";

/// What the job log knows of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Past {
    /// Nothing, or nothing that counts.
    Unknown,
    /// It has ended.
    Ended {
        /// Whether it did succeed.
        succeeded: bool,
    },
}

/// An open job log.
pub(super) struct JobLog {
    path: PathBuf,
    file: File,
    /// The jobs of earlier batches, by their numbers: a digest of the name, and whether the last attempt succeeded.
    past: HashMap<u64, (u64, bool)>,
    retry_failed: bool,
}

impl JobLog {
    /// Opens a new log, or goes on with one.
    pub(super) fn open(path: &Path, resume: bool, retry_failed: bool) -> Result<Self> {
        let refused = || format!("the job log '{}' can't be opened", path.display());
        let mut options = OpenOptions::new();
        options.read(true).append(true);
        let opened = if resume {
            options.create(true).open(path)
        } else {
            options.create_new(true).open(path)
        };
        if let Err(error) = &opened
            && error.kind() == io::ErrorKind::AlreadyExists
        {
            bail!(
                "the job log '{}' exists; give --resume or --retry-failed to go on with it, or name another file",
                path.display()
            );
        }
        let file = opened.with_context(refused)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                bail!("the job log '{}' is in use by another batch", path.display())
            }
            Err(TryLockError::Error(error)) => return Err(error).with_context(refused),
        }
        let mut log = Self {
            path: path.to_owned(),
            file,
            past: HashMap::new(),
            retry_failed,
        };
        log.read()?;
        Ok(log)
    }

    fn read(&mut self) -> Result<()> {
        let refused = |path: &Path| format!("the job log '{}' can't be read", path.display());
        let mut reader = BufReader::new(&self.file);
        let mut whole = 0;
        for number in 1.. {
            let mut line = String::new();
            let len = reader.read_line(&mut line).with_context(|| refused(&self.path))?;
            let Some(line) = line.strip_suffix('\n') else {
                // The end, or a line whose writer was killed.
                if number == 1 && !HEADER.starts_with(&line) {
                    return Err(self.is_none());
                }
                break;
            };
            whole += len as u64;
            if number == 1 {
                if line != HEADER {
                    return Err(self.is_none());
                }
                continue;
            }
            let columns: Vec<_> = line.splitn(COLUMNS, '\t').collect();
            let (Some(seq), [_, status, _, _, _, _, name]) = (
                columns.first().and_then(|seq| seq.parse().ok()),
                columns.as_slice(),
            ) else {
                bail!(
                    "line {number} of the job log '{}' is not of a job log",
                    self.path.display()
                );
            };
            let succeeded = *status == Status::Succeeded.as_str();
            self.past.insert(seq, (digest(name), succeeded));
        }
        let refused = || format!("the job log '{}' can't be written", self.path.display());
        self.file.set_len(whole).with_context(refused)?;
        (&self.file).seek(SeekFrom::End(0)).with_context(refused)?;
        if whole == 0 {
            writeln!(&self.file, "{HEADER}").with_context(refused)?;
        }
        Ok(())
    }

    /// Why the file is left alone.
    fn is_none(&self) -> anyhow::Error {
        anyhow::anyhow!(
            "'{}' is not a job log: its first line has other columns",
            self.path.display()
        )
    }

    /// How many of its jobs have a higher number than there are.
    pub(super) fn beyond(&self, jobs: u64) -> usize {
        self.past.keys().filter(|number| **number > jobs).count()
    }

    /// What is known of a job.
    ///
    /// # Errors
    /// When another job had its number: the input is another one.
    pub(super) fn past(&self, job: &Job) -> Result<Past> {
        let Some((name, succeeded)) = self.past.get(&job.number) else {
            return Ok(Past::Unknown);
        };
        // It is done again whatever it was: a line that was no invocation may have been mended.
        if self.retry_failed && !succeeded {
            return Ok(Past::Unknown);
        }
        if *name != digest(&escaped(&job.name)) {
            bail!(
                "job {} is not the one that the job log '{}' has under this number: the input has changed; start with \
                 a new job log",
                job.number,
                self.path.display()
            );
        }
        Ok(Past::Ended {
            succeeded: *succeeded,
        })
    }

    /// Adds a job that has ended.
    pub(super) fn add(&mut self, ended: &Ended) -> Result<()> {
        let Ended {
            number, name, result, ..
        } = ended;
        let attempts = result.metadata.get(ATTEMPTS).map_or("1", String::as_str);
        let line = format!(
            "{}\t{}\t{}\t{attempts}\t{}\t{}\t{}\n",
            number,
            result.status.as_str(),
            result
                .exit_code
                .map_or_else(|| "-".to_owned(), |code| code.to_string()),
            result.started_at,
            result
                .metadata
                .get(receipt::USAGE_WALL_SECONDS)
                .map_or("0.000000", String::as_str),
            escaped(name),
        );
        self.file
            .write_all(line.as_bytes())
            .with_context(|| format!("the job log '{}' can't be written", self.path.display()))
    }
}

/// A name on one line, without tabs.
fn escaped(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '\\' => text.push_str(r"\\"),
            '\t' => text.push_str(r"\t"),
            '\n' => text.push_str(r"\n"),
            '\r' => text.push_str(r"\r"),
            c => text.push(c),
        }
    }
    text
}

/// Memory for a log of a million jobs should not be their names'.
fn digest(name: &str) -> u64 {
    let mut digest = DefaultHasher::new();
    name.hash(&mut digest);
    digest.finish()
}
