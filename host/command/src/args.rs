//! The arguments of the command line, and their help. How they are put together and read is in `definitions`.

mod definitions;

pub(super) use definitions::definition;

use super::{Executable, Format, executable::HandedOver, logging::LogFormat, schema::Document};
use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum, builder::NonEmptyStringValueParser};
use executor_runtime::protocol::{RuntimeKind, Timestamp, parse_duration};
use std::{env::VarError, fs::File, net::SocketAddr, num::NonZeroUsize, path::PathBuf, time::Duration};

pub(super) const EXIT_STATUS_HELP: &str = "\
Exit status of `run`:
  0    succeeded
  1    failed
  2    invalid invocation, command line or configuration; nothing was run
  3    rejected: nothing was run
  4    the run ended, but its result could not be written to its file or to stdout
  124  timed out
  130  cancelled (128 + N if this process received signal N)";

/// An invocation, or a command or kind that one is built from.
const RUN_USAGE: &str = "\
executor-runtime run [OPTIONS] [FILE]
       executor-runtime run [OPTIONS] -- <COMMAND>...
       executor-runtime run [OPTIONS] --kind <KIND> [-- <COMMAND>...]";

/// Invocations, or arguments of a command.
const BATCH_USAGE: &str = "\
executor-runtime batch [OPTIONS] [FILE]
       executor-runtime batch [OPTIONS] [FILE] -- <COMMAND>...";

pub(super) const BATCH_EXIT_STATUS_HELP: &str = "\
Exit status of `batch`:
  0    every run succeeded
  1    a run did not succeed (also one that --resume skips), or a line was no invocation
  2    the command line, the configuration, the job log, the journal or the input can't be used
  4    a result could not be written
  130  cancelled (128 + N if this process received signal N)";

pub(super) const SERVE_EXIT_STATUS_HELP: &str = "\
Exit status of `serve`:
  0    a signal ended it, and every run that was under way has ended
  2    the command line, the configuration, the socket or the journal can't be used
  130  ended at once by a second signal (128 + its number)";

/// An invocation, or a command or kind that one is built from, for a host that serves.
const SUBMIT_USAGE: &str = "\
executor-runtime submit [OPTIONS] [FILE]
       executor-runtime submit [OPTIONS] -- <COMMAND>...
       executor-runtime submit [OPTIONS] --kind <KIND> [-- <COMMAND>...]";

pub(super) const SUBMIT_EXIT_STATUS_HELP: &str = "\
Exit status of `submit`:
  0    the host has taken it
  2    invalid invocation or command line, or another invocation has its id
  4    the host has taken it, but its id could not be written to stdout
  6    no host answers, or it takes no more at the moment
With --wait or --follow it is that of the run:
  0    succeeded
  1    failed
  3    rejected: nothing was run
  4    the run ended, but its result could not be written to its file or to stdout
  124  timed out
  130  cancelled";

pub(super) const WAIT_EXIT_STATUS_HELP: &str = "\
Exit status of `wait`, of one run:
  0    succeeded
  1    failed
  2    invalid command line, or there is no such run
  3    rejected: nothing was run
  4    the run ended, but its result could not be written to its file or to stdout
  5    it has not ended within --timeout
  6    no host answers
  124  timed out
  130  cancelled
Of several: 0 if all succeeded; else 2, 6, 4 or 5 if that is true of one of them; else 1";

/// Of the clients that are given the ids of runs.
pub(super) const CLIENT_EXIT_STATUS_HELP: &str = "\
Exit status:
  0    done
  2    invalid command line, or there is no such run
  4    done, but what there is to print could not be written to stdout
  6    no host answers, or it can't do it at the moment";

/// Of the others.
pub(super) const CLIENT_WITHOUT_IDS_EXIT_STATUS_HELP: &str = "\
Exit status:
  0    done
  2    invalid command line
  4    done, but what there is to print could not be written to stdout
  6    no host answers, or it can't do it at the moment";

const SERVE_ABOUT: &str = "\
Serve an HTTP API through which runs are submitted, followed and cancelled

