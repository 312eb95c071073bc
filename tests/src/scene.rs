//! Where a test takes place.

use crate::{Finished, Invocation, Process, Watchdog, binaries, eventually, processes};
use std::{
    fs,
    io::Write,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// The variable that marks every process of a scene, the host and its supervisors included.
pub const MARKER: &str = "E2E_SCENE";

/// A directory of its own, and a mark on every process that is started from here.
#[derive(Debug)]
pub struct Scene {
    directory: TempDir,
    mark: String,
}

impl Default for Scene {
    fn default() -> Self {
        Self::new()
    }
}

impl Scene {
    /// A new, empty scene.
    pub fn new() -> Self {
        let directory = tempfile::Builder::new()
            .prefix("e2e-")
            .tempdir()
            .expect("a temporary directory");
        let mark = directory.path().display().to_string();
        Self { directory, mark }
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        self.directory.path()
    }

    /// A path in the directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    /// Writes a file.
    #[track_caller]
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).expect("it can be written");
        path
    }

    /// Writes a file that may be executed.
    #[track_caller]
    pub fn program(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = self.file(name, content);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its mode can be set");
        path
    }

    /// An invocation of `command` here.
    pub fn invocation<S: AsRef<str>>(&self, command: &[S]) -> Invocation {
        Invocation::new(self.root(), command)
    }

    /// An invocation of a shell script here.
    pub fn script(&self, script: &str) -> Invocation {
        self.invocation(&["sh", "-c", script])
    }

    /// An invocation of the helper that behaves badly.
    pub fn nasty(&self, arguments: &[&str]) -> Invocation {
        let program = binaries::nasty();
        let command: Vec<_> = std::iter::once(program.as_str())
            .chain(arguments.iter().copied())
            .collect();
        self.invocation(&command)
    }

    /// Where output of an invocation is kept by default.
    pub fn capture(&self, id: &str) -> PathBuf {
        self.path(".executor_runtime").join(id)
    }

    /// `NAME=value` of the mark.
    pub fn mark(&self) -> String {
        format!("{MARKER}={}", self.mark)
    }

    /// Marks a command's process. Signals do by default what they do by default, however the tests were started.
    pub fn marked<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        // SAFETY: `signal` may be called between `fork` and `exec`; SIG_DFL runs no code.
        unsafe {
            command.pre_exec(|| {
                for signal in [libc::SIGINT, libc::SIGHUP] {
                    libc::signal(signal, libc::SIG_DFL);
                }
                Ok(())
            });
        }
        command.env(MARKER, &self.mark)
    }

    /// A host process with these arguments, not started.
    pub fn host(&self, arguments: &[&str]) -> Command {
        self.host_from(&binaries::host_binary(), arguments)
    }

    /// The same, started by way of `program` (such as `setpriv`), whose arguments end with the host.
    pub fn host_from(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        self.marked(&mut command)
            .args(arguments)
            .current_dir(self.root())
            .env_remove("NO_COLOR")
            .env("TERM", "xterm")
            // What the user who runs the tests has installed and configured is not part of a test.
            .env("XDG_DATA_HOME", self.path("data-of-user"))
            .env("XDG_CONFIG_HOME", self.path("config-of-user"))
            .env("XDG_STATE_HOME", self.path("state-of-user"))
            .env_remove("EXECUTOR_RUNTIME_PLUGINS_DIR")
            .env("XDG_RUNTIME_DIR", self.path("runtime-of-user"))
            .env_remove("EXECUTOR_RUNTIME_CONFIG")
            .env_remove("EXECUTOR_RUNTIME_SOCKET")
            .env_remove("RXP_INPUT_PAYLOAD_PATH")
            .env_remove("TRACEPARENT")
            .env_remove("TRACESTATE")
            .env_remove("OTEL_EXPORTER_OTLP_ENDPOINT")
            .env_remove("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Starts `run` with the invocation on stdin, and gives it all.
    #[track_caller]
    pub fn start(&self, invocation: &Invocation) -> Child {
        feed(
            self.host(&["run", "-"]).stdin(Stdio::piped()),
            invocation.text().as_bytes(),
        )
    }

    /// Starts a host for many runs, with the invocation as its only one.
    #[track_caller]
    pub fn start_batch(&self, invocation: &Invocation) -> Child {
        feed(
            self.host(&["batch", "-"]).stdin(Stdio::piped()),
            invocation.text().as_bytes(),
        )
    }

    /// Runs the invocation to its end.
    #[track_caller]
    pub fn run(&self, invocation: &Invocation) -> Finished {
        self.run_with(&["run", "-"], invocation.text().as_bytes())
    }

    /// Runs the host with these arguments and this stdin.
    #[track_caller]
    pub fn run_with(&self, arguments: &[&str], stdin: &[u8]) -> Finished {
        finish_fed(self.host(arguments).stdin(Stdio::piped()), stdin)
    }

    /// Runs a prepared host command, with this stdin.
    #[track_caller]
    pub fn run_command(&self, command: &mut Command, stdin: &[u8]) -> Finished {
        finish_fed(command.stdin(Stdio::piped()), stdin)
    }

    /// Waits for a host that was started, and takes what it says.
    #[track_caller]
    pub fn finish(&self, child: Child) -> Finished {
        let start = Instant::now();
        let watchdog = Watchdog::over(&child);
        let output = child.wait_with_output().expect("the host can be waited for");
        watchdog.assert_in_time();
        Finished::new(output, start.elapsed())
    }

    /// Every living process of this scene.
    pub fn processes(&self) -> Vec<Process> {
        processes::marked(&self.mark())
    }

    /// Those whose command line contains `text`.
    pub fn processes_with(&self, text: &str) -> Vec<Process> {
        let mut found = self.processes();
        found.retain(|process| process.command.contains(text));
        found
    }

    /// Waits until the file `name` is there with something in it, and returns that.
    #[track_caller]
    pub fn await_file(&self, name: &str) -> String {
        let path = self.path(name);
        eventually(&format!("'{name}' being written"), || {
            fs::read_to_string(&path).ok().filter(|text| !text.is_empty())
        })
    }

    /// No process of the run is left at this moment. The host's own spawner may still be on its way out, so
    /// it and the supervisors (which carry the host's command line) are given a second.
    #[track_caller]
    pub fn assert_nothing_left(&self) {
        let own = binaries::host_binary().display().to_string();
        let mut left = self.processes();
        left.retain(|process| !process.command.starts_with(&own));
        assert_eq!(left, [], "processes of the run are left");
        self.assert_nothing_left_within(Duration::from_secs(1));
    }

    /// No process of this scene is left after `limit`, of whichever kind.
    #[track_caller]
    pub fn assert_nothing_left_within(&self, limit: Duration) {
        let gone = crate::holds(limit, || self.processes().is_empty().then_some(()));
        assert!(gone.is_some(), "left after {limit:?}: {:?}", self.processes());
    }
}

impl Drop for Scene {
    /// A test that fails leaves nothing behind either.
    fn drop(&mut self) {
        for _ in 0..100 {
            let left = self.processes();
            if left.is_empty() {
                break;
            }
            for process in left {
                // SAFETY: no memory is involved.
                unsafe { libc::kill(process.pid, libc::SIGKILL) };
            }
        }
    }
}

#[track_caller]
fn feed(command: &mut Command, stdin: &[u8]) -> Child {
    let mut child = command.spawn().expect("it starts");
    // A host that reads no further has its reasons, and gives them.
    let _ = child.stdin.take().expect("stdin is a pipe").write_all(stdin);
    child
}

#[track_caller]
fn finish_fed(command: &mut Command, stdin: &[u8]) -> Finished {
    let start = Instant::now();
    let mut child = command.spawn().expect("it starts");
    let mut pipe = child.stdin.take().expect("stdin is a pipe");
    let watchdog = Watchdog::over(&child);
    let output = thread::scope(|scope| {
        scope.spawn(move || pipe.write_all(stdin));
        child.wait_with_output().expect("it can be waited for")
    });
    watchdog.assert_in_time();
    Finished::new(output, start.elapsed())
}
