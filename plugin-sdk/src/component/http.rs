//! Requests through WASI HTTP.

use super::{
    Host,
    bindings::wasi::{
        clocks::monotonic_clock,
        http::{
            outgoing_handler,
            types::{
                ErrorCode, Fields, FutureIncomingResponse, IncomingBody, IncomingResponse, Method,
                OutgoingBody, OutgoingRequest, Scheme, http_error_code,
            },
        },
        io::streams::{InputStream, OutputStream, StreamError},
    },
    http_error,
    wait::{Stop, Waiter, Woken, nanoseconds},
};
use crate::{
    Copied,
    http::{HttpError, Payload, WaitLimits},
};
use ::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, request};
use std::{
    io::{Cursor, ErrorKind, Read},
    time::Duration,
};

/// Bytes of a request's body that are read at a time.
const CHUNK: usize = 16 * 1024;
/// Bytes of a response that are looked at before more are moved.
const PROBE: usize = 4 * 1024;
/// Bytes of a body that are written before the request is sent.
const AHEAD: u64 = 64 * 1024;

#[derive(Debug)]
pub(crate) struct Transport {
    stop: Stop,
}

/// What an exchange knows while it waits.
#[derive(Debug)]
struct Exchange {
    host: String,
    wait_limits: WaitLimits,
    waiter: Waiter,
}

impl Exchange {
    fn interrupted(&self, woken: Woken) -> Result<(), HttpError> {
        match woken {
            Woken::Ready => Ok(()),
            Woken::Stopped => Err(WaitLimits::stopped(Host::time_left())),
            Woken::TimedOut => Err(self.wait_limits.timed_out(&self.host)),
        }
    }
}

impl Transport {
    pub(crate) fn new(host: &Host) -> Self {
        Self {
            stop: host.stop.clone(),
        }
    }

    pub(crate) fn send(
        &self,
        head: request::Parts,
        payload: Payload<'_>,
        wait_limits: WaitLimits,
    ) -> Result<Response<BodyStream>, HttpError> {
        let exchange = Exchange {
            host: head.uri.authority().map(ToString::to_string).unwrap_or_default(),
            wait_limits,
            waiter: Waiter::new(&self.stop, wait_limits),
        };
        let request = outgoing(&head)?;
        let upload = Upload::begin(&request, payload, &exchange)?;
        let future = outgoing_handler::handle(request, None).map_err(|code| exchange.error(&code))?;
        let unfinished = match upload {
            Some(upload) => upload.write(&future, &exchange)?,
            None => None,
        };
        let response = receive(&future, &exchange)?;
        let status = StatusCode::from_u16(response.status())
            .map_err(|_| exchange.protocol(format!("status {}", response.status())))?;
        let headers = headers(&response);
        let Ok(body) = response.consume() else {
            return Err(exchange.other("the response has no body"));
        };
        let Ok(stream) = body.stream() else {
            return Err(exchange.other("the response's body has no stream"));
        };
        let mut answer = Response::new(BodyStream {
            stream,
            _body: body,
            _response: response,
            _unfinished: unfinished,
            exchange,
        });
        *answer.status_mut() = status;
        *answer.headers_mut() = headers;
        Ok(answer)
    }
}

fn outgoing(head: &request::Parts) -> Result<OutgoingRequest, HttpError> {
    let invalid = |what: &str| HttpError::InvalidRequest {
        reason: format!("the host refused its {what}"),
    };
    let fields = Fields::new();
    for (name, value) in &head.headers {
        if fields.append(name.as_str(), value.as_bytes()).is_err() {
            return Err(invalid(&format!("header '{name}'")));
        }
    }
    let request = OutgoingRequest::new(fields);
    let method = match head.method.as_str() {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "CONNECT" => Method::Connect,
        "OPTIONS" => Method::Options,
        "TRACE" => Method::Trace,
        "PATCH" => Method::Patch,
        other => Method::Other(other.to_owned()),
    };
    let scheme = match head.uri.scheme_str() {
        Some("https") => Scheme::Https,
        _ => Scheme::Http,
    };
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    request.set_method(&method).map_err(|()| invalid("method"))?;
    request
        .set_scheme(Some(&scheme))
        .map_err(|()| invalid("scheme"))?;
    request
        .set_authority(head.uri.authority().map(|authority| authority.as_str()))
        .map_err(|()| invalid("host"))?;
    request
        .set_path_with_query(Some(target))
        .map_err(|()| invalid("path"))?;
    Ok(request)
}

/// A body that is still to be written when the request is under way.
struct Upload<'a> {
    body: OutgoingBody,
    stream: OutputStream,
    left: Box<dyn Read + 'a>,
}

