//! From `fork` to `execve`, or to an entry: makes a fresh process what the target is promised to start as.
//!
//! Only descriptors 0-2 (and 3 for a worker's channel), default signal dispositions and an empty mask, a
//! session of its own, the requested directory and limits.
//!
//! Runs in a child of `fork`: no allocation.

use super::{
    spec::Spec,
    sys,
    wire::{JobFds, STAGE_CWD, STAGE_EXEC, STAGE_LIMITS, STAGE_SETUP, UNLIMITED},
};
use nix::errno::Errno;
use std::os::fd::RawFd;

/// `execve` fails with `ETXTBSY` while any process has the program open for writing, such as a writer that
/// has just forked: soon over, or never.
const BUSY_RETRIES: u32 = 400;
const BUSY_PAUSE_NS: libc::c_long = 2_500_000;

/// Why the target could not be started, and where.
#[derive(Clone, Copy)]
pub(super) struct StartError {
    pub(super) stage: u32,
    pub(super) errno: Errno,
}

/// The descriptors that become 1 and 2 of the target.
#[derive(Clone, Copy)]
pub(super) struct OutputFds {
    pub(super) stdout: RawFd,
    pub(super) stderr: RawFd,
}

/// What a supervisor makes of a fresh process.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    /// The job's program.
    Program,
    /// A function of the process that the supervisors were forked from, on a copy of its memory.
    Entry(fn() -> !),
}

/// Becomes the program; returns only if that failed.
pub(super) fn become_program(
    spec: &Spec,
    fds: &JobFds,
    output: OutputFds,
    supervisor: libc::pid_t,
) -> StartError {
    match prepare(spec, fds, output, supervisor) {
        Ok(()) => StartError {
            stage: STAGE_EXEC,
            errno: exec(spec),
        },
        Err(error) => error,
    }
}

/// Makes the process what every target starts as. What can fail comes before descriptors are closed.
pub(super) fn prepare(
    spec: &Spec,
    fds: &JobFds,
    output: OutputFds,
    supervisor: libc::pid_t,
) -> Result<(), StartError> {
    let at = |stage| move |errno| StartError { stage, errno };
    // SAFETY: none of these calls involves memory.
    unsafe {
        libc::setsid();
        // Should the supervisor be killed, the target goes with it. The supervisor has a single thread, so
        // the death of a thread is the death of the process here.
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        if libc::getppid() != supervisor {
            sys::exit_now(127);
        }
        Errno::result(libc::fchdir(fds.cwd)).map_err(at(STAGE_CWD))?;
    }
    // Every descriptor is above 3 (the spawner sees to that), so none is overwritten before it is placed.
    sys::place_fd(fds.stdin, 0).map_err(at(STAGE_SETUP))?;
    sys::place_fd(output.stdout, 1).map_err(at(STAGE_SETUP))?;
    sys::place_fd(output.stderr, 2).map_err(at(STAGE_SETUP))?;
    if let Some(channel) = fds.channel {
        sys::place_fd(channel, 3).map_err(at(STAGE_SETUP))?;
    }
    limit(libc::RLIMIT_AS, spec.header.memory_bytes, 0).map_err(at(STAGE_LIMITS))?;
    // One second between the signal that can be caught (SIGXCPU) and the one that can't.
    limit(libc::RLIMIT_CPU, spec.header.cpu_seconds, 1).map_err(at(STAGE_LIMITS))?;
    limit(libc::RLIMIT_NOFILE, spec.header.open_files, 0).map_err(at(STAGE_LIMITS))?;
    sys::unblock_all();
    sys::close_from(if fds.channel.is_some() { 4 } else { 3 });
    Ok(())
}

/// Lowers one limit; it is never raised above what the host itself has.
fn limit(resource: libc::__rlimit_resource_t, soft: u64, hard_above: u64) -> sys::Result<()> {
    if soft == UNLIMITED {
        return Ok(());
    }
    let mut current = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `current` is valid for writing and reading.
    unsafe {
        Errno::result(libc::getrlimit(resource, &raw mut current))?;
        let new = libc::rlimit {
            rlim_cur: soft.min(current.rlim_max),
            rlim_max: soft.saturating_add(hard_above).min(current.rlim_max),
        };
        Errno::result(libc::setrlimit(resource, &raw const new))?;
    }
    Ok(())
}

fn exec(spec: &Spec) -> Errno {
    for _ in 0..BUSY_RETRIES {
        // SAFETY: `Spec` holds NUL-terminated strings and NULL-terminated arrays of pointers to them.
        unsafe { libc::execve(spec.program, spec.argv, spec.envp) };
        let errno = Errno::last();
        if errno != Errno::ETXTBSY {
            return errno;
        }
        let pause = libc::timespec {
            tv_sec: 0,
            tv_nsec: BUSY_PAUSE_NS,
        };
        // SAFETY: `pause` is valid for reading; the remaining time is not asked for.
        unsafe { libc::nanosleep(&raw const pause, std::ptr::null_mut()) };
    }
    Errno::ETXTBSY
}
