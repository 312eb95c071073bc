//! A supervisor: starts a target, watches it, and ends everything that came of it.
//!
//! It is a child subreaper, so whatever the target starts stays below it, however it detaches. It has one
//! thread and one loop, which waits for: the end of a child, output, a word from the host, the deadline.
//! When the target has ended, or the host has, or time is up, it ends all descendants, keeps what output is
//! still in the pipes, and reports. Then nothing of the job is left in it, and it is ready for the next one:
//! a supervisor costs more to make than most targets cost to run.
//!
//! Runs in a child of `fork`: no allocation.

use super::{
    descendants::{self, Sweep},
    output::{Drained, Output},
    spec::{Spec, SpecRoom},
    sys::{self, ChildStack, Forked, Wait},
    target::{self, OutputFds, StartError, Target},
    wire::{
        CAUSE_CANCEL, CAUSE_DEADLINE, CAUSE_NONE, CAUSE_PROCESSES, JobFds, ORDER_JOB, ORDER_KILL,
        ORDER_TERMINATE, Order, RawReport, STAGE_FORK, STAGE_SUPERVISOR, UNLIMITED,
    },
};
use nix::errno::Errno;
use std::{cell::Cell, os::fd::RawFd};

/// Where the control socket is put.
const CONTROL: RawFd = 3;
/// Where the descriptor for the end of children is put. Everything above is the job's while there is one.
const SIGNALS: RawFd = 4;
/// How often the number of processes is compared with its limit.
const COUNT_INTERVAL_NS: u64 = 20_000_000;

/// Runs the jobs that come over `control` until the host closes it. Runs in a child of the spawner.
pub(super) fn serve(control: RawFd, target: Target) -> ! {
    // SAFETY: no memory is involved.
    let spawner = unsafe { libc::getppid() };
    // SAFETY: as above.
    unsafe { libc::setsid() };
    run_jobs(control, target, Jobs::Many);
    // A run may have stopped the spawner, which has to see that the host is gone.
    // SAFETY: no memory is involved.
    if unsafe { libc::getppid() } == spawner {
        sys::kill(spawner, libc::SIGCONT);
    }
    sys::exit_now(0)
}

/// Runs the one job that comes over `control`, if the host does not close it before. Runs in a process that has a session
/// of its own.
pub(super) fn serve_once(control: RawFd, target: Target) -> ! {
    run_jobs(control, target, Jobs::One);
    sys::exit_now(0)
}

/// How many jobs a supervisor has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Jobs {
    One,
    Many,
}

fn run_jobs(control: RawFd, target: Target, jobs: Jobs) {
    let mut room = set_up(control).unwrap_or_else(|errno| {
        refuse(control, STAGE_SUPERVISOR, errno);
        sys::exit_now(1)
    });
    // Waiting for an order blocks; a job's end and the host's are told by `poll`.
    while let Ok(Some((order, len, received))) =
        sys::receive_with_tail::<Order>(CONTROL, 0, room.spec.message)
    {
        if order.tag != ORDER_JOB {
            // A word about a job that was over before it came.
            continue;
        }
        let job = JobFds::name(&order, received.as_slice()).ok_or(StartError {
            stage: STAGE_SUPERVISOR,
            // The kernel passes on only as many descriptors as there may be.
            errno: Errno::EMFILE,
        });
        let ran = job.and_then(|fds| run(&fds, len, &mut room, target));
        let mut report = ran.unwrap_or_else(|StartError { stage, errno }| not_started(stage, errno));
        report.retired |= u32::from(jobs == Jobs::One);
        // Its variables may be secret, and are nothing to the next job.
        room.spec.forget(len);
        // Before the report, so that its reader finds the capture directory unlocked.
        sys::close_from(SIGNALS + 1);
        let sent = sys::send(CONTROL, &report, &[]);
        if sent.is_err() || report.retired != 0 {
            break;
        }
    }
}

fn not_started(stage: u32, errno: Errno) -> RawReport {
    RawReport {
        stage,
        errno: errno as i32,
        ..RawReport::default()
    }
}

/// Tells the host at the other end of `control` why it gets no supervisor.
pub(super) fn refuse(control: RawFd, stage: u32, errno: Errno) {
    let _ = sys::send(control, &not_started(stage, errno), &[]);
}

