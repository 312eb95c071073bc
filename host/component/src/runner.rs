//! Runs invocations in a component.
//!
//! Each run has a store of its own, instantiated from what was compiled and linked once, and dropped when the
//! run is over: nothing of one run is left for the next, and what a run had under way (requests, timers,
//! files) ends with it.

use super::{
    artifact::ArtifactStore,
    bindings::runner_types::{Invocation, Outcome as Returned},
    cache::CodeCache,
    convert::{self, GuestInvocation},
    egress::EgressHooks,
    engine::{Engine, EngineError, Prepared, exhausted},
    guest_failure::GuestFailure,
    host_functions::Refused,
    limits::{ExceededLimit, Limiter, MAX_CALL_BYTES},
    state::{RunResources, RunState},
};
use executor_runtime_egress::{Grant, RequestFailures};
use executor_runtime_plugin::{
    Carrier, Identity, Limits, hex,
    session::{self, ReportedFailure, RunLog, Stop, StopCause},
};
use executor_runtime_protocol::Status;
use executor_runtime_run::{
    ErrorKind, Event, Failure, Outcome, Run,
    capture::ReadDeadline,
    trace::{self, Span, SpanKind},
};
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, io, path::PathBuf, sync::Arc};
use wasmtime::{Store, UpdateDeadline};

/// A component that is ready to run. Clones are the same component.
#[derive(Clone)]
pub struct Component {
    engine: Engine,
    prepared: Prepared,
    identity: Arc<Identity>,
    config: Arc<BTreeMap<String, String>>,
}

/// What one run adds to the component.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// The invocation's metadata with the descriptor's defaults.
    pub metadata: BTreeMap<String, String>,
    /// What it may reach.
    pub grant: Arc<Grant>,
    /// What it may use.
    pub limits: Limits,
}

impl Component {
    /// Compiles (or loads from the cache) and links the component with these bytes, whose `host.config` answers from
    /// `config`. Blocks.
    ///
    /// # Errors
    /// When it does not compile or does not fit the host's interface.
    pub fn load(
        engine: &Engine,
        cache: &CodeCache,
        wasm: &[u8],
        name: &str,
        version: &str,
        config: &BTreeMap<String, String>,
    ) -> Result<Self, EngineError> {
        let sha256: [u8; 32] = Sha256::digest(wasm).into();
        let compiled = cache
            .component(engine.wasmtime(), wasm, &sha256)
            .map_err(|error| EngineError::not_compiled(&error))?;
        Self::link(engine, &compiled, &sha256, name, version, config)
    }

    /// Loads the component whose bytes have this digest, if the cache has it; as [`Component::load`] otherwise.
    ///
    /// # Errors
    /// When it does not fit the host's interface.
    pub(super) fn cached(
        engine: &Engine,
        cache: &CodeCache,
        sha256: &[u8; 32],
        name: &str,
        version: &str,
        config: &BTreeMap<String, String>,
    ) -> Option<Result<Self, EngineError>> {
        let compiled = cache.cached(engine.wasmtime(), sha256)?;
        Some(Self::link(engine, &compiled, sha256, name, version, config))
    }

    fn link(
        engine: &Engine,
        compiled: &wasmtime::component::Component,
        sha256: &[u8; 32],
        name: &str,
        version: &str,
        config: &BTreeMap<String, String>,
    ) -> Result<Self, EngineError> {
        Ok(Self {
            prepared: engine.prepare(compiled)?,
            engine: engine.clone(),
            identity: Arc::new(Identity {
                name: name.to_owned(),
                version: version.to_owned(),
                sha256: hex(sha256),
            }),
            config: Arc::new(config.clone()),
        })
    }

    /// Which plugin it is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Runs one invocation to its end: it returns by itself, or it is ended when its grace is over.
    pub async fn run(&self, run: &Run, admitted: &Admitted) -> Outcome {
        let name = self.identity.name.as_str();
        let stop = Stop::new(run.deadline, admitted.limits.grace, run.cancel.clone());
        let log = Arc::new(RunLog::new(name, &run.invocation.invocation_id, &run.events));
        let artifacts = ArtifactStore::new(run, &admitted.limits);
        let request_failures = Arc::new(RequestFailures::default());
        let given = RunResources {
            log: Arc::clone(&log),
            stop: stop.clone(),
            artifacts: artifacts.clone(),
            events: run.events.clone(),
            input: run.invocation.input_payload_path.as_ref().map(PathBuf::from),
            config: Arc::clone(&self.config),
        };
        let egress = EgressHooks::new(
            self.engine.egress().clone(),
            Arc::clone(&admitted.grant),
            Arc::clone(&request_failures),
            run.span().clone(),
        );
        let state = RunState::new(given, egress, Limiter::new(&admitted.limits));

        let metadata = trace::with_context(&admitted.metadata, run.span().context());
        let invocation = GuestInvocation::new(&run.invocation, &metadata);

        let end = tokio::select! {
            biased;
            end = self.call(state, invocation.as_wit(), run.span()) => end,
            () = stop.supervise() => End::Forced,
            never = run.report_stopping(admitted.limits.grace) => match never {},
        };

        let report = Report {
            name,
            log: &log,
            request_failures: &request_failures,
            asked: stop.requested(),
            taken: artifacts.taken(),
            run,
        };
        let mut outcome = report.outcome(end);
        let collected = artifacts
            .close_in_time(|| ReadDeadline::new(run.deadline, &run.cancel))
            .await;
        collected.account(&mut outcome.receipt);
        outcome.artifacts = collected.artifacts;
        log.finish();
        self.identity.sign(Carrier::Component, &log, &mut outcome.receipt);
        outcome
    }

