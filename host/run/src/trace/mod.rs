//! Where a run stands in a distributed trace: the [context](TraceContext) that it continues, and the [spans](Span) that
//! it is made of.
//!
//! Each run is one span, its parts are spans below it, and what it starts or asks is told of the context, by
//! `TRACEPARENT` or `traceparent`. Where nothing [records](Tracer) spans there are none: then what a run starts is told of
//! the context that the run itself was given, so that a trace has no hole.

mod context;
mod span;
mod state;

pub use context::{TraceContext, TraceContextError};
pub use span::{AttributeValue, FinishedSpan, Span, SpanKind, Tracer, Tracing};
pub use state::TraceStateError;

use std::{borrow::Cow, collections::BTreeMap};

/// The metadata key, and the HTTP header, with the context that a run continues.
pub const TRACEPARENT: &str = "traceparent";
/// The same for what else the systems of a trace pass on.
pub const TRACESTATE: &str = "tracestate";
/// The environment variable for the context.
pub const TRACEPARENT_VARIABLE: &str = "TRACEPARENT";
/// The same for what else is passed on.
pub const TRACESTATE_VARIABLE: &str = "TRACESTATE";

/// The metadata that a plugin is given: it names `context`, and no other.
pub fn with_context<'m>(
    metadata: &'m BTreeMap<String, String>,
    context: Option<&TraceContext>,
) -> Cow<'m, BTreeMap<String, String>> {
    let names_one = [TRACEPARENT, TRACESTATE]
        .iter()
        .any(|key| metadata.contains_key(*key));
    if context.is_none() && !names_one {
        return Cow::Borrowed(metadata);
    }
    let mut metadata = metadata.clone();
    put_into(&mut metadata, context);
    Cow::Owned(metadata)
}

/// Has the metadata that a plugin is given name `context`, and no other.
pub fn put_into(metadata: &mut BTreeMap<String, String>, context: Option<&TraceContext>) {
    for key in [TRACEPARENT, TRACESTATE] {
        metadata.remove(key);
    }
    if let Some(context) = context {
        metadata.insert(TRACEPARENT.to_owned(), context.traceparent());
        if let Some(state) = context.tracestate() {
            metadata.insert(TRACESTATE.to_owned(), state.to_owned());
        }
    }
}
