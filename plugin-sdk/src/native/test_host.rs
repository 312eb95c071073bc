//! A host in memory, for an author's unit tests.

use super::{
    Host,
    host::{HostFunctions, Sink},
};
use crate::{ArtifactError, Context, Invocation, Level, Outcome, RunError, Runner};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{self, PipeReader, PipeWriter, Seek, Write},
    os::fd::{AsFd, BorrowedFd},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// Runs a runner in a test, without a host process: quick, and steppable with a debugger.
///
/// It makes real HTTP requests and keeps artifacts, log and checkpoint in memory. To test the built plugin
/// under the real host, use the crate `executor-runtime-testing`.
///
/// ```
/// use executor_runtime_sdk::{Context, Invocation, Level, Outcome, RunError, TestHost};
///
/// fn run(_: &Invocation, ctx: &mut Context) -> Result<Outcome, RunError> {
///     let region = ctx.config("region").unwrap_or_default();
///     ctx.log(Level::Info, &format!("in {region}"));
///     Ok(Outcome::succeeded())
/// }
///
/// let host = TestHost::new().config("region", "eu-north-1");
/// host.run(&run, &Invocation::new("where")).unwrap();
/// assert_eq!(host.log(), [(Level::Info, "in eu-north-1".to_owned())]);
/// ```
#[derive(Clone, Debug)]
pub struct TestHost(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// Readable once stopped, because the writer is gone.
    stop: PipeReader,
}

#[derive(Debug)]
struct State {
    running: Option<PipeWriter>,
    deadline: Option<Instant>,
    grace: Duration,
    config: BTreeMap<String, String>,
    input: Option<Vec<u8>>,
    /// What is finished, by an interrupted run too.
    artifacts: BTreeMap<String, Vec<u8>>,
    /// What is not.
    unfinished: BTreeMap<String, Vec<u8>>,
    /// The names of what this run has begun.
    begun: BTreeSet<String>,
    artifact_limit: usize,
    log: Vec<(Level, String)>,
    progress: Option<(Option<f64>, String)>,
    checkpoint: Option<Vec<u8>>,
    resumed: Option<Vec<u8>>,
    last_will: Option<Vec<String>>,
    death: Option<HostDeath>,
    /// What this run has done until now.
    checkpoints: u32,
    written: u64,
    dead: bool,
}

/// When the host dies in [`TestHost::run_until_death`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HostDeath {
    /// As soon as the run has this many checkpoints kept.
    AtCheckpoint(u32),
    /// As soon as the run has written this many bytes to artifacts, in all: after its last checkpoint, unless it makes one
    /// for each byte.
    AtBytes(u64),
}

impl State {
    fn new(running: PipeWriter) -> Self {
        Self {
            running: Some(running),
            deadline: None,
            grace: Duration::from_secs(2),
            config: BTreeMap::new(),
            input: None,
            artifacts: BTreeMap::new(),
            unfinished: BTreeMap::new(),
            begun: BTreeSet::new(),
            artifact_limit: usize::MAX,
            log: Vec::new(),
            progress: None,
            checkpoint: None,
            resumed: None,
            last_will: None,
            death: None,
            checkpoints: 0,
            written: 0,
            dead: false,
        }
    }

    fn begin(&mut self, name: &str) -> Result<(), ArtifactError> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        if !(1..=128).contains(&name.len()) || name.starts_with('.') || !name.bytes().all(plain) {
            return Err(ArtifactError::InvalidName(name.to_owned()));
        }
        match self.begun.contains(name) {
            true => Err(ArtifactError::DuplicateName(name.to_owned())),
            false => Ok(()),
        }
    }

    /// Cuts what an interrupted run has left of an artifact; the error says why there is no such thing.
    fn cut(&mut self, name: &str, length: u64) -> Result<(), &'static str> {
        if self.resumed.is_none() {
            return Err("this run does not go on from an interrupted one");
        }
        let left = self.unfinished.get_mut(name);
        let left = left.ok_or("the interrupted run left none of this name unfinished")?;
        match usize::try_from(length) {
            Ok(length) if length <= left.len() => left.truncate(length),
            _ => return Err("the interrupted run had written less"),
        }
        Ok(())
    }
}

