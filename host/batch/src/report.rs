//! What a batch tells: results, as they end or in order; for people their output, failures, progress and a summary.

use super::{Counts, Ended, Job, JobLog, Past, Printed};
use anyhow::{Error, Result};
use executor_runtime::protocol::{RuntimeResult, Status};
use executor_runtime_command::{
    Format, shown,
    standard::{Stderr, Stdout},
    stderr, style, tell,
};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, IsTerminal, Write},
    os::unix::fs::FileExt,
    time::{Duration, Instant},
};

/// Seconds that the rate is an average of, at least.
const LEAST_ELAPSED: f64 = 0.2;

/// What is told of one job.
enum Entry {
    Ended(Box<Ended>),
    /// It was done before.
    Skipped,
}

pub(super) struct Report {
    format: Format,
    keep_order: bool,
    has_progress: bool,
    has_summary: bool,
    quiet: bool,
    is_all_read: bool,
    counts: Counts,
    /// Jobs whose results were printed since this was asked last.
    printed: Vec<Printed>,
    /// Results before which others have to be printed.
    waiting: BTreeMap<u64, Entry>,
    next: u64,
    begun: Instant,
    /// Why results can't be printed any more.
    lost: Option<io::Error>,
    log: Option<JobLog>,
    /// Why the job log can't be written any more.
    trouble: Option<Error>,
}

impl Report {
    pub(super) fn new(format: Format, quiet: bool, keep_order: bool, log: Option<JobLog>) -> Self {
        let for_people = format == Format::Human && !quiet;
        Self {
            format,
            keep_order,
            has_progress: for_people && io::stderr().is_terminal() && !style::is_dumb(),
            has_summary: for_people,
            quiet,
            is_all_read: false,
            counts: Counts::default(),
            printed: Vec::new(),
            waiting: BTreeMap::new(),
            next: 1,
            begun: Instant::now(),
            lost: end_cut_off_line(format).err(),
            log,
            trouble: None,
        }
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    /// Whether results can't be printed any more.
    pub(super) fn is_lost(&self) -> bool {
        self.lost.is_some()
    }

    /// How many results wait for one before them.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn shows_progress(&self) -> bool {
        self.has_progress
    }

    /// Whether no run has ended.
    pub(super) fn has_run_nothing(&self) -> bool {
        self.counts.ended == 0
    }

    /// The jobs whose results were printed since this was asked last.
    pub(super) fn take_printed(&mut self) -> Vec<Printed> {
        std::mem::take(&mut self.printed)
    }

    /// A job that has ended, and of which the journal knows no more.
    pub(super) fn forgotten(&mut self, number: u64) {
        self.counts.skipped += 1;
        self.counts.forgotten += 1;
        self.tell(number, Entry::Skipped);
    }

    /// A job that was not done again.
    pub(super) fn skipped(&mut self, number: u64, succeeded: bool) {
        self.counts.skipped += 1;
        self.counts.unsuccessful_before += u64::from(!succeeded);
        self.tell(number, Entry::Skipped);
    }

    /// What the job log knows of a job.
    pub(super) fn past(&self, job: &Job) -> Result<Past> {
        self.log.as_ref().map_or(Ok(Past::Unknown), |log| log.past(job))
    }

    /// Why the job log can't be written any more, once.
    pub(super) fn take_trouble(&mut self) -> Option<Error> {
        self.trouble.take()
    }

    /// The input is at its end, after this many jobs.
    pub(super) fn all_read(&mut self, jobs: u64) {
        self.is_all_read = true;
        if self.counts.forgotten > 0 {
            self.note(&format!(
                "{} jobs were left out: they succeeded before, their results were written, and the journal no longer has them",
                self.counts.forgotten
            ));
        }
        let beyond = self.log.as_ref().map_or(0, |log| log.beyond(jobs));
        if beyond > 0 {
            self.note(&format!(
                "the input ends before the job log does, which has {beyond} more jobs"
            ));
        }
    }

