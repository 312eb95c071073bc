//! The checks, in the order in which they are run.

use super::{Check, Verdict, sample};
use crate::{
    CancelToken, Ending, ErrorKind, Outcome, Run, RunnerSource,
    component::{CodeCache, Mode},
    config::Config,
    native::NativePlugins,
    plugin::{Plugin, PluginSet, State, inspect},
};
use executor_runtime_protocol::{PluginDescriptor, RuntimeInvocation, RuntimeKind, Status};
use std::{
    collections::BTreeMap,
    io::{self, Read},
    net::TcpListener,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

/// The grace that the suite gives, and what a run may take beyond.
const GRACE: Duration = Duration::from_millis(500);
const SLACK: Duration = Duration::from_millis(300);
/// How long a run goes on before it is told to stop.
const BEFORE_STOP: Duration = Duration::from_millis(300);
/// How long a run may take that nobody stops: the server of the suite answers at once.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// What the checks need of their host.
#[derive(Clone, Debug)]
pub struct Suite {
    /// Runs native plugins.
    pub native: NativePlugins,
    /// Where compiled components are kept.
    pub cache: CodeCache,
}

/// Runs every check on the file at `path`. Needs a tokio runtime with time and I/O, and takes a few seconds.
pub async fn check(suite: &Suite, path: &Path) -> Vec<Check> {
    let mut checks = Vec::new();
    let found = inspect(path, &Config::default());
    let usable = match (&found.plugin, &found.state) {
        (Some(plugin), State::Usable(_)) => Ok(Arc::clone(plugin)),
        (_, State::Unusable(reason)) => Err(reason.to_string()),
        (None, State::Usable(_)) => Err("is not a plugin".to_owned()),
    };
    let plugin = match usable {
        Ok(plugin) => {
            checks.push(passed(&FILE));
            plugin
        }
        Err(found) => {
            checks.push(failed(&FILE, format!("'{}' {found}", path.display())));
            for promise in [
                &LOADS,
                &UNKNOWN_KEY,
                &MISSING_KEY,
                &RESULT,
                &AGAIN,
                &STOP,
                &DEADLINE,
            ] {
                checks.push(skipped(promise, "the file can't be used"));
            }
            return checks;
        }
    };
    match Trial::new(suite, plugin) {
        Ok(trial) => trial.run(&mut checks).await,
        Err(error) => checks.push(skipped(&LOADS, &format!("the suite can't start: {error}"))),
    }
    checks
}

struct Promise {
    name: &'static str,
    text: &'static str,
    mend: &'static str,
}

const FILE: Promise = Promise {
    name: "file",
    text: "the file can be listed: its owner, format and descriptor are right",
    mend: "see the reason; the SDK's export_runner! embeds plugin.json",
};
const LOADS: Promise = Promise {
    name: "loads",
    text: "the host can load it",
    mend: "build it with the SDK of this host; code in constructors must not fail",
};
const UNKNOWN_KEY: Promise = Promise {
    name: "rejects_unknown_metadata",
    text: "a misspelt metadata key is rejected by name",
    mend: "declare every key that it reads in plugin.json",
};
const MISSING_KEY: Promise = Promise {
    name: "refuses_missing_metadata",
    text: "a missing required metadata key is rejected by name",
    mend: "declare required keys with \"required\": true in plugin.json",
};
const RESULT: Promise = Promise {
    name: "ends_in_a_result",
    text: "an invocation with plausible values ends in a result, whatever its status",
    mend: "return a RunError instead of panicking, exiting or waiting for ever",
};
const AGAIN: Promise = Promise {
    name: "repeatable",
    text: "the same invocation ends the same way again",
    mend: "keep nothing between runs, neither in memory nor in files",
};
const STOP: Promise = Promise {
    name: "respects_stop",
    text: "a run that is told to stop returns within its grace",
    mend: "wait with ctx.sleep and ctx.http, which end at once, and return ctx.stopped(...) then",
};
const DEADLINE: Promise = Promise {
    name: "respects_deadline",
    text: "a run whose deadline passes returns within its grace, as timed_out",
    mend: "wait with ctx.sleep and ctx.http, which end at once, and return ctx.stopped(...) then",
};

/// One plugin on trial.
struct Trial {
    set: PluginSet,
    plugin: Arc<Plugin>,
    kind: RuntimeKind,
    directory: Scratch,
    /// Accepts, answers at once with an empty JSON object.
    answering: String,
    /// Accepts and says nothing.
    silent: String,
}

impl Trial {
    fn new(suite: &Suite, plugin: Arc<Plugin>) -> io::Result<Self> {
        let native = suite.native.clone();
        // Alone in a directory: what lies beside it is not on trial.
        let directory = Scratch::new()?;
        let alone = directory.0.join("plugins");
        std::fs::create_dir(&alone)?;
        let name = plugin.path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        std::os::unix::fs::symlink(plugin.path.canonicalize()?, alone.join(name))?;
        let set = PluginSet::new(
            vec![alone],
            Arc::new(Config::default()),
            Mode::OneShot,
            suite.cache.clone(),
        )
        .with_native(Box::new(move |plugin, config| native.runner(plugin, config)));
        let kind = plugin
            .descriptor
            .kinds
            .first()
            .cloned()
            .ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self {
            set,
            plugin,
            kind,
            directory,
            answering: serve(Some(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}",
            ))?,
            silent: serve(None)?,
        })
    }

    fn descriptor(&self) -> &PluginDescriptor {
        &self.plugin.descriptor
    }

    async fn run(&self, checks: &mut Vec<Check>) {
        let sample = sample::metadata(self.descriptor(), &self.answering);
        let first = self.invoke(sample.clone(), Limit::None).await;
        if is(&first.outcome, &ErrorKind::PluginUnusable) {
            checks.push(failed(&LOADS, summary(&first.outcome)));
            for promise in [&UNKNOWN_KEY, &MISSING_KEY, &RESULT, &AGAIN, &STOP, &DEADLINE] {
                checks.push(skipped(promise, "it can't be loaded"));
            }
            return;
        }
        checks.push(passed(&LOADS));
        checks.push(self.unknown_key(&sample).await);
        checks.push(self.missing_key(&sample).await);
        checks.push(ends_well(&first));
        let again = self.invoke(sample, Limit::None).await;
        checks.push(if again.outcome.status() == first.outcome.status() {
            passed(&AGAIN)
        } else {
            let (one, two) = (summary(&first.outcome), summary(&again.outcome));
            failed(&AGAIN, format!("first {one}, then {two}"))
        });
        checks.push(self.stops(&STOP, Limit::Cancel, Status::Cancelled).await);
        checks.push(self.stops(&DEADLINE, Limit::Deadline, Status::TimedOut).await);
    }

    async fn unknown_key(&self, sample: &BTreeMap<String, String>) -> Check {
        let namespace = self
            .descriptor()
            .metadata
            .keys()
            .find_map(|key| key.split_once('.'));
        let Some((namespace, _)) = namespace else {
            return skipped(&UNKNOWN_KEY, "it declares no metadata keys");
        };
        let key = format!("{namespace}.no_such_key_at_all");
        let prefix = format!("{namespace}.*");
        if self.descriptor().metadata.contains_key(&prefix) {
            return skipped(&UNKNOWN_KEY, "it takes every key of its namespace");
        }
        let mut metadata = sample.clone();
        metadata.insert(key.clone(), "x".to_owned());
        self.rejects(&UNKNOWN_KEY, metadata, &key).await
    }

    async fn missing_key(&self, sample: &BTreeMap<String, String>) -> Check {
        let Some(key) = sample.keys().next().cloned() else {
            return skipped(&MISSING_KEY, "it requires no metadata keys");
        };
        let mut metadata = sample.clone();
        metadata.remove(&key);
        self.rejects(&MISSING_KEY, metadata, &key).await
    }

    async fn rejects(&self, promise: &Promise, metadata: BTreeMap<String, String>, key: &str) -> Check {
        let outcome = self.invoke(metadata, Limit::None).await.outcome;
        let summary = summary(&outcome);
        if outcome.status() == Status::Rejected && summary.contains(key) {
            passed(promise)
        } else {
            failed(promise, summary)
        }
    }

    /// Whether a run that waits for a silent server returns when it is stopped.
    async fn stops(&self, promise: &Promise, limit: Limit, expected: Status) -> Check {
        if !sample::needs_a_server(self.descriptor()) {
            return skipped(promise, "it has no required URL, so the suite can't make it wait");
        }
        let ended = self
            .invoke(sample::metadata(self.descriptor(), &self.silent), limit)
            .await;
        let summary = summary(&ended.outcome);
        if ended.took < BEFORE_STOP {
            return skipped(promise, &format!("it did not wait: {summary}"));
        }
        let forced = summary.contains("did not return in its grace");
        if forced || ended.took > BEFORE_STOP + GRACE + SLACK || ended.outcome.status() != expected {
            return failed(promise, format!("after {} ms: {summary}", ended.took.as_millis()));
        }
        passed(promise)
    }

    async fn invoke(&self, metadata: BTreeMap<String, String>, limit: Limit) -> Ended {
        let started = Instant::now();
        let mut metadata = metadata;
        metadata.insert("plugin.grace_seconds".to_owned(), GRACE.as_secs_f64().to_string());
        let time = match limit {
            Limit::Deadline => BEFORE_STOP,
            Limit::None | Limit::Cancel => TIME_LIMIT,
        };
        let directory = self.directory.0.to_string_lossy().into_owned();
        let run = Run {
            invocation: RuntimeInvocation {
                invocation_id: "conformance".to_owned(),
                runtime_name: "conformance".to_owned(),
                runtime_kind: self.kind.clone(),
                working_directory: directory,
                command: vec!["conformance".to_owned()],
                environment: BTreeMap::new(),
                timeout_seconds: None,
                input_payload_path: None,
                output_result_path: None,
                artifact_directory: None,
                metadata,
            },
            deadline: Some(started + time),
            cancel: CancelToken::new(),
        };
        let runner = match self.set.find(&self.kind) {
            Ok(Some(runner)) => runner,
            Ok(None) => {
                let outcome = Outcome::failure(ErrorKind::PluginUnusable, "the host does not find it");
                return Ended::now(outcome, started);
            }
            Err(failure) => return Ended::now(failure.into(), started),
        };
        let cancel = async {
            match limit {
                Limit::Cancel => tokio::time::sleep(BEFORE_STOP).await,
                Limit::None | Limit::Deadline => std::future::pending().await,
            }
            run.cancel.cancel();
            std::future::pending().await
        };
        let outcome = tokio::select! {
            outcome = runner.run(&run) => outcome,
            () = cancel => unreachable!("it is for ever pending"),
        };
        Ended::now(outcome, started)
    }
}