impl Default for TestHost {
    fn default() -> Self {
        Self::new()
    }
}

impl TestHost {
    /// A host that offers no config, no input and two seconds of grace, and never stops a run.
    ///
    /// # Panics
    /// If the process has no descriptors left.
    pub fn new() -> Self {
        #[allow(clippy::expect_used, reason = "documented, and only in tests")]
        let (stop, running) = io::pipe().expect("two descriptors");
        Self(Arc::new(Shared {
            state: Mutex::new(State::new(running)),
            changed: Condvar::new(),
            stop,
        }))
    }

    /// With a value in the plugin's `config` map.
    #[must_use]
    pub fn config(self, key: &str, value: &str) -> Self {
        self.0.state().config.insert(key.to_owned(), value.to_owned());
        self
    }

    /// With an input payload.
    #[must_use]
    pub fn input(self, payload: impl Into<Vec<u8>>) -> Self {
        self.0.state().input = Some(payload.into());
        self
    }

    /// With a deadline, counted from now.
    #[must_use]
    pub fn deadline(self, after: Duration) -> Self {
        self.0.state().deadline = Instant::now().checked_add(after);
        self.stop_after(after);
        self
    }

    /// With another grace than two seconds.
    #[must_use]
    pub fn grace(self, grace: Duration) -> Self {
        self.0.state().grace = grace;
        self
    }

    /// With a limit on the bytes of each artifact.
    #[must_use]
    pub fn artifact_limit(self, bytes: usize) -> Self {
        self.0.state().artifact_limit = bytes;
        self
    }

    /// With the checkpoint of an earlier, interrupted run. [`run_until_death`](Self::run_until_death) makes one.
    #[must_use]
    pub fn resumed(self, state: impl Into<Vec<u8>>) -> Self {
        self.0.state().resumed = Some(state.into());
        self
    }

    /// Asks the run to stop.
    pub fn stop(&self) {
        self.0.state().running = None;
        self.0.changed.notify_all();
    }

    /// Asks the run to stop, so long from now.
    pub fn stop_after(&self, time: Duration) {
        let shared = Arc::downgrade(&self.0);
        std::thread::spawn(move || {
            std::thread::sleep(time);
            if let Some(shared) = shared.upgrade() {
                Self(shared).stop();
            }
        });
    }

    /// Runs one invocation to its end.
    ///
    /// # Errors
    /// The runner's.
    pub fn run(&self, runner: &impl Runner, invocation: &Invocation) -> Result<Outcome, RunError> {
        let mut state = self.0.state();
        state.begun.clear();
        state.last_will = None;
        (state.checkpoints, state.written) = (0, 0);
        drop(state);
        let mut context = Context::new(Host(Arc::new(self.clone())));
        context.transport.continue_trace(invocation);
        let ended = runner.run(invocation, &mut context);
        let mut state = self.0.state();
        if !state.dead {
            // What an interrupted run had begun, and this one has not gone on with.
            state.unfinished.clear();
        }
        drop(state);
        ended
    }

