//! `run`: one invocation to its end.

use super::{
    Format, Unwritten,
    args::{HostOptions, RunOptions},
    exit, host, input, is_broken_pipe,
    live::{Live, Seen, Shows},
    print_json, prompt,
    stdin::{self, TerminalSettings},
    style,
    summary::{self, Answer},
};
use anyhow::{Result, bail};
use executor_runtime::{
    CancelReason, ErrorKind, Failure, Host, Run, Termination, protocol::RuntimeResult, reject,
    run_with_late_executor,
};
use executor_runtime_run::{exhaustion, panic_message, until};
use std::{
    fs::File,
    io::{self, IsTerminal, Write},
    os::fd::AsRawFd,
    process::ExitCode,
};

const INPUT_WAITING: &str =
    "note: there is input on stdin, which the run does not read; give --stdin to pass it on";

/// How a run is shown.
pub(super) struct View {
    pub(super) format: Format,
    /// Its output while it runs, instead of its end afterwards.
    pub(super) follow: bool,
    /// Of ours only errors.
    pub(super) quiet: bool,
}

impl View {
    fn new(options: &RunOptions, format: Option<Format>) -> Self {
        let format = Format::or_detect(format);
        Self {
            format,
            follow: format == Format::Human && io::stdout().is_terminal() && !options.no_follow,
            quiet: options.quiet,
        }
    }

    /// Whether a person reads what is said beside the result.
    pub(super) fn has_notes(&self) -> bool {
        !self.quiet && io::stderr().is_terminal()
    }
}

pub(super) fn run(
    options: &RunOptions,
    host_options: &HostOptions,
    format: Option<Format>,
) -> Result<ExitCode> {
    let view = View::new(options, format);
    let given = prompt::given(
        &options.source,
        &options.prompt,
        host_options.document(),
        view.follow,
    )?;
    let Some(given) = given else {
        return Ok(exit::UNUSABLE.into());
    };
    if options.source.print_invocation {
        print_json(&given.invocation)?;
        return Ok(ExitCode::SUCCESS);
    }
    let is_prompted = given.is_prompted();
    let prompt::Given { invocation, document } = given;
    let builder = host::builder_for_run(host_options)?;
    // First, because the executable that it goes on in can export spans, too.
    let needed =
        host_options
            .executable
            .need_runner_of(&invocation.runtime_kind, &builder, document.as_deref());
    host_options.executable.need_export(document.as_deref());
    let builder = if invocation.runtime_kind.as_str() == "subprocess" {
        builder.for_one_job()
    } else if host_options.executable.has_engine() {
        // A component has no job; a native plugin, which this executable is seldom asked for, has several.
        builder.supervisors_on_demand()
    } else {
        builder
    };
    let host = host::start(builder)?;

    let mut run = Run::new(invocation);
    let settings = if options.stdin {
        TerminalSettings::of_stdin()
    } else {
        None
    };
    let input = if options.stdin {
        give_stdin(options, &mut run, is_prompted)?
    } else {
        Input::Given
    };
    let may_forget_stdin = is_prompted && !options.stdin;
    let (result, seen, signal) = match (&host, needed) {
        (_, Err(failure)) => rejected(&run, failure),
        (Ok(host), Ok(())) => execute(host, &mut run, input, &view, may_forget_stdin),
        (Err(error), Ok(())) => rejected(&run, Failure::exhausted(error)),
    };
    drop(settings);
    // The helper processes end while the result is printed.
    let shutdown = host.as_ref().map(Host::shut_down);
    if io::stdout().is_terminal() {
        // A terminal may be held, and nothing watches for signals any more: let them end this process.
        Termination::end_process_again();
    }
    let propagate = options.propagate_exit_code;
    let directory = run.invocation.artifact_directory.as_deref();
    let status = delivered(&result, signal, propagate, || {
        print(&result, directory, &view, seen)
    });
    drop(shutdown);
    // No process of the run or of ours is left, and all is written. A pool of connections or an engine ends with this
    // process, and the caller need not wait for it to be taken down in order.
    // SAFETY: no handler of ours waits for the end of the process.
    unsafe { libc::_exit(status.into()) }
}

/// Executes the run and shows what is to be seen of it meanwhile; tells, too, which signal ended it.
fn execute(
    host: &Host,
    run: &mut Run,
    input: Input,
    view: &View,
    may_forget_stdin: bool,
) -> (RuntimeResult, Seen, Option<i32>) {
    let shows = Shows {
        output: view.follow,
        notes: view.has_notes(),
    };
    let is_program = run.invocation.runtime_kind.as_str() == "subprocess";
    if let (false, true, Input::Given) = (shows.any(), is_program, input) {
        return execute_unseen(host, run);
    }
    let executor = match executor_runtime::executor() {
        Ok(executor) => executor,
        Err(error) => return rejected(run, Failure::exhausted(&error)),
    };
    let ended = executor.block_on(async {
        let termination = match Termination::watch() {
            Ok(termination) => termination,
            Err(error) => return rejected(run, Failure::exhausted(&error)),
        };
        run.cancel = termination.token().clone();
        let live = Live::start(shows, run.invocation.runtime_kind.as_str());
        if let Some(live) = &live {
            run.events = live.events();
        }
        let reminded = may_forget_stdin && remind(live.as_ref());
        let result = match input {
            Input::Given => host.execute(run).await,
            Input::Payload => match read_payload(run).await {
                // It stays open until the end of the run.
                Ok(payload) => {
                    let path = format!("/proc/self/fd/{}", payload.as_raw_fd());
                    run.invocation.input_payload_path = Some(path);
                    host.execute(run).await
                }
                Err(failure) => reject(&run.invocation, failure),
            },
        };
        let signal = termination.signal();
        // Input may only have come meanwhile.
        if may_forget_stdin && !reminded {
            remind(live.as_ref());
        }
        let seen = match live {
            Some(live) => live.finish(termination.token()).await,
            None => Seen::default(),
        };
        (result, seen, signal)
    });
    // The run is over: a thread that is still blocked, by a name server that does not answer for example, must not delay
    // the exit.
    executor.shutdown_background();
    ended
}

