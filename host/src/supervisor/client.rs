//! The host's side: starts the spawner, hands it jobs, waits for reports.

use super::{
    descendants,
    job::{Job, Report},
    memory, spawner,
    sys::{self, Forked},
    wire::{
        ATTACHED_CHANNEL, CONTROL_KILL, CONTROL_TERMINATE, ORDER_ABANDON, ORDER_SUPERVISE, Order, RawReport,
        Swept,
    },
};
use crate::cancel::{CancelReason, CancelToken};
use nix::{
    errno::Errno,
    sys::{
        memfd::{MFdFlags, memfd_create},
        signal::{SigSet, SigmaskHow, pthread_sigmask},
    },
};
use std::{
    fs::File,
    io::{self, Write},
    os::fd::{AsFd, AsRawFd, OwnedFd},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::io::unix::AsyncFd;

/// How long after the moment at which it should have ended a job, a supervisor that says nothing (it may have
/// been stopped by what it supervises) is given up on. The spawner then ends the job.
const OVERDUE: Duration = Duration::from_secs(2);

/// The spawner of this host, and the way to it.
///
/// Start it early: before threads, and before the process becomes large.
#[derive(Debug)]
pub(crate) struct Supervisors {
    link: Mutex<Arc<Link>>,
    next_job: AtomicU64,
}

/// A job could not even be handed over.
#[derive(Debug, thiserror::Error)]
#[error("no supervisor could be started: {0}")]
pub(crate) struct StartFailed(#[source] pub(crate) io::Error);

/// A supervisor ended without a report.
#[derive(Debug)]
pub(crate) struct Lost {
    /// Whether it is certain that nothing of the job is left.
    pub(crate) swept: bool,
    /// Whether the host itself gave it up because it did not answer in time.
    pub(crate) overdue: bool,
}

impl Supervisors {
    /// Forks the spawner.
    pub(crate) fn start() -> io::Result<Self> {
        if !descendants::can_list_children() {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "/proc/thread-self/children can't be read: supervision needs /proc and a kernel with CONFIG_PROC_CHILDREN",
            ));
        }
        Ok(Self {
            link: Mutex::new(Arc::new(Link::start()?)),
            next_job: AtomicU64::new(0),
        })
    }

    /// Hands over a job. Its descriptors are closed on this side.
    pub(crate) fn supervise(&self, job: Job) -> Result<Supervised, StartFailed> {
        self.try_supervise(job).map_err(StartFailed)
    }

    fn try_supervise(&self, job: Job) -> io::Result<Supervised> {
        let (ours, theirs) = sys::socket_pair(libc::SOCK_NONBLOCK)?;
        // The supervisor polls before it reads, so both ends may be non-blocking.
        let mut spec = File::from(memfd_create(c"executor-runtime-job", MFdFlags::MFD_CLOEXEC)?);
        spec.write_all(&job.encode())?;
        let id = self.next_job.fetch_add(1, Ordering::Relaxed);
        let mut fds = vec![
            theirs.as_raw_fd(),
            spec.as_raw_fd(),
            job.cwd.as_raw_fd(),
            job.stdin.as_raw_fd(),
            job.stdout.as_raw_fd(),
            job.stderr.as_raw_fd(),
            job.lock.as_raw_fd(),
        ];
        fds.extend(job.channel.as_ref().map(AsRawFd::as_raw_fd));
        let attached = if job.channel.is_some() {
            ATTACHED_CHANNEL
        } else {
            0
        };
        let order = Order {
            tag: ORDER_SUPERVISE,
            attached,
            job: id,
        };
        let link = self.send(&order, &fds)?;
        let ends_after = job.time_left.map(|left| left.saturating_add(job.grace));
        Ok(Supervised {
            control: ours,
            id,
            link,
            ends_after,
            grace: job.grace,
        })
    }

    /// Sends an order, to a new spawner if the old one has died.
    fn send(&self, order: &Order, fds: &[libc::c_int]) -> io::Result<Arc<Link>> {
        let mut link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        match sys::send(link.socket.as_raw_fd(), order, fds) {
            Ok(()) => return Ok(link.clone()),
            Err(Errno::EPIPE | Errno::ECONNRESET | Errno::ENOTCONN) => {}
            Err(errno) => return Err(errno.into()),
        }
        *link = Arc::new(Link::start()?);
        sys::send(link.socket.as_raw_fd(), order, fds)?;
        Ok(link.clone())
    }
}

/// A living spawner.
#[derive(Debug)]
struct Link {
    socket: OwnedFd,
    pid: libc::pid_t,
    /// Held by whoever waits for an answer.
    answers: Mutex<()>,
}

