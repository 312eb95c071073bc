//! One container, from its creation to its removal.

use crate::{
    daemon::{self, Address, Trouble},
    directory::{self, Collected},
    image::{self, Identity},
    output::Output,
    owner,
    plan::{Plan, Pull},
    will::{self, Phase},
};
use bollard::{
    Docker,
    container::{AttachContainerResults, LogOutput},
    errors::Error,
    models::{ContainerState, ContainerStateStatusEnum},
    query_parameters::{
        AttachContainerOptions, CreateContainerOptions, InspectContainerOptions, LogsOptions,
    },
};
use executor_runtime_sdk::{Context, Invocation, Level, Outcome, RunError};
use futures_util::{Stream, StreamExt};
use std::{
    io::Read,
    path::PathBuf,
    pin::Pin,
    time::{Duration, Instant},
};
use tokio::io::AsyncWriteExt;

/// How often the request to stop is looked for.
const LOOK: Duration = Duration::from_millis(20);
/// How long a daemon that is gone is waited for. Containers of podman run on without theirs.
const COMES_BACK: Duration = Duration::from_secs(30);
const ASK_AGAIN: Duration = Duration::from_millis(200);
/// The longest pause between two looks at a container whose output has ended.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
/// How long a run that has ended waits for the removal of what others have left.
const STRAYS: Duration = Duration::from_secs(5);
/// The part of the grace that a command has to end by itself; what is left is for the removal.
const GRACE_OF_COMMAND: f32 = 0.6;

/// A run of this plugin.
pub(crate) struct Run<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) invocation: &'a Invocation,
    pub(crate) ctx: &'a Context,
    pub(crate) address: Address,
}

/// A container that is this run's.
struct Container {
    name: String,
    directory: PathBuf,
}

/// How a container ended.
enum End {
    Exited(ContainerState),
    /// Somebody else has removed it.
    Removed,
    /// The daemon is gone and does not come back.
    Lost(String),
}

