//! Connections that end their waiting when the run is told to stop.
//!
//! A blocking socket can't be told anything. These are non-blocking, and wherever one would block it is
//! polled together with the host's stop descriptor: no thread watches, and a stop is noticed at once.

use super::host::HostFunctions;
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{
        AddressFamily, SockFlag, SockType, SockaddrStorage, connect, getsockopt, socket, sockopt::SocketError,
    },
};
use std::{
    fmt,
    io::{self, Read, Write},
    net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs},
    os::fd::AsFd,
    sync::{Arc, Mutex, PoisonError, mpsc},
    time::{Duration, Instant},
};
use ureq::{
    Error,
    config::Config,
    http::Uri,
    unversioned::{
        resolver::{ResolvedSocketAddrs, Resolver},
        transport::{Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport},
    },
};

/// How long a lookup waits before it looks for the request to stop again: it is the C library's, which
/// can't be polled.
const LOOKUP_SLICE: Duration = Duration::from_millis(5);

/// The run was told to stop, or its deadline has passed.
#[derive(Debug)]
pub(super) struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the run was told to stop")
    }
}

impl std::error::Error for Interrupted {}

/// The connection broke. By an error of the system `ureq` would take it for the end of a body that has no length.
#[derive(Debug)]
pub(super) struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection was lost")
    }
}

impl std::error::Error for Broken {}

/// The error of a read, which is never an end.
pub(super) fn no_end(error: Error) -> Error {
    match error {
        Error::Io(error)
            if matches!(
                error.kind(),
                io::ErrorKind::UnexpectedEof
                    | io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::ConnectionReset
            ) =>
        {
            Error::Other(Box::new(Broken))
        }
        other => other,
    }
}

/// What interrupts a wait.
#[derive(Clone, Debug)]
pub(super) struct Interrupt {
    pub(super) host: Arc<dyn HostFunctions>,
    /// Whether the request to stop and the deadline do; after the stop they don't.
    pub(super) end_on_stop: bool,
    pub(super) pause: Arc<Pause>,
}

/// A moment at which a wait is given up, for the caller to do something else and come back.
#[derive(Debug, Default)]
pub(super) struct Pause(Mutex<Option<Instant>>);

impl Pause {
    /// Gives up the waits of `work` so long from now.
    pub(super) fn after<T>(&self, time: Duration, work: impl FnOnce() -> T) -> T {
        self.set(Instant::now().checked_add(time));
        let done = work();
        self.set(None);
        done
    }

    fn set(&self, at: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }

    fn left(&self) -> Option<Duration> {
        let at = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Some(at?.saturating_duration_since(Instant::now()))
    }
}

/// A wait was given up, and can be taken up again.
#[derive(Debug)]
pub(super) struct Paused;

impl fmt::Display for Paused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing has arrived in time")
    }
}

impl std::error::Error for Paused {}

impl Interrupt {
    /// Waits until the socket is ready for `events`.
    fn wait(&self, socket: &TcpStream, events: PollFlags, timeout: NextTimeout) -> Result<(), Error> {
        let limit = timeout
            .not_zero()
            .and_then(|after| Instant::now().checked_add(*after));
        loop {
            let left = limit.map(|limit| limit.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Err(Error::Timeout(timeout.reason));
            }
            let deadline = self.host.remaining().filter(|_| self.end_on_stop);
            let pause = self.pause.left();
            let mut descriptors = vec![PollFd::new(socket.as_fd(), events)];
            if self.end_on_stop {
                descriptors.push(PollFd::new(self.host.stop_descriptor(), PollFlags::POLLIN));
            }
            let polled = poll(
                &mut descriptors,
                poll_timeout(left.into_iter().chain(deadline).chain(pause).min()),
            );
            let ready = |index: usize| {
                let descriptor: Option<&PollFd<'_>> = descriptors.get(index);
                descriptor.and_then(PollFd::any).unwrap_or(false)
            };
            match polled {
                Ok(_) if ready(1) || deadline.is_some_and(|left| left.is_zero()) => {
                    return Err(Error::Other(Box::new(Interrupted)));
                }
                Ok(_) if ready(0) => return Ok(()),
                Ok(_) if pause.is_some_and(|left| left.is_zero()) => {
                    return Err(Error::Other(Box::new(Paused)));
                }
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(io::Error::from(errno).into()),
            }
        }
    }

    fn check(&self) -> Result<(), Error> {
        if self.end_on_stop && self.host.stop_requested() {
            return Err(Error::Other(Box::new(Interrupted)));
        }
        Ok(())
    }
}

/// In whole milliseconds, rounded up, so that time is really over when the poll ends.
fn poll_timeout(time: Option<Duration>) -> PollTimeout {
    let Some(time) = time else {
        return PollTimeout::NONE;
    };
    let milliseconds = time.as_nanos().div_ceil(1_000_000);
    PollTimeout::try_from(milliseconds).unwrap_or(PollTimeout::MAX)
}

/// Opens TCP connections.
#[derive(Debug)]
pub(super) struct SocketConnector(pub(super) Interrupt);

