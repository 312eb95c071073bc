//! The `executor-runtime` command with the WebAssembly engine, which runs plugins that are components.

use executor_runtime_command::Executable;
use executor_runtime_component::{CodeCache, Components, Mode};
use executor_runtime_native::NativePlugins;
use std::process::ExitCode;
use std::sync::Arc;

fn main() -> ExitCode {
    // A process that runs a native plugin is nothing else.
    if let Some(code) = executor_runtime_native::worker_main(std::env::args_os().skip(1)) {
        return code;
    }
    executor_runtime_command::main(Executable::with_engine(|builder| {
        builder
            .carrier(|supervisors| NativePlugins::new(Arc::clone(supervisors)))
            .carrier(|_| Components::new(Mode::OneShot, CodeCache::of_user()))
    }))
}
