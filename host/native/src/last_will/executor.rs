//! The executor of a last will: a process that waits for the end of a plugin's process, and then runs a command.
//!
//! It is the executable of the host, started in a hidden mode, with the pipe that ends with the plugin's process as its
//! stdin and the host's socket as its stdout. What the host starts forks once and ends: so no process of the host's has
//! the executor as a child to collect or to end.
//!
//! The command runs with the host's environment, in `/`, without input; its output is kept to say what went wrong.

use super::{
    TIME,
    wire::{Answer, Order, receive, send},
};
use executor_runtime_supervisor::reset_dispositions;
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, FdFlag, OFlag, fcntl, open},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        memfd::{MFdFlags, memfd_create},
        signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, killpg, sigaction},
        stat::Mode,
        wait::{WaitStatus, waitpid},
    },
    unistd::{AccessFlags, ForkResult, Pid, access, dup2_stdin, dup2_stdout, fork, setsid},
};
use std::{
    env,
    fs::File,
    io::{self, Read},
    os::{
        fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
        unix::{fs::FileExt, net::UnixStream, process::CommandExt},
    },
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    time::Instant,
};

/// The first argument that asks for this mode. It is not for people.
pub(crate) const EXECUTOR_MODE: &str = "__last-will";

/// Bytes of a command's output that are told.
const TOLD: usize = 400;

/// A will in force.
struct Will {
    command: Vec<String>,
    /// The program, open since the will was left: what is run is what was there then.
    program: OwnedFd,
}

/// Becomes the executor. The process has one thread.
pub(crate) fn main() -> ExitCode {
    // Out of the host's session and process group, and no child of the host's.
    // SAFETY: this process has one thread.
    match unsafe { fork() } {
        Ok(ForkResult::Child) => {}
        Ok(ForkResult::Parent { .. }) => return ExitCode::SUCCESS,
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

/// The pipe and the host's socket, out of the way of the command. A signal to all processes of a service or a session does
/// not end the executor: it ends with the plugin's process.
fn take_places() -> io::Result<(File, UnixStream)> {
    // Kept by a command, these would not be closed with this process.
    let life = io::stdin().as_fd().try_clone_to_owned()?;
    let host = io::stdout().as_fd().try_clone_to_owned()?;
    let null = open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())?;
    dup2_stdin(&null)?;
    dup2_stdout(&null)?;
    extern "C" fn nothing(_: libc::c_int) {}
    // A handler, and not to ignore them: the command would inherit that.
    let action = SigAction::new(SigHandler::Handler(nothing), SaFlags::SA_RESTART, SigSet::empty());
    for signal in [
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
        Signal::SIGQUIT,
        Signal::SIGPIPE,
    ] {
        // SAFETY: the handler does nothing.
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
    let answer = carry_out(&will).map_or_else(Answer::Refused, |()| Answer::Done);
    match host {
        Some(host) => send(host, &answer),
        None => Ok(()),
    }
}

/// Takes one order; a host that is gone gives no more.
fn obey(host: &mut Option<UnixStream>, will: &mut Option<Will>) {
    let Some(stream) = host else { return };
    let answered = receive(stream).and_then(|order| {
        let answer = match order {
            Order::Withdraw => {
                *will = None;
                Answer::Done
            }
            Order::Leave(command) => match find(command) {
                Ok(left) => {
                    *will = Some(left);
                    Answer::Done
                }
                Err(reason) => Answer::Refused(reason),
            },
        };
        send(stream, &answer)
    });
    if answered.is_err() {
        *host = None;
    }
}

/// Opens the program of a command.
fn find(command: Vec<String>) -> Result<Will, String> {
    let name = command.first().filter(|name| !name.is_empty());
    let name = name.ok_or("the last will has no program")?;
    if command.iter().any(|part| part.contains('\0')) {
        return Err("an argument of the last will has a NUL byte".to_owned());
    }
    let open = |path: &Path| {
        let program = open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
        access(&of_descriptor(&program), AccessFlags::X_OK)?;
        if path.is_dir() {
            Err(Errno::EISDIR)
        } else {
            Ok(program)
        }
    };
    let found = if name.starts_with('/') {
        open(Path::new(name))
    } else if name.contains('/') {
        return Err(format!(
            "the program of the last will, '{name}', is no absolute path"
        ));
    } else {
        let path = env::var_os("PATH").unwrap_or_default();
        let mut programs = env::split_paths(&path).filter_map(|folder| open(&folder.join(name)).ok());
        programs.next().ok_or(Errno::ENOENT)
    };
    match found {
        Ok(program) => Ok(Will { command, program }),
        Err(errno) => Err(format!(
            "the program of the last will, '{name}', can't be used: {}",
            io::Error::from(errno)
        )),
    }
}

fn of_descriptor(descriptor: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", descriptor.as_raw_fd()))
}

/// Runs the command; the error says why it was not carried out.
fn carry_out(will: &Will) -> Result<(), String> {
    let broken = |error: io::Error| format!("its command can't be run: {error}");
    let output = memfd_create(c"last-will-output", MFdFlags::MFD_CLOEXEC);
    let output = output.map_err(|errno| broken(errno.into()))?;
    let copy = || output.try_clone().map(Stdio::from).map_err(broken);
    // For a script: what runs it opens it by this descriptor.
    fcntl(&will.program, FcntlArg::F_SETFD(FdFlag::empty())).map_err(|errno| broken(errno.into()))?;
    let mut command = Command::new(of_descriptor(&will.program));
    command
        .arg0(&will.command[0])
        .args(&will.command[1..])
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(copy()?)
        .stderr(copy()?);
    // The command would inherit what the host was started to ignore.
    // SAFETY: only system calls are made between `fork` and `exec`.
    unsafe {
        command.pre_exec(|| {
            reset_dispositions();
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
    match status {
        WaitStatus::Exited(_, 0) => Ok(()),
        WaitStatus::Exited(_, code) => Err(format!("its command exited with code {code}{}", told(output))),
        WaitStatus::Signaled(_, signal, _) => {
            Err(format!("its command was ended by {signal}{}", told(output)))
        }
        other => Err(format!("its command: {other:?}")),
    }
}

/// Waits for the end of a child, which stays to be collected.
fn ends_in_time(child: Pid) -> bool {
    // SAFETY: no memory is involved.
    let process = unsafe { libc::syscall(libc::SYS_pidfd_open, child.as_raw(), 0) };
    let Ok(process @ 0..) = i32::try_from(process) else {
        return false;
    };
    // SAFETY: the kernel has just made it for this process.
    let process = unsafe { OwnedFd::from_raw_fd(process) };
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
