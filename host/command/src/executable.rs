//! The two executables of the command line, and how the small one becomes the large one.
//!
//! `executor-runtime` is small, so that it starts fast, and runs `subprocess` and native plugins. What needs the
//! WebAssembly engine, serves or keeps a journal (`batch`) is done by `executor-runtime-engine`, which lies beside it: the process turns into it, by
//! `execve`, before it has started a thread or forked, and hands it the invocation that it has read. Both carry a build id,
//! because a pair of two builds would disagree about everything inside.

use crate::{batch::Batch, serve::Serve, trace_export};
use anyhow::{Context, Result, anyhow, bail};
use executor_runtime::{
    ErrorKind, Failure, HostBuilder, Outcome, Run, RunFuture, RunPermissions, Runner,
    config::PluginConfig,
    plugin::{Carrier, Loader, Plugin, Unusable},
    protocol::{RuntimeInvocation, RuntimeKind},
    trace::Tracer,
};
use executor_runtime_native::NativePlugins;
use executor_runtime_run::exhaustion;
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, FdFlag, fcntl},
    sys::memfd::{MFdFlags, memfd_create},
    unistd::{AccessFlags, access, execv},
};
use std::{
    env,
    ffi::{CString, OsString},
    fs::File,
    io::{self, Seek, Write},
    iter,
    num::NonZeroUsize,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::PathBuf,
    sync::Arc,
};

/// The large executable's name. It is looked for where the small one is.
const ENGINE: &str = "executor-runtime-engine";

/// The first argument that the small executable gives the large one. It is not for people. There follow the build id, the
/// descriptor of the invocation or `-`, and [`FOR_COMPONENT`] or `-`.
const HANDED_OVER: &str = "__handed-over";

/// Those arguments, after the name of the program.
const HANDED_OVER_ARGUMENTS: usize = 4;

/// Says that a component is going to be run, and nothing else.
const FOR_COMPONENT: &str = "component";

/// What the small executable has left to this one.
#[derive(Debug)]
pub(crate) struct HandedOver {
    /// The invocation, if it has read one.
    pub(crate) document: Option<File>,
    /// Whether a component is going to be run, and nothing else.
    pub(crate) for_component: bool,
}

/// Whether this process was started to run one component, and nothing else: a first look, before anything is read or checked.
pub fn is_for_one_component() -> bool {
    let mut arguments = env::args_os().skip(1);
    arguments.next().is_some_and(|first| first == HANDED_OVER)
        && arguments.nth(2).is_some_and(|last| last == FOR_COMPONENT)
}

/// Address space that the other executable takes without the engine, in bytes.
const EXECUTABLE_ADDRESS_SPACE: usize = 256 << 20;

/// Address space that the engine takes for a run, in bytes.
const ENGINE_ADDRESS_SPACE: usize = (4 << 30) + (256 << 20);

/// Made from the sources of the host.
pub(crate) const BUILD_ID: &str = env!("EXECUTOR_RUNTIME_BUILD_ID");

/// What a host is put together for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runs {
    /// One run or none, of any kind.
    Few,
    /// One run, of a component, at once.
    OneComponent,
    /// At most so many runs at a time.
    AtATime(NonZeroUsize),
}

/// Starts to export spans, as the variables of this process say.
pub type Export = fn() -> Option<Arc<dyn Tracer>>;

/// Which of the two this process is.
#[derive(Clone, Copy, Debug)]
pub struct Executable {
    /// Adds what runs plugins.
    pub(crate) carriers: fn(HostBuilder, Runs) -> HostBuilder,
    /// Serves the API, where this executable can.
    pub(crate) serve: Option<Serve>,
    /// Does batches, where this executable can.
    pub(crate) batch: Option<Batch>,
    /// Exports spans, where this executable can.
    pub(crate) export: Option<Export>,
    /// The SDK, packed, where this executable carries it.
    pub(crate) sdk: Option<&'static [u8]>,
    has_engine: bool,
}

impl Executable {
    /// The small one.
    pub const SMALL: Self = Self {
        carriers: |builder, _| {
            builder
                .carrier(|supervisors| NativePlugins::new(Arc::clone(supervisors)))
                .carrier(|_| OtherExecutable)
        },
        serve: None,
        batch: None,
        export: None,
        sdk: None,
        has_engine: false,
    };

    /// The large one, whose `carriers` run every plugin.
    pub const fn with_engine(carriers: fn(HostBuilder, Runs) -> HostBuilder) -> Self {
        Self {
            carriers,
            serve: None,
            batch: None,
            export: None,
            sdk: None,
            has_engine: true,
        }
    }

