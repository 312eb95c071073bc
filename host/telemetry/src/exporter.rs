//! The tracer of a host that exports.

use crate::{queue::Queue, sampler::Sampler, settings::Settings};
use executor_runtime_run::trace::{FinishedSpan, TraceContext, Tracer};
use std::{
    hash::{BuildHasher, RandomState},
    io,
    sync::Arc,
    time::Duration,
};

/// How long what is left may take at the end.
const FLUSH_TIME: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(crate) struct Exporter {
    sampler: Sampler,
    queue: Arc<Queue>,
}

impl Exporter {
    pub(crate) fn start(settings: Settings) -> io::Result<Self> {
        Ok(Self {
            sampler: settings.sampler,
            queue: Queue::start(settings)?,
        })
    }
}

impl Tracer for Exporter {
    fn place(&self, parent: Option<&TraceContext>) -> TraceContext {
        let context = match parent {
            Some(parent) => parent.at(random()),
            None => TraceContext::root(random(), random()),
        };
        let is_sampled = self.sampler.samples(parent, context.trace_id());
        context.sampled(is_sampled)
    }

    fn record(&self, span: FinishedSpan) {
        self.queue.push(span);
    }

    fn flush(&self) {
        self.queue.flush(FLUSH_TIME);
    }
}

/// An id, which is never zero.
fn random<const N: usize>() -> [u8; N] {
    let mut id = [0; N];
    while id == [0; N] {
        if getrandom::fill(&mut id).is_err() {
            // Where the kernel gives none. It is to be unlikely to occur twice, no more.
            for part in id.chunks_mut(8) {
                let number = RandomState::new().hash_one(N);
                part.copy_from_slice(&number.to_ne_bytes()[..part.len()]);
            }
        }
    }
    id
}
