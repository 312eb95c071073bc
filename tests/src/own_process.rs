//! Tests in processes of their own, because of what they count or change there.
//!
//! The tests of a program share one process. The program starts itself again for one test, and runs only that.

use std::{
    any::type_name_of_val,
    env,
    process::{Command, Output},
};

/// Set in such a process.
const VARIABLE: &str = "E2E_OWN_PROCESS";

/// Runs `body`, that of the test function `test`, in a process in which no other test runs.
///
/// # Panics
/// When the test fails there.
pub fn in_own_process(test: impl Fn(), body: impl FnOnce()) {
    if is_own() {
        return body();
    }
    let program = env::current_exe().expect("a program has a path");
    run(&test, Command::new(program)).expect("this program can be started again");
}

/// Whether this is a process for one test.
pub(crate) fn is_own() -> bool {
    env::var_os(VARIABLE).is_some()
}

/// Runs the function `test` of this program by `command`, which starts the program.
///
/// # Panics
/// When the test fails there, or is not found.
pub(crate) fn run(test: &impl Fn(), mut command: Command) -> std::io::Result<()> {
    let Output {
        status,
        stdout,
        stderr,
    } = command
        .args(["--exact", name(test), "--nocapture"])
        .env(VARIABLE, "1")
        .output()?;
    let [stdout, stderr] = [stdout, stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    assert!(
        status.success() && stdout.contains("1 passed"),
        "in a process of its own: {stdout}\n{stderr}"
    );
    Ok(())
}

/// The name by which the test program knows a test function: its path without the program.
pub(crate) fn name(test: &impl Fn()) -> &'static str {
    let path = type_name_of_val(test);
    path.split_once("::").map_or(path, |(_program, name)| name)
}
