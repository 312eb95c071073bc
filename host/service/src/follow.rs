//! Following a run: its events, and the files that it writes.

use crate::{
    event::{EventKind, EventRecord},
    journal::JournalError,
    runs::Runs,
    table::Entry,
};
use executor_runtime::{Notifier, OutputFeed, protocol::RuntimeResult};
use executor_runtime_run::capture::location;
use serde_json::{Map, Value, json};
use std::{
    collections::VecDeque,
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Component, Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::watch,
};

/// How often a file that nothing tells of is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Which output of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputStream {
    /// Its standard output.
    Stdout,
    /// Its standard error.
    Stderr,
}

/// The output of a run that is under way.
#[derive(Default)]
pub(crate) struct Output {
    files: OnceLock<Arc<[File; 2]>>,
    lengths: watch::Sender<[u64; 2]>,
}

impl Output {
    fn measure(&self) -> Option<[u64; 2]> {
        let files = self.files.get()?;
        let lengths = files
            .each_ref()
            .map(|file| file.metadata().map_or(0, |found| found.len()));
        self.lengths.send_replace(lengths);
        Some(lengths)
    }
}

fn output_event([stdout, stderr]: [u64; 2]) -> Map<String, Value> {
    Map::from_iter([
        ("stdout".to_owned(), json!(stdout)),
        ("stderr".to_owned(), json!(stderr)),
    ])
}

impl Runs {
    /// Tells of the output of a run while it grows, until the run has ended.
    pub(crate) fn watch_output(&self, entry: &Arc<Entry>, feed: OutputFeed) {
        let OutputFeed { files, grown } = feed;
        if entry.output.files.set(Arc::new(files)).is_err() {
            return;
        }
        // Without a descriptor for it, followers see what there is at the end.
        // SAFETY: the notifier owns its descriptor, which stays the same until both are dropped together.
        let registered = unsafe { AsyncFd::register_with_interest(grown, Interest::READABLE) };
        let Ok(grown) = registered else {
            return;
        };
        let (runs, entry) = (self.clone(), Arc::clone(entry));
        tokio::spawn(async move {
            let mut ended = entry.watch();
            tokio::select! {
                () = runs.tell_growth(&entry, &grown) => {}
                _ = ended.wait_for(|state| state.result.is_some()) => {}
            }
        });
    }

    async fn tell_growth(&self, entry: &Arc<Entry>, grown: &AsyncFd<Notifier>) {
        let mut told = [0, 0];
        while let Ok(mut ready) = grown.readable().await {
            grown.get_ref().clear();
            ready.clear_ready();
            if let Some(lengths) = entry.output.measure()
                && lengths != told
            {
                entry.report(self, EventKind::Output, output_event(lengths));
                told = lengths;
            }
        }
    }

    /// Tells how much output there was in the end.
    pub(crate) fn tell_last_output(&self, entry: &Arc<Entry>) {
        if let Some(lengths) = entry.output.measure()
            && lengths != [0, 0]
        {
            entry.report(self, EventKind::Output, output_event(lengths));
        }
    }

    /// The events of a run after the one with this number, or all of them after 0; none if there is no such run.
    ///
    /// # Errors
    /// When the journal can't be read.
    pub async fn events(&self, id: &str, after: u64) -> Result<Option<EventFollower>, JournalError> {
        let (number, entry) = match self.accepted(id).await {
            Some(entry) => (entry.number(), Some(entry)),
            None => match self.journal().find(id).await? {
                Some(recorded) => (recorded.run, None),
                None => return Ok(None),
            },
        };
        Ok(Some(EventFollower {
            runs: self.clone(),
            number,
            committed: entry.as_ref().map(|entry| entry.committed().subscribe()),
            entry,
            after,
            read: VecDeque::new(),
            is_over: false,
        }))
    }

    /// The output of a run, also while it grows; none if there is no such run.
    ///
    /// # Errors
    /// When the journal can't be read.
    pub async fn output(&self, id: &str, stream: OutputStream) -> Result<Option<GrowingFile>, JournalError> {
        self.file(id, Place::Output(stream)).await
    }

    /// An artifact of a run; before its end, those of which a file is there already. None if there is no such run or
    /// artifact.
    ///
    /// # Errors
    /// When the journal can't be read.
    pub async fn artifact(&self, id: &str, artifact_id: &str) -> Result<Option<GrowingFile>, JournalError> {
        self.file(id, Place::Artifact(artifact_id.to_owned())).await
    }

