//! Spans, and what records them.

use super::TraceContext;
use std::{
    borrow::Cow,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

/// Where a span stands to the others of its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// Work of this process.
    Internal,
    /// A request to another.
    Client,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum AttributeValue {
    /// A text.
    Text(Cow<'static, str>),
    /// A whole number.
    Integer(i64),
    /// A number.
    Number(f64),
}

/// How much of a text is kept, in bytes: spans wait in memory.
const MAX_TEXT: usize = 1024;

impl AttributeValue {
    /// As much of it as is kept.
    fn cut(mut self) -> Self {
        if let Self::Text(Cow::Owned(text)) = &mut self {
            text.truncate(text.floor_char_boundary(MAX_TEXT));
            text.shrink_to_fit();
        }
        self
    }
}

impl From<&'static str> for AttributeValue {
    fn from(text: &'static str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for AttributeValue {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<i64> for AttributeValue {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<f64> for AttributeValue {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

/// A span that is over.
#[derive(Clone, Debug)]
pub struct FinishedSpan {
    /// What it is called.
    pub name: Cow<'static, str>,
    /// Where it stands to others.
    pub kind: SpanKind,
    /// Its own place in the trace.
    pub context: TraceContext,
    /// The span above it, if it is not the root.
    pub parent: Option<[u8; 8]>,
    /// When it began.
    pub started_at: SystemTime,
    /// How long it took.
    pub duration: Duration,
    /// What is known of it.
    pub attributes: Vec<(&'static str, AttributeValue)>,
    /// Whether what it stands for went wrong.
    pub is_error: bool,
}

/// Decides which spans are recorded, and takes those that are over. It never blocks who reports to it.
pub trait Tracer: fmt::Debug + Send + Sync {
    /// The place of a new span below `parent`; of the root of a new trace without one. It is recorded if it is sampled.
    fn place(&self, parent: Option<&TraceContext>) -> TraceContext;

    /// Takes a span.
    fn record(&self, span: FinishedSpan);

    /// Waits until what was recorded is where it belongs, but not for long. Blocks.
    fn flush(&self);
}

/// What a host does about traces. By default it records nothing, and passes on the contexts that runs are given.
#[derive(Clone, Debug, Default)]
pub struct Tracing {
    /// What records spans.
    pub tracer: Option<Arc<dyn Tracer>>,
    /// The context of runs that are given none of their own.
    pub parent: Option<TraceContext>,
}

/// A span that has begun, or the place of one where none is recorded. It is over when its last clone is dropped, if
/// nothing has [ended](Span::end) it before.
#[derive(Clone, Debug, Default)]
pub struct Span {
    context: Option<TraceContext>,
    tracer: Option<Arc<dyn Tracer>>,
    recording: Option<Arc<Recording>>,
}

#[derive(Debug)]
struct Recording {
    tracer: Arc<dyn Tracer>,
    began: Instant,
    /// None once it is over.
    span: Mutex<Option<FinishedSpan>>,
}

impl Span {
    /// No span, and no place in a trace.
    pub const fn none() -> Self {
        Self {
            context: None,
            tracer: None,
            recording: None,
        }
    }

    /// Begins a span below `parent`, or the first of a trace.
    pub fn begin(
        tracer: Option<&Arc<dyn Tracer>>,
        parent: Option<&TraceContext>,
        name: impl Into<Cow<'static, str>>,
        kind: SpanKind,
        began: Instant,
    ) -> Self {
        let Some(tracer) = tracer else {
            return Self {
                context: parent.cloned(),
                ..Self::default()
            };
        };
        let context = tracer.place(parent);
        let recording = context.is_sampled().then(|| {
            Arc::new(Recording {
                tracer: Arc::clone(tracer),
                began,
                span: Mutex::new(Some(FinishedSpan {
                    name: name.into(),
                    kind,
                    context: context.clone(),
                    parent: parent.map(TraceContext::span_id),
                    started_at: SystemTime::now()
                        .checked_sub(began.elapsed())
                        .unwrap_or(SystemTime::UNIX_EPOCH),
                    duration: Duration::ZERO,
                    attributes: Vec::new(),
                    is_error: false,
                })),
            })
        });
        Self {
            context: Some(context),
            tracer: Some(Arc::clone(tracer)),
            recording,
        }
    }

    /// Begins a span below this one.
    #[must_use]
    pub fn child(&self, name: impl Into<Cow<'static, str>>, kind: SpanKind) -> Self {
        Self::begin(
            self.tracer.as_ref(),
            self.context.as_ref(),
            name,
            kind,
            Instant::now(),
        )
    }

    /// The context for what is started or asked from here.
    pub fn context(&self) -> Option<&TraceContext> {
        self.context.as_ref()
    }

    /// Whether it is recorded.
    pub fn is_recorded(&self) -> bool {
        self.recording.is_some()
    }

    /// Adds what is known.
    pub fn set(&self, key: &'static str, value: impl Into<AttributeValue>) {
        let value = value.into().cut();
        self.change(|span| span.attributes.push((key, value)));
    }

    /// Notes that it went wrong, by the name of the error.
    pub fn fail(&self, error: impl Into<AttributeValue>) {
        self.change(|span| {
            span.attributes.push(("error.type", error.into().cut()));
            span.is_error = true;
        });
    }

    /// It is over.
    pub fn end(&self) {
        if let Some(recording) = &self.recording {
            recording.end();
        }
    }

    fn change(&self, change: impl FnOnce(&mut FinishedSpan)) {
        if let Some(recording) = &self.recording {
            let mut span = recording.span.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(span) = &mut *span {
                change(span);
            }
        }
    }
}

impl Recording {
    fn end(&self) {
        let span = self.span.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut span) = span {
            span.duration = self.began.elapsed();
            self.tracer.record(span);
        }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.end();
    }
}
