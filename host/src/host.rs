//! The facade: one invocation in, one result out, whatever happens.

use crate::{
    CancelToken, Ending, ErrorKind, Explanation, Failure, HostBuilder, Origin, Outcome, Run, Runner, builder,
    receipt, registry::Registry, traced,
};
use executor_runtime_config::Config;
use executor_runtime_plugin::PluginSet;
use executor_runtime_protocol::{RuntimeInvocation, RuntimeKind, RuntimeResult, Status, Timestamp};
use executor_runtime_run::{
    exhaustion, in_runtime, panic_message, result_file,
    trace::{Tracer, Tracing},
};
use executor_runtime_supervisor::{self as supervisor, Supervisors};
use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::{Instant, SystemTime},
};

/// Executes invocations, each with the runner of its kind.
///
/// A host is shared: any number of invocations run at the same time, on any thread.
///
/// ```
/// use executor_runtime::{Host, protocol::{RuntimeInvocation, Status}};
///
/// # let directory = tempfile::tempdir()?;
/// # let document = serde_json::json!({
/// #     "invocation_id": "inv-001", "runtime_name": "local", "runtime_kind": "subprocess",
/// #     "working_directory": directory.path(), "command": ["echo", "hello"],
/// # }).to_string();
/// let host = Host::builder().build()?;
/// let invocation = RuntimeInvocation::from_json(document.as_bytes())?;
/// let result = host.run_blocking(invocation);
/// assert_eq!(result.status, Status::Succeeded);
/// assert_eq!(std::fs::read_to_string(result.stdout_path.unwrap())?, "hello\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Host {
    registry: Arc<Registry>,
    supervisors: Arc<Supervisors>,
    tracing: Tracing,
}

impl Host {
    /// Puts a host together.
    pub fn builder() -> HostBuilder {
        HostBuilder::default()
    }

    pub(crate) fn new(registry: Registry, supervisors: Arc<Supervisors>, tracing: Tracing) -> Self {
        Self {
            registry: Arc::new(registry),
            supervisors,
            tracing,
        }
    }

    /// Executes a kind with `runner` from now on; returns the one of the caller's, or the built-in one, that it
    /// replaces.
    pub fn register(&self, kind: RuntimeKind, runner: Arc<dyn Runner>) -> Option<Arc<dyn Runner>> {
        self.registry.register(kind, runner)
    }

    /// The plugin files.
    pub fn plugins(&self) -> &Arc<PluginSet> {
        self.registry.plugins()
    }

    /// The kinds that can be executed, in alphabetical order.
    pub fn kinds(&self) -> Vec<RuntimeKind> {
        self.origins().into_keys().collect()
    }

    /// The kinds that can be executed, and where the runner of each comes from.
    pub fn origins(&self) -> BTreeMap<RuntimeKind, Origin> {
        self.registry.origins()
    }

    /// What would execute an invocation, and within which limits and grants. Runs nothing.
    pub fn explain(&self, invocation: &RuntimeInvocation) -> Explanation {
        self.registry.explain(invocation)
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
        let mut run = Run::new(invocation);
        run.cancel = cancel.clone();
        self.execute(&run).await
    }

    /// Executes a run that was put together by the caller, with a listener for its events; otherwise as
    /// [`Host::run_until`] does.
    pub async fn execute(&self, run: &Run) -> RuntimeResult {
        // What the caller has done since counts against the deadline, and so it does here.
        let started = run.begun;
        let now = SystemTime::now();
        let started_at = now.checked_sub(started.elapsed()).unwrap_or(now).into();
        traced::begin(run, &self.tracing);
        let outcome = match self.find(run).await {
            Ok(runner) => guarded(&*runner, run).await,
            Err(failure) => failure.into(),
        };
        let mut result = into_result(outcome, &run.invocation, started_at, started);
        if let Some(path) = &run.invocation.output_result_path {
            result = write_result(path.into(), result).await;
        }
        traced::end(run, &result);
        result
    }

    /// The runner of a run's kind. Plugins are looked for once, on a thread that may block, and no longer than the run may
    /// take.
    async fn find(&self, run: &Run) -> Result<Arc<dyn Runner>, Failure> {
        let kind = &run.invocation.runtime_kind;
        if let Some(runner) = self.registry.registered(kind) {
            return Ok(runner);
        }
        if self.registry.plugins().is_listed() {
            // Nothing blocks; but what runs a plugin needs a runtime, which otherwise is there once something was waited for.
            in_runtime().await;
            return self.registry.find(kind);
        }
        // Files are about to be looked for and read. What can't be opened would count as missing or damaged.
        exhaustion::check_descriptors(exhaustion::DESCRIPTORS_OF_A_RUN)
            .map_err(|error| Failure::exhausted(&error))?;
        let (registry, wanted) = (Arc::clone(&self.registry), kind.clone());
        run.blocking("while the plugins directories were read", move || {
            registry.find(&wanted)
        })
        .await?
    }