    /// Instantiates and calls the guest. Dropping the future ends it.
    async fn call(&self, state: RunState, invocation: Invocation<'_>, run: &Span) -> End {
        let span = run.child("instantiate", SpanKind::Internal);
        let _admission = match self.engine.admit(&self.prepared).await {
            Ok(admission) => admission,
            Err(error) => return End::Exhausted(error),
        };
        let mut store = Store::new(self.engine.wasmtime(), state);
        store.limiter(|state| &mut state.limiter);
        store.set_hostcall_fuel(MAX_CALL_BYTES);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|store| {
            if store.data().given.stop.is_over() {
                return Err(Forced.into());
            }
            // Tokio's own yield lets timers and sockets be served before the guest continues.
            Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
        });
        let result = match self.prepared.pre.instantiate_async(&mut store).await {
            Ok(instance) => {
                drop(span);
                store.data().given.events.report(Event::Called);
                let plugin = instance.executor_runtime_plugin_run();
                let _span = run.child("call", SpanKind::Internal);
                plugin.call_run(&mut store, invocation).await
            }
            Err(error) => match exhausted(&error) {
                Some(exhausted) => return End::Exhausted(exhausted),
                None => Err(error),
            },
        };
        let state = store.data();
        state.stdout.0.finish();
        state.stderr.0.finish();
        match result {
            Ok(returned) => End::Returned(returned, state.limiter.exceeded()),
            Err(error) if error.is::<Forced>() => End::Forced,
            Err(error) => End::Broke(error, state.limiter.exceeded()),
        }
    }
}

impl std::fmt::Debug for Component {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Component")
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

/// How the guest's part ended.
enum End {
    /// With a limit that it went over before, which it may have been told by its language.
    Returned(Returned, Option<ExceededLimit>),
    Broke(wasmtime::Error, Option<ExceededLimit>),
    Forced,
    /// The host was out of something, and the guest did not run.
    Exhausted(io::Error),
}

/// The interrupt that ends a guest whose grace is over.
#[derive(Debug, thiserror::Error)]
#[error("the run was ended")]
struct Forced;

/// What the outcome is made from, beside the end itself.
struct Report<'a> {
    name: &'a str,
    log: &'a RunLog,
    request_failures: &'a RequestFailures,
    asked: Option<StopCause>,
    /// Why there are no artifacts, if another run of the same id has their directory.
    taken: Option<String>,
    run: &'a Run,
}

impl Report<'_> {
    fn outcome(&self, end: End) -> Outcome {
        match end {
            End::Returned(returned, exceeded) => self.returned(returned, exceeded),
            End::Broke(error, exceeded) => {
                if let Some(Refused(failure)) = error.downcast_ref() {
                    return failure.clone().into();
                }
                let stderr = self.log.stderr_tail();
                let failure = GuestFailure {
                    plugin: self.name,
                    error: &error,
                    exceeded,
                    stderr: stderr.as_deref(),
                }
                .failure();
                match self.asked {
                    Some(cause) => self.stopped(cause, Some(&failure.summary)),
                    None => failure.into(),
                }
            }
            End::Forced => {
                // The interrupt and the supervisor both record the cause before they end a run.
                let cause = self.asked.unwrap_or(StopCause::Cancelled);
                self.stopped(cause, None)
            }
            End::Exhausted(error) => Failure::exhausted(&error).into(),
        }
    }

    fn returned(&self, returned: Returned, exceeded: Option<ExceededLimit>) -> Outcome {
        let (mut outcome, report) = match convert::outcome(returned) {
            Ok(report) => match self.asked {
                None => (Outcome::succeeded(), report),
                Some(cause) => (self.stopped(cause, Some("it returned a result too late")), report),
            },
            Err((status, reported)) => {
                let failure = ReportedFailure {
                    status,
                    kind: &reported.kind,
                    summary: &reported.summary,
                }
                .failure(self.asked);
                let failure = match &self.taken {
                    Some(words) if failure.kind == ErrorKind::ArtifactsUnwritable => {
                        Failure::new(ErrorKind::AlreadyRunning, words.clone())
                    }
                    _ => failure,
                };
                let outcome = match self.asked {
                    Some(cause) if failure.kind.status() != cause.status() => {
                        self.stopped(cause, Some(&failure.summary))
                    }
                    Some(_) => failure.into(),
                    None => self.explain(failure, exceeded).into(),
                };
                (outcome, reported.report)
            }
        };
        outcome.exit_code = report.exit_code;
        outcome.receipt = session::receipt(report.receipt);
        outcome
    }

    fn stopped(&self, cause: StopCause, said: Option<&str>) -> Outcome {
        cause.outcome(self.name, self.run.invocation.timeout_seconds, said)
    }

    /// Adds what the host knows about a failure and the guest was not told: of the network, or of a limit.
    fn explain(&self, failure: Failure, exceeded: Option<ExceededLimit>) -> Failure {
        if failure.kind.status() != Status::Failed {
            return failure;
        }
        if let Some(denial) = self.request_failures.denial() {
            return Failure::new(
                ErrorKind::EgressDenied,
                format!("{} ({})", denial.describe(self.name), failure.summary),
            );
        }
        let cause = self.request_failures.cause();
        let words = cause.and_then(|cause| cause.beyond(&failure.summary));
        let limit = || exceeded.map(|exceeded| format!("it exceeded its {exceeded}: {}", exceeded.remedy()));
        match words.or_else(limit) {
            Some(words) => Failure {
                summary: format!("{} ({words})", failure.summary),
                ..failure
            },
            None => failure,
        }
    }
}
