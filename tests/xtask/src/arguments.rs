//! The command line of `cargo xtask`. It is read with `lexopt`, which is compiled in an instant: this program is the first
//! thing that a new machine builds.

use anyhow::{Result, bail};
use lexopt::{
    Parser,
    prelude::{Long, Short, Value, ValueExt},
};

/// What there is to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Task {
    Demo,
    Test {
        /// For `cargo test`.
        arguments: Vec<String>,
    },
    Plugins,
    Toolchain,
    Soak {
        /// How often.
        rounds: u32,
    },
    Authors {
        /// All, if there are none.
        languages: Vec<String>,
        download: bool,
    },
    Package,
    Ci,
    Help,
}

/// How often `soak` repeats a test, unless it is told.
const ROUNDS: u32 = 20;

pub(crate) const HELP: &str = "\
Build, demonstrate and test executor-runtime

Usage: cargo xtask <COMMAND>

Commands:
  demo                   Build the host and the official plugins, and run an invocation of each kind
  test [-- ARGUMENTS]    Run all tests; the arguments are for `cargo test`
  plugins                Build the official plugins into target/plugins, where a host in target/release finds them
  toolchain              Find the toolchain that builds components, install it if it is missing, and print which it is
  soak [--rounds N]      Run what is promised in full, and repeat the tests about many kills and races N times (20)
  authors [--download] [LANGUAGE]...
                         Make a new plugin in each language in an empty home, run, test and install it, and print what
                         each step takes; with --download, cargo downloads all crates
  package                Pack the crates for authors of plugins, and build each from its package
  ci                     What CI runs: formatting, clippy with warnings denied, all tests, packages, documentation
";

/// Reads the command line of this program.
pub(crate) fn read() -> Result<Task> {
    read_from(Parser::from_env())
}

fn read_from(mut parser: Parser) -> Result<Task> {
    let name = match parser.next()? {
        None | Some(Short('h') | Long("help")) => return Ok(Task::Help),
        Some(Value(name)) => name.string()?,
        Some(other) => return Err(other.unexpected().into()),
    };
    let mut task = match name.as_str() {
        "demo" => Task::Demo,
        "test" => return of_test(&mut parser),
        "plugins" => Task::Plugins,
        "toolchain" => Task::Toolchain,
        "soak" => Task::Soak { rounds: ROUNDS },
        "authors" => Task::Authors {
            languages: Vec::new(),
            download: false,
        },
        "package" => Task::Package,
        "ci" => Task::Ci,
        "help" => Task::Help,
        other => bail!("no command '{other}'; `cargo xtask --help` lists them"),
    };
    while let Some(argument) = parser.next()? {
        match (&mut task, argument) {
            (_, Short('h') | Long("help")) => return Ok(Task::Help),
            (Task::Soak { rounds }, Long("rounds")) => *rounds = parser.value()?.parse()?,
            (Task::Authors { download, .. }, Long("download")) => *download = true,
            (Task::Authors { languages, .. }, Value(language)) => languages.push(language.string()?),
            (_, other) => return Err(other.unexpected().into()),
        }
    }
    Ok(task)
}

/// What comes after `test`.
fn of_test(parser: &mut Parser) -> Result<Task> {
    let mut rest = parser.raw_args()?;
    match rest.next() {
        None => {}
        Some(word) if word == "--" => {}
        Some(word) if word == "-h" || word == "--help" => return Ok(Task::Help),
        Some(word) => bail!("unexpected argument {word:?}: what is for `cargo test` comes after `--`"),
    }
    let arguments = rest.map(|argument| argument.string()).collect::<Result<_, _>>()?;
    Ok(Task::Test { arguments })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Task> {
        read_from(Parser::from_args(line.split_whitespace()))
    }

    #[test]
    fn each_command_takes_its_arguments() {
        for (line, task) in [
            ("", Task::Help),
            ("demo", Task::Demo),
            ("demo --help", Task::Help),
            ("soak", Task::Soak { rounds: ROUNDS }),
            ("soak --rounds 3", Task::Soak { rounds: 3 }),
            ("soak --rounds=3", Task::Soak { rounds: 3 }),
            (
                "authors rust --download c",
                Task::Authors {
                    languages: vec!["rust".to_owned(), "c".to_owned()],
                    download: true,
                },
            ),
        ] {
            assert_eq!(read(line).unwrap(), task, "{line}");
        }
        for (line, expected) in [
            ("test", vec![]),
            ("test -- --test usage -q", vec!["--test", "usage", "-q"]),
            ("test -- -- --nocapture", vec!["--", "--nocapture"]),
        ] {
            let arguments = expected.into_iter().map(str::to_owned).collect();
            assert_eq!(read(line).unwrap(), Task::Test { arguments }, "{line}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, words) in [
            ("dmeo", "no command 'dmeo'"),
            ("--rounds", "--rounds"),
            ("demo --rounds", "--rounds"),
            ("demo twice", "twice"),
            ("soak --rounds many", "many"),
            ("test usage", "usage"),
        ] {
            let error = read(line).unwrap_err().to_string();
            assert!(error.contains(words), "{line}: {error}");
        }
    }
}
