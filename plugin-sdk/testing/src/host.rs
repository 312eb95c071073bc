//! The real host with one plugin.

use crate::{command::Place, executable::not_understood, process::Process};
use executor_runtime_protocol::{RuntimeInvocation, RuntimeKind, RuntimeResult};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::{self, File},
    num::NonZeroU64,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

/// Where a host keeps what a run leaves, in the working directory.
const CAPTURES: &str = ".executor_runtime";

/// So that no test hangs.
const TIMEOUT: NonZeroU64 = NonZeroU64::new(120).unwrap();

/// A host that has one plugin, and a directory for what its runs leave.
///
/// Each run is a process of the executable `executor-runtime`. That is the one that `$EXECUTOR_RUNTIME_EXECUTABLE`
/// names, else the first one of: what is built in the test's target directory, what is built in the checkout that this
/// crate lies in, what is installed in a directory of `PATH`.
#[derive(Debug)]
pub struct PluginHost {
    place: Place,
    kind: RuntimeKind,
    invocations: AtomicU64,
    runs: AtomicU64,
}

impl PluginHost {
    /// Takes the plugin file at `path`, a `.wasm` or `.so`.
    ///
    /// # Panics
    /// If it can't be used, with what `plugin list` says; or if there is no host.
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self::configured(path, "")
    }

    /// The same with an operator's configuration, the text of an `executor-runtime.toml`.
    ///
    /// # Panics
    /// If the plugin or the configuration can't be used, or there is no host.
    pub fn configured(path: impl AsRef<Path>, config: &str) -> Self {
        let path = path.as_ref();
        let place = Place::new(config);
        // Alone in a directory, whatever lies beside the file.
        let alone = place.path().join("plugins");
        let linked = fs::create_dir(&alone).and_then(|()| {
            let real = path.canonicalize()?;
            symlink(&real, alone.join(real.file_name().unwrap_or_default()))
        });
        if let Err(error) = linked {
            panic!("'{}' can't be used: {error}", path.display());
        }
        let kind = match first_kind(&place, &alone) {
            Ok(kind) => kind,
            Err(reason) => panic!("'{}' {reason}", path.display()),
        };
        Self {
            place,
            kind,
            invocations: AtomicU64::new(0),
            runs: AtomicU64::new(0),
        }
    }

    /// An invocation of the plugin's first kind, with an id of its own, a time limit of two minutes, and nothing else.
    pub fn invocation(&self) -> Invocation {
        Invocation(RuntimeInvocation {
            invocation_id: format!("run-{}", self.invocations.fetch_add(1, Ordering::Relaxed)),
            runtime_name: "test".to_owned(),
            runtime_kind: self.kind.clone(),
            working_directory: self.directory().to_string_lossy().into_owned(),
            command: vec![self.kind.to_string()],
            environment: BTreeMap::new(),
            timeout_seconds: Some(TIMEOUT),
            input_payload_path: None,
            output_result_path: None,
            artifact_directory: None,
            metadata: BTreeMap::new(),
        })
    }

    /// Runs an invocation to its end.
    ///
    /// # Panics
    /// If it is not a valid invocation.
    pub fn run(&self, invocation: Invocation) -> RuntimeResult {
        self.start(invocation).finish()
    }

    /// Starts the run of an invocation.
    pub fn start(&self, invocation: Invocation) -> Run {
        // A name of its own, even if a test gives one id twice.
        let number = self.runs.fetch_add(1, Ordering::Relaxed);
        let file = self.directory().join(format!("invocation-{number}.json"));
        let document = serde_json::to_vec(&invocation.0).map_err(std::io::Error::other);
        if let Err(error) = document.and_then(|document| fs::write(&file, document)) {
            panic!("'{}' can't be written: {error}", file.display());
        }
        let plugins = self.directory().join("plugins");
        let arguments = [
            "--plugins-dir".as_ref(),
            plugins.as_os_str(),
            "run".as_ref(),
            file.as_os_str(),
        ];
        let captures = match &invocation.0.artifact_directory {
            Some(directory) => PathBuf::from(directory),
            None => Path::new(&invocation.0.working_directory).join(CAPTURES),
        };
        Run {
            process: self.place.start(&arguments),
            capture: captures.join(&invocation.0.invocation_id),
        }
    }

    /// The directory that invocations run in; removed with the host.
    pub fn directory(&self) -> &Path {
        self.place.path()
    }
}

