//! What a batch tells: results, as they end or in order; for people their output, failures, progress and a summary.

use super::{Counts, Format};
use crate::{shown, stderr, style};
use executor_runtime::protocol::{RuntimeResult, Status};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

/// Seconds that the rate is an average of, at least.
const LEAST_ELAPSED: f64 = 0.2;

/// What is told of one job.
enum Entry {
    Result {
        name: String,
        result: Box<RuntimeResult>,
    },
    /// The job log has it.
    Skipped,
}

pub(super) struct Report {
    format: Format,
    keep_order: bool,
    has_progress: bool,
    has_summary: bool,
    counts: Counts,
    started: u64,

    /// Results before which others have to be printed.
    waiting: BTreeMap<u64, Entry>,
    next: u64,
    begun: Instant,
    /// Why results can't be printed any more.
    lost: Option<io::Error>,
}

impl Report {
    pub(super) fn new(format: Format, quiet: bool, keep_order: bool) -> Self {
        let for_people = format == Format::Human && !quiet;
        Self {
            format,
            keep_order,
            has_progress: for_people && io::stderr().is_terminal() && !style::is_dumb(),
            has_summary: for_people,
            counts: Counts::default(),
            started: 0,

            waiting: BTreeMap::new(),
            next: 1,
            begun: Instant::now(),
            lost: None,
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

    pub(super) fn started(&mut self) {
        self.started += 1;
    }

    /// A job that was not done again.
    pub(super) fn skipped(&mut self, number: u64, succeeded: bool) {
        self.counts.skipped += 1;
        self.counts.unsuccessful_before += u64::from(!succeeded);
        self.tell(number, Entry::Skipped);
    }

    /// A job that has ended.
    pub(super) fn ended(&mut self, number: u64, name: &str, result: RuntimeResult) {
        self.counts.add(result.status);
        self.tell(
            number,
            Entry::Result {
                name: name.to_owned(),
                result: Box::new(result),
            },
        );
    }

    fn tell(&mut self, number: u64, entry: Entry) {
        if !self.keep_order {
            return self.print(number, &entry);
        }
        self.waiting.insert(number, entry);
        while let Some(entry) = self.waiting.remove(&self.next) {
            self.print(self.next, &entry);
            self.next += 1;
        }
    }

    fn print(&mut self, number: u64, entry: &Entry) {
        let Entry::Result { name, result } = entry else {
            return;
        };
        if self.is_lost() {
            return;
        }
        let printed = match self.format {
            Format::Json => print_line(result),
            Format::Human => {
                if self.has_progress {
                    stderr::clear_status();
                }
                print_output(result).inspect(|()| tell_failure(number, name, result))
            }
        };
        self.lost = printed.err();
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

    /// The end: what still waits, and the summary.
    pub(super) fn finish(&mut self) {
        if self.has_progress {
            stderr::clear_status();
        }
        // Those before them were not started.
        for (number, entry) in std::mem::take(&mut self.waiting) {
            self.print(number, &entry);
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
            return;
        }
        let Counts {
            ended,
            unsuccessful,
            skipped,
            ..
        } = self.counts;
        let elapsed = self.begun.elapsed();
        let runs = if ended == 1 { "run" } else { "runs" };
        let mut line = format!("{ended} {runs}: {} succeeded", ended - unsuccessful);
        if unsuccessful > 0 {
            line.push_str(&format!(", {unsuccessful} did not"));
        }
        if skipped > 0 {
            line.push_str(&format!(", {skipped} left out (in the job log)"));
        }
        let rate = ended as f64 / elapsed.as_secs_f64().max(1e-3);
        line.push_str(&format!(", in {} ({rate:.1}/s)", shown::duration(elapsed)));
        let style = style::stderr();
        tell!("{}", style.wrap(&line, 0, "  "));
    }
}

fn print_line(result: &RuntimeResult) -> io::Result<()> {
    let mut line = serde_json::to_vec(result)?;
    line.push(b'\n');
    let mut out = io::stdout().lock();
    out.write_all(&line)?;
    out.flush()
}

/// Shows the output of a command, each stream where it belongs.
fn print_output(result: &RuntimeResult) -> io::Result<()> {
    // Others name files as they like: those are not looked into.
    if result.runtime_kind.as_str() != "subprocess" {
        return Ok(());
    }
    if let Some(mut file) = result
        .stderr_path
        .as_deref()
        .and_then(|path| File::open(path).ok())
    {
        // There is no one to tell.
        let _ = io::copy(&mut file, &mut io::stderr().lock());
    }
    if let Some(mut file) = result
        .stdout_path
        .as_deref()
        .and_then(|path| File::open(path).ok())
    {
        let mut out = io::stdout().lock();
        io::copy(&mut file, &mut out)?;
        out.flush()?;
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
