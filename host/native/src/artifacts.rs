//! The artifacts of a run, as they are on disk when every process of it has ended.

use super::{
    conversation::{SharedDirectory, lock},
    files::RunDirectory,
};
use executor_runtime_run::capture::{Collected, ReadDeadline, Unrecorded, remove_unfinished};

/// Lists the finished artifacts, as they are on disk; removes what is empty, and what only an interrupted
/// run would leave, unless `unrecorded` has to hold that. One that is not where it was finished, or is no longer a file, counts as omitted.
pub(super) async fn list(
    directory: SharedDirectory,
    unrecorded: Unrecorded,
    read_deadline: ReadDeadline,
) -> Collected {
    let finished = directory
        .try_lock()
        .map_or(0, |directory| directory.finished.names().len());
    let time = read_deadline.clone();
    let listing = read_deadline.look(move || {
        let RunDirectory {
            capture, finished, ..
        } = &mut *lock(&directory);
        if let Ok(Some(artifacts)) = capture.take_artifacts() {
            // What a child was writing when it ended is not an artifact.
            remove_unfinished(&artifacts);
        }
        let artifacts = capture.take_artifacts().ok().flatten();
        let artifacts = artifacts.filter(|artifacts| capture.has_in_place(artifacts));
        if let Some(artifacts) = &artifacts {
            finished.digest(artifacts, &time);
        }
        let collected = finished.list(|_| artifacts.is_some());
        unrecorded.leave(capture);
        collected
    });
    listing.await.unwrap_or_else(|_| Collected {
        omitted: finished as u64,
        ..Collected::default()
    })
}