/// What ends a run that does not end by itself.
#[derive(Clone, Copy)]
enum Limit {
    None,
    Cancel,
    Deadline,
}

struct Ended {
    outcome: Outcome,
    took: Duration,
}

impl Ended {
    fn now(outcome: Outcome, started: Instant) -> Self {
        Self {
            outcome,
            took: started.elapsed(),
        }
    }
}

fn ends_well(ended: &Ended) -> Check {
    let bad = [
        ErrorKind::PluginCrashed,
        ErrorKind::PluginLimit,
        ErrorKind::SupervisorLost,
        ErrorKind::Timeout,
    ];
    match bad.iter().find(|kind| is(&ended.outcome, kind)) {
        None => passed(&RESULT),
        Some(_) => failed(&RESULT, summary(&ended.outcome)),
    }
}

fn is(outcome: &Outcome, kind: &ErrorKind) -> bool {
    matches!(&outcome.ending, Ending::Unsuccessful(failure) if failure.kind == *kind)
}

fn summary(outcome: &Outcome) -> String {
    match &outcome.ending {
        Ending::Succeeded => "succeeded".to_owned(),
        Ending::Unsuccessful(failure) => format!("{}: {}", outcome.status(), failure.summary),
    }
}

fn passed(promise: &Promise) -> Check {
    verdict(promise, Verdict::Passed)
}

fn failed(promise: &Promise, found: String) -> Check {
    let mend = promise.mend;
    verdict(promise, Verdict::Failed { found, mend })
}

fn skipped(promise: &Promise, why: &str) -> Check {
    verdict(promise, Verdict::Skipped { why: why.to_owned() })
}

fn verdict(promise: &Promise, verdict: Verdict) -> Check {
    Check {
        name: promise.name,
        promise: promise.text,
        verdict,
    }
}

/// A directory of the suite's own; removed with it.
struct Scratch(std::path::PathBuf);

impl Scratch {
    fn new() -> io::Result<Self> {
        let unique = format!(
            "executor-runtime-check-{}-{:?}",
            std::process::id(),
            Instant::now()
        );
        let name: String = unique
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
            .collect();
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // It holds nothing of value.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A server on the loopback interface, on a thread for each connection; its `host:port`. It lives as long as
/// the process.
fn serve(answer: Option<&'static [u8]>) -> io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    std::thread::Builder::new().spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut buffer = [0; 16 * 1024];
                while let Ok(1..) = stream.read(&mut buffer) {
                    if let Some(answer) = answer {
                        let _ = io::Write::write_all(&mut stream, answer);
                    }
                }
            });
        }
    })?;
    Ok(address)
}
