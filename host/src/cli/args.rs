//! The arguments of the command line, and their help.

use super::{Format, logging::LogFormat, schema::Document};
use clap::{Args, Parser, Subcommand, builder::NonEmptyStringValueParser};
use executor_runtime::protocol::parse_duration;
use std::{path::PathBuf, time::Duration};

const EXIT_STATUS_HELP: &str = "\
Exit status of `run`:
  0    succeeded
  1    failed
  2    the invocation or the command line could not be used; nothing was run
  3    rejected: nothing was run
  4    the run ended, but its result could not be written (to its file or to stdout)
  124  timed out
  130  cancelled (128 + N if signal N to this process did it)";

const CHECK_HELP: &str = "\
The plugin is run as this host would run it, with invocations made up from its descriptor. Their URLs
point to two ports of the loopback interface, one closed and one that never answers.

Exit status: 0 if no check failed, 1 if one did";

/// Runs what an orchestrator asks for, and reports what happened.
///
/// Reads one RxP 0.1 RuntimeInvocation, runs it, and prints one RuntimeResult.
#[derive(Debug, Parser)]
#[command(name = "executor-runtime", version, after_help = EXIT_STATUS_HELP, max_term_width = 100)]
pub(super) struct Arguments {
    /// How to print results [default: human on a terminal, json otherwise]
    #[arg(long, global = true, value_enum, value_name = "FORMAT")]
    pub(super) format: Option<Format>,
    /// What to log on stderr
    #[arg(long, global = true, value_name = "LEVEL", default_value = "warn",
          value_parser = ["off", "error", "warn", "info", "debug", "trace"])]
    pub(super) log_level: String,
    /// How to log
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "FORMAT",
        default_value = "text"
    )]
    pub(super) log_format: LogFormat,
    #[command(flatten)]
    pub(super) host: HostOptions,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// What the host is put together from.
