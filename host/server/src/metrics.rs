//! Metrics in the text format of Prometheus (version 0.0.4).

use executor_runtime_service::Counts;
use std::{
    collections::BTreeMap,
    fmt::{Display, Write},
    sync::{Mutex, PoisonError},
};

/// How many requests were answered, by status.
#[derive(Debug, Default)]
pub(crate) struct Requests(Mutex<BTreeMap<u16, u64>>);

impl Requests {
    pub(crate) fn count(&self, status: u16) {
        *self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(status)
            .or_default() += 1;
    }

    fn all(&self) -> BTreeMap<u16, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// All metrics.
pub(crate) fn text(counts: &Counts, requests: &Requests, journal_works: bool) -> String {
    let mut text = Text::default();
    text.metric(
        "executor_runtime_build_info",
        "gauge",
        "The version of the host.",
        [(label("version", env!("CARGO_PKG_VERSION")), 1)],
    );
    text.metric(
        "executor_runtime_runs_queued",
        "gauge",
        "Runs that wait to be started.",
        [(String::new(), counts.queued)],
    );
    text.metric(
        "executor_runtime_runs_queued_max",
        "gauge",
        "Runs that may wait at most.",
        [(String::new(), counts.max_queued)],
    );
    text.metric(
        "executor_runtime_runs_running",
        "gauge",
        "Runs that are under way, by kind.",
        counts
            .running_by_kind
            .iter()
            .map(|(kind, count)| (label("runtime_kind", kind.as_str()), count)),
    );
    text.metric(
        "executor_runtime_runs_running_max",
        "gauge",
        "Runs that may be under way at most.",
        [(String::new(), counts.max_running)],
    );
    text.metric(
        "executor_runtime_runs_ended_total",
        "counter",
        "Runs that have ended since the host started, by status.",
        counts
            .ended
            .iter()
            .map(|(status, count)| (label("status", status), count)),
    );
    text.metric(
        "executor_runtime_journal_writable",
        "gauge",
        "Whether the journal can be written: 1 if it can.",
        [(String::new(), u8::from(journal_works))],
    );
    text.metric(
        "executor_runtime_http_requests_total",
        "counter",
        "Requests that were answered since the host started, by status code.",
        requests
            .all()
            .iter()
            .map(|(status, count)| (label("code", &status.to_string()), count)),
    );
    text.0
}

/// A label whose value needs no escapes.
fn label(name: &str, value: &str) -> String {
    format!("{{{name}=\"{value}\"}}")
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn metric<V: Display>(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        samples: impl IntoIterator<Item = (String, V)>,
    ) {
        // Writing to a text can't fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in samples {
            let _ = writeln!(self.0, "{name}{labels} {value}");
        }
    }
}
