//! The commands, each with its name, its help and its arguments, and how a command line is read.
//!
//! Only what a command line names is defined for it: defining everything takes a third of the time of a short command.

use super::*;
use clap::{ArgMatches, ColorChoice, CommandFactory, FromArgMatches, error::ErrorKind};
use std::ffi::OsString;

/// A command, as it is known before its arguments are.
struct Definition {
    name: &'static str,
    about: &'static str,
    /// Adds its arguments.
    define: fn(clap::Command) -> clap::Command,
    read: fn(&ArgMatches) -> Result<Command, clap::Error>,
}

const DEFINITIONS: [Definition; 16] = [
    Definition {
        name: "run",
        about: "Run one invocation and print its result",
        define: |command| {
            RunOptions::augment_args(command)
                .override_usage(RUN_USAGE)
                .after_help(EXIT_STATUS_HELP)
        },
        read: |matches| RunOptions::from_arg_matches(matches).map(|options| Command::Run(Box::new(options))),
    },
    Definition {
        name: "batch",
        about: "Run many invocations, several at a time: one a line of JSON, or a command for each line of arguments",
        define: |command| {
            BatchOptions::augment_args(command)
                .override_usage(BATCH_USAGE)
                .after_help(BATCH_EXIT_STATUS_HELP)
        },
        read: |matches| {
            BatchOptions::from_arg_matches(matches).map(|options| Command::Batch(Box::new(options)))
        },
    },
    Definition {
        name: "serve",
        about: "Serve an HTTP API through which runs are submitted, followed and cancelled",
        define: |command| {
            ServeOptions::augment_args(command)
                .long_about(SERVE_ABOUT)
                .after_help(SERVE_EXIT_STATUS_HELP)
        },
        read: |matches| {
            ServeOptions::from_arg_matches(matches).map(|options| Command::Serve(Box::new(options)))
        },
    },
    Definition {
        name: "submit",
        about: "Hand an invocation to a host that serves, which runs it",
        define: |command| {
            SubmitOptions::augment_args(command)
                .override_usage(SUBMIT_USAGE)
                .after_help(SUBMIT_EXIT_STATUS_HELP)
        },
        read: |matches| {
            SubmitOptions::from_arg_matches(matches).map(|options| Command::Submit(Box::new(options)))
        },
    },
    Definition {
        name: "ps",
        about: "List the runs of a host that serves: those that wait or are under way",
        define: |command| PsOptions::augment_args(command).after_help(CLIENT_WITHOUT_IDS_EXIT_STATUS_HELP),
        read: |matches| PsOptions::from_arg_matches(matches).map(Command::Ps),
    },
    Definition {
        name: "logs",
        about: "Print what a run of a host that serves has written to its stdout or stderr",
        define: |command| LogsOptions::augment_args(command).after_help(CLIENT_EXIT_STATUS_HELP),
        read: |matches| LogsOptions::from_arg_matches(matches).map(Command::Logs),
    },
    Definition {
        name: "wait",
        about: "Wait for runs of a host that serves, and print the result of each as it ends",
        define: |command| WaitOptions::augment_args(command).after_help(WAIT_EXIT_STATUS_HELP),
        read: |matches| WaitOptions::from_arg_matches(matches).map(Command::Wait),
    },
    Definition {
        name: "cancel",
        about: "Ask runs of a host that serves to stop",
        define: |command| CancelOptions::augment_args(command).after_help(CLIENT_EXIT_STATUS_HELP),
        read: |matches| CancelOptions::from_arg_matches(matches).map(Command::Cancel),
    },
    Definition {
        name: "prune",
        about: "Have a host that serves forget runs that ended long ago",
        define: |command| PruneOptions::augment_args(command).after_help(CLIENT_WITHOUT_IDS_EXIT_STATUS_HELP),
        read: |matches| PruneOptions::from_arg_matches(matches).map(Command::Prune),
    },
    Definition {
        name: "validate",
        about: "Check an invocation against the RxP schema and report every problem; runs nothing",
        define: InvocationFile::augment_args,
        read: |matches| InvocationFile::from_arg_matches(matches).map(Command::Validate),
    },
    Definition {
        name: "explain",
        about: "Show the runner, limits and grants an invocation would get; runs nothing",
        define: InvocationFile::augment_args,
        read: |matches| InvocationFile::from_arg_matches(matches).map(Command::Explain),
    },
    Definition {
        name: "kinds",
        about: "List the runtime kinds that can run, and what runs them",
        define: |command| command,
        read: |_| Ok(Command::Kinds),
    },
    Definition {
        name: "plugin",
        about: "Create, check, inspect, install and remove plugins",
        define: |command| {
            PluginCommand::augment_subcommands(command)
                .subcommand_required(true)
                .arg_required_else_help(true)
        },
        read: |matches| PluginCommand::from_arg_matches(matches).map(Command::Plugin),
    },
    Definition {
        name: "schema",
        about: "Print the JSON Schema of a document",
        define: SchemaOptions::augment_args,
        read: |matches| SchemaOptions::from_arg_matches(matches).map(Command::Schema),
    },
    Definition {
        name: "completions",
        about: "Print a completion script for a shell",
        define: CompletionsOptions::augment_args,
        read: |matches| CompletionsOptions::from_arg_matches(matches).map(Command::Completions),
    },
    Definition {
        name: "man",
        about: "Print the manual page as roff (view with `| man -l -`), or write a page for each command",
        define: ManOptions::augment_args,
        read: |matches| ManOptions::from_arg_matches(matches).map(Command::Man),
    },
];

