//! The executor of a last will: a process that waits for the end of a plugin's process, and then runs a command.
//!
//! It is the executable of the host, started in a hidden mode, with the pipe that ends with the plugin's process as its
//! stdin and the host's socket as its stdout. What the host starts forks once and ends: so no process of the host's has
//! the executor as a child to collect or to end.
//!
//! The command runs with the host's environment, in `/`, without input; its output is kept to say what went wrong.

use super::{
    super::rights,
    AGAIN_FOR, PAUSE, TIME, TRY_AGAIN,
    program::path_of,
    wire::{Answer, Order, receive, send},
};
use executor_runtime_supervisor::{open_process, reset_dispositions};
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, FdFlag, OFlag, fcntl, open},
    poll::{PollFd, PollFlags, PollTimeout, poll, ppoll},
    sys::{
        memfd::{MFdFlags, memfd_create},
        prctl::set_pdeathsig,
        signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, killpg, sigaction},
        stat::Mode,
        wait::{WaitStatus, waitpid},
    },
    unistd::{ForkResult, Pid, dup2_stdin, dup2_stdout, fork, getpid, getppid, setsid},
};
use std::{
    fs::File,
    io::{self, Read},
    os::{
        fd::{AsFd, OwnedFd},
        unix::{fs::FileExt, net::UnixStream, process::CommandExt},
    },
    process::{Command, ExitCode, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

/// The first argument that asks for this mode. It is not for people.
pub(crate) const EXECUTOR_MODE: &str = "__last-will";

/// Bytes of a command's output that are told.
const TOLD: usize = 400;

/// A signal has asked this process to end.
static ASKED_TO_END: AtomicBool = AtomicBool::new(false);

/// The signals that do.
const ENDING: [Signal; 4] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT];

/// The will, from the executor's side.
struct Will {
    command: Vec<String>,
    program: OwnedFd,
}

/// Becomes the executor. The process has one thread.
pub(crate) fn main() -> ExitCode {
    // What the host was given: the executor may live for minutes after the host, and someone may wait for the end of a pipe
    // or for a lock.
    // SAFETY: this process has opened nothing beyond its stdin, stdout and stderr.
    unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
    // Out of the host's session and process group, and no child of the host's.
    // SAFETY: this process has one thread.
    match unsafe { fork() } {
        Ok(ForkResult::Child) => {}
        Ok(ForkResult::Parent { child }) => return introduce(child),
        Err(_) => return ExitCode::FAILURE,
    }
    let _ = setsid();
    let executed = take_places().and_then(|(life, host)| {
        let mut host = Some(host);
        let executed = execute(life, &mut host);
        // Its closing tells the host that this process has ended, so that is left to the kernel.
        std::mem::forget(host);
        executed
    });
    match executed {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Gives the host a hold on the executor, which is still this process's child and so the one with that number.
fn introduce(executor: Pid) -> ExitCode {
    let process = open_process(executor.as_raw()).map_err(io::Error::from);
    let sent = process.and_then(|process| rights::send(&io::stdout(), 0, &[process]));
    if sent.is_ok() {
        return ExitCode::SUCCESS;
    }
    let _ = kill(executor, Signal::SIGKILL);
    ExitCode::FAILURE
}

/// The pipe and the host's socket, out of the way of the command. A signal to all processes of a service or a session does
/// not end the executor: it ends with the plugin's process. It only keeps it from running a command again.
fn take_places() -> io::Result<(File, UnixStream)> {
    // Kept by a command, these would not be closed with this process.
    let life = io::stdin().as_fd().try_clone_to_owned()?;
    let host = io::stdout().as_fd().try_clone_to_owned()?;
    let null = open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())?;
    dup2_stdin(&null)?;
    dup2_stdout(&null)?;
    extern "C" fn note(signal: libc::c_int) {
        ASKED_TO_END.fetch_or(signal != libc::SIGPIPE, Ordering::Relaxed);
    }
    // A handler, and not to ignore them: the command would inherit that.
    let action = SigAction::new(SigHandler::Handler(note), SaFlags::SA_RESTART, SigSet::empty());
    for signal in ENDING.into_iter().chain([Signal::SIGPIPE]) {
        // SAFETY: the handler only sets an atomic.
        unsafe { sigaction(signal, &action) }?;
    }
    Ok((life.into(), host.into()))
}

fn execute(mut life: File, host: &mut Option<UnixStream>) -> io::Result<()> {
    let mut will = None;
    // It is started for an order, which counts even if the plugin's process has ended meanwhile.
    obey(host, &mut will);
    loop {
        let mut ready = vec![PollFd::new(life.as_fd(), PollFlags::POLLIN)];
        ready.extend(
            host.as_ref()
                .map(|host| PollFd::new(host.as_fd(), PollFlags::POLLIN)),
        );
        match poll(&mut ready, PollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            polled => polled?,
        };
        let ready: Vec<_> = ready.iter().map(|fd| fd.any() == Some(true)).collect();
        // The orders first: the plugin may have withdrawn its will and ended.
        if ready.get(1) == Some(&true) {
            obey(host, &mut will);
        } else if ready[0] && life.read(&mut [0; 4096])? == 0 {
            break;
        }
    }
    let Some(will) = will else { return Ok(()) };
    let answer = carry_out(&will, host.is_some());
    let is_later = matches!(answer, Answer::Later(_));
    if let Some(host) = host {
        // The plugin's process has ended, so a host that is gone by now needs no answer.
        let _ = send(host, &answer);
    }
    if is_later {
        carry_out_again(&will);
    }
    Ok(())
}

/// Runs a command that could not do its work yet until it has, or its time is over, or a signal asks this process to end.
fn carry_out_again(will: &Will) {
    let until = Instant::now() + AGAIN_FOR;
    while Instant::now() < until {
        pause();
        let is_over = ASKED_TO_END.load(Ordering::Relaxed);
        if is_over || !matches!(carry_out(will, false), Answer::Later(_)) {
            break;
        }
    }
}

/// Waits before another try, or until a signal asks this process to end.
fn pause() {
    // They are let in only by the wait: one that came just before it would be missed otherwise.
    let ending = SigSet::from_iter(ENDING);
    let _ = ending.thread_block();
    if !ASKED_TO_END.load(Ordering::Relaxed) {
        let _ = ppoll(&mut [], Some(PAUSE.into()), Some(SigSet::empty()));
    }
    let _ = ending.thread_unblock();
}

/// Takes one order; a host that is gone gives no more.
fn obey(host: &mut Option<UnixStream>, will: &mut Option<Will>) {
    let Some(stream) = host else { return };
    let answered = receive(stream).and_then(|(order, program)| {
        *will = match (order, program) {
            (Order::Withdraw, _) => None,
            (Order::Leave(command), Some(program)) => Some(Will { command, program }),
            (Order::Leave(_), None) => return Err(io::ErrorKind::InvalidData.into()),
        };
        send(stream, &Answer::Done)
    });
    if answered.is_err() {
        *host = None;
    }
}

/// Runs the command. With a host that starts another executor if this one is killed, the command ends with this one: it would
/// be run twice at the same time. That holds for the process of the command itself, and not for what it has started: the
/// kernel ends only a child with its parent.
fn carry_out(will: &Will, has_host: bool) -> Answer {
    match run(will, has_host) {
        Ok((WaitStatus::Exited(_, 0), _)) => Answer::Done,
        Ok((WaitStatus::Exited(_, code), output)) => {
            let text = format!("its command exited with code {code}{}", told(output));
            if code == TRY_AGAIN && !ASKED_TO_END.load(Ordering::Relaxed) {
                Answer::Later(text)
            } else {
                Answer::Refused(text)
            }
        }
        Ok((WaitStatus::Signaled(_, signal, _), output)) => {
            Answer::Refused(format!("its command was ended by {signal}{}", told(output)))
        }
        Ok((other, _)) => Answer::Refused(format!("its command: {other:?}")),
        Err(reason) => Answer::Refused(reason),
    }
}

/// How the command ended, and what it has written; the error says why it was not run to its end.
fn run(will: &Will, ends_with_executor: bool) -> Result<(WaitStatus, OwnedFd), String> {
    let broken = |error: io::Error| format!("its command can't be run: {error}");
    let output = memfd_create(c"last-will-output", MFdFlags::MFD_CLOEXEC);
    let output = output.map_err(|errno| broken(errno.into()))?;
    let copy = || output.try_clone().map(Stdio::from).map_err(broken);
    // For a script: what runs it opens it by this descriptor.
    fcntl(&will.program, FcntlArg::F_SETFD(FdFlag::empty())).map_err(|errno| broken(errno.into()))?;
    let mut command = Command::new(path_of(&will.program));
    command
        .arg0(&will.command[0])
        .args(&will.command[1..])
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(copy()?)
        .stderr(copy()?);
    let executor = getpid();
    // SAFETY: only system calls are made between `fork` and `exec`.
    unsafe {
        command.pre_exec(move || {
            // The command would inherit what the host was started to ignore.
            reset_dispositions();
            if ends_with_executor {
                set_pdeathsig(Signal::SIGKILL)?;
                if getppid() != executor {
                    return Err(io::ErrorKind::BrokenPipe.into());
                }
            }
            Ok(())
        });
    }
    let child = command.spawn().map_err(broken)?;
    let group = Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX));
    let in_time = ends_in_time(group);
    // It has not been waited for, so its number is its own, and its group's.
    let _ = killpg(group, Signal::SIGKILL);
    let status = waitpid(group, None).map_err(|errno| broken(errno.into()))?;
    if !in_time {
        return Err(format!("its command took longer than {} s", TIME.as_secs()));
    }
    Ok((status, output))
}

/// Waits for the end of a child, which stays to be collected.
fn ends_in_time(child: Pid) -> bool {
    let Ok(process) = open_process(child.as_raw()) else {
        return false;
    };
    let until = Instant::now() + TIME;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(process.as_fd(), PollFlags::POLLIN)], timeout) {
            Err(Errno::EINTR) => {}
            ended => return ended == Ok(1),
        }
    }
}

/// The end of what a command has written, to be added to a sentence.
fn told(output: OwnedFd) -> String {
    let output = File::from(output);
    let length = output.metadata().map_or(0, |metadata| metadata.len());
    let mut last = vec![0; TOLD];
    let read = output.read_at(&mut last, length.saturating_sub(TOLD as u64));
    last.truncate(read.unwrap_or(0));
    let text = String::from_utf8_lossy(&last);
    match text.trim() {
        "" => String::new(),
        text => format!(": {text}"),
    }
}
