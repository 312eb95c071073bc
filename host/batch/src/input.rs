//! Reads the lines of the input, on a thread that may wait for them, and no further ahead than they are wanted.

use anyhow::{Context, Result, anyhow};
use executor_runtime::protocol::MAX_DOCUMENT_BYTES;
use executor_runtime_command::standard::Stdin;
use executor_runtime_run::exhaustion;
use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
    sync::{Arc, OnceLock},
    thread,
};
use tokio::sync::mpsc;

const BUFFER: usize = 64 * 1024;
/// Lines that are read ahead.
const AHEAD: usize = 4;

/// Tells which lines are left out.
type Blank = fn(&[u8]) -> bool;

/// A line of the input.
pub(super) struct Line {
    /// Counted from 1; those without content count too.
    pub(super) number: u64,
    /// Without its end. None: it is longer than an invocation may be.
    pub(super) bytes: Option<Vec<u8>>,
}

/// The lines of the input that are not left out.
pub(super) struct Lines {
    lines: mpsc::Receiver<Result<Line>>,
    /// How many there are, once that is known ahead: of a file.
    count: Arc<OnceLock<u64>>,
}

impl Lines {
    /// Begins to read a file, or stdin.
    pub(super) fn open(file: Option<&Path>, separator: u8, blank: Blank) -> Result<Self> {
        let (source, name): (Box<dyn Read + Send>, _) = match file {
            Some(path) if path != Path::new("-") => {
                let name = format!("'{}' can't be read", path.display());
                let file = File::open(path).with_context(|| match path.exists() {
                    true => name.clone(),
                    false => format!("{name} (a command goes after `--`)"),
                })?;
                (Box::new(file), name)
            }
            _ => (Box::new(Stdin), "stdin can't be read".to_owned()),
        };
        let (sender, lines) = mpsc::channel(AHEAD);
        exhaustion::check_threads(2)?;
        thread::Builder::new().name("input".to_owned()).spawn(move || {
            read(
                BufReader::with_capacity(BUFFER, source),
                separator,
                blank,
                &name,
                &sender,
            )
        })?;
        let count = Arc::new(OnceLock::new());
        if let Some(file) = file.and_then(|path| File::open(path).ok())
            && file.metadata().is_ok_and(|status| status.is_file())
        {
            let count = Arc::clone(&count);
            thread::Builder::new().name("count".to_owned()).spawn(move || {
                if let Ok(lines) = count_lines(BufReader::with_capacity(BUFFER, file), separator, blank) {
                    let _ = count.set(lines);
                }
            })?;
        }
        Ok(Self { lines, count })
    }

    /// How many lines there are in all, if that is known already.
    pub(super) fn count(&self) -> Option<u64> {
        self.count.get().copied()
    }

    /// The next one; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Line>> {
        self.lines.recv().await.transpose()
    }
}

fn read(
    mut source: impl BufRead,
    separator: u8,
    blank: Blank,
    name: &str,
    lines: &mpsc::Sender<Result<Line>>,
) {
    for number in 1.. {
        let line = match next_line(&mut source, separator, MAX_DOCUMENT_BYTES) {
            Ok(Some(bytes)) => Ok(Line { number, bytes }),
            Ok(None) => return,
            Err(error) => Err(anyhow!("{name}: {error}")),
        };
        let is_last = line.is_err();
        let is_empty = line.as_ref().is_ok_and(|line| is_blank(&line.bytes, blank));
        if !is_empty && lines.blocking_send(line).is_err() || is_last {
            return;
        }
    }
}

fn count_lines(mut source: impl BufRead, separator: u8, blank: Blank) -> io::Result<u64> {
    let mut count = 0;
    while let Some(line) = next_line(&mut source, separator, MAX_DOCUMENT_BYTES)? {
        count += u64::from(!is_blank(&line, blank));
    }
    Ok(count)
}

fn is_blank(line: &Option<Vec<u8>>, blank: Blank) -> bool {
    line.as_deref().is_some_and(blank)
}

/// The next line without its end, or that it is longer than `most`; none at the end of the input.
fn next_line(source: &mut impl BufRead, separator: u8, most: usize) -> io::Result<Option<Option<Vec<u8>>>> {
    let mut line = Vec::new();
    let mut too_long = false;
    let mut any = false;
    loop {
        let read = match source.fill_buf() {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if read.is_empty() {
            return Ok(any.then(|| (!too_long).then_some(line)));
        }
        any = true;
        let end = read.iter().position(|byte| *byte == separator);
        let part = &read[..end.unwrap_or(read.len())];
        too_long |= line.len() + part.len() > most;
        if too_long {
            line = Vec::new();
        } else {
            line.extend_from_slice(part);
        }
        let taken = part.len() + usize::from(end.is_some());
        source.consume(taken);
        if end.is_some() {
            if separator == b'\n' && line.last() == Some(&b'\r') {
                line.pop();
            }
            return Ok(Some((!too_long).then_some(line)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[u8], separator: u8, buffer: usize) -> Vec<Option<Vec<u8>>> {
        let mut source = BufReader::with_capacity(buffer, text);
        std::iter::from_fn(|| next_line(&mut source, separator, 5).unwrap()).collect()
    }

    #[test]
    fn lines_end_at_the_separator_or_at_the_end_and_long_ones_are_passed_over() {
        for buffer in [1, 2, 3, 100] {
            let some = |text: &[u8]| Some(text.to_vec());
            assert_eq!(
                lines(b"a\r\n\nbcdef\nbcdefg\nx", b'\n', buffer),
                [some(b"a"), some(b""), some(b"bcdef"), None, some(b"x")]
            );
            assert_eq!(lines(b"a\nb\0c\0", 0, buffer), [some(b"a\nb"), some(b"c")]);
            assert!(lines(b"", 0, buffer).is_empty());
        }
    }
}
