//! The host's handle on the process that it has forked for its jobs: a spawner, or its only supervisor.

use crate::{
    memory, only, spawner,
    sys::{self, Forked, Wait},
    target::Target,
    wire::{Message, ORDER_ABANDON, Order, RawReport, Swept},
};
use nix::{
    errno::Errno,
    sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask},
};
use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// How long a job may take to disappear that is ended without its supervisor.
pub(super) const SWEEP: Duration = Duration::from_secs(1);

/// How long a helper has to end, with its supervisors, before it is killed.
const END: Duration = Duration::from_secs(2);

/// How long a helper that was killed may take to disappear.
const REMOVAL: Duration = Duration::from_secs(1);

/// How often a helper without a descriptor to wait on is asked for.
const ASK_AGAIN_NS: u64 = 1_000_000;

/// A helper process, living or not.
#[derive(Debug)]
pub(super) struct Helper {
    role: Role,
    process: Mutex<Process>,
    /// The control sockets of its supervisors (or its own), by their ids.
    controls: Mutex<BTreeMap<u64, RawFd>>,
}

/// What a helper does.
#[derive(Debug)]
enum Role {
    /// It forks supervisors.
    Spawner {
        /// Where it takes orders.
        socket: OwnedFd,
        /// Held by the thread that waits for an answer.
        answers: Mutex<()>,
    },
    /// It is the host's only supervisor, for one job.
    Supervisor,
}

/// Whose child a helper is.
#[derive(Clone, Copy, Debug)]
enum Process {
    /// Ours. It has not been collected, so the pid is its own.
    Own(libc::pid_t),
    /// It was ours, and is gone.
    Collected,
    /// Another process's child.
    Foreign,
}

/// A living supervisor. Dropping it closes its control socket, so that it ends, with whatever it supervises.
#[derive(Debug)]
pub(super) struct Supervisor {
    pub(super) control: OwnedFd,
    pub(super) id: u64,
    pub(super) helper: Arc<Helper>,
}

impl Supervisor {
    /// Why a supervisor that is gone did not even begin.
    pub(super) fn refusal(&self) -> Option<Errno> {
        let now = sys::monotonic_ns() + 1;
        let report = receive_until::<RawReport>(self.control.as_fd(), now)?;
        (report.stage != 0).then(|| Errno::from_raw(report.errno))
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        // Before the descriptor is closed, whose number may then be something else's.
        lock(&self.helper.controls).remove(&self.id);
    }
}

impl Helper {
    /// Forks a spawner.
    pub(super) fn start_spawner() -> io::Result<Self> {
        let (ours, theirs) = sys::socket_pair()?;
        let forked = fork_masked(|| {
            memory::drop_inherited();
            spawner::serve(sys::raw(theirs.as_fd()), None, Target::Program)
        })?;
        Ok(Self::spawner(ours, Process::Own(forked.pid)))
    }

    /// A spawner that another process has started, at the other end of `socket`.
    pub(super) fn attach(socket: OwnedFd) -> Self {
        Self::spawner(socket, Process::Foreign)
    }

    fn spawner(socket: OwnedFd, process: Process) -> Self {
        let answers = Mutex::default();
        Self::new(Role::Spawner { socket, answers }, process)
    }

    /// Forks a supervisor for one job, as this process's own child. None where this process can't be its parent.
    pub(super) fn start_supervisor() -> io::Result<Option<Supervisor>> {
        if !only::can_be_parent() {
            return Ok(None);
        }
        let (ours, theirs) = sys::socket_pair()?;
        sys::set_nonblocking(ours.as_fd())?;
        only::become_parent()?;
        let mut forked = fork_masked(|| {
            memory::drop_inherited();
            only::serve(sys::raw(theirs.as_fd()), Target::Program)
        })?;
        // Before `forked` is dropped no signal is handled; then this one is, also in a process that was started without.
        only::continue_when_stopped(forked.pid)?;
        forked.before.remove(Signal::SIGCHLD);
        let helper = Self::new(Role::Supervisor, Process::Own(forked.pid));
        Ok(Some(Arc::new(helper).supervisor(0, ours)))
    }

    fn new(role: Role, process: Process) -> Self {
        Self {
            role,
            process: Mutex::new(process),
            controls: Mutex::default(),
        }
    }

    /// Whether this host may start another when this one is gone.
    pub(super) fn is_replaceable(&self) -> bool {
        !matches!(*lock(&self.process), Process::Foreign)
    }

    /// Sends an order, also to a spawner that was stopped.
    pub(super) fn order(&self, order: &Order, fds: &[RawFd]) -> sys::Result<()> {
        let Role::Spawner { socket, .. } = &self.role else {
            return Err(Errno::ENOTCONN);
        };
        self.resume();
        sys::send(socket.as_raw_fd(), order, fds)
    }

    /// Takes note of a supervisor.
    pub(super) fn supervisor(self: &Arc<Self>, id: u64, control: OwnedFd) -> Supervisor {
        lock(&self.controls).insert(id, control.as_raw_fd());
        Supervisor {
            control,
            id,
            helper: Arc::clone(self),
        }
    }

    /// A run can stop a helper (it is the same user's process), and a thread that waits for it would wait forever.
    fn resume(&self) {
        if let Process::Own(pid) = *lock(&self.process) {
            sys::kill(pid, libc::SIGCONT);
        }
    }

