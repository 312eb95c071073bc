//! The spawner: the small process that all supervisors are forked from.
//!
//! Problem: `fork` copies page tables, so from a host with an engine's memory pool it costs milliseconds; a
//! host with threads can't do much after it; and a child's peak memory starts from its spawner's. Solution:
//! one process is forked early, lets go of what it inherited, and forks the supervisors.
//!
//! It is a child subreaper too: should a supervisor be killed, what it supervised becomes the spawner's and
//! is ended here; should one be stopped, it is made to go on. It ends when the host does, after the last
//! supervisor.
//!
//! Runs in a child of `fork`, possibly of a process with threads: no allocation.

use super::{
    descendants::Sweep,
    supervise,
    sys::{self, Forked, Wait},
    target::Target,
    wire::{ORDER_ABANDON, ORDER_RECRUIT, Order, STAGE_FORK, Swept},
};
use nix::errno::Errno;
use std::os::fd::RawFd;

/// How many supervisors one spawner has at most.
const MAX_SUPERVISORS: usize = 1 << 16;
/// Where the socket to the host is put.
pub(super) const HOST_SOCKET: RawFd = 3;
/// How long supervisors have to end their jobs after the host is gone.
const FAREWELL_NS: u64 = 15_000_000_000;

#[derive(Clone, Copy)]
struct Supervisor {
    pid: libc::pid_t,
    id: u64,
}

/// Serves the host at the other end of `socket` until it closes. Of the other descriptors it keeps `kept`.
pub(super) fn serve(socket: RawFd, kept: Option<RawFd>, target: Target) -> ! {
    let status = match Spawner::set_up(socket, kept, target) {
        Ok(mut spawner) => {
            spawner.run();
            0
        }
        // The exit status tells why.
        Err(errno) => errno as i32,
    };
    sys::exit_now(status)
}

struct Spawner {
    /// What its supervisors make of the processes that they start.
    target: Target,
    signals: RawFd,
    supervisors: &'static mut [Supervisor],
    len: usize,
}