/// Tells it that the supervisor could not be set up.
pub(super) fn refuse_setup(control: RawFd, errno: Errno) {
    refuse(control, STAGE_SUPERVISOR, errno);
}

/// Memory that one job after another uses.
struct Room {
    spec: SpecRoom,
    stack: ChildStack,
}

fn set_up(control: RawFd) -> sys::Result<Room> {
    // SAFETY: no memory is involved.
    Errno::result(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) })?;
    // Out of the way of the two places.
    let control = sys::duplicate_above(control, SIGNALS + 1)?;
    sys::place_fd(control, CONTROL)?;
    let signals = sys::child_signals()?;
    sys::place_fd(signals, SIGNALS)?;
    sys::close_from(SIGNALS + 1);
    Ok(Room {
        spec: SpecRoom::map()?,
        stack: ChildStack::map()?,
    })
}

/// Runs a job to its end; its specification is a memory file, or the first `len` bytes of what came in the message.
fn run(fds: &JobFds, len: usize, room: &mut Room, target: Target) -> Result<RawReport, StartError> {
    let broken = |errno| StartError {
        stage: STAGE_SUPERVISOR,
        errno,
    };
    let spec = match fds.spec {
        Some(file) => Spec::map(file),
        None => Spec::of_message(&room.spec, len),
    };
    let spec = spec.map_err(broken)?;
    let cap = spec.header.max_output_bytes;
    let (outputs, write_ends) = if spec.header.direct_output == 1 {
        (
            [None, None],
            OutputFds {
                stdout: fds.stdout,
                stderr: fds.stderr,
            },
        )
    } else {
        let (out, out_write) = sys::pipe().map_err(broken)?;
        let (err, err_write) = sys::pipe().map_err(broken)?;
        let outputs = [
            Some(Output::new(out, fds.stdout, cap)),
            Some(Output::new(err, fds.stderr, cap)),
        ];
        (
            outputs,
            OutputFds {
                stdout: out_write,
                stderr: err_write,
            },
        )
    };
    let counting_room = if spec.header.processes == UNLIMITED {
        Default::default()
    } else {
        descendants::counting_room().map_err(broken)?
    };
    let target = start_target(&spec, fds, write_ends, target, &mut room.stack)?;
    // The target has its own now. Keeping these here would hide the end of its output, or of its channel.
    for fd in [Some(write_ends.stdout), Some(write_ends.stderr), fds.channel]
        .into_iter()
        .flatten()
    {
        sys::close(fd);
    }
    let mut watch = Watch {
        target,
        deadline_ns: spec.header.deadline_ns,
        grace_ns: spec.header.grace_ns,
        processes: spec.header.processes,
        room: counting_room,
        outputs,
        output_event: fds.output_event,
        state: State::Running,
        report: RawReport::default(),
    };
    watch.until_over();
    watch.end_everything();
    // The scratch memory for counting is not given back.
    watch.report.retired |= u32::from(watch.processes != UNLIMITED);
    Ok(watch.report)
}

fn start_target(
    spec: &Spec,
    fds: &JobFds,
    output: OutputFds,
    target: Target,
    stack: &mut ChildStack,
) -> Result<libc::pid_t, StartError> {
    let start = Start {
        spec,
        fds,
        output,
        // SAFETY: no memory is involved.
        supervisor: unsafe { libc::getpid() },
        error: Cell::new(None),
    };
    if let Target::Entry(entry) = target {
        return fork_entry(&start, entry);
    }
    // SAFETY: this process has one thread; `target_main` ends without returning, and writes to `error` only.
    let started = unsafe { sys::run_suspended(&start, target_main, stack) };
    let pid = started.map_err(|errno| StartError {
        stage: STAGE_FORK,
        errno,
    })?;
    match start.error.get() {
        None => Ok(pid),
        Some(error) => {
            while matches!(sys::reap(pid), Wait::Alive) {}
            Err(error)
        }
    }
}

