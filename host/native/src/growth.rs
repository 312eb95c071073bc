//! The artifacts that a child is writing, for those who follow the run.
//!
//! The child says when it begins one, and not when it writes: that would cost as much as the writing. The host looks at how
//! long the files are, a few times a second, while there are any.

use super::{
    conversation::{SharedDirectory, answers_at_once, lock},
    files::RunDirectory,
};
use executor_runtime_plugin::session::is_valid_artifact_name;
use executor_runtime_run::{
    ArtifactState, Event, Events,
    capture::{FileVersion, unfinished_name},
    exhaustion,
};
use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::Notify;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_millis(100);

/// The artifacts that are being written, and how long each was when it was looked at.
#[derive(Debug)]
pub(super) struct Growth {
    written: Mutex<BTreeMap<String, u64>>,
    max: usize,
    has_begun: Notify,
}

impl Growth {
    pub(super) fn new(max_artifacts: usize) -> Self {
        Self {
            written: Mutex::default(),
            max: max_artifacts,
            has_begun: Notify::new(),
        }
    }

    /// The child says that it writes this one.
    pub(super) fn begin(&self, name: String) {
        let mut written = self.written();
        if is_valid_artifact_name(&name) && written.len() < self.max {
            written.entry(name).or_default();
            self.has_begun.notify_one();
        }
    }

    /// It does not write this one any more.
    pub(super) fn end(&self, name: &str) {
        self.written().remove(name);
    }

    /// Tells of each that has grown. To be polled beside the run; it never completes.
    pub(super) async fn watch(&self, directory: &SharedDirectory, events: &Events) -> Infallible {
        loop {
            while self.written().is_empty() {
                self.has_begun.notified().await;
            }
            tokio::time::sleep(LOOK).await;
            let written: Vec<_> = self.written().keys().cloned().collect();
            for (name, found) in look_at(directory, written).await {
                let mut written = self.written();
                match (found, written.get_mut(&name)) {
                    (Some(found), Some(bytes)) if found.bytes != *bytes => {
                        *bytes = found.bytes;
                        // What is finished meanwhile is told after it.
                        events.report(Event::Artifact(found));
                    }
                    // The child has given it up.
                    (None, Some(_)) => drop(written.remove(&name)),
                    _ => {}
                }
            }
        }
    }

    fn written(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Each of the files as it is; none where there is no such file.
async fn look_at(directory: &SharedDirectory, names: Vec<String>) -> Vec<(String, Option<ArtifactState>)> {
    let Some(at_once) = answers_at_once(directory) else {
        // Something waits for its file system.
        return Vec::new();
    };
    let directory = SharedDirectory::clone(directory);
    let look = move || {
        let directory = lock(&directory);
        let look = |name: String| {
            let found = state_of(&directory, &name);
            (name, found)
        };
        names.into_iter().map(look).collect()
    };
    if at_once {
        return look();
    }
    exhaustion::run_blocking(look).await.unwrap_or_default()
}

fn state_of(directory: &RunDirectory, name: &str) -> Option<ArtifactState> {
    let partial = unfinished_name(name);
    let version = FileVersion::of_regular_at(&directory.artifacts, &partial).ok()?;
    Some(ArtifactState {
        artifact_id: name.to_owned(),
        path: directory.capture.artifacts_path().join(partial),
        bytes: version.bytes(),
        is_finished: false,
    })
}
