//! The `executor-runtime` command.

// With glibc this starts without the standard library's own preparations: see `start`.
#![cfg_attr(target_env = "gnu", no_main)]

use executor_runtime_command::Executable;
use std::process::ExitCode;

#[cfg(target_env = "gnu")]
mod start;

fn main() -> ExitCode {
    // A process that runs a native plugin is nothing else.
    if let Some(code) = executor_runtime_native::worker_main(std::env::args_os().skip(1)) {
        return code;
    }
    executor_runtime_command::main(Executable::SMALL)
}
