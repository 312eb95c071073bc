//! The last will: removes the container of a run whose process has ended without doing so.
//!
//! Problem: a daemon that is busy may take longer to create a container than a last will may take, or may not be there.
//! Solution: the command then exits with [`TRY_AGAIN`], and the host has it run again for a while.

use crate::{
    daemon::{Address, Trouble, remove},
    directory,
};
use executor_runtime_sdk::{Context, RunError};
use std::{
    ffi::c_int,
    io::{self, Write},
    path::Path,
    time::{Duration, Instant},
};
use tokio::time::timeout;

/// Whether the container is there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The daemon may be about to create it, although nobody waits for that any more.
    Creating,
    /// It is there, or was not asked for.
    Settled,
}

/// How long a container that was being created is waited for at once. A last will has 10 seconds.
const CREATION: Duration = Duration::from_secs(6);
/// The exit code with which the host runs a last will again.
const TRY_AGAIN: c_int = 75;
/// How long the daemon may take for all that.
const ANSWERS: Duration = Duration::from_secs(9);
const AGAIN: Duration = Duration::from_millis(100);

/// Leaves a will that removes the container and the run's directory.
pub(crate) fn leave(
    ctx: &Context,
    address: &Address,
    name: &str,
    directory: &Path,
    phase: Phase,
) -> Result<(), RunError> {
    let own_file = crate::entry::own_file().ok_or_else(|| {
        RunError::failed(
            "last_will",
            "the plugin doesn't find its own file, which would remove the container",
        )
    })?;
    let phase = if phase == Phase::Creating {
        "creating"
    } else {
        "settled"
    };
    let (address, directory) = (address.to_string(), directory.to_string_lossy());
    let command: [&str; 5] = [&own_file, &address, name, &directory, phase];
    let left = ctx.last_will(command);
    left.map_err(|error| {
        RunError::failed(
            "last_will",
            format!("without a last will no container is started: {error}"),
        )
    })
}

/// What the command does.
pub(crate) fn main(arguments: &[String]) -> c_int {
    let [address, name, directory, phase] = arguments else {
        let _ = writeln!(
            io::stderr(),
            "this is a plugin: it is for an executor-runtime to load"
        );
        return 2;
    };
    let phase = if phase == "creating" {
        Phase::Creating
    } else {
        Phase::Settled
    };
    let removed = carry_out(address, name, phase);
    directory::remove(Path::new(directory));
    let (code, why) = match removed {
        Removed::Done => return 0,
        Removed::NotThere => (TRY_AGAIN, "the daemon has not created it yet".to_owned()),
        Removed::Trouble(trouble @ Trouble::NoAddress(_)) => (1, trouble.to_string()),
        Removed::Trouble(trouble) => (TRY_AGAIN, trouble.to_string()),
    };
    let _ = writeln!(io::stderr(), "container '{name}' may be left: {why}");
    code
}

/// What came of the removal.
enum Removed {
    Done,
    /// It was being created, and may come yet.
    NotThere,
    Trouble(Trouble),
}

fn carry_out(address: &str, name: &str, phase: Phase) -> Removed {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return Removed::Trouble(Trouble::Unreachable(error.to_string())),
    };
    runtime.block_on(async {
        let started = Instant::now();
        loop {
            let removed = async {
                let docker = Address::parse(address)?.connect().await?;
                remove(&docker, name).await
            };
            // A command that took all of its time would not be run again.
            let removed = timeout(ANSWERS.saturating_sub(started.elapsed()), removed).await;
            let removed = removed.unwrap_or_else(|_| {
                let why = format!("the daemon at {address} does not answer");
                Err(Trouble::Unreachable(why))
            });
            let is_over = started.elapsed() >= CREATION;
            match removed {
                Ok(true) => return Removed::Done,
                Ok(false) if phase == Phase::Settled => return Removed::Done,
                Ok(false) if is_over => return Removed::NotThere,
                Err(trouble) if is_over => return Removed::Trouble(trouble),
                // It may come yet, or the daemon may.
                Ok(false) | Err(_) => tokio::time::sleep(AGAIN).await,
            }
        }
    })
}
