//! The artifacts that a plugin has finished, and what is kept of them for the case that its run is interrupted.
//!
//! A run that goes on from a checkpoint does not make again what it had finished before its host died. So from the first
//! checkpoint on there is a record beside it in the capture directory: a line that says which invocation it is about, then
//! one line for each artifact, which is written before the file is given its name. A line that was not written to its end
//! is none. The record goes when the checkpoint does.
//!
//! A run that goes on finds each artifact that still is what was recorded: a regular file of the same inode, length and time
//! of modification, and of the same digest where that was known. What was begun and not finished stays, to be gone on with.
//! Everything else in the artifacts directory is not the run's, and is removed.

use super::{
    ARTIFACTS, CaptureDirectory, CaptureError, Collected, DIRECTORY, EarlierArtifacts, FileVersion,
    Fingerprint, ReadDeadline, Size,
    collect::{Kind, SHA256, read_directory},
    open_regular_at, remove_tree_at,
    restore::FileStamp,
    unfinished::is_unfinished,
    unwritable,
};
use executor_runtime_protocol::ArtifactDescriptor;
use nix::{
    errno::Errno,
    fcntl::{AtFlags, OFlag, openat, renameat},
    sys::stat::{Mode, fstatat},
    unistd::{UnlinkatFlags, unlinkat},
};
use std::{
    collections::HashSet,
    ffi::OsStr,
    fs::File,
    io::{self, Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
};

pub(super) const NAME: &str = "finished";
pub(super) const PARTIAL: &str = ".finished.partial";
/// The longest record that is read, in bytes: much more than a plugin's artifacts come to.
const MAX_RECORD: u64 = 64 << 20;
/// What a recorded artifact may say beside its digest.
const TRUNCATED: &str = "truncated";

/// A finished artifact. The file has the descriptor's id as its name.
#[derive(Clone, Debug)]
pub struct FinishedArtifact {
    /// What is listed.
    pub descriptor: ArtifactDescriptor,
    /// The file that it is about.
    pub version: FileVersion,
}

/// The artifacts that a run has finished, in that order, with those of the run that it goes on from.
#[derive(Debug, Default)]
pub struct FinishedArtifacts {
    artifacts: Vec<FinishedArtifact>,
    /// The names of those that were finished before the run was interrupted, and are not there any more.
    lost: HashSet<String>,
    /// Begins with the first checkpoint.
    record: Option<Record>,
}

#[derive(Debug)]
struct Record {
    of: Fingerprint,
    /// None while it has no line, or the last one could not be written.
    file: Option<File>,
}

impl FinishedArtifacts {
    /// Opens the artifacts directory for a run that goes on from a checkpoint: with what was finished, what was begun, and nothing else.
    /// If [`EarlierArtifacts::Keep`] and there may be more to do than takes no time, that is an error.
    pub fn resume(
        capture: &CaptureDirectory,
        of: Fingerprint,
        earlier: EarlierArtifacts<'_>,
    ) -> Result<(OwnedFd, Self), CaptureError> {
        let record = Some(Record { of, file: None });
        let time = match earlier {
            EarlierArtifacts::Remove(time) => time,
            EarlierArtifacts::Keep if is_recorded(capture) => return Err(left(capture)),
            EarlierArtifacts::Keep => {
                let finished = Self {
                    record,
                    ..Self::default()
                };
                return Ok((capture.open_artifacts(earlier)?, finished));
            }
        };
        let recorded = read(capture, of);
        let directory = openat(
            &capture.handle,
            ARTIFACTS,
            DIRECTORY | OFlag::O_NOFOLLOW,
            Mode::empty(),
        );
        let Ok(directory) = directory else {
            // Nothing, or what is no directory, which is replaced.
            let names = recorded.into_iter().map(|(descriptor, _)| descriptor.artifact_id);
            let finished = Self {
                artifacts: Vec::new(),
                lost: names.collect(),
                record,
            };
            return Ok((capture.open_artifacts(earlier)?, finished));
        };
        let (artifacts, lost) = still_there(recorded, &directory, capture);
        remove_others(&directory, &artifacts, time).map_err(|errno| match errno {
            Errno::ETIME => left(capture),
            errno => unwritable(&capture.artifacts_path(), errno),
        })?;
        let finished = Self {
            artifacts,
            lost,
            record,
        };
        Ok((directory, finished))
    }

    /// Gives the file `partial`, which is this version, its name, and lists it in place of what had that name before. Whatever
    /// the descriptor has of size and digest is taken as it is.
    ///
    /// # Errors
    /// When it can't be recorded or renamed; the file still is called `partial` then.
    pub fn finish(
        &mut self,
        capture: &CaptureDirectory,
        directory: impl AsFd,
        partial: &str,
        version: FileVersion,
        descriptor: ArtifactDescriptor,
    ) -> io::Result<()> {
        let name = descriptor.artifact_id.as_str();
        self.append(capture, &descriptor, version)?;
        renameat(&directory, partial, &directory, name)?;
        self.lost.remove(name);
        self.artifacts
            .retain(|before| before.descriptor.artifact_id != name);
        self.artifacts.push(FinishedArtifact { descriptor, version });
        Ok(())
    }

    /// Keeps `state` in place of the checkpoint before; from now on, what is finished is recorded.
    ///
    /// # Errors
    /// A sentence, when it can't be kept.
    pub fn checkpoint(
        &mut self,
        capture: &CaptureDirectory,
        of: Fingerprint,
        state: &[u8],
    ) -> Result<(), String> {
        if self.record.is_none() {
            let begun = if self.artifacts.is_empty() {
                // An earlier run's is not this one's.
                forget(capture).map(|()| None)
            } else {
                write(capture, of, &self.artifacts).map(Some)
            };
            let file = begun.map_err(|error| format!("can't write the checkpoint: {error}"))?;
            self.record = Some(Record { of, file });
        }
        capture.keep_checkpoint(of, state)
    }

    /// Reads the files, and puts into each descriptor what length and digest its file has. One that has another digest than
    /// when it was finished is lost. Blocks.
    pub fn digest(&mut self, directory: &OwnedFd, read_deadline: &ReadDeadline) {
        for mut artifact in std::mem::take(&mut self.artifacts) {
            if digest(&mut artifact.descriptor, directory, read_deadline).is_some() {
                self.artifacts.push(artifact);
            } else {
                self.lost.insert(artifact.descriptor.artifact_id);
            }
        }
    }

    /// The names of the artifacts.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.artifacts
            .iter()
            .map(|artifact| artifact.descriptor.artifact_id.as_str())
    }

    /// Lists all for which `in_place` holds; the others count as omitted, and so does what was lost before.
    pub fn list(&mut self, in_place: impl Fn(&FinishedArtifact) -> bool) -> Collected {
        let mut collected = Collected {
            omitted: self.lost.drain().count() as u64,
            ..Collected::default()
        };
        for artifact in std::mem::take(&mut self.artifacts) {
            if in_place(&artifact) {
                collected.list(artifact.descriptor);
            } else {
                collected.omitted += 1;
            }
        }
        collected
    }

    /// Records an artifact that is about to be finished, if there is a checkpoint.
    fn append(
        &mut self,
        capture: &CaptureDirectory,
        descriptor: &ArtifactDescriptor,
        version: FileVersion,
    ) -> io::Result<()> {
        let Some(record) = &mut self.record else {
            return Ok(());
        };
        let mut file = match record.file.take() {
            Some(file) => file,
            None => write(capture, record.of, &self.artifacts).map_err(io::Error::other)?,
        };
        // One that is written in part is written anew with the next.
        file.write_all(&line(descriptor, version)?)?;
        record.file = Some(file);
        Ok(())
    }
}