    async fn file(&self, id: &str, place: Place) -> Result<Option<GrowingFile>, JournalError> {
        if let Some(entry) = self.accepted(id).await {
            let lengths = entry.output.lengths.subscribe();
            let artifacts = entry.artifacts.grown();
            let file = GrowingFile {
                place,
                opened: OnceLock::new(),
                run: Run::Unfinished {
                    entry,
                    lengths,
                    artifacts,
                },
            };
            return Ok(file.is_known().then_some(file));
        }
        let result = self.journal().find(id).await?.and_then(|found| found.result);
        let file = result.map(|result| GrowingFile {
            place,
            opened: OnceLock::new(),
            run: Run::Ended(Arc::new(result)),
        });
        Ok(file.filter(GrowingFile::is_known))
    }
}

/// The events of one run, in order, also while it goes on.
pub struct EventFollower {
    runs: Runs,
    number: i64,
    /// Of a run that has not ended: the last event that the journal has.
    committed: Option<watch::Receiver<u64>>,
    /// That run.
    entry: Option<Arc<Entry>>,
    after: u64,
    read: VecDeque<EventRecord>,
    is_over: bool,
}

impl EventFollower {
    /// The next event, once there is one; none after the last. Nothing is lost if the future is dropped.
    ///
    /// # Errors
    /// When the journal can't be read.
    pub async fn next(&mut self) -> Result<Option<EventRecord>, JournalError> {
        while !self.is_over {
            if let Some(event) = self.read.pop_front() {
                self.after = event.sequence;
                self.is_over = event.kind == EventKind::Ended;
                return Ok(Some(event));
            }
            if let Some(committed) = &mut self.committed {
                committed.borrow_and_update();
            }
            // Its last event is in the journal by then.
            let has_ended = match &self.entry {
                Some(entry) => entry.watch().borrow().result.is_some(),
                None => true,
            };
            self.read = self.runs.journal().events(self.number, self.after).await?.into();
            if self.read.is_empty() {
                match (&mut self.committed, &self.entry) {
                    (Some(committed), Some(entry)) if !has_ended => {
                        let mut state = entry.watch();
                        // Both senders are kept.
                        tokio::select! {
                            _ = committed.changed() => {}
                            _ = state.wait_for(|state| state.result.is_some()) => {}
                        }
                    }
                    _ => self.is_over = true,
                }
            }
        }
        Ok(None)
    }
}

impl std::fmt::Debug for EventFollower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventFollower")
            .field("after", &self.after)
            .finish_non_exhaustive()
    }
}

/// What a run writes to a file.
enum Place {
    Output(OutputStream),
    Artifact(String),
}

/// Whose file it is.
enum Run {
    Unfinished {
        entry: Arc<Entry>,
        lengths: watch::Receiver<[u64; 2]>,
        artifacts: watch::Receiver<()>,
    },
    Ended(Arc<RuntimeResult>),
}

enum Opened {
    Output(Arc<[File; 2]>),
    File(File),
}

/// A file that a run writes, or has written.
pub struct GrowingFile {
    place: Place,
    opened: OnceLock<Opened>,
    run: Run,
}

impl GrowingFile {
    /// How long it is now, in bytes. Blocks.
    ///
    /// # Errors
    /// When the file system says so.
    pub fn length(&self) -> io::Result<u64> {
        self.with_file(0, |file| file.metadata().map(|found| found.len()))
    }

