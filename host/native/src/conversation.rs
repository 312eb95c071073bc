//! The host's end of a child's channel: sends the request, takes what the child says.

use super::wire::{MAX_ANSWER, MAX_FRAME, Message, Request};
use executor_runtime_plugin::session::{Level, RunLog, cut, is_valid_artifact_name, printable};
use executor_runtime_protocol::native::Reply;
use executor_runtime_run::capture::{CaptureDirectory, Fingerprint};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use std::{
    collections::HashSet,
    io::{self, IoSlice},
    os::fd::{AsRawFd, OwnedFd, RawFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, Interest},
    net::UnixStream,
};

/// The longest kind and description of an artifact that are kept, and the longest words about gibberish, in
/// bytes.
const MAX_KIND: usize = 64;
const MAX_DESCRIPTION: usize = 1000;
const MAX_INVALID: usize = 400;

/// An artifact that the child says it has finished. A frame is much longer than what is kept of it.
#[derive(Clone, Debug)]
pub(super) struct ReportedArtifact {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) description: String,
    pub(super) truncated: bool,
}

/// What a child said, as far as it was understood.
#[derive(Debug, Default)]
pub(super) struct ReceivedMessages {
    pub(super) end: Option<End>,
    pub(super) artifacts: Vec<ReportedArtifact>,
    /// The names of `artifacts`.
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
    capture: Option<Arc<CaptureDirectory>>,
    fingerprint: Fingerprint,
    max_artifacts: usize,
}

impl Conversation {
    pub(super) fn new(
        log: Arc<RunLog>,
        capture: Option<Arc<CaptureDirectory>>,
        fingerprint: Fingerprint,
        max_artifacts: u32,
    ) -> Self {
        Self {
            said: Mutex::default(),
            log,
            capture,
            fingerprint,
            max_artifacts: max_artifacts as usize,
        }
    }

    pub(super) fn said(&self) -> MutexGuard<'_, ReceivedMessages> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the child has said what makes no sense.
    pub(super) fn makes_no_sense(&self) -> bool {
        matches!(self.said().end, Some(End::Invalid(_)))
    }

    /// Sends the request and listens until the child closes the channel or says what makes no sense.
    pub(super) async fn hold(&self, mut channel: UnixStream, request: Vec<u8>, fds: Vec<OwnedFd>) {
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
                Ok(Message::Checkpoint { state }) => {
                    let kept = self.keep(&state);
                    if answer(&mut channel, kept).await.is_err() {
                        return;
                    }
                }
                Ok(message) => self.hear(message),
                Err(error) => {
                    self.said().end = Some(gibberish(&error));
                    return;
                }
            }
        }
    }

    fn hear(&self, message: Message) {
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
            Message::Artifact {
                name,
                kind,
                description,
                truncated,
            } => {
                let mut said = self.said();
                if is_valid_artifact_name(&name)
                    && said.artifacts.len() < self.max_artifacts
                    && said.names.insert(name.clone())
                {
                    said.artifacts.push(ReportedArtifact {
                        name,
                        kind: printable(&kind, MAX_KIND),
                        description: printable(&description, MAX_DESCRIPTION),
                        truncated,
                    });
                }
            }
            // Answered where it is read.
            Message::Checkpoint { .. } => {}
            Message::Result { reply } => {
                self.said().end = Some(match serde_json::from_str(&reply) {
                    Ok(reply) => End::Reply(reply),
                    Err(error) => gibberish(&error),
                });
            }
            Message::TooLong { bytes } => self.said().end = Some(End::TooLong(bytes)),
        }
    }

    /// Keeps a checkpoint. It has at most 64 KiB: not worth another thread.
    fn keep(&self, state: &[u8]) -> Result<(), String> {
        match &self.capture {
            Some(capture) => capture.keep_checkpoint(self.fingerprint, state),
            None => Err("there is no directory to keep the checkpoint in".to_owned()),
        }
    }
}

/// Tells the child whether its checkpoint is kept.
async fn answer(channel: &mut UnixStream, kept: Result<(), String>) -> io::Result<()> {
    let reason = kept.err().unwrap_or_default();
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
    let fds: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    loop {
        channel.writable().await?;
        let sent = channel.try_io(Interest::WRITABLE, || {
            let first = [IoSlice::new(&length[..1])];
            let rights = [ControlMessage::ScmRights(&fds)];
            let flags = MsgFlags::MSG_NOSIGNAL;
            Ok(sendmsg::<()>(channel.as_raw_fd(), &first, &rights, flags, None)?)
        });
        match sent {
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
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

    fn conversation(max_artifacts: u32) -> Conversation {
        let log = Arc::new(RunLog::new("p", "i", &executor_runtime_run::Events::default()));
        let invocation = br#"{"invocation_id": "i", "runtime_name": "r", "runtime_kind": "k",
            "working_directory": "/", "command": ["c"]}"#;
        let fingerprint = Fingerprint::of(&RuntimeInvocation::from_json(invocation).unwrap());
        Conversation::new(log, None, fingerprint, max_artifacts)
    }

    fn artifact(name: &str, text: &str) -> Message {
        Message::Artifact {
            name: name.to_owned(),
            kind: text.to_owned(),
            description: text.to_owned(),
            truncated: false,
        }
    }

    #[test]
    fn little_is_kept_of_what_is_said_at_length() {
        let conversation = conversation(10);
        conversation.hear(artifact("a", &"x\n".repeat(1 << 20)));
        let said = conversation.said();
        let [claimed] = &said.artifacts[..] else {
            panic!("it is one")
        };
        assert_eq!(claimed.kind, "x\\n".repeat(MAX_KIND / 2));
        assert_eq!(claimed.description.len(), MAX_DESCRIPTION / 2 * 3);
    }

    #[test]
    fn an_artifact_is_claimed_once() {
        let conversation = conversation(2);
        for name in ["a", "a", "a", "b", "c", ".d"] {
            conversation.hear(artifact(name, "k"));
        }
        let said = conversation.said();
        let names: Vec<_> = said.artifacts.iter().map(|claimed| &*claimed.name).collect();
        assert_eq!(names, ["a", "b"]);
    }

    #[test]
    fn gibberish_is_told_shortly() {
        let conversation = conversation(2);
        let reply = format!("\"\u{202e}\\u001b{}\"", "y".repeat(1 << 20));
        conversation.hear(Message::Result { reply });
        let said = conversation.said();
        let Some(End::Invalid(words)) = &said.end else {
            panic!("it is no reply")
        };
        assert!(words.len() < 2 * MAX_INVALID, "{} bytes", words.len());
        assert!(words.contains("\\u{202e}\\u{1b}yyy"), "{words}");
    }
}
