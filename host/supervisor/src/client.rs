//! The host's side: starts the spawner, hands it jobs, waits for reports.

use crate::{
    descendants,
    job::{Job, Report},
    spawner,
    spawner_process::{SWEEP, Spawner, Supervisor, receive_until},
    sys,
    target::Target,
    wire::{
        ATTACHED_CHANNEL, ATTACHED_OUTPUT_EVENT, ATTACHED_SPEC, MAX_INLINE_SPEC, ORDER_JOB, ORDER_KILL,
        ORDER_RECRUIT, ORDER_TERMINATE, Order, RawReport,
    },
};
use nix::{
    errno::Errno,
    sys::memfd::{MFdFlags, memfd_create},
};
use std::{
    fs::File,
    future::Future,
    io::{self, Write},
    os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd},
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};
use tokio::io::{Interest, unix::AsyncFd};

/// How long after the moment at which it should have ended a job, a supervisor that says nothing (it may have
/// been stopped by what it supervises) is given up on. The spawner then ends the job.
const OVERDUE: Duration = Duration::from_secs(2);

/// How many supervisors are kept for later jobs at most.
const MAX_IDLE: usize = 32;

/// The spawner of this host and its supervisors.
///
/// Start it early: before threads, and before the process becomes large.
#[derive(Debug)]
pub struct Supervisors {
    /// None before the first job of those that start [on demand](Supervisors::on_demand).
    spawner: Mutex<Option<Arc<Spawner>>>,
    idle: Mutex<Vec<Supervisor>>,
    next_id: AtomicU64,
    /// Nothing is kept for a later job.
    once: bool,
}

/// Becomes a spawner for the host at the other end of `socket`, whose jobs run `entry` instead of a program:
/// each in a process of its own, on a copy of the memory as it is now.
///
/// Of the open descriptors the spawner keeps `kept`; a job's process has none of them. This process has to have one
/// thread, or threads that hold no lock.
pub fn serve_entry(socket: OwnedFd, kept: OwnedFd, entry: fn() -> !) -> ! {
    spawner::serve(
        socket.into_raw_fd(),
        Some(kept.into_raw_fd()),
        Target::Entry(entry),
    )
}