/// The first kind of the plugin that is alone in this directory; else why it can't be used.
fn first_kind(place: &Place, alone: &Path) -> Result<RuntimeKind, String> {
    let arguments = [
        "--plugins-dir".as_ref(),
        alone.as_os_str(),
        "plugin".as_ref(),
        "list".as_ref(),
    ];
    let ended = place.run(&arguments);
    if !ended.status.success() {
        return Err(format!("can't be used: {}", ended.stderr.trim()));
    }
    let unknown = |problem: String| not_understood(OsStr::new("plugin list"), problem);
    let listed: Vec<Value> =
        serde_json::from_slice(&ended.stdout).map_err(|error| unknown(error.to_string()))?;
    // A host also lists the plugins beside its executable.
    let is_here = |found: &&Value| {
        found["path"]
            .as_str()
            .is_some_and(|path| Path::new(path).starts_with(alone))
    };
    let Some(found) = listed.iter().find(is_here) else {
        return Err("is not a plugin file: it is named neither *.wasm nor *.so".to_owned());
    };
    if let Some(reason) = found["reason"].as_str() {
        return Err(reason.to_owned());
    }
    let kind = found["descriptor"]["kinds"][0]
        .as_str()
        .and_then(RuntimeKind::new);
    kind.ok_or_else(|| unknown(format!("no kind in {found}")))
}

/// A run that has been started. If it is dropped, it is ended, and no process of it is left.
#[derive(Debug)]
pub struct Run {
    process: Process,
    /// Where the host keeps what this run leaves, if its id is a plain name.
    capture: PathBuf,
}

impl Run {
    /// Asks the run to stop, as an orchestrator does: with SIGTERM to the host.
    pub fn cancel(&self) {
        self.process.terminate();
    }

    /// Kills the host, as the kernel does where memory runs out: the plugin is told nothing. A run of the same invocation (its
    /// clone) then goes on from the last checkpoint that the plugin made, and with the artifacts that it had begun.
    ///
    /// ```no_run
    /// # let host = executor_runtime_testing::PluginHost::new("plugin.so");
    /// # let server = executor_runtime_testing::Loopback::answering([]);
    /// let invocation = host.invocation().metadata("download.url", server.url("/file"));
    /// let run = host.start(invocation.clone());
    /// // Wait for what the plugin does, such as a request; then:
    /// run.kill();
    /// let result = host.run(invocation);
    /// ```
    ///
    /// # Panics
    /// If what the host has started does not end within 20 seconds.
    pub fn kill(self) {
        self.process.kill();
        // Whatever is left of the run holds the lock on its directory.
        let until = Instant::now() + KILLED;
        while is_held(&self.capture) {
            assert!(
                Instant::now() < until,
                "something of the run in '{}' goes on after its host was killed",
                self.capture.display()
            );
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits for its end. What the host and the plugin have logged goes to stderr, which the test harness shows if the
    /// test fails.
    ///
    /// # Panics
    /// If the host could not use the invocation.
    pub fn finish(self) -> RuntimeResult {
        let ended = match self.process.end() {
            Ok(ended) => ended,
            Err(error) => panic!("the host's output can't be read: {error}"),
        };
        eprint!("{}", ended.stderr);
        match RuntimeResult::from_json(&ended.stdout) {
            Ok(result) => result,
            Err(_) if ended.stdout.is_empty() => {
                panic!(
                    "the host gave no result ({}): {}",
                    ended.status,
                    ended.stderr.trim()
                )
            }
            Err(problem) => panic!("{}", not_understood(OsStr::new("run"), problem)),
        }
    }
}

/// What a host has started ends soon after the host.
const KILLED: Duration = Duration::from_secs(20);

/// Whether a run has locked this directory.
fn is_held(capture: &Path) -> bool {
    File::open(capture).is_ok_and(|directory| directory.try_lock().is_err())
}

/// An invocation that is being put together.
#[derive(Clone, Debug)]
pub struct Invocation(RuntimeInvocation);

impl Invocation {
    /// With a metadata key.
    #[must_use]
    pub fn metadata(mut self, key: &str, value: impl ToString) -> Self {
        self.0.metadata.insert(key.to_owned(), value.to_string());
        self
    }

    /// With a time limit.
    ///
    /// # Panics
    /// If it is 0.
    #[must_use]
    pub fn timeout_seconds(mut self, seconds: u64) -> Self {
        assert!(seconds > 0, "a time limit is at least one second");
        self.0.timeout_seconds = NonZeroU64::new(seconds);
        self
    }

    /// Of another kind than the plugin's first.
    ///
    /// # Panics
    /// If it is not a valid kind.
    #[must_use]
    pub fn kind(mut self, kind: &str) -> Self {
        match RuntimeKind::new(kind) {
            Some(kind) => self.0.runtime_kind = kind,
            None => panic!("'{kind}' is not a valid runtime kind"),
        }
        self
    }

    /// With an input payload.
    #[must_use]
    pub fn input(mut self, path: impl Into<PathBuf>) -> Self {
        self.0.input_payload_path = Some(path.into().to_string_lossy().into_owned());
        self
    }

    /// With artifacts kept in a directory of the test's choice.
    #[must_use]
    pub fn artifact_directory(mut self, path: impl Into<PathBuf>) -> Self {
        self.0.artifact_directory = Some(path.into().to_string_lossy().into_owned());
        self
    }

    /// Changes whatever else there is.
    #[must_use]
    pub fn edit(mut self, edit: impl FnOnce(&mut RuntimeInvocation)) -> Self {
        edit(&mut self.0);
        self
    }
}