impl<'a> Upload<'a> {
    /// Writes a small body at once, so that the host has the whole request when it begins to send it. None if
    /// nothing is left to write.
    fn begin(
        request: &OutgoingRequest,
        payload: Payload<'a>,
        exchange: &Exchange,
    ) -> Result<Option<Self>, HttpError> {
        let (left, small) = match payload {
            Payload::Empty => return Ok(None),
            Payload::Sized(reader, length) => (reader, length <= AHEAD),
            Payload::Streamed(reader) => (reader, false),
        };
        let Ok(body) = request.body() else {
            return Err(exchange.other("the request has no body to write to"));
        };
        let Ok(stream) = body.write() else {
            return Err(exchange.other("the request's body has no stream"));
        };
        let mut upload = Self { body, stream, left };
        if small && upload.write_ahead()? {
            upload.finish(exchange)?;
            return Ok(None);
        }
        Ok(Some(upload))
    }

    /// Whether the host took all of it.
    fn write_ahead(&mut self) -> Result<bool, HttpError> {
        let mut bytes = Vec::new();
        self.left.read_to_end(&mut bytes).map_err(|e| unreadable(&e))?;
        let room = self.stream.check_write().unwrap_or(0);
        let taken = bytes.len() as u64 <= room && self.stream.write(&bytes).is_ok();
        if !taken {
            self.left = Box::new(Cursor::new(bytes));
        }
        Ok(taken)
    }

    /// Writes the rest. A body that the server did not want to read to its end before it answered is handed
    /// back: dropping it would break the exchange off.
    fn write(
        mut self,
        future: &FutureIncomingResponse,
        exchange: &Exchange,
    ) -> Result<Option<OutgoingBody>, HttpError> {
        let mut buffer = [0; CHUNK];
        loop {
            let len = match self.left.read(&mut buffer) {
                Ok(0) => break,
                Ok(len) => len,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(unreadable(&error)),
            };
            if write_all(&self.stream, &buffer[..len], future, exchange)? == Taken::NotAll {
                drop(self.stream);
                return Ok(Some(self.body));
            }
        }
        self.finish(exchange).map(|()| None)
    }

    fn finish(self, exchange: &Exchange) -> Result<(), HttpError> {
        drop(self.stream);
        OutgoingBody::finish(self.body, None).map_err(|code| exchange.error(&code))
    }
}

fn unreadable(error: &std::io::Error) -> HttpError {
    HttpError::Body {
        reason: error.to_string(),
    }
}

#[derive(PartialEq, Eq)]
enum Taken {
    All,
    /// The connection takes no more: the answer, or the error, is there.
    NotAll,
}

fn write_all(
    stream: &OutputStream,
    mut bytes: &[u8],
    future: &FutureIncomingResponse,
    exchange: &Exchange,
) -> Result<Taken, HttpError> {
    while !bytes.is_empty() {
        let room = match stream.check_write() {
            Ok(0) => {
                let (writable, answered) = (stream.subscribe(), future.subscribe());
                exchange.interrupted(exchange.waiter.wait(&[&writable, &answered]))?;
                if !writable.ready() && answered.ready() {
                    return Ok(Taken::NotAll);
                }
                continue;
            }
            Ok(room) => usize::try_from(room).unwrap_or(usize::MAX),
            Err(_) => return Ok(Taken::NotAll),
        };
        let (now, later) = bytes.split_at(bytes.len().min(room));
        if stream.write(now).is_err() {
            return Ok(Taken::NotAll);
        }
        bytes = later;
    }
    Ok(Taken::All)
}

fn receive(future: &FutureIncomingResponse, exchange: &Exchange) -> Result<IncomingResponse, HttpError> {
    let answered = future.subscribe();
    loop {
        match future.get() {
            Some(Ok(Ok(response))) => return Ok(response),
            Some(Ok(Err(code))) => return Err(exchange.error(&code)),
            Some(Err(())) => return Err(exchange.other("the response was taken before")),
            None => exchange.interrupted(exchange.waiter.wait(&[&answered]))?,
        }
    }
}

fn headers(response: &IncomingResponse) -> HeaderMap {
    let entries = response.headers().entries();
    let pairs = entries.into_iter().filter_map(|(name, value)| {
        Some((
            HeaderName::from_bytes(name.as_bytes()).ok()?,
            HeaderValue::from_bytes(&value).ok()?,
        ))
    });
    // Collecting would keep the last of several values; appending keeps all.
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(name, value);
    }
    headers
}

impl Exchange {
    fn error(&self, code: &ErrorCode) -> HttpError {
        http_error::from_code(code, &self.host)
    }

