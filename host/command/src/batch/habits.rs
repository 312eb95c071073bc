//! What those who know xargs and GNU parallel are used to write, and what it is here.

use std::ffi::OsString;

/// Each with what it is here: a word, or what a word begins with.
const HABITS: [(&str, &str); 12] = [
    ("-P", "-j N is how many runs there are at a time"),
    ("--max-procs", "-j N is how many runs there are at a time"),
    ("-I", "`{}` is replaced without an option; no other word is"),
    ("-i", "`{}` is replaced without an option; no other word is"),
    (
        "--replace",
        "`{}` is replaced without an option; no other word is",
    ),
    ("-L", "-n N gives each command N arguments"),
    ("-N", "-n N gives each command N arguments"),
    ("--max-lines", "-n N gives each command N arguments"),
    ("-a", "FILE is named without an option"),
    ("--arg-file", "FILE is named without an option"),
    ("--results", "--artifacts DIR is where output is kept"),
    (
        ":::",
        "arguments are the lines of stdin or FILE: printf '%s\\n' a b | executor-runtime batch -- COMMAND",
    ),
];

/// What to do instead, where a command line of `batch` that can't be read has a habit in it.
pub(crate) fn hint(words: &[OsString]) -> Option<String> {
    let mut own = words.get(1..)?.iter().map(|word| word.to_string_lossy());
    if own.next()? != "batch" {
        return None;
    }
    let own: Vec<_> = own.take_while(|word| word != "--").collect();
    let habit = own.iter().find_map(|word| {
        HABITS.iter().find(|(habit, _)| {
            let is_long = habit.starts_with("--");
            match word.strip_prefix(habit) {
                Some("") => true,
                Some(rest) => !word.starts_with("--") || (is_long && rest.starts_with('=')),
                None => false,
            }
        })
    });
    habit.map(|(habit, here)| format!("instead of `{habit}`: {here}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_habit_is_recognised_before_the_command_only() {
        let hint = |line: &str| hint(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        for (line, here) in [
            ("x batch -P8 -- gzip", "-j N"),
            ("x batch -P 8 gzip", "-j N"),
            ("x batch --max-procs=8 gzip", "-j N"),
            ("x batch -I{} gzip {}", "`{}`"),
            ("x batch gzip ::: a b", "lines of stdin"),
        ] {
            let told = hint(line).unwrap_or_default();
            assert!(told.contains(here), "{line}: {told}");
        }
        assert_eq!(hint("x batch --no-such -- gzip -P8"), None);
        assert_eq!(hint("x batch --jobs=8 gzip -9"), None);
        assert_eq!(hint("x run -P8"), None);
    }
}
