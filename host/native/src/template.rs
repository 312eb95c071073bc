//! The template process of one plugin, from the host's side.

use super::{
    rights,
    worker::{LIBRARY, MAX_HELLO, READY, WORKER_MODE},
};
use executor_runtime_plugin::Unusable;
use executor_runtime_supervisor::{Detached, Exit, Job, Limits, Report, Supervisors};
use nix::{
    fcntl::{OFlag, open},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        memfd::{MFdFlags, memfd_create},
        signal::Signal,
        socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, socketpair},
        stat::Mode,
    },
};
use std::{
    ffi::{CString, OsString},
    fs::File,
    io,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::{ffi::OsStrExt, fs::FileExt},
    },
    path::Path,
    time::{Duration, Instant},
};

/// How long a library has to load.
const LOAD_TIME: Duration = Duration::from_secs(10);
/// Bytes of a template's output that are kept, to explain why it did not load.
const MAX_OUTPUT: u64 = 64 * 1024;

/// Why there is no template.
#[derive(Debug)]
pub(super) enum LoadError {
    /// The host can't have another process.
    Exhausted(io::Error),
    /// The file can't be used.
    File(Unusable),
    /// The library does not load, for this reason.
    Library(String),
}

impl From<io::Error> for LoadError {
    fn from(error: io::Error) -> Self {
        Self::Exhausted(error)
    }
}

/// A living template. Dropping it ends it, with every invocation under way.
#[derive(Debug)]
pub(super) struct Template {
    /// Start the children.
    pub(super) children: Supervisors,
    process: Detached,
}

impl Template {
    /// Starts a process that loads `library`, the bytes of the file at `path`, and keeps its children's supervisors for
    /// `idle_time` when they have nothing to do. Blocks until it has loaded.
    pub(super) fn start(
        supervisors: &Supervisors,
        program: &Path,
        library: &File,
        path: &Path,
        idle_time: Duration,
    ) -> Result<Self, LoadError> {
        let (ours, theirs) = socketpair(
            AddressFamily::Unix,
            SockType::SeqPacket,
            None,
            SockFlag::SOCK_CLOEXEC,
        )
        .map_err(io::Error::from)?;
        // As the message that the template reads first.
        rights::send(&ours, LIBRARY, &[library.try_clone()?.into()])?;
        let output = memfd_create(c"template-output", MFdFlags::MFD_CLOEXEC).map_err(io::Error::from)?;
        let job = job(program, path, theirs, &output)?;
        let process = supervisors.supervise(job).map_err(|error| error.0)?.detach();
        let hello = hello(&ours, Instant::now() + LOAD_TIME);
        match hello.as_deref() {
            Ok([READY, ..]) => Ok(Self {
                children: Supervisors::attach(ours).with_idle_time(idle_time),
                process,
            }),
            Ok([_, reason @ ..]) => Err(LoadError::Library(String::from_utf8_lossy(reason).into_owned())),
            Ok([]) => Err(died(&process, &output)),
            Err(_) => Err(LoadError::Library(format!(
                "it was not loaded within {} s",
                LOAD_TIME.as_secs()
            ))),
        }
    }
}

impl Template {
    /// Ends it, with every invocation under way, also where it was stopped; true once it is certain that nothing of
    /// it is left. Blocks for two seconds at most.
    pub(super) fn end(&self) -> bool {
        self.process.end()
    }
}

fn job(program: &Path, path: &Path, channel: OwnedFd, output: &OwnedFd) -> io::Result<Job> {
    let text = |bytes: &[u8]| CString::new(bytes).map_err(io::Error::other);
    let variable = |(name, value): (OsString, OsString)| {
        let mut bytes = name.as_bytes().to_vec();
        bytes.push(b'=');
        bytes.extend_from_slice(value.as_bytes());
        text(&bytes)
    };
    let root = open("/", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
    let null = open("/dev/null", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    Ok(Job {
        program: text(program.as_os_str().as_bytes())?,
        argv: vec![
            text(b"executor-runtime")?,
            text(WORKER_MODE.as_bytes())?,
            // What it loads comes over the channel. This is for messages, and for people who list processes.
            text(std::path::absolute(path)?.as_os_str().as_bytes())?,
        ],
        env: std::env::vars_os().map(variable).collect::<Result<_, _>>()?,
        cwd: root,
        lock: null.try_clone()?,
        stdin: null,
        stdout: output.try_clone()?,
        stderr: output.try_clone()?,
        channel: Some(channel),
        output_event: None,
        direct_output: false,
        time_left: None,
        grace: Duration::ZERO,
        max_output_bytes: MAX_OUTPUT,
        limits: Limits::default(),
    })
}

/// The template's first message; empty if it ended without one, an error if it says nothing in time.
fn hello(socket: &OwnedFd, until: Instant) -> io::Result<Vec<u8>> {
    let left = until.saturating_duration_since(Instant::now());
    let timeout = PollTimeout::try_from(left.as_millis()).unwrap_or(PollTimeout::MAX);
    let mut ready = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
    if poll(&mut ready, timeout)? == 0 {
        return Err(io::ErrorKind::TimedOut.into());
    }
    let mut buffer = vec![0; MAX_HELLO];
    let length = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()).unwrap_or(0);
    buffer.truncate(length);
    Ok(buffer)
}

/// Why a template ended while it loaded the library.
fn died(process: &Detached, output: &OwnedFd) -> LoadError {
    let how = match process.ended_within(Duration::from_secs(1)) {
        Some(Report::Ended(ended)) => exit(&ended.exit),
        Some(Report::NotStarted { errno, .. }) => {
            return LoadError::Exhausted(errno.into());
        }
        None => "the process that loaded it is gone".to_owned(),
    };
    let mut said = vec![0; 1024];
    let length = output
        .try_clone()
        .map(File::from)
        .and_then(|file| file.read_at(&mut said, 0));
    said.truncate(length.unwrap_or(0));
    let said = String::from_utf8_lossy(&said);
    LoadError::Library(match said.lines().find(|line| !line.trim().is_empty()) {
        Some(line) => format!("{how} while it was loaded: {}", line.trim()),
        None => format!("{how} while it was loaded"),
    })
}

/// How a process that should not have ended did.
pub(super) fn exit(exit: &Exit) -> String {
    match exit {
        Exit::Code(code) => format!("it exited with code {code}"),
        Exit::Signal { signal, core_dumped } => {
            let name = Signal::try_from(*signal).map_or("an unnamed signal", Signal::as_str);
            let core = if *core_dumped { ", core dumped" } else { "" };
            format!("it was ended by {name} (signal {signal}){core}")
        }
    }
}
