//! Runs the kinds of one native plugin.

use super::{
    artifacts,
    conversation::{Conversation, SharedDirectory, encode},
    files::RunFiles,
    last_will::LastWill,
    loaded::{InUse, Loaded, LoadedSlot},
    report::FinishedRun,
    stop_request::StopRequest,
    template::{LoadError, Template},
    wire::Request,
};
use executor_runtime_config::PluginConfig;
use executor_runtime_plugin::{
    Admission, Carrier, Identity, Library, Limits, Loader, Plugin, Unusable, admit,
    session::{LineStream, RunLog, Source, Stop, StopCause},
};
use executor_runtime_protocol::RuntimeInvocation;
use executor_runtime_run::{
    CancelReason, CancelToken, ErrorKind, Event, Failure, Outcome, Run, RunFuture, RunPermissions, Runner,
    capture::ReadDeadline,
    exhaustion, panic_message,
    supervised::{self, Lost},
    trace::{self, Span, SpanKind},
};
use executor_runtime_supervisor::{self as supervisor, Job, Report, Supervisors, idle::IDLE_TIME};
use nix::{
    fcntl::{OFlag, open},
    sys::stat::Mode,
};
use std::{
    collections::BTreeSet,
    io,
    os::fd::OwnedFd,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    io::AsyncReadExt,
    net::{UnixStream, unix::pipe},
    sync::Mutex,
};

/// How long the host still reads from a child that has ended: what it said last may not be read yet.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Makes runners of native plugins.
#[derive(Clone, Debug)]
pub struct NativePlugins {
    supervisors: Arc<Supervisors>,
    program: PathBuf,
}

impl NativePlugins {
    /// Native plugins whose processes `supervisors` watch. Their processes are of this executable, whose `main` has to
    /// call [`worker_main`](super::worker_main).
    pub fn new(supervisors: Arc<Supervisors>) -> Self {
        Self {
            supervisors,
            program: PathBuf::from("/proc/self/exe"),
        }
    }

    /// Loads plugins in processes of this executable instead of the current one. It has to call
    /// [`worker_main`](super::worker_main).
    #[must_use]
    pub fn with_program(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = program.into();
        self
    }
}

impl Loader for NativePlugins {
    fn carrier(&self) -> Carrier {
        Carrier::Native
    }

    fn runner(&self, plugin: &Arc<Plugin>, config: &Arc<PluginConfig>) -> Arc<dyn Runner> {
        Arc::new(NativeRunner {
            plugins: self.clone(),
            plugin: Arc::clone(plugin),
            config: Arc::clone(config),
            loaded: Arc::new(LoadedSlot::new(idle_time(config))),
            loading: Mutex::default(),
        })
    }
}

/// The runner of one plugin.
struct NativeRunner {
    plugins: NativePlugins,
    plugin: Arc<Plugin>,
    config: Arc<PluginConfig>,
    loaded: Arc<LoadedSlot>,
    /// Held by the run that loads it for all.
    loading: Mutex<()>,
}

impl Drop for NativeRunner {
    fn drop(&mut self) {
        // Also where another thread is about to look whether it has been idle for long.
        self.loaded.clear();
    }
}

/// A run that is prepared.
struct Prepared {
    job: Job,
    request: Vec<u8>,
    fds: Vec<OwnedFd>,
    channel: UnixStream,
    output: [pipe::Receiver; 2],
    /// Asks the child to stop.
    stop: StopRequest,
    directory: Option<SharedDirectory>,
    /// It goes on from an interrupted run.
    is_resumed: bool,
}

impl NativeRunner {
    fn name(&self) -> &str {
        &self.plugin.descriptor.name
    }

