//! Logs on stderr.
//!
//! Most commands log nothing, and what writes log lines takes as long to set up as reading a command line. So it is set up
//! with the first line.

use super::stderr::BoundedStderr;
use std::sync::OnceLock;
use tracing::{
    Event, Metadata, Subscriber,
    span::{Attributes, Id, Record},
    subscriber::{Interest, set_global_default},
};
use tracing_subscriber::filter::{LevelFilter, Targets};

/// What the host and its plugins log. The libraries below them log whole URLs and headers, secrets included, when they
/// are asked for details; of them only warnings and errors are written.
const OWN: [&str; 2] = ["executor_runtime", "plugin"];

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

pub(super) fn start(level: &str, format: LogFormat) {
    // The argument parser only lets names of levels through.
    let level = level.parse().unwrap_or(LevelFilter::WARN);
    let shown = Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_targets(OWN.map(|target| (target, level)));
    let log = Log {
        shown,
        level,
        format,
        lines: OnceLock::new(),
    };
    // It fails where there is one already, which there is not.
    let _ = set_global_default(log);
}

/// Whether lines of a plugin at this level are not logged but are for a person who watches the run: `info`, as long as
/// no one has asked for less than warnings.
pub(super) fn is_left_to_live(level: &str) -> bool {
    level == "info"
        && tracing::enabled!(target: "plugin", tracing::Level::WARN)
        && !tracing::enabled!(target: "plugin", tracing::Level::INFO)
}

/// Whether lines of a plugin at this level are for a person who watches a run in another host, which logs them itself.
pub(super) fn is_wanted(level: &str) -> bool {
    match level {
        "info" => is_left_to_live(level) || tracing::enabled!(target: "plugin", tracing::Level::INFO),
        "warn" => tracing::enabled!(target: "plugin", tracing::Level::WARN),
        "error" => tracing::enabled!(target: "plugin", tracing::Level::ERROR),
        _ => false,
    }
}

/// Decides what is logged.
struct Log {
    shown: Targets,
    level: LevelFilter,
    format: LogFormat,
    lines: OnceLock<Box<dyn Subscriber + Send + Sync>>,
}

impl Log {
    /// What writes the lines.
    fn lines(&self) -> &(dyn Subscriber + Send + Sync) {
        &**self.lines.get_or_init(|| {
            let lines = tracing_subscriber::fmt()
                .with_ansi(false)
                .with_max_level(LevelFilter::TRACE)
                .with_writer(|| BoundedStderr);
            match self.format {
                LogFormat::Text => Box::new(lines.finish()),
                LogFormat::Json => Box::new(lines.json().finish()),
            }
        })
    }
}

impl Subscriber for Log {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        match self.enabled(metadata) {
            true => Interest::always(),
            false => Interest::never(),
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.shown.would_enable(metadata.target(), metadata.level())
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        self.lines().new_span(attributes)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        self.lines().record(span, values);
    }

    fn record_follows_from(&self, span: &Id, follows: &Id) {
        self.lines().record_follows_from(span, follows);
    }

    fn event(&self, event: &Event<'_>) {
        self.lines().event(event);
    }

    fn enter(&self, span: &Id) {
        self.lines().enter(span);
    }

    fn exit(&self, span: &Id) {
        self.lines().exit(span);
    }

    fn clone_span(&self, span: &Id) -> Id {
        self.lines().clone_span(span)
    }

    fn try_close(&self, span: Id) -> bool {
        self.lines().try_close(span)
    }
}
