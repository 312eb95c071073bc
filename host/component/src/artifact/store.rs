//! Where a run's artifacts are, what they may be called, and which of them are in the result.
//!
//! They are in the run's capture directory, which is opened (and locked) when the first file is made: a run
//! that leaves nothing touches no disk.

use super::stream::{Artifact, Finished};
use executor_runtime_plugin::{
    Limits,
    session::{MAX_ARTIFACT_NAME, is_valid_artifact_name},
};
use executor_runtime_protocol::{ArtifactDescriptor, RuntimeInvocation};
use executor_runtime_run::capture::{
    CaptureDirectory, CaptureError, Collected, EarlierArtifacts, Fingerprint, ReadDeadline, create_file_at,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
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
}

/// The artifacts of one run. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct ArtifactStore(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    invocation: RuntimeInvocation,
    max_count: u32,
    max_bytes: u64,
    /// The time that there is to remove what an earlier run has left.
    time: ReadDeadline,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    capture: Option<CaptureDirectory>,
    /// The checkpoint that was there when the directory was opened.
    resumed: Option<Vec<u8>>,
    artifacts: Option<Arc<OwnedFd>>,
    names: BTreeSet<String>,
    kept: Vec<Finished>,
}

impl ArtifactStore {
    pub(crate) fn new(invocation: &RuntimeInvocation, limits: &Limits, time: ReadDeadline) -> Self {
        Self(Arc::new(Shared {
            invocation: invocation.clone(),
            max_count: limits.artifacts,
            max_bytes: limits.artifact_bytes,
            time,
            state: Mutex::default(),
        }))
    }

    /// Begins a new artifact. Blocks on the file system.
    pub(crate) fn create(
        &self,
        name: String,
        kind: String,
        description: String,
    ) -> Result<Artifact, CreateError> {
        if !is_valid_artifact_name(&name) {
            return Err(CreateError::InvalidName(name));
        }
        let mut state = self.state();
        if state.names.len() >= self.0.max_count as usize {
            return Err(CreateError::TooMany(self.0.max_count));
        }
        if !state.names.insert(name.clone()) {
            return Err(CreateError::DuplicateName(name));
        }
        let (directory, path) = state.open_artifacts(&self.0.invocation, &self.0.time)?;
        let path = path.join(&name);
        // A name never begins with a dot, so that an unfinished file is not an artifact.
        let partial = format!(".{name}.partial");
        let file = create_file_at(directory.as_fd(), &partial).map_err(|errno| CaptureError::Unwritable {
            path: path.clone(),
            source: errno.into(),
        })?;
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
        Ok(Artifact::new(
            directory,
            File::from(file),
            partial,
            descriptor,
            self.0.max_bytes,
        ))
    }

    /// Lists a finished artifact in the result.
    pub(crate) fn keep(&self, finished: Finished) {
        self.state().kept.push(finished);
    }

    /// Keeps `bytes` for a later run of the same invocation. Blocks on the file system.
    pub(crate) fn checkpoint(&self, bytes: &[u8]) -> Result<(), String> {
        let mut state = self.state();
        let capture = state
            .open_capture(&self.0.invocation)
            .map_err(|error| format!("can't write the checkpoint: {error}"))?;
        capture.keep_checkpoint(Fingerprint::of(&self.0.invocation), bytes)
    }

    /// The checkpoint that an interrupted run of the same invocation has left. Blocks on the file system.
    pub(crate) fn resumed(&self) -> Option<Vec<u8>> {
        let mut state = self.state();
        state.open_capture(&self.0.invocation).ok()?;
        state.resumed.clone()
    }

    /// [`ArtifactStore::close`], without waiting for a file system longer than `time`: here if there is little to look at
    /// where it answers at once, else on another thread. What a thread of the guest still holds up is left to itself.
    pub(crate) async fn close_in_time(&self, time: &ReadDeadline) -> Collected {
        let mut finished = 0;
        if let Ok(state) = self.0.state.try_lock() {
            finished = state.kept.len() as u64;
            match &state.capture {
                None => return Collected::default(),
                Some(capture) if state.kept.len() <= FEW && capture.answers_at_once() => {
                    drop(state);
                    return self.close();
                }
                Some(_) => {}
            }
        }
        let store = self.clone();
        let closing = time.look(move || store.close());
        closing.await.unwrap_or_else(|_| Collected {
            omitted: finished,
            ..Collected::default()
        })
    }

    /// The run has come to an end: its artifacts, in the order in which they were finished, are in the result,
    /// and there is nothing to go on from. One that was moved, removed or changed since counts as omitted. Blocks
    /// on the file system, if the run left anything there.
    pub(crate) fn close(&self) -> Collected {
        let mut state = self.state();
        let mut collected = Collected::default();
        let Some(capture) = state.capture.take() else {
            return collected;
        };
        let directory = state.artifacts.take();
        let directory = directory.filter(|directory| capture.has_in_place(directory));
        for Finished {
            descriptor, version, ..
        } in std::mem::take(&mut state.kept)
        {
            let name = descriptor.artifact_id.as_str();
            match &directory {
                Some(directory) if version.is_called(directory, name) => collected.list(descriptor),
                _ => collected.omitted += 1,
            }
        }
        capture.forget_checkpoint();
        capture.remove_if_empty();
        capture.unlock();
        collected
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn open_capture(&mut self, invocation: &RuntimeInvocation) -> Result<&CaptureDirectory, CaptureError> {
        match &mut self.capture {
            Some(capture) => Ok(capture),
            none => {
                let capture = none.insert(CaptureDirectory::open(invocation)?);
                self.resumed = capture.checkpoint(Fingerprint::of(invocation));
                Ok(capture)
            }
        }
    }

    fn open_artifacts(
        &mut self,
        invocation: &RuntimeInvocation,
        time: &ReadDeadline,
    ) -> Result<(Arc<OwnedFd>, PathBuf), CaptureError> {
        let capture = self.open_capture(invocation)?;
        let path = capture.artifacts_path();
        let directory = match &self.artifacts {
            Some(directory) => Arc::clone(directory),
            None => {
                let earlier = EarlierArtifacts::Remove(time);
                let directory = Arc::new(self.open_capture(invocation)?.open_artifacts(earlier)?);
                self.artifacts = Some(Arc::clone(&directory));
                directory
            }
        };
        Ok((directory, path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use executor_runtime_run::CancelToken;
    use std::{fs, path::Path};

    /// Finishes the artifacts `one` and `two`, then lets `meanwhile` happen to the capture directory.
    async fn closed_after(meanwhile: impl FnOnce(&Path)) -> Collected {
        let base = tempfile::tempdir().unwrap();
        let document = serde_json::json!({
            "invocation_id": "inv", "runtime_name": "test", "runtime_kind": "test", "working_directory": "/",
            "command": ["none"], "artifact_directory": base.path(),
        });
        let invocation = RuntimeInvocation::from_json(document.to_string().as_bytes()).unwrap();
        let time = ReadDeadline::new(None, &CancelToken::new());
        let store = ArtifactStore::new(&invocation, &Limits::default(), time);
        for name in ["one", "two"] {
            let artifact = store.create(name.to_owned(), String::new(), String::new());
            store.keep(artifact.unwrap().finish().await.unwrap());
        }
        meanwhile(&base.path().join("inv"));
        store.close()
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
