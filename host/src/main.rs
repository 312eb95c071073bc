//! The `executor-runtime` command.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    // A process that runs a native plugin is nothing else.
    if let Some(code) = executor_runtime::native::worker_main(std::env::args_os().skip(1)) {
        return code;
    }
    cli::main()
}