    async fn execute(&self, run: &Run) -> Result<Outcome, Failure> {
        let admission = self.admit(&run.invocation)?;
        exhaustion::check_descriptors(exhaustion::DESCRIPTORS_OF_A_RUN)
            .map_err(|error| Failure::exhausted(&error))?;
        let stop = Stop::new(run.deadline, admission.limits.grace, run.cancel.clone());
        let log = Arc::new(RunLog::new(
            self.name(),
            &run.invocation.invocation_id,
            &run.events,
        ));

        let (mut outcome, loaded) = loop {
            let (loaded, fresh) = tokio::select! {
                loaded = self.load(run.span()) => loaded?,
                () = asked_to_stop(&stop) => return Err(self.stopped_while_loading(&stop)),
            };
            let (prepared, life) = self.prepare(run, &admission).await?;
            run.events.report(Event::Called);
            if prepared.is_resumed {
                run.events.report(Event::Resumed);
            }
            let directory = prepared.directory.clone();
            let last_will = LastWill::new(&self.plugins.program, life);
            let conversation = Conversation::new(
                Arc::clone(&log),
                directory.clone(),
                run.fingerprint(),
                admission.limits.artifacts,
                run.events.clone(),
                last_will,
            );
            let conversing = converse(prepared, &loaded.template, &stop, &log, &conversation);
            let span = run.span().child("call", SpanKind::Internal);
            let conversed = tokio::select! {
                conversed = conversing => conversed?,
                never = run.report_stopping(admission.limits.grace) => match never {},
            };
            drop(span);
            match conversed {
                Some(report) => {
                    let report = match report {
                        Err(lost) if !lost.swept => Err(Self::give_up(&loaded, lost).await),
                        report => report,
                    };
                    conversation.carry_out_last_will().await;
                    let said = conversation.said().end.take();
                    let finished = FinishedRun {
                        plugin: self.name(),
                        log: &log,
                        asked: stop.requested(),
                        timeout_seconds: run.invocation.timeout_seconds,
                    };
                    let mut outcome = finished.outcome(said, report);
                    if let Some(directory) = directory {
                        let told = std::mem::take(&mut outcome.artifacts);
                        let read_deadline = ReadDeadline::new(run.deadline, &run.cancel);
                        let collected =
                            artifacts::list(directory, run.unrecorded.clone(), read_deadline).await;
                        collected.account(&mut outcome.receipt);
                        outcome.artifacts = collected.artifacts;
                        name_captured_output(&mut outcome);
                        let own: BTreeSet<_> = outcome
                            .artifacts
                            .iter()
                            .map(|artifact| artifact.artifact_id.clone())
                            .collect();
                        // An id names one artifact.
                        outcome.artifacts.extend(
                            told.into_iter()
                                .filter(|artifact| !own.contains(&artifact.artifact_id)),
                        );
                    }
                    break (outcome, loaded);
                }
                // The template has died since; a new one is tried once.
                None => {
                    loaded.forget();
                    if fresh {
                        return Err(self.unusable(
                            "the process that its invocations are forked from exited immediately",
                        ));
                    }
                }
            }
        };
        log.finish();
        loaded.identity.sign(Carrier::Native, &log, &mut outcome.receipt);
        Ok(outcome)
    }

    /// The loaded plugin, and whether it was loaded for this run.
    async fn load(&self, run: &Span) -> Result<(InUse, bool), Failure> {
        if let Some(loaded) = self.loaded.take_up() {
            return Ok((loaded, false));
        }
        let _loading = self.loading.lock().await;
        if let Some(loaded) = self.loaded.take_up() {
            return Ok((loaded, false));
        }
        let _span = run.child("load", SpanKind::Internal);
        let (plugins, plugin, config) = (self.plugins.clone(), self.plugin.clone(), self.config.clone());
        let loading = exhaustion::try_spawn_blocking(move || load(&plugins, &plugin, &config))
            .map_err(|error| Failure::exhausted(&error))?;
        let loaded = match loading.join().await {
            Ok(loaded) => loaded.map_err(|error| self.not_loaded(&error))?,
            Err(panic) => return Err(self.unusable(&format!("it panicked: {}", panic_message(&*panic)))),
        };
        Ok((self.loaded.put(loaded), true))
    }

    /// Ends a template that does not say what became of a run: it was stopped, or pretends to be one.
    async fn give_up(loaded: &InUse, lost: Lost) -> Lost {
        loaded.forget();
        let loaded = loaded.share();
        let ending = exhaustion::run_blocking(move || loaded.template.end());
        Lost {
            swept: ending.await.unwrap_or(false),
            ..lost
        }
    }

    fn not_loaded(&self, error: &LoadError) -> Failure {
        match error {
            LoadError::Exhausted(error) => Failure::exhausted(error),
            LoadError::File(Unusable::Exhausted(summary)) => {
                Failure::new(ErrorKind::HostExhausted, summary.clone())
            }
            LoadError::File(reason) => self.unusable(&reason.to_string()),
            LoadError::Library(reason) => self.unusable(reason),
        }
    }

    fn unusable(&self, reason: &str) -> Failure {
        let path = self.plugin.path.display();
        Failure::new(
            ErrorKind::PluginUnusable,
            format!("plugin '{}': '{path}' can't be used: {reason}", self.name()),
        )
    }

