//! One connection: HTTP/1.1 with bounds on everything that a client could make large or long.

use crate::{api::Ending, listen::Incoming};
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use std::{
    io,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep, timeout},
};

/// How long a client may take for the head of a request, and be silent between two.
const HEAD_DEADLINE: Duration = Duration::from_secs(60);
/// How long a client may take until its connection is encrypted.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
/// How long a client may not read what is written to it. It can go on where it was with a new connection.
const STALL_DEADLINE: Duration = Duration::from_secs(300);
/// The longest head of a request, in bytes.
const MAX_HEAD: usize = 64 << 10;

/// Serves a connection until either side ends it, or this process does.
pub(crate) async fn serve(incoming: Incoming, router: Router, ending: Ending) {
    match incoming {
        Incoming::Unix(stream) => http(stream, router, ending).await,
        Incoming::Tcp(stream) => http(stream, router, ending).await,
        Incoming::Tls(stream, tls) => {
            // The deadline for writing is below the encryption, which buffers.
            let handshake = timeout(HANDSHAKE_DEADLINE, tls.accept(Stalling::new(stream)));
            match handshake.await {
                Ok(Ok(stream)) => http(stream, router, ending).await,
                Ok(Err(error)) => tracing::debug!("a connection was not encrypted: {error}"),
                Err(_) => tracing::debug!("a connection was not encrypted in time"),
            }
        }
    }
}

async fn http(stream: impl AsyncRead + AsyncWrite + Send + Unpin, router: Router, mut ending: Ending) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_header_size(MAX_HEAD)
        .max_buf_size(2 * MAX_HEAD)
        .serve_connection(
            TokioIo::new(Stalling::new(stream)),
            TowerToHyperService::new(router),
        );
    let mut connection = pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = ending.reached() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!("a connection has ended: {error}");
    }
}

/// A stream whose writing fails if the other side does not read for too long.
struct Stalling<S> {
    stream: S,
    /// Runs while writing can't go on.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<S> Stalling<S> {
    fn new(stream: S) -> Self {
        Self {
            stream,
            deadline: None,
        }
    }

    /// Passes on how writing went, unless it has not gone on for too long.
    fn watched<T>(&mut self, context: &mut Context<'_>, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            self.deadline = None;
            return poll;
        }
        let deadline = self
            .deadline
            .get_or_insert_with(|| Box::pin(sleep(STALL_DEADLINE)));
        match deadline.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stalling<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stalling<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watched(context, poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.watched(context, poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_flush(context);
        self.watched(context, poll)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_shutdown(context);
        self.watched(context, poll)
    }
}
