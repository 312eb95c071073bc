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
    /// Bytes that have come.
    seen: u64,
    /// Bytes that come again, and are left out.
    again: u64,
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
                seen: 0,
                again: 0,
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
            stream.again = stream.seen;
            stream.seen = 0;
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
        let length = bytes.len() as u64;
        let again = self.again.saturating_sub(self.seen).min(length);
        self.seen += length;
        // At most `length`.
        let bytes = &bytes[again as usize..];
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