Anyone who may use the socket, or has the token, can run anything as this user. Accepted runs are kept in a journal: if this \
host dies, the next one goes on with them.";

/// The version, and which build of it this is.
const VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (build ",
    env!("EXECUTOR_RUNTIME_BUILD_ID"),
    ")"
);

const DEFAULT_LOG_LEVEL: &str = "warn";

/// The heading of the options that every command takes.
const GLOBAL_OPTIONS: &str = "Global options";

const CHECK_HELP: &str = "Exit status: 0 if no check failed, 1 if a check failed";

/// The arguments of a command line.
#[derive(Debug)]
pub(super) struct Arguments {
    pub(super) global: GlobalOptions,
    pub(super) command: Command,
}

/// Run invocations from an orchestrator and report what happened.
///
/// `run` reads one RxP 0.1 RuntimeInvocation, executes it, and prints one RuntimeResult.
#[derive(Debug, Parser)]
#[command(name = "executor-runtime", version = VERSION, after_help = EXIT_STATUS_HELP, max_term_width = 100,
          subcommand_required = true, arg_required_else_help = true)]
pub(super) struct GlobalOptions {
    /// How to print results [default: human on a terminal, json otherwise]
    #[arg(long, global = true, value_enum, value_name = "FORMAT", help_heading = GLOBAL_OPTIONS)]
    pub(super) format: Option<Format>,
    /// Lowest level of messages to log on stderr
    #[arg(long, global = true, value_name = "LEVEL", default_value = DEFAULT_LOG_LEVEL, help_heading = GLOBAL_OPTIONS,
          value_parser = ["off", "error", "warn", "info", "debug", "trace"])]
    pub(super) log_level: String,
    /// How to print log messages
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "FORMAT",
        default_value = "text",
        help_heading = GLOBAL_OPTIONS
    )]
    pub(super) log_format: LogFormat,
    #[command(flatten)]
    pub(super) host: HostOptions,
}

impl Default for GlobalOptions {
    fn default() -> Self {
        Self {
            format: None,
            log_level: DEFAULT_LOG_LEVEL.to_owned(),
            log_format: LogFormat::default(),
            host: HostOptions::default(),
        }
    }
}

/// Options that select the host's configuration and plugins.
#[derive(Debug, Default, Args)]
pub(super) struct HostOptions {
    /// Directory to search for plugins before the default ones (repeatable)
    #[arg(long, global = true, value_name = "DIR", help_heading = GLOBAL_OPTIONS)]
    pub(super) plugins_dir: Vec<PathBuf>,
    /// Configuration file [default: $EXECUTOR_RUNTIME_CONFIG, else
    /// ~/.config/executor-runtime/executor-runtime.toml]
    #[arg(long, global = true, value_name = "FILE", help_heading = GLOBAL_OPTIONS)]
    pub(super) config: Option<PathBuf>,
    /// Which carriers there are.
    #[arg(skip)]
    pub(super) executable: Executable,
    /// What the other executable has left to this one.
    #[arg(skip)]
    pub(super) handed_over: Option<HandedOver>,
}

impl HostOptions {
    /// The invocation, if the other executable has read it already.
    pub(super) fn document(&self) -> Option<&File> {
        self.handed_over.as_ref()?.document.as_ref()
    }
}

/// What is to be done.
#[derive(Debug)]
pub(super) enum Command {
    Run(Box<RunOptions>),
    Batch(Box<BatchOptions>),
    Serve(Box<ServeOptions>),
    Submit(Box<SubmitOptions>),
    Ps(PsOptions),
    Logs(LogsOptions),
    Wait(WaitOptions),
    Cancel(CancelOptions),
    Prune(PruneOptions),
    Validate(InvocationFile),
    Explain(InvocationFile),
    Kinds,
    Plugin(PluginCommand),
    Schema(SchemaOptions),
    Completions(CompletionsOptions),
    Man(ManOptions),
}

