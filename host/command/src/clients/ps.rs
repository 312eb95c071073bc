//! `ps`: which runs there are.

use super::{block_on, micros};
use crate::{
    Format,
    args::PsOptions,
    print, print_json, shown,
    style::{self, Style},
};
use anyhow::{Result, bail};
use executor_runtime::protocol::{Status, Timestamp};
use executor_runtime_client::{Client, Filter, Page, RunSummary};
use std::{
    collections::BTreeSet,
    process::ExitCode,
    time::{Duration, SystemTime},
};

/// What is listed if nothing else is asked for. A run that goes from one to the other meanwhile is found in the second.
const UNDER_WAY: [Status; 2] = [Status::Pending, Status::Running];
/// Where the column of ids has less room, others are left out.
const LEAST_ID: usize = 16;
/// Between two columns.
const GAP: usize = 2;

/// How often the table is drawn again that is watched.
const REDRAW: Duration = Duration::from_secs(2);
/// Lines that are shown on a terminal that does not tell how many it has.
const USUAL_LINES: usize = 24;

pub(crate) fn ps(options: &PsOptions, format: Option<Format>) -> Result<ExitCode> {
    let client = options.server.client()?;
    if options.watch {
        check_watch(format)?;
        return block_on(watch(&client, options));
    }
    let page = block_on(list(&client, options))?;
    match Format::or_detect(format) {
        Format::Json => print_json(&page)?,
        Format::Human => {
            print(table(&page.runs, style::stdout(), now()).as_bytes())?;
            if page.next_cursor.is_some() {
                say!("there are more; -n tells how many to list");
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether the table can be drawn again where it is.
fn check_watch(format: Option<Format>) -> Result<()> {
    if format == Some(Format::Json) {
        bail!("--watch draws a table on a terminal; with --format json, ask again and again instead");
    }
    if !style::stdout().is_terminal() || style::is_dumb() {
        bail!(
            "--watch draws a table on a terminal, and stdout is none; to write one again and again: while executor-runtime \
             ps; do sleep 2; done"
        );
    }
    Ok(())
}

/// Draws the table again and again, until the process is ended.
async fn watch(client: &Client, options: &PsOptions) -> Result<ExitCode> {
    print(b"\x1b[2J")?;
    loop {
        let page = list(client, options).await?;
        let table = table(&page.runs, style::stdout(), now());
        print(frame(&table, style::lines().unwrap_or(USUAL_LINES)).as_bytes())?;
        tokio::time::sleep(REDRAW).await;
    }
}

/// What draws a table over the one before, with so many lines at most; the last is for the cursor.
fn frame(table: &str, lines: usize) -> String {
    let mut shown: Vec<_> = table.lines().map(str::to_owned).collect();
    let room = lines.saturating_sub(1).max(1);
    if shown.len() > room {
        let left_out = shown.len() - (room - 1);
        shown.truncate(room - 1);
        shown.push(format!("there are more: {left_out} lines"));
    }
    let lines: String = shown.iter().map(|line| format!("{line}\x1b[K\r\n")).collect();
    format!("\x1b[H{lines}\x1b[J")
}

fn now() -> i64 {
    micros(SystemTime::now())
}

/// The runs that were asked for: of several statuses, those with the later one first.
async fn list(client: &Client, options: &PsOptions) -> Result<Page> {
    let most = options.limit.get();
    let mut filter = Filter {
        status: None,
        kind: options.kind.clone(),
        since: options.since.clone(),
    };
    // Statuses say more than `--all` does: of them, runs that have ended are listed without it as well.
    if options.all && options.status.is_empty() {
        return Ok(client.list(&filter, most).await?);
    }
    let mut statuses: Vec<_> = options
        .status
        .iter()
        .filter_map(|name| Status::from_name(name))
        .collect();
    if statuses.is_empty() {
        statuses = UNDER_WAY.into();
    }
    let mut groups = Vec::new();
    for status in statuses {
        filter.status = Some(status);
        groups.push(client.list(&filter, most).await?);
    }
    Ok(joined(groups, most))
}

/// Joins pages, the last one first, and leaves out what a run was before.
fn joined(groups: Vec<Page>, most: usize) -> Page {
    let mut seen = BTreeSet::new();
    let mut joined = Page::default();
    for page in groups.into_iter().rev() {
        joined.next_cursor = joined.next_cursor.or(page.next_cursor);
        let mut runs = page.runs;
        runs.retain(|run| seen.insert(run.invocation_id.clone()));
        joined.runs.append(&mut runs);
    }
    joined.runs.truncate(most);
    joined
}

/// A column of the table, besides the ids.
struct Column {
    heading: &'static str,
    cell: fn(&RunSummary, i64) -> String,
    /// Whether it is left out where the ids need its room.
    is_optional: bool,
}

const COLUMNS: [Column; 4] = [
    Column {
        heading: "KIND",
        cell: |run, _| run.runtime_kind.to_string(),
        is_optional: true,
    },
    Column {
        heading: "STATUS",
        cell: |run, _| status(run),
        is_optional: false,
    },
    Column {
        heading: "AGE",
        cell: |run, now| short(since(&run.accepted_at, now)),
        is_optional: true,
    },
    Column {
        heading: "TIME",
        cell: time,
        is_optional: false,
    },
];

/// The table for a person, who may have little room.
fn table(runs: &[RunSummary], style: Style, now: i64) -> String {
    let mut ids = vec!["ID".to_owned()];
    ids.extend(runs.iter().map(|run| shown::value(&run.invocation_id)));
    let mut columns: Vec<(bool, Vec<String>)> = COLUMNS
        .iter()
        .map(|column| {
            let cells = runs.iter().map(|run| (column.cell)(run, now));
            let heading = std::iter::once(column.heading.to_owned());
            (column.is_optional, heading.chain(cells).collect())
        })
        .collect();
    let wanted = widest(&ids).min(LEAST_ID);
    let room = loop {
        let taken: usize = columns.iter().map(|(_, cells)| widest(cells) + GAP).sum();
        let room = style.room().saturating_sub(taken);
        match columns.iter().position(|(is_optional, _)| *is_optional) {
            Some(optional) if room < wanted => drop(columns.remove(optional)),
            _ => break room.max(2),
        }
    };
    let width = widest(&ids).min(room);
    let mut table = String::new();
    for (row, id) in ids.iter().enumerate() {
        let mut line = padded(&style::cut(id, width), width);
        for (_, cells) in &columns {
            line.push_str(&" ".repeat(GAP));
            line.push_str(&padded(&cells[row], widest(cells)));
        }
        let line = line.trim_end();
        table.push_str(&if row == 0 {
            style.faint(line)
        } else {
            line.to_owned()
        });
        table.push('\n');
    }
    table
}

fn widest(cells: &[String]) -> usize {
    cells.iter().map(|cell| style::width(cell)).max().unwrap_or(0)
}

fn padded(text: &str, columns: usize) -> String {
    let missing = columns.saturating_sub(style::usual_width(text));
    format!("{text}{}", " ".repeat(missing))
}

fn status(run: &RunSummary) -> String {
    match run.status {
        Status::Pending | Status::Running if run.cancel_requested => "stopping".to_owned(),
        status => status.as_str().replace('_', " "),
    }
}

/// How long it has run.
fn time(run: &RunSummary, now: i64) -> String {
    let Some(started) = &run.started_at else {
        return "-".to_owned();
    };
    let end = run.finished_at.as_ref().map_or(now, Timestamp::unix_micros);
    short(since(started, end))
}

fn since(start: &Timestamp, end: i64) -> Duration {
    let micros = end.saturating_sub(start.unix_micros());
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

/// A duration in four or five characters.
fn short(time: Duration) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    match time.as_secs() {
        0..10 => format!("{:.1}s", time.as_secs_f64()),
        seconds @ 10..120 => format!("{seconds}s"),
        seconds if seconds < 2 * HOUR => format!("{}m", seconds / MINUTE),
        seconds if seconds < 2 * DAY => format!("{}h", seconds / HOUR),
        seconds => format!("{}d", seconds / DAY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_778_061_600_000_000;

    fn run(id: &str, kind: &str, status: &str, accepted: i64, started: Option<i64>) -> RunSummary {
        let time = |ago: i64| Timestamp::from_unix_micros(NOW - ago * 1_000_000);
        let summary = serde_json::json!({
            "invocation_id": id, "runtime_name": "test", "runtime_kind": kind, "status": status,
            "accepted_at": time(accepted), "started_at": started.map(time),
        });
        serde_json::from_value(summary).unwrap()
    }

    fn runs() -> [RunSummary; 3] {
        [
            run("build-17", "subprocess", "running", 95, Some(3)),
            run("a\n\u{1b}[2J\u{202e}bc", "http", "pending", 7300, None),
            run(
                "a-name-that-is-long",
                "http_async",
                "timed_out",
                259_200,
                Some(259_100),
            ),
        ]
    }

    #[test]
    fn the_table_has_a_line_a_run() {
        let wide = table(&runs(), Style::of_columns(Some(100)), NOW);
        assert_eq!(
            wide,
            "\
ID                      KIND        STATUS     AGE  TIME
build-17                subprocess  running    95s  3.0s
a\\n\\u{1b}[2J\\u{202e}bc  http        pending    2h   -
a-name-that-is-long     http_async  timed out  3d   2d
"
        );
        assert_eq!(table(&runs(), Style::of_columns(None), NOW), wide);
    }

    #[test]
    fn the_table_fits_a_narrow_terminal() {
        for columns in 24..70 {
            let shown = table(&runs(), Style::of_columns(Some(columns)), NOW);
            let widest = |width: fn(&str) -> usize| shown.lines().map(width).max().unwrap();
            assert!(widest(style::usual_width) < columns, "{columns}:\n{shown}");
            // Also where an ellipsis takes two columns.
            assert!(widest(style::width) <= columns, "{columns}:\n{shown}");
            assert!(shown.contains("running"), "{shown}");
        }
        assert_eq!(
            table(&runs(), Style::of_columns(Some(40)), NOW),
            "\
ID                 STATUS     AGE  TIME
build-17           running    95s  3.0s
a\\n\\u{1b}[2J\\u{…   pending    2h   -
a-name-that-is-…   timed out  3d   2d
"
        );
        let named = ["a", "äöü", "日本"].map(|id| run(id, "http", "running", 1, Some(1)));
        assert_eq!(
            table(&named, Style::of_columns(Some(40)), NOW),
            "\
ID      KIND  STATUS   AGE   TIME
a       http  running  1.0s  1.0s
äöü     http  running  1.0s  1.0s
日本    http  running  1.0s  1.0s
"
        );
    }

    #[test]
    fn a_table_that_is_watched_fits_the_terminal_and_leaves_nothing_of_the_one_before() {
        let table = "ID  STATUS\na  running\nb  running\nc  running\n";
        assert_eq!(
            frame(table, 4),
            "\x1b[HID  STATUS\x1b[K\r\na  running\x1b[K\r\nthere are more: 2 lines\x1b[K\r\n\x1b[J"
        );
        assert_eq!(frame("ID\na\n", 4), "\x1b[HID\x1b[K\r\na\x1b[K\r\n\x1b[J");
    }

    #[test]
    fn a_run_that_was_listed_twice_is_what_it_is_now() {
        let page = |runs: &[RunSummary], next: Option<&str>| Page {
            runs: runs.to_vec(),
            next_cursor: next.map(str::to_owned),
        };
        let started = run("a", "http", "running", 5, Some(1));
        let pending = [
            run("a", "http", "pending", 5, None),
            run("b", "http", "pending", 5, None),
        ];
        let listed = joined(
            vec![
                page(&pending, Some("x")),
                page(std::slice::from_ref(&started), None),
            ],
            2,
        );
        assert_eq!(listed.runs, [started, pending[1].clone()]);
        assert_eq!(listed.next_cursor.as_deref(), Some("x"));
    }
}
