//! `run`: one invocation to its end.

use super::{
    Format,
    args::{HostOptions, RunOptions},
    exit,
    host::Host,
    input, is_broken_pipe, print_json, prompt, style, summary,
};
use anyhow::{Context, Result};
use executor_runtime::{
    Termination,
    protocol::{RuntimeInvocation, RuntimeResult},
};
use std::{io::Write, process::ExitCode};

pub(super) fn run(options: &RunOptions, host: &HostOptions, format: Option<Format>) -> Result<ExitCode> {
    // The supervisor gets ready while the invocation is read.
    let prepared = if options.print_invocation {
        None
    } else {
        Some(Host::start(host)?)
    };
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
    prompt::override_with(options, &mut invocation);
    let Some(host) = prepared else {
        print_json(&invocation)?;
        return Ok(ExitCode::SUCCESS);
    };

    let executor = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (result, signal) = executor.block_on(async {
        let termination = Termination::watch().context("signals can't be watched")?;
        let result = host.runtime.run_until(invocation, termination.token()).await;
        anyhow::Ok((result, termination.signal()))
    })?;
    // The helper processes end while the result is printed.
    let shutdown = host.runtime.shut_down();
    let propagate = options.propagate_exit_code;
    let status = match print(&result, format) {
        Ok(()) => exit::status(&result, signal, propagate),
        Err(error) if is_broken_pipe(&error) => return Err(error),
        Err(error) => {
            let heading = style::stderr().error("error:");
            eprintln!(
                "{heading} the run ended ({}), but its result could not be written to stdout: {error:#}",
                result.status
            );
            exit::unprinted(&result, propagate)
        }
    };
    drop(shutdown);
    // Nothing of the run is left, and no process of ours. What is (a pool of connections, an engine) ends with this
    // process, and the caller need not wait for it to be taken down in order.
    std::process::exit(status.into())
}

fn print(result: &RuntimeResult, format: Option<Format>) -> Result<()> {
    match Format::or_detect(format) {
        Format::Human => summary::print(result)?,
        Format::Json => print_json(result)?,
    }
    Ok(std::io::stdout().flush()?)
}
