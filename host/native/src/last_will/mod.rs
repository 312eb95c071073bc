//! The last will of a run: a command that is run once the plugin's process has ended, by whatever cause, unless the plugin
//! has withdrawn it.
//!
//! Problem: a plugin may have started something elsewhere that no supervisor can end, such as a container. When it is
//! killed, nothing is left to clean up after it; and the host may have been killed with it. Solution: with the first will of a
//! run the host starts an **executor** (`executor`), which is no descendant of any supervisor, in a session of its own. It
//! holds the read end of a pipe whose write end only the plugin's process has, so that the kernel tells it of that
//! process's end, whether it crashed, was killed, was ended by its supervisor, or died with the host. Then it runs the will.
//!
//! The host keeps the will too, with its program: if it is the executor that was killed, the host starts another. One that
//! was stopped and does not answer is killed first (`process`), so that no will is carried out late that was withdrawn.
//!
//! A command that can't do its work yet exits with [`TRY_AGAIN`]. The run ends, and the executor goes on alone: it runs the
//! command again, for [`AGAIN_FOR`]. What comes of that is told to no one.

mod executor;
mod orphans;
mod process;
mod program;
mod wire;

pub(crate) use executor::{EXECUTOR_MODE, main};

use executor_runtime_plugin::session::{Level, RunLog};
use executor_runtime_run::exhaustion;
use process::Executor;
use std::{
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    slice,
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{Mutex, OwnedMutexGuard},
    task::JoinError,
    time::timeout,
};
use wire::{Answer, Order};

/// How long a last will may take.
const TIME: Duration = Duration::from_secs(10);
/// How long the host waits beyond that for the executor.
const SLACK: Duration = Duration::from_secs(3);
/// How long the executor has to take an order, and the host to start it.
const ORDER_TIME: Duration = Duration::from_secs(5);
/// How long an executor that was killed may take to disappear.
const END_TIME: Duration = Duration::from_secs(3);
/// The exit code of a command that is to be run again: `EX_TEMPFAIL` of `sysexits.h`.
const TRY_AGAIN: i32 = 75;
/// How long it is run again, and how long the executor waits before that.
const AGAIN_FOR: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_secs(1);

/// The last will of one run, from the host's side.
#[derive(Debug)]
pub(super) struct LastWill {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    /// The executable that becomes the executor.
    program: PathBuf,
    /// Is at its end once the plugin's process has ended.
    life: OwnedFd,
    executor: Option<Executor>,
    /// What is in force.
    will: Option<Will>,
}

#[derive(Debug)]
struct Will {
    /// The order that leaves it, as a frame.
    order: Vec<u8>,
    /// Open since the will was left. What it was opened by may be gone when it is needed.
    program: OwnedFd,
}

impl Will {
    async fn new(command: Vec<String>) -> Result<Self, String> {
        let finding = exhaustion::run_blocking(move || {
            let program = program::find(&command)?;
            let order = wire::encode(&Order::Leave(command));
            let order = order.map_err(|error| format!("the last will can't be left: {error}"))?;
            Ok(Self { order, program })
        });
        match timeout(ORDER_TIME, finding).await {
            Ok(found) => found.map_err(|error| error.to_string())?,
            Err(_) => Err("the file system of the last will's program does not answer".to_owned()),
        }
    }

    async fn leave_with(&self, executor: &mut Executor) -> io::Result<()> {
        let program = slice::from_ref(&self.program);
        match executor.order(&self.order, program).await? {
            Answer::Done => Ok(()),
            // The plugin has ended meanwhile, and it is about the will before.
            Answer::Refused(reason) | Answer::Later(reason) => Err(io::Error::other(reason)),
        }
    }
}

