//! The journal of a batch: a directory that no other host uses, so that a batch whose host was killed can be gone on with.
//!
//! One that is not named lies in the user's state directory. It is removed when the batch has ended by itself and all its
//! results are written. Where that did not come about, the next batch tells of it, once, and it stays as long as runs do in
//! a journal (`[journal] keep`). One that is named is the caller's, and stays.

use super::{Printed, forgotten::Forgotten};
use anyhow::{Context, Result, anyhow, bail};
use executor_runtime_command::{BatchOptions, new_id, style, tell};
use executor_runtime_service::{Journal, JournalError, Retention, RunNumber, Runs, state_directory};
use std::{
    collections::VecDeque,
    env,
    fs::{self, DirBuilder, File},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// Where those lie that are not named, in the state directory.
const DIRECTORY: &str = "batch";
/// Tells that a journal is one of a batch, and what the ids of its jobs begin with.
const ID: &str = "batch-id";
/// Tells that people know of a journal that was left.
const TOLD: &str = "told";
const DATABASE: &str = "journal.sqlite";
const LOCK: &str = "journal.lock";
/// Runs that are forgotten at a time.
const AT_A_TIME: usize = 500;

/// The journal of a batch, but for the database in it.
pub(super) struct BatchJournal {
    directory: PathBuf,
    is_named: bool,
    id: String,
    forgotten: Forgotten,
    /// What is in it and may be forgotten, the oldest first.
    written: VecDeque<Printed>,
    /// How much of that it keeps.
    keep: usize,
}

impl BatchJournal {
    /// Opens the one that is named, or a new one. `least` is how many runs it keeps at least.
    pub(super) fn open(
        options: &BatchOptions,
        retention: Retention,
        least: usize,
    ) -> Result<(Self, Journal)> {
        let base = options.state_dir.clone().or_else(state_directory);
        let base = base.map(|base| base.join(DIRECTORY));
        let named = options.journal.as_deref();
        if let Some(base) = &base {
            look_for_left(base, named, retention.keep);
        }
        if let Some(directory) = named {
            return Self::named(directory);
        }
        let keep = usize::try_from(retention.max_runs)
            .unwrap_or(usize::MAX)
            .max(least);
        let no_place = || anyhow!("neither XDG_STATE_HOME nor HOME is set");
        match base.ok_or_else(no_place).and_then(|base| Self::new(&base, keep)) {
            Err(error) if options.state_dir.is_none() => {
                let base = env::temp_dir();
                tracing::warn!(
                    "the journal of this batch is in '{}', because it can't be in the state directory: {error:#}",
                    base.display()
                );
                Self::new(&base, keep)
            }
            opened => opened,
        }
        .context("no journal can be made; name a directory for it by --journal DIR")
    }

    fn new(base: &Path, keep: usize) -> Result<(Self, Journal)> {
        let id = new_id("batch");
        let directory = base.join(&id);
        let place = || format!("'{}'", directory.display());
        let mut private = DirBuilder::new();
        private.mode(0o700);
        private
            .recursive(true)
            .create(base)
            .and_then(|()| private.recursive(false).create(&directory))
            .with_context(place)?;
        let opened = Journal::open_for_results(&directory)
            .map_err(anyhow::Error::from)
            .and_then(|journal| {
                write_id(&directory, &id, false).with_context(place)?;
                Ok(journal)
            });
        if opened.is_err() {
            let _ = fs::remove_dir_all(&directory);
        }
        let new = Self {
            directory: directory.clone(),
            is_named: false,
            id,
            forgotten: Forgotten::default(),
            written: VecDeque::new(),
            keep,
        };
        Ok((new, opened?))
    }

    fn named(directory: &Path) -> Result<(Self, Journal)> {
        let place = || format!("the journal '{}' can't be used", directory.display());
        let id = match read_id(directory).with_context(place)? {
            Some(id) => id,
            None if directory.join(DATABASE).exists() => bail!(
                "'{}' has a journal that is not of a batch; name another directory by --journal DIR",
                directory.display()
            ),
            // Before there is a journal, which is not taken for another's then if this process ends in between.
            None => make_id(directory).with_context(place)?,
        };
        let journal = Journal::open_for_results(directory).map_err(|error| match error {
            JournalError::InUse { path } => anyhow!(
                "another batch uses the journal '{}'; wait for its end, or name another directory",
                path.display()
            ),
            error => error.into(),
        })?;
        let named = Self {
            directory: directory.to_owned(),
            is_named: true,
            id,
            forgotten: Forgotten::read(directory).with_context(place)?,
            written: VecDeque::new(),
            keep: usize::MAX,
        };
        Ok((named, journal))
    }

    /// What the ids of jobs begin with that have none of their own.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Whether a job has ended, and the journal no longer knows more than that.
    pub(super) fn has_forgotten(&self, number: u64) -> bool {
        self.forgotten.contains(number)
    }

    /// Results are written. A journal that is going to be removed forgets the oldest of them, so that it stays small.
    pub(super) async fn written(&mut self, printed: Vec<Printed>, runs: &Runs) {
        if self.is_named {
            return;
        }
        self.written.extend(printed);
        if self.written.len() < self.keep.saturating_add(AT_A_TIME) {
            return;
        }
        let oldest: Vec<_> = self.written.drain(..AT_A_TIME).collect();
        // Those that did not succeed may have to be done again.
        let succeeded = oldest.iter().filter(|printed| printed.succeeded);
        let mut numbers: Vec<RunNumber> = Vec::new();
        for printed in succeeded {
            self.forgotten.add(printed.job);
            numbers.extend(printed.run);
        }
        // What is not noted must not be forgotten; it only takes some room.
        let forgotten = match self.forgotten.write(&self.directory) {
            Ok(()) => runs.forget(&numbers).await.map_err(anyhow::Error::from),
            Err(error) => Err(error.into()),
        };
        if let Err(error) = forgotten {
            tracing::warn!("the journal of this batch grows: {error:#}");
        }
    }

    /// The batch has ended; `is_complete` if it did by itself, and all its results are written. Returns where the journal is,
    /// if it is kept to go on with.
    pub(super) fn end(self, is_complete: bool, runs: Runs) -> Option<PathBuf> {
        if is_complete && !self.is_named {
            let _ = fs::remove_dir_all(&self.directory);
            // This process is about to exit: to close what is removed would only bring it in order before.
            std::mem::forget(runs);
            return None;
        }
        if let Some(trouble) = runs.trouble() {
            tracing::warn!(
                "the ends of the last runs are not in the journal: {trouble}; a batch that continues with it reports those of \
                 runs without a checkpoint as `host_lost`"
            );
            // To close it would wait until it can be written.
            std::mem::forget(runs);
        } else {
            drop(runs);
        }
        if is_complete {
            tell_no_more(&self.directory);
        }
        (!is_complete).then_some(self.directory)
    }
}

/// The next batch need not tell of a journal.
pub(super) fn tell_no_more(directory: &Path) {
    let _ = File::create(directory.join(TOLD));
}

/// How the journal in `directory` is gone on with.
pub(super) fn how_to_go_on(directory: &Path) -> String {
    let directory = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
    format!(
        "to continue, run the same command with --journal '{}'; add --retry-failed to repeat what did not succeed",
        directory.display()
    )
}

fn read_id(directory: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(directory.join(ID)) {
        Ok(id) => Ok(Some(id.trim_end().to_owned()).filter(|id| !id.is_empty())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Gives the directory of a new journal its id, unless another batch does so at this moment.
fn make_id(directory: &Path) -> io::Result<String> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700).create(directory)?;
    write_id(directory, &new_id("batch"), true)?;
    read_id(directory)?.ok_or_else(|| io::Error::other("its id is empty"))
}

/// Writes an id, whole, unless there is one; if it `is_kept`, so that a loss of power leaves it, too.
fn write_id(directory: &Path, id: &str, is_kept: bool) -> io::Result<()> {
    let new = directory.join(format!("batch-id.{}", std::process::id()));
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    writeln!(file, "{id}")?;
    if is_kept {
        file.sync_all()?;
    }
    let path = directory.join(ID);
    if fs::metadata(&path).is_ok_and(|there| there.len() == 0) {
        fs::remove_file(&path)?;
    }
    let linked = fs::hard_link(&new, path);
    fs::remove_file(new)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Tells of the journals that batches have left in `base`, and removes those that are older than `keep`.
fn look_for_left(base: &Path, named: Option<&Path>, keep: Duration) {
    let named = named.and_then(|named| named.canonicalize().ok());
    let Ok(entries) = fs::read_dir(base) else {
        return;
    };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if named.is_some() && path.canonicalize().ok() == named {
            continue;
        }
        let is_old = age(&path).is_some_and(|age| age >= keep);
        if is_old {
            remove_left(&path);
        } else if path.join(ID).exists() && !path.join(TOLD).exists() {
            tell_of_left(&path);
        }
    }
}

/// How long ago something was written to a journal.
fn age(directory: &Path) -> Option<Duration> {
    let files = [DATABASE, "journal.sqlite-wal", LOCK, ID].map(|file| directory.join(file));
    let changed = |path: &Path| {
        let status = fs::symlink_metadata(path).ok()?;
        status.modified().ok()
    };
    let newest = files.iter().filter_map(|file| changed(file)).max();
    let newest = newest.or_else(|| changed(directory).filter(|_| directory.is_dir()))?;
    SystemTime::now().duration_since(newest).ok()
}

/// Removes a journal that no batch uses.
fn remove_left(directory: &Path) {
    let name = directory.file_name().and_then(|name| name.to_str());
    if !name.is_some_and(|name| name.starts_with("batch-")) {
        return;
    }
    // The lock is held until all is gone.
    let lock = File::open(directory.join(LOCK));
    if lock.as_ref().is_ok_and(|lock| lock.try_lock().is_err()) {
        return;
    }
    if let Err(error) = fs::remove_dir_all(directory) {
        tracing::warn!(
            "the old journal '{}' can't be removed: {error}",
            directory.display()
        );
    }
}

fn tell_of_left(directory: &Path) {
    // One that is in use, or can't be used, is none that was left.
    let Ok(journal) = Journal::open_for_results(directory) else {
        return;
    };
    let Ok(contents) = journal.contents() else {
        return;
    };
    let text = format!(
        "an earlier batch ended before its input did, or before its results were written: {} of its runs have ended, {} \
         had not; {}",
        contents.ended,
        contents.unfinished,
        how_to_go_on(directory)
    );
    let style = style::stderr();
    tell!("{}", style.after("note:", "note:", &text, "  "));
    tell_no_more(directory);
}
