//! A host in memory, for an author's unit tests.

use super::{
    Host,
    host::{HostFunctions, Sink},
};
use crate::{ArtifactError, Context, Invocation, Level, Outcome, RunError, Runner};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, PipeReader, PipeWriter, Seek, Write},
    os::fd::{AsFd, BorrowedFd},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
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
    artifacts: BTreeMap<String, Option<Vec<u8>>>,
    artifact_limit: usize,
    log: Vec<(Level, String)>,
    progress: Option<(Option<f64>, String)>,
    checkpoint: Option<Vec<u8>>,
    resumed: Option<Vec<u8>>,
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
            state: Mutex::new(State {
                running: Some(running),
                deadline: None,
                grace: Duration::from_secs(2),
                config: BTreeMap::new(),
                input: None,
                artifacts: BTreeMap::new(),
                artifact_limit: usize::MAX,
                log: Vec::new(),
                progress: None,
                checkpoint: None,
                resumed: None,
            }),
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

    /// With the checkpoint of an earlier, interrupted run.
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
        let mut context = Context::new(Host(Arc::new(self.clone())));
        context.transport.continue_trace(invocation);
        runner.run(invocation, &mut context)
    }

    /// A finished artifact.
    pub fn artifact(&self, name: &str) -> Option<Vec<u8>> {
        self.0.state().artifacts.get(name).cloned().flatten()
    }

    /// The log lines so far.
    pub fn log(&self) -> Vec<(Level, String)> {
        self.0.state().log.clone()
    }

    /// The last progress.
    pub fn progress(&self) -> Option<(Option<f64>, String)> {
        self.0.state().progress.clone()
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

impl HostFunctions for TestHost {
    fn log(&self, level: Level, message: &str) {
        self.0.state().log.push((level, message.to_owned()));
    }

    fn progress(&self, fraction: Option<f64>, message: &str) {
        self.0.state().progress = Some((fraction, message.to_owned()));
    }

    fn remaining(&self) -> Option<Duration> {
        let deadline = self.0.state().deadline?;
        Some(deadline.saturating_duration_since(Instant::now()))
    }

    fn stop_requested(&self) -> bool {
        self.0.state().running.is_none()
    }

    fn wait_stop(&self, time: Duration) -> bool {
        let waited = self
            .0
            .changed
            .wait_timeout_while(self.0.state(), time, |state| state.running.is_some());
        waited.unwrap_or_else(PoisonError::into_inner).0.running.is_none()
    }

    fn stop_descriptor(&self) -> BorrowedFd<'_> {
        self.0.stop.as_fd()
    }

    fn grace(&self) -> Duration {
        self.0.state().grace
    }

    fn config(&self, key: &str) -> Option<String> {
        self.0.state().config.get(key).cloned()
    }

    fn open_input(&self) -> Result<Option<File>, String> {
        let state = self.0.state();
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
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        if !(1..=128).contains(&name.len()) || name.starts_with('.') || !name.bytes().all(plain) {
            return Err(ArtifactError::InvalidName(name.to_owned()));
        }
        let mut state = self.0.state();
        if state.artifacts.insert(name.to_owned(), None).is_some() {
            return Err(ArtifactError::DuplicateName(name.to_owned()));
        }
        Ok(Box::new(MemorySink {
            bytes: Vec::new(),
            limit: state.artifact_limit,
            name: name.to_owned(),
            host: self.clone(),
        }))
    }

    fn checkpoint(&self, state: &[u8]) -> Result<(), String> {
        if state.len() > 64 * 1024 {
            return Err(format!(
                "the checkpoint has {} bytes; the limit is 65536",
                state.len()
            ));
        }
        self.0.state().checkpoint = Some(state.to_owned());
        Ok(())
    }

    fn resumed(&self) -> Option<Vec<u8>> {
        self.0.state().resumed.clone()
    }
}

#[derive(Debug)]
struct MemorySink {
    name: String,
    bytes: Vec<u8>,
    limit: usize,
    host: TestHost,
}

impl Sink for MemorySink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = bytes.len().min(self.limit - self.bytes.len());
        self.bytes.extend_from_slice(&bytes[..len]);
        Ok(len)
    }

    fn finish(self: Box<Self>) -> io::Result<u64> {
        let length = self.bytes.len() as u64;
        self.host.0.state().artifacts.insert(self.name, Some(self.bytes));
        Ok(length)
    }
}