/// What is to be run: an invocation, or a command or kind that one is built from, with [`PromptOptions`].
#[derive(Debug, Default, Args)]
#[command(group = ArgGroup::new("prompted").args(["words", "kind"]).multiple(true))]
pub(super) struct SourceOptions {
    /// Invocation file; reads stdin if `-` or omitted
    #[arg(value_name = "FILE")]
    pub(super) file: Option<PathBuf>,
    /// Command to run; the invocation is built from it
    #[arg(value_name = "COMMAND", last = true)]
    pub(super) words: Vec<String>,
    /// Time limit for the whole run; must come to whole seconds: 90, 90s, 1.5m, 2h
    #[arg(long, value_name = "DURATION", value_parser = whole_seconds)]
    pub(super) timeout: Option<u64>,
    /// Time between asking a run to stop and killing it: 0.5, 500ms, 2s
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(super) grace: Option<Duration>,
    /// Also write the result to this file
    #[arg(long, value_name = "FILE")]
    pub(super) output: Option<String>,
    /// Print the invocation instead of running it
    #[arg(long)]
    pub(super) print_invocation: bool,
}

#[derive(Debug, Default, Args)]
pub(super) struct RunOptions {
    #[command(flatten)]
    pub(super) source: SourceOptions,
    /// Exit with the exit code of the command, if it ended on its own
    #[arg(long)]
    pub(super) propagate_exit_code: bool,
    /// Give the run this command's stdin: a pipe, a file or the terminal
    #[arg(long, conflicts_with_all = ["print_invocation", "input"])]
    pub(super) stdin: bool,
    /// On a terminal, show the end of the output after the run, instead of all of it as it is printed
    #[arg(long)]
    pub(super) no_follow: bool,
    /// On a terminal, show only the output of the run and any failure: no summary, notes or progress
    #[arg(long, short)]
    pub(super) quiet: bool,
    #[command(flatten)]
    pub(super) prompt: PromptOptions,
}

/// Which host is asked.
#[derive(Debug, Args)]
pub(super) struct ServerOptions {
    /// Socket of the host that serves [default: $EXECUTOR_RUNTIME_SOCKET, else
    /// $XDG_RUNTIME_DIR/executor-runtime/api.sock]
    #[arg(long, value_name = "PATH")]
    pub(super) socket: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("waits").args(["wait", "follow"]).multiple(true))]
pub(super) struct SubmitOptions {
    #[command(flatten)]
    pub(super) source: SourceOptions,
    /// How long it may wait in the queue: 30, 500ms, 1.5m
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(super) queue_timeout: Option<Duration>,
    /// Wait for the end of the run and print its result
    #[arg(long, conflicts_with = "print_invocation")]
    pub(super) wait: bool,
    /// Write the output of the run to stdout and stderr as it comes, until its end
    #[arg(long, short, conflicts_with = "print_invocation")]
    pub(super) follow: bool,
    /// Exit with the exit code of the command, if it ended on its own
    #[arg(long, requires = "waits")]
    pub(super) propagate_exit_code: bool,
    #[command(flatten)]
    pub(super) server: ServerOptions,
    #[command(flatten)]
    pub(super) prompt: PromptOptions,
}

#[derive(Debug, Args)]
pub(super) struct PsOptions {
    /// List the runs that have ended, too
    #[arg(long, short)]
    pub(super) all: bool,
    /// List only the runs with this status, whether or not they have ended (repeatable)
    #[arg(long, value_name = "STATUS", value_parser = super::clients::status_names())]
    pub(super) status: Vec<String>,
    /// List only runs of this kind
    #[arg(long, value_name = "KIND", value_parser = super::clients::kind)]
    pub(super) kind: Option<RuntimeKind>,
    /// List only runs that were accepted since then: a time such as 2026-05-06T10:00:00Z, or how long ago, such as 90m
    #[arg(long, value_name = "WHEN", value_parser = super::clients::point_in_time)]
    pub(super) since: Option<Timestamp>,
    /// List at most N runs, the newest
    #[arg(long, short = 'n', value_name = "N", default_value = "100")]
    pub(super) limit: NonZeroUsize,
    /// Draw the table again every two seconds, on a terminal, until Ctrl-C
    #[arg(long, short)]
    pub(super) watch: bool,
    #[command(flatten)]
    pub(super) server: ServerOptions,
}

