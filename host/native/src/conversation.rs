//! The host's end of a child's channel: sends the request, takes what the child says.

use super::{
    files::RunDirectory,
    growth::Growth,
    last_will::LastWill,
    rights,
    wire::{MAX_ANSWER, MAX_FRAME, Message, Request},
};
use executor_runtime_plugin::session::{Level, RunLog, cut, is_valid_artifact_name, printable};
use executor_runtime_protocol::{ArtifactDescriptor, native::Reply};
use executor_runtime_run::{
    ArtifactState, Event, Events,
    capture::{FileVersion, Fingerprint, unfinished_name},
    exhaustion,
};
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::{
    collections::HashSet,
    io,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

/// The longest kind and description of an artifact that are kept, and the longest words about gibberish, in
/// bytes.
const MAX_KIND: usize = 64;
const MAX_DESCRIPTION: usize = 1000;
const MAX_INVALID: usize = 400;

/// What a child said, as far as it was understood.
#[derive(Debug, Default)]
pub(super) struct ReceivedMessages {
    pub(super) end: Option<End>,
    /// The names of the artifacts that it says it has finished.
    names: HashSet<String>,
}

/// What a child said last.
#[derive(Clone, Debug)]
pub(super) enum End {
    Reply(Reply),
    /// The result was longer than the host takes: this many bytes.
    TooLong(u64),
    /// What it said makes no sense.
    Invalid(String),
}

/// One conversation. What was said up to any moment can be read from outside.
#[derive(Debug)]
pub(super) struct Conversation {
    said: Mutex<ReceivedMessages>,
    log: Arc<RunLog>,
    directory: Option<SharedDirectory>,
    fingerprint: Fingerprint,
    max_artifacts: usize,
    events: Events,
    growth: Growth,
    last_will: LastWill,
}

/// The directory of a run. It is locked by what waits for its file system.
pub(super) type SharedDirectory = Arc<Mutex<RunDirectory>>;

impl Conversation {
    pub(super) fn new(
        log: Arc<RunLog>,
        directory: Option<SharedDirectory>,
        fingerprint: Fingerprint,
        max_artifacts: u32,
        events: Events,
        last_will: LastWill,
    ) -> Self {
        Self {
            last_will,
            growth: Growth::new(max_artifacts as usize),
            events,
            said: Mutex::default(),
            log,
            directory,
            fingerprint,
            max_artifacts: max_artifacts as usize,
        }
    }

    pub(super) fn said(&self) -> MutexGuard<'_, ReceivedMessages> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the last will is carried out, if the child has left one. To be called once it has ended.
    pub(super) async fn carry_out_last_will(&self) {
        self.last_will.carried_out(&self.log).await;
    }

    /// Whether the child has said what makes no sense.
    pub(super) fn makes_no_sense(&self) -> bool {
        matches!(self.said().end, Some(End::Invalid(_)))
    }

    /// Sends the request and listens until the child closes the channel or says what makes no sense. Meanwhile it tells of
    /// artifacts that grow.
    pub(super) async fn hold(&self, channel: UnixStream, request: Vec<u8>, fds: Vec<OwnedFd>) {
        let listening = self.listen(channel, request, fds);
        match &self.directory {
            Some(directory) if self.events.are_wanted() => tokio::select! {
                () = listening => {}
                never = self.growth.watch(directory, &self.events) => match never {},
            },
            _ => listening.await,
        }
    }

    async fn listen(&self, mut channel: UnixStream, request: Vec<u8>, fds: Vec<OwnedFd>) {
        // A child that ends without reading is known by how it ends.
        if send_request(&mut channel, &request, &fds).await.is_err() {
            return;
        }
        drop(fds);
        while let Ok(length) = channel.read_u32_le().await {
            if length as usize > MAX_FRAME {
                self.said().end = Some(End::Invalid(format!("a message of {length} bytes")));
                return;
            }
            let mut json = Vec::new();
            let mut frame = (&mut channel).take(length.into());
            if frame.read_to_end(&mut json).await.is_err() || json.len() != length as usize {
                return;
            }
            match serde_json::from_slice(&json) {
                Ok(message) => {
                    if let Some(done) = self.hear(message).await {
                        // A child that has ended reads none; what it said before that still counts.
                        let _ = answer(&mut channel, done).await;
                    }
                }
                Err(error) => {
                    self.said().end = Some(gibberish(&error));
                    return;
                }
            }
        }
    }

    /// Takes note of a message, and does what it asks for: the answer says whether that is done, or why not.
    async fn hear(&self, message: Message) -> Option<Result<(), String>> {
        match message {
            Message::Log { level, message } => {
                let level = match level {
                    0 => Level::Trace,
                    1 => Level::Debug,
                    2 => Level::Info,
                    3 => Level::Warn,
                    _ => Level::Error,
                };
                self.log.log(level, &message);
            }
            Message::Progress { fraction, message } => self.log.progress(fraction, &message),
            Message::Begun { name } => self.growth.begin(name),
            Message::Dropped { name } => self.remove(name).await,
            Message::Artifact {
                name,
                kind,
                description,
                truncated,
            } => return Some(self.finish(name, &kind, &description, truncated).await),
            Message::Checkpoint { state } => {
                let (of, bytes) = (self.fingerprint, state.len() as u64);
                let keep = move |directory: &mut RunDirectory| {
                    directory.finished.checkpoint(&directory.capture, of, &state)
                };
                let kept = self.in_directory(keep).await;
                if kept.is_ok() {
                    self.events.report(Event::Checkpoint { bytes });
                }
                return Some(kept);
            }
            Message::LastWill { command } if command.is_empty() => {
                self.last_will.withdraw().await;
                return Some(Ok(()));
            }
            Message::LastWill { command } => return Some(self.last_will.leave(command).await),
            Message::Result { reply } => {
                self.said().end = Some(match serde_json::from_str(&reply) {
                    Ok(reply) => End::Reply(reply),
                    Err(error) => gibberish(&error),
                });
            }
            Message::TooLong { bytes } => self.said().end = Some(End::TooLong(bytes)),
        }
        None
    }

    /// Removes the file of an artifact that is given up.
    async fn remove(&self, name: String) {
        if !is_valid_artifact_name(&name) {
            return;
        }
        self.growth.end(&name);
        let removed = self.in_directory(move |directory| {
            let partial = unfinished_name(&name);
            unlinkat(&directory.artifacts, partial.as_str(), UnlinkatFlags::NoRemoveDir)
                .map_err(|errno| errno.to_string())
        });
        // What stays is removed with the end of the run.
        let _ = removed.await;
    }

    /// Lists an artifact, whose file gets its name. A frame is much longer than what is kept of it.
    async fn finish(
        &self,
        name: String,
        kind: &str,
        description: &str,
        truncated: bool,
    ) -> Result<(), String> {
        if !is_valid_artifact_name(&name) {
            return Err("an artifact can't have this name".to_owned());
        }
        if !self.said().names.insert(name.clone()) {
            return Err(format!("artifact '{name}' was finished before"));
        }
        let kind = match kind {
            "" => "artifact".to_owned(),
            kind => printable(kind, MAX_KIND),
        };
        let description = printable(description, MAX_DESCRIPTION);
        let max = self.max_artifacts;
        self.growth.end(&name);
        let finished = self.in_directory(move |directory| {
            let RunDirectory {
                capture,
                artifacts,
                finished,
            } = directory;
            if finished.names().filter(|other| *other != name).count() >= max {
                return Err(format!("there are {max} artifacts, which is the limit"));
            }
            let path = capture.artifacts_path().join(&name);
            let descriptor = ArtifactDescriptor {
                artifact_id: name.clone(),
                path: path.to_string_lossy().into_owned(),
                kind,
                description,
                metadata: truncated
                    .then(|| ("truncated".to_owned(), "true".to_owned()))
                    .into_iter()
                    .collect(),
            };
            let partial = unfinished_name(&name);
            let version = FileVersion::of_regular_at(&*artifacts, &partial).map_err(io::Error::from);
            version
                .and_then(|version| {
                    finished.finish(capture, &*artifacts, &partial, version, descriptor)?;
                    Ok(ArtifactState {
                        artifact_id: name.clone(),
                        path,
                        bytes: version.bytes(),
                        is_finished: true,
                    })
                })
                .map_err(|error| format!("artifact '{name}' can't be finished: {error}"))
        });
        finished
            .await
            .map(|artifact| self.events.report(Event::Artifact(artifact)))
    }

    /// Does something in the run's directory: here if it answers at once, else on another thread.
    async fn in_directory<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut RunDirectory) -> Result<T, String> + Send + 'static,
    ) -> Result<T, String> {
        let Some(directory) = self.directory.clone() else {
            return Err("there is no directory for artifacts and checkpoints".to_owned());
        };
        let at_once = answers_at_once(&directory).unwrap_or(false);
        let work = move || work(&mut lock(&directory));
        if at_once {
            return work();
        }
        let done = exhaustion::run_blocking(work).await;
        done.unwrap_or_else(|error| Err(error.to_string()))
    }
}