    fn stopped_while_loading(&self, stop: &Stop) -> Failure {
        let kind = match stop.requested() {
            Some(StopCause::Deadline) => ErrorKind::Timeout,
            _ => ErrorKind::Cancelled,
        };
        Failure::new(kind, format!("stopped while plugin '{}' was loaded", self.name()))
    }

    /// Also the read end of the pipe that ends with the child.
    async fn prepare(&self, run: &Run, admission: &Admission) -> Result<(Prepared, OwnedFd), Failure> {
        let files = RunFiles::open_in_time(run).await?;
        let Limits {
            grace,
            artifacts,
            artifact_bytes,
            ..
        } = admission.limits;
        let mut invocation = run.invocation.clone();
        invocation.metadata = admission.metadata.clone();
        trace::put_into(&mut invocation.metadata, run.span().context());
        let request = Request {
            invocation,
            config: self.config.config.clone(),
            deadline_ns: run.deadline.map(monotonic_ns),
            grace_ns: nanoseconds(grace),
            max_artifacts: artifacts,
            max_artifact_bytes: artifact_bytes,
            earlier_artifacts: match &files.directory {
                Some(directory) => directory.finished.names().map(str::to_owned).collect(),
                None => BTreeSet::new(),
            },
            no_artifacts: files.no_artifacts.clone(),
            has_input: files.input.is_some(),
            no_input: files.no_input.clone(),
            resumed: files.resumed.clone(),
        };
        let request = encode(&request).map_err(|reason| Failure::new(ErrorKind::ArgTooLong, reason))?;
        self.open(run, admission, files, request)
            .map_err(|error| Failure::exhausted(&error))
    }

    fn open(
        &self,
        run: &Run,
        admission: &Admission,
        files: RunFiles,
        request: Vec<u8>,
    ) -> io::Result<(Prepared, OwnedFd)> {
        let RunFiles {
            input,
            directory,
            resumed,
            cwd,
            ..
        } = files;
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let stop = StopRequest::new()?;
        let (life, childs_life) = io::pipe()?;
        let mut fds: Vec<OwnedFd> = vec![stop.for_child()?, childs_life.into()];
        if let Some(directory) = &directory {
            fds.push(directory.artifacts.try_clone()?);
        }
        fds.extend(input);
        let (stdout, stdout_write) = io::pipe()?;
        let (stderr, stderr_write) = io::pipe()?;
        let null = || open("/dev/null", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty());
        let job = Job {
            program: c"".to_owned(),
            argv: Vec::new(),
            env: Vec::new(),
            cwd,
            stdin: null()?,
            stdout: stdout_write.into(),
            stderr: stderr_write.into(),
            lock: match &directory {
                Some(directory) => directory.capture.share_lock()?,
                None => null()?,
            },
            channel: Some(theirs.into()),
            output_event: None,
            direct_output: true,
            // The host asks the child to stop at the deadline, and has it killed when its grace is over. The
            // supervisor does by itself what a host that is late does not.
            time_left: run.deadline.map(|deadline| {
                deadline.saturating_duration_since(Instant::now())
                    + admission.limits.grace
                    + Duration::from_millis(100)
            }),
            grace: Duration::ZERO,
            max_output_bytes: 0,
            limits: supervisor::Limits {
                memory_bytes: self
                    .has_memory_limit(&run.invocation)
                    .then_some(admission.limits.memory_bytes),
                ..supervisor::Limits::default()
            },
        };
        let prepared = Prepared {
            job,
            request,
            fds,
            channel: UnixStream::from_std(ours)?,
            output: [
                pipe::Receiver::from_owned_fd(stdout.into())?,
                pipe::Receiver::from_owned_fd(stderr.into())?,
            ],
            stop,
            directory: directory.map(|directory| Arc::new(std::sync::Mutex::new(directory))),
            is_resumed: resumed.is_some(),
        };
        Ok((prepared, life.into()))
    }

    fn admit(&self, invocation: &RuntimeInvocation) -> Result<Admission, Failure> {
        admit(
            &self.plugin.descriptor,
            &self.config,
            Carrier::Native,
            &invocation.metadata,
        )
    }

    /// Whether a limit on memory was asked for explicitly. The default is meant for components: a process needs more
    /// address space than it uses memory.
    fn has_memory_limit(&self, invocation: &RuntimeInvocation) -> bool {
        self.config.limits.memory_bytes.is_some() || invocation.metadata.contains_key("limits.memory_bytes")
    }
}

impl Runner for NativeRunner {
    fn run<'a>(&'a self, run: &'a Run) -> RunFuture<'a> {
        Box::pin(async move { self.execute(run).await.unwrap_or_else(Outcome::from) })
    }