#[derive(Debug, Args)]
pub(super) struct LogsOptions {
    /// Id of the run
    #[arg(value_name = "ID")]
    pub(super) id: String,
    /// Go on until the run has ended
    #[arg(long, short)]
    pub(super) follow: bool,
    /// Print its stderr instead of its stdout
    #[arg(long)]
    pub(super) stderr: bool,
    /// Print its stdout to stdout and its stderr to stderr
    #[arg(long, conflicts_with = "stderr")]
    pub(super) both: bool,
    /// Leave out the first N bytes
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "both")]
    pub(super) offset: u64,
    #[command(flatten)]
    pub(super) server: ServerOptions,
}

#[derive(Debug, Args)]
pub(super) struct WaitOptions {
    /// Ids of the runs
    #[arg(value_name = "ID", required = true)]
    pub(super) ids: Vec<String>,
    /// Wait no longer than this; the runs go on: 0.5, 500ms, 2h
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(super) timeout: Option<Duration>,
    /// Exit with the exit code of the command, if it ended on its own, and it is one run
    #[arg(long)]
    pub(super) propagate_exit_code: bool,
    #[command(flatten)]
    pub(super) server: ServerOptions,
}

#[derive(Debug, Args)]
pub(super) struct CancelOptions {
    /// Ids of the runs
    #[arg(value_name = "ID", required = true)]
    pub(super) ids: Vec<String>,
    /// End them at once, without a grace period
    #[arg(long)]
    pub(super) now: bool,
    #[command(flatten)]
    pub(super) server: ServerOptions,
}

#[derive(Debug, Args)]
pub(super) struct PruneOptions {
    /// How long ago a run has to have ended: 90m, 12h, 7d
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(super) older_than: Duration,
    /// Remove the output of these runs, too, and what they left as artifacts beside it
    #[arg(long)]
    pub(super) captures: bool,
    #[command(flatten)]
    pub(super) server: ServerOptions,
}

/// What a batch does, and how.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("gone_on_with").args(["joblog", "journal"]).multiple(true))]
pub struct BatchOptions {
    /// File with an invocation (JSON) a line, or with arguments of COMMAND; reads stdin if `-` or omitted
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Command to run for each argument, which replaces `{}`, or goes to the end; `{#}` is the number of the job
    #[arg(value_name = "COMMAND", last = true)]
    pub words: Vec<String>,
    /// How many runs at a time: a number, or a share of the processors, such as 50%
    #[arg(long, short, value_name = "N|N%", default_value = "100%", value_parser = super::batch::jobs)]
    pub jobs: NonZeroUsize,
    /// Print results in the order of the input, instead of as they end
    #[arg(long, short)]
    pub keep_order: bool,
    /// Time limit for each run; must come to whole seconds: 90, 90s, 1.5m, 2h
    #[arg(long, value_name = "DURATION", value_parser = whole_seconds)]
    pub timeout: Option<u64>,
    /// Try a run again up to N times, where that may help (see `error.transient`)
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub retries: u32,
    /// Start no more runs once N of them, or N percent (of 10 or more), did not succeed: fail=1, fail=10%
    #[arg(long, value_name = "fail=N|N%", value_parser = super::batch::halt)]
    pub halt: Option<super::batch::Halt>,
    /// Write a line to this file for each job that has ended, for people and tools to read
    #[arg(long, value_name = "FILE")]
    pub joblog: Option<PathBuf>,
    /// Skip the jobs that are already in the job log, and add to it
    #[arg(long, requires = "joblog")]
    pub resume: bool,
    /// Continue with the job log or the journal, and repeat the jobs that did not succeed
    #[arg(long, requires = "gone_on_with")]
    pub retry_failed: bool,
    /// Keep the journal in this directory: if this host dies, run the same command again to continue [default: a new
    /// directory, removed at the end]
    #[arg(long, value_name = "DIR")]
    pub journal: Option<PathBuf>,
    /// Directory for journals that are not named [default: $XDG_STATE_HOME/executor-runtime, else
    /// ~/.local/state/executor-runtime]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// On a terminal, show no progress and no summary
    #[arg(long, short)]
    pub quiet: bool,
    /// What the invocations have in common.
    #[command(flatten)]
    pub template: TemplateOptions,
}

