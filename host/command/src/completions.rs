//! `completions`: completion scripts for shells, made from the definitions of the arguments.

use super::args;
use anyhow::Result;
use clap_complete::Shell;
use std::{
    io::{self, Write},
    process::ExitCode,
};

pub(super) fn completions(shell: Shell) -> Result<ExitCode> {
    io::stdout().lock().write_all(script(shell).as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn script(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut args::definition(), "executor-runtime", &mut script);
    let script = String::from_utf8_lossy(&script);
    match shell {
        // The script looks up one spelling of a name with a hyphen, and has another in its table, so that no option of
        // a subcommand is completed: https://github.com/clap-rs/clap/issues/6421. This changes nothing once that is
        // fixed.
        Shell::Bash => script.replace("executor__subcmd__runtime", "executor__runtime"),
        _ => script.into_owned(),
    }
}