/// Forks a process that runs `entry`. Unlike an exec'd program it keeps using the memory that it was forked with, so
/// the C library has to know about it, and it can't share that memory meanwhile.
fn fork_entry(start: &Start<'_>, entry: fn() -> !) -> Result<libc::pid_t, StartError> {
    let broken = |errno| StartError {
        stage: STAGE_FORK,
        errno,
    };
    // The child closes its end when it is prepared, or says before what went wrong.
    let (told, tell) = sys::pipe().map_err(broken)?;
    // SAFETY: this process has one thread, and the child does not return.
    let forked = unsafe { sys::fork() };
    if let Ok(Forked::Child) = forked {
        if let Err(error) = target::prepare(start.spec, start.fds, start.output, start.supervisor) {
            let words = [error.stage, error.errno as u32].map(u32::to_ne_bytes);
            sys::write(tell, words.as_flattened());
            sys::exit_now(127)
        }
        entry()
    }
    sys::close(tell);
    let mut words = [0; 8];
    let mut ready = [libc::pollfd {
        fd: told,
        events: libc::POLLIN,
        revents: 0,
    }];
    let pid = match forked.map_err(broken)? {
        Forked::Parent(pid) => pid,
        Forked::Child => unreachable!("the child runs its entry"),
    };
    sys::poll(&mut ready, None);
    let said = sys::read(told, &mut words);
    sys::close(told);
    if said != Ok(words.len()) {
        return Ok(pid);
    }
    while matches!(sys::reap(pid), Wait::Alive) {}
    let [stage, errno] = [
        [words[0], words[1], words[2], words[3]],
        [words[4], words[5], words[6], words[7]],
    ]
    .map(u32::from_ne_bytes);
    Err(StartError {
        stage,
        errno: Errno::from_raw(errno as i32),
    })
}

/// What the target's process needs to become the target, in memory that both share.
struct Start<'a> {
    spec: &'a Spec,
    fds: &'a JobFds,
    output: OutputFds,
    supervisor: libc::pid_t,
    error: Cell<Option<StartError>>,
}

