//! The trace that a request is part of, which the run that it submits continues.

use executor_runtime_protocol::RuntimeInvocation;
use executor_runtime_run::trace::{TRACEPARENT, TRACESTATE, TraceContext};
use http::{HeaderMap, HeaderValue};
use std::str;

/// Writes the context of a request into the invocation, unless that names one itself. There it is in the journal, for the
/// next host. One that can't be used is told of, and ignored.
pub(crate) fn take_over(headers: &HeaderMap, invocation: &mut RuntimeInvocation) {
    if invocation.metadata.contains_key(TRACEPARENT) {
        return;
    }
    let mut values = headers.get_all(TRACEPARENT).iter();
    let Some(value) = values.next() else { return };
    let id = invocation.invocation_id.as_str();
    let ignore = |reason: &dyn std::fmt::Display| {
        tracing::warn!(invocation = id, "the header '{TRACEPARENT}' is ignored: {reason}");
    };
    if values.next().is_some() {
        return ignore(&"there is more than one");
    }
    let mut context = match TraceContext::parse(text(value).unwrap_or_default().trim()) {
        Ok(context) => context,
        Err(error) => return ignore(&error),
    };
    let states: Vec<_> = headers.get_all(TRACESTATE).iter().filter_map(text).collect();
    if let Err(error) = context.set_tracestate(&states.join(",")) {
        tracing::warn!(invocation = id, "the header '{TRACESTATE}' is ignored: {error}");
    }
    executor_runtime_run::trace::put_into(&mut invocation.metadata, Some(&context));
}

fn text(value: &HeaderValue) -> Option<&str> {
    str::from_utf8(value.as_bytes()).ok()
}
