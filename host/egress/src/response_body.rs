//! A response body on its way to who asked for it.

use crate::RequestError;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, Sleep},
};

/// A response's body, with the request's time-out between two frames. It holds the request's place among those that
/// the run may have in flight.
#[derive(Debug)]
pub struct ResponseBody {
    incoming: Incoming,
    idle_timeout: Option<IdleTimeout>,
    _in_flight: OwnedSemaphorePermit,
}

#[derive(Debug)]
struct IdleTimeout {
    allowed: Duration,
    over: Pin<Box<Sleep>>,
}

impl ResponseBody {
    pub(super) fn new(
        incoming: Incoming,
        between_bytes: Option<Duration>,
        in_flight: OwnedSemaphorePermit,
    ) -> Self {
        Self {
            incoming,
            idle_timeout: between_bytes.map(|allowed| IdleTimeout {
                allowed,
                over: Box::pin(tokio::time::sleep(allowed)),
            }),
            _in_flight: in_flight,
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = RequestError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(cx) {
            if let Some(idle_timeout) = &mut self.idle_timeout {
                // Saturates far in the future.
                let next = Instant::now().checked_add(idle_timeout.allowed);
                if let Some(next) = next {
                    idle_timeout.over.as_mut().reset(next);
                }
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(|error| RequestError::of_hyper(&error))));
        }
        if let Some(idle_timeout) = &mut self.idle_timeout {
            ready!(idle_timeout.over.as_mut().poll(cx));
            return Poll::Ready(Some(Err(RequestError::ReadTimeout)));
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
