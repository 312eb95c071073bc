//! The span of a run: which trace it continues, and what is told of it.

use executor_runtime_protocol::{RuntimeResult, Status};
use executor_runtime_run::{
    Run, receipt,
    trace::{Span, SpanKind, TRACEPARENT, TRACESTATE, TraceContext, Tracing},
};

/// Begins the span of a run, below what its invocation names; else below what counts for all runs.
pub(crate) fn begin(run: &Run, tracing: &Tracing) {
    let invocation = &run.invocation;
    let named = match invocation.metadata.get(TRACEPARENT) {
        Some(text) => named(run, text),
        None => tracing.parent.clone(),
    };
    if tracing.tracer.is_none() && named.is_none() {
        return;
    }
    let name = format!("run {}", invocation.runtime_kind);
    let span = Span::begin(
        tracing.tracer.as_ref(),
        named.as_ref(),
        name,
        SpanKind::Internal,
        run.begun,
    );
    if span.is_recorded() {
        span.set("executor_runtime.invocation.id", invocation.invocation_id.clone());
        span.set("executor_runtime.runtime.name", invocation.runtime_name.clone());
        span.set(
            "executor_runtime.runtime.kind",
            invocation.runtime_kind.to_string(),
        );
        if let Some(queued) = run.queued {
            span.set("executor_runtime.queue.seconds", queued.as_secs_f64());
        }
    }
    run.set_span(span);
}

/// The context that an invocation names. One that can't be used is told of, and fails nothing.
fn named(run: &Run, text: &str) -> Option<TraceContext> {
    let invocation = &run.invocation;
    let id = invocation.invocation_id.as_str();
    let mut context = TraceContext::parse(text)
        .inspect_err(|error| {
            tracing::warn!(
                invocation = id,
                "metadata key '{TRACEPARENT}' is ignored: '{}': {error}",
                text.escape_debug()
            );
        })
        .ok()?;
    if let Some(state) = invocation.metadata.get(TRACESTATE)
        && let Err(error) = context.set_tracestate(state)
    {
        tracing::warn!(invocation = id, "metadata key '{TRACESTATE}' is ignored: {error}");
    }
    Some(context)
}

/// Ends the span of a run.
pub(crate) fn end(run: &Run, result: &RuntimeResult) {
    let span = run.span();
    if !span.is_recorded() {
        return;
    }
    span.set("executor_runtime.status", result.status.as_str());
    if let Some(code) = result.exit_code {
        span.set("executor_runtime.exit_code", code);
    }
    if let Some(kind) = result.metadata.get(receipt::ERROR_KIND)
        && result.status != Status::Succeeded
    {
        span.fail(kind.clone());
    }
    span.end();
}
