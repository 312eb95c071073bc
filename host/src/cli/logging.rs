//! Logs on stderr.

use super::stderr::PatientStderr;
use tracing_subscriber::filter::LevelFilter;

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

pub(super) fn start(level: String, format: LogFormat) {
    // The argument parser only lets names of levels through.
    let level = level.parse().unwrap_or(LevelFilter::WARN);
    let log = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(|| PatientStderr);
    match format {
        LogFormat::Text => log.with_ansi(super::style::stderr().coloured()).init(),
        LogFormat::Json => log.json().init(),
    }
}
