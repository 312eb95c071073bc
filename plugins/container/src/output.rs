//! stdout and stderr of a container, each kept as an artifact that grows.

use bollard::container::LogOutput;
use executor_runtime_sdk::{ArtifactWriter, Context, RunError};
use std::io::{ErrorKind, Write};

/// Both streams.
#[derive(Debug)]
pub(crate) struct Output {
    stdout: Stream,
    stderr: Stream,
}

#[derive(Debug)]
struct Stream {
    artifact: ArtifactWriter,
    position: Position,
    /// It is as long as an artifact may be.
    full: bool,
    /// Why no more of it can be kept.
    error: Option<std::io::Error>,
}

impl Output {
    pub(crate) fn begin(ctx: &Context) -> Result<Self, RunError> {
        let stream = |name: &str| {
            let description = format!("captured {name}");
            let artifact = ctx.artifact_described(name, "log_excerpt", &description)?;
            Ok::<_, RunError>(Stream {
                artifact,
                position: Position::default(),
                full: false,
                error: None,
            })
        };
        Ok(Self {
            stdout: stream("stdout")?,
            stderr: stream("stderr")?,
        })
    }

    /// What comes from now on begins anew: what was seen is not kept again.
    pub(crate) fn repeats(&mut self) {
        for stream in [&mut self.stdout, &mut self.stderr] {
            stream.position.at = 0;
        }
    }

    pub(crate) fn take(&mut self, output: &LogOutput) {
        match output {
            LogOutput::StdErr { message } => self.stderr.take(message),
            LogOutput::StdOut { message } | LogOutput::Console { message } => self.stdout.take(message),
            LogOutput::StdIn { .. } => {}
        }
    }

    /// The end of what was written to each; the error says which could not be kept.
    pub(crate) fn finish(self) -> Result<(), RunError> {
        for (name, stream) in [("stdout", self.stdout), ("stderr", self.stderr)] {
            if let Some(error) = stream.error {
                return Err(RunError::failed(
                    "output",
                    format!("{name} can't be kept: {error}"),
                ));
            }
            stream.artifact.finish()?;
        }
        Ok(())
    }
}

impl Stream {
    fn take(&mut self, bytes: &[u8]) {
        let bytes = self.position.without_known(bytes);
        if self.full || self.error.is_some() {
            return;
        }
        match self.artifact.write_all(bytes) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::FileTooLarge => self.full = true,
            Err(error) => self.error = Some(error),
        }
    }
}

/// Where a stream is that may begin anew, more than once, and end before it is where it was.
#[derive(Debug, Default)]
struct Position {
    /// Bytes that have come since it began.
    at: u64,
    /// The most that have ever come.
    furthest: u64,
}

impl Position {
    /// What of the next bytes has not come before.
    fn without_known<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let length = bytes.len() as u64;
        let known = self.furthest.saturating_sub(self.at).min(length);
        self.at += length;
        self.furthest = self.furthest.max(self.at);
        // At most their length.
        &bytes[known as usize..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_is_kept_once_however_often_the_stream_begins_anew() {
        let all: Vec<u8> = (0..100).collect();
        for lengths in [
            &[100, 30, 100][..],
            &[30, 100, 70, 100],
            &[0, 50, 10, 60, 100],
            &[100, 0],
        ] {
            let (mut position, mut kept) = (Position::default(), Vec::new());
            for length in lengths {
                position.at = 0;
                for piece in all[..*length].chunks(7) {
                    kept.extend_from_slice(position.without_known(piece));
                }
            }
            assert_eq!(kept, all, "{lengths:?}");
        }
    }
}
