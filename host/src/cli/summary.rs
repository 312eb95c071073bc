//! A result for people: how it ended, why, and the end of its output.

use super::style;
use executor_runtime::{
    protocol::{RuntimeResult, Status},
    receipt,
};
use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
};

const LINES: usize = 10;
const TAIL_BYTES: u64 = 8 * 1024;

pub(super) fn print(result: &RuntimeResult) -> io::Result<()> {
    let style = style::stdout();
    let mut out = io::stdout().lock();
    let status = match result.status {
        Status::Succeeded => style.good("succeeded"),
        status => style.error(&status.as_str().replace('_', " ")),
    };
    write!(out, "{status} {}", result.invocation_id)?;
    if let Some(code) = result.exit_code {
        write!(out, ", exit code {code}")?;
    }
    if let Some(seconds) = result
        .metadata
        .get(receipt::USAGE_WALL_SECONDS)
        .and_then(|text| text.parse::<f64>().ok())
    {
        write!(out, ", {seconds:.3} s")?;
    }
    writeln!(out)?;
    if let Some(summary) = &result.error_summary {
        writeln!(out, "  {summary}")?;
    }
    for (name, path) in [("stdout", &result.stdout_path), ("stderr", &result.stderr_path)] {
        if let Some(path) = path {
            print_tail(&mut out, style, name, path)?;
        }
    }
    for artifact in result
        .artifacts
        .iter()
        .filter(|artifact| !matches!(&*artifact.artifact_id, "stdout" | "stderr"))
    {
        writeln!(out, "{} {}", style.faint("artifact"), artifact.path)?;
    }
    if let Some(error) = result.metadata.get(receipt::RESULT_FILE_ERROR) {
        writeln!(out, "{} {error}", style.error("error:"))?;
    }
    Ok(())
}

/// Prints where a stream is kept and how it ends, if there is anything in it.
fn print_tail(out: &mut impl Write, style: style::Style, name: &str, path: &str) -> io::Result<()> {
    let Ok((size, tail)) = tail(path) else {
        return writeln!(out, "{} {path}", style.faint(name));
    };
    if size == 0 {
        return Ok(());
    }
    writeln!(out, "{} {path} ({size} bytes)", style.faint(name))?;
    let lines: Vec<_> = tail.lines().collect();
    let first = lines.len().saturating_sub(LINES);
    if first > 0 || size > TAIL_BYTES {
        writeln!(out, "  {}", style.faint("…"))?;
    }
    for line in &lines[first..] {
        // What a program printed is not let loose on the terminal.
        let printable: String = line
            .chars()
            .map(|c| {
                if c.is_control() && c != '\t' {
                    '\u{fffd}'
                } else {
                    c
                }
            })
            .collect();
        writeln!(out, "  {printable}")?;
    }
    Ok(())
}

fn tail(path: &str) -> io::Result<(u64, String)> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    Ok((size, String::from_utf8_lossy(&bytes).into_owned()))
}
