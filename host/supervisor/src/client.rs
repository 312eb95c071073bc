//! The host's side: starts the spawner, hands it jobs, takes reports.

use crate::{
    descendants,
    helper::{Helper, SWEEP, Supervisor, receive_until},
    idle::IDLE_TIME,
    job::{Job, Report},
    pool::Pool,
    spawner, sys,
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
    io::{self, Write},
    os::fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd, RawFd},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
    time::{Duration, Instant},
};

/// How long after the moment at which it should have ended a job, a supervisor that says nothing (it may have
/// been stopped by what it supervises) is given up on. The spawner then ends the job.
const OVERDUE: Duration = Duration::from_secs(2);

/// The spawner of this host and its supervisors.
///
/// Start it early: before threads, and before the process becomes large.
#[derive(Debug)]
pub struct Supervisors {
    /// None before the first job of those that start [on demand](Supervisors::on_demand).
    spawner: Mutex<Option<Arc<Helper>>>,
    /// The first supervisor, where it is no spawner's.
    only: Option<Arc<Helper>>,
    idle: Arc<Pool>,
    next_id: AtomicU64,
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

impl Supervisors {
    /// Forks the spawner, and has it fork a first supervisor, which is ready by the time that it is needed.
    pub fn start() -> io::Result<Self> {
        let supervisors = Self::on_demand();
        let first = supervisors.recruit()?;
        supervisors.idle.keep(first);
        Ok(supervisors)
    }

    /// Forks nothing before the first job: for a process that is likely to have none, or can afford to start late.
    pub fn on_demand() -> Self {
        Self::with_spawner(None)
    }

    /// Forks one supervisor, as this process's own child, for a program that runs one job and exits: it ends with the job,
    /// while the host is still busy with what came of it. A later job is possible, and starts a spawner.
    ///
    /// This process becomes a child subreaper with a handler for `SIGCHLD`, and if the supervisor is killed, it ends every
    /// child that it has by then. Where it has children already, or a handler of its own, this is [`start`](Self::start).
    pub fn start_for_one_job() -> io::Result<Self> {
        check_listing()?;
        let Some(supervisor) = Helper::start_supervisor()? else {
            return Self::start();
        };
        let mut supervisors = Self::on_demand();
        supervisors.only = Some(Arc::clone(&supervisor.helper));
        supervisors.idle.keep(supervisor);
        Ok(supervisors)
    }

    fn with_spawner(spawner: Option<Helper>) -> Self {
        Self {
            spawner: Mutex::new(spawner.map(Arc::new)),
            only: None,
            idle: Arc::new(Pool::new(IDLE_TIME)),
            next_id: AtomicU64::new(0),
        }
    }

    /// Ends supervisors that have had no job for this long, but for the last few. The default is [`IDLE_TIME`].
    #[must_use]
    pub fn with_idle_time(mut self, time: Duration) -> Self {
        self.idle = Arc::new(Pool::new(time));
        self
    }

    /// Uses a spawner that another process has started: the process at the other end of `socket`, in
    /// [`serve_entry`]. When it has died, no job can be handed over any more.
    pub fn attach(socket: OwnedFd) -> Self {
        Self::with_spawner(Some(Helper::attach(socket)))
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
            let kept = self.idle.take();
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
            grace: job.grace,
            overdue_at: ends_after.and_then(overdue_after),
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
        let helpers = [self.only.clone(), spawner];
        helpers.iter().flatten().for_each(|helper| helper.ask_to_end());
        Shutdown(helpers)
    }
}

impl Drop for Supervisors {
    fn drop(&mut self) {
        // Also where another thread is about to look whether they have been idle for long.
        self.idle.clear();
    }
}

/// Forks a spawner, where the system has what it needs.
fn start_spawner() -> io::Result<Helper> {
    check_listing()?;
    Helper::start_spawner()
}

/// Fails where the system does not list the children of processes.
fn check_listing() -> io::Result<()> {
    if let Err(errno) = descendants::check_listing() {
        if matches!(errno, Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM) {
            return Err(errno.into());
        }
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "/proc/thread-self/children can't be read: supervision needs /proc and a kernel with CONFIG_PROC_CHILDREN",
        ));
    }
    Ok(())
}

fn memory_file(bytes: &[u8]) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create(c"executor-runtime-job", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(bytes)?;
    Ok(file.into())
}

/// Processes on their way out. Dropping it waits until they are gone and collected, some seconds at most.
#[derive(Debug)]
#[must_use = "dropping it waits"]
pub struct Shutdown([Option<Arc<Helper>>; 2]);

impl Drop for Shutdown {
    fn drop(&mut self) {
        self.0.iter().flatten().for_each(|helper| helper.collect());
    }
}