    /// Reads from `offset`; 0 where there is nothing yet. Blocks.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.with_file(0, |file| file.read_at(buffer, offset))
    }

    /// Waits until there may be more of it. False once the run has ended: then there is nothing to wait for, and what is
    /// there is all.
    pub async fn grown(&mut self) -> bool {
        let Run::Unfinished {
            entry,
            lengths,
            artifacts,
        } = &mut self.run
        else {
            return false;
        };
        let mut state = entry.watch();
        let ended = state.wait_for(|state| state.result.is_some());
        match self.place {
            Place::Output(_) => tokio::select! {
                biased;
                _ = ended => false,
                changed = lengths.changed() => changed.is_ok(),
            },
            Place::Artifact(_) => tokio::select! {
                biased;
                _ = ended => false,
                // The sender is kept.
                _ = artifacts.changed() => true,
                () = tokio::time::sleep(LOOK) => true,
            },
        }
    }

    fn result(&self) -> Option<Arc<RuntimeResult>> {
        match &self.run {
            Run::Ended(result) => Some(Arc::clone(result)),
            Run::Unfinished { entry, .. } => entry.watch().borrow().result.clone(),
        }
    }

    /// Whether the run has such a file, as far as that is known.
    fn is_known(&self) -> bool {
        match (&self.place, self.result()) {
            (Place::Output(_), _) => true,
            (Place::Artifact(id), Some(result)) => path_of(&result, id).is_some(),
            (Place::Artifact(_), None) => matches!(self.open(), Ok(Some(_))),
        }
    }

    fn with_file<T>(&self, none: T, work: impl FnOnce(&File) -> io::Result<T>) -> io::Result<T> {
        if self.opened.get().is_none()
            && let Some(opened) = self.open()?
        {
            let _ = self.opened.set(opened);
        }
        match (self.opened.get(), &self.place) {
            (Some(Opened::File(file)), _) => work(file),
            (Some(Opened::Output(files)), Place::Output(stream)) => work(&files[*stream as usize]),
            _ => Ok(none),
        }
    }

    /// None if there is no such file, or not yet; an error if there was one.
    fn open(&self) -> io::Result<Option<Opened>> {
        let path = match (&self.place, &self.run, self.result()) {
            (Place::Output(_), Run::Unfinished { entry, .. }, _) if entry.output.files.get().is_some() => {
                return Ok(entry.output.files.get().cloned().map(Opened::Output));
            }
            (Place::Output(OutputStream::Stdout), _, Some(result)) => {
                result.stdout_path.as_deref().map(PathBuf::from)
            }
            (Place::Output(OutputStream::Stderr), _, Some(result)) => {
                result.stderr_path.as_deref().map(PathBuf::from)
            }
            (Place::Artifact(id), _, Some(result)) => path_of(&result, id),
            (Place::Artifact(id), Run::Unfinished { entry, .. }, None) => return open_unfinished(entry, id),
            _ => None,
        };
        let Some(path) = path else { return Ok(None) };
        open_regular(&path).map(|file| Some(Opened::File(file)))
    }
}

impl std::fmt::Debug for GrowingFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GrowingFile").finish_non_exhaustive()
    }
}

/// Where an artifact of a run that has ended is.
fn path_of(result: &RuntimeResult, id: &str) -> Option<PathBuf> {
    let artifact = result
        .artifacts
        .iter()
        .find(|artifact| artifact.artifact_id == id);
    artifact.map(|artifact| PathBuf::from(&artifact.path))
}

/// An artifact of a run that goes on: one of which it has told, else one that would be where its id says.
fn open_unfinished(entry: &Entry, id: &str) -> io::Result<Option<Opened>> {
    for _ in 0..2 {
        let Some(path) = entry.artifacts.path(id) else {
            break;
        };
        match open_regular(&path) {
            // It may have got its name since.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            opened => return opened.map(|file| Some(Opened::File(file))),
        }
        if !id.contains('/')
            && let Ok(file) = open_regular(&path.with_file_name(id))
        {
            return Ok(Some(Opened::File(file)));
        }
    }
    let Some(path) = path_of_unfinished(entry, id) else {
        return Ok(None);
    };
    open_regular(&path).map(|file| Some(Opened::File(file)))
}

/// Where an artifact of a run that goes on would be: ids are paths below its directory.
fn path_of_unfinished(entry: &Entry, id: &str) -> Option<PathBuf> {
    let mut components = Path::new(id).components();
    let first = components.next();
    let is_below = first == Some(Component::Normal("artifacts".as_ref()))
        && components.clone().next().is_some()
        && components.all(|component| matches!(component, Component::Normal(_)));
    is_below.then(|| location(&entry.invocation).join(id))
}

/// Opens a regular file and nothing else: the run could have put a link or a pipe there. What is not there any more, or is
/// something else, is `NotFound`.
fn open_regular(path: &Path) -> io::Result<File> {
    let gone = |why: &str| {
        let text = format!("'{}' {why}", path.display());
        io::Error::new(io::ErrorKind::NotFound, text)
    };
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC;
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = opened.map_err(|error| match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENOTDIR) => gone("is not there any more"),
        Some(libc::ELOOP | libc::ENXIO) => gone("is something else now"),
        _ => error,
    })?;
    if !file.metadata()?.is_file() {
        return Err(gone("is something else now"));
    }
    Ok(file)
}
