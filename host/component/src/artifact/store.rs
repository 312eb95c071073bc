//! Where a run's artifacts are, what they may be called, and which of them are in the result.
//!
//! They are in the run's capture directory, which is opened (and locked) when the first file is made: a run
//! that leaves nothing touches no disk.

use super::stream::{Artifact, WriterHandle, Written};
use executor_runtime_plugin::{
    Limits,
    session::{MAX_ARTIFACT_NAME, is_valid_artifact_name},
};
use executor_runtime_protocol::{ArtifactDescriptor, RuntimeInvocation};
use executor_runtime_run::{
    ArtifactState, ErrorKind, Event, Events, Failure, Run,
    capture::{
        CaptureDirectory, CaptureError, Collected, EarlierArtifacts, FileVersion, Fingerprint,
        FinishedArtifacts, ReadDeadline, ReopenError, Unrecorded, answers_at_once, create_file_at,
        remove_unfinished, reopen_unfinished, unfinished_name,
    },
    exhaustion,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// How many artifacts are looked at in no time.
const FEW: usize = 16;

/// Why an artifact can't be created.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CreateError {
    #[error(
        "invalid artifact name {0:?}: expected 1 to {MAX_ARTIFACT_NAME} of A-Z a-z 0-9 . _ -, not beginning with a dot"
    )]
    InvalidName(String),
    #[error("artifact {0:?} already exists in this run")]
    DuplicateName(String),
    #[error("this run may create at most {0} artifacts")]
    TooMany(u32),
    #[error(transparent)]
    Unwritable(#[from] CaptureError),
    #[error(transparent)]
    NotResumable(#[from] ReopenError),
}

/// What an operation on the artifacts needs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Need {
    /// The capture directory.
    Directory,
    /// The artifacts directory, without anything that an earlier run has left.
    Artifacts,
    /// The capture directory, with everything that was written to artifacts in their files.
    Written,
}

/// The artifacts of one run. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct ArtifactStore(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    invocation: RuntimeInvocation,
    /// As in [`Run`].
    asked: Option<Fingerprint>,
    max_count: u32,
    max_bytes: u64,
    /// The time that there is to remove what an earlier run has left.
    time: ReadDeadline,
    events: Events,
    /// As in [`Run`].
    must_resume: bool,
    unrecorded: Unrecorded,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    opened: Option<Opened>,
    /// Why the directory can't be had, if another run of the same id has it.
    taken: Option<String>,
    /// The run is over: what one of its threads still asks for comes too late, and must not open the directory again.
    is_closed: bool,
    /// What this run has begun.
    names: BTreeSet<String>,
    /// What it is writing.
    open: Vec<WriterHandle>,
}

/// What there is once the capture directory is open.
#[derive(Debug)]
struct Opened {
    capture: CaptureDirectory,
    of: Fingerprint,
    /// The checkpoint that was there.
    resumed: Option<Vec<u8>>,
    artifacts: Option<Arc<OwnedFd>>,
    finished: FinishedArtifacts,
    /// The names of what the run that this one goes on from had finished.
    earlier: BTreeSet<String>,
}

impl ArtifactStore {
    pub(crate) fn new(run: &Run, limits: &Limits) -> Self {
        Self(Arc::new(Shared {
            invocation: run.invocation.clone(),
            asked: run.asked,
            max_count: limits.artifacts,
            max_bytes: limits.artifact_bytes,
            time: ReadDeadline::of_plugin(run.deadline.map(|deadline| deadline + limits.grace), &run.cancel),
            must_resume: run.must_resume,
            events: run.events.clone(),
            unrecorded: run.unrecorded.clone(),
            state: Mutex::default(),
        }))
    }