    /// Runs an invocation until the host dies, as one that is killed does: the runner is told nothing, and none of its code
    /// runs any more. Returns the host that comes after it, to [run](Self::run) the invocation again: it has the last
    /// checkpoint, and, if there is one, what was finished and what was written of artifacts.
    ///
    /// The runner's stack is unwound, so that a destructor of the runner's own still runs; a real host leaves no time for
    /// that.
    ///
    /// ```
    /// use executor_runtime_sdk::{Context, HostDeath, Invocation, Outcome, RunError, TestHost};
    ///
    /// fn run(_: &Invocation, ctx: &mut Context) -> Result<Outcome, RunError> {
    ///     let order = match ctx.resumed() {
    ///         Some(order) => order,
    ///         None => {
    ///             // Here it would be placed, once.
    ///             ctx.log(executor_runtime_sdk::Level::Info, "placed");
    ///             b"order 7".to_vec()
    ///         }
    ///     };
    ///     ctx.checkpoint(&order)?;
    ///     Ok(Outcome::succeeded().receipt("order", String::from_utf8_lossy(&order)))
    /// }
    ///
    /// let (host, invocation) = (TestHost::new(), Invocation::new("order"));
    /// let next = host.run_until_death(HostDeath::AtCheckpoint(1), &run, &invocation);
    /// let outcome = next.run(&run, &invocation)?;
    /// assert_eq!(outcome.get_receipt("order"), Some("order 7"));
    /// assert!(next.log().is_empty(), "it was not placed again");
    /// # Ok::<_, RunError>(())
    /// ```
    ///
    /// # Panics
    /// If the run ends before.
    #[track_caller]
    #[must_use]
    pub fn run_until_death(&self, death: HostDeath, runner: &impl Runner, invocation: &Invocation) -> Self {
        self.0.state().death = Some(death);
        let ended = catch_unwind(AssertUnwindSafe(|| self.run(runner, invocation)));
        match (ended, self.0.state().dead) {
            (_, true) => {}
            (Err(panic), false) => resume_unwind(panic),
            (Ok(ended), false) => panic!("the run ended before its host died: {ended:?}"),
        }
        self.next()
    }

    /// The host that comes after this one, which has died.
    fn next(&self) -> Self {
        let next = Self::new();
        let died = self.0.state();
        let mut state = next.0.state();
        state.grace = died.grace;
        state.config.clone_from(&died.config);
        state.input.clone_from(&died.input);
        state.artifact_limit = died.artifact_limit;
        state.resumed = died.checkpoint.clone().or_else(|| died.resumed.clone());
        if state.resumed.is_some() {
            state.artifacts.clone_from(&died.artifacts);
            state.unfinished.clone_from(&died.unfinished);
        }
        drop(state);
        next
    }

    /// A finished artifact.
    pub fn artifact(&self, name: &str) -> Option<Vec<u8>> {
        self.0.state().artifacts.get(name).cloned()
    }

    /// The log lines so far.
    pub fn log(&self) -> Vec<(Level, String)> {
        self.0.state().log.clone()
    }

    /// The last progress.
    pub fn progress(&self) -> Option<(Option<f64>, String)> {
        self.0.state().progress.clone()
    }

    /// The command that a host would run after the run, because it was left as the run's
    /// [last will](Context::last_will) and not withdrawn. This host runs none.
    pub fn last_will(&self) -> Option<Vec<String>> {
        self.0.state().last_will.clone()
    }

    /// The last checkpoint.
    pub fn checkpoint(&self) -> Option<Vec<u8>> {
        self.0.state().checkpoint.clone()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What unwinds the stack of a run whose host has died.
struct Died;

impl TestHost {
    /// What the host functions work on. None returns to the runner once the host has died, except to its destructors.
    fn alive(&self) -> MutexGuard<'_, State> {
        let state = self.0.state();
        if state.dead && !thread::panicking() {
            drop(state);
            resume_unwind(Box::new(Died));
        }
        state
    }

    /// Dies if it is time to.
    fn die_in_time(&self, mut state: MutexGuard<'_, State>) {
        let is_time = match state.death {
            Some(HostDeath::AtCheckpoint(count)) => state.checkpoints >= count,
            Some(HostDeath::AtBytes(count)) => state.written >= count,
            None => false,
        };
        if is_time && !thread::panicking() {
            state.dead = true;
            drop(state);
            resume_unwind(Box::new(Died));
        }
    }

    fn sink(&self, name: &str) -> Box<dyn Sink> {
        Box::new(MemorySink {
            name: name.to_owned(),
            host: self.clone(),
        })
    }
}

impl HostFunctions for TestHost {
    fn log(&self, level: Level, message: &str) {
        self.alive().log.push((level, message.to_owned()));
    }

    fn progress(&self, fraction: Option<f64>, message: &str) {
        self.alive().progress = Some((fraction, message.to_owned()));
    }

    fn remaining(&self) -> Option<Duration> {
        let deadline = self.alive().deadline?;
        Some(deadline.saturating_duration_since(Instant::now()))
    }

