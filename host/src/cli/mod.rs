//! The command line: reads arguments, calls the library, prints for people or for machines.
//!
//! Results go to stdout, everything else to stderr. One module a command.

mod args;
mod completions;
mod exit;
mod explain;
mod host;
mod input;
mod kinds;
mod logging;
mod man;
mod plugin;
mod prompt;
mod run;
mod schema;
mod shown;
mod stderr;
mod style;
mod summary;
mod validate;

use args::{Arguments, Command};
use clap::Parser;
use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

/// How a command's result is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
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
    let mut out = io::stdout().lock();
    if out.is_terminal() {
        text = shown::json(&text);
    }
    text.push('\n');
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// Runs the command line and tells how the process exits.
pub(crate) fn main() -> ExitCode {
    let arguments = Arguments::parse();
    logging::start(arguments.log_level, arguments.log_format);
    let format = arguments.format;
    let done = match arguments.command {
        Command::Run(options) if options.words.is_empty() && ends_in_separator() => {
            Err(anyhow::anyhow!("no command after --"))
        }
        Command::Run(options) => run::run(&options, &arguments.host, format),
        Command::Validate(options) => validate::validate(&options, format),
        Command::Explain(options) => explain::explain(&options, &arguments.host, format),
        Command::Kinds => kinds::kinds(&arguments.host, format),
        Command::Plugin(command) => plugin::plugin(&command, &arguments.host, format),
        Command::Schema(options) => schema::schema(options),
        Command::Completions { shell } => completions::completions(shell),
        Command::Man { dir } => man::man(dir.as_deref()),
    };
    match done {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => exit::BROKEN_PIPE.into(),
        Err(error) => {
            let message = shown::message(&format!("{error:#}"), "");
            eprintln!("{} {message}", style::stderr().error("error:"));
            exit::UNUSABLE.into()
        }
    }
}

/// Whether the command line ends in `--`, after which a command was meant to come: perhaps a variable of a script
/// that was empty. clap does not tell that from a command line without it.
fn ends_in_separator() -> bool {
    std::env::args_os().next_back().is_some_and(|last| last == "--")
}

/// The reader of our output has stopped: not an error.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