/// A job could not even be handed over.
#[derive(Debug, thiserror::Error)]
#[error("no supervisor could be started: {0}")]
pub struct StartFailed(#[source] pub io::Error);

/// A supervisor ended without a report.
#[derive(Debug)]
pub struct Lost {
    /// Whether it is certain that nothing of the job is left.
    pub swept: bool,
    /// Whether the host itself gave it up because it did not answer in time.
    pub overdue: bool,
}

impl Supervisors {
    /// Forks the spawner, and has it fork a first supervisor, which is ready by the time that it is needed.
    pub fn start() -> io::Result<Self> {
        let supervisors = Self::on_demand();
        let first = supervisors.recruit()?;
        supervisors.dismiss(first);
        Ok(supervisors)
    }

    /// Forks nothing before the first job: for a process that is likely to have none, or can afford to start late.
    pub fn on_demand() -> Self {
        Self::with_spawner(None)
    }

    fn with_spawner(spawner: Option<Spawner>) -> Self {
        Self {
            spawner: Mutex::new(spawner.map(Arc::new)),
            idle: Mutex::default(),
            next_id: AtomicU64::new(0),
            once: false,
        }
    }

    /// Has spawner and supervisor end as soon as the first job does, while the host is still busy with what came of it.
    /// A later job is possible, and starts new ones.
    #[must_use]
    pub fn for_one_job(mut self) -> Self {
        self.once = true;
        self
    }

    /// Uses a spawner that another process has started: the process at the other end of `socket`, in
    /// [`serve_entry`]. When it has died, no job can be handed over any more.
    pub fn attach(socket: OwnedFd) -> Self {
        Self::with_spawner(Some(Spawner::attach(socket)))
    }

    /// Hands over a job. Its descriptors are closed on this side.
    pub fn supervise(&self, job: Job) -> Result<Supervised<'_>, StartFailed> {
        self.try_supervise(job).map_err(StartFailed)
    }

    fn try_supervise(&self, job: Job) -> io::Result<Supervised<'_>> {
        let mut spec = job.encode();
        let spec_file = if spec.len() > MAX_INLINE_SPEC {
            Some(memory_file(&std::mem::take(&mut spec))?)
        } else {
            None
        };
        let fixed = [&job.cwd, &job.stdin, &job.stdout, &job.stderr, &job.lock];
        let mut fds = fixed.map(|fd| sys::raw(fd.as_fd())).to_vec();
        let mut attached = 0;
        for (optional, bit) in [
            (&spec_file, ATTACHED_SPEC),
            (&job.channel, ATTACHED_CHANNEL),
            (&job.output_event, ATTACHED_OUTPUT_EVENT),
        ] {
            if let Some(fd) = optional {
                fds.push(fd.as_raw_fd());
                attached |= bit;
            }
        }
        let order = Order {
            tag: ORDER_JOB,
            attached,
            supervisor: 0,
        };

        let supervisor = loop {
            let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let fresh = kept.is_none();
            let supervisor = kept.map_or_else(|| self.recruit(), Ok)?;
            match sys::send_with_tail(supervisor.control.as_raw_fd(), &order, &spec, &fds) {
                Ok(()) => break supervisor,
                // It was killed while it had nothing to do.
                Err(Errno::EPIPE | Errno::ECONNRESET) if !fresh => {}
                Err(errno) => return Err(supervisor.refusal().unwrap_or(errno).into()),
            }
        };
        let ends_after = job.time_left.map(|left| left.saturating_add(job.grace));
        Ok(Supervised {
            supervisors: self,
            supervisor,
            ends_after,
            grace: job.grace,
        })
    }

    /// Has a supervisor forked, by a new spawner if there is none yet or the old one has died.
    fn recruit(&self) -> io::Result<Supervisor> {
        // The supervisor blocks where it waits for a job, and polls otherwise; this side never blocks.
        let (ours, theirs) = sys::socket_pair()?;
        sys::set_nonblocking(ours.as_fd())?;
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let order = Order {
            tag: ORDER_RECRUIT,
            attached: 0,
            supervisor: id,
        };
        let mut slot = self.spawner.lock().unwrap_or_else(PoisonError::into_inner);
        let spawner = match &mut *slot {
            Some(spawner) => spawner,
            none => none.insert(Arc::new(start_spawner()?)),
        };
        match spawner.order(&order, &[theirs.as_raw_fd()]) {
            Ok(()) => {}
            Err(Errno::EPIPE | Errno::ECONNRESET | Errno::ENOTCONN) if spawner.is_replaceable() => {
                *spawner = Arc::new(start_spawner()?);
                let ordered = spawner.order(&order, &[theirs.as_raw_fd()]);
                ordered.map_err(|errno| spawner.refusal().unwrap_or(errno))?;
            }
            Err(errno) => return Err(errno.into()),
        }
        Ok(spawner.supervisor(id, ours))
    }

    /// Asks spawner and supervisors to end, with every job that is under way; what is returned waits for that.
    pub fn shut_down(&self) -> Shutdown {
        let spawner = self
            .spawner
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some(spawner) = &spawner {
            spawner.ask_to_end();
        }
        Shutdown(spawner)
    }

    /// Keeps a supervisor for later, or lets it end.
    fn dismiss(&self, supervisor: Supervisor) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE {
            idle.push(supervisor);
        }
    }
}

/// Forks a spawner, where the system has what it needs.
fn start_spawner() -> io::Result<Spawner> {
    if let Err(errno) = descendants::check_listing() {
        if matches!(errno, Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM) {
            return Err(errno.into());
        }
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "/proc/thread-self/children can't be read: supervision needs /proc and a kernel with CONFIG_PROC_CHILDREN",
        ));
    }
    Spawner::start()
}

fn memory_file(bytes: &[u8]) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create(c"executor-runtime-job", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(bytes)?;
    Ok(file.into())
}

/// Processes on their way out. Dropping it waits until they are gone and collected, three seconds at most.
#[derive(Debug)]
#[must_use = "dropping it waits"]
pub struct Shutdown(Option<Arc<Spawner>>);

impl Drop for Shutdown {
    fn drop(&mut self) {
        if let Some(spawner) = &self.0 {
            spawner.collect();
        }
    }
}

/// A job under way. Dropping it ends the job at once.
#[derive(Debug)]
pub struct Supervised<'a> {
    supervisors: &'a Supervisors,
    supervisor: Supervisor,
    /// From start to the last moment at which the supervisor ends it by itself.
    ends_after: Option<Duration>,
    grace: Duration,
}

/// A job that runs until this is dropped, which ends it at once.
#[derive(Debug)]
pub struct Detached(Supervisor);

impl Detached {
    /// The report, if the job ends within `time`.
    pub fn ended_within(&self, time: Duration) -> Option<Report> {
        let until = sys::monotonic_ns().saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        receive_until::<RawReport>(self.0.control.as_fd(), until).map(Report::from)
    }