/// Reads the file of an artifact, and puts into its descriptor what there is to say of it; None if that is something else
/// than what was finished.
fn digest(
    descriptor: &mut ArtifactDescriptor,
    directory: &OwnedFd,
    read_deadline: &ReadDeadline,
) -> Option<()> {
    let file = open_regular_at(directory, &descriptor.artifact_id).ok()??;
    let found = Size::of(file, read_deadline).ok()?.metadata();
    let finished = descriptor.metadata.remove(SHA256);
    if let (Some(finished), Some(found)) = (finished, found.get(SHA256))
        && finished != *found
    {
        return None;
    }
    descriptor.metadata.extend(found);
    Some(())
}

/// A record's line about one artifact.
fn line(descriptor: &ArtifactDescriptor, version: FileVersion) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(&(descriptor, version.stamp()))?;
    line.push(b'\n');
    Ok(line)
}

/// Writes a record anew. It is a file of this run's, and its end is where the next line goes.
fn write(
    capture: &CaptureDirectory,
    of: Fingerprint,
    artifacts: &[FinishedArtifact],
) -> Result<File, CaptureError> {
    let unwritable = |source| CaptureError::Unwritable {
        path: capture.path().join(NAME),
        source,
    };
    let mut text = format!("{of}\n").into_bytes();
    for artifact in artifacts {
        text.extend(line(&artifact.descriptor, artifact.version).map_err(unwritable)?);
    }
    capture.replace_file(PARTIAL, NAME, &text)
}

