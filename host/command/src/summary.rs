//! A result for people: how it ended, why, where its output is, and what of that they have not seen yet.

use super::{
    live::Seen,
    shown,
    style::{self, Style},
};
use executor_runtime::{
    protocol::{RuntimeResult, Status},
    receipt,
};
use nix::libc::{O_NOFOLLOW, O_NONBLOCK};
use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Component, Path},
};

const LINES: usize = 10;
const TAIL_BYTES: u64 = 8 * 1024;
/// How much of an answer is shown.
const BODY_BYTES: u64 = 16 * 1024;
/// The id of the artifact that an answer is kept as.
const BODY: &str = "response_body";
/// Under which kinds that speak HTTP tell the answer's code. `http` has it as its exit code, too.
const HTTP_STATUS: &str = "http.status";
const INDENT: &str = "  ";

/// The summary, after what was `seen` of the output.
pub(super) fn print(result: &RuntimeResult, seen: Seen) -> io::Result<()> {
    let style = style::stdout();
    let mut out = io::stdout().lock();
    start_line(&mut out, style, result, seen)?;
    ending(&mut out, style, result)?;
    let streams = [
        (
            "stdout",
            &result.stdout_path,
            receipt::STDOUT_TRUNCATED,
            receipt::STDOUT_ERROR,
        ),
        (
            "stderr",
            &result.stderr_path,
            receipt::STDERR_TRUNCATED,
            receipt::STDERR_ERROR,
        ),
    ];
    for (index, (name, path, truncated, error)) in streams.into_iter().enumerate() {
        if let Some(path) = path {
            // Others name files as they like: those are not looked into.
            let captured_here = result.runtime_kind.as_str() == "subprocess";
            let file = if captured_here { open(path).ok() } else { None };
            print_stream(
                &mut out,
                style,
                name,
                path,
                file,
                seen.bytes.map(|bytes| bytes[index]),
            )?;
        }
        let mut lost = |why: &str| line(&mut out, style, INDENT, &format!("{name} {why}"));
        if result.metadata.contains_key(truncated) {
            lost("was longer: only its beginning was kept (subprocess.max_output_bytes)")?;
        }
        if let Some(reason) = result.metadata.get(error) {
            lost(&format!("was not kept to its end: {}", shown::value(reason)))?;
        }
    }
    for artifact in result
        .artifacts
        .iter()
        .filter(|artifact| !matches!(&*artifact.artifact_id, "stdout" | "stderr"))
    {
        labelled(&mut out, style, "artifact", &shown::value(&artifact.path))?;
    }
    if let Some(error) = result.metadata.get(receipt::RESULT_FILE_ERROR) {
        let heading = style.error("error:");
        writeln!(
            out,
            "{}",
            style.after(&heading, "error:", &shown::value(error), INDENT)
        )?;
    }
    Ok(())
}

/// All that is said of a run that did not succeed where no summary is wanted.
pub(super) fn print_failure(result: &RuntimeResult, seen: Seen) -> io::Result<()> {
    let mut out = io::stderr().lock();
    if result.status == Status::Succeeded && !result.metadata.contains_key(receipt::RESULT_FILE_ERROR) {
        return Ok(());
    }
    let style = style::stderr();
    start_line(&mut out, style, result, seen)?;
    ending(&mut out, style, result)
}

/// Goes to the beginning of a line.
fn start_line(out: &mut impl Write, style: Style, result: &RuntimeResult, seen: Seen) -> io::Result<()> {
    match (seen.within_line, style.is_terminal()) {
        (true, _) => writeln!(out),
        // A terminal shows `^C` where the cursor was.
        (false, true) if result.status == Status::Cancelled => write!(out, "\r"),
        _ => Ok(()),
    }
}

/// How it ended, and why.
fn ending(out: &mut impl Write, style: Style, result: &RuntimeResult) -> io::Result<()> {
    let plain = result.status.as_str().replace('_', " ");
    let status = match result.status {
        Status::Succeeded => style.good(&plain),
        _ => style.error(&plain),
    };
    let mut told = shown::value(&result.invocation_id);
    if let Some(code) = result.exit_code {
        let meaning = if result.metadata.get(HTTP_STATUS) == Some(&code.to_string()) {
            "HTTP status"
        } else {
            "exit code"
        };
        told.push_str(&format!(", {meaning} {code}"));
    }
    if let Some(seconds) = result
        .metadata
        .get(receipt::USAGE_WALL_SECONDS)
        .and_then(|text| text.parse::<f64>().ok())
    {
        told.push_str(&format!(", {seconds:.3} s"));
    }
    writeln!(out, "{}", style.after(&status, &plain, &told, INDENT))?;
    match &result.error_summary {
        Some(summary) => line(out, style, INDENT, &shown::summary(summary, "")),
        None => Ok(()),
    }
}