impl Run<'_> {
    pub(crate) async fn execute(&self) -> Result<Outcome, RunError> {
        let docker = self
            .or_stopped("the connection to the daemon", self.address.connect())
            .await?;
        let docker = docker.map_err(|trouble| RunError::failed("daemon_unreachable", trouble.to_string()))?;
        if self.plan.pull == Pull::Always {
            self.pull(&docker).await?;
        }
        let token = token();
        let container = Container {
            name: name(&self.invocation.invocation_id, &token),
            directory: directory::path(&token),
        };
        self.leave_will(&container, Phase::Creating)?;
        directory::make(&container.directory).map_err(|error| {
            RunError::failed(
                "io",
                format!("'{}' can't be made: {error}", container.directory.display()),
            )
        })?;
        let strays = tokio::spawn({
            let (docker, address) = (docker.clone(), self.address.clone());
            async move { owner::remove_strays(&docker, &address).await }
        });
        let ended = match self.create(&docker, &container).await {
            Ok(()) => {
                self.leave_will(&container, Phase::Settled)?;
                self.carry_out(&docker, &container).await
            }
            // Whether there is a container is not known: the will looks for it.
            Err(NotCreated::Unknown(error)) => return Err(error),
            Err(NotCreated::Certainly(error)) => {
                directory::remove(&container.directory);
                self.ctx.withdraw_last_will()?;
                return Err(error);
            }
        };
        if let Ok(Ok(removed)) = tokio::time::timeout(STRAYS, strays).await {
            for invocation in removed {
                let line =
                    format!("removed a container that an earlier host left of invocation '{invocation}'");
                self.ctx.log(Level::Info, &line);
            }
        }
        let removed = match &ended {
            Ok(_) => daemon::remove_ended(&docker, &container.name).await,
            // It may be running.
            Err(_) => daemon::remove(&docker, &container.name).await,
        };
        match removed {
            Ok(_) => {
                directory::remove(&container.directory);
                self.ctx.withdraw_last_will()?;
            }
            // The will tries again.
            Err(trouble) => self.ctx.log(
                Level::Warn,
                &format!("the container is not removed yet: {trouble}"),
            ),
        }
        let name = container.name;
        match ended {
            Ok(outcome) => Ok(outcome.receipt("container.name", name)),
            Err(error) => Err(error.receipt("container.name", name)),
        }
    }

    fn leave_will(&self, container: &Container, phase: Phase) -> Result<(), RunError> {
        will::leave(
            self.ctx,
            &self.address,
            &container.name,
            &container.directory,
            phase,
        )
    }

    async fn pull(&self, docker: &Docker) -> Result<(), RunError> {
        self.or_stopped("the pull of the image", image::pull(docker, self.plan, self.ctx))
            .await?
    }

    /// Creates the container, and pulls its image before if that is missing.
    async fn create(&self, docker: &Docker, container: &Container) -> Result<(), NotCreated> {
        match self.try_create(docker, container).await? {
            Err(trouble) if trouble.is_missing() && self.plan.pull == Pull::Missing => {
                // A pull takes its time, and nothing is being created meanwhile.
                let settled = self.leave_will(container, Phase::Settled);
                settled.map_err(NotCreated::Certainly)?;
                self.pull(docker).await.map_err(NotCreated::Certainly)?;
                let creating = self.leave_will(container, Phase::Creating);
                creating.map_err(NotCreated::Certainly)?;
            }
            Err(trouble) if trouble.is_missing() => {
                let text = format!("image '{}' is not there: {trouble}", self.plan.image);
                return Err(NotCreated::Certainly(RunError::rejected("image_not_found", text)));
            }
            created => return created.map_err(|trouble| not_created(&trouble)),
        }
        let created = self.try_create(docker, container).await?;
        created.map_err(|trouble| not_created(&trouble))
    }

    async fn try_create(
        &self,
        docker: &Docker,
        container: &Container,
    ) -> Result<Result<(), Trouble>, NotCreated> {
        let options = CreateContainerOptions {
            name: Some(container.name.clone()),
            platform: self.plan.platform.clone().unwrap_or_default(),
        };
        let labels = owner::labels(
            &container.name,
            &self.invocation.invocation_id,
            &self.invocation.runtime_name,
            &container.directory,
        );
        let body = self.plan.body(&container.directory, labels);
        let creating = docker.create_container(Some(options), body);
        let created = self.or_stopped("the creation of the container", creating).await;
        let created = created.map_err(NotCreated::Unknown)?;
        Ok(created.map(drop).map_err(Trouble::from))
    }

    /// Starts the container, follows it to its end, and keeps what it has left.
    async fn carry_out(&self, docker: &Docker, container: &Container) -> Result<Outcome, RunError> {
        let name = &container.name;
        let mut output = Output::begin(self.ctx)?;
        let options = AttachContainerOptions {
            stream: true,
            stdin: self.plan.has_input,
            stdout: true,
            stderr: true,
            ..AttachContainerOptions::default()
        };
        let attached = self.or_stopped(
            "the start of the container",
            docker.attach_container(name, Some(options)),
        );
        let attached = attached.await?.map_err(|error| not_started(&error.into()))?;
        let (end, identity) = {
            let input = self.input()?;
            // The command may run before the daemon says so, so that the start is under the same eye.
            let following = async {
                let started = docker.start_container(name, None).await.map_err(Trouble::from);
                if let Err(trouble) = &started
                    && trouble.is_refusal()
                {
                    return Err(not_started(trouble));
                }
                Ok(tokio::join!(
                    follow(docker, name, attached, input, &mut output, started.is_ok()),
                    image::identity(docker, name, &self.plan.image),
                ))
            };
            tokio::select! {
                followed = following => followed?,
                never = self.stop(docker, name) => match never {},
            }
        };
        let collected = match &end {
            // It may still change what is there.
            End::Lost(_) => Collected::default(),
            End::Exited(_) | End::Removed => directory::collect(self.ctx, &container.directory)?,
        };
        let ended = self.judge(end, output);
        let receipts = receipts(identity, collected.omitted);
        Ok(match ended {
            Ok(outcome) => receipts
                .into_iter()
                .fold(outcome, |outcome, (key, value)| outcome.receipt(key, value)),
            Err(error) => {
                return Err(receipts
                    .into_iter()
                    .fold(error, |error, (key, value)| error.receipt(key, value)));
            }
        })
    }

    fn input(&self) -> Result<Option<executor_runtime_sdk::Input>, RunError> {
        Ok(match self.plan.has_input {
            true => self.ctx.open_input()?,
            false => None,
        })
    }

    /// Once the run is asked to stop: TERM, and KILL when most of the grace is over.
    async fn stop(&self, docker: &Docker, name: &str) -> std::convert::Infallible {
        self.stop_requested().await;
        let kill_at = Instant::now() + self.ctx.grace().mul_f32(GRACE_OF_COMMAND);
        // One that is being started can't be told yet.
        while daemon::signal(docker, name, "TERM").await.is_err() && Instant::now() < kill_at {
            tokio::time::sleep(LOOK).await;
        }
        tokio::time::sleep_until(kill_at.into()).await;
        loop {
            let _ = daemon::signal(docker, name, "KILL").await;
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }

    async fn stop_requested(&self) {
        let mut looks = tokio::time::interval(LOOK);
        while !self.ctx.stop_requested() {
            looks.tick().await;
        }
    }

    async fn or_stopped<T>(&self, doing: &str, work: impl Future<Output = T>) -> Result<T, RunError> {
        tokio::select! {
            biased;
            done = work => Ok(done),
            () = self.stop_requested() => Err(self.ctx.stopped(doing)),
        }
    }

    /// Whether a command that has failed did so for its memory. Some daemons don't find out (conmon 2.1.6 does not tell podman):
    /// a command with a limit that nobody here has killed is most likely killed for that.
    fn out_of_memory(&self, state: &ContainerState, code: i64) -> Option<RunError> {
        let limit = self.invocation.text("container.memory_bytes");
        let what = match (state.oom_killed, limit) {
            (Some(true), _) if code != 0 => "the command ran out of memory",
            (_, Some(_)) if code == KILLED => {
                "the command was ended by SIGKILL, most likely because it ran out of memory"
            }
            _ => return None,
        };
        let may_have = limit.map(|bytes| format!(": it may have {bytes} bytes"));
        let summary = format!("{what}{}", may_have.unwrap_or_default());
        Some(RunError::failed("out_of_memory", summary))
    }

    /// From how the container ended to how the run did.
    fn judge(&self, end: End, output: Output) -> Result<Outcome, RunError> {
        let kept = output.finish();
        let state = match end {
            End::Exited(state) => state,
            End::Removed => {
                return Err(RunError::failed(
                    "container_removed",
                    "the container was removed while it ran",
                ));
            }
            End::Lost(why) => return Err(RunError::failed("daemon_lost", why)),
        };
        let code = state.exit_code.unwrap_or(-1);
        if self.ctx.stop_requested() {
            return Err(self.ctx.stopped("the container").exit_code(code));
        }
        if let Some(error) = self.out_of_memory(&state, code) {
            return Err(error.exit_code(code));
        }
        kept?;
        match (code, state.error.filter(|error| !error.is_empty())) {
            (0, None) => Ok(Outcome::succeeded().exit_code(0)),
            (code, Some(error)) => Err(RunError::failed(
                "container_failed",
                format!("the container failed: {error}"),
            )
            .exit_code(code)),
            (code, None) => Err(RunError::failed(
                "exit_status",
                format!("the command exited with code {code}"),
            )
            .exit_code(code)),
        }
    }
}