    /// Ends what a failed supervisor has left; true once that is certain.
    pub(super) fn abandon(&self, supervisor: u64) -> bool {
        let Role::Spawner { socket, answers } = &self.role else {
            return self.end_with_job();
        };
        let _waiting = lock(answers);
        let order = Order {
            tag: ORDER_ABANDON,
            attached: 0,
            supervisor,
        };
        if self.order(&order, &[]).is_err() {
            return false;
        }
        let until = sys::monotonic_ns() + SWEEP.as_nanos() as u64;
        loop {
            match receive_until::<Swept>(socket.as_fd(), until) {
                Some(swept) if swept.supervisor == supervisor => return true,
                Some(_) => {}
                None => return false,
            }
        }
    }

    /// Kills the only supervisor, and what it has left.
    fn end_with_job(&self) -> bool {
        let mut process = lock(&self.process);
        if let Process::Own(pid) = *process {
            sys::kill(pid, libc::SIGKILL);
            if collected_within(pid, REMOVAL).is_none() {
                return false;
            }
            *process = Process::Collected;
        }
        only::end_orphans(SWEEP)
    }

    /// Asks the helper and its supervisors to end, with every job that is under way. Does not wait for that.
    pub(super) fn ask_to_end(&self) {
        let own = match &self.role {
            Role::Spawner { socket, .. } => Some(socket.as_raw_fd()),
            Role::Supervisor => None,
        };
        // A supervisor ends when its control socket is closed; a spawner ends after the last of them.
        let controls = lock(&self.controls);
        for socket in controls.values().chain(&own) {
            // SAFETY: no memory is involved; a control socket takes itself off the list before it is closed.
            unsafe { libc::shutdown(*socket, libc::SHUT_RDWR) };
        }
        drop(controls);
        self.resume();
    }

    /// Why a spawner that takes no order did not even begin.
    pub(super) fn refusal(&self) -> Option<Errno> {
        let mut process = lock(&self.process);
        let Process::Own(pid) = *process else { return None };
        let status = collected_within(pid, REMOVAL)?;
        *process = Process::Collected;
        let code = libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status));
        code.filter(|code| *code != 0).map(Errno::from_raw)
    }

    /// Waits until a helper that was asked to end is gone, and collects it. One that takes too long is killed;
    /// blocks for four seconds at most.
    pub(super) fn collect(&self) {
        let mut process = lock(&self.process);
        let Process::Own(pid) = *process else { return };
        let mut ended = collected_within(pid, END);
        if ended.is_none() {
            sys::kill(pid, libc::SIGKILL);
            ended = collected_within(pid, REMOVAL);
        }
        *process = Process::Collected;
        // A supervisor that was killed has left what it supervised.
        if matches!(self.role, Role::Supervisor) && ended != Some(0) {
            only::end_orphans(REMOVAL);
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.ask_to_end();
        self.collect();
    }
}

/// A child, in a process whose signals wait until this is dropped.
struct Masked {
    pid: libc::pid_t,
    before: SigSet,
}

impl Drop for Masked {
    fn drop(&mut self) {
        // It was the mask before.
        let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&self.before), None);
    }
}

/// Forks a process that runs `child`, which calls only what may be called after `fork`. A handler of the host's must not
/// run there, where it would speak to the host's descriptors, so every signal is blocked.
fn fork_masked(child: impl FnOnce()) -> io::Result<Masked> {
    let mut before = SigSet::empty();
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut before))?;
    let mut masked = Masked { pid: 0, before };
    // SAFETY: the child calls only what may be called after `fork` and does not return.
    match unsafe { sys::fork() }? {
        Forked::Parent(pid) => {
            masked.pid = pid;
            Ok(masked)
        }
        Forked::Child => {
            child();
            sys::exit_now(0)
        }
    }
}

/// Collects a child that ends within `time`, and returns its status; 0 if it was collected elsewhere.
fn collected_within(pid: libc::pid_t, time: Duration) -> Option<i32> {
    let until = sys::monotonic_ns() + time.as_nanos() as u64;
    // There may be no descriptor left to wait on.
    let process = sys::open_process(pid);
    loop {
        match sys::reap(pid) {
            Wait::Ended(reaped) => return Some(reaped.status),
            Wait::NoChildren => return Some(0),
            Wait::Alive => {}
        }
        let now = sys::monotonic_ns();
        if now >= until {
            return None;
        }
        let (fd, wake_at) = match &process {
            Ok(process) => (process.as_raw_fd(), until),
            Err(_) => (-1, until.min(now + ASK_AGAIN_NS)),
        };
        let mut ended = [libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        }];
        sys::poll(&mut ended, Some(wake_at));
    }
}

/// The next message on a socket; none if it does not come in time, or the other end is gone.
pub(super) fn receive_until<T: Message>(socket: BorrowedFd<'_>, until_ns: u64) -> Option<T> {
    loop {
        let mut ready = [libc::pollfd {
            fd: socket.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        }];
        sys::poll(&mut ready, Some(until_ns));
        match sys::receive::<T>(socket.as_raw_fd(), libc::MSG_DONTWAIT) {
            Ok(received) => return received.map(|(message, _)| message),
            // The other end has closed without having read all; what it said before comes next.
            Err(Errno::ECONNRESET) => {}
            Err(Errno::EAGAIN | Errno::EINTR) if sys::monotonic_ns() < until_ns => {}
            Err(_) => return None,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