    fn terms(&self, invocation: &RuntimeInvocation) -> Result<RunPermissions, Failure> {
        let admission = self.admit(invocation)?;
        // It is not sandboxed: it reaches what the host's user reaches.
        Ok(admission.terms(self.has_memory_limit(invocation), ["*".to_owned()]))
    }
}

/// What a plugin has captured of a program that it ran is the run's output, as a subprocess's is: artifacts `stdout` and
/// `stderr` of kind `log_excerpt`.
fn name_captured_output(outcome: &mut Outcome) {
    let Outcome {
        artifacts,
        stdout_path,
        stderr_path,
        ..
    } = outcome;
    for (name, path) in [("stdout", stdout_path), ("stderr", stderr_path)] {
        let captured = artifacts
            .iter()
            .find(|artifact| artifact.artifact_id == name && artifact.kind == "log_excerpt");
        if let (Some(captured), None) = (captured, &path) {
            *path = Some(captured.path.clone());
        }
    }
}

/// Checks the file again and starts its template. Blocks.
fn load(plugins: &NativePlugins, plugin: &Plugin, config: &PluginConfig) -> Result<Loaded, LoadError> {
    let library = Library::read(plugin, config).map_err(LoadError::File)?;
    let template = Template::start(
        &plugins.supervisors,
        &plugins.program,
        &library.file,
        &plugin.path,
        idle_time(config),
    )?;
    let identity = Identity {
        name: plugin.descriptor.name.clone(),
        version: plugin.descriptor.version.to_string(),
        sha256: library.sha256,
    };
    Ok(Loaded { template, identity })
}

/// How long the plugin's processes are kept without a run.
fn idle_time(config: &PluginConfig) -> Duration {
    config.idle_seconds.map_or(IDLE_TIME, Into::into)
}

/// Runs the job to its end; None if there is no template to start it from any more.
async fn converse(
    prepared: Prepared,
    template: &Template,
    stop: &Stop,
    log: &Arc<RunLog>,
    conversation: &Conversation,
) -> Result<Option<Result<Report, Lost>>, Failure> {
    let Prepared {
        job,
        request,
        fds,
        channel,
        output: [stdout, stderr],
        stop: stop_request,
        directory: _,
        is_resumed: _,
    } = prepared;
    let supervised = match template.children.supervise(job) {
        Ok(supervised) => supervised,
        Err(error) => return Failure::of_exhaustion(&error.0).map_or(Ok(None), Err),
    };
    let kill = CancelToken::new();
    let force = async {
        stop.supervise().await;
        kill.kill();
    };
    let ask = async {
        stop.asked().await;
        stop_request.send();
    };
    let listen = async {
        tokio::join!(
            async {
                conversation.hold(channel, request, fds).await;
                if conversation.makes_no_sense() {
                    // What it does from now on is not reported.
                    kill.kill();
                }
            },
            lines(stdout, LineStream::new(Source::Stdout, Arc::clone(log))),
            lines(stderr, LineStream::new(Source::Stderr, Arc::clone(log))),
        )
    };
    let mut listen = std::pin::pin!(listen);
    let mut heard = false;
    let report = {
        let mut finish = std::pin::pin!(supervised::finish(
            supervised,
            kill.raised(CancelReason::Requested),
            kill.raised(CancelReason::Immediate),
        ));
        let mut stopping = std::pin::pin!(async { tokio::join!(ask, force) });
        let mut stopped = false;
        loop {
            tokio::select! {
                report = &mut finish => break report,
                _ = &mut stopping, if !stopped => stopped = true,
                _ = &mut listen, if !heard => heard = true,
            }
        }
    };
    if !heard {
        // Every process of the run has ended, so this ends; unless a stranger was handed a descriptor.
        let _ = tokio::time::timeout(LAST_WORDS, listen).await;
    }
    Ok(Some(report))
}

async fn asked_to_stop(stop: &Stop) {
    tokio::select! {
        () = stop.supervise() => {}
        () = stop.asked() => {}
    }
}

async fn lines(mut output: pipe::Receiver, lines: LineStream) {
    let mut buffer = vec![0; 4096];
    while let Ok(length @ 1..) = output.read(&mut buffer).await {
        lines.push(&buffer[..length]);
    }
    lines.finish();
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The moment on `CLOCK_MONOTONIC`, which both processes read.
fn monotonic_ns(at: Instant) -> u64 {
    let now = executor_runtime_supervisor::monotonic_ns();
    now.saturating_add(nanoseconds(at.saturating_duration_since(Instant::now())))
}