/// How often the output of a container may be cut off by a daemon that is there again.
const MOST_CUTS: u32 = 5;

/// The exit code of a command that SIGKILL ended.
const KILLED: i64 = 128 + 9;

/// Keeps the output of a container until it has ended. Whether it is started is not known where the daemon went meanwhile.
async fn follow(
    docker: &Docker,
    name: &str,
    attached: AttachContainerResults,
    input: Option<executor_runtime_sdk::Input>,
    output: &mut Output,
    is_started: bool,
) -> End {
    let AttachContainerResults {
        output: mut stream,
        input: stdin,
    } = attached;
    let feeding = feed(input, stdin);
    {
        let mut reading = std::pin::pin!(keep(&mut stream, output));
        let mut feeding = std::pin::pin!(feeding);
        let mut fed = false;
        loop {
            tokio::select! {
                _ = &mut reading => break,
                () = &mut feeding, if !fed => fed = true,
            }
        }
    }
    // The end of what was attached says nothing: a daemon that dies ends it, too, and may be back at once.
    let mut is_whole = false;
    let mut cut = 0;
    let mut lost_since: Option<Instant> = None;
    let mut pause = Duration::from_millis(2);
    loop {
        let inspected = docker
            .inspect_container(name, None::<InspectContainerOptions>)
            .await;
        match inspected.map_err(Trouble::from) {
            Ok(found) => {
                lost_since = None;
                let state = found.state.unwrap_or_default();
                let is_over = has_ended(&state);
                if !is_started && state.status == Some(ContainerStateStatusEnum::CREATED) {
                    return End::Lost("the daemon was gone when the container was to be started".to_owned());
                }
                if is_over && is_whole {
                    return End::Exited(state);
                }
                // Output that has ended before the container may be the daemon's end, or the command has closed it.
                if !is_whole {
                    output.repeats();
                    let again = LogsOptions {
                        follow: !is_over,
                        stdout: true,
                        stderr: true,
                        ..LogsOptions::default()
                    };
                    let mut stream = std::pin::pin!(docker.logs(name, Some(again)));
                    match keep(&mut stream, output).await.map_err(Trouble::from) {
                        Ok(()) => is_whole = is_over,
                        // A daemon that keeps no logs has none to be asked for again.
                        Err(trouble) if trouble.is_refusal() => is_whole = is_over,
                        Err(_) if cut == MOST_CUTS => {
                            return End::Lost("the daemon has not given all of the output".to_owned());
                        }
                        Err(_) => cut += 1,
                    }
                    if is_over {
                        continue;
                    }
                }
            }
            Err(trouble) if trouble.is_missing() => return End::Removed,
            Err(trouble) => {
                // A daemon that answers has what was written since; one that is gone has cut it off.
                is_whole &= trouble.is_refusal();
                let since = *lost_since.get_or_insert_with(Instant::now);
                if since.elapsed() > COMES_BACK {
                    return End::Lost(format!(
                        "the daemon is gone, and has not come back within {} s: {trouble}",
                        COMES_BACK.as_secs()
                    ));
                }
                if !trouble.is_refusal() {
                    tokio::time::sleep(ASK_AGAIN).await;
                    continue;
                }
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn has_ended(state: &ContainerState) -> bool {
    let by_status = matches!(
        state.status,
        Some(ContainerStateStatusEnum::EXITED | ContainerStateStatusEnum::DEAD)
    );
    by_status || (state.running == Some(false) && state.exit_code.is_some() && state.status.is_none())
}

/// Keeps output until its end.
async fn keep(
    stream: &mut (impl Stream<Item = Result<LogOutput, Error>> + Unpin),
    output: &mut Output,
) -> Result<(), Error> {
    while let Some(next) = stream.next().await {
        output.take(&next?);
    }
    Ok(())
}

/// Gives the command its stdin, and closes it.
async fn feed(
    input: Option<executor_runtime_sdk::Input>,
    mut stdin: Pin<Box<dyn tokio::io::AsyncWrite + Send>>,
) {
    if let Some(mut input) = input {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(read @ 1..) = input.read(&mut buffer) {
            // A command that reads no more has its reasons.
            if stdin.write_all(&buffer[..read]).await.is_err() {
                break;
            }
        }
        let _ = stdin.shutdown().await;
    }
    // Closing it would end the output as well.
    std::mem::forget(stdin);
}

fn receipts(identity: Identity, omitted: u64) -> Vec<(&'static str, String)> {
    let omitted = (omitted > 0).then(|| omitted.to_string());
    [
        ("container.image_id", identity.id),
        ("container.image_digest", identity.digest),
        ("container.artifacts_omitted", omitted),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some((key, value?)))
    .collect()
}

/// Why there is no container, as far as that is known.
enum NotCreated {
    Certainly(RunError),
    /// The daemon may be about to make it.
    Unknown(RunError),
}

fn not_created(trouble: &Trouble) -> NotCreated {
    match trouble {
        Trouble::Refused { code: 400..=499, .. } => NotCreated::Certainly(RunError::rejected(
            "container_refused",
            format!("the daemon refuses the container: {trouble}"),
        )),
        Trouble::Refused { .. } => NotCreated::Certainly(RunError::failed(
            "container_failed",
            format!("the container can't be created: {trouble}"),
        )),
        _ => NotCreated::Unknown(RunError::failed(
            "daemon_lost",
            format!("the container can't be created: {trouble}"),
        )),
    }
}

/// Daemons tell in words only why a program is not started.
fn not_started(trouble: &Trouble) -> RunError {
    let text = format!("the container can't be started: {trouble}");
    let lower = text.to_lowercase();
    if !trouble.is_refusal() {
        return RunError::failed("daemon_lost", text);
    }
    let says = |words: &[&str]| words.iter().any(|words| lower.contains(words));
    if says(&[
        "executable file not found",
        "no such file or directory",
        "not found in $path",
    ]) {
        RunError::rejected("exec_not_found", text)
    } else if says(&["permission denied", "is a directory"]) {
        RunError::rejected("exec_permission", text)
    } else if says(&["exec format error"]) {
        RunError::rejected("exec_format", text)
    } else {
        RunError::failed("container_failed", text)
    }
}

/// What no other run on this machine is called.
fn token() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    format!("{}-{:x}", std::process::id(), now.map_or(0, |now| now.as_nanos()))
}

/// A name that a person recognises.
fn name(invocation: &str, token: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || "._-".contains(c) {
            c
        } else {
            '_'
        }
    };
    let id: String = invocation.chars().take(40).map(plain).collect();
    format!("rxp-{id}-{token}")
}
