//! The artifacts of a run, as they are on disk when every process of it has ended.

use super::conversation::ReportedArtifact;
use executor_runtime_protocol::ArtifactDescriptor;
use executor_runtime_run::capture::{CaptureDirectory, Collected, ReadDeadline, Size, open_regular_at};
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::{
    fs,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
    sync::Arc,
};

/// Lists the finished artifacts, as they are on disk; removes what is empty, and what only an interrupted
/// run would leave. One that is not where it was finished, or is no longer a file, counts as omitted.
pub(super) async fn list(
    capture: Arc<CaptureDirectory>,
    claimed: Vec<ReportedArtifact>,
    read_deadline: ReadDeadline,
) -> Collected {
    let claims = claimed.len() as u64;
    let time = read_deadline.clone();
    let listing = read_deadline.look(move || {
        capture.forget_checkpoint();
        if let Ok(Some(directory)) = capture.take_artifacts() {
            remove_unfinished(&directory);
        }
        let directory = capture.take_artifacts().ok().flatten();
        if directory.is_none() {
            // An earlier run may have left something.
            capture.remove_if_empty();
        }
        let directory = directory.filter(|directory| capture.has_in_place(directory));
        let mut collected = Collected::default();
        for artifact in claimed {
            let described = directory
                .as_ref()
                .and_then(|directory| describe(artifact, directory, &capture.artifacts_path(), &time));
            match described {
                Some(artifact) => collected.list(artifact),
                None => collected.omitted += 1,
            }
        }
        capture.unlock();
        collected
    });
    listing.await.unwrap_or_else(|_| Collected {
        omitted: claims,
        ..Collected::default()
    })
}

/// Describes the file of a finished artifact; None without one.
fn describe(
    artifact: ReportedArtifact,
    directory: &OwnedFd,
    path: &Path,
    read_deadline: &ReadDeadline,
) -> Option<ArtifactDescriptor> {
    let file = open_regular_at(directory, &artifact.name).ok()??;
    let mut metadata = Size::of(file, read_deadline).ok()?.metadata();
    if artifact.truncated {
        metadata.insert("truncated".to_owned(), "true".to_owned());
    }
    let kind = if artifact.kind.is_empty() {
        "artifact".to_owned()
    } else {
        artifact.kind
    };
    Some(ArtifactDescriptor {
        path: path.join(&artifact.name).to_string_lossy().into_owned(),
        artifact_id: artifact.name,
        kind,
        description: artifact.description,
        metadata,
    })
}

/// What a child was writing when it ended is not an artifact.
fn remove_unfinished(directory: &OwnedFd) {
    let entries = fs::read_dir(format!("/proc/self/fd/{}", directory.as_raw_fd()));
    for entry in entries.into_iter().flatten().flatten() {
        let name = entry.file_name();
        let bytes = name.as_bytes();
        if bytes.starts_with(b".") && bytes.ends_with(b".partial") {
            // A directory that the plugin has made stays.
            let _ = unlinkat(directory, name.as_os_str(), UnlinkatFlags::NoRemoveDir);
        }
    }
}
