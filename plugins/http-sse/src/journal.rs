//! The artifact `events`: a line of JSON for each event, and the checkpoints that say how long it is.
//!
//! What a line has:
//!
//! | field | value |
//! |---|---|
//! | `event` | the event's name, `message` if it has none |
//! | `id` | the last id that the stream gave; left out if there was none |
//! | `data` | the data, as text |

use crate::{parser::Event, state::State};
use executor_runtime_sdk::{ArtifactError, ArtifactWriter, Context, Instant, Level, RunError};
use serde::Serialize;
use std::{
    io::{ErrorKind, Write},
    time::Duration,
};

const ARTIFACT: &str = "events";

/// How long events may be kept without a checkpoint. Until then a host that dies costs asking for them again.
const EVERY: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(crate) struct Journal {
    artifact: Option<ArtifactWriter>,
    /// Lines that are not written yet.
    lines: Vec<u8>,
    /// The artifact is as long as the host lets it be.
    full: bool,
    /// When there was first something that no checkpoint has.
    since: Option<Instant>,
    warned: bool,
}

#[derive(Serialize)]
struct Line<'e> {
    event: &'e str,
    #[serde(skip_serializing_if = "str::is_empty")]
    id: &'e str,
    data: &'e str,
}

impl Journal {
    /// A new one.
    pub(crate) fn begin(ctx: &Context) -> Result<Self, RunError> {
        match ctx.artifact(ARTIFACT, ARTIFACT) {
            Ok(artifact) => Ok(Self::of(Some(artifact))),
            Err(error) => Err(RunError::rejected(
                "artifacts_unwritable",
                format!("artifact '{ARTIFACT}': {error}"),
            )),
        }
    }

    /// The one that an interrupted run had begun, up to where its last checkpoint says. If the run had ended then, the
    /// artifact may be finished.
    pub(crate) fn reopen(ctx: &Context, state: &State) -> Result<Self, RunError> {
        match ctx.reopen_artifact(ARTIFACT, ARTIFACT, state.length) {
            Ok(artifact) => Ok(Self::of(Some(artifact))),
            Err(ArtifactError::NotResumable(_)) if state.ended.is_some() => Ok(Self::of(None)),
            Err(error) => Err(RunError::failed(
                "artifact_lost",
                format!("the events of the earlier run are lost: {error}"),
            )
            .transient(false)),
        }
    }

    fn of(artifact: Option<ArtifactWriter>) -> Self {
        Self {
            artifact,
            lines: Vec::new(),
            full: false,
            since: None,
            warned: false,
        }
    }

    /// Adds an event, to be [written](Self::write) with others.
    pub(crate) fn add(&mut self, event: &Event) {
        let line = Line {
            event: &event.name,
            id: &event.id,
            data: &event.data,
        };
        // Text is always JSON, and a vector always takes it.
        if serde_json::to_writer(&mut self.lines, &line).is_ok() {
            self.lines.push(b'\n');
        }
    }

    /// Writes what was added, and says how many bytes of it there is room for.
    pub(crate) fn write(&mut self, ctx: &Context, state: &mut State) -> Result<(), RunError> {
        let lines = std::mem::take(&mut self.lines);
        let mut rest = &lines[..];
        while let Some(artifact) = self.artifact.as_mut().filter(|_| !self.full && !rest.is_empty()) {
            match artifact.write(rest) {
                Ok(0) => self.full = true,
                Ok(length) => {
                    state.length += length as u64;
                    rest = &rest[length..];
                }
                Err(error) if error.kind() == ErrorKind::FileTooLarge => self.full = true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    return Err(RunError::failed(
                        "output_unwritable",
                        format!("artifact '{ARTIFACT}': {error}"),
                    ));
                }
            }
        }
        if self.full && !self.warned {
            self.warned = true;
            ctx.log(
                Level::Warn,
                "artifact 'events' is as long as it may be: further events are followed, but not kept",
            );
        }
        self.lines = lines;
        self.lines.clear();
        self.since.get_or_insert(ctx.now());
        Ok(())
    }

    /// How long to wait for more before a checkpoint is due.
    pub(crate) fn wait(&self, ctx: &Context, most: Duration) -> Duration {
        match self.since {
            Some(since) => most.min(EVERY.saturating_sub(ctx.now().duration_since(since))),
            None => most,
        }
    }

    /// Makes a checkpoint if one is due.
    pub(crate) fn keep_in_time(&mut self, ctx: &Context, state: &State) {
        if self.since.is_some() && self.wait(ctx, EVERY).is_zero() {
            self.keep(ctx, state);
        }
    }

    /// Makes a checkpoint. Where that is not possible the run goes on all the same.
    pub(crate) fn keep(&mut self, ctx: &Context, state: &State) {
        self.since = None;
        let kept = serde_json::to_vec(state)
            .map_err(std::io::Error::other)
            .and_then(|bytes| ctx.checkpoint(&bytes));
        if let Err(error) = kept
            && !std::mem::replace(&mut self.warned, true)
        {
            let text = format!("if the host dies, this run can't be resumed: {error}");
            ctx.log(Level::Warn, &text);
        }
    }

    /// Whether not all events could be kept.
    pub(crate) fn is_full(&self) -> bool {
        self.full
    }

    /// Finishes the artifact.
    pub(crate) fn finish(self) -> Result<(), RunError> {
        let finished = self.artifact.map_or(Ok(0), ArtifactWriter::finish);
        finished
            .map(drop)
            .map_err(|error| RunError::failed("output_unwritable", format!("artifact '{ARTIFACT}': {error}")))
    }
}