extern "C" fn target_main(start: *mut libc::c_void) -> i32 {
    // SAFETY: `start_target` passes a `Start`, and is suspended until this process ends or calls `execve`.
    let start = unsafe { &*start.cast::<Start<'_>>() };
    start.error.set(Some(target::become_program(
        start.spec,
        start.fds,
        start.output,
        start.supervisor,
    )));
    sys::exit_now(127)
}

/// How far a run is.
enum State {
    Running,
    /// The target was asked to end; everything is killed at this time.
    Terminating {
        kill_at_ns: u64,
    },
    /// The target has ended, or is to be killed now.
    Over,
}

struct Watch {
    target: libc::pid_t,
    deadline_ns: u64,
    grace_ns: u64,
    processes: u64,
    room: &'static mut [libc::pid_t],
    outputs: [Option<Output>; 2],
    /// Is raised when output was kept.
    output_event: Option<RawFd>,
    state: State,
    report: RawReport,
}

impl Watch {
    /// Waits until the target has ended or is to be killed.
    fn until_over(&mut self) {
        let mut next_count = sys::monotonic_ns();
        loop {
            let mut wake_at = match self.state {
                State::Running => self.deadline_ns,
                State::Terminating { kill_at_ns } => kill_at_ns,
                State::Over => return,
            };
            if self.processes != UNLIMITED {
                wake_at = wake_at.min(next_count);
            }
            let read = |fd| libc::pollfd {
                fd,
                events: libc::POLLIN,
                revents: 0,
            };
            let output_fd = |output: &Option<Output>| read(output.as_ref().map_or(-1, Output::poll_fd));
            let mut ready = [
                read(SIGNALS),
                read(CONTROL),
                output_fd(&self.outputs[0]),
                output_fd(&self.outputs[1]),
            ];
            sys::poll(&mut ready, (wake_at != UNLIMITED).then_some(wake_at));
            let [child, control, stdout, stderr] = ready.map(|fd| fd.revents != 0);
            if child {
                self.collect_ended();
            }
            if control {
                self.obey();
            }
            for (output, ready) in self.outputs.iter_mut().zip([stdout, stderr]) {
                if let (Some(output), true) = (output, ready) {
                    output.drain();
                }
            }
            if let (Some(event), true) = (self.output_event, stdout || stderr) {
                sys::raise(event);
            }
            let now = sys::monotonic_ns();
            if self.processes != UNLIMITED && now >= next_count {
                self.check_processes();
                next_count = now + COUNT_INTERVAL_NS;
            }
            match self.state {
                State::Running if now >= self.deadline_ns => self.terminate(CAUSE_DEADLINE),
                State::Terminating { kill_at_ns } if now >= kill_at_ns => self.state = State::Over,
                _ => {}
            }
        }
    }

    /// Collects orphans that have ended; sees that the target has, and leaves it in place, so that its pid
    /// keeps naming its process group.
    fn collect_ended(&mut self) {
        sys::drain_signals(SIGNALS);
        while let Wait::Ended(pid) = sys::peek_ended() {
            if pid == self.target {
                self.state = State::Over;
                return;
            }
            if let Wait::Ended(orphan) = sys::reap(pid) {
                self.account(&orphan);
            }
        }
    }

    fn obey(&mut self) {
        match sys::receive::<Order>(CONTROL, libc::MSG_DONTWAIT) {
            Ok(Some((order, _))) if order.tag == ORDER_TERMINATE => self.terminate(CAUSE_CANCEL),
            Ok(Some((order, _))) if order.tag == ORDER_KILL => self.kill(),
            Ok(Some(_)) | Err(Errno::EAGAIN) => {}
            // The other end is closed: the host is gone, by whatever cause.
            Ok(None) | Err(_) => self.kill(),
        }
    }

    fn kill(&mut self) {
        if self.report.cause == CAUSE_NONE {
            self.report.cause = CAUSE_CANCEL;
        }
        self.state = State::Over;
    }

    /// Asks the target's process group to end.
    fn terminate(&mut self, cause: u32) {
        if !matches!(self.state, State::Running) {
            return;
        }
        self.report.cause = cause;
        sys::kill(-self.target, libc::SIGTERM);
        // A stopped process only takes note of TERM once it runs again.
        sys::kill(-self.target, libc::SIGCONT);
        self.state = State::Terminating {
            kill_at_ns: sys::monotonic_ns().saturating_add(self.grace_ns),
        };
    }

    fn check_processes(&mut self) {
        let count = descendants::count(self.room);
        if u64::from(count) > self.processes {
            self.report.processes_seen = count;
            self.report.cause = CAUSE_PROCESSES;
            self.state = State::Over;
        }
    }

    /// Ends what is left, the target included, and keeps the rest of the output.
    fn end_everything(&mut self) {
        sys::kill(-self.target, libc::SIGKILL);
        let Self { target, report, .. } = self;
        let (target, mut leaked) = (*target, 0);
        let swept = Sweep::of_thread(SIGNALS).run(
            |_| false,
            |reaped| {
                add_usage(report, &reaped.usage);
                if reaped.pid == target {
                    report.wait_status = reaped.status;
                } else if libc::WIFSIGNALED(reaped.status) && libc::WTERMSIG(reaped.status) == libc::SIGKILL {
                    leaked += 1;
                }
            },
        );
        self.report.leaked = leaked;
        self.report.unkillable = swept.unkillable;
        self.report.retired = u32::from(swept.urgent || swept.unkillable > 0);
        for (index, output) in self.outputs.iter_mut().enumerate() {
            let Some(output) = output else { continue };
            drain_rest(output);
            self.report.output_errno[index] = output.errno();
            self.report.output_bytes[index] = output.kept();
            self.report.truncated |= u32::from(output.truncated()) << index;
        }
    }

    fn account(&mut self, orphan: &sys::Reaped) {
        add_usage(&mut self.report, &orphan.usage);
    }
}

/// Keeps what is in the pipe. All of the job's writers are dead; a stranger that was handed the descriptor
/// could go on writing, so no more is taken than a pipe can hold.
fn drain_rest(output: &mut Output) {
    // 1 MiB is `/proc/sys/fs/pipe-max-size`; a pipe is smaller unless a program has enlarged it.
    for _ in 0..256 {
        if output.drain() == Drained::Done {
            break;
        }
    }
}

fn add_usage(report: &mut RawReport, usage: &libc::rusage) {
    let microseconds = |time: libc::timeval| (time.tv_sec as u64) * 1_000_000 + time.tv_usec as u64;
    report.max_rss_kib = report.max_rss_kib.max(usage.ru_maxrss as u64);
    report.user_us += microseconds(usage.ru_utime);
    report.system_us += microseconds(usage.ru_stime);
}