/// Where and how to serve.
#[derive(Debug, Args)]
pub struct ServeOptions {
    /// Unix socket to serve on [default: $EXECUTOR_RUNTIME_SOCKET, else $XDG_RUNTIME_DIR/executor-runtime/api.sock, unless
    /// --listen is given or systemd has passed a socket]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Address to serve on over TCP
    #[arg(long, value_name = "ADDR:PORT", requires = "token_file")]
    pub listen: Option<SocketAddr>,
    /// File with the token that requests over TCP need, of mode 0600
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Certificate (PEM) to serve over TLS, as is needed on addresses that are not loopback
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Private key (PEM) of the certificate, of mode 0600
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Further host name that requests over TCP may be for (repeatable)
    #[arg(long, value_name = "NAME")]
    pub allow_host: Vec<String>,
    /// How many runs at a time: a number, or a share of the processors, such as 400% [default: `serve.max_running` of the
    /// configuration, else 256]
    #[arg(long, short, value_name = "N|N%", value_parser = super::batch::jobs)]
    pub jobs: Option<NonZeroUsize>,
    /// How many runs may wait; more are refused [default: `serve.max_queued` of the configuration, else 10000]
    #[arg(long, value_name = "N")]
    pub max_queued: Option<usize>,
    /// Directory for the journal [default: $XDG_STATE_HOME/executor-runtime, else ~/.local/state/executor-runtime]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// On SIGTERM or SIGINT, let the runs that are under way end by themselves, instead of cancelling them
    #[arg(long)]
    pub drain: bool,
}

/// Options for the invocations that are built from a command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options for COMMAND")]
pub struct TemplateOptions {
    /// Arguments end with a NUL byte instead of a line break (as `find -print0` writes them)
    #[arg(long, short = '0', requires = "words")]
    pub null: bool,
    /// Arguments for each command
    #[arg(long, short = 'n', value_name = "N", default_value = "1", requires = "words")]
    pub max_args: NonZeroUsize,
    /// Working directory of the commands [default: the current directory]
    #[arg(long, value_name = "DIR", requires = "words")]
    cwd: Option<String>,
    /// Set an environment variable for the commands, or give them one of this command (repeatable)
    #[arg(long, value_name = "NAME[=VALUE]", value_parser = variable, requires = "words")]
    env: Vec<(String, String)>,
    /// Set a metadata key (repeatable)
    #[arg(long, short, value_name = "KEY=VALUE", value_parser = metadata, requires = "words")]
    metadata: Vec<(String, String)>,
    /// Directory for output and artifacts [default: .executor_runtime in the working directory]
    #[arg(long, value_name = "DIR", requires = "words")]
    artifacts: Option<String>,
}

impl TemplateOptions {
    /// The same as `run` takes them.
    pub(super) fn prompt(&self) -> PromptOptions {
        PromptOptions {
            cwd: self.cwd.clone(),
            env: self.env.clone(),
            metadata: self.metadata.clone(),
            kind: None,
            name: Some("batch".to_owned()),
            id: None,
            input: None,
            artifacts: self.artifacts.clone(),
        }
    }
}