    /// Does something in the run's directory: here if what it needs is there at once, else on another thread.
    pub(crate) async fn in_directory<T: Send + 'static>(
        &self,
        need: Need,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> T {
        if self.has_at_once(need) {
            return work(self);
        }
        let store = self.clone();
        let done = exhaustion::run_blocking(move || {
            let done = work(&store);
            if let Some(opened) = &store.state().opened {
                opened.capture.remember_file_system();
            }
            done
        });
        // It panics here if it has panicked there.
        done.await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Opens what is needed, if that takes microseconds: its file system answers at once, and there are no artifacts of an
    /// earlier run to remove or to read. Why something can't be opened at all is left for the operation to say.
    fn has_at_once(&self, need: Need) -> bool {
        let Ok(mut state) = self.0.state.try_lock() else {
            return false;
        };
        if state.opened.is_none() && !answers_at_once(&self.0.invocation) {
            return false;
        }
        if matches!(need, Need::Written) && !state.open.iter().all(WriterHandle::is_idle) {
            return false;
        }
        let Ok(opened) = state.opened(&self.0) else {
            return true;
        };
        opened.capture.answers_at_once()
            && match need {
                Need::Directory | Need::Written => opened.artifacts.is_some() || opened.resumed.is_none(),
                Need::Artifacts => opened.has_artifacts_at_once(),
            }
    }

    /// Begins a new artifact. Blocks on the file system.
    pub(crate) fn create(
        &self,
        name: String,
        kind: String,
        description: String,
    ) -> Result<Artifact, CreateError> {
        self.begin(name, kind, description, |directory, name, path| {
            let file = create_file_at(directory.as_fd(), &unfinished_name(name)).map_err(|errno| {
                CaptureError::Unwritable {
                    path,
                    source: errno.into(),
                }
            })?;
            Ok(Written::nothing(File::from(file)))
        })
    }

    /// Goes on with one that an interrupted run had begun, at `length` bytes. Blocks on the file system, and reads as much.
    pub(crate) fn reopen(
        &self,
        name: String,
        kind: String,
        description: String,
        length: u64,
    ) -> Result<Artifact, CreateError> {
        if is_valid_artifact_name(&name) {
            let mut state = self.state();
            let opened = state.opened(&self.0)?;
            if opened.resumed.is_none() {
                return Err(ReopenError::NotResumed(name).into());
            }
        }
        self.begin(name, kind, description, |directory, name, path| {
            let file = reopen_unfinished(directory, name, length)?;
            let read = Written::up_to(file, length, &self.0.time);
            Ok(read.map_err(|source| CaptureError::Unwritable { path, source })?)
        })
    }

    fn begin(
        &self,
        name: String,
        kind: String,
        description: String,
        open: impl FnOnce(&OwnedFd, &str, PathBuf) -> Result<Written, CreateError>,
    ) -> Result<Artifact, CreateError> {
        if !is_valid_artifact_name(&name) {
            return Err(CreateError::InvalidName(name));
        }
        let mut state = self.state();
        let max_count = self.0.max_count as usize;
        if state.names.len() >= max_count {
            return Err(CreateError::TooMany(self.0.max_count));
        }
        if state.names.contains(&name) {
            return Err(CreateError::DuplicateName(name));
        }
        state.opened(&self.0)?;
        let State {
            opened,
            names,
            open: writers,
            ..
        } = &mut *state;
        let opened = opened.as_mut().ok_or_else(over)?;
        let directory = opened.artifacts(&self.0.time)?;
        let path = opened.capture.artifacts_path().join(&name);
        if !opened.earlier.contains(&name) && opened.earlier.union(names).count() >= max_count {
            return Err(CreateError::TooMany(self.0.max_count));
        }
        let written = open(&directory, &name, path.clone())?;
        names.insert(name.clone());
        let partial = unfinished_name(&name);
        let descriptor = ArtifactDescriptor {
            artifact_id: name,
            path: path.to_string_lossy().into_owned(),
            kind: if kind.is_empty() {
                "artifact".to_owned()
            } else {
                kind
            },
            description,
            metadata: BTreeMap::new(),
        };
        let artifact = Artifact::new(
            directory,
            written,
            partial,
            descriptor,
            self.0.max_bytes,
            self.0.events.clone(),
        );
        writers.retain(WriterHandle::is_open);
        writers.push(artifact.handle());
        Ok(artifact)
    }

    /// Gives an artifact's file its name, and lists it in the result. Blocks on the file system.
    pub(super) fn finish(
        &self,
        directory: &OwnedFd,
        partial: &str,
        file: &File,
        descriptor: ArtifactDescriptor,
    ) -> io::Result<()> {
        let mut state = self.state();
        // Otherwise the run is over without it.
        let opened = state.opened.as_mut().ok_or(io::ErrorKind::NotFound)?;
        let Opened {
            capture, finished, ..
        } = opened;
        let version = FileVersion::of(file)?;
        let told = self.0.events.are_wanted().then(|| ArtifactState {
            artifact_id: descriptor.artifact_id.clone(),
            path: PathBuf::from(&descriptor.path),
            bytes: version.bytes(),
            is_finished: true,
        });
        finished.finish(capture, directory, partial, version, descriptor)?;
        if let Some(told) = told {
            self.0.events.report(Event::Artifact(told));
        }
        Ok(())
    }

    /// Keeps `bytes` for a later run of the same invocation, once all is in its file that was written to artifacts until
    /// now. Blocks on the file system.
    pub(crate) fn checkpoint(&self, bytes: &[u8]) -> Result<(), String> {
        // Not while the state is locked: a writer that finishes waits for it.
        let writers = self.state().open.clone();
        let unwritten = |error| format!("an artifact can't be written: {error}");
        writers
            .iter()
            .try_for_each(WriterHandle::wait)
            .map_err(unwritten)?;
        let mut state = self.state();
        let failed = |error| format!("can't write the checkpoint: {error}");
        let opened = state.opened(&self.0).map_err(failed)?;
        opened.resume(&self.0.time).map_err(failed)?;
        let Opened {
            capture,
            finished,
            of,
            ..
        } = opened;
        finished.checkpoint(capture, *of, bytes)?;
        self.0.events.report(Event::Checkpoint {
            bytes: bytes.len() as u64,
        });
        Ok(())
    }

    /// The checkpoint that an interrupted run of the same invocation has left. Blocks on the file system.
    pub(crate) fn resumed(&self) -> Option<Vec<u8>> {
        let mut state = self.state();
        let opened = state.opened(&self.0).ok()?;
        // If what it had finished can't be opened, that is said when another artifact or checkpoint is made.
        let _ = opened.resume(&self.0.time);
        let resumed = opened.resumed.clone();
        if resumed.is_some() {
            self.0.events.report(Event::Resumed);
        }
        resumed
    }

    /// Why a run that has asked for its checkpoint, and `has_one` or not, must not begin.
    pub(crate) fn refusal(&self, has_one: bool) -> Option<Failure> {
        // It may have a checkpoint, and this one would begin what that has begun.
        let taken = self
            .taken()
            .map(|words| Failure::new(ErrorKind::AlreadyRunning, words));
        taken.or_else(|| (self.0.must_resume && !has_one).then(Failure::without_checkpoint))
    }

    /// Why the directory can't be had, if another run of the same id has it.
    pub(crate) fn taken(&self) -> Option<String> {
        self.state().taken.clone()
    }

    /// [`ArtifactStore::close`], without waiting for a file system longer than `time`: here if there is little to look at
    /// where it answers at once, else on another thread. What a thread of the guest still holds up is left to itself.
    pub(crate) async fn close_in_time(&self, time: impl FnOnce() -> ReadDeadline) -> Collected {
        let mut finished = 0;
        if let Ok(mut state) = self.0.state.try_lock() {
            let Some(opened) = &state.opened else {
                state.is_closed = true;
                return Collected::default();
            };
            finished = opened.finished.names().len();
            if finished <= FEW && opened.capture.answers_at_once() {
                drop(state);
                return self.close();
            }
        }
        let store = self.clone();
        let time = time();
        let closing = time.look(move || store.close());
        closing.await.unwrap_or_else(|_| Collected {
            omitted: finished as u64,
            ..Collected::default()
        })
    }

    /// The run has come to an end: its artifacts, in the order in which they were finished, are in the result,
    /// and there is nothing to go on from. One that was moved, removed or changed since counts as omitted. Blocks
    /// on the file system, if the run left anything there.
    pub(crate) fn close(&self) -> Collected {
        let mut state = self.state();
        state.is_closed = true;
        let Some(opened) = state.opened.take() else {
            return Collected::default();
        };
        let Opened {
            capture,
            artifacts,
            mut finished,
            resumed,
            ..
        } = opened;
        let directory = artifacts.filter(|directory| capture.has_in_place(directory));
        let collected = finished.list(|artifact| {
            let name = artifact.descriptor.artifact_id.as_str();
            let directory = directory.as_ref();
            directory.is_some_and(|directory| artifact.version.is_called(directory, name))
        });
        if let (Some(directory), Some(_)) = (&directory, resumed) {
            // What the interrupted run had begun, and this one has not gone on with.
            remove_unfinished(directory);
        }
        self.0.unrecorded.leave(&capture);
        collected
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a run that is over gets nothing any more.
fn over() -> CaptureError {
    CaptureError::Unwritable {
        path: PathBuf::new(),
        source: io::Error::other("the run is over"),
    }
}

impl State {
    /// What is open; it is opened if nothing is.
    fn opened(&mut self, shared: &Shared) -> Result<&mut Opened, CaptureError> {
        if self.is_closed {
            return Err(over());
        }
        match &mut self.opened {
            Some(opened) => Ok(opened),
            none => {
                let capture = CaptureDirectory::open(&shared.invocation).inspect_err(|error| {
                    if matches!(error, CaptureError::AlreadyRunning { .. }) {
                        self.taken = Some(error.to_string());
                    }
                })?;
                let of = shared
                    .asked
                    .unwrap_or_else(|| Fingerprint::of(&shared.invocation));
                Ok(none.insert(Opened {
                    resumed: capture.checkpoint(of),
                    capture,
                    of,
                    artifacts: None,
                    finished: FinishedArtifacts::default(),
                    earlier: BTreeSet::new(),
                }))
            }
        }
    }
}

impl Opened {
    /// Takes up what an interrupted run has finished, if this one goes on from its checkpoint.
    fn resume(&mut self, time: &ReadDeadline) -> Result<(), CaptureError> {
        if self.resumed.is_none() || self.artifacts.is_some() {
            return Ok(());
        }
        let earlier = EarlierArtifacts::Remove(time);
        let (directory, mut finished) = FinishedArtifacts::resume(&self.capture, self.of, earlier)?;
        finished.digest(&directory, time);
        self.artifacts = Some(Arc::new(directory));
        self.earlier = finished.names().map(str::to_owned).collect();
        self.finished = finished;
        Ok(())
    }

    /// Whether the artifacts directory is open, or can be opened in no time.
    fn has_artifacts_at_once(&mut self) -> bool {
        if self.artifacts.is_some() {
            return true;
        }
        if self.resumed.is_some() {
            return false;
        }
        let opened = self.capture.open_artifacts(EarlierArtifacts::Keep);
        self.artifacts = opened.ok().map(Arc::new);
        self.artifacts.is_some()
    }

    /// The artifacts directory.
    fn artifacts(&mut self, time: &ReadDeadline) -> Result<Arc<OwnedFd>, CaptureError> {
        self.resume(time)?;
        if let Some(directory) = &self.artifacts {
            return Ok(Arc::clone(directory));
        }
        let earlier = EarlierArtifacts::Remove(time);
        let directory = Arc::new(self.capture.open_artifacts(earlier)?);
        self.artifacts = Some(Arc::clone(&directory));
        Ok(directory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use executor_runtime_run::CancelToken;
    use std::{fs, path::Path};
    use wasmtime_wasi::p2::{OutputStream, Pollable};

    /// The artifacts of a run that has its directories in `base`.
    fn store(base: &Path) -> ArtifactStore {
        let document = serde_json::json!({
            "invocation_id": "inv", "runtime_name": "test", "runtime_kind": "test", "working_directory": "/",
            "command": ["none"], "artifact_directory": base,
        });
        let invocation = RuntimeInvocation::from_json(document.to_string().as_bytes()).unwrap();
        ArtifactStore::new(&Run::new(invocation), &Limits::default())
    }

    fn create(store: &ArtifactStore, name: &str) -> Result<Artifact, CreateError> {
        store.create(name.to_owned(), String::new(), String::new())
    }

    /// Finishes the artifacts `one` and `two`, then lets `meanwhile` happen to the capture directory.
    async fn closed_after(meanwhile: impl FnOnce(&Path)) -> Collected {
        let base = tempfile::tempdir().unwrap();
        let store = store(base.path());
        for name in ["one", "two"] {
            let artifact = create(&store, name).unwrap();
            artifact.finish(store.clone()).await.unwrap();
        }
        meanwhile(&base.path().join("inv"));
        store.close()
    }

    #[tokio::test]
    async fn a_run_that_is_over_makes_neither_a_checkpoint_nor_an_artifact() {
        let base = tempfile::tempdir().unwrap();
        for has_begun in [true, false] {
            let time = ReadDeadline::new(None, &CancelToken::new());
            let store = store(base.path());
            if has_begun {
                store.checkpoint(b"state").unwrap();
            }
            store.close_in_time(|| time).await;
            // What a thread of the run asks for that was held up.
            assert!(store.checkpoint(b"late").unwrap_err().contains("the run is over"));
            assert!(create(&store, "late").is_err());
            assert_eq!(store.resumed(), None);
            assert_eq!(fs::read_dir(base.path()).unwrap().count(), 0);
        }
    }

    #[tokio::test]
    async fn a_checkpoint_claims_nothing_that_could_not_be_written() {
        let base = tempfile::tempdir().unwrap();
        let store = store(base.path());
        let begun = store.begin("one".to_owned(), String::new(), String::new(), |_, _, _| {
            // It can't be written to.
            Ok(Written::nothing(File::open("/dev/null").unwrap()))
        });
        let mut body = begun.unwrap().body().unwrap();
        body.write(Bytes::from_static(b"lost")).unwrap();
        let kept = tokio::task::spawn_blocking(move || store.checkpoint(b"state"));
        let error = kept.await.unwrap().unwrap_err();
        assert!(error.contains("an artifact can't be written"), "{error}");
    }

    /// Also where the file system answers at once, and nothing may block where the run is polled.
    #[tokio::test]
    async fn a_checkpoint_can_be_made_while_an_artifact_is_written() {
        let base = tempfile::tempdir().unwrap();
        let store = store(base.path());
        // The second run knows the file system.
        for bytes in [&b"some"[..], b"more"] {
            let name = String::from_utf8_lossy(bytes).into_owned();
            let create = move |store: &ArtifactStore| create(store, &name);
            let mut artifact = store.in_directory(Need::Artifacts, create).await.unwrap();
            let mut body = artifact.body().unwrap();
            for is_written in [false, true] {
                body.write(Bytes::copy_from_slice(bytes)).unwrap();
                if is_written {
                    body.ready().await;
                }
                let keep = move |store: &ArtifactStore| store.checkpoint(bytes);
                store.in_directory(Need::Written, keep).await.unwrap();
                body.ready().await;
            }
            let length = artifact.finish(store.clone()).await.unwrap();
            assert_eq!(length, 2 * bytes.len() as u64);
        }
        assert_eq!(store.close().artifacts.len(), 2);
    }

    #[tokio::test]
    async fn what_was_moved_removed_or_changed_since_is_not_listed() {
        type Meanwhile = fn(&Path);
        let cases: [(Meanwhile, &[&str]); 7] = [
            (|_| {}, &["one", "two"]),
            (|directory| fs::remove_dir_all(directory).unwrap(), &[]),
            (
                |directory| fs::rename(directory, directory.with_file_name("elsewhere")).unwrap(),
                &[],
            ),
            (
                |directory| {
                    let artifacts = directory.join("artifacts");
                    fs::rename(&artifacts, directory.join("elsewhere")).unwrap();
                    std::os::unix::fs::symlink("elsewhere", artifacts).unwrap();
                },
                &[],
            ),
            (
                |directory| fs::remove_file(directory.join("artifacts/one")).unwrap(),
                &["two"],
            ),
            (
                |directory| {
                    let file = directory.join("artifacts/one");
                    fs::remove_file(&file).unwrap();
                    std::os::unix::fs::symlink("two", file).unwrap();
                },
                &["two"],
            ),
            (
                |directory| fs::write(directory.join("artifacts/two"), "changed").unwrap(),
                &["one"],
            ),
        ];
        for (number, (meanwhile, expected)) in cases.into_iter().enumerate() {
            let collected = closed_after(meanwhile).await;
            let listed: Vec<_> = collected
                .artifacts
                .iter()
                .map(|artifact| artifact.artifact_id.as_str())
                .collect();
            assert_eq!(listed, expected, "case {number}");
            assert_eq!(collected.omitted, 2 - expected.len() as u64, "case {number}");
        }
    }
}
