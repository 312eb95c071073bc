//! The only supervisor: the host's own child, for a host that has one job and exits.
//!
//! Problem: a spawner is worth its while where there are many jobs. For one, it is a third process beside the supervisor
//! and the target, and takes as long as a short target itself. Solution: the host forks the supervisor, and does what a
//! spawner is there for. It is a child subreaper, so what a killed supervisor leaves becomes the host's own, and is ended
//! here ([`end_orphans`]); and when the supervisor is stopped, a handler of `SIGCHLD` makes it go on
//! ([`continue_when_stopped`]). If the host dies while the supervisor is stopped, the kernel makes it go on; and where it is
//! stopped after that, a timer of its own does ([`sys::continue_every`]).

use super::{
    descendants::{Children, Sweep},
    spawner, supervise,
    sys::{self, Wait},
    target::Target,
};
use nix::errno::Errno;
use std::{
    os::fd::RawFd,
    ptr,
    sync::atomic::{AtomicI32, Ordering},
    time::Duration,
};

/// How long a supervisor whose host is gone is stopped at most.
const CONTINUED_EVERY: Duration = Duration::from_millis(200);

/// The only supervisor of this process, once there is one.
static SUPERVISOR: AtomicI32 = AtomicI32::new(0);

/// Whether this process can do what a spawner does: it has no other child, which could not be told from what a supervisor
/// has left, and it does nothing about children that end.
pub(super) fn can_be_parent() -> bool {
    !sys::handles_signal(libc::SIGCHLD) && matches!(sys::peek_ended(), Wait::NoChildren)
}

/// Has this process inherit what a supervisor leaves.
pub(super) fn become_parent() -> sys::Result<()> {
    // SAFETY: no memory is involved.
    Errno::result(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) }).map(drop)
}

/// Serves the host at the other end of `control` for one job. Runs in a child of `fork`.
pub(super) fn serve(control: RawFd, target: Target) -> ! {
    // SAFETY: no memory is involved.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGCONT) };
    if let Err(errno) = spawner::leave_host(control, None) {
        supervise::refuse_setup(control, errno);
        sys::exit_now(1);
    }
    // A run that has killed the host can still stop what supervises it.
    sys::continue_every(CONTINUED_EVERY);
    supervise::serve_once(spawner::HOST_SOCKET, target)
}

/// Has the child `supervisor` go on whenever it is stopped: what it supervises can do that to it, and it would keep
/// neither a deadline nor an eye on the host.
pub(super) fn continue_when_stopped(supervisor: libc::pid_t) -> sys::Result<()> {
    SUPERVISOR.store(supervisor, Ordering::Relaxed);
    // SAFETY: the handler makes system calls only, and leaves `errno` as it was.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        let handler: extern "C" fn(libc::c_int) = on_child_changed;
        action.sa_sigaction = handler as usize;
        action.sa_flags = libc::SA_RESTART;
        Errno::result(libc::sigaction(libc::SIGCHLD, &raw const action, ptr::null_mut())).map(drop)
    }
}

extern "C" fn on_child_changed(_: libc::c_int) {
    // SAFETY: the calling thread has an `errno`.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let before = unsafe { *errno };
    let supervisor = SUPERVISOR.load(Ordering::Relaxed);
    // It is still this process's child where it is found, so the pid is its own.
    while sys::take_stopped(Some(supervisor)).is_some() {
        sys::kill(supervisor, libc::SIGCONT);
    }
    // SAFETY: as above.
    unsafe { *errno = before };
}

/// Ends and collects every child of this process, and what becomes its child by that, within this time; true if none is
/// left. To be called when the supervisor is gone.
pub(super) fn end_orphans(time: Duration) -> bool {
    let give_up_ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let swept = Sweep {
        children: Children::OfProcess,
        give_up_ns,
        // It is looked for new ones often enough without.
        signals: -1,
    }
    .run(|_| false, |_| {});
    swept.unkillable == 0
}