    fn stop_requested(&self) -> bool {
        self.alive().running.is_none()
    }

    fn wait_stop(&self, time: Duration) -> bool {
        let waited = self
            .0
            .changed
            .wait_timeout_while(self.alive(), time, |state| state.running.is_some());
        waited.unwrap_or_else(PoisonError::into_inner).0.running.is_none()
    }

    fn stop_descriptor(&self) -> BorrowedFd<'_> {
        self.0.stop.as_fd()
    }

    fn grace(&self) -> Duration {
        self.alive().grace
    }

    fn config(&self, key: &str) -> Option<String> {
        self.alive().config.get(key).cloned()
    }

    fn open_input(&self) -> Result<Option<File>, String> {
        let state = self.alive();
        let Some(payload) = &state.input else {
            return Ok(None);
        };
        let file = nix::sys::memfd::memfd_create(c"input", nix::sys::memfd::MFdFlags::MFD_CLOEXEC);
        let mut file = File::from(file.map_err(|errno| errno.to_string())?);
        file.write_all(payload)
            .and_then(|()| file.rewind())
            .map_err(|error| error.to_string())?;
        Ok(Some(file))
    }

    fn create_artifact(
        &self,
        name: &str,
        _kind: &str,
        _description: &str,
    ) -> Result<Box<dyn Sink>, ArtifactError> {
        let mut state = self.alive();
        state.begin(name)?;
        state.begun.insert(name.to_owned());
        state.unfinished.insert(name.to_owned(), Vec::new());
        Ok(self.sink(name))
    }

    fn reopen_artifact(
        &self,
        name: &str,
        _kind: &str,
        _description: &str,
        length: u64,
    ) -> Result<Box<dyn Sink>, ArtifactError> {
        let mut state = self.alive();
        state.begin(name)?;
        state.cut(name, length).map_err(|why| {
            ArtifactError::NotResumable(format!(
                "artifact '{name}' can't be reopened at {length} bytes: {why}"
            ))
        })?;
        state.begun.insert(name.to_owned());
        Ok(self.sink(name))
    }

    fn checkpoint(&self, kept: &[u8]) -> Result<(), String> {
        if kept.len() > 64 * 1024 {
            return Err(format!(
                "the checkpoint has {} bytes; the limit is 65536",
                kept.len()
            ));
        }
        let mut state = self.alive();
        state.checkpoint = Some(kept.to_owned());
        state.checkpoints += 1;
        self.die_in_time(state);
        Ok(())
    }

    fn resumed(&self) -> Option<Vec<u8>> {
        self.alive().resumed.clone()
    }

    fn last_will(&self, command: &[String]) -> Result<(), String> {
        self.alive().last_will = Some(command.to_vec()).filter(|command| !command.is_empty());
        Ok(())
    }
}

/// An artifact that is being written; the host has its bytes.
#[derive(Debug)]
struct MemorySink {
    name: String,
    host: TestHost,
}

impl Sink for MemorySink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut guard = self.host.alive();
        let state = &mut *guard;
        let artifact = state.unfinished.entry(self.name.clone()).or_default();
        let mut length = bytes
            .len()
            .min(state.artifact_limit.saturating_sub(artifact.len()));
        if let Some(HostDeath::AtBytes(count)) = state.death {
            let left = usize::try_from(count.saturating_sub(state.written));
            length = length.min(left.unwrap_or(usize::MAX));
        }
        artifact.extend_from_slice(&bytes[..length]);
        state.written += length as u64;
        self.host.die_in_time(guard);
        Ok(length)
    }

    fn finish(self: Box<Self>) -> io::Result<u64> {
        let mut state = self.host.alive();
        let bytes = state.unfinished.remove(&self.name).unwrap_or_default();
        let length = bytes.len() as u64;
        state.artifacts.insert(self.name.clone(), bytes);
        Ok(length)
    }
}

impl Drop for MemorySink {
    fn drop(&mut self) {
        let mut state = self.host.0.state();
        if !state.dead {
            state.unfinished.remove(&self.name);
        }
    }
}