/// What an interrupted run of the same invocation has recorded; nothing if that can't be read.
fn read(capture: &CaptureDirectory, of: Fingerprint) -> Vec<(ArtifactDescriptor, FileStamp)> {
    let mut text = Vec::new();
    let Ok(Some(file)) = open_regular_at(&capture.handle, NAME) else {
        return Vec::new();
    };
    if file.take(MAX_RECORD).read_to_end(&mut text).is_err() {
        return Vec::new();
    }
    let mut lines = text.split_inclusive(|&byte| byte == b'\n');
    if lines.next() != Some(format!("{of}\n").as_bytes()) {
        return Vec::new();
    }
    // The last one may lack its end.
    lines
        .filter(|line| line.ends_with(b"\n"))
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect()
}

/// Those of the recorded artifacts whose file still is what was recorded, and the names of the others. An artifact that was
/// made again has several lines, any of which may be about the file that is there.
fn still_there(
    recorded: Vec<(ArtifactDescriptor, FileStamp)>,
    directory: &OwnedFd,
    capture: &CaptureDirectory,
) -> (Vec<FinishedArtifact>, HashSet<String>) {
    let mut kept = HashSet::new();
    let mut lost = HashSet::new();
    let mut artifacts = Vec::new();
    for (mut descriptor, stamp) in recorded.into_iter().rev() {
        let name = descriptor.artifact_id.clone();
        if kept.contains(&name) {
            continue;
        }
        match recorded_version(directory, &name, stamp) {
            Some(version) => {
                let path = capture.artifacts_path().join(&name);
                descriptor.path = path.to_string_lossy().into_owned();
                descriptor
                    .metadata
                    .retain(|key, _| key == SHA256 || key == TRUNCATED);
                artifacts.push(FinishedArtifact { descriptor, version });
                lost.remove(&name);
                kept.insert(name);
            }
            None => {
                lost.insert(name);
            }
        }
    }
    artifacts.reverse();
    (artifacts, lost)
}

/// The file of a recorded artifact, if it still is what was recorded.
fn recorded_version(directory: &OwnedFd, name: &str, stamp: FileStamp) -> Option<FileVersion> {
    let is_file_name = !name.starts_with('.') && !name.contains('/');
    let version = is_file_name.then(|| FileVersion::of_regular_at(directory, name).ok())??;
    (version.stamp() == stamp).then_some(version)
}

/// Removes everything from the directory that is neither finished nor begun.
fn remove_others(directory: &OwnedFd, finished: &[FinishedArtifact], time: &ReadDeadline) -> nix::Result<()> {
    let again = openat(directory, ".", DIRECTORY, Mode::empty())?;
    let (_, entries) = read_directory(again)?;
    let names: HashSet<_> = finished
        .iter()
        .map(|artifact| artifact.descriptor.artifact_id.as_bytes())
        .collect();
    for (name, kind) in entries {
        let is_begun = kind == Kind::File && is_unfinished(&name);
        if !is_begun && !names.contains(name.as_slice()) {
            remove_tree_at(directory, OsStr::from_bytes(&name), time)?;
        }
    }
    Ok(())
}

fn is_recorded(capture: &CaptureDirectory) -> bool {
    fstatat(&capture.handle, NAME, AtFlags::AT_SYMLINK_NOFOLLOW).is_ok()
}

fn forget(capture: &CaptureDirectory) -> Result<(), CaptureError> {
    match unlinkat(&capture.handle, NAME, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(errno) => Err(unwritable(&capture.path().join(NAME), errno)),
    }
}

