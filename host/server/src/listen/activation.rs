//! What systemd hands over: sockets that it listens at already, and where to tell that the host is ready.
//!
//! The variables are taken out of the environment, because runs inherit that: they would count themselves as this host.

use anyhow::{Context, Result, bail};
use sd_notify::NotifyState;
use std::{
    env,
    ffi::OsString,
    net::TcpListener,
    os::linux::net::SocketAddrExt,
    os::unix::{ffi::OsStrExt, net::SocketAddr},
    os::{
        fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd},
        unix::net::{UnixDatagram, UnixListener},
    },
};

/// What systemd sets for the process that it starts.
const VARIABLES: [&str; 6] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
];

/// A socket that is listened at already.
#[derive(Debug)]
pub(crate) enum Activated {
    /// A Unix socket.
    Unix(UnixListener),
    /// A TCP socket.
    Tcp(TcpListener),
}

/// Where the service manager is told how this process is.
#[derive(Debug, Default)]
pub(crate) struct Notifier(Option<OsString>);

impl Notifier {
    /// Tells it. That can't fail in a way that matters here.
    pub(crate) fn tell(&self, state: &NotifyState<'_>) {
        if let Some(path) = &self.0
            && let Err(error) = send(path, &format!("{state}\n"))
        {
            tracing::warn!("the service manager can't be told {state}: {error}");
        }
    }
}

fn send(path: &OsString, text: &str) -> std::io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    let address = match path.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(path)?,
    };
    socket.send_to_addr(text.as_bytes(), &address).map(drop)
}

/// Takes over what systemd has passed. For a process that has one thread only.
pub(super) fn take() -> Result<(Vec<Activated>, Notifier)> {
    if VARIABLES.iter().all(|name| env::var_os(name).is_none()) {
        return Ok((Vec::new(), Notifier::default()));
    }
    if threads()? != 1 {
        bail!("what systemd has passed can't be taken over by a process that has several threads");
    }
    let notifier = Notifier(env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty()));
    let passed = sd_notify::listen_fds();
    for name in VARIABLES {
        // SAFETY: this is the only thread, as was counted above.
        unsafe { env::remove_var(name) };
    }
    let passed: Vec<_> = passed
        .context("the sockets that were passed (LISTEN_FDS) can't be used")?
        // SAFETY: they are this process's by the protocol, and nothing else here knows them.
        .map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
        .collect();
    let sockets: Result<Vec<_>> = passed.into_iter().map(activated).collect();
    Ok((sockets?, notifier))
}

fn threads() -> Result<usize> {
    let threads =
        std::fs::read_dir("/proc/self/task").context("the threads of this process can't be counted")?;
    Ok(threads.count())
}

fn activated(socket: OwnedFd) -> Result<Activated> {
    if option(socket.as_fd(), libc::SO_ACCEPTCONN) != Some(1) {
        bail!(
            "a descriptor that was passed (LISTEN_FDS) is no listening socket; in the socket unit, use ListenStream= and Accept=no"
        );
    }
    match option(socket.as_fd(), libc::SO_DOMAIN) {
        Some(libc::AF_UNIX) => Ok(Activated::Unix(socket.into())),
        Some(libc::AF_INET | libc::AF_INET6) => Ok(Activated::Tcp(socket.into())),
        _ => bail!("a socket that was passed (LISTEN_FDS) is neither a Unix socket nor TCP"),
    }
}

/// A number that the system keeps of a socket.
fn option(socket: BorrowedFd<'_>, name: libc::c_int) -> Option<libc::c_int> {
    use std::os::fd::AsRawFd;
    let mut value: libc::c_int = 0;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: `value` and `length` are valid, and of the size that is said.
    let got = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            name,
            (&raw mut value).cast(),
            &raw mut length,
        )
    };
    (got == 0).then_some(value)
}
