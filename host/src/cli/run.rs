//! `run`: one invocation to its end.

use super::{Format, args::RunOptions, exit, input, prompt, style, summary};
use anyhow::{Context, Result};
use executor_runtime::{Runtime, Termination, protocol::RuntimeInvocation};
use std::{
    io::{self, Write},
    process::ExitCode,
};

pub(super) fn run(options: Box<RunOptions>, format: Option<Format>) -> Result<ExitCode> {
    let mut invocation = if options.words.is_empty() {
        let document = input::read(options.file.as_deref())?;
        match RuntimeInvocation::from_json(&document) {
            Ok(invocation) => invocation,
            Err(invalid) => {
                let source = input::name(options.file.as_deref());
                eprintln!("{} {source} is {invalid}", style::stderr().error("error:"));
                return Ok(exit::UNUSABLE.into());
            }
        }
    } else {
        prompt::invocation(&options.words, &options.prompt)?
    };
    prompt::override_with(&options, &mut invocation);
    if options.print_invocation {
        return print(&invocation);
    }

    let runtime = Runtime::new().context("subprocesses can't be supervised on this system")?;
    let executor = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (result, signal) = executor.block_on(async {
        let termination = Termination::watch().context("signals can't be watched")?;
        let result = runtime.run_until(invocation, termination.token()).await;
        anyhow::Ok((result, termination.signal()))
    })?;
    let status = exit::status(&result, signal, options.propagate_exit_code);
    match Format::or_detect(format) {
        Format::Human => summary::print(&result)?,
        Format::Json => {
            print(&result)?;
        }
    }
    Ok(status.into())
}

fn print(document: &impl serde::Serialize) -> Result<ExitCode> {
    let mut text = serde_json::to_vec_pretty(document)?;
    text.push(b'\n');
    let mut out = io::stdout().lock();
    out.write_all(&text)?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
