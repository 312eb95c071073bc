//! A result for people: how it ended, why, and the end of its output.

use super::{shown, style};
use executor_runtime::{
    protocol::{RuntimeResult, Status},
    receipt,
};
use nix::libc::{O_NOFOLLOW, O_NONBLOCK};
use std::{
    fs::OpenOptions,
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
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
    write!(out, "{status} {}", shown::value(&result.invocation_id))?;
    if let Some(code) = result.exit_code {
        // Kinds that speak HTTP give the status of the answer as the exit code.
        let what = match result.metadata.get("http.status") {
            Some(status) if *status == code.to_string() => "HTTP status",
            _ => "exit code",
        };
        write!(out, ", {what} {code}")?;
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
        writeln!(out, "  {}", shown::summary(summary, "  "))?;
    }
    // Others name files as they like: those are not looked into.
    let captured_here = result.runtime_kind.as_str() == "subprocess";
    for (name, path) in [("stdout", &result.stdout_path), ("stderr", &result.stderr_path)] {
        if let Some(path) = path {
            let tail = if captured_here { tail(path).ok() } else { None };
            print_stream(&mut out, style, name, path, tail)?;
        }
    }
    for artifact in result
        .artifacts
        .iter()
        .filter(|artifact| !matches!(&*artifact.artifact_id, "stdout" | "stderr"))
    {
        writeln!(
            out,
            "{} {}",
            style.faint("artifact"),
            shown::value(&artifact.path)
        )?;
    }
    if let Some(error) = result.metadata.get(receipt::RESULT_FILE_ERROR) {
        writeln!(out, "{} {}", style.error("error:"), shown::value(error))?;
    }
    Ok(())
}

/// Prints where a stream is kept and, if that is known, how it ends; nothing if it is empty.
fn print_stream(
    out: &mut impl Write,
    style: style::Style,
    name: &str,
    path: &str,
    tail: Option<Tail>,
) -> io::Result<()> {
    let (name, path) = (style.faint(name), shown::value(path));
    let Some(Tail { size, text }) = tail else {
        return writeln!(out, "{name} {path}");
    };
    if size == 0 {
        return Ok(());
    }
    writeln!(out, "{name} {path} ({size} bytes)")?;
    let lines: Vec<_> = text.lines().collect();
    let first = lines.len().saturating_sub(LINES);
    if first > 0 || size > TAIL_BYTES {
        writeln!(out, "  {}", style.faint("…"))?;
    }
    for line in &lines[first..] {
        writeln!(out, "  {}", shown::output(line))?;
    }
    Ok(())
}

/// The end of a captured stream.
struct Tail {
    size: u64,
    text: String,
}

/// Reads how a captured stream ends. What ran may have put something else in its place since: no link is followed,
/// and nothing but a regular file is read.
fn tail(path: &str) -> io::Result<Tail> {
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(O_NOFOLLOW | O_NONBLOCK)
        .open(path)?;
    let status = file.metadata()?;
    if !status.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let size = status.len();
    file.seek(SeekFrom::Start(size.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Ok(Tail { size, text })
}