impl Definition {
    fn command(&self, is_defined: bool) -> clap::Command {
        let command = clap::Command::new(self.name);
        let command = match is_defined {
            true => (self.define)(command),
            false => command,
        };
        // The options' own description, for readers of the code, is none of the command.
        command.about(self.about)
    }
}

/// The definition of the command line, with all that it can have.
pub(in super::super) fn definition() -> clap::Command {
    let commands = DEFINITIONS.iter().map(|definition| definition.command(true));
    GlobalOptions::command().subcommands(commands)
}

/// The same with no more than it takes to read `words`, because the whole is a third of what a short command takes:
/// without the arguments of commands that are not named, and of a command line that begins with a command, without all
/// others.
fn definition_for(words: &[OsString]) -> clap::Command {
    let first = words.get(1);
    let only = DEFINITIONS
        .iter()
        .find(|one| first.is_some_and(|word| word == one.name));
    let program = GlobalOptions::command();
    match only {
        Some(only) => program.subcommand(only.command(true)),
        None => program.subcommands(DEFINITIONS.iter().map(|definition| {
            let is_named = words.iter().any(|word| word == definition.name);
            definition.command(is_named)
        })),
    }
}

impl Arguments {
    /// Reads a command line, the program's name first.
    ///
    /// # Errors
    /// Why it can't be used, or the help or version that it asks for.
    pub(in super::super) fn read(words: &[OsString], colour: ColorChoice) -> Result<Self, clap::Error> {
        if let Some(plain) = Self::read_plain(words) {
            return Ok(plain);
        }
        let read = |definition: clap::Command| {
            let matches = definition.color(colour).try_get_matches_from(words)?;
            Self::from_matches(&matches)
        };
        match read(definition_for(words)) {
            // What is wrong is compared with all that there is.
            Err(error) if error.use_stderr() => read(definition()),
            read => read,
        }
    }

    /// `run FILE`, by which an orchestrator runs an invocation: clap would take a tenth of the time of a short run for it.
    fn read_plain(words: &[OsString]) -> Option<Self> {
        let [_, command, file] = words else { return None };
        let is_option = file != "-" && file.as_encoded_bytes().starts_with(b"-");
        if command != "run" || file.is_empty() || is_option {
            return None;
        }
        let options = RunOptions {
            source: SourceOptions {
                file: Some(file.into()),
                ..SourceOptions::default()
            },
            ..RunOptions::default()
        };
        Some(Self {
            global: GlobalOptions::default(),
            command: Command::Run(Box::new(options)),
        })
    }

    fn from_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let global = GlobalOptions::from_arg_matches(matches)?;
        let named = matches.subcommand().and_then(|(name, matches)| {
            let definition = DEFINITIONS.iter().find(|definition| definition.name == name)?;
            Some((definition, matches))
        });
        // clap itself requires one.
        let (definition, matches) = named.ok_or_else(|| clap::Error::new(ErrorKind::MissingSubcommand))?;
        let command = (definition.read)(matches)?;
        Ok(Self { global, command })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    /// Every command by its words, with the commands below it.
    fn paths(command: &clap::Command, above: &str, all: &mut Vec<String>) {
        let path = match above {
            "" => command.get_name().to_owned(),
            above => format!("{above} {}", command.get_name()),
        };
        for below in command.get_subcommands() {
            paths(below, &path, all);
        }
        all.push(path);
    }

    #[test]
    fn a_part_of_the_definition_says_what_the_whole_does() {
        let mut all = Vec::new();
        paths(&definition(), "", &mut all);
        assert!(
            all.iter().any(|path| path == "executor-runtime plugin install"),
            "{all:?}"
        );
        let (program, below) = ("executor-runtime", "executor-runtime ");
        let asked = all.iter().flat_map(|path| {
            let help_of = path.strip_prefix(below).unwrap_or_default();
            [
                format!("{path} --help"),
                format!("{path} -h"),
                format!("{program} help {help_of}").trim_end().to_owned(),
                format!("{program} --log-level=off {help_of} -h").replace("  ", " "),
                format!("{path} --no-such-option"),
                format!("{path} no-such-word -- run"),
            ]
        });
        let plain = [
            "run f", "run -", "run --", "run -q", "run -- f", "run run", "run .",
        ];
        let more = [
            "--version",
            "-V",
            "",
            "runn",
            "--timeout 3 run",
            "run --joblog x",
            "plugin",
            "help rn",
        ];
        for line in asked.chain(more.into_iter().chain(plain).map(|rest| format!("{below}{rest}"))) {
            let words = words(line.trim_end());
            let whole = definition().try_get_matches_from(&words);
            let whole = whole.and_then(|matches| Arguments::from_matches(&matches));
            let part = Arguments::read(&words, ColorChoice::Never);
            match (whole, part) {
                (Err(whole), Err(part)) => assert_eq!(whole.to_string(), part.to_string(), "{line}"),
                (whole, part) => assert_eq!(format!("{whole:?}"), format!("{part:?}"), "{line}"),
            }
        }
    }
}
