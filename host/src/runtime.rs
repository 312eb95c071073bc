//! The facade: one invocation in, one result out, whatever happens.

use crate::{
    CancelToken, Ending, ErrorKind, Failure, Outcome, Run, Runner, receipt,
    subprocess::{SubprocessPolicy, SubprocessRunner},
};
use executor_runtime_protocol::{RuntimeInvocation, RuntimeKind, RuntimeResult, Timestamp};
use executor_runtime_run::result_file;
use executor_runtime_supervisor::{Shutdown, Supervisors};
use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    pin::pin,
    sync::{Arc, OnceLock, PoisonError, RwLock},
    task::Poll,
    time::{Duration, Instant},
};

/// Executes invocations, each with the runner that is registered for its kind.
///
/// A runtime is shared: any number of invocations run at the same time, on any thread. Start it early in a
/// process, before threads and before large amounts of memory are in use, because it forks the process that
/// all subprocesses are supervised from.
///
/// ```
/// use executor_runtime::{Runtime, protocol::{RuntimeInvocation, Status}};
///
/// # let directory = tempfile::tempdir()?;
/// # let document = serde_json::json!({
/// #     "invocation_id": "inv-001", "runtime_name": "local", "runtime_kind": "subprocess",
/// #     "working_directory": directory.path(), "command": ["echo", "hello"],
/// # }).to_string();
/// let runtime = Runtime::new()?;
/// let invocation = RuntimeInvocation::from_json(document.as_bytes())?;
/// let result = runtime.run_blocking(invocation);
/// assert_eq!(result.status, Status::Succeeded);
/// assert_eq!(std::fs::read_to_string(result.stdout_path.unwrap())?, "hello\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Runtime {
    runners: RwLock<BTreeMap<RuntimeKind, Arc<dyn Runner>>>,
    source: OnceLock<Arc<dyn RunnerSource>>,
    supervisors: Arc<Supervisors>,
}

/// Where runners come from that are only looked for when an invocation needs them, such as plugin files.
pub trait RunnerSource: Send + Sync + 'static {
    /// The runner for a kind; none if this source does not know the kind. The failure says why a runner that
    /// is known can't be used.
    fn find(&self, kind: &RuntimeKind) -> Result<Option<Arc<dyn Runner>>, Failure>;

    /// Every kind that `find` would return a runner for.
    fn kinds(&self) -> Vec<RuntimeKind>;
}

impl Runtime {
    /// A runtime that runs `subprocess`, with nothing limited.
    ///
    /// Fails if the system can't supervise processes (see the README for what it needs).
    pub fn new() -> io::Result<Self> {
        Self::with_policy(SubprocessPolicy::default())
    }

    /// A runtime that runs `subprocess` within what `policy` allows.
    pub fn with_policy(policy: SubprocessPolicy) -> io::Result<Self> {
        let supervisors = Arc::new(Supervisors::start()?);
        Ok(Self::with_supervisors(supervisors, policy))
    }

    pub(crate) fn with_supervisors(supervisors: Arc<Supervisors>, policy: SubprocessPolicy) -> Self {
        let subprocess: Arc<dyn Runner> = Arc::new(SubprocessRunner::new(supervisors.clone(), policy));
        let runners = RuntimeKind::new("subprocess").map(|kind| (kind, subprocess));
        Self {
            runners: RwLock::new(runners.into_iter().collect()),
            source: OnceLock::new(),
            supervisors,
        }
    }

    /// Registers the runner for a kind, and returns the one that it replaces.
    pub fn register(&self, kind: RuntimeKind, runner: Arc<dyn Runner>) -> Option<Arc<dyn Runner>> {
        self.runners
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(kind, runner)
    }

    /// What runs native plugins, in processes of this program, whose `main` has to call
    /// [`worker_main`](crate::native::worker_main).
    pub fn native_plugins(&self) -> crate::native::NativePlugins {
        crate::native::NativePlugins::new(self.supervisors.clone())
    }

    /// Names the source of the runners that are not registered. It can be named once; false if there is one.
    pub fn set_source(&self, source: Arc<dyn RunnerSource>) -> bool {
        self.source.set(source).is_ok()
    }

    /// Whether an invocation of this kind would find a runner.
    pub fn is_registered(&self, kind: &RuntimeKind) -> bool {
        matches!(self.find(kind), Ok(Some(_)))
    }

    /// The kinds that can run, in alphabetical order.
    pub fn kinds(&self) -> Vec<RuntimeKind> {
        let registered = self.runners.read().unwrap_or_else(PoisonError::into_inner);
        let mut kinds: Vec<_> = registered.keys().cloned().collect();
        kinds.extend(self.source.get().map(|source| source.kinds()).unwrap_or_default());
        kinds.sort();
        kinds.dedup();
        kinds
    }

    /// Executes one invocation to its end. Needs a tokio runtime with time and I/O.
    ///
    /// Dropping the future ends the run at once; no result is written then.
    pub async fn run(&self, invocation: RuntimeInvocation) -> RuntimeResult {
        self.run_until(invocation, &CancelToken::new()).await
    }

