//! `ps`: which runs there are.

use super::{block_on, micros};
use crate::{
    Format,
    args::PsOptions,
    print, print_json, shown,
    style::{self, Style},
};
use anyhow::Result;
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

pub(crate) fn ps(options: &PsOptions, format: Option<Format>) -> Result<ExitCode> {
    let client = options.server.client()?;
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
    if options.all {
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
    format!("{text}{}", " ".repeat(columns.saturating_sub(style::width(text))))
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
            let widest = shown.lines().map(style::width).max().unwrap();
            assert!(widest < columns, "{columns}:\n{shown}");
            assert!(shown.contains("running"), "{shown}");
        }
        assert_eq!(
            table(&runs(), Style::of_columns(Some(40)), NOW),
            "\
ID                 STATUS     AGE  TIME
build-17           running    95s  3.0s
a\\n\\u{1b}[2J\\u{…  pending    2h   -
a-name-that-is-…  timed out  3d   2d
"
        );
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
