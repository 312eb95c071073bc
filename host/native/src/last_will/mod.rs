//! The last will of a run: a command that is run once the plugin's process has ended, by whatever cause, unless the plugin
//! has withdrawn it.
//!
//! Problem: a plugin may have started something elsewhere that no supervisor can end, such as a container. When it is
//! killed, nothing is left to clean up after it; and the host may have been killed with it. Solution: with the first will of a
//! run the host starts an **executor** (`executor`), which is no descendant of any supervisor, in a session of its own. It
//! holds the read end of a pipe whose write end only the plugin's process has, so that the kernel tells it of that
//! process's end, whether it crashed, was killed, was ended by its supervisor, or died with the host. Then it runs the will.
//!
//! The host keeps the will too: if it is the executor that was killed, the host starts another.

mod executor;
mod wire;

pub(crate) use executor::{EXECUTOR_MODE, main};

use executor_runtime_plugin::session::{Level, RunLog};
use executor_runtime_run::exhaustion;
use std::{
    io,
    os::{fd::OwnedFd, unix::process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    sync::Mutex,
    time::timeout,
};
use wire::{Answer, MAX_FRAME, Order};

/// How long a last will may take.
const TIME: Duration = Duration::from_secs(10);
/// How long the host waits beyond that for the executor.
const SLACK: Duration = Duration::from_secs(3);
/// How long the executor has to take an order.
const ORDER_TIME: Duration = Duration::from_secs(5);

/// The last will of one run, from the host's side.
#[derive(Debug)]
pub(super) struct LastWill {
    /// The executable that becomes the executor.
    program: PathBuf,
    /// Is at its end once the plugin's process has ended.
    life: OwnedFd,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    executor: Option<UnixStream>,
    /// What is in force.
    will: Option<Vec<String>>,
}

impl LastWill {
    /// With the read end of the pipe whose write end the plugin's process has, and no other.
    pub(super) fn new(program: &Path, life: OwnedFd) -> Self {
        Self {
            program: program.to_owned(),
            life,
            state: Mutex::default(),
        }
    }

    /// Leaves a will in place of the one before. The error is for the plugin.
    pub(super) async fn leave(&self, command: Vec<String>) -> Result<(), String> {
        let mut state = self.state.lock().await;
        let left = self.order(&mut state, &Order::Leave(command.clone())).await;
        match left.map_err(|error| format!("the last will can't be left: {error}"))? {
            Answer::Done => state.will = Some(command),
            Answer::Refused(reason) => return Err(reason),
        }
        Ok(())
    }

    /// Withdraws the will, if there is one.
    pub(super) async fn withdraw(&self) -> Result<(), String> {
        let mut state = self.state.lock().await;
        if state.will.is_none() {
            return Ok(());
        }
        let withdrawn = self.order(&mut state, &Order::Withdraw).await;
        withdrawn.map_err(|error| format!("the last will can't be withdrawn: {error}"))?;
        state.will = None;
        Ok(())
    }

    /// Gives an order to the executor; to another one if it is gone.
    async fn order(&self, state: &mut State, order: &Order) -> io::Result<Answer> {
        if let Some(executor) = &mut state.executor
            && let Ok(answer) = ask(executor, order).await
        {
            return Ok(answer);
        }
        state.executor = None;
        let executor = state.executor.insert(self.start().await?);
        ask(executor, order).await
    }

    async fn start(&self) -> io::Result<UnixStream> {
        let (program, life) = (self.program.clone(), self.life.try_clone()?);
        let started = exhaustion::run_blocking(move || start(&program, life)).await??;
        UnixStream::from_std(started)
    }

    /// To be called once the plugin's process has ended: waits until the will is carried out, if there is one, and logs
    /// what went wrong with that.
    pub(super) async fn carried_out(&self, log: &RunLog) {
        let mut state = self.state.lock().await;
        let Some(mut executor) = state.executor.take() else {
            return;
        };
        let Some(will) = state.will.take() else {
            // It has nothing to do, and ends.
            let _ = timeout(SLACK, hear(&mut executor)).await;
            return;
        };
        let mut done = wait(&mut executor).await;
        if matches!(done, Ok(Err(_))) {
            // It was killed, before it was done or after.
            let again = async {
                let mut executor = self.start().await?;
                match ask(&mut executor, &Order::Leave(will)).await? {
                    Answer::Done => hear(&mut executor).await,
                    refused @ Answer::Refused(_) => Ok(refused),
                }
            };
            done = timeout(TIME + SLACK, again).await.map_err(|_| ());
        }
        match done {
            Ok(Ok(Answer::Done)) => log.log(Level::Debug, "carried out the last will"),
            Ok(Ok(Answer::Refused(why))) => {
                log.log(Level::Warn, &format!("the last will was not carried out: {why}"));
            }
            Ok(Err(error)) => {
                log.log(
                    Level::Warn,
                    &format!("the last will was not carried out: {error}"),
                );
            }
            Err(()) => log.log(Level::Warn, "the last will was not carried out in time"),
        }
    }
}

/// Waits until an executor says that it has carried out a will, and has ended.
async fn wait(executor: &mut UnixStream) -> Result<io::Result<Answer>, ()> {
    let heard = timeout(TIME + SLACK, hear(executor)).await.map_err(|_| ())?;
    if heard.is_ok() {
        let _ = timeout(SLACK, hear(executor)).await;
    }
    Ok(heard)
}

async fn ask(executor: &mut UnixStream, order: &Order) -> io::Result<Answer> {
    let asked = async {
        executor.write_all(&wire::encode(order)?).await?;
        hear(executor).await
    };
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, "its executor does not answer");
    timeout(ORDER_TIME, asked).await.map_err(late)?
}

async fn hear(executor: &mut UnixStream) -> io::Result<Answer> {
    let length = executor.read_u32_le().await? as usize;
    if length > MAX_FRAME {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut json = vec![0; length];
    executor.read_exact(&mut json).await?;
    Ok(serde_json::from_slice(&json)?)
}

/// Starts an executor. Blocks until it is on its own: what the host has started ends at once, and leaves the executor.
fn start(program: &Path, life: OwnedFd) -> io::Result<std::os::unix::net::UnixStream> {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    let status = Command::new(program)
        .arg0("executor-runtime")
        .arg(EXECUTOR_MODE)
        .current_dir("/")
        .stdin(life)
        .stdout(OwnedFd::from(theirs))
        .stderr(Stdio::null())
        .status()?;
    if !status.success() {
        return Err(io::Error::other(format!("its executor {status}")));
    }
    ours.set_nonblocking(true)?;
    Ok(ours)
}
