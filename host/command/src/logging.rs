//! Logs on stderr.

use super::stderr::BoundedStderr;
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    layer::{Layer, SubscriberExt},
    util::SubscriberInitExt,
};

/// What the host and its plugins log. The libraries below them log whole URLs and headers, secrets included, when they
/// are asked for details; of them only warnings and errors are written.
const OWN: [&str; 2] = ["executor_runtime", "plugin"];

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
    let shown = Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_targets(OWN.map(|target| (target, level)));
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(|| BoundedStderr);
    let lines = match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    tracing_subscriber::registry()
        .with(lines.with_filter(shown))
        .init();
}