    /// Tells something that a result does not.
    pub(super) fn note(&self, text: &str) {
        if self.has_progress {
            stderr::clear_status();
        }
        let style = style::stderr();
        tell!("{}", style.after("note:", "note:", text, "  "));
    }

    /// A job that has ended.
    pub(super) fn ended(&mut self, ended: Ended) {
        self.counts.add(ended.result.status);
        self.tell(ended.number, Entry::Ended(Box::new(ended)));
    }

    fn tell(&mut self, number: u64, entry: Entry) {
        if !self.keep_order {
            return self.print(&entry);
        }
        self.waiting.insert(number, entry);
        while let Some(entry) = self.waiting.remove(&self.next) {
            self.print(&entry);
            self.next += 1;
        }
    }

    fn print(&mut self, entry: &Entry) {
        let Entry::Ended(ended) = entry else {
            return;
        };
        if self.is_lost() {
            return;
        }
        let Ended {
            number, name, result, ..
        } = &**ended;
        let printed = match self.format {
            Format::Json => print_result(result),
            Format::Human => {
                if self.has_progress {
                    stderr::clear_status();
                }
                print_output(result).inspect(|()| tell_failure(*number, name, result))
            }
        };
        self.lost = printed.err();
        if self.lost.is_none() {
            self.printed.push(Printed {
                job: *number,
                run: ended.run,
                succeeded: result.status == Status::Succeeded,
            });
        }
        // What was not printed has to be done again.
        if let (None, Some(log)) = (&self.lost, &mut self.log)
            && let Err(error) = log.add(ended)
        {
            self.trouble.get_or_insert(error);
        }
    }

    /// Shows how far it is, of `total` jobs if that is known.
    pub(super) fn progress(&self, running: usize, total: Option<u64>) {
        let Counts {
            ended,
            unsuccessful,
            skipped,
            ..
        } = self.counts;
        let done = ended + skipped;
        let elapsed = self.begun.elapsed().as_secs_f64().max(LEAST_ELAPSED);
        let rate = ended as f64 / elapsed;
        let mut line = match total {
            Some(total) => format!("{done} of {total} done"),
            None => format!("{done} done"),
        };
        if unsuccessful > 0 {
            line.push_str(&format!(", {unsuccessful} failed"));
        }
        line.push_str(&format!(", {running} running, {rate:.1}/s"));
        if let Some(total) = total
            && rate > 0.0
        {
            let left = Duration::from_secs_f64((total.saturating_sub(done) as f64 / rate).min(1e9));
            line.push_str(&format!(", {} left", format_args!("{}s", left.as_secs())));
        }
        let style = style::stderr();
        stderr::show_status(&style.fit(&line));
    }

    /// Where there is no summary, and no result either, that all jobs were done before.
    fn tell_if_nothing_was_left(&self) {
        let Counts {
            ended,
            skipped,
            forgotten,
            unsuccessful_before,
            ..
        } = self.counts;
        // Of those that were forgotten a note tells.
        if ended > 0 || skipped == forgotten {
            return;
        }
        let jobs = if skipped == 1 { "job was" } else { "jobs were" };
        let mut text = format!("nothing was left to do: {skipped} {jobs} done before");
        if unsuccessful_before > 0 {
            text.push_str(&unsuccessful_of_them(unsuccessful_before));
        }
        self.note(&text);
    }

