//! What the host offers a run.

use crate::{ArtifactError, ArtifactWriter, Client, Instant, RunError, carrier};
use std::{
    cell::Cell,
    io::{self, Read},
    time::{Duration, SystemTime},
};

/// How serious a log line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Every step.
    Trace,
    /// For debugging.
    Debug,
    /// What an operator may want to know.
    Info,
    /// Something is unexpected, and the run continues.
    Warn,
    /// Something went wrong.
    Error,
}

/// How a [`Context::sleep`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a run that is told to stop has only its grace left"]
pub enum Slept {
    /// The time is over.
    Through,
    /// The host asked the run to stop.
    Stopped,
}

impl Slept {
    /// Whether the host asked the run to stop.
    pub fn is_stopped(self) -> bool {
        self == Self::Stopped
    }
}

/// What the host offers a run: HTTP, time, the request to stop, input, artifacts, log.
///
/// The same on both carriers. Everything that waits here ends at once when the host asks the run to stop:
/// because it was cancelled, or because its deadline has passed. From then on the run has
/// [`grace`](Self::grace) to tell its backend ([`Client::after_stop`]) and return.
#[derive(Debug)]
pub struct Context {
    pub(crate) host: carrier::Host,
    pub(crate) transport: carrier::Transport,
    stop_seen: Cell<Option<Instant>>,
}

impl Context {
    pub(crate) fn new(host: carrier::Host) -> Self {
        Self {
            transport: carrier::Transport::new(&host),
            host,
            stop_seen: Cell::new(None),
        }
    }

