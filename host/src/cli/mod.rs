//! The command line: reads arguments, calls the library, prints for people or for machines.
//!
//! Results go to stdout, everything else to stderr. One module a command.

/// Tells a person something on stderr, with what may be quoted in it made harmless.
macro_rules! say {
    ($($words:tt)*) => {
        eprintln!("{}", $crate::cli::shown::message(&format!($($words)*), ""))
    };
}

mod args;
mod exit;
mod explain;
mod host;
mod input;
mod kinds;
mod live;
mod logging;
mod plugin;
mod prompt;
mod run;
mod schema;
mod shown;
mod stderr;
mod stdin;
mod style;
mod summary;
mod validate;

use args::{Arguments, Command};
use clap::{ColorChoice, CommandFactory, FromArgMatches};
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
    let arguments = parse();
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
        Command::Completions { shell } => schema::completions(shell),
    };
    match done {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => exit::BROKEN_PIPE.into(),
        Err(error) => {
            let style = style::stderr();
            let message = shown::message(&format!("{error:#}"), "");
            eprintln!(
                "{}",
                style.after(&style.error("error:"), "error:", &message, "  ")
            );
            exit::UNUSABLE.into()
        }
    }
}

/// The arguments; ends the process where they ask for help or can't be used.
fn parse() -> Arguments {
    let colour = if style::is_plain() {
        ColorChoice::Never
    } else {
        ColorChoice::Auto
    };
    let parsed = Arguments::command()
        .color(colour)
        .try_get_matches()
        .and_then(|matches| Arguments::from_arg_matches(&matches));
    parsed.unwrap_or_else(|error| {
        if !error.use_stderr() {
            error.exit();
        }
        // What is wrong is quoted.
        let message = shown::message(&error.render().to_string(), "");
        let rest = message.strip_prefix("error: ").unwrap_or(&message);
        let style = style::stderr();
        eprintln!("{}", style.after(&style.error("error:"), "error:", rest, ""));
        std::process::exit(exit::UNUSABLE.into())
    })
}

/// Whether the command line ends in `--`, after which a command was meant to come: perhaps a variable of a script
/// that was empty. clap does not tell that from a command line without it.
fn ends_in_separator() -> bool {
    std::env::args_os().next_back().is_some_and(|last| last == "--")
}

/// Whoever read our output has stopped: no error of ours.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
