//! The last will: removes the container of a run whose process has ended without doing so.

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

/// Whether the container is there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The daemon may be about to create it, although nobody waits for that any more.
    Creating,
    Created,
}

/// How long a container that was being created is waited for. A last will has 10 seconds.
const CREATION: Duration = Duration::from_secs(6);
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
        "created"
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
        Phase::Created
    };
    let removed = carry_out(address, name, phase);
    directory::remove(Path::new(directory));
    match removed {
        Ok(()) => 0,
        Err(trouble) => {
            let _ = writeln!(io::stderr(), "container '{name}' may be left: {trouble}");
            1
        }
    }
}

fn carry_out(address: &str, name: &str, phase: Phase) -> Result<(), Trouble> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Trouble::Unreachable(error.to_string()))?;
    runtime.block_on(async {
        let until = Instant::now() + CREATION;
        loop {
            let removed = async {
                let docker = Address::parse(address)?.connect().await?;
                remove(&docker, name).await
            };
            match removed.await {
                Ok(true) => return Ok(()),
                Ok(false) if phase == Phase::Created || Instant::now() >= until => return Ok(()),
                Err(trouble) if Instant::now() >= until => return Err(trouble),
                // It may come yet, or the daemon may.
                Ok(false) | Err(_) => tokio::time::sleep(AGAIN).await,
            }
        }
    })
}
