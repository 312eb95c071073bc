//! What a command that runs something does about traces: which one its runs are part of, and whether spans are exported.
//! Exporting itself is in the large executable alone.

use crate::executable::Executable;
use executor_runtime::{
    HostBuilder,
    trace::{TRACEPARENT_VARIABLE, TRACESTATE_VARIABLE, TraceContext, Tracing},
};
use std::env;

/// Where a collector is.
const ENDPOINTS: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
];

/// Which trace a run is part of that names none itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parent {
    /// The one that this process was started in.
    OfProcess,
    /// None: what this process was started in is not what its runs are asked for in.
    None,
}

/// Whether the variables ask for spans to be exported. What they say beyond that is for the exporter to judge.
pub(super) fn is_asked_for() -> bool {
    let value = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
    ENDPOINTS.iter().any(|name| value(name).is_some())
        && value("OTEL_SDK_DISABLED").is_none_or(|value| !value.eq_ignore_ascii_case("true"))
        && value("OTEL_TRACES_EXPORTER").is_none_or(|value| value != "none")
}

/// A host that traces its runs.
pub(super) fn traced(builder: HostBuilder, executable: Executable, parent: Parent) -> HostBuilder {
    let parent = match parent {
        Parent::OfProcess => of_process(),
        Parent::None => None,
    };
    let export = executable.export.filter(|_| is_asked_for());
    if parent.is_none() && export.is_none() {
        return builder;
    }
    builder.tracing(move || Tracing {
        tracer: export.and_then(|export| export()),
        parent,
    })
}

/// The trace that this process was started in. One that can't be used is told of.
fn of_process() -> Option<TraceContext> {
    let text = env::var_os(TRACEPARENT_VARIABLE)?;
    let mut context = TraceContext::parse(&text.to_string_lossy())
        .inspect_err(|error| tracing::warn!("{TRACEPARENT_VARIABLE} is ignored: {error}"))
        .ok()?;
    if let Some(state) = env::var_os(TRACESTATE_VARIABLE)
        && let Err(error) = context.set_tracestate(&state.to_string_lossy())
    {
        tracing::warn!("{TRACESTATE_VARIABLE} is ignored: {error}");
    }
    Some(context)
}