impl<In: Transport> Connector<In> for SocketConnector {
    type Out = Either<In, SocketTransport>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        if let Some(tunnel) = chained {
            return Ok(Some(Either::A(tunnel)));
        }
        let mut last = Error::HostNotFound;
        for address in &details.addrs {
            match connect_one(*address, &self.0, details.timeout) {
                Ok(stream) => {
                    let config = details.config;
                    let buffers = LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size());
                    return Ok(Some(Either::B(SocketTransport {
                        stream,
                        buffers,
                        interrupt: self.0.clone(),
                    })));
                }
                // The next address may do.
                Err(Error::Io(error)) => last = Error::Io(error),
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }
}

fn connect_one(address: SocketAddr, interrupt: &Interrupt, timeout: NextTimeout) -> Result<TcpStream, Error> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let open = socket(family, SockType::Stream, flags, None).map_err(io::Error::from)?;
    let stream = TcpStream::from(open);
    match connect(
        std::os::fd::AsRawFd::as_raw_fd(&stream),
        &SockaddrStorage::from(address),
    ) {
        Ok(()) => {}
        Err(Errno::EINPROGRESS | Errno::EINTR) => {
            interrupt.wait(&stream, PollFlags::POLLOUT, timeout)?;
            match getsockopt(&stream, SocketError).map_err(io::Error::from)? {
                0 => {}
                error => return Err(io::Error::from_raw_os_error(error).into()),
            }
        }
        Err(errno) => return Err(io::Error::from(errno).into()),
    }
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// One connection.
#[derive(Debug)]
pub(super) struct SocketTransport {
    stream: TcpStream,
    buffers: LazyBuffers,
    interrupt: Interrupt,
}

impl Transport for SocketTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let timeout = timeout.for_write();
        let mut rest = &self.buffers.output()[..amount];
        while !rest.is_empty() {
            match (&self.stream).write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.interrupt.wait(&self.stream, PollFlags::POLLOUT, timeout)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let timeout = timeout.for_read();
        // A server that drips bytes makes every read succeed at once.
        self.interrupt.check()?;
        loop {
            match (&self.stream).read(self.buffers.input_append_buf()) {
                Ok(amount) => {
                    self.buffers.input_appended(amount);
                    return Ok(amount > 0);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.interrupt.wait(&self.stream, PollFlags::POLLIN, timeout)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(no_end(error.into())),
            }
        }
    }

    fn is_open(&mut self) -> bool {
        // An idle connection has nothing to say; bytes or an end mean that it can't be used again.
        matches!((&self.stream).read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

/// Looks names up, on a thread of its own: the C library's lookup can't be interrupted.
#[derive(Debug)]
pub(super) struct InterruptibleResolver(pub(super) Interrupt);

impl Resolver for InterruptibleResolver {
    fn resolve(
        &self,
        uri: &Uri,
        _config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let host = uri.host().unwrap_or_default();
        let standard_port = if uri.scheme_str() == Some("https") {
            443
        } else {
            80
        };
        let port = uri.port_u16().unwrap_or(standard_port);
        let mut found = self.empty();
        let literal = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse::<IpAddr>();
        if let Ok(address) = literal {
            found.push(SocketAddr::new(address, port));
            return Ok(found);
        }
        for address in self.look_up(host, port, timeout)?.into_iter().take(16) {
            found.push(address);
        }
        if found.is_empty() {
            Err(Error::HostNotFound)
        } else {
            Ok(found)
        }
    }
}

impl InterruptibleResolver {
    fn look_up(&self, host: &str, port: u16, timeout: NextTimeout) -> Result<Vec<SocketAddr>, Error> {
        let limit = timeout
            .not_zero()
            .and_then(|after| Instant::now().checked_add(*after));
        let (sender, receiver) = mpsc::sync_channel(1);
        let name = host.to_owned();
        // It may outlive the request, but not the run: the process ends with that.
        std::thread::Builder::new().spawn(move || {
            let found = (name.as_str(), port).to_socket_addrs();
            sender.send(found.map(Vec::from_iter)).ok()
        })?;
        loop {
            match receiver.recv_timeout(LOOKUP_SLICE) {
                Ok(found) => return found.map_err(|error| lookup_error(&error)),
                Err(mpsc::RecvTimeoutError::Disconnected) => return Err(Error::HostNotFound),
                Err(mpsc::RecvTimeoutError::Timeout) => self.0.check()?,
            }
            if limit.is_some_and(|limit| Instant::now() >= limit) {
                return Err(Error::Timeout(timeout.reason));
            }
        }
    }
}

/// A lookup that failed, told apart from a connection that did.
#[derive(Debug)]
pub(super) struct LookupFailed(pub(super) String);

impl fmt::Display for LookupFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for LookupFailed {}

fn lookup_error(error: &io::Error) -> Error {
    let text = error.to_string();
    // The standard library's own prefix says what the summary says already.
    let reason = text.strip_prefix("failed to lookup address information: ");
    Error::Other(Box::new(LookupFailed(reason.unwrap_or(&text).to_lowercase())))
}
