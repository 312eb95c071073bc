//! The host's handle on its spawner: orders go there, and it is collected in the end.

use crate::{
    memory, spawner,
    sys::{self, Forked, Wait},
    target::Target,
    wire::{Message, ORDER_ABANDON, Order, RawReport, Swept},
};
use nix::{
    errno::Errno,
    sys::signal::{SigSet, SigmaskHow, pthread_sigmask},
};
use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// How long a spawner has to say that a job it was asked to end is gone.
pub(super) const SWEEP: Duration = Duration::from_secs(1);

/// How long a spawner has to end, with its supervisors, before it is killed.
const END: Duration = Duration::from_secs(2);

/// How long a spawner that was killed may take to disappear.
const REMOVAL: Duration = Duration::from_secs(1);

/// How often a spawner without a descriptor to wait on is asked for.
const ASK_AGAIN_NS: u64 = 1_000_000;

/// A spawner, living or not.
#[derive(Debug)]
pub(super) struct Spawner {
    socket: OwnedFd,
    process: Mutex<Process>,
    /// Held by the thread that waits for an answer.
    answers: Mutex<()>,
    /// The control sockets of its supervisors, by their ids.
    controls: Mutex<BTreeMap<u64, RawFd>>,
}

/// Whose child a spawner is.
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
    pub(super) spawner: std::sync::Arc<Spawner>,
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
        lock(&self.spawner.controls).remove(&self.id);
    }
}

impl Spawner {
    pub(super) fn start() -> io::Result<Self> {
        let (ours, theirs) = sys::socket_pair()?;
        // A handler of the host's must not run in the child, where it would speak to the host's descriptors.
        let mut before = SigSet::empty();
        pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut before))?;
        // SAFETY: the child calls only what may be called after `fork` and does not return.
        let forked = unsafe { sys::fork() };
        if let Ok(Forked::Child) = forked {
            memory::drop_inherited();
            spawner::serve(sys::raw(theirs.as_fd()), None, Target::Program)
        }
        pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
        match forked? {
            Forked::Parent(pid) => Ok(Self::new(ours, Process::Own(pid))),
            Forked::Child => unreachable!("the child serves"),
        }
    }

    /// One that another process has started, at the other end of `socket`.
    pub(super) fn attach(socket: OwnedFd) -> Self {
        Self::new(socket, Process::Foreign)
    }

    fn new(socket: OwnedFd, process: Process) -> Self {
        Self {
            socket,
            process: Mutex::new(process),
            answers: Mutex::default(),
            controls: Mutex::default(),
        }
    }

    /// Whether this host may start another when this one is gone.
    pub(super) fn is_replaceable(&self) -> bool {
        !matches!(*lock(&self.process), Process::Foreign)
    }

    /// Sends an order, also to a spawner that was stopped.
    pub(super) fn order(&self, order: &Order, fds: &[RawFd]) -> sys::Result<()> {
        self.resume();
        sys::send(self.socket.as_raw_fd(), order, fds)
    }

    /// Takes note of a supervisor that was ordered.
    pub(super) fn supervisor(self: &std::sync::Arc<Self>, id: u64, control: OwnedFd) -> Supervisor {
        lock(&self.controls).insert(id, control.as_raw_fd());
        Supervisor {
            control,
            id,
            spawner: std::sync::Arc::clone(self),
        }
    }

    /// A run can stop the spawner (it is the same user's process), and a thread that waits for it would wait forever.
    fn resume(&self) {
        if let Process::Own(pid) = *lock(&self.process) {
            sys::kill(pid, libc::SIGCONT);
        }
    }

    /// Ends what a failed supervisor has left; true once that is certain.
    pub(super) fn abandon(&self, supervisor: u64) -> bool {
        let _waiting = lock(&self.answers);
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
            match receive_until::<Swept>(self.socket.as_fd(), until) {
                Some(swept) if swept.supervisor == supervisor => return true,
                Some(_) => {}
                None => return false,
            }
        }
    }

    /// Asks the spawner and its supervisors to end, with every job that is under way. Does not wait for that.
    pub(super) fn ask_to_end(&self) {
        // A supervisor ends when its control socket is closed; the spawner ends after the last of them.
        let controls = lock(&self.controls);
        for socket in controls.values().chain([&self.socket.as_raw_fd()]) {
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

    /// Waits until a spawner that was asked to end is gone, and collects it. One that takes too long is killed;
    /// blocks for three seconds at most.
    pub(super) fn collect(&self) {
        let mut process = lock(&self.process);
        let Process::Own(pid) = *process else { return };
        if collected_within(pid, END).is_none() {
            sys::kill(pid, libc::SIGKILL);
            collected_within(pid, REMOVAL);
        }
        *process = Process::Collected;
    }
}

impl Drop for Spawner {
    fn drop(&mut self) {
        self.ask_to_end();
        self.collect();
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