impl Spawner {
    fn set_up(socket: RawFd, kept: Option<RawFd>, target: Target) -> sys::Result<Self> {
        leave_host(socket, kept)?;
        // SAFETY: no memory is involved.
        Errno::result(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) })?;
        let signals = sys::child_signals()?;
        let memory = sys::map_anonymous(MAX_SUPERVISORS * size_of::<Supervisor>())?;
        // SAFETY: a fresh, zeroed, page-aligned mapping of that size, never unmapped; `Supervisor` is integers.
        let supervisors = unsafe { std::slice::from_raw_parts_mut(memory.cast(), MAX_SUPERVISORS) };
        Ok(Self {
            target,
            signals,
            supervisors,
            len: 0,
        })
    }

    fn run(&mut self) {
        loop {
            let read = |fd| libc::pollfd {
                fd,
                events: libc::POLLIN,
                revents: 0,
            };
            let mut ready = [read(HOST_SOCKET), read(self.signals)];
            sys::poll(&mut ready, None);
            if ready[1].revents != 0 {
                self.collect_ended();
            }
            if ready[0].revents != 0 && !self.take_order() {
                break;
            }
        }
        self.say_farewell();
    }

    /// Carries out one order; false once the host is gone.
    fn take_order(&mut self) -> bool {
        let (order, received) = match sys::receive::<Order>(HOST_SOCKET, libc::MSG_DONTWAIT) {
            Ok(Some(order)) => order,
            Err(Errno::EAGAIN) => return true,
            Ok(None) | Err(_) => return false,
        };
        match (order.tag, received.as_slice()) {
            (ORDER_RECRUIT, &[control]) => self.recruit(order.supervisor, control),
            (ORDER_ABANDON, _) => self.abandon(order.supervisor),
            _ => {}
        }
        for fd in received.as_slice() {
            sys::close(*fd);
        }
        true
    }

    /// Forks a supervisor. If that fails, its end of the control socket tells the host why.
    fn recruit(&mut self, id: u64, control: RawFd) {
        if self.len == self.supervisors.len() {
            return;
        }
        // SAFETY: this process has one thread, and the child does not return.
        match unsafe { sys::fork() } {
            Ok(Forked::Child) => supervise::serve(control, self.target),
            Ok(Forked::Parent(pid)) => {
                self.supervisors[self.len] = Supervisor { pid, id };
                self.len += 1;
            }
            Err(errno) => supervise::refuse(control, STAGE_FORK, errno),
        }
    }

    fn collect_ended(&mut self) {
        sys::drain_signals(self.signals);
        resume_stopped();
        let mut orphaned = false;
        while let Wait::Ended(reaped) = sys::reap(-1) {
            if self.forget(reaped.pid) {
                orphaned |= reaped.status != 0;
            } else {
                orphaned = true;
            }
        }
        if orphaned {
            self.sweep_orphans();
        }
    }

    /// Ends every process here that is not a supervisor, and those that become so by it.
    fn sweep_orphans(&mut self) {
        let (signals, supervisors) = (self.signals, &self.supervisors[..self.len]);
        let mut ended = [0; 64];
        let mut count = 0;
        Sweep::of_thread(signals).run(
            |pid| supervisors.iter().any(|supervisor| supervisor.pid == pid),
            |reaped| {
                // More than these at once are found to be gone when the next order names them.
                if let Some(slot) = ended.get_mut(count) {
                    *slot = reaped.pid;
                    count += 1;
                }
            },
        );
        for pid in &ended[..count] {
            self.forget(*pid);
        }
        // The sweep may have taken the signal that told of it.
        resume_stopped();
    }

    /// Ends a supervisor that does not answer, and all that it supervised.
    fn abandon(&mut self, id: u64) {
        let found = self.supervisors[..self.len]
            .iter()
            .find(|supervisor| supervisor.id == id);
        if let Some(Supervisor { pid, .. }) = found.copied() {
            // Its entry stays until it is collected: until then its pid is its own.
            sys::kill(pid, libc::SIGKILL);
            while matches!(sys::reap(pid), Wait::Alive) {
                sys::poll(&mut [], Some(sys::monotonic_ns() + 200_000));
            }
            self.forget(pid);
        }
        self.sweep_orphans();
        let _ = sys::send(HOST_SOCKET, &Swept { supervisor: id }, &[]);
    }

    /// The host is gone, so every supervisor is ending its job. Whatever they leave is ended here.
    fn say_farewell(&mut self) {
        let give_up = sys::monotonic_ns() + FAREWELL_NS;
        while self.len > 0 && sys::monotonic_ns() < give_up {
            let mut ready = [libc::pollfd {
                fd: self.signals,
                events: libc::POLLIN,
                revents: 0,
            }];
            sys::poll(&mut ready, Some(give_up));
            self.collect_ended();
        }
        self.len = 0;
        self.sweep_orphans();
    }

    fn forget(&mut self, pid: libc::pid_t) -> bool {
        let found = self.supervisors[..self.len]
            .iter()
            .position(|supervisor| supervisor.pid == pid);
        if let Some(index) = found {
            self.len -= 1;
            self.supervisors[index] = self.supervisors[self.len];
        }
        found.is_some()
    }
}

/// What a supervisor supervises can stop it, but not for long: it would keep neither a deadline nor an eye on
/// the host.
fn resume_stopped() {
    while let Some(pid) = sys::take_stopped(None) {
        sys::kill(pid, libc::SIGCONT);
    }
}

/// Lets go of what a child of the host has inherited. `socket` is put at [`HOST_SOCKET`].
pub(super) fn leave_host(socket: RawFd, kept: Option<RawFd>) -> sys::Result<()> {
    // SAFETY: the path is NUL-terminated; no other memory is involved.
    unsafe {
        // Out of the host's session: keys pressed at its terminal are the host's business.
        libc::setsid();
        // Into a directory that no one unmounts or removes: the host's would be kept in use. Supervisors start there too.
        libc::chdir(c"/".as_ptr());
    }
    keep_only(socket, kept)?;
    sys::reset_dispositions();
    Ok(())
}

/// Lets go of every inherited descriptor, so that no other process waits for us to close them: 0-2 become
/// `/dev/null`, 3 the socket, the rest is closed but for `kept`, which is above 3.
fn keep_only(socket: RawFd, kept: Option<RawFd>) -> sys::Result<()> {
    let socket = sys::duplicate_above(socket, HOST_SOCKET + 1)?;
    sys::place_fd(socket, HOST_SOCKET)?;
    match kept {
        Some(kept) => {
            sys::close_between(HOST_SOCKET + 1, kept);
            sys::close_from(kept + 1);
        }
        None => sys::close_from(HOST_SOCKET + 1),
    }
    // SAFETY: the path is NUL-terminated.
    let null = Errno::result(unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC) })?;
    for standard in 0..HOST_SOCKET {
        sys::place_fd(null, standard)?;
    }
    if null > HOST_SOCKET {
        sys::close(null);
    }
    Ok(())
}