    /// Ends the job at once, also past a supervisor that was stopped; true once it is certain that nothing of it
    /// is left. Blocks for two seconds at most.
    pub fn end(&self) -> bool {
        let order = Order {
            tag: ORDER_KILL,
            ..Order::default()
        };
        // If the supervisor is gone, its spawner knows what is left.
        let _ = sys::send(self.0.control.as_raw_fd(), &order, &[]);
        self.ended_within(SWEEP).is_some() || self.0.spawner.abandon(self.0.id)
    }
}

impl Supervised<'_> {
    /// Lets the job run on without waiting for its end.
    pub fn detach(self) -> Detached {
        Detached(self.supervisor)
    }

    /// Waits until nothing of the job is left. When `terminate` completes, the job is asked to end and has its grace;
    /// when `kill` completes, it is ended at once.
    ///
    /// # Errors
    /// When the supervisor is lost.
    pub async fn finish(
        self,
        terminate: impl Future<Output = ()>,
        kill: impl Future<Output = ()>,
    ) -> Result<Report, Lost> {
        let Self {
            supervisors,
            supervisor,
            ends_after,
            grace,
        } = self;
        match report(&supervisor, terminate, kill, ends_after, grace).await {
            Ok(raw) => {
                if supervisors.once {
                    supervisor.spawner.ask_to_end();
                } else if raw.retired == 0 {
                    supervisors.dismiss(supervisor);
                }
                Ok(raw.into())
            }
            Err(NoReport { overdue }) => Err(Lost {
                swept: abandon(supervisor).await,
                overdue,
            }),
        }
    }
}

/// [`Spawner::abandon`], which blocks, on a thread of its own; on this one if there is no other to be had.
async fn abandon(supervisor: Supervisor) -> bool {
    let (done, swept) = tokio::sync::oneshot::channel();
    let (spawner, id) = (Arc::clone(&supervisor.spawner), supervisor.id);
    let abandoning = thread::Builder::new().spawn(move || {
        // If the run was dropped, no one waits for it.
        let _ = done.send(supervisor.spawner.abandon(id));
    });
    match abandoning {
        Ok(_) => swept.await.unwrap_or(false),
        Err(_) => spawner.abandon(id),
    }
}

/// A supervisor said nothing.
struct NoReport {
    /// It still could.
    overdue: bool,
}

async fn report(
    supervisor: &Supervisor,
    terminate: impl Future<Output = ()>,
    kill: impl Future<Output = ()>,
    ends_after: Option<Duration>,
    grace: Duration,
) -> Result<RawReport, NoReport> {
    // SAFETY: the descriptor is owned by `supervisor`, which outlives the registration.
    let registered =
        unsafe { AsyncFd::register_with_interest(supervisor.control.as_fd(), Interest::READABLE) };
    let control = registered.map_err(|_| NoReport { overdue: true })?;
    let order = |tag| {
        // If the supervisor is gone, the next turn finds out.
        let _ = sys::send(
            control.as_raw_fd(),
            &Order {
                tag,
                ..Order::default()
            },
            &[],
        );
    };
    let (mut terminate, mut kill) = (pin!(terminate), pin!(kill));
    let (mut terminated, mut killed) = (false, false);
    let mut overdue = overdue_after(ends_after);
    loop {
        tokio::select! {
            biased;
            received = receive_report(&control) => return received.ok_or(NoReport { overdue: false }),
            () = &mut kill, if !killed => {
                (terminated, killed) = (true, true);
                order(ORDER_KILL);
                overdue = overdue_after(Some(Duration::ZERO));
            }
            () = &mut terminate, if !terminated => {
                terminated = true;
                order(ORDER_TERMINATE);
                overdue = overdue_after(Some(grace));
            }
            () = wait_for(&mut overdue) => return Err(NoReport { overdue: true }),
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

async fn receive_report(control: &AsyncFd<BorrowedFd<'_>>) -> Option<RawReport> {
    loop {
        let mut ready = control.readable().await.ok()?;
        match sys::receive::<RawReport>(control.as_raw_fd(), libc::MSG_DONTWAIT) {
            Ok(received) => return received.map(|(report, _)| report),
            Err(Errno::EAGAIN) => ready.clear_ready(),
            // The other end has closed without having read all; what it said before comes next.
            Err(Errno::ECONNRESET) => {}
            Err(_) => return None,
        }
    }
}
