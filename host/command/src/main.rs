//! The `executor-runtime` command.

use executor_runtime_command::Executable;
use std::process::ExitCode;

fn main() -> ExitCode {
    // A process that runs a native plugin is nothing else.
    if let Some(code) = executor_runtime_native::worker_main(std::env::args_os().skip(1)) {
        return code;
    }
    executor_runtime_command::main(Executable::SMALL)
}
