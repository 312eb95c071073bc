//! One request and its answer, on a connection of their own.

use crate::{ClientError, Problem, path::Target};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, StatusCode,
    body::Incoming,
    client::conn::http1,
    header::{CONTENT_TYPE, HOST, HeaderMap, RETRY_AFTER},
};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{
    net::UnixStream,
    task::AbortHandle,
    time::{Instant, sleep, timeout, timeout_at},
};

/// How long a host takes that is not stuck.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);
/// The time between two looks at a socket whose queue of connections is full.
const PAUSE: Duration = Duration::from_millis(10);
/// The longest document that is read.
const MAX_DOCUMENT: usize = 256 << 20;

/// The beginning of an answer, and what brings the rest.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    headers: HeaderMap,
    body: Incoming,
    socket: PathBuf,
    _connection: Connection,
}

/// The task that a connection is; it goes with its handle.
struct Connection(AbortHandle);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Sends a request; waits at most `longest` for the beginning of the answer.
pub(crate) async fn send(
    socket: &Path,
    method: Method,
    target: &Target,
    document: Option<Bytes>,
    longest: Duration,
) -> Result<Answer, ClientError> {
    let broken = |error: hyper::Error| of_connection(socket, &error);
    let not_made = |error: hyper::http::Error| ClientError::Broken {
        socket: socket.to_owned(),
        reason: error.to_string(),
    };
    let mut request = Request::builder()
        .method(method)
        .uri(target.as_str())
        .header(HOST, "localhost");
    if document.is_some() {
        request = request.header(CONTENT_TYPE, "application/json");
    }
    let request = request
        .body(Full::new(document.unwrap_or_default()))
        .map_err(not_made)?;
    let stream = connect(socket).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let connection = Connection(tokio::spawn(connection).abort_handle());
    let (head, body) = timeout(longest, sender.send_request(request))
        .await
        .map_err(|_| silent(socket, longest))?
        .map_err(broken)?
        .into_parts();
    Ok(Answer {
        status: head.status,
        headers: head.headers,
        body,
        socket: socket.to_owned(),
        _connection: connection,
    })
}

async fn connect(socket: &Path) -> Result<UnixStream, ClientError> {
    let until = Instant::now() + TIMEOUT;
    let stream = loop {
        match timeout_at(until, UnixStream::connect(socket)).await {
            Ok(Ok(stream)) => break stream,
            // So many wait already that there is no place to wait in.
            Ok(Err(error)) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < until => {
                sleep(PAUSE).await;
            }
            Ok(Err(error)) if error.kind() != io::ErrorKind::WouldBlock => {
                return Err(ClientError::of_connecting(socket, error));
            }
            _ => return Err(silent(socket, TIMEOUT)),
        }
    };
    check_user(socket, &stream)?;
    Ok(stream)
}

/// A command is for the host of this user, or of root.
fn check_user(socket: &Path, stream: &UnixStream) -> Result<(), ClientError> {
    let peer = stream
        .peer_cred()
        .map_err(|error| ClientError::of_connecting(socket, error))?;
    // SAFETY: the call involves no memory and can't fail.
    let own = unsafe { libc::geteuid() };
    if own == 0 || peer.uid() == own || peer.uid() == 0 {
        return Ok(());
    }
    Err(ClientError::Stranger {
        socket: socket.to_owned(),
        uid: peer.uid(),
    })
}

fn silent(socket: &Path, timeout: Duration) -> ClientError {
    ClientError::Silent {
        socket: socket.to_owned(),
        timeout,
    }
}

fn of_connection(socket: &Path, error: &hyper::Error) -> ClientError {
    let socket = socket.to_owned();
    if error.is_parse() {
        let reason = error.to_string();
        return ClientError::NotUnderstood { socket, reason };
    }
    // Its cause says more, if it has one.
    let reason = match std::error::Error::source(error) {
        Some(cause) => cause.to_string(),
        None => error.to_string(),
    };
    ClientError::Broken { socket, reason }
}

impl Answer {
    /// The next piece of the body; none at its end. Waits at most `longest`, for ever without it.
    pub(crate) async fn piece(&mut self, longest: Option<Duration>) -> Result<Option<Bytes>, ClientError> {
        loop {
            let frame = match longest {
                None => self.body.frame().await,
                Some(longest) => timeout(longest, self.body.frame())
                    .await
                    .map_err(|_| silent(&self.socket, longest))?,
            };
            let frame = frame
                .transpose()
                .map_err(|error| of_connection(&self.socket, &error))?;
            match frame.map(|frame| frame.into_data()) {
                None => return Ok(None),
                Some(Ok(piece)) if !piece.is_empty() => return Ok(Some(piece)),
                // Trailers.
                Some(_) => {}
            }
        }
    }

    /// The whole body.
    pub(crate) async fn whole(&mut self) -> Result<Bytes, ClientError> {
        let mut whole = BytesMut::new();
        while let Some(piece) = self.piece(Some(TIMEOUT)).await? {
            if whole.len() + piece.len() > MAX_DOCUMENT {
                return Err(self.not_understood(format!("it has more than {MAX_DOCUMENT} bytes")));
            }
            whole.extend_from_slice(&piece);
        }
        Ok(whole.freeze())
    }

    /// The body, as a document.
    pub(crate) async fn json<T: DeserializeOwned>(&mut self) -> Result<T, ClientError> {
        let body = self.whole().await?;
        serde_json::from_slice(&body).map_err(|error| self.not_understood(error.to_string()))
    }

    /// What it says if it does not say yes.
    pub(crate) async fn or_refused(mut self) -> Result<Self, ClientError> {
        if self.status.is_success() {
            return Ok(self);
        }
        let body = self.whole().await?;
        let is_problem = self
            .headers
            .get(CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok())
            .is_some_and(|kind| kind.starts_with("application/problem+json"));
        let problem = is_problem.then(|| serde_json::from_slice::<Problem>(&body).ok());
        let Some(mut problem) = problem.flatten() else {
            return Err(self.not_understood(format!("status {}, without a problem document", self.status)));
        };
        problem.status = self.status.as_u16();
        problem.retry_after = self
            .headers
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.trim().parse().ok())
            .map(Duration::from_secs);
        Err(ClientError::Refused {
            socket: self.socket,
            problem: Box::new(problem),
        })
    }

    pub(crate) fn not_understood(&self, reason: String) -> ClientError {
        ClientError::NotUnderstood {
            socket: self.socket.clone(),
            reason,
        }
    }
}