impl Link {
    fn start() -> io::Result<Self> {
        let (ours, theirs) = sys::socket_pair(0)?;
        // A handler of the host's must not run in the child, where it would speak to the host's descriptors.
        let mut before = SigSet::empty();
        pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut before))?;
        // SAFETY: the child calls only what may be called after `fork` and does not return.
        let forked = unsafe { sys::fork() };
        if let Ok(Forked::Child) = forked {
            memory::drop_inherited();
            spawner::serve(sys::raw(theirs.as_fd()))
        }
        pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
        match forked? {
            Forked::Parent(pid) => Ok(Self {
                socket: ours,
                pid,
                answers: Mutex::new(()),
            }),
            Forked::Child => unreachable!("the child serves"),
        }
    }

    /// Has the spawner end a job whose supervisor failed; true once nothing of it is left.
    fn abandon(&self, job: u64) -> bool {
        let _waiting = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let order = Order {
            tag: ORDER_ABANDON,
            attached: 0,
            job,
        };
        if sys::send(self.socket.as_raw_fd(), &order, &[]).is_err() {
            return false;
        }
        loop {
            match sys::receive::<Swept>(self.socket.as_raw_fd(), 0) {
                Ok(Some((swept, _))) if swept.job == job => return true,
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return false,
            }
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // Without the socket the spawner ends what is left, and then itself.
        // SAFETY: no memory is involved; the descriptor stays valid until the field is dropped.
        unsafe { libc::shutdown(self.socket.as_raw_fd(), libc::SHUT_RDWR) };
        let mut status = 0;
        // SAFETY: `status` is valid for writing.
        while unsafe { libc::waitpid(self.pid, &raw mut status, 0) } < 0 && Errno::last() == Errno::EINTR {}
    }
}

/// A job under way. Dropping it ends the job at once.
#[derive(Debug)]
pub(crate) struct Supervised {
    control: OwnedFd,
    id: u64,
    link: Arc<Link>,
    /// From start to the last moment at which the supervisor ends it by itself.
    ends_after: Option<Duration>,
    grace: Duration,
}

impl Supervised {
    /// Waits until nothing of the job is left; passes on what `cancel` asks for.
    pub(crate) async fn finish(self, cancel: &CancelToken) -> Result<Report, Lost> {
        let Self {
            control,
            id,
            link,
            ends_after,
            grace,
        } = self;
        // SAFETY: the descriptor is owned by the `AsyncFd` and is not replaced while it is registered.
        let Ok(control) = (unsafe { AsyncFd::register(control) }) else {
            return Err(give_up(link, id, false).await);
        };
        let mut asked = None;
        let mut overdue = overdue_after(ends_after);
        loop {
            let next_urgency = match asked {
                None => CancelReason::Requested,
                Some(_) => CancelReason::Immediate,
            };
            tokio::select! {
                biased;
                received = receive_report(&control) => match received {
                    Some(raw) => return Ok(raw.into()),
                    None => return Err(give_up(link, id, false).await),
                },
                () = cancel.raised(next_urgency), if asked != Some(CancelReason::Immediate) => {
                    asked = cancel.reason();
                    let (word, wait) = match asked {
                        Some(CancelReason::Immediate) => (CONTROL_KILL, Duration::ZERO),
                        _ => (CONTROL_TERMINATE, grace),
                    };
                    // If the supervisor is gone, the next turn finds out.
                    let _ = nix::unistd::write(control.get_ref(), &[word]);
                    overdue = overdue_after(Some(wait));
                }
                () = wait_for(&mut overdue) => return Err(give_up(link, id, true).await),
            }
        }
    }
}

type Overdue = Option<std::pin::Pin<Box<tokio::time::Sleep>>>;

/// A timer for the moment at which a supervisor that says nothing is given up on.
fn overdue_after(ends_after: Option<Duration>) -> Overdue {
    Some(Box::pin(tokio::time::sleep(ends_after?.checked_add(OVERDUE)?)))
}

async fn wait_for(overdue: &mut Overdue) {
    match overdue {
        Some(timer) => timer.await,
        None => std::future::pending().await,
    }
}

async fn receive_report(control: &AsyncFd<OwnedFd>) -> Option<RawReport> {
    loop {
        let mut ready = control.readable().await.ok()?;
        match sys::receive::<RawReport>(control.as_raw_fd(), libc::MSG_DONTWAIT) {
            Ok(received) => return received.map(|(report, _)| report),
            Err(Errno::EAGAIN) => ready.clear_ready(),
            Err(_) => return None,
        }
    }
}

async fn give_up(link: Arc<Link>, job: u64, overdue: bool) -> Lost {
    let swept = tokio::task::spawn_blocking(move || link.abandon(job))
        .await
        .unwrap_or(false);
    Lost { swept, overdue }
}
