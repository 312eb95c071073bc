//! `man`: manual pages, made from the definitions of the arguments and from what [`super::manual`] adds.

use super::{args, manual};
use anyhow::{Context, Result};
use clap_mangen::Man;
use std::{
    fmt::Write as _,
    fs,
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

/// When the pages were last changed.
const DATE: &str = "2026-11-29";

/// What they describe.
const SOURCE: &str = concat!("executor-runtime ", env!("CARGO_PKG_VERSION"));

/// Writes one page for each command into `directory`; without one, prints the page of the whole program.
pub(super) fn man(directory: Option<&Path>) -> Result<ExitCode> {
    let mut program = args::definition().disable_help_subcommand(true);
    // Gives the commands their full names.
    program.build();
    match directory {
        Some(directory) => {
            fs::create_dir_all(directory)
                .and_then(|()| write_pages(&program, directory))
                .with_context(|| format!("manual pages can't be written to '{}'", directory.display()))?;
            say!("wrote manual pages to '{}'", directory.display());
        }
        None => io::stdout().lock().write_all(&page(&program)?)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes the page of a command and those of its subcommands.
fn write_pages(command: &clap::Command, directory: &Path) -> io::Result<()> {
    let name = Man::new(command.clone()).get_filename();
    fs::write(directory.join(name), page(command)?)?;
    command
        .get_subcommands()
        .try_for_each(|subcommand| write_pages(subcommand, directory))
}

fn page(command: &clap::Command) -> io::Result<Vec<u8>> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    let man = Man::new(command.clone())
        .title(name.to_uppercase())
        .date(DATE)
        .source(SOURCE)
        .manual("User Commands");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    page.write_all(synopsis(command).as_bytes())?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    page.write_all(sections(name).as_bytes())?;
    Ok(page)
}

/// How the command is called: names in bold, what stands for something in italics.
fn synopsis(command: &clap::Command) -> String {
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:");
    let lines = usage.lines().map(|line| {
        let words: Vec<_> = line.split_whitespace().map(synopsis_word).collect();
        words.join(" ")
    });
    format!(".SH SYNOPSIS\n{}\n", lines.collect::<Vec<_>>().join("\n.br\n"))
}

/// A word such as `run`, `[OPTIONS]` or `<COMMAND>...`.
fn synopsis_word(word: &str) -> String {
    let word = word.replace(['<', '>'], "");
    let core = word.trim_matches(['[', ']', '.']);
    let font = if core.starts_with(char::is_uppercase) {
        "\\fI"
    } else {
        "\\fB"
    };
    let (before, after) = word.split_once(core).unwrap_or_default();
    format!("{before}{font}{}\\fR{after}", escaped(core))
}

/// The sections behind the options.
fn sections(name: &str) -> String {
    let mut text = String::new();
    let mut section = |title: &str, rows: &[(&str, &str)]| {
        // Writing to a string can't fail.
        let _ = writeln!(text, ".SH \"{title}\"");
        for (term, meaning) in rows {
            let _ = write!(text, ".TP\n\\fB{}\\fR\n{}\n", escaped(term), escaped(meaning));
        }
    };
    section("EXIT STATUS", &manual::exit_statuses(name));
    if matches!(name, "executor-runtime" | "executor-runtime-run") {
        section("ENVIRONMENT", manual::ENVIRONMENT);
        section("FILES", manual::FILES);
    }
    let other = match name {
        "executor-runtime" => "executor-runtime-run",
        _ => "executor-runtime",
    };
    let _ = write!(text, ".SH \"SEE ALSO\"\n\\fB{}\\fR(1)\n", escaped(other));
    text
}

/// Text that roff shows as it is.
fn escaped(text: &str) -> String {
    let text = text
        .replace('\\', "\\e")
        .replace('-', "\\-")
        .replace('\'', "\\(aq")
        .replace('`', "\\(ga");
    // A line that begins so would be a request.
    match text.starts_with('.') {
        true => format!("\\&{text}"),
        false => text,
    }
}
