//! One request and its answer: the resource `future-incoming-response`.
//!
//! Most requests are made by the run that waits for them, without a task of their own: that saves two hops
//! between threads a request. Hyper's connection writes the request and reads the answer; what is left for the
//! exchange is to be handed the answer when the guest waits for it.
//!
//! That is right only where nothing of the request hangs on the guest's waiting. While a connection is being
//! made, or while the guest is still writing the body, a guest may wait for something else (for room in the
//! body's stream, say), and the request has to go on: then it gets a task.

use executor_runtime_egress::Dispatched;
use http::Response;
use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
};
use wasmtime_wasi::{async_trait, p2::Pollable, runtime::AbortOnDropJoinHandle};
use wasmtime_wasi_http::{WasiBody, p2::bindings::http::types::ErrorCode};

pub(super) type Answer = Result<Response<WasiBody>, ErrorCode>;

/// The resource. Dropping it breaks the request off.
pub(super) enum Exchange {
    /// On its way, driven by the task that waits for it.
    Waiting(Pin<Box<dyn Future<Output = Answer> + Send>>),
    /// On its way, driven by a task.
    Driven(AbortOnDropJoinHandle<Answer>),
    Answered(Answer),
    /// The guest has the answer.
    Taken,
}

impl Exchange {
    /// One that failed before anything was sent.
    pub(super) fn failed(code: ErrorCode) -> Self {
        Self::Answered(Err(code))
    }

    /// Begins to send. `whole` says that no part of the body is still to come from the guest.
    pub(super) fn begin<F>(whole: bool, send: impl FnOnce(Dispatched) -> F) -> Self
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        let dispatched = Dispatched::default();
        let mut sending: Pin<Box<dyn Future<Output = Answer> + Send>> = Box::pin(send(dispatched.clone()));
        // Nobody has to be woken: who takes it over polls it again.
        match sending.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => Self::Answered(answer),
            Poll::Pending if whole && dispatched.is_set() => Self::Waiting(sending),
            Poll::Pending => Self::Driven(wasmtime_wasi::runtime::spawn(sending)),
        }
    }

    /// The answer, once. None while there is none; an error when it was taken before.
    pub(super) fn take(&mut self) -> Option<Result<Answer, ()>> {
        match self {
            Self::Waiting(_) | Self::Driven(_) => None,
            Self::Taken => Some(Err(())),
            Self::Answered(_) => match std::mem::replace(self, Self::Taken) {
                Self::Answered(answer) => Some(Ok(answer)),
                _ => None,
            },
        }
    }
}

#[async_trait]
impl Pollable for Exchange {
    async fn ready(&mut self) {
        let answer = match self {
            Self::Waiting(sending) => sending.await,
            Self::Driven(task) => task.await,
            Self::Answered(_) | Self::Taken => return,
        };
        *self = Self::Answered(answer);
    }
}