    /// The HTTP client.
    pub fn http(&self) -> Client<'_> {
        Client::new(self)
    }

    /// Sleeps for `time`, or until the run is told to stop.
    pub fn sleep(&self, time: Duration) -> Slept {
        if self.host.wait_stop(time) {
            self.see_stop();
            Slept::Stopped
        } else {
            Slept::Through
        }
    }

    /// This moment on the monotonic clock.
    pub fn now(&self) -> Instant {
        Instant::now()
    }

    /// The time of day, which can be changed during the run: not for measuring durations.
    pub fn system_time(&self) -> SystemTime {
        carrier::system_time()
    }

    /// Time until the deadline, zero once it has passed; None if the run has none.
    pub fn remaining(&self) -> Option<Duration> {
        self.host.remaining()
    }

    /// When the run has to be over; None: never.
    pub fn deadline(&self) -> Option<Instant> {
        Some(self.now() + self.remaining()?)
    }

    /// Whether the host has asked the run to stop: it was cancelled, or its deadline has passed.
    pub fn stop_requested(&self) -> bool {
        // A plugin may see that its deadline has passed before the host gets round to saying so.
        let requested = self.host.stop_requested() || self.deadline_passed();
        if requested {
            self.see_stop();
        }
        requested
    }

    /// Time between the request to stop and the forced end of the run.
    pub fn grace(&self) -> Duration {
        self.host.grace()
    }

    /// The error for a run that ends because it was told to: `timed_out` if the deadline has passed, else
    /// `cancelled`. `doing` says what was under way: `stopped("poll")` gives `timed out in poll`.
    pub fn stopped(&self, doing: &str) -> RunError {
        if self.deadline_passed() {
            RunError::timed_out("timeout", format!("timed out in {doing}"))
        } else {
            RunError::cancelled("cancelled", format!("cancelled in {doing}"))
        }
    }

    pub(crate) fn deadline_passed(&self) -> bool {
        self.remaining().is_some_and(|left| left.is_zero())
    }

    /// When this run has to stop using the network: a quarter of the grace before its end, which
    /// is left for returning.
    pub(crate) fn last_moment(&self) -> Instant {
        let since = self.stop_seen.get().unwrap_or_else(Instant::now);
        since + self.grace().mul_f32(0.75)
    }

    fn see_stop(&self) {
        if self.stop_seen.get().is_none() {
            self.stop_seen.set(Some(Instant::now()));
        }
    }

    /// Writes one log line. The host drops lines of a run that floods it.
    pub fn log(&self, level: Level, message: &str) {
        self.host.log(level, message);
    }

    /// Tells how far the run is: a fraction from 0 to 1, if it can be known, and a few words.
    pub fn progress(&self, fraction: Option<f64>, message: &str) {
        self.host.progress(fraction, message);
    }

    /// A value of this plugin's `config` map in the operator's configuration file.
    pub fn config(&self, key: &str) -> Option<String> {
        self.host.config(key)
    }

    /// The bytes of the invocation's input payload, from the start; None if it has none.
    ///
    /// # Errors
    /// When the host can't open it.
    pub fn open_input(&self) -> io::Result<Option<Input>> {
        let input = self.host.open_input().map_err(io::Error::other)?;
        Ok(input.map(|stream| Input { stream }))
    }

    /// Makes an artifact of this RxP kind, such as `response_body`. The name is a plain file name.
    ///
    /// # Errors
    /// When the name is taken or unusable, or the file can't be created.
    pub fn artifact(&self, name: &str, kind: &str) -> Result<ArtifactWriter, ArtifactError> {
        self.artifact_described(name, kind, "")
    }

    /// The same with a line about it for a person.
    ///
    /// # Errors
    /// As for [`artifact`](Self::artifact).
    pub fn artifact_described(
        &self,
        name: &str,
        kind: &str,
        description: &str,
    ) -> Result<ArtifactWriter, ArtifactError> {
        let sink = self.host.create_artifact(name, kind, description)?;
        Ok(ArtifactWriter { sink })
    }

    /// Goes on with an artifact that an interrupted run of this invocation had begun and not finished (see
    /// [`resumed`](Self::resumed)): keeps the first `length` bytes of what it had written, and writes on after them. So a
    /// download need not begin anew:
    ///
    /// ```
    /// use executor_runtime_sdk::{Context, HostDeath, Invocation, Outcome, RunError, TestHost};
    /// use std::io::Write;
    ///
    /// fn run(_: &Invocation, ctx: &mut Context) -> Result<Outcome, RunError> {
    ///     // The checkpoint says how much there is.
    ///     let done = match ctx.resumed().as_deref() {
    ///         Some(state) => u64::from_le_bytes(state.try_into().unwrap_or_default()),
    ///         None => 0,
    ///     };
    ///     let mut file = match done {
    ///         0 => ctx.artifact("numbers", "file")?,
    ///         _ => ctx.reopen_artifact("numbers", "file", done)?,
    ///     };
    ///     for number in done..4 {
    ///         file.write_all(number.to_string().as_bytes())?;
    ///         ctx.checkpoint(&(number + 1).to_le_bytes())?;
    ///     }
    ///     file.finish()?;
    ///     Ok(Outcome::succeeded())
    /// }
    ///
    /// let invocation = Invocation::new("numbers");
    /// let next = TestHost::new().run_until_death(HostDeath::AtCheckpoint(2), &run, &invocation);
    /// next.run(&run, &invocation)?;
    /// assert_eq!(next.artifact("numbers").unwrap(), b"0123");
    /// # Ok::<_, RunError>(())
    /// ```
    ///
    /// # Errors
    /// [`ArtifactError::NotResumable`] when there is no such artifact, or it is shorter: begin it anew then. Else as for
    /// [`artifact`](Self::artifact).
    pub fn reopen_artifact(
        &self,
        name: &str,
        kind: &str,
        length: u64,
    ) -> Result<ArtifactWriter, ArtifactError> {
        self.reopen_artifact_described(name, kind, "", length)
    }

    /// The same with a line about it for a person.
    ///
    /// # Errors
    /// As for [`reopen_artifact`](Self::reopen_artifact).
    pub fn reopen_artifact_described(
        &self,
        name: &str,
        kind: &str,
        description: &str,
        length: u64,
    ) -> Result<ArtifactWriter, ArtifactError> {
        let sink = self.host.reopen_artifact(name, kind, description, length)?;
        Ok(ArtifactWriter { sink })
    }

    /// Keeps at most 64 KiB, so that a later run of the same invocation can go on from there. Replaces what
    /// was kept before. What was written to artifacts until then can be [reopened](Self::reopen_artifact).
    ///
    /// # Errors
    /// When the host can't keep it.
    pub fn checkpoint(&self, state: &[u8]) -> io::Result<()> {
        self.host.checkpoint(state).map_err(io::Error::other)
    }

    /// Leaves a command, the program first, that is run once this run's process has ended, **by whatever cause**: the plugin
    /// crashed or was killed, it ran out of time, or the host was killed. For what a run has started elsewhere and no
    /// supervisor can end, such as a container or a virtual machine. Native plugins only: a component may not start programs.
    ///
    /// It takes the place of the one before, and is not run once it is
    /// [withdrawn](Self::withdraw_last_will), which is what a run does that has cleaned up by itself. A run that returns
    /// without that has it run, too.
    ///
    /// The program is an absolute path, or a name that is looked for in the host's `PATH`. It is opened now, so it is this
    /// very file that is run. The command has the host's environment, starts in `/` without input, and is killed after 10
    /// seconds. If it fails, a line in the host's log says so, if the host is still there.
    ///
    /// A command that can't do its work yet exits with code 75 (`EX_TEMPFAIL`). The result is then not kept back for it, and it is
    /// run again every second, for two minutes. A line in the host's log says so, and it is the last one about it: how the tries
    /// end is not reported.
    ///
    /// A will may be run twice: when what runs the command is killed, the command is killed too and then run again. That holds
    /// for the command's own process only; what it has started may still be at work. So it should be one process that does the
    /// work itself, and does no harm the second time.
    ///
    /// ```
    /// use executor_runtime_sdk::{Context, Invocation, Outcome, RunError, TestHost};
    ///
    /// fn run(_: &Invocation, ctx: &mut Context) -> Result<Outcome, RunError> {
    ///     // Before it is there, so that no moment is without.
    ///     ctx.last_will(["virsh", "destroy", "machine-7"])?;
    ///     // Here the machine would be started, and would do its work.
    ///     let gone = ctx.config("fails").is_none();
    ///     if gone {
    ///         ctx.withdraw_last_will()?;
    ///     }
    ///     Ok(Outcome::succeeded())
    /// }
    ///
    /// let host = TestHost::new();
    /// host.run(&run, &Invocation::new("machine"))?;
    /// assert_eq!(host.last_will(), None);
    ///
    /// let host = TestHost::new().config("fails", "yes");
    /// host.run(&run, &Invocation::new("machine"))?;
    /// assert_eq!(host.last_will().unwrap(), ["virsh", "destroy", "machine-7"]);
    /// # Ok::<_, RunError>(())
    /// ```
    ///
    /// # Errors
    /// When there is no such program, or the host can't take it.
    #[cfg(not(target_family = "wasm"))]
    pub fn last_will(&self, command: impl IntoIterator<Item = impl Into<String>>) -> io::Result<()> {
        let command: Vec<String> = command.into_iter().map(Into::into).collect();
        if command.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a last will without a program; withdraw_last_will withdraws one",
            ));
        }
        self.host.last_will(&command).map_err(io::Error::other)
    }

    /// Withdraws what [`last_will`](Self::last_will) left, if anything.
    ///
    /// # Errors
    /// When the host is gone: the will is then carried out.
    #[cfg(not(target_family = "wasm"))]
    pub fn withdraw_last_will(&self) -> io::Result<()> {
        self.host.last_will(&[]).map_err(io::Error::other)
    }

    /// The last checkpoint of an earlier run of this invocation that was interrupted, because its host died. None in
    /// a first run, after a run that came to an end, and where another invocation had the same id.
    pub fn resumed(&self) -> Option<Vec<u8>> {
        self.host.resumed()
    }
}

/// The input payload.
#[derive(Debug)]
pub struct Input {
    stream: carrier::InputStream,
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }
}