    fn other(&self, reason: &str) -> HttpError {
        HttpError::Other {
            host: self.host.clone(),
            reason: reason.to_owned(),
        }
    }

    fn protocol(&self, reason: String) -> HttpError {
        HttpError::Protocol {
            host: self.host.clone(),
            reason,
        }
    }
}

/// The body of a response. Fields are dropped in this order: children first.
#[derive(Debug)]
pub(crate) struct BodyStream {
    stream: InputStream,
    _body: IncomingBody,
    _response: IncomingResponse,
    _unfinished: Option<OutgoingBody>,
    exchange: Exchange,
}

impl BodyStream {
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, HttpError> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            match self.stream.read(buffer.len() as u64) {
                Ok(bytes) if bytes.is_empty() => self.wait_readable()?,
                Ok(bytes) => {
                    buffer[..bytes.len()].copy_from_slice(&bytes);
                    return Ok(bytes.len());
                }
                Err(error) => return self.ended(error),
            }
        }
    }

    pub(crate) fn read_within(
        &mut self,
        time: Duration,
        buffer: &mut [u8],
    ) -> Result<Option<usize>, HttpError> {
        let until = monotonic_clock::subscribe_duration(nanoseconds(time));
        while !buffer.is_empty() {
            match self.stream.read(buffer.len() as u64) {
                Ok(bytes) if bytes.is_empty() => {
                    let readable = self.stream.subscribe();
                    let woken = self.exchange.waiter.wait(&[&readable, &until]);
                    self.exchange.interrupted(woken)?;
                    if !readable.ready() && until.ready() {
                        return Ok(None);
                    }
                }
                Ok(bytes) => {
                    buffer[..bytes.len()].copy_from_slice(&bytes);
                    return Ok(Some(bytes.len()));
                }
                Err(error) => return self.ended(error).map(Some),
            }
        }
        Ok(Some(0))
    }

    /// What a read comes to that brings nothing: the end, or an error.
    fn ended(&self, error: StreamError) -> Result<usize, HttpError> {
        match error {
            StreamError::Closed => Ok(0),
            StreamError::LastOperationFailed(error) => Err(match http_error_code(&error) {
                Some(code) => self.exchange.error(&code),
                None => self.exchange.other(&error.to_debug_string()),
            }),
        }
    }

    /// Moves what is left into an artifact's stream; most bytes stay with the host.
    ///
    /// A full file is asked for room only when there is something to write: asking marks it as cut off.
    pub(super) fn splice_into(
        &mut self,
        file: &OutputStream,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Copied, HttpError> {
        let mut buffer = [0; PROBE];
        let mut bytes = 0;
        loop {
            let length = self.read(&mut buffer)?;
            if length == 0 {
                return Ok(Copied::Whole(bytes));
            }
            let mut rest = &buffer[..length];
            let mut room = 0;
            while !rest.is_empty() {
                room = match self.room(file)? {
                    Some(room) => room,
                    None => return Ok(Copied::Capped(bytes)),
                };
                let (now, later) = rest.split_at(rest.len().min(usize::try_from(room).unwrap_or(usize::MAX)));
                // What went wrong with the file, finishing it tells.
                if file.write(now).is_err() {
                    return Ok(Copied::Capped(bytes));
                }
                bytes += now.len() as u64;
                room -= now.len() as u64;
                rest = later;
                progress(bytes);
            }
            while room > 0 {
                if self.room(file)?.is_none() {
                    return Ok(Copied::Capped(bytes));
                }
                match file.splice(&self.stream, room) {
                    Ok(0) => self.wait_readable()?,
                    Ok(more) => {
                        bytes += more;
                        room -= more;
                        progress(bytes);
                    }
                    Err(StreamError::Closed) => return Ok(Copied::Whole(bytes)),
                    Err(StreamError::LastOperationFailed(error)) => {
                        return match http_error_code(&error) {
                            Some(code) => Err(self.exchange.error(&code)),
                            None => Err(self.exchange.other(&error.to_debug_string())),
                        };
                    }
                }
            }
        }
    }

    /// Waits until the file takes bytes, and says how many; none if it takes no more.
    fn room(&self, file: &OutputStream) -> Result<Option<u64>, HttpError> {
        loop {
            match file.check_write() {
                Ok(0) => {
                    let writable = file.subscribe();
                    self.exchange
                        .interrupted(self.exchange.waiter.wait(&[&writable]))?;
                }
                Ok(room) => return Ok(Some(room)),
                Err(_) => return Ok(None),
            }
        }
    }

    fn wait_readable(&self) -> Result<(), HttpError> {
        let readable = self.stream.subscribe();
        self.exchange.interrupted(self.exchange.waiter.wait(&[&readable]))
    }
}
