//! The artifacts of a run that is under way: where each is while it is written, and what followers are told of it.

use crate::{
    event::{ARTIFACT_ID, EventKind},
    runs::Runs,
    table::Entry,
};
use executor_runtime::{
    ArtifactState,
    protocol::{ArtifactDescriptor, RuntimeResult},
};
use serde_json::{Map, json};
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::watch;

/// Of how many artifacts followers are told: events of each stay in the journal.
const MAX_TOLD: usize = 1000;

/// The artifacts of which a run has told so far.
#[derive(Default)]
pub(crate) struct Artifacts {
    /// By their ids.
    known: Mutex<BTreeMap<String, ArtifactState>>,
    /// Changes when one of them does.
    grown: watch::Sender<()>,
}

impl Artifacts {
    /// The file that an artifact was in when there was news of it.
    pub(crate) fn path(&self, id: &str) -> Option<PathBuf> {
        self.known().get(id).map(|artifact| artifact.path.clone())
    }

    /// Tells when one of them has grown.
    pub(crate) fn grown(&self) -> watch::Receiver<()> {
        self.grown.subscribe()
    }

    /// Takes note of what is new; false if it is not, or there are too many.
    fn note(&self, artifact: &ArtifactState) -> bool {
        let mut known = self.known();
        let before = known.get(&artifact.artifact_id);
        let is_new = match before {
            Some(before) => before != artifact && (artifact.is_finished || !before.is_finished),
            None => known.len() < MAX_TOLD,
        };
        if is_new {
            known.insert(artifact.artifact_id.clone(), artifact.clone());
            self.grown.send_replace(());
        }
        is_new
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, ArtifactState>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Runs {
    /// Tells of an artifact, if that is news.
    pub(crate) fn tell_artifact(&self, entry: &Arc<Entry>, artifact: &ArtifactState) {
        if entry.artifacts.note(artifact) {
            let body = Map::from_iter([
                (ARTIFACT_ID.to_owned(), json!(artifact.artifact_id)),
                ("bytes".to_owned(), json!(artifact.bytes)),
                ("finished".to_owned(), json!(artifact.is_finished)),
            ]);
            entry.report(self, EventKind::Artifact, body);
        }
    }

    /// Tells of those that are in the result and of which nothing was told before.
    pub(crate) fn tell_last_artifacts(&self, entry: &Arc<Entry>, result: &RuntimeResult) {
        // Of these there is output.
        let is_output = |artifact: &&ArtifactDescriptor| {
            let path = Some(&artifact.path);
            path == result.stdout_path.as_ref() || path == result.stderr_path.as_ref()
        };
        for artifact in result.artifacts.iter().filter(|artifact| !is_output(artifact)) {
            let bytes = artifact.metadata.get("size_bytes");
            let state = ArtifactState {
                artifact_id: artifact.artifact_id.clone(),
                path: PathBuf::from(&artifact.path),
                bytes: bytes.and_then(|bytes| bytes.parse().ok()).unwrap_or_default(),
                is_finished: true,
            };
            self.tell_artifact(entry, &state);
        }
    }
}
