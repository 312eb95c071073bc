//! The two executables of the command line, and how the small one becomes the large one.
//!
//! `executor-runtime` is small, so that it starts fast, and runs `subprocess` and native plugins. What needs the
//! WebAssembly engine is done by `executor-runtime-engine`, which lies beside it: the process turns into it, by
//! `execve`, before it has started a thread or forked, and hands it what was read from stdin. Both carry a build id,
//! because a pair of two builds would disagree about everything inside.

use anyhow::{Context, Result, bail};
use executor_runtime::{
    ErrorKind, Failure, HostBuilder, Outcome, Run, RunFuture, RunPermissions, Runner,
    config::PluginConfig,
    plugin::{Carrier, Loader, Plugin, Unusable},
    protocol::{RuntimeInvocation, RuntimeKind},
};
use executor_runtime_native::NativePlugins;
use executor_runtime_run::exhaustion;
use nix::{
    errno::Errno,
    sys::memfd::{MFdFlags, memfd_create},
    unistd::{AccessFlags, access, dup2_stdin, execv},
};
use std::{
    env,
    ffi::{CString, OsString},
    fs::File,
    io::{Seek, Write},
    os::unix::ffi::OsStrExt,
    path::PathBuf,
    sync::Arc,
};

/// The large executable's name. It is looked for where the small one is.
const ENGINE: &str = "executor-runtime-engine";

/// The first argument that the small executable gives the large one; the build id follows. It is not for people.
const HANDED_OVER: &str = "__handed-over";

/// Address space that the engine takes for a run, in bytes.
const ENGINE_ADDRESS_SPACE: usize = (4 << 30) + (256 << 20);

/// Made from the sources of the host.
const BUILD_ID: &str = env!("EXECUTOR_RUNTIME_BUILD_ID");

/// Which of the two this process is.
#[derive(Clone, Copy, Debug)]
pub struct Executable {
    /// Adds what runs plugins.
    pub(crate) carriers: fn(HostBuilder) -> HostBuilder,
    has_engine: bool,
}

impl Executable {
    /// The small one.
    pub const SMALL: Self = Self {
        carriers: |builder| {
            builder
                .carrier(|supervisors| NativePlugins::new(Arc::clone(supervisors)))
                .carrier(|_| OtherExecutable)
        },
        has_engine: false,
    };

    /// The large one, whose `carriers` run every plugin.
    pub const fn with_engine(carriers: fn(HostBuilder) -> HostBuilder) -> Self {
        Self {
            carriers,
            has_engine: true,
        }
    }

    /// Goes on in the executable with the engine, if this one has none. It starts from the beginning, and reads `stdin` if
    /// this process has read it.
    ///
    /// # Errors
    /// Why it can't.
    pub(crate) fn need_engine(self, stdin: Option<&[u8]>) -> Result<()> {
        if self.has_engine {
            return Ok(());
        }
        become_engine(stdin)
    }

    /// The same, if the runner of `kind` needs the engine.
    pub(crate) fn need_runner_of(
        self,
        kind: &RuntimeKind,
        builder: &HostBuilder,
        stdin: Option<&[u8]>,
    ) -> Result<()> {
        if self.has_engine || kind.as_str() == "subprocess" {
            return Ok(());
        }
        // Whatever is wrong with the plugin is told where it is run.
        match builder.plugins().plugin(kind) {
            // Where there is no engine, or no room for it, this process is left to say so in a result.
            Ok(Some(plugin)) if plugin.carrier == Carrier::Component && why_no_engine().is_none() => {
                become_engine(stdin)
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

/// The arguments of this process, without those that the small executable has put there.
///
/// # Errors
/// When that is of another build.
pub(crate) fn arguments() -> Result<Vec<OsString>> {
    let mut arguments: Vec<_> = env::args_os().collect();
    if arguments.get(1).is_some_and(|argument| argument == HANDED_OVER) {
        let id = arguments.get(2).map(|id| id.to_string_lossy().into_owned());
        if id.as_deref() != Some(BUILD_ID) {
            let this = this_executable()?;
            bail!(
                "'{}' is not of the same build as '{ENGINE}' beside it; install both from one build",
                this.with_file_name("executor-runtime").display()
            );
        }
        arguments.drain(1..3);
    }
    Ok(arguments)
}

/// Why this process can't become the engine, if that is certain.
fn why_no_engine() -> Option<Failure> {
    if let Err(error) = exhaustion::check_address_space(ENGINE_ADDRESS_SPACE) {
        return Some(Failure::exhausted(&error));
    }
    let missing = find_engine().err()?;
    Some(Failure::new(ErrorKind::PluginUnusable, format!("{missing:#}")))
}

fn find_engine() -> Result<PathBuf> {
    let engine = this_executable()?.with_file_name(ENGINE);
    match access(&engine, AccessFlags::X_OK) {
        Ok(()) => Ok(engine),
        Err(Errno::ENOENT) => bail!(
            "'{}' does not exist; it runs plugins that are components, so install it beside executor-runtime",
            engine.display()
        ),
        Err(errno) => bail!(
            "'{}' can't be run: {}",
            engine.display(),
            errno.desc().to_lowercase()
        ),
    }
}

fn become_engine(stdin: Option<&[u8]>) -> Result<()> {
    let engine = find_engine()?;
    if let Some(document) = stdin {
        replace_stdin(document).context("the invocation can't be handed over")?;
    }
    let text = |text: &[u8]| CString::new(text).context("an argument has a NUL byte");
    let mut arguments = env::args_os();
    let name = arguments.next().unwrap_or_default();
    let mut words = vec![
        text(name.as_bytes())?,
        text(HANDED_OVER.as_bytes())?,
        text(BUILD_ID.as_bytes())?,
    ];
    for argument in arguments {
        words.push(text(argument.as_bytes())?);
    }
    match execv(&text(engine.as_os_str().as_bytes())?, &words) {
        Ok(never) => match never {},
        Err(errno) => bail!("'{}' can't be run: {}", engine.display(), errno.desc()),
    }
}

/// The path of this executable without links, so that the other one is found however this one was called.
fn this_executable() -> Result<PathBuf> {
    let path = env::current_exe().context("the path of this executable can't be found")?;
    Ok(path.canonicalize().unwrap_or(path))
}

/// Makes what was read from stdin readable there again.
fn replace_stdin(document: &[u8]) -> Result<()> {
    let mut copy = File::from(memfd_create(c"executor-runtime-stdin", MFdFlags::MFD_CLOEXEC)?);
    copy.write_all(document)?;
    copy.rewind()?;
    dup2_stdin(&copy)?;
    Ok(())
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
        why_no_engine().unwrap_or_else(|| {
            Failure::new(
                ErrorKind::PluginUnusable,
                format!("'{}' is a component, which needs {ENGINE}", self.0.display()),
            )
        })
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