#[derive(Debug, Args)]
pub(super) struct HostOptions {
    /// Directory with plugins, searched before the usual ones (repeatable)
    #[arg(long, global = true, value_name = "DIR")]
    pub(super) plugins_dir: Vec<PathBuf>,
    /// Configuration file [default: $EXECUTOR_RUNTIME_CONFIG, else
    /// ~/.config/executor-runtime/executor-runtime.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run one invocation and print its result
    #[command(after_help = EXIT_STATUS_HELP)]
    Run(Box<RunOptions>),
    /// Report every problem in an invocation; runs nothing
    Validate(InvocationFile),
    /// Show the runner, limits and grants an invocation would get; runs nothing
    Explain(InvocationFile),
    /// List the kinds that can run, and what runs them
    Kinds,
    /// Create, check, inspect, install and remove plugins
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// Print the JSON Schema of a document
    Schema(SchemaOptions),
    /// Print a completion script for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
pub(super) struct RunOptions {
    /// File with the invocation; reads stdin if `-` or omitted
    #[arg(value_name = "FILE", conflicts_with = "words")]
    pub(super) file: Option<PathBuf>,
    /// Build the invocation from this command instead
    #[arg(value_name = "COMMAND", last = true)]
    pub(super) words: Vec<String>,
    /// Limit for the whole run, in whole seconds or with a unit: 90, 90s, 1.5m, 2h
    #[arg(long, value_name = "DURATION", value_parser = whole_seconds)]
    pub(super) timeout: Option<u64>,
    /// Time between asking a run to end and killing it: 0.5, 500ms, 2s
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(super) grace: Option<Duration>,
    /// Also write the result to this file
    #[arg(long, value_name = "FILE")]
    pub(super) output: Option<String>,
    /// Exit with the exit code of what was run, if it ran to an end of its own
    #[arg(long)]
    pub(super) propagate_exit_code: bool,
    /// Print the invocation that would be run, and run nothing
    #[arg(long)]
    pub(super) print_invocation: bool,
    #[command(flatten)]
    pub(super) prompt: PromptOptions,
}

/// What a command at a prompt is run as.
#[derive(Debug, Args)]
#[command(next_help_heading = "With COMMAND")]
pub(super) struct PromptOptions {
    /// Directory to run in [default: the current one]
    #[arg(long, value_name = "DIR", requires = "words", conflicts_with = "file")]
    pub(super) cwd: Option<String>,
    /// Set a variable for the command (repeatable)
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair, requires = "words", conflicts_with = "file")]
    pub(super) env: Vec<(String, String)>,
    /// Set a metadata key (repeatable)
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair, requires = "words", conflicts_with = "file")]
    pub(super) metadata: Vec<(String, String)>,
    /// Kind of runtime [default: subprocess]
    #[arg(long, value_name = "KIND", requires = "words", conflicts_with = "file")]
    pub(super) kind: Option<String>,
    /// Name of the runtime [default: prompt]
    #[arg(long, value_name = "NAME", requires = "words", conflicts_with = "file", value_parser = NonEmptyStringValueParser::new())]
    pub(super) name: Option<String>,
    /// Id of the invocation [default: a new one]
    #[arg(long, value_name = "ID", requires = "words", conflicts_with = "file", value_parser = NonEmptyStringValueParser::new())]
    pub(super) id: Option<String>,
    /// File that the command reads as its stdin
    #[arg(long, value_name = "FILE", requires = "words", conflicts_with = "file")]
    pub(super) input: Option<String>,
    /// Where output and artifacts are kept [default: .executor_runtime in the directory to run in]
    #[arg(long, value_name = "DIR", requires = "words", conflicts_with = "file")]
    pub(super) artifacts: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum PluginCommand {
    /// Create a new plugin: a crate that builds and passes its own tests
    New(NewOptions),
    /// Build a plugin's crate: as a component, as a native plugin, or both
    Build(BuildOptions),
    /// Turn a component built from `wit/` in another language into a plugin, by embedding its descriptor
    Embed(EmbedOptions),
    /// Run a plugin a few times, and report what would fail in use and how to fix it
    #[command(after_help = CHECK_HELP)]
    Check {
        /// Plugin file, or name or kind of an installed plugin
        #[arg(value_name = "FILE")]
        plugin: String,
    },
    /// List every plugin file found, including unusable ones and why
    List,
    /// Show a plugin's kinds and the metadata keys it reads
    Inspect {
        /// Plugin file, or name or kind of an installed plugin
        #[arg(value_name = "PLUGIN")]
        plugin: String,
    },
    /// Copy a plugin file into a plugins directory, and compile it
    Install {
        /// Plugin file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Directory to install into [default: the first --plugins-dir, else the user's]
        #[arg(long, value_name = "DIR")]
        into: Option<PathBuf>,
        /// Replace the plugin that has one of its kinds in that directory
        #[arg(long)]
        replace: bool,
    },
    /// Remove an installed plugin from your own plugins directory, or from the one that --plugins-dir names
    Remove {
        /// Plugin file, or name or kind of an installed plugin
        #[arg(value_name = "PLUGIN")]
        plugin: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct NewOptions {
    /// Name of the plugin and of its crate: a-z, then a-z, 0-9 and -
    #[arg(value_name = "NAME")]
    pub(super) name: String,
    /// Kind that it runs [default: the name, with _ for -]
    #[arg(long, value_name = "KIND")]
    pub(super) kind: Option<String>,
    /// Checkout of executor-runtime, whose SDK the plugin uses (required: it is not in cargo's registry yet)
    #[arg(long, value_name = "PATH")]
    pub(super) sdk: Option<PathBuf>,
    /// Directory to make the crate's folder in [default: the current one]
    #[arg(long, value_name = "DIR")]
    pub(super) into: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct BuildOptions {
    /// Folder of the plugin's crate [default: the current one]
    #[arg(value_name = "DIR")]
    pub(super) directory: Option<PathBuf>,
    /// Build the component, which is sandboxed and runs on every machine
    #[arg(long)]
    pub(super) component: bool,
    /// Build the native plugin, which is not sandboxed and runs on machines like this one
    #[arg(long)]
    pub(super) native: bool,
}

#[derive(Debug, Args)]
pub(super) struct EmbedOptions {
    /// Component, such as componentize-py or jco makes it; the descriptor is appended to this file
    #[arg(value_name = "COMPONENT")]
    pub(super) component: PathBuf,
    /// The descriptor; `schema descriptor` prints what goes into it
    #[arg(value_name = "PLUGIN.JSON")]
    pub(super) descriptor: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct InvocationFile {
    /// File with the invocation; reads stdin if `-` or omitted
    #[arg(value_name = "FILE")]
    pub(super) file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Args)]
pub(super) struct SchemaOptions {
    /// Which document
    #[arg(value_enum)]
    pub(super) document: Document,
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "expected a duration, such as 2, 500ms or 1.5m".to_owned())
}

fn whole_seconds(text: &str) -> Result<u64, String> {
    match parse_duration(text) {
        Some(time) if time.as_secs() > 0 && time.subsec_nanos() == 0 => Ok(time.as_secs()),
        _ => Err("expected a whole number of seconds, 1 or more, such as 90, 90s or 1.5m".to_owned()),
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}
