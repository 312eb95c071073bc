//! `run`: one invocation to its end.

use super::{
    Format,
    args::{HostOptions, RunOptions},
    exit, host, input, is_broken_pipe, print_json, prompt, style, summary,
};
use anyhow::Result;
use executor_runtime::{
    Failure, Host, Termination,
    protocol::{RuntimeInvocation, RuntimeResult},
    reject,
};
use std::{io::Write, process::ExitCode};

pub(super) fn run(
    options: &RunOptions,
    host_options: &HostOptions,
    format: Option<Format>,
) -> Result<ExitCode> {
    let mut document = None;
    let mut invocation = if options.words.is_empty() {
        let document = document.insert(input::read(options.file.as_deref())?);
        match RuntimeInvocation::from_json(document) {
            Ok(invocation) => invocation,
            Err(invalid) => {
                let source = input::name(options.file.as_deref());
                tell!("{} {source} is {invalid}", style::stderr().error("error:"));
                return Ok(exit::UNUSABLE.into());
            }
        }
    } else {
        prompt::invocation(&options.words, &options.prompt)?
    };
    prompt::override_with(options, &mut invocation);
    if options.print_invocation {
        print_json(&invocation)?;
        return Ok(ExitCode::SUCCESS);
    }
    let builder = host::builder(host_options)?;
    let stdin = document
        .as_deref()
        .filter(|_| input::is_stdin(options.file.as_deref()));
    host_options
        .executable
        .need_runner_of(&invocation.runtime_kind, &builder, stdin)?;
    let host = host::start(builder)?;

    let executor = executor_runtime::executor();
    let (result, signal) = match (&host, &executor) {
        (Ok(host), Ok(executor)) => executor.block_on(execute(host, invocation)),
        (Err(error), _) | (_, Err(error)) => (reject(&invocation, Failure::exhausted(error)), None),
    };
    // The helper processes end while the result is printed.
    let shutdown = host.as_ref().map(Host::shut_down);
    let propagate = options.propagate_exit_code;
    let status = match print(&result, format) {
        Ok(()) => exit::status(&result, signal, propagate),
        // Whoever was to read it has gone, and may be told by the exit status.
        Err(error) if is_broken_pipe(&error) => exit::unprinted(&result, propagate),
        Err(error) => {
            let heading = style::stderr().error("error:");
            tell!(
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

/// Runs the invocation until it ends, or until a signal asks for that: the signal is returned.
async fn execute(host: &Host, invocation: RuntimeInvocation) -> (RuntimeResult, Option<i32>) {
    match Termination::watch() {
        Ok(termination) => {
            let result = host.run_until(invocation, termination.token()).await;
            (result, termination.signal())
        }
        Err(error) => (reject(&invocation, Failure::exhausted(&error)), None),
    }
}

fn print(result: &RuntimeResult, format: Option<Format>) -> Result<()> {
    match Format::or_detect(format) {
        Format::Human => summary::print(result)?,
        Format::Json => print_json(result)?,
    }
    Ok(std::io::stdout().flush()?)
}