    /// The same, which serves the API by `serve`.
    #[must_use]
    pub const fn serving(mut self, serve: Serve) -> Self {
        self.serve = Some(serve);
        self
    }

    /// The same, which does batches by `batch`.
    #[must_use]
    pub const fn batching(mut self, batch: Batch) -> Self {
        self.batch = Some(batch);
        self
    }

    /// The same, which exports spans by `export` where the variables of the process ask for it.
    #[must_use]
    pub const fn exporting(mut self, export: Export) -> Self {
        self.export = Some(export);
        self
    }

    /// The same, which carries the SDK for new plugins, packed by its build script.
    #[must_use]
    pub const fn carrying(mut self, sdk: &'static [u8]) -> Self {
        self.sdk = Some(sdk);
        self
    }

    /// Goes on in the executable that can export spans, if that is asked for and this one can't. The invocation was read
    /// from `document`. Where it can't, runs go on without.
    pub(crate) fn need_export(self, document: Option<&[u8]>) {
        if self.export.is_none()
            && trace_export::is_asked_for()
            && let Err(failure) = become_engine(document, false, EXECUTABLE_ADDRESS_SPACE)
        {
            tracing::warn!("no spans are sent: {}", failure.summary);
        }
    }

    /// Whether this is the large one.
    pub(crate) fn has_engine(self) -> bool {
        self.has_engine
    }

    /// What plugins of this carrier need to run and is missing, as a sentence that goes after the plugin's path.
    pub(crate) fn missing_for(self, carrier: Carrier) -> Option<String> {
        if self.has_engine || carrier != Carrier::Component {
            return None;
        }
        let error = find_engine().err()?;
        Some(format!("needs the WebAssembly engine: {error:#}"))
    }

    /// Goes on in the executable with the engine, if this one has none. It starts from the beginning.
    ///
    /// # Errors
    /// Why it can't.
    pub(crate) fn need_engine(self) -> Result<()> {
        if self.has_engine {
            return Ok(());
        }
        become_engine(None, false, ENGINE_ADDRESS_SPACE).map_err(|failure| anyhow!(failure.summary))
    }

    /// Goes on in the executable that keeps journals, if this one does not. It starts from the beginning.
    ///
    /// # Errors
    /// Why it can't.
    pub(crate) fn need_journal(self) -> Result<()> {
        if self.batch.is_some() || self.has_engine {
            return Ok(());
        }
        become_engine(None, false, EXECUTABLE_ADDRESS_SPACE).map_err(|failure| anyhow!(failure.summary))
    }

    /// Goes on in the executable with the engine, if the runner of `kind` needs it. The invocation was read from `document`, which the engine gets
    /// from this process: a pipe can't be read twice.
    ///
    /// # Errors
    /// Why the engine can't run it.
    pub(crate) fn need_runner_of(
        self,
        kind: &RuntimeKind,
        builder: &HostBuilder,
        document: Option<&[u8]>,
    ) -> Result<(), Failure> {
        if self.has_engine || kind.as_str() == "subprocess" {
            return Ok(());
        }
        // Whatever is wrong with the plugin is told where it is run.
        match builder.plugins().plugin(kind) {
            Ok(Some(plugin)) if builder.plugins().carrier(plugin) == Carrier::Component => {
                become_engine(document, true, ENGINE_ADDRESS_SPACE)
            }
            _ => Ok(()),
        }
    }
}

impl Default for Executable {
    fn default() -> Self {
        Self::SMALL
    }
}

/// The arguments of this process, without those that the small executable has put there; and what it has left to this one.
///
/// # Errors
/// When that is of another build.
pub(crate) fn arguments() -> Result<(Vec<OsString>, Option<HandedOver>)> {
    let mut arguments: Vec<_> = env::args_os().collect();
    if arguments.get(1).is_none_or(|argument| argument != HANDED_OVER) {
        return Ok((arguments, None));
    }
    let argument = |index: usize| {
        arguments
            .get(index)
            .map(|argument| argument.to_string_lossy().into_owned())
    };
    if argument(2).as_deref() != Some(BUILD_ID) {
        let this = this_executable()?;
        bail!(
            "'{}' is not of the same build as '{ENGINE}' beside it; install both from one build",
            this.with_file_name("executor-runtime").display()
        );
    }
    let number = argument(3).and_then(|number| number.parse().ok());
    // SAFETY: the small executable has left it open for this, and nothing else in this process knows it.
    let document = number.map(|number| File::from(unsafe { OwnedFd::from_raw_fd(number) }));
    if let Some(document) = &document {
        fcntl(document, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))
            .context("the invocation was not handed over")?;
    }
    let handed_over = HandedOver {
        document,
        for_component: argument(4).as_deref() == Some(FOR_COMPONENT),
    };
    arguments.drain(1..arguments.len().min(1 + HANDED_OVER_ARGUMENTS));
    Ok((arguments, Some(handed_over)))
}

