//! The tip that a command goes after `--`, for a command line where that is missing.
//!
//! In `run make -k` the parser takes `make` for a file, so that its error about `-k` does not say what is wrong.

use crate::args::definition;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use std::{ffi::OsString, path::Path};

/// The commands that take one.
const COMMANDS: [&str; 3] = ["run", "submit", "batch"];

/// What to write instead, if `error` looks like a command without `--` before it.
pub(super) fn tip(words: &[OsString], error: &clap::Error) -> Option<String> {
    if words.iter().any(|word| word == "--") {
        return None;
    }
    let command = COMMANDS
        .into_iter()
        .find(|command| words.iter().any(|word| word == command))?;
    is_missing(words, error)
        .then(|| format!("a command goes after `--`: executor-runtime {command} [OPTIONS] -- COMMAND"))
}

fn is_missing(words: &[OsString], error: &clap::Error) -> bool {
    match error.kind() {
        ErrorKind::MissingRequiredArgument => {
            text(error, ContextKind::InvalidArg).is_some_and(|missing| missing.contains("COMMAND"))
        }
        ErrorKind::ArgumentConflict => [ContextKind::InvalidArg, ContextKind::PriorArg]
            .into_iter()
            .filter_map(|kind| text(error, kind))
            .any(|argument| argument == "[FILE]"),
        ErrorKind::UnknownArgument | ErrorKind::ValueValidation => {
            let kind = match error.kind() {
                ErrorKind::UnknownArgument => ContextKind::InvalidArg,
                _ => ContextKind::InvalidValue,
            };
            let Some(wrong) = text(error, kind) else {
                return false;
            };
            let is_word = error.kind() == ErrorKind::UnknownArgument && !wrong.starts_with('-');
            // After a file that is there, a wrong option is a misspelt one of ours.
            file_before(words, &wrong).is_some_and(|file| is_word || !Path::new(&file).exists())
        }
        _ => false,
    }
}

/// What is taken for the invocation file, if it comes before the word that is wrong.
fn file_before(words: &[OsString], wrong: &str) -> Option<OsString> {
    let end = words
        .iter()
        .rposition(|word| word.to_string_lossy().starts_with(wrong))?;
    // What is before it may end in an option without its value.
    (2..=end).rev().find_map(|length| {
        let matches = definition().try_get_matches_from(&words[..length]).ok()?;
        let (_, matches) = matches.subcommand()?;
        let mut file = matches.try_get_raw("file").ok()??;
        file.next().map(OsString::from)
    })
}

fn text(error: &clap::Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        ContextValue::Strings(texts) => Some(texts.join(" ")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lacks_the_separator_is_told_from_what_is_misspelt() {
        let there = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        for (line, is_told) in [
            ("run sh -c true", true),
            ("submit sleep 3", true),
            ("--log-level off run make test", true),
            ("run --timeout 3 python -m pytest", true),
            ("run --cwd / make", true),
            ("run --env A=1", true),
            ("batch gzip -9", true),
            ("batch -n 2 gzip", true),
            ("run FILE --timeuot 3", false),
            ("run FILE --timeout x", false),
            ("run FILE other", true),
            ("run --frobnicate", false),
            ("run --timeout 3 -x", false),
            ("batch --resume FILE", false),
            ("run --frobnicate -- make", false),
            ("validate a b", false),
        ] {
            let line = format!("executor-runtime {line}").replace("FILE", there);
            let words: Vec<_> = line.split(' ').map(OsString::from).collect();
            let error = definition().try_get_matches_from(&words).unwrap_err();
            assert_eq!(tip(&words, &error).is_some(), is_told, "{line}: {error}");
        }
    }
}
