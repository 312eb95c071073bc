//! One run of the plugin under check.

use super::{samples::Metadata, scratch::Scratch};
use executor_runtime::{
    Ending, ErrorKind, Failure, Outcome, Run, Runner,
    protocol::{PluginDescriptor, RuntimeInvocation, RuntimeKind},
    receipt,
};
use std::{
    collections::BTreeMap,
    num::NonZeroU64,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

/// The grace that the runs get, if the operator allows that much.
pub(super) const GRACE: Duration = Duration::from_secs(2);

/// What the host may take to end a run, beyond deadline and grace. More than it promises: the machine may be
/// busy.
const SLACK: Duration = Duration::from_secs(3);

/// The plugin, ready to run.
pub(super) struct Subject<'a> {
    pub(super) descriptor: &'a PluginDescriptor,
    /// The grace that it really gets.
    pub(super) grace: Duration,
    runner: Arc<dyn Runner>,
    scratch: &'a Scratch,
    count: AtomicU32,
}

/// How a run ended, and when.
pub(super) struct Observed {
    pub(super) outcome: Outcome,
    pub(super) took: Duration,
    /// It did not end when its time was over, and was given up.
    pub(super) stuck: bool,
}

impl<'a> Subject<'a> {
    pub(super) fn new(
        descriptor: &'a PluginDescriptor,
        grace: Duration,
        runner: Arc<dyn Runner>,
        scratch: &'a Scratch,
    ) -> Self {
        Self {
            descriptor,
            grace,
            runner,
            scratch,
            count: AtomicU32::new(0),
        }
    }

    /// Whether its grace is long enough to tell a run that ends by itself from one that is ended.
    pub(super) fn has_grace(&self) -> bool {
        self.grace >= Duration::from_millis(200)
    }

    /// Whether a run that ended this long after it was asked to was ended by force, or about to be.
    pub(super) fn is_forced(&self, late: Duration) -> bool {
        self.has_grace() && late >= self.grace.mul_f32(0.95)
    }

    /// Runs the plugin's kind `kind` with this metadata; it has to be over after `seconds`, and is told to stop
    /// after `stop`.
    pub(super) async fn run(
        &self,
        kind: &RuntimeKind,
        metadata: Metadata,
        seconds: NonZeroU64,
        stop: Option<Duration>,
    ) -> Observed {
        let run = self.prepare(kind, metadata, seconds);
        let started = Instant::now();
        let limit = Duration::from_secs(seconds.get()) + self.grace + SLACK;
        let stopping = async {
            if let Some(after) = stop {
                tokio::time::sleep(after).await;
                run.cancel.cancel();
            }
            std::future::pending::<()>().await;
        };
        let ended = tokio::select! {
            ended = tokio::time::timeout(limit, self.runner.run(&run)) => ended.ok(),
            () = stopping => None,
        };
        Observed {
            took: started.elapsed(),
            stuck: ended.is_none(),
            outcome: ended.unwrap_or_else(|| Outcome::failure(ErrorKind::Timeout, "it did not end")),
        }
    }

    fn prepare(&self, kind: &RuntimeKind, mut metadata: Metadata, seconds: NonZeroU64) -> Run {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let directory = self.scratch.path().to_string_lossy().into_owned();
        metadata.insert(
            "plugin.grace_seconds".to_owned(),
            self.grace.as_secs_f64().to_string(),
        );
        Run::new(RuntimeInvocation {
            invocation_id: format!("check-{number}"),
            runtime_name: "check".to_owned(),
            runtime_kind: kind.clone(),
            working_directory: directory.clone(),
            command: vec!["check".to_owned()],
            environment: BTreeMap::new(),
            timeout_seconds: Some(seconds),
            input_payload_path: None,
            output_result_path: None,
            artifact_directory: Some(directory),
            metadata,
        })
    }
}

impl Observed {
    pub(super) fn failure(&self) -> Option<&Failure> {
        match &self.outcome.ending {
            Ending::Succeeded => None,
            Ending::Unsuccessful(failure) => Some(failure),
        }
    }

    pub(super) fn is(&self, kind: &ErrorKind) -> bool {
        self.failure().is_some_and(|failure| failure.kind == *kind)
    }

    /// Whether the plugin itself had its turn.
    pub(super) fn reached_plugin(&self) -> bool {
        self.outcome.receipt.contains_key(receipt::PLUGIN_NAME)
    }

    /// Why this is not a proper end of a run, and how to fix it.
    pub(super) fn trouble(&self) -> Option<(String, &'static str)> {
        if self.stuck {
            return Some((
                format!(
                    "it was still running after {:.1} s and could not be ended",
                    self.took.as_secs_f64()
                ),
                "this is a bug in the host; please report it, with the plugin attached",
            ));
        }
        let Failure { kind, summary } = self.failure()?;
        let remedy = match kind {
            ErrorKind::PluginCrashed | ErrorKind::RunnerPanicked => {
                "report what can go wrong as a failure, and let none of it crash the plugin: in Rust by a RunError instead of \
                 unwrap, expect, slicing and overflow"
            }
            ErrorKind::PluginLimit => "stream large data instead of holding it in memory",
            ErrorKind::PluginUnusable => "fix what it reports, and rebuild it",
            _ => return None,
        };
        Some((summary.clone(), remedy))
    }
}
