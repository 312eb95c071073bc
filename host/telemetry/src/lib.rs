//! Sends the spans of runs to an OpenTelemetry collector: OTLP over HTTP, where the standard variables ask for it.
//!
//! ```text
//! runs ──> Exporter (sampling) ──> queue (bounded) ──> one thread: encode, send
//! ```
//!
//! | promise | kept by |
//! |---|---|
//! | no run waits for a collector | a span that ends is put into the queue, or dropped and counted where that is full |
//! | no run fails because of one | what goes wrong is logged: once, until it works again |
//! | the process ends | what is left at the end has two seconds |
//!
//! The protocol is a handful of messages that only grow, so they are written here (`encode`). The SDK would be a
//! second executor and random number generator in the engine, and would change the features of what the engine is built
//! from.

mod encode;
mod exporter;
mod queue;
mod sampler;
mod settings;
mod transport;

use executor_runtime_run::trace::Tracer;
use std::{env, sync::Arc};

/// Starts to export, as the variables of this process say; none if they say otherwise, or can't be used, which is logged.
/// It starts a thread.
pub fn start() -> Option<Arc<dyn Tracer>> {
    let read = settings::read(&|name| env::var_os(name));
    for problem in &read.problems {
        tracing::warn!("{problem}");
    }
    match exporter::Exporter::start(read.settings?) {
        Ok(exporter) => Some(Arc::new(exporter)),
        Err(error) => {
            tracing::warn!("no spans are sent: {error}");
            None
        }
    }
}