    /// Executes one invocation to its end, or until `cancel` is raised.
    ///
    /// The result is also written to the invocation's `output_result_path`. If that fails, it says so under
    /// [`receipt::RESULT_FILE_ERROR`].
    pub async fn run_until(&self, invocation: RuntimeInvocation, cancel: &CancelToken) -> RuntimeResult {
        let started_at = Timestamp::now();
        let started = Instant::now();
        let deadline = invocation
            .timeout_seconds
            .and_then(|limit| started.checked_add(Duration::from_secs(limit.get())));
        let run = Run {
            invocation,
            deadline,
            cancel: cancel.clone(),
        };
        let outcome = match self.find(&run.invocation.runtime_kind) {
            Ok(Some(runner)) => guarded(&*runner, &run).await,
            Ok(None) => Failure::no_runner(&run.invocation.runtime_kind).into(),
            Err(failure) => failure.into(),
        };
        let mut result = into_result(outcome, &run.invocation, started_at);
        if let Some(path) = &run.invocation.output_result_path
            && let Err(error) = result_file::write(Path::new(path), &result)
        {
            tracing::error!("{error}");
            result
                .metadata
                .insert(receipt::RESULT_FILE_ERROR.to_owned(), error.to_string());
        }
        result
    }

    /// [`Runtime::run`] for callers that are not asynchronous themselves.
    ///
    /// # Panics
    /// If it is called from within a tokio runtime.
    pub fn run_blocking(&self, invocation: RuntimeInvocation) -> RuntimeResult {
        self.run_blocking_until(invocation, &CancelToken::new())
    }

    /// [`Runtime::run_until`] for callers that are not asynchronous themselves.
    ///
    /// # Panics
    /// If it is called from within a tokio runtime.
    pub fn run_blocking_until(&self, invocation: RuntimeInvocation, cancel: &CancelToken) -> RuntimeResult {
        thread_local! {
            static EXECUTOR: io::Result<ThreadExecutor> = ThreadExecutor::new();
        }
        EXECUTOR.with(|executor| match executor {
            Ok(ThreadExecutor(Some(executor))) => executor.block_on(self.run_until(invocation, cancel)),
            Ok(ThreadExecutor(None)) => unreachable!("it is taken when the thread ends"),
            Err(error) => {
                let summary = format!("the host has run out of something it needs: {error}");
                let outcome = Outcome::failure(ErrorKind::HostExhausted, summary);
                into_result(outcome, &invocation, Timestamp::now())
            }
        })
    }

    /// Ends the processes that supervise runs, with every run that is under way. They are gone, and collected, once
    /// what is returned is dropped, which takes three seconds at most. A later run starts new ones.
    ///
    /// Dropping the runtime, with what was made of it, does the same; this is for a program that exits without.
    pub fn shut_down(&self) -> Shutdown {
        self.supervisors.shut_down()
    }

    fn find(&self, kind: &RuntimeKind) -> Result<Option<Arc<dyn Runner>>, Failure> {
        let registered = self
            .runners
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(kind)
            .cloned();
        match (registered, self.source.get()) {
            (Some(runner), _) => Ok(Some(runner)),
            (None, Some(source)) => source.find(kind),
            (None, None) => Ok(None),
        }
    }
}

/// What [`Runtime::run_blocking`] runs on: one a thread. A dispatcher that never answers may still be at work
/// on it when the thread ends, which does not wait for that.
struct ThreadExecutor(Option<tokio::runtime::Runtime>);

impl ThreadExecutor {
    fn new() -> io::Result<Self> {
        let executor = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        Ok(Self(Some(executor)))
    }
}

impl Drop for ThreadExecutor {
    fn drop(&mut self) {
        if let Some(executor) = self.0.take() {
            executor.shutdown_background();
        }
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime")
            .field("supervisors", &self.supervisors)
            .finish_non_exhaustive()
    }
}

/// Runs a runner so that its panic is a result too.
async fn guarded(runner: &dyn Runner, run: &Run) -> Outcome {
    let mut future = match catch_unwind(AssertUnwindSafe(|| runner.run(run))) {
        Ok(future) => future,
        Err(panic) => return panicked(&*panic),
    };
    let mut future = pin!(&mut future);
    let polled = std::future::poll_fn(|context| {
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(Poll::Ready(outcome)) => Poll::Ready(Ok(outcome)),
            Ok(Poll::Pending) => Poll::Pending,
            Err(panic) => Poll::Ready(Err(panic)),
        }
    });
    polled.await.unwrap_or_else(|panic| panicked(&*panic))
}

pub(crate) fn panicked(panic: &(dyn std::any::Any + Send)) -> Outcome {
    let message = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    Outcome::failure(
        ErrorKind::RunnerPanicked,
        format!("the runner panicked: {message}"),
    )
}

fn into_result(outcome: Outcome, invocation: &RuntimeInvocation, started_at: Timestamp) -> RuntimeResult {
    let status = outcome.status();
    let mut metadata = outcome.receipt;
    let error_summary = match outcome.ending {
        Ending::Succeeded => None,
        Ending::Unsuccessful(Failure { kind, summary }) => {
            metadata.insert(receipt::ERROR_KIND.to_owned(), kind.code().into_owned());
            Some(summary)
        }
    };
    let (started_at, finished_at) = outcome.times.unwrap_or_else(|| (started_at, Timestamp::now()));
    RuntimeResult {
        invocation_id: invocation.invocation_id.clone(),
        runtime_name: invocation.runtime_name.clone(),
        runtime_kind: invocation.runtime_kind.clone(),
        status,
        exit_code: outcome.exit_code,
        started_at,
        finished_at,
        stdout_path: outcome.stdout_path,
        stderr_path: outcome.stderr_path,
        artifacts: outcome.artifacts,
        error_summary,
        metadata,
    }
}
