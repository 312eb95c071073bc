//! A result for people: how it ended, why, where its output is, and what of that they have not seen yet.

use super::{
    live::Seen,
    shown,
    style::{self, Style},
};
use executor_runtime::{
    protocol::{RuntimeResult, Status, printable},
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
/// Under which the headers of an answer are told: dozens, of which a person rarely needs one.
const HTTP_HEADERS: &str = "http.header";
/// How many values of a plugin's own are shown.
const RECEIPT_ROWS: usize = 20;
/// How much of each.
const RECEIPT_CHARS: usize = 200;
const INDENT: &str = "  ";

/// The summary, after what was `seen` of the output.
pub(super) fn print(result: &RuntimeResult, seen: Seen, answer: Option<&Answer>) -> io::Result<()> {
    let style = style::stdout();
    let mut out = io::stdout().lock();
    start_line(&mut out, style, result, seen)?;
    ending(&mut out, style, result, answer)?;
    for note in notes(result) {
        line(&mut out, style, INDENT, &note)?;
    }
    print_receipt(&mut out, style, result)?;
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
    match file_error(result, style) {
        Some(error) => writeln!(out, "{error}"),
        None => Ok(()),
    }
}

/// Tells on stderr that the result could not be written to its file, if so.
pub(super) fn print_file_error(result: &RuntimeResult) {
    if let Some(error) = file_error(result, style::stderr()) {
        tell!("{error}");
    }
}

fn file_error(result: &RuntimeResult, style: Style) -> Option<String> {
    let error = result.metadata.get(receipt::RESULT_FILE_ERROR)?;
    let heading = style.error("error:");
    Some(style.after(&heading, "error:", &shown::value(error), INDENT))
}

/// All that is said of a run that did not succeed where no summary is wanted.
pub(super) fn print_failure(result: &RuntimeResult, seen: Seen, answer: Option<&Answer>) -> io::Result<()> {
    let mut out = io::stderr().lock();
    if result.status == Status::Succeeded && !result.metadata.contains_key(receipt::RESULT_FILE_ERROR) {
        return Ok(());
    }
    let style = style::stderr();
    start_line(&mut out, style, result, seen)?;
    ending(&mut out, style, result, answer)?;
    match file_error(result, style) {
        Some(error) => writeln!(out, "{error}"),
        None => Ok(()),
    }
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
fn ending(
    out: &mut impl Write,
    style: Style,
    result: &RuntimeResult,
    answer: Option<&Answer>,
) -> io::Result<()> {
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
    match reason(result, answer) {
        Some(reason) => line(out, style, INDENT, &reason),
        None => Ok(()),
    }
}

/// Why it did not succeed, and the code for that.
fn reason(result: &RuntimeResult, answer: Option<&Answer>) -> Option<String> {
    let summary = result.error_summary.as_deref().map(|summary| {
        let own = answer.and_then(|answer| answer.without_quote(summary));
        shown::summary(own.unwrap_or(summary), "")
    });
    let code = result
        .metadata
        .get(receipt::ERROR_KIND)
        .map(|code| shown::value(code));
    match (summary, code) {
        (Some(summary), Some(code)) => Some(format!("{summary} ({code})")),
        (summary, code) => summary.or(code),
    }
}

/// What the host has to tell of the run besides how it ended, in words.
fn notes(result: &RuntimeResult) -> Vec<String> {
    let count = |key: &str| {
        result
            .metadata
            .get(key)?
            .parse::<u64>()
            .ok()
            .filter(|count| *count > 0)
    };
    let told = |key: &str, one: &str, many: &str| {
        let count = count(key)?;
        Some(match count {
            1 => format!("1 {one}"),
            _ => format!("{count} {many}"),
        })
    };
    let dumped = result.metadata.contains_key(receipt::CORE_DUMPED);
    [
        told(
            receipt::LEAKED_DESCENDANTS,
            "process outlived the main process, and was ended",
            "processes outlived the main process, and were ended",
        ),
        told(
            receipt::UNKILLABLE_DESCENDANTS,
            "process could not be ended, because it is stuck in the kernel",
            "processes could not be ended, because they are stuck in the kernel",
        ),
        dumped.then(|| "the main process dumped core".to_owned()),
        told(
            receipt::ARTIFACTS_OMITTED,
            "file is not listed as an artifact: it is one too many, not a regular file, or was moved or removed",
            "files are not listed as artifacts: they are too many, not regular files, or were moved or removed",
        ),
        told(
            receipt::ARTIFACTS_UNDIGESTED,
            "artifact has no SHA-256, because the time of the run was over",
            "artifacts have no SHA-256, because the time of the run was over",
        ),
        told(
            receipt::PLUGIN_LOG_DROPPED,
            "log line of the plugin was dropped: there were too many",
            "log lines of the plugin were dropped: there were too many",
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Which plugin ran it, and what that has added to the receipt.
fn print_receipt(out: &mut impl Write, style: Style, result: &RuntimeResult) -> io::Result<()> {
    let text = |key: &str| result.metadata.get(key).map(|text| shown::value(text));
    if let (Some(name), Some(version), Some(carrier)) = (
        text(receipt::PLUGIN_NAME),
        text(receipt::PLUGIN_VERSION),
        text(receipt::PLUGIN_CARRIER),
    ) {
        labelled(out, style, "plugin", &format!("{name} {version}, {carrier}"))?;
    }
    let own: Vec<_> = result
        .metadata
        .iter()
        .filter(|(key, value)| is_of_interest(result, key, value))
        .collect();
    for (key, value) in own.iter().take(RECEIPT_ROWS) {
        let (key, value) = (shown::value(key), shown::value(&shortened(value)));
        labelled(out, style, "receipt", &format!("{key} = {value}"))?;
    }
    match own.len().saturating_sub(RECEIPT_ROWS) {
        0 => Ok(()),
        more => labelled(
            out,
            style,
            "receipt",
            &format!("… and {more} more, which --format json shows"),
        ),
    }
}

fn shortened(value: &str) -> String {
    match value.char_indices().nth(RECEIPT_CHARS) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value.to_owned(),
    }
}

/// Whether a value was added by the plugin, and says something that is not shown already.
fn is_of_interest(result: &RuntimeResult, key: &str, value: &str) -> bool {
    let is_the_hosts = receipt::KEYS.iter().any(|(known, _)| *known == key);
    let is_shown =
        key == HTTP_STATUS && result.exit_code.map(|code| code.to_string()).as_deref() == Some(value);
    !is_the_hosts && !is_shown && !key.starts_with(HTTP_HEADERS)
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

/// The answer that a run has kept.
#[derive(Debug)]
pub(super) struct Answer {
    beginning: Vec<u8>,
    size: u64,
}

impl Answer {
    /// The answer that a run has left in `directory`, if there is one.
    pub(super) fn of(result: &RuntimeResult, directory: Option<&str>) -> Option<Self> {
        let own = |path: &Path| {
            let within = directory.is_some_and(|directory| path.starts_with(directory));
            within && !path.components().any(|part| part == Component::ParentDir)
        };
        let artifact = result
            .artifacts
            .iter()
            .find(|artifact| artifact.artifact_id == BODY && own(Path::new(&artifact.path)))?;
        let file = open(&artifact.path).ok()?;
        let size = file.metadata().ok()?.len();
        let mut beginning = Vec::new();
        file.take(BODY_BYTES).read_to_end(&mut beginning).ok()?;
        Some(Self { beginning, size })
    }

    /// Prints its beginning, if it is text.
    pub(super) fn print(&self) -> io::Result<()> {
        let (style, mut out) = (style::stdout(), io::stdout().lock());
        let Some(text) = self.text() else {
            let size = shown::size(self.size);
            let note = format!("(the answer is not text: {size})");
            return writeln!(out, "{}", style.faint(&note));
        };
        for line in text.lines() {
            writeln!(out, "{}", shown::output(line))?;
        }
        let left = self.size.saturating_sub(self.beginning.len() as u64);
        if left > 0 {
            writeln!(out, "{}", style.faint(&format!("… ({} more)", shown::size(left))))?;
        }
        Ok(())
    }

    /// What a summary says before it quotes the beginning of this answer; None if it does not.
    fn without_quote<'a>(&self, summary: &'a str) -> Option<&'a str> {
        let text = printable(self.text()?);
        let quotes = |quote: &str| !quote.is_empty() && text.starts_with(quote);
        let mut colons = summary.match_indices(": ");
        let (at, _) = colons.find(|(at, colon)| quotes(&summary[at + colon.len()..]))?;
        Some(&summary[..at])
    }

    fn text(&self) -> Option<&str> {
        text_of(&self.beginning, self.size)
    }
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