/// Options for an invocation that is built from a command.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Options for COMMAND or --kind")]
pub(super) struct PromptOptions {
    /// Working directory of the command [default: the current directory]
    #[arg(long, value_name = "DIR", requires = "prompted", conflicts_with = "file")]
    pub(super) cwd: Option<String>,
    /// Set an environment variable for the command, or give it one of this command (repeatable)
    #[arg(long, value_name = "NAME[=VALUE]", value_parser = variable, requires = "prompted", conflicts_with = "file")]
    pub(super) env: Vec<(String, String)>,
    /// Set a metadata key (repeatable)
    #[arg(long, short, value_name = "KEY=VALUE", value_parser = metadata, requires = "prompted", conflicts_with = "file")]
    pub(super) metadata: Vec<(String, String)>,
    /// Runtime kind; of all but subprocess, COMMAND may be left out: `command` is then the name of the kind [default:
    /// subprocess]
    #[arg(long, value_name = "KIND", conflicts_with = "file")]
    pub(super) kind: Option<String>,
    /// Runtime name [default: prompt]
    #[arg(long, value_name = "NAME", requires = "prompted", conflicts_with = "file", value_parser = NonEmptyStringValueParser::new())]
    pub(super) name: Option<String>,
    /// Invocation id [default: a new unique id]
    #[arg(long, value_name = "ID", requires = "prompted", conflicts_with = "file", value_parser = NonEmptyStringValueParser::new())]
    pub(super) id: Option<String>,
    /// File to use as the command's stdin
    #[arg(long, value_name = "FILE", requires = "prompted", conflicts_with = "file")]
    pub(super) input: Option<String>,
    /// Directory for output and artifacts [default: .executor_runtime in the working directory]
    #[arg(long, value_name = "DIR", requires = "prompted", conflicts_with = "file")]
    pub(super) artifacts: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum PluginCommand {
    /// Create a new plugin, in Rust, Python, JavaScript or C, that builds and passes its own tests
    New(NewOptions),
    /// Build a plugin: as a component, as a native plugin, or both
    Build(BuildOptions),
    /// Build a plugin and run it, again and again: each time one of its files is saved
    Dev(DevOptions),
    /// Run a plugin's own tests, then build and check it
    Test(TestOptions),
    /// Turn a component built from `wit/` in another language into a plugin, by embedding its descriptor
    Embed(EmbedOptions),
    /// Write the component interface, `wit/`, to a directory: for the tools of languages other than Rust
    Wit {
        /// Directory to write to; it is created if missing
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
    /// Test a plugin, and report what would fail in use and how to fix it
    ///
    /// The plugin is run as this host would run it, with invocations generated from its descriptor. URLs in them point
    /// to two loopback ports: one is closed, the other accepts connections but never answers.
    #[command(after_help = CHECK_HELP)]
    Check {
        /// Plugin file, or the name or kind of an installed plugin
        #[arg(value_name = "PLUGIN")]
        plugin: String,
    },
    /// List every plugin file found, and why any of them can't be used
    List,
    /// Show a plugin's kinds and the metadata keys it reads
    Inspect {
        /// Plugin file, or the name or kind of an installed plugin
        #[arg(value_name = "PLUGIN")]
        plugin: String,
    },
    /// Copy a plugin file into a plugins directory, and compile it
    Install {
        /// Plugin file [default: the component that `plugin build` has made of the plugin in the current directory]
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
        /// Directory to install into [default: the first --plugins-dir, else your own plugins directory]
        #[arg(long, value_name = "DIR")]
        into: Option<PathBuf>,
        /// Replace a plugin in that directory that has the same file name or one of its kinds
        #[arg(long)]
        replace: bool,
    },
    /// Remove an installed plugin from your own plugins directory, or from --plugins-dir
    Remove {
        /// Plugin file, or the name or kind of an installed plugin
        #[arg(value_name = "PLUGIN")]
        plugin: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct NewOptions {
    /// Name of the plugin and its folder: a lower-case letter, then a-z, 0-9 and -
    #[arg(value_name = "NAME")]
    pub(super) name: String,
    /// Language to write it in
    #[arg(long, value_enum, default_value_t, value_name = "LANG")]
    pub(super) lang: Language,
    /// Runtime kind that it implements [default: the name, with `-` replaced by `_`]
    #[arg(long, value_name = "KIND")]
    pub(super) kind: Option<String>,
    /// Checkout of executor-runtime whose SDK a plugin in Rust uses [default: the one that this executable was built in,
    /// else the plugin gets the SDK that the executable carries]
    #[arg(long, value_name = "PATH")]
    pub(super) sdk: Option<PathBuf>,
    /// Directory to create its folder in [default: the current directory]
    #[arg(long, value_name = "DIR")]
    pub(super) into: Option<PathBuf>,
}

/// The language of a plugin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Language {
    /// A crate
    #[default]
    Rust,
    /// A folder with plugin.py
    Python,
    /// A folder with plugin.js
    Javascript,
    /// A folder with plugin.c
    C,
}

#[derive(Debug, Args)]
pub(super) struct BuildOptions {
    /// Directory of the plugin [default: the current directory]
    #[arg(value_name = "DIR")]
    pub(super) directory: Option<PathBuf>,
    /// Build a component: sandboxed, runs on any machine
    #[arg(long)]
    pub(super) component: bool,
    /// Build a native plugin: not sandboxed, runs only on this kind of machine
    #[arg(long)]
    pub(super) native: bool,
}

#[derive(Debug, Args)]
pub(super) struct DevOptions {
    /// Directory of the plugin [default: the current directory]
    #[arg(value_name = "DIR")]
    pub(super) directory: Option<PathBuf>,
    /// Set a metadata key of the run (repeatable)
    #[arg(long, short, value_name = "KEY=VALUE", value_parser = metadata)]
    pub(super) metadata: Vec<(String, String)>,
    /// Runtime kind to run [default: the plugin's first]
    #[arg(long, value_name = "KIND")]
    pub(super) kind: Option<String>,
    /// File to use as the input payload
    #[arg(long, value_name = "FILE")]
    pub(super) input: Option<PathBuf>,
    /// Build and run it as a native plugin instead of a component
    #[arg(long)]
    pub(super) native: bool,
    /// Do it once, and exit as the run does
    #[arg(long)]
    pub(super) once: bool,
}

#[derive(Debug, Args)]
pub(super) struct TestOptions {
    /// Directory of the plugin [default: the current directory]
    #[arg(value_name = "DIR")]
    pub(super) directory: Option<PathBuf>,
    /// Check it as a native plugin instead of a component
    #[arg(long)]
    pub(super) native: bool,
}

#[derive(Debug, Args)]
pub(super) struct EmbedOptions {
    /// Component built by a tool such as componentize-py or componentize-js
    #[arg(value_name = "COMPONENT")]
    pub(super) component: PathBuf,
    /// Plugin descriptor; `schema descriptor` prints its JSON Schema
    #[arg(value_name = "PLUGIN.JSON")]
    pub(super) descriptor: PathBuf,
    /// File to write the plugin to [default: the component itself, which is replaced]
    #[arg(short, long, value_name = "FILE")]
    pub(super) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct InvocationFile {
    /// Invocation file; reads stdin if `-` or omitted
    #[arg(value_name = "FILE")]
    pub(super) file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct CompletionsOptions {
    /// Shell to complete for
    pub(super) shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub(super) struct ManOptions {
    /// Directory to write the pages to; it is created if missing
    #[arg(long, value_name = "DIR")]
    pub(super) dir: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Args)]
pub(super) struct SchemaOptions {
    /// Document to describe
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

/// `NAME=VALUE`, or the name of a variable that this process has.
fn variable(text: &str) -> Result<(String, String), String> {
    if text.is_empty() || text.contains('=') {
        return pair(text).ok_or_else(|| "expected a name, `=` and a value, such as LANG=C".to_owned());
    }
    match std::env::var(text) {
        Ok(value) => Ok((text.to_owned(), value)),
        Err(VarError::NotPresent) => {
            Err("there is no such variable here; to set one, give its value, such as LANG=C".to_owned())
        }
        Err(VarError::NotUnicode(_)) => {
            Err("its value can't be written as JSON because it is not valid UTF-8".to_owned())
        }
    }
}

fn metadata(text: &str) -> Result<(String, String), String> {
    pair(text).ok_or_else(|| "expected a key, `=` and a value, such as limits.memory_bytes=64MiB".to_owned())
}

fn pair(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once('=')?;
    (!name.is_empty()).then(|| (name.to_owned(), value.to_owned()))
}