/// The same of a program of which nothing is to be seen meanwhile. It is started at once.
fn execute_unseen(host: &Host, run: &mut Run) -> (RuntimeResult, Seen, Option<i32>) {
    let held = Termination::hold_signals();
    let token = run.cancel.clone();
    let mut termination = None;
    let watch = || {
        termination = Some(Termination::watch_for(token)?);
        drop(held);
        Ok(())
    };
    match run_with_late_executor(host.execute(run), watch) {
        Ok(result) => {
            let signal = termination.as_ref().and_then(Termination::signal);
            (result, Seen::default(), signal)
        }
        Err(error) => rejected(run, Failure::exhausted(&error)),
    }
}

/// The result of a run that did not begin.
fn rejected(run: &Run, failure: Failure) -> (RuntimeResult, Seen, Option<i32>) {
    (reject(&run.invocation, failure), Seen::default(), None)
}

/// Reads our stdin to its end, but not for longer than the run may take.
async fn read_payload(run: &Run) -> Result<File, Failure> {
    let reading =
        exhaustion::try_spawn_blocking(stdin::as_payload).map_err(|error| Failure::exhausted(&error))?;
    tokio::select! {
        biased;
        read = reading.join() => match read {
            Ok(payload) => payload,
            Err(panic) => Err(Failure::new(ErrorKind::RunnerPanicked, panic_message(&*panic))),
        },
        () = run.cancel.raised(CancelReason::Requested) => {
            Err(Failure::new(ErrorKind::Cancelled, "cancelled while stdin was read"))
        }
        () = until(run.deadline) => Err(Failure::new(ErrorKind::Timeout, "timed out while stdin was read")),
    }
}

/// Tells a person of input that is left unread, if there is any.
fn remind(live: Option<&Live>) -> bool {
    let Some(live) = live else {
        return false;
    };
    let is_waiting = stdin::is_waiting();
    if is_waiting {
        live.note(INPUT_WAITING);
    }
    is_waiting
}

/// Where a run gets its input from.
#[derive(Clone, Copy)]
enum Input {
    /// The invocation says so, or the run has it already.
    Given,
    /// From our stdin, which is read to its end first.
    Payload,
}

/// Makes our stdin the input of the run.
fn give_stdin(options: &RunOptions, run: &mut Run, is_prompted: bool) -> Result<Input> {
    let invocation = &run.invocation;
    if !is_prompted && input::is_stdin(options.source.file.as_deref()) {
        bail!("--stdin: the invocation itself is read from stdin; give it as a FILE");
    }
    if invocation.input_payload_path.is_some() {
        bail!("--stdin: the invocation has an input already, its input_payload_path");
    }
    if invocation.runtime_kind.as_str() == "subprocess" {
        run.stdin = Some(stdin::for_program()?);
        return Ok(Input::Given);
    }
    Ok(Input::Payload)
}

/// Prints a result as `print` does; tells how this process exits then.
pub(super) fn delivered(
    result: &RuntimeResult,
    signal: Option<i32>,
    propagate: bool,
    print: impl FnOnce() -> Result<()>,
) -> u8 {
    match print() {
        Ok(()) => exit::status(result, signal, propagate),
        // The reader has gone; the exit status still tells.
        Err(error) if is_broken_pipe(&error) => exit::unprinted(result, propagate),
        Err(error) => {
            let heading = style::stderr().error("error:");
            let error = error
                .downcast::<Unwritten>()
                .map_or_else(|other| other, |unwritten| unwritten.0.into());
            tell!(
                "{heading} the run ended ({}), but its result could not be written to stdout: {error:#}",
                result.status
            );
            exit::unprinted(result, propagate)
        }
    }
}

/// Prints a result, and what the run has left in `directory`, if it is to be seen.
pub(super) fn print(result: &RuntimeResult, directory: Option<&str>, view: &View, seen: Seen) -> Result<()> {
    let answer = if view.follow {
        Answer::of(result, directory)
    } else {
        None
    };
    match view.format {
        Format::Json => {
            summary::print_file_error(result);
            print_json(result)?;
        }
        Format::Human if view.quiet => summary::print_failure(result, seen, answer.as_ref())?,
        Format::Human => summary::print(result, seen, answer.as_ref())?,
    }
    if let Some(answer) = answer {
        answer.print()?;
    }
    Ok(io::stdout().flush()?)
}
