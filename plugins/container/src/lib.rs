//! The runtime kind `container`: the command runs in a container of a Docker or podman daemon, by Docker's API.
//!
//! The container is not below the host's supervisors: it is a child of the daemon's. So the run leaves a last will before it
//! is created, which removes it if the run can't (`will`), and the container has labels by which the next run finds what
//! even that could not remove (`owner`).

mod daemon;
mod directory;
mod entry;
mod image;
mod output;
mod owner;
mod plan;
mod run;
mod will;

use daemon::Address;
use executor_runtime_sdk::{Context, Invocation, Outcome, RunError, Runner, export_runner};
use plan::Plan;

struct Container;

impl Runner for Container {
    fn run(&self, invocation: &Invocation, ctx: &mut Context) -> Result<Outcome, RunError> {
        let plan = Plan::read(invocation, |key| ctx.config(key))?;
        let address = Address::choose(ctx.config("host"));
        let address =
            address.map_err(|trouble| RunError::failed("daemon_unreachable", trouble.to_string()))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let run = run::Run {
            plan: &plan,
            invocation,
            ctx,
            address,
        };
        runtime.block_on(run.execute())
    }
}

export_runner!(Container);
