//! The supervisor of one job: starts the target, watches it, and ends everything that came of it.
//!
//! It is a child subreaper, so whatever the target starts stays below it, however it detaches. It has one
//! thread and one loop, which waits for: the end of a child, output, a word from the host, the deadline.
//! When the target has ended, or the host has, or time is up, it ends all descendants, keeps what output is
//! still in the pipes, and reports.
//!
//! Runs in a child of `fork`: no allocation.

use super::{
    descendants,
    output::{Drained, Output},
    spec::Spec,
    sys::{self, Forked, Wait},
    target::{self, OutputFds, StartError},
    wire::{
        CAUSE_CANCEL, CAUSE_DEADLINE, CAUSE_NONE, CAUSE_PROCESSES, CONTROL_KILL, CONTROL_TERMINATE, JobFds,
        RawReport, STAGE_FORK, STAGE_SUPERVISOR, UNLIMITED,
    },
};
use nix::errno::Errno;
use std::os::fd::RawFd;

/// How often the number of processes is compared with its limit.
const COUNT_INTERVAL_NS: u64 = 20_000_000;

/// Supervises one job to its end.
pub(super) fn supervise(fds: &JobFds) -> ! {
    let report = match run(fds) {
        Ok(report) => report,
        Err(StartError { stage, errno }) => RawReport {
            stage,
            errno: errno as i32,
            ..RawReport::default()
        },
    };
    // Whoever waits for the lock or for the end of the output may go on before the host reads the report.
    for fd in [fds.lock, fds.stdout, fds.stderr] {
        sys::close(fd);
    }
    // If the host is gone there is nobody to report to, and nothing left to do about it.
    let _ = sys::send(fds.control, &report, &[]);
    sys::exit_now(0)
}

fn run(fds: &JobFds) -> Result<RawReport, StartError> {
    let broken = |errno| StartError {
        stage: STAGE_SUPERVISOR,
        errno,
    };
    // SAFETY: neither call involves memory.
    unsafe {
        libc::setsid();
        Errno::result(libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1)).map_err(broken)?;
    }
    let signals = sys::child_signals().map_err(broken)?;
    let spec = Spec::map(fds.spec).map_err(broken)?;
    let (pipes, write_ends) = if spec.header.direct_output == 1 {
        (
            None,
            OutputFds {
                stdout: fds.stdout,
                stderr: fds.stderr,
            },
        )
    } else {
        let (out, out_write) = sys::pipe().map_err(broken)?;
        let (err, err_write) = sys::pipe().map_err(broken)?;
        (
            Some([out, err]),
            OutputFds {
                stdout: out_write,
                stderr: err_write,
            },
        )
    };
    let target = start_target(&spec, fds, write_ends)?;
    let cap = spec.header.max_output_bytes;
    let outputs = match pipes {
        Some([out, err]) => {
            sys::close(write_ends.stdout);
            sys::close(write_ends.stderr);
            [
                Some(Output::new(out, fds.stdout, cap)),
                Some(Output::new(err, fds.stderr, cap)),
            ]
        }
        None => [None, None],
    };
    // The target has its own now. Keeping the worker's channel open here would hide its end.
    sys::close(fds.stdin);
    if let Some(channel) = fds.channel {
        sys::close(channel);
    }
    let room = if spec.header.processes == UNLIMITED {
        Default::default()
    } else {
        descendants::counting_room().map_err(broken)?
    };
    let mut watch = Watch {
        target,
        control: fds.control,
        signals,
        deadline_ns: spec.header.deadline_ns,
        grace_ns: spec.header.grace_ns,
        processes: spec.header.processes,
        room,
        outputs,
        state: State::Running,
        report: RawReport::default(),
    };
    watch.until_over();
    watch.end_everything();
    Ok(watch.report)
}

fn start_target(spec: &Spec, fds: &JobFds, output: OutputFds) -> Result<libc::pid_t, StartError> {
    let forking = |errno| StartError {
        stage: STAGE_FORK,
        errno,
    };
    let shared = sys::map_anonymous(size_of::<[u32; 2]>(), true)
        .map_err(forking)?
        .cast::<[u32; 2]>();
    // SAFETY: no memory is involved.
    let own_pid = unsafe { libc::getpid() };
    // SAFETY: this process has one thread, and the child does not return from here.
    match unsafe { sys::fork_suspended(None) }.map_err(forking)? {
        Forked::Child => {
            let error = target::become_target(spec, fds, output, own_pid);
            // SAFETY: the parent, which shares this page, is suspended until this process has ended.
            unsafe { shared.write_volatile([error.stage, error.errno as i32 as u32]) };
            sys::exit_now(127)
        }
        Forked::Parent(pid) => {
            // SAFETY: the child has called `execve` or ended: nobody writes to the page any more.
            let [stage, errno] = unsafe { shared.read_volatile() };
            if stage == 0 {
                return Ok(pid);
            }
            while matches!(sys::reap(pid), Wait::Alive) {}
            Err(StartError {
                stage,
                errno: Errno::from_raw(errno as i32),
            })
        }
    }
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
    control: RawFd,
    signals: RawFd,
    deadline_ns: u64,
    grace_ns: u64,
    processes: u64,
    room: &'static mut [libc::pid_t],
    outputs: [Option<Output>; 2],
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
                read(self.signals),
                read(self.control),
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
        sys::drain_signals(self.signals);
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
        let mut word = [0_u8; 1];
        match sys::read(self.control, &mut word) {
            Ok(1) if word[0] == CONTROL_TERMINATE => self.terminate(CAUSE_CANCEL),
            Ok(1) if word[0] == CONTROL_KILL => self.kill(),
            // The other end is closed: the host is gone, by whatever cause.
            _ => self.kill(),
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
        let Self {
            target,
            signals,
            report,
            ..
        } = self;
        let (target, mut leaked) = (*target, 0);
        let swept = descendants::sweep(
            *signals,
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
