//! The command line: reads arguments, calls the library, prints for people or for machines.
//!
//! Results go to stdout, everything else to stderr. One module a command.

/// `eprintln!` for a stderr that may be closed or full, where there is no one to tell.
#[macro_export]
macro_rules! tell {
    ($($part:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($part)*);
    }};
}

/// Tells a person something on stderr, with what may be quoted in it made harmless.
macro_rules! say {
    ($($words:tt)*) => {
        tell!("{}", $crate::shown::message(&format!($($words)*), ""))
    };
}

mod args;
mod batch;
mod clients;
mod completions;
mod executable;
pub mod exit;
mod explain;
mod host;
mod input;
mod kinds;
mod live;
mod logging;
mod man;
mod manual;
mod many_runs;
mod plugin;
mod problems;
mod prompt;
mod run;
mod schema;
mod separator;
mod serve;
pub mod shown;
pub mod standard;
pub mod stderr;
mod stdin;
pub mod style;
mod summary;
mod trace_export;
mod validate;

use args::{Arguments, Command, PluginCommand};
pub use args::{BatchOptions, ServeOptions, TemplateOptions};
pub use batch::{Batch, Batching, Halt};
use clap::{
    ColorChoice,
    error::{ContextKind, ContextValue, ErrorKind},
};
pub use executable::{Executable, Export, Runs, is_for_one_component};
pub use host::{ConfigurationFile, check_configured_names};
pub use many_runs::StartHost;
pub use prompt::new_id;
pub use serve::{Serve, Serving};
use std::{
    ffi::OsString,
    fmt,
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

/// How a command's result is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Human,
    /// For machines: one JSON document.
    Json,
}

impl Format {
    /// What was asked for; else for people on a terminal, for machines otherwise.
    fn or_detect(asked: Option<Self>) -> Self {
        match asked {
            Some(format) => format,
            None if io::stdout().is_terminal() => Self::Human,
            None => Self::Json,
        }
    }
}

/// Prints one JSON document.
fn print_json(document: &impl serde::Serialize) -> anyhow::Result<()> {
    let mut text = serde_json::to_string_pretty(document)?;
    if io::stdout().is_terminal() {
        text = shown::json(&text);
    }
    text.push('\n');
    print(text.as_bytes())?;
    Ok(())
}

/// Prints one JSON document on a line of its own.
fn print_json_line(document: &impl serde::Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(document)?;
    line.push(b'\n');
    print(&line).map_err(|unwritten| unwritten.0)
}

/// Prints all of it.
fn print(text: &[u8]) -> Result<(), Unwritten> {
    let mut out = io::stdout().lock();
    out.write_all(text).and_then(|()| out.flush()).map_err(Unwritten)
}

/// What was asked for is known, and can't be printed.
#[derive(Debug)]
struct Unwritten(io::Error);

impl fmt::Display for Unwritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the output can't be written")
    }
}

impl std::error::Error for Unwritten {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

/// Runs the command line of this process and tells how it exits.
pub fn main(executable: Executable) -> ExitCode {
    let (words, handed_over) = match executable::arguments() {
        Ok(arguments) => arguments,
        Err(error) => return report(&error),
    };
    let Arguments { mut global, command } = parse(&words);
    global.host.executable = executable;
    global.host.handed_over = handed_over;
    logging::start(&global.log_level, global.log_format);
    // `cargo` would inherit it.
    if !matches!(command, Command::Plugin(PluginCommand::Build(_))) {
        ignore_file_size_signal();
    }
    let (host, format) = (global.host, global.format);
    let done = match command {
        command if lacks_command(&command) => Err(anyhow::anyhow!("no command after --")),
        Command::Batch(options) => batch::batch(*options, &host, format),
        Command::Serve(options) => serve::serve(*options, &host),
        Command::Run(options) => run::run(&options, &host, format),
        Command::Submit(options) => clients::submit(&options, format),
        Command::Ps(options) => clients::ps(&options, format),
        Command::Logs(options) => clients::logs(&options),
        Command::Wait(options) => clients::wait(&options, format),
        Command::Cancel(options) => clients::cancel(&options, format),
        Command::Prune(options) => clients::prune(&options, format),
        Command::Validate(options) => validate::validate(&options, format),
        Command::Explain(options) => explain::explain(&options, &host, format),
        Command::Kinds => kinds::kinds(&host, format),
        Command::Plugin(command) => plugin::plugin(&command, &host, format),
        Command::Schema(options) => schema::schema(options),
        Command::Completions(options) => completions::completions(options.shell),
        Command::Man(options) => man::man(options.dir.as_deref()),
    };
    match done {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => exit::BROKEN_PIPE.into(),
        Err(error) => report(&error),
    }
}

/// Whether the command line ends where a command was meant to come.
fn lacks_command(command: &Command) -> bool {
    let words = match command {
        Command::Run(options) => &options.source.words,
        Command::Submit(options) => &options.source.words,
        Command::Batch(options) => &options.words,
        _ => return false,
    };
    words.is_empty() && ends_in_separator()
}

/// Tells why a command could not be carried out.
fn report(error: &anyhow::Error) -> ExitCode {
    let style = style::stderr();
    let message = shown::message(&format!("{error:#}"), "");
    tell!(
        "{}",
        style.after(&style.error("error:"), "error:", &message, "  ")
    );
    exit::of_error(error).into()
}

/// The arguments; ends the process where they ask for help or can't be used.
fn parse(words: &[OsString]) -> Arguments {
    let colour = if style::is_plain() {
        ColorChoice::Never
    } else {
        ColorChoice::Auto
    };
    Arguments::read(words, colour).unwrap_or_else(|mut error| {
        if !error.use_stderr() {
            error.exit();
        }
        if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
            tell!("{}", error.render());
            std::process::exit(exit::UNUSABLE.into());
        }
        if let Some(tip) = batch::hint(words).or_else(|| separator::tip(words, &error)) {
            // It takes the place of clap's own, which would have a word passed as a file.
            error.remove(ContextKind::SuggestedArg);
            error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
        }
        // What is wrong is quoted.
        let message = shown::message(&error.render().to_string(), "");
        let rest = message.strip_prefix("error: ").unwrap_or(&message);
        let style = style::stderr();
        tell!("{}", style.after(&style.error("error:"), "error:", rest, ""));
        std::process::exit(exit::UNUSABLE.into())
    })
}

/// Has a file that grows past `ulimit -f` fail to be written, which can be told of, instead of ending this process.
/// What is run starts with the default again.
fn ignore_file_size_signal() {
    // SAFETY: SIG_IGN runs no code.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

/// Whether the command line ends in `--`, after which a command was meant to come: perhaps a variable of a script
/// that was empty. clap does not tell that from a command line without it.
fn ends_in_separator() -> bool {
    std::env::args_os().next_back().is_some_and(|last| last == "--")
}

/// The reader of our output has stopped: not an error.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let printed = error.downcast_ref::<Unwritten>().map(|unwritten| &unwritten.0);
    let error = printed.or_else(|| error.downcast_ref::<io::Error>());
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