/// Whether its file system answers at once; none while something waits for that. Never blocks.
pub(super) fn answers_at_once(directory: &SharedDirectory) -> Option<bool> {
    match directory.try_lock() {
        Ok(directory) => Some(directory.capture.answers_at_once()),
        Err(TryLockError::Poisoned(directory)) => Some(directory.into_inner().capture.answers_at_once()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// Locks the directory of a run. Only what waits for its file system blocks here.
pub(super) fn lock(directory: &SharedDirectory) -> MutexGuard<'_, RunDirectory> {
    directory.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tells the child whether what it asked for is done.
async fn answer(channel: &mut UnixStream, done: Result<(), String>) -> io::Result<()> {
    let reason = done.err().unwrap_or_default();
    let reason = cut(&reason, MAX_ANSWER).as_bytes();
    let length = u32::try_from(reason.len()).map_err(io::Error::other)?;
    channel.write_all(&length.to_le_bytes()).await?;
    channel.write_all(reason).await
}

/// What the parser says, which repeats what it read.
fn gibberish(error: &serde_json::Error) -> End {
    End::Invalid(printable(&error.to_string(), MAX_INVALID))
}

async fn send_request(channel: &mut UnixStream, request: &[u8], fds: &[OwnedFd]) -> io::Result<()> {
    let length = u32::try_from(request.len())
        .map_err(io::Error::other)?
        .to_le_bytes();
    rights::send_when_writable(channel, length[0], fds).await?;
    channel.write_all(&length[1..]).await?;
    channel.write_all(request).await
}

/// The request's bytes.
pub(super) fn encode(request: &Request) -> Result<Vec<u8>, String> {
    let json = serde_json::to_vec(request).map_err(|error| error.to_string())?;
    if json.len() > MAX_FRAME {
        return Err(format!(
            "the invocation has {} bytes, more than a plugin accepts",
            json.len()
        ));
    }
    Ok(json)
}

#[cfg(test)]
mod tests {
    use super::*;
    use executor_runtime_protocol::RuntimeInvocation;
    use executor_runtime_run::capture::{CaptureDirectory, EarlierArtifacts, FinishedArtifacts};
    use std::{fs, path::Path};

    fn invocation(base: &Path) -> RuntimeInvocation {
        let document = serde_json::json!({"invocation_id": "i", "runtime_name": "r", "runtime_kind": "k",
            "working_directory": "/", "command": ["c"], "artifact_directory": base});
        RuntimeInvocation::from_json(document.to_string().as_bytes()).unwrap()
    }

    fn conversation(base: &Path, max_artifacts: u32) -> Conversation {
        let log = Arc::new(RunLog::new("p", "i", &Events::default()));
        let invocation = invocation(base);
        let capture = CaptureDirectory::open(&invocation).unwrap();
        let directory = RunDirectory {
            artifacts: capture.open_artifacts(EarlierArtifacts::Keep).unwrap(),
            capture,
            finished: FinishedArtifacts::default(),
        };
        let directory = Arc::new(Mutex::new(directory));
        let of = Fingerprint::of(&invocation);
        let (life, _) = io::pipe().unwrap();
        let last_will = LastWill::new(Path::new("/nowhere"), life.into());
        let events = Events::default();
        Conversation::new(log, Some(directory), of, max_artifacts, events, last_will)
    }

    /// Writes what is to be the artifact `name`, and says that it is complete.
    async fn finish(conversation: &Conversation, name: &str, text: &str) -> Result<(), String> {
        let path = lock(conversation.directory.as_ref().unwrap())
            .capture
            .artifacts_path();
        fs::write(path.join(unfinished_name(name)), "content").unwrap();
        let message = Message::Artifact {
            name: name.to_owned(),
            kind: text.to_owned(),
            description: text.to_owned(),
            truncated: false,
        };
        conversation.hear(message).await.unwrap()
    }

    fn listed(conversation: &Conversation) -> Vec<ArtifactDescriptor> {
        let directory = conversation.directory.as_ref().unwrap();
        lock(directory).finished.list(|_| true).artifacts
    }

    #[tokio::test]
    async fn little_is_kept_of_what_is_said_at_length() {
        let base = tempfile::tempdir().unwrap();
        let conversation = conversation(base.path(), 10);
        finish(&conversation, "a", &"x\n".repeat(1 << 20)).await.unwrap();
        let [artifact] = &listed(&conversation)[..] else {
            panic!("it is one")
        };
        assert_eq!(artifact.kind, "x\\n".repeat(MAX_KIND / 2));
        assert_eq!(artifact.description.len(), MAX_DESCRIPTION / 2 * 3);
    }

    #[tokio::test]
    async fn an_artifact_is_listed_once_and_no_more_than_are_allowed() {
        let base = tempfile::tempdir().unwrap();
        let conversation = conversation(base.path(), 2);
        for (name, expected) in [
            ("a", Ok(())),
            ("a", Err("artifact 'a' was finished before")),
            ("b", Ok(())),
            ("c", Err("there are 2 artifacts, which is the limit")),
            (".d", Err("an artifact can't have this name")),
        ] {
            let finished = finish(&conversation, name, "k").await;
            assert_eq!(finished, expected.map_err(str::to_owned), "{name}");
        }
        let message = Message::Artifact {
            name: "never-written".to_owned(),
            kind: String::new(),
            description: String::new(),
            truncated: false,
        };
        assert!(conversation.hear(message).await.unwrap().is_err());
        let listed = listed(&conversation);
        let names: Vec<_> = listed.iter().map(|artifact| &*artifact.artifact_id).collect();
        assert_eq!(names, ["a", "b"]);
    }

    #[tokio::test]
    async fn gibberish_is_told_shortly() {
        let base = tempfile::tempdir().unwrap();
        let conversation = conversation(base.path(), 2);
        let reply = format!("\"\u{202e}\\u001b{}\"", "y".repeat(1 << 20));
        assert_eq!(conversation.hear(Message::Result { reply }).await, None);
        let said = conversation.said();
        let Some(End::Invalid(words)) = &said.end else {
            panic!("it is no reply")
        };
        assert!(words.len() < 2 * MAX_INVALID, "{} bytes", words.len());
        assert!(words.contains("\\u{202e}\\u{1b}yyy"), "{words}");
    }
}
