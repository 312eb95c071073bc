//! Artifacts: files that a run leaves.

use crate::{carrier, http::BodyReader};
use std::io;

/// Why an artifact can't be created or reopened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ArtifactError {
    /// The name is empty, too long, has other characters than `A-Z a-z 0-9 . _ -`, or begins with a dot.
    InvalidName(String),
    /// The name was used before in this run.
    DuplicateName(String),
    /// This run has made as many artifacts as the host allows.
    TooMany(u32),
    /// The host could not create the file.
    Unwritable(String),
    /// There is no such artifact to go on with: this run resumes none, or the earlier one has not begun it, or had
    /// written fewer bytes.
    NotResumable(String),
}

impl std::fmt::Display for ArtifactError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::InvalidName(name) => write!(
                f,
                "artifact name '{}' is not valid: use A-Z a-z 0-9 . _ - and do not begin with a dot",
                name.escape_debug()
            ),
            Self::DuplicateName(name) => write!(f, "artifact '{name}' already exists in this run"),
            Self::TooMany(0) => f.write_str("this run may not create artifacts"),
            Self::TooMany(limit) => write!(
                f,
                "this run has already created {limit} artifacts, the most allowed"
            ),
            Self::Unwritable(reason) | Self::NotResumable(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for ArtifactError {}

/// How much of a stream an artifact has taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copied {
    /// All of it: this many bytes.
    Whole(u64),
    /// This many bytes, up to the host's limit for an artifact. The rest was not read.
    Capped(u64),
}

/// An artifact that is being written. It is listed in the result once it is [finished](Self::finish); one
/// that is dropped before is removed. If the host dies, it stays for a run that
/// [reopens](crate::Context::reopen_artifact) it.
///
/// ```
/// use executor_runtime_sdk::{Context, Invocation, Outcome, RunError, TestHost};
/// use std::io::Write;
///
/// fn run(_: &Invocation, ctx: &mut Context) -> Result<Outcome, RunError> {
///     let mut report = ctx.artifact("report.txt", "report")?;
///     writeln!(report, "all is well")?;
///     report.finish()?;
///     Ok(Outcome::succeeded())
/// }
///
/// let host = TestHost::new();
/// host.run(&run, &Invocation::new("check")).unwrap();
/// assert_eq!(host.artifact("report.txt").unwrap(), b"all is well\n");
/// ```
#[derive(Debug)]
pub struct ArtifactWriter {
    pub(crate) sink: carrier::ArtifactSink,
}

impl ArtifactWriter {
    /// Writes a response's body, up to its end or the host's limit for an artifact. In a component
    /// most bytes don't pass through the guest.
    ///
    /// # Errors
    /// When the body breaks off, the run is told to stop, or the file can't be written.
    pub fn copy_from(&mut self, body: &mut BodyReader) -> io::Result<Copied> {
        self.copy_from_with(body, |_| {})
    }

    /// The same, telling `progress` after each piece how many bytes have been copied.
    ///
    /// ```no_run
    /// # use executor_runtime_sdk::{Context, RunError};
    /// # fn run(ctx: &Context) -> Result<(), RunError> {
    /// let mut answer = ctx.http().get("https://example.com/large")?;
    /// let length = answer.headers().get("content-length");
    /// let all: Option<f64> = length.and_then(|length| length.to_str().ok()?.parse().ok());
    /// let mut file = ctx.artifact("large", "download")?;
    /// file.copy_from_with(answer.body_mut(), |bytes| {
    ///     ctx.progress(all.map(|all| bytes as f64 / all), "downloading");
    /// })?;
    /// file.finish()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`copy_from`](Self::copy_from).
    pub fn copy_from_with(
        &mut self,
        body: &mut BodyReader,
        mut progress: impl FnMut(u64),
    ) -> io::Result<Copied> {
        self.sink.copy_from(body, &mut progress)
    }

    /// Keeps what was written; returns how many bytes that is.
    ///
    /// # Errors
    /// When not all of it could be written.
    pub fn finish(self) -> io::Result<u64> {
        self.sink.finish()
    }
}

impl io::Write for ArtifactWriter {
    /// Fails with [`io::ErrorKind::FileTooLarge`] at the host's limit for an artifact.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sink.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