/// A job under way. Dropping it ends the job at once.
///
/// Its descriptor becomes readable when [`poll_report`](Self::poll_report) has something to tell.
#[derive(Debug)]
pub struct Supervised<'a> {
    supervisors: &'a Supervisors,
    supervisor: Supervisor,
    grace: Duration,
    overdue_at: Option<Instant>,
}

/// A report, as it came over the socket.
#[derive(Debug)]
pub struct Received(RawReport);

impl Supervised<'_> {
    /// The supervisor's report, without waiting for it. It comes once every process of the job has ended; none if the
    /// supervisor is gone without one.
    pub fn poll_report(&self) -> Poll<Option<Received>> {
        loop {
            match sys::receive::<RawReport>(self.as_raw_fd(), libc::MSG_DONTWAIT) {
                Ok(received) => return Poll::Ready(received.map(|(report, _)| Received(report))),
                Err(Errno::EAGAIN) => return Poll::Pending,
                // The other end has closed without having read all; what it said before comes next.
                Err(Errno::ECONNRESET) => {}
                Err(_) => return Poll::Ready(None),
            }
        }
    }

    /// Asks the job to end; it has its grace.
    pub fn terminate(&mut self) {
        self.order(ORDER_TERMINATE);
        self.overdue_at = overdue_after(self.grace);
    }

    /// Ends the job at once.
    pub fn kill(&mut self) {
        self.order(ORDER_KILL);
        self.overdue_at = overdue_after(Duration::ZERO);
    }

    fn order(&self, tag: u32) {
        let order = Order {
            tag,
            ..Order::default()
        };
        // If the supervisor is gone, its end of the socket tells.
        let _ = sys::send(self.as_raw_fd(), &order, &[]);
    }

    /// When a supervisor that still says nothing is to be given up on, by [`Detached::abandon`]. None: never.
    pub fn overdue_at(&self) -> Option<Instant> {
        self.overdue_at
    }

    /// Takes the report, and keeps the supervisor for a later job.
    pub fn finish(self, Received(report): Received) -> Report {
        if report.retired == 0 {
            self.supervisors.idle.keep(self.supervisor);
        }
        report.into()
    }

    /// Lets the job run on without waiting for its end.
    pub fn detach(self) -> Detached {
        Detached(self.supervisor)
    }
}

impl AsRawFd for Supervised<'_> {
    fn as_raw_fd(&self) -> RawFd {
        self.supervisor.control.as_raw_fd()
    }
}

/// When a supervisor is given up on that should have ended its job after `time`.
fn overdue_after(time: Duration) -> Option<Instant> {
    Instant::now().checked_add(time.checked_add(OVERDUE)?)
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
        // If the supervisor is gone, what has forked it knows what is left.
        let _ = sys::send(self.0.control.as_raw_fd(), &order, &[]);
        self.ended_within(SWEEP).is_some() || self.abandon()
    }

    /// Ends what a supervisor has left that is gone or says nothing; true once it is certain that nothing is left.
    /// Blocks for two seconds at most.
    pub fn abandon(&self) -> bool {
        self.0.helper.abandon(self.0.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, iter, thread};

    fn children(of: &str) -> Vec<String> {
        let list = fs::read_to_string(format!("/proc/{of}/children")).unwrap();
        list.split_whitespace().map(str::to_owned).collect()
    }

    fn wait_until(mut holds: impl FnMut() -> bool) {
        let until = Instant::now() + Duration::from_secs(20);
        while !holds() {
            assert!(Instant::now() < until, "it did not come to that");
            thread::sleep(Duration::from_millis(2));
        }
    }

    #[test]
    fn supervisors_that_get_no_job_end_but_for_a_few_and_leave_nothing() {
        let before = children("thread-self");
        let supervisors = Supervisors::on_demand().with_idle_time(Duration::from_millis(50));
        for _ in 0..3 {
            let next = || {
                supervisors
                    .idle
                    .take()
                    .unwrap_or_else(|| supervisors.recruit().unwrap())
            };
            let mut idle: Vec<_> = iter::repeat_with(next).take(8).collect();
            let mine = children("thread-self");
            let spawner = mine.iter().find(|pid| !before.contains(pid)).unwrap();
            let of_spawner = format!("{spawner}/task/{spawner}");
            wait_until(|| children(&of_spawner).len() == 8);
            let working = idle.pop().unwrap();
            for supervisor in idle {
                supervisors.idle.keep(supervisor);
            }
            // A zombie would be among them.
            wait_until(|| children(&of_spawner).len() == 2 + 1);
            supervisors.idle.keep(working);
            wait_until(|| children(&of_spawner).len() == 2);
        }
        drop(supervisors);
        assert_eq!(children("thread-self"), before);
    }
}
