//! `man`: manual pages, made from the definitions of the arguments.

use super::args::Arguments;
use anyhow::{Context, Result};
use clap::CommandFactory;
use clap_mangen::Man;
use std::{
    fs,
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

/// Writes one page for each command into `directory`; without one, prints the page of the whole program.
pub(super) fn man(directory: Option<&Path>) -> Result<ExitCode> {
    let mut program = Arguments::command().disable_help_subcommand(true);
    // Gives the commands their full names.
    program.build();
    match directory {
        Some(directory) => {
            fs::create_dir_all(directory)
                .and_then(|()| write_pages(&program, directory))
                .with_context(|| format!("manual pages can't be written to '{}'", directory.display()))?;
            say!("wrote manual pages to '{}'", directory.display());
        }
        None => io::stdout().lock().write_all(&page(&Man::new(program))?)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes the page of a command and those of its subcommands.
fn write_pages(command: &clap::Command, directory: &Path) -> io::Result<()> {
    let man = Man::new(command.clone());
    fs::write(directory.join(man.get_filename()), page(&man)?)?;
    command
        .get_subcommands()
        .try_for_each(|subcommand| write_pages(subcommand, directory))
}

fn page(man: &Man) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    man.render(&mut page)?;
    // What follows the options in our help is the exit status, for which manual pages have a section.
    let page = String::from_utf8_lossy(&page).replace(".SH EXTRA\n", ".SH \"EXIT STATUS\"\n");
    Ok(page.into_bytes())
}
