//! The `executor-runtime` command with the WebAssembly engine, which runs plugins that are components.

mod allocator;
mod reload;
mod serve;

use executor_runtime_command::{Executable, Runs};
use executor_runtime_component::{CodeCache, Components, Mode};
use executor_runtime_native::NativePlugins;
use executor_runtime_service::MAX_STOPPING;
use std::{
    num::NonZeroU32,
    process::ExitCode,
    sync::{Arc, OnceLock},
};

/// Instances that the engine keeps room for at most: each takes 4 GiB of addresses. More runs take turns.
const MAX_POOL: NonZeroU32 = NonZeroU32::new(4096).unwrap();

fn main() -> ExitCode {
    // A process that runs a native plugin is nothing else.
    if let Some(code) = executor_runtime_native::worker_main(std::env::args_os().skip(1)) {
        return code;
    }
    if executor_runtime_command::is_for_one_component() {
        // Its engine starts while it is found out which.
        of_one_run();
    }
    let executable = Executable::with_engine(|builder, runs| {
        builder
            .carrier(|supervisors| NativePlugins::new(Arc::clone(supervisors)))
            .carrier(move |_| components(runs))
    });
    let executable = executable
        .batching(executor_runtime_batch::batch)
        .serving(serve::serve)
        .exporting(executor_runtime_telemetry::start)
        .carrying(include_bytes!(concat!(env!("OUT_DIR"), "/sdk.zlib")));
    executor_runtime_command::main(executable)
}

/// What runs the one component that this process was started for.
fn of_one_run() -> Components {
    static COMPONENTS: OnceLock<Components> = OnceLock::new();
    COMPONENTS
        .get_or_init(|| Components::for_one_run(CodeCache::of_user()))
        .clone()
}

fn components(runs: Runs) -> Components {
    let cache = CodeCache::of_user();
    match runs {
        Runs::OneComponent => of_one_run(),
        Runs::Few => Components::new(Mode::OneShot, cache),
        Runs::AtATime(runs) => {
            // Those that go on only to stop wait for none of the others.
            let runs = runs.saturating_add(MAX_STOPPING);
            let concurrency = NonZeroU32::try_from(runs).map_or(MAX_POOL, |runs| runs.min(MAX_POOL));
            Components::new(Mode::LongLived { concurrency }, cache)
        }
    }
}
