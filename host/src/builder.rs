//! The only way a host is put together.

use crate::{Host, registry::Registry};
use executor_runtime_config::{Config, SubprocessLimits};
use executor_runtime_plugin::{Loader, PluginSet};
use executor_runtime_protocol::RuntimeKind;
use executor_runtime_run::{Runner, exhaustion, trace::Tracing};
use executor_runtime_subprocess::{SubprocessPolicy, SubprocessRunner};
use executor_runtime_supervisor::Supervisors;
use std::{cell::OnceCell, collections::BTreeMap, fmt, io, path::PathBuf, sync::Arc};

/// Memory that any run may take of the host, in bytes. Without it an allocation may fail, which ends the process.
const MEMORY: usize = 8 << 20;

type MakeLoader = Box<dyn FnOnce(&Arc<Supervisors>) -> Arc<dyn Loader>>;
type MakeTracing = Box<dyn FnOnce() -> Tracing>;

/// Puts a [`Host`] together. Without more it runs `subprocess`, with nothing limited.
///
/// ```
/// use executor_runtime::{Host, config::Config, plugin::search_path};
///
/// let config = Config::parse("[subprocess]\nmax_output_bytes = \"1MiB\"", "executor-runtime.toml")?;
/// let host = Host::builder().config(config).plugins_in(search_path(&[])).build()?;
/// assert!(host.kinds().iter().any(|kind| kind.as_str() == "subprocess"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Default)]
pub struct HostBuilder {
    config: Arc<Config>,
    directories: Vec<PathBuf>,
    plugins: OnceCell<PluginSet>,
    carriers: Vec<MakeLoader>,
    runners: BTreeMap<RuntimeKind, Arc<dyn Runner>>,
    tracing: Option<MakeTracing>,
    for_one_job: bool,
    on_demand: bool,
}

impl HostBuilder {
    /// What the operator allows.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = Arc::new(config);
        self.plugins.take();
        self
    }

    /// The directories with plugin files, of which the first that has a kind wins. Relative ones are meant from where
    /// the process is now.
    #[must_use]
    pub fn plugins_in(mut self, directories: Vec<PathBuf>) -> Self {
        self.directories = directories;
        self.plugins.take();
        self
    }

    /// Runs the plugins of one carrier with what `make` returns. It is given what supervises processes.
    #[must_use]
    pub fn carrier<L: Loader>(mut self, make: impl FnOnce(&Arc<Supervisors>) -> L + 'static) -> Self {
        self.carriers
            .push(Box::new(move |supervisors| Arc::new(make(supervisors))));
        self
    }

    /// Executes a kind with a runner of the caller's, also if it is built in or a plugin has it.
    #[must_use]
    pub fn runner(mut self, kind: RuntimeKind, runner: Arc<dyn Runner>) -> Self {
        self.runners.insert(kind, runner);
        self
    }

    /// Traces runs as `make` says, which is called once the host has forked, so that it may start threads.
    #[must_use]
    pub fn tracing(mut self, make: impl FnOnce() -> Tracing + 'static) -> Self {
        self.tracing = Some(Box::new(make));
        self
    }

    /// Makes one process less, for a program that runs one `subprocess` and exits. A later job is possible, and takes
    /// longer to start.
    ///
    /// The program itself adopts what its run leaves behind if the process that supervises the run is killed, and ends it.
    /// It could not tell that from children of its own, so it should start none, and have no handler for `SIGCHLD`. Where it
    /// has either when the host is built, this changes nothing.
    #[must_use]
    pub fn for_one_job(mut self) -> Self {
        self.for_one_job = true;
        self
    }

    /// Starts the processes that supervise jobs with the first job and not before, for a program that is likely to have
    /// none: runs of components take no job. Without this they are there when the host is.
    #[must_use]
    pub fn supervisors_on_demand(mut self) -> Self {
        self.on_demand = true;
        self
    }

    /// The plugins of the host, to look at before it is started.
    pub fn plugins(&self) -> &PluginSet {
        self.plugins
            .get_or_init(|| PluginSet::new(self.directories.clone(), Arc::clone(&self.config)))
    }

    /// Starts the host. Do it early in a process, before threads and before large amounts of memory are in use, because
    /// it forks the process that all others are supervised from (unless that was put off until the first job).
    ///
    /// # Errors
    /// When the system can't supervise processes (see `host/ORCHESTRATORS.md` for what it needs), or the machine has not enough left.
    pub fn build(mut self) -> io::Result<Host> {
        exhaustion::check_memory(MEMORY)?;
        let supervisors = Arc::new(match (self.on_demand, self.for_one_job) {
            (true, _) => Supervisors::on_demand(),
            (false, true) => Supervisors::start_for_one_job()?,
            (false, false) => Supervisors::start()?,
        });
        let subprocess = subprocess(&supervisors, &self.config);
        let plugins = self
            .plugins
            .take()
            .unwrap_or_else(|| PluginSet::new(self.directories, self.config));
        let plugins = self
            .carriers
            .into_iter()
            .fold(plugins, |plugins, make| plugins.with_loader(make(&supervisors)));
        let registry = Registry::new(subprocess, self.runners, Arc::new(plugins));
        let tracing = self.tracing.map(|make| make()).unwrap_or_default();
        Ok(Host::new(registry, supervisors, tracing))
    }
}

impl fmt::Debug for HostBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostBuilder")
            .field("directories", &self.directories)
            .finish_non_exhaustive()
    }
}

/// What executes the kind that is built in.
pub(crate) fn subprocess(supervisors: &Arc<Supervisors>, config: &Config) -> Arc<dyn Runner> {
    let policy = policy(config.subprocess());
    Arc::new(SubprocessRunner::new(Arc::clone(supervisors), policy))
}

fn policy(limits: SubprocessLimits) -> SubprocessPolicy {
    let SubprocessLimits {
        grace,
        max_output_bytes,
        memory_bytes,
        cpu_seconds,
        open_files,
        processes,
    } = limits;
    SubprocessPolicy {
        max_grace: grace,
        max_output_bytes,
        memory_bytes,
        cpu_seconds,
        open_files,
        processes,
    }
}