fn left(capture: &CaptureDirectory) -> CaptureError {
    CaptureError::EarlierArtifacts {
        path: capture.artifacts_path(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CancelToken;
    use executor_runtime_protocol::RuntimeInvocation;
    use std::{
        fs,
        os::unix::fs::symlink,
        path::{Path, PathBuf},
    };

    /// A place for runs of one invocation.
    struct Place {
        base: tempfile::TempDir,
        time: ReadDeadline,
    }

    /// A run that has its directory open.
    struct OpenRun {
        capture: CaptureDirectory,
        directory: OwnedFd,
        finished: FinishedArtifacts,
        of: Fingerprint,
    }

    impl Place {
        fn new() -> Self {
            Self {
                base: tempfile::tempdir().unwrap(),
                time: ReadDeadline::new(None, &CancelToken::new()),
            }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.base.path().join("i").join(name)
        }

        fn capture(&self) -> (CaptureDirectory, Fingerprint) {
            let document = serde_json::json!({"invocation_id": "i", "runtime_name": "r", "runtime_kind": "k",
                "working_directory": "/", "command": ["c"], "artifact_directory": self.base.path()});
            let invocation = RuntimeInvocation::from_json(document.to_string().as_bytes()).unwrap();
            (
                CaptureDirectory::open(&invocation).unwrap(),
                Fingerprint::of(&invocation),
            )
        }

        fn begin(&self) -> OpenRun {
            let (capture, of) = self.capture();
            let directory = capture
                .open_artifacts(EarlierArtifacts::Remove(&self.time))
                .unwrap();
            OpenRun {
                capture,
                directory,
                finished: FinishedArtifacts::default(),
                of,
            }
        }

        fn go_on(&self) -> OpenRun {
            let (capture, of) = self.capture();
            assert!(capture.checkpoint(of).is_some());
            let earlier = EarlierArtifacts::Remove(&self.time);
            let (directory, finished) = FinishedArtifacts::resume(&capture, of, earlier).unwrap();
            OpenRun {
                capture,
                directory,
                finished,
                of,
            }
        }

        /// One that has finished `a` and `b`, the one before and the other after its checkpoint, and was interrupted.
        fn interrupted() -> Self {
            let place = Self::new();
            let mut run = place.begin();
            run.finish("a", "A");
            run.finished.checkpoint(&run.capture, run.of, b"state").unwrap();
            run.finish("b", "B");
            place
        }

        fn files(&self) -> Vec<String> {
            let entries = fs::read_dir(self.path("artifacts")).unwrap();
            let mut names: Vec<_> = entries
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        }
    }

    impl OpenRun {
        fn write(&self, name: &str, text: &str) -> (String, ArtifactDescriptor) {
            let partial = format!(".{name}.partial");
            let file = super::super::create_file_at(self.directory.as_fd(), &partial).unwrap();
            File::from(file).write_all(text.as_bytes()).unwrap();
            let descriptor = ArtifactDescriptor {
                artifact_id: name.to_owned(),
                path: self
                    .capture
                    .artifacts_path()
                    .join(name)
                    .to_string_lossy()
                    .into_owned(),
                kind: "kind".to_owned(),
                description: format!("says {text}"),
                metadata: [(SHA256.to_owned(), sha256(text))].into(),
            };
            (partial, descriptor)
        }

        fn finish(&mut self, name: &str, text: &str) {
            let (partial, descriptor) = self.write(name, text);
            let version = FileVersion::of_regular_at(&self.directory, &partial).unwrap();
            self.finished
                .finish(&self.capture, &self.directory, &partial, version, descriptor)
                .unwrap();
        }

        /// Its artifacts and what they say, and how many are omitted.
        fn end(mut self) -> (Vec<String>, u64) {
            self.finished
                .digest(&self.directory, &ReadDeadline::new(None, &CancelToken::new()));
            let collected = self.finished.list(|_| true);
            let mut listed = Vec::new();
            for artifact in collected.artifacts {
                let text = fs::read_to_string(&artifact.path).unwrap();
                assert_eq!(artifact.metadata[SHA256], sha256(&text));
                assert_eq!(artifact.metadata["size_bytes"], text.len().to_string());
                assert_eq!(artifact.kind, "kind");
                assert_eq!(artifact.description, format!("says {text}"));
                listed.push(format!("{}={text}", artifact.artifact_id));
            }
            self.capture.forget_checkpoint();
            (listed, collected.omitted)
        }
    }

    fn sha256(text: &str) -> String {
        use sha2::{Digest, Sha256};
        format!("{:x}", Sha256::digest(text))
    }

    #[test]
    fn what_was_finished_or_begun_is_there_and_nothing_else() {
        let place = Place::interrupted();
        fs::write(place.path("artifacts/.c.partial"), "unfinished").unwrap();
        for directory in ["d", ".f.partial"] {
            fs::create_dir(place.path("artifacts").join(directory)).unwrap();
            fs::write(place.path("artifacts").join(directory).join("e"), "").unwrap();
        }
        symlink("a", place.path("artifacts/.g.partial")).unwrap();
        let run = place.go_on();
        assert_eq!(place.files(), [".c.partial", "a", "b"]);
        drop(run);
        // It was interrupted as well.
        let mut run = place.go_on();
        run.finish("c", "C");
        run.finish("a", "another A");
        drop(run);
        let run = place.go_on();
        assert_eq!(
            run.end(),
            (vec!["b=B".into(), "c=C".into(), "a=another A".into()], 0)
        );
        assert_eq!(place.files(), ["a", "b", "c"]);
        assert_eq!(fs::read_dir(place.path("")).unwrap().count(), 1);
    }

    #[test]
    fn a_run_without_a_checkpoint_keeps_no_record() {
        let place = Place::new();
        let mut run = place.begin();
        run.finish("a", "A");
        assert_eq!(fs::read_dir(place.path("")).unwrap().count(), 1);
        assert_eq!(run.end(), (vec!["a=A".into()], 0));
    }

    #[test]
    fn an_artifact_that_was_being_made_again_is_the_old_or_the_new_one() {
        let place = Place::interrupted();
        let mut run = place.go_on();
        let (_, descriptor) = run.write("a", "another A");
        let version = FileVersion::of_regular_at(&run.directory, ".a.partial").unwrap();
        // The host dies between the two steps of finishing it.
        run.finished.append(&run.capture, &descriptor, version).unwrap();
        drop(run);
        let run = place.go_on();
        assert_eq!(run.end().0, ["a=A", "b=B"]);
    }

    #[test]
    fn the_record_of_an_earlier_run_is_not_that_of_a_run_that_began_anew() {
        let place = Place::interrupted();
        fs::remove_file(place.path("checkpoint")).unwrap();
        let (capture, of) = place.capture();
        let mut finished = FinishedArtifacts::default();
        finished.checkpoint(&capture, of, b"state").unwrap();
        drop(capture);
        assert_eq!(place.go_on().end(), (vec![], 0));
    }

    #[test]
    fn nothing_that_is_torn_changed_or_planted_is_listed() {
        type Meanwhile = fn(&Place);
        fn artifact(place: &Place, name: &str) -> PathBuf {
            place.path("artifacts").join(name)
        }
        fn change_in_place(path: &Path, text: &str) {
            let before = fs::metadata(path).unwrap().modified().unwrap();
            fs::write(path, text).unwrap();
            File::options()
                .write(true)
                .open(path)
                .unwrap()
                .set_modified(before)
                .unwrap();
        }
        fn change_record(place: &Place, change: impl FnOnce(String) -> String) {
            let record = place.path(NAME);
            let text = fs::read_to_string(&record).unwrap();
            fs::write(&record, change(text)).unwrap();
        }
        let cases: [(Meanwhile, &[&str], u64); 10] = [
            (|_| {}, &["a=A", "b=B"], 0),
            (
                |place| change_record(place, |text| text[..text.len() - 1].to_owned()),
                &["a=A"],
                0,
            ),
            (
                |place| fs::write(artifact(place, "a"), "changed").unwrap(),
                &["b=B"],
                1,
            ),
            (|place| change_in_place(&artifact(place, "a"), "X"), &["b=B"], 1),
            (
                |place| {
                    fs::remove_file(artifact(place, "a")).unwrap();
                    symlink("b", artifact(place, "a")).unwrap();
                },
                &["b=B"],
                1,
            ),
            (
                |place| fs::rename(artifact(place, "a"), artifact(place, "b")).unwrap(),
                &[],
                2,
            ),
            (
                |place| {
                    fs::rename(place.path("artifacts"), place.path("elsewhere")).unwrap();
                    symlink("elsewhere", place.path("artifacts")).unwrap();
                },
                &[],
                2,
            ),
            (
                |place| change_record(place, |text| text.replacen(&text[..1], "x", 1)),
                &[],
                0,
            ),
            (
                |place| {
                    fs::rename(artifact(place, "b"), place.path("b")).unwrap();
                    change_record(place, |text| text.replace("\"b\"", "\"../b\""));
                },
                &["a=A"],
                1,
            ),
            (
                |place| {
                    fs::rename(place.path(NAME), place.path("record")).unwrap();
                    symlink("record", place.path(NAME)).unwrap();
                },
                &[],
                0,
            ),
        ];
        for (number, (meanwhile, expected, omitted)) in cases.into_iter().enumerate() {
            let place = Place::interrupted();
            meanwhile(&place);
            let run = place.go_on();
            let listed = run.end();
            let expected = expected.iter().map(|&artifact| artifact.to_owned()).collect();
            assert_eq!(listed, (expected, omitted), "case {number}");
        }
    }
}
