//! A response body that is made piece by piece, as fast as the client takes it and no faster.

use axum::body::{Body, Bytes};
use http_body::Frame;
use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

/// What makes the pieces.
pub(crate) trait Source: Send + Sized + 'static {
    /// The next piece; none at the end. The next one is not asked for before the client's connection has taken this one.
    /// Dropped where the client goes away.
    fn next(&mut self) -> impl Future<Output = io::Result<Option<Bytes>>> + Send;
}

/// A body of the pieces of `source`.
pub(crate) fn body(source: impl Source) -> Body {
    Body::new(Pieces(Some(step(source))))
}

/// A piece, and the source to go on with; none at the end.
type Step<S> = Pin<Box<dyn Future<Output = io::Result<Option<(Bytes, S)>>> + Send>>;

struct Pieces<S>(Option<Step<S>>);

fn step<S: Source>(mut source: S) -> Step<S> {
    Box::pin(async move { Ok(source.next().await?.map(|piece| (piece, source))) })
}

impl<S: Source> http_body::Body for Pieces<S> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let Some(running) = &mut self.0 else {
            return Poll::Ready(None);
        };
        let stepped = ready!(running.as_mut().poll(context));
        self.0 = None;
        Poll::Ready(match stepped {
            Ok(Some((piece, source))) => {
                self.0 = Some(step(source));
                Some(Ok(Frame::data(piece)))
            }
            Ok(None) => None,
            Err(error) => Some(Err(error)),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }
}