impl LastWill {
    /// With the read end of the pipe whose write end the plugin's process has, and no other.
    pub(super) fn new(program: &Path, life: OwnedFd) -> Self {
        let state = State {
            program: program.to_owned(),
            life,
            executor: None,
            will: None,
        };
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Leaves a will in place of the one before. The error is for the plugin.
    pub(super) async fn leave(&self, command: Vec<String>) -> Result<(), String> {
        let will = Will::new(command).await?;
        let mut state = self.lock().await;
        let left = finish(async move { state.leave(will).await }).await;
        left.unwrap_or_else(|error| Err(error.to_string()))
    }

    /// Withdraws the will, if there is one.
    pub(super) async fn withdraw(&self) {
        let mut state = self.lock().await;
        let _ = finish(async move { state.withdraw().await }).await;
    }

    async fn lock(&self) -> OwnedMutexGuard<State> {
        Arc::clone(&self.state).lock_owned().await
    }

    /// To be called once the plugin's process has ended: waits until the will is carried out, if there is one, and logs
    /// what went wrong with that.
    pub(super) async fn carried_out(&self, log: &RunLog) {
        let mut state = self.lock().await;
        let executor = state.executor.take();
        let Some(will) = state.will.take() else {
            if let Some(executor) = executor {
                // It has nothing to do, and ends.
                executor.end_after(SLACK).await;
            }
            return;
        };
        let mut carried_out = None;
        if let Some(executor) = executor {
            carried_out = executor.carried_out().await.ok();
        }
        if carried_out.is_none() {
            // It was killed, before it was done or after; or it was stopped.
            let again = async { state.start(&will).await?.carried_out().await };
            carried_out = Some(
                again
                    .await
                    .unwrap_or_else(|error| Answer::Refused(error.to_string())),
            );
        }
        match carried_out {
            None | Some(Answer::Done) => log.log(Level::Debug, "carried out the last will"),
            Some(Answer::Refused(why)) => {
                log.log(Level::Warn, &format!("the last will was not carried out: {why}"));
            }
            Some(Answer::Later(why)) => log.log(
                Level::Warn,
                &format!(
                    "the last will is not carried out yet, and is tried again for {} s: {why}",
                    AGAIN_FOR.as_secs()
                ),
            ),
        }
    }
}

impl State {
    async fn leave(&mut self, will: Will) -> Result<(), String> {
        if let Some(mut executor) = self.executor.take() {
            match will.leave_with(&mut executor).await {
                Ok(()) => self.executor = Some(executor),
                Err(_) => executor.end().await,
            }
        }
        if self.executor.is_none() {
            match self.start(&will).await {
                Ok(executor) => self.executor = Some(executor),
                Err(error) => {
                    // The will before is still in force, also if the host dies.
                    if let Some(before) = &self.will {
                        self.executor = self.start(before).await.ok();
                    }
                    return Err(format!("the last will can't be left: {error}"));
                }
            }
        }
        self.will = Some(will);
        Ok(())
    }

    async fn withdraw(&mut self) {
        if self.will.take().is_none() {
            return;
        }
        if let Some(mut executor) = self.executor.take() {
            let withdrawn = async { executor.order(&wire::encode(&Order::Withdraw)?, &[]).await };
            match withdrawn.await {
                Ok(Answer::Done) => self.executor = Some(executor),
                _ => executor.end().await,
            }
        }
    }

    /// An executor with this will.
    async fn start(&self, will: &Will) -> io::Result<Executor> {
        let mut executor = Executor::start(self.program.clone(), self.life.try_clone()?).await?;
        match will.leave_with(&mut executor).await {
            Ok(()) => Ok(executor),
            Err(error) => {
                executor.end().await;
                Err(error)
            }
        }
    }
}

/// Does this to its end, whether or not that is waited for. What a plugin asked for last is waited for briefly only; but an
/// executor that does not answer must have been killed before a will is left to another one, or both would run theirs.
async fn finish<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Result<T, JoinError> {
    tokio::spawn(work).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_that_is_too_long_is_refused_before_an_executor_has_to_do_with_it() {
        let command = |length| vec!["/bin/sh".to_owned(), "x".repeat(length)];
        Will::new(command(wire::MAX_FRAME / 2)).await.unwrap();
        let refused = Will::new(command(wire::MAX_FRAME)).await.unwrap_err();
        assert_eq!(refused, "the last will can't be left: it is too long");
    }
}
