//! Reads a document from a file or from stdin, within bounds.

use super::shown;
use anyhow::{Context, Result, anyhow, bail};
use executor_runtime::{Failure, protocol::MAX_DOCUMENT_BYTES};
use executor_runtime_run::exhaustion;
use std::{
    fs::File,
    io::{self, IsTerminal, Read},
    path::Path,
};

/// What an error message calls the source.
pub(super) fn name(file: Option<&Path>) -> String {
    match file {
        Some(path) if path != Path::new("-") => format!("'{}'", shown::value(&path.display().to_string())),
        _ => "stdin".to_owned(),
    }
}

/// Whether the source is stdin.
pub(super) fn is_stdin(file: Option<&Path>) -> bool {
    file.is_none_or(|path| path == Path::new("-"))
}

/// Room that a value of a document takes while it is read, in bytes: in the tree, and in what is made of that.
const BYTES_OF_A_VALUE: usize = 160;

/// Reads the whole document, unless the other executable has done that; one byte over the limit is enough to know that it is too large.
pub(super) fn read(file: Option<&Path>, handed_over: Option<&File>) -> Result<Vec<u8>> {
    let document = read_bytes(file, handed_over)?;
    check_room(&document)?;
    Ok(document)
}

/// Fails if what the document becomes has no room (`ulimit -v`): where an allocation fails, nothing can be told any more.
fn check_room(document: &[u8]) -> Result<()> {
    let values = document
        .iter()
        .filter(|byte| matches!(byte, b',' | b':' | b'[' | b'{'))
        .count();
    let room = document.len() + values * BYTES_OF_A_VALUE;
    exhaustion::check_address_space(room).map_err(|error| {
        anyhow!(
            "the document can't be read: {}",
            Failure::exhausted(&error).summary
        )
    })
}

fn read_bytes(file: Option<&Path>, handed_over: Option<&File>) -> Result<Vec<u8>> {
    if let Some(document) = handed_over {
        return read_bounded(document).context("the invocation was not handed over");
    }
    match file {
        Some(path) if path != Path::new("-") => {
            let opened = match File::open(path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => bail!(
                    "'{0}' does not exist; expected a file with an invocation",
                    path.display()
                ),
                Err(error) => {
                    return Err(error).with_context(|| format!("'{}' can't be read", path.display()));
                }
            };
            if opened.metadata().is_ok_and(|status| status.is_dir()) {
                bail!(
                    "'{}' is a directory; expected a file with an invocation",
                    path.display()
                );
            }
            read_bounded(opened).with_context(|| format!("'{}' can't be read", path.display()))
        }
        None if io::stdin().is_terminal() => bail!(
            "no invocation: give a FILE, or `-` to type one, or a command after `--`, as in \
             `executor-runtime run -- echo hello`"
        ),
        _ => read_bounded(io::stdin().lock()).context("stdin can't be read"),
    }
}

fn read_bounded(source: impl Read) -> io::Result<Vec<u8>> {
    let mut document = Vec::new();
    source
        .take(MAX_DOCUMENT_BYTES as u64 + 1)
        .read_to_end(&mut document)?;
    Ok(document)
}