    /// [`Host::run`] for callers that are not asynchronous themselves.
    ///
    /// # Panics
    /// If it is called from within a tokio runtime.
    pub fn run_blocking(&self, invocation: RuntimeInvocation) -> RuntimeResult {
        self.run_blocking_until(invocation, &CancelToken::new())
    }

    /// [`Host::run_until`] for callers that are not asynchronous themselves.
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
            Err(error) => reject(&invocation, Failure::exhausted(error)),
        })
    }

    /// A host with what is in the plugins directories now, under `config`. Runners that were registered stay, and so do the
    /// processes that supervise runs. This host, and what is under way in it, stays as it is.
    #[must_use]
    pub fn read_again(&self, config: Config) -> Self {
        let config = Arc::new(config);
        let subprocess = builder::subprocess(&self.supervisors, &config);
        let registry = self.registry.read_again(subprocess, config);
        Self::new(registry, Arc::clone(&self.supervisors), self.tracing.clone())
    }

    /// Ends the processes that supervise runs, with every run that is under way. They are gone, and collected, once
    /// what is returned is dropped, which takes three seconds at most; and what was recorded of traces is sent then, which
    /// takes two more at most. A later run starts new ones.
    ///
    /// Dropping the host, with what was made of it, ends the processes as well; this is for a program that exits without.
    pub fn shut_down(&self) -> Shutdown {
        Shutdown {
            processes: self.supervisors.shut_down(),
            tracer: self.tracing.tracer.clone(),
        }
    }
}

/// What a host ends with. Dropping it waits, some seconds at most.
#[derive(Debug)]
#[must_use = "dropping it waits"]
pub struct Shutdown {
    /// They are collected once this is dropped.
    #[allow(dead_code, reason = "it is held")]
    processes: supervisor::Shutdown,
    tracer: Option<Arc<dyn Tracer>>,
}

impl Drop for Shutdown {
    fn drop(&mut self) {
        if let Some(tracer) = &self.tracer {
            tracer.flush();
        }
    }
}

/// Writes a result to its file, on a thread that may block. If that fails, the result says so.
async fn write_result(path: PathBuf, result: RuntimeResult) -> RuntimeResult {
    let mut kept = result.clone();
    let writing = exhaustion::run_blocking(move || result_file::write(&path, &result));
    let error = match writing.await {
        Ok(Ok(())) => return kept,
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    note_unwritten(&mut kept, error);
    kept
}

fn note_unwritten(result: &mut RuntimeResult, error: String) {
    result
        .metadata
        .insert(receipt::RESULT_FILE_ERROR.to_owned(), error);
}

/// What [`Host::run_blocking`] runs on: one a thread. A dispatcher that never answers may still be at work
/// on it when the thread ends, which does not wait for that.
struct ThreadExecutor(Option<tokio::runtime::Runtime>);

impl ThreadExecutor {
    fn new() -> io::Result<Self> {
        Ok(Self(Some(crate::executor()?)))
    }
}

impl Drop for ThreadExecutor {
    fn drop(&mut self) {
        if let Some(executor) = self.0.take() {
            executor.shutdown_background();
        }
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host")
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
    Outcome::failure(
        ErrorKind::RunnerPanicked,
        format!("the runner panicked: {}", panic_message(panic)),
    )
}

/// The result of an invocation that can't be given to a [`Host`], because there is none; it is also written to the
/// invocation's `output_result_path`.
pub fn reject(invocation: &RuntimeInvocation, failure: Failure) -> RuntimeResult {
    let mut result = into_result(failure.into(), invocation, Timestamp::now(), Instant::now());
    if let Some(path) = &invocation.output_result_path
        && let Err(error) = result_file::write(Path::new(path), &result)
    {
        note_unwritten(&mut result, error.to_string());
    }
    result
}

fn into_result(
    outcome: Outcome,
    invocation: &RuntimeInvocation,
    started_at: Timestamp,
    started: Instant,
) -> RuntimeResult {
    let status = outcome.status();
    let mut metadata = outcome.receipt;
    let error_summary = match outcome.ending {
        Ending::Succeeded => {
            metadata.remove(receipt::ERROR_TRANSIENT);
            None
        }
        Ending::Unsuccessful(Failure { kind, summary }) => {
            metadata.insert(receipt::ERROR_KIND.to_owned(), kind.code().into_owned());
            // A dispatcher or a plugin may know better, except of a run that was cancelled here.
            if kind.status() == Status::Cancelled {
                metadata.remove(receipt::ERROR_TRANSIENT);
            }
            metadata
                .entry(receipt::ERROR_TRANSIENT.to_owned())
                .or_insert_with(|| kind.is_transient().to_string());
            Some(summary)
        }
    };
    let wall = receipt::seconds(started.elapsed());
    let wall_key = receipt::USAGE_WALL_SECONDS.to_owned();
    let (started_at, finished_at) = match outcome.times {
        // A dispatcher may give the times and not how long it took.
        Some(times) => {
            metadata.entry(wall_key).or_insert(wall);
            times
        }
        // A run that never began took no time.
        None if status == Status::Rejected => (started_at, Timestamp::now()),
        None => {
            metadata.insert(wall_key, wall);
            (started_at, Timestamp::now())
        }
    };
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