/// A paragraph that is indented.
fn line(out: &mut impl Write, style: Style, indent: &str, text: &str) -> io::Result<()> {
    writeln!(out, "{indent}{}", style.wrap(text, indent.len(), indent))
}

/// A line that begins with what it is about.
fn labelled(out: &mut impl Write, style: Style, label: &str, text: &str) -> io::Result<()> {
    writeln!(out, "{}", style.after(&style.faint(label), label, text, INDENT))
}

/// Prints where a stream is kept and, if that is known and was not seen, how it ends; nothing if it is empty.
fn print_stream(
    out: &mut impl Write,
    style: Style,
    name: &str,
    path: &str,
    file: Option<File>,
    seen: Option<u64>,
) -> io::Result<()> {
    let path = shown::value(path);
    let Some(file) = file else {
        return labelled(out, style, name, &path);
    };
    let size = file.metadata()?.len();
    if size == 0 {
        return Ok(());
    }
    let bytes = shown::size(size);
    match seen {
        Some(seen) if seen < size => {
            let part = shown::size(seen);
            labelled(out, style, name, &format!("({bytes}, {part} of it shown) {path}"))
        }
        Some(_) => labelled(out, style, name, &format!("({bytes}) {path}")),
        None => {
            labelled(out, style, name, &format!("({bytes}) {path}"))?;
            print_tail(out, style, file, size)
        }
    }
}

fn print_tail(out: &mut impl Write, style: Style, mut file: File, size: u64) -> io::Result<()> {
    file.seek(SeekFrom::Start(size.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<_> = text.lines().collect();
    let first = lines.len().saturating_sub(LINES);
    if first > 0 || size > TAIL_BYTES {
        writeln!(out, "{INDENT}{}", style.faint("…"))?;
    }
    for line in &lines[first..] {
        writeln!(out, "{INDENT}{}", shown::output(line))?;
    }
    Ok(())
}

/// Prints the beginning of the answer that a run has left in `directory`, if there is one and it is text.
pub(super) fn print_body(result: &RuntimeResult, directory: Option<&str>) -> io::Result<()> {
    let own = |path: &Path| {
        let within = directory.is_some_and(|directory| path.starts_with(directory));
        within && !path.components().any(|part| part == Component::ParentDir)
    };
    let Some(artifact) = result
        .artifacts
        .iter()
        .find(|artifact| artifact.artifact_id == BODY && own(Path::new(&artifact.path)))
    else {
        return Ok(());
    };
    let Ok(file) = open(&artifact.path) else {
        return Ok(());
    };
    let size = file.metadata()?.len();
    let mut bytes = Vec::new();
    file.take(BODY_BYTES).read_to_end(&mut bytes)?;
    let (style, mut out) = (style::stdout(), io::stdout().lock());
    let Some(text) = text_of(&bytes, size) else {
        return writeln!(
            out,
            "{}",
            style.faint(&format!("(the answer is not text: {})", shown::size(size)))
        );
    };
    for line in text.lines() {
        writeln!(out, "{}", shown::output(line))?;
    }
    let left = size.saturating_sub(bytes.len() as u64);
    if left > 0 {
        writeln!(out, "{}", style.faint(&format!("… ({} more)", shown::size(left))))?;
    }
    Ok(())
}

/// The text that a file of `size` bytes begins with; None if it is none.
fn text_of(beginning: &[u8], size: u64) -> Option<&str> {
    if beginning.contains(&0) {
        return None;
    }
    match std::str::from_utf8(beginning) {
        Ok(text) => Some(text),
        // The cut went through a character.
        Err(error) if error.error_len().is_none() && size > beginning.len() as u64 => {
            std::str::from_utf8(&beginning[..error.valid_up_to()]).ok()
        }
        Err(_) => None,
    }
}

/// Opens what a run has left. It may have put something else in its place since: no link is followed, and nothing but
/// a regular file is read.
fn open(path: &str) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(O_NOFOLLOW | O_NONBLOCK)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(file)
}