    /// The end: what still waits, and the summary.
    pub(super) fn finish(&mut self) {
        if self.has_progress {
            stderr::clear_status();
        }
        // Those before them were not started.
        for entry in std::mem::take(&mut self.waiting).into_values() {
            self.print(&entry);
        }
        if let Some(error) = &self.lost {
            if error.kind() != io::ErrorKind::BrokenPipe {
                let style = style::stderr();
                let text = format!("results can't be written to stdout: {error}");
                tell!("{}", style.after(&style.error("error:"), "error:", &text, "  "));
            }
            return;
        }
        if !self.has_summary {
            if self.is_all_read && !self.quiet {
                self.tell_if_nothing_was_left();
            }
            return;
        }
        let Counts {
            ended,
            unsuccessful,
            skipped,
            unsuccessful_before,
            ..
        } = self.counts;
        let elapsed = self.begun.elapsed();
        let runs = if ended == 1 { "run" } else { "runs" };
        let mut line = format!("{ended} {runs}: {} succeeded", ended - unsuccessful);
        if unsuccessful > 0 {
            line.push_str(&format!(", {unsuccessful} did not"));
        }
        if skipped > 0 {
            line.push_str(&format!(", {skipped} left out (done before)"));
        }
        if unsuccessful_before > 0 {
            line.push_str(&unsuccessful_of_them(unsuccessful_before));
        }
        let rate = ended as f64 / elapsed.as_secs_f64().max(1e-3);
        line.push_str(&format!(", in {} ({rate:.1}/s)", shown::duration(elapsed)));
        let style = style::stderr();
        tell!("{}", style.wrap(&line, 0, "  "));
    }
}

fn unsuccessful_of_them(jobs: u64) -> String {
    format!(", {jobs} of which did not succeed (--retry-failed does them again)")
}

/// Prints a result on a line of its own.
fn print_result(result: &RuntimeResult) -> io::Result<()> {
    let mut line = serde_json::to_vec(result)?;
    line.push(b'\n');
    Stdout.write_all(&line)
}

/// Shows the output of a command, each stream where it belongs.
fn print_output(result: &RuntimeResult) -> io::Result<()> {
    // Others name files as they like: those are not looked into.
    if result.runtime_kind.as_str() != "subprocess" {
        return Ok(());
    }
    // There is no one to tell if it fails.
    let _ = copy(result.stderr_path.as_deref(), Stderr, io::stderr().is_terminal());
    copy(result.stdout_path.as_deref(), Stdout, io::stdout().is_terminal())
}

/// Copies a file; on a terminal, what comes next begins a line.
fn copy(path: Option<&str>, mut to: impl Write, is_terminal: bool) -> io::Result<()> {
    let Some(mut file) = path.and_then(|path| File::open(path).ok()) else {
        return Ok(());
    };
    let copied = io::copy(&mut file, &mut to)?;
    if is_terminal && copied > 0 && last_byte(&file)? != Some(b'\n') {
        to.write_all(b"\n")?;
    }
    to.flush()
}

/// The last byte of a file.
fn last_byte(file: &File) -> io::Result<Option<u8>> {
    let mut byte = [0];
    match file.metadata()?.len().checked_sub(1) {
        Some(at) => Ok((file.read_at(&mut byte, at)? == 1).then_some(byte[0])),
        None => Ok(None),
    }
}

/// An earlier batch may have written a part of a line to the file that results are added to, such as when the disk was
/// full: the next result begins a line of its own.
fn end_cut_off_line(format: Format) -> io::Result<()> {
    // SAFETY: no memory is involved.
    let flags = unsafe { libc::fcntl(libc::STDOUT_FILENO, libc::F_GETFL) };
    if format != Format::Json || flags < 0 || flags & libc::O_APPEND == 0 {
        return Ok(());
    }
    // It is open for writing only; a pipe or a device does not have a last byte.
    let path = "/proc/self/fd/1";
    if !fs::metadata(path).is_ok_and(|status| status.is_file()) {
        return Ok(());
    }
    let Ok(file) = File::open(path) else {
        return Ok(());
    };
    if matches!(last_byte(&file), Ok(Some(byte)) if byte != b'\n') {
        Stdout.write_all(b"\n")?;
    }
    Ok(())
}

fn tell_failure(number: u64, name: &str, result: &RuntimeResult) {
    if result.status == Status::Succeeded {
        return;
    }
    let style = style::stderr();
    let heading = format!("{} {number}:", result.status.as_str().replace('_', " "));
    let why = result.error_summary.as_deref().unwrap_or_default();
    let text = format!("{}: {}", shown::value(name), shown::summary(why, "  "));
    tell!("{}", style.after(&style.error(&heading), &heading, &text, "  "));
}