fn find_engine() -> Result<PathBuf> {
    let engine = this_executable()?.with_file_name(ENGINE);
    match access(&engine, AccessFlags::X_OK) {
        Ok(()) => Ok(engine),
        Err(Errno::ENOENT) => bail!(
            "'{}' does not exist; it runs components and keeps journals, so install it beside executor-runtime",
            engine.display()
        ),
        Err(errno) => bail!(
            "'{}' can't be run: {}",
            engine.display(),
            errno.desc().to_lowercase()
        ),
    }
}

/// Returns only if it fails.
fn become_engine(document: Option<&[u8]>, for_component: bool, address_space: usize) -> Result<(), Failure> {
    // Where the loader has no room for the engine, this process is left to say so.
    exhaustion::check_address_space(address_space).map_err(|error| Failure::exhausted(&error))?;
    let unusable = |reason: String| Failure::new(ErrorKind::PluginUnusable, reason);
    let engine = find_engine().map_err(|error| unusable(format!("{error:#}")))?;
    let document = document
        .map(inheritable_copy)
        .transpose()
        .map_err(|error| Failure::exhausted(&error))?;
    let number = document
        .as_ref()
        .map_or_else(|| "-".to_owned(), |document| document.as_raw_fd().to_string());
    let mut arguments = env::args_os();
    let name = arguments.next().unwrap_or_default();
    let purpose = if for_component { FOR_COMPONENT } else { "-" };
    let handed_over: [OsString; HANDED_OVER_ARGUMENTS] =
        [HANDED_OVER.into(), BUILD_ID.into(), number.into(), purpose.into()];
    let words: Result<Vec<_>, _> = iter::once(name)
        .chain(handed_over)
        .chain(arguments)
        .map(|word| CString::new(word.as_bytes()))
        .collect();
    // What the system passed to this process has no NUL byte.
    let words = words.map_err(|error| unusable(error.to_string()))?;
    let path = CString::new(engine.as_os_str().as_bytes()).map_err(|error| unusable(error.to_string()))?;
    let Err(errno) = execv(&path, &words);
    Err(Failure::of_exhaustion(&errno.into()).unwrap_or_else(|| {
        unusable(format!(
            "'{}' can't be run: {}",
            engine.display(),
            errno.desc().to_lowercase()
        ))
    }))
}

/// The document in a file that the next program of this process finds open.
fn inheritable_copy(document: &[u8]) -> io::Result<File> {
    let mut copy = File::from(memfd_create(c"executor-runtime-invocation", MFdFlags::empty())?);
    copy.write_all(document)?;
    copy.rewind()?;
    Ok(copy)
}

/// The path of this executable without links, so that the other one is found however this one was called.
fn this_executable() -> Result<PathBuf> {
    let path = env::current_exe().context("the path of this executable can't be found")?;
    Ok(path.canonicalize().unwrap_or(path))
}

/// Stands for the components in the small executable: it lists them, and does not run them.
struct OtherExecutable;

impl Loader for OtherExecutable {
    fn carrier(&self) -> Carrier {
        Carrier::Component
    }

    fn runner(&self, plugin: &Arc<Plugin>, _: &Arc<PluginConfig>) -> Arc<dyn Runner> {
        Arc::new(NotHere(plugin.path.clone()))
    }

    fn prepare(&self, _: &Plugin, _: &PluginConfig) -> Result<(), Unusable> {
        Err(Unusable::Load(format!("it needs {ENGINE}")))
    }
}

struct NotHere(PathBuf);

impl NotHere {
    fn failure(&self) -> Failure {
        Failure::new(
            ErrorKind::PluginUnusable,
            format!("'{}' is a component, which needs {ENGINE}", self.0.display()),
        )
    }
}

impl Runner for NotHere {
    fn run<'a>(&'a self, _: &'a Run) -> RunFuture<'a> {
        Box::pin(async { Outcome::from(self.failure()) })
    }

    fn terms(&self, _: &RuntimeInvocation) -> Result<RunPermissions, Failure> {
        Err(self.failure())
    }
}
