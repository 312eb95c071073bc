//! The one WebAssembly engine of a process, and everything that is linked into a component.
//!
//! An [`Engine`] is made when the first component is needed and never before: a process that only runs
//! subprocesses pays nothing for it. It owns what components share: compiled code, the linker, the clock that
//! interrupts spinning guests, and the HTTP client.

use super::{
    bindings,
    egress::{OutgoingBody, handler},
    state::RunState,
    ticker::Ticker,
};
use executor_runtime_egress::EgressClient;
use executor_runtime_run::{Failure, exhaustion};
use std::{io, num::NonZeroU32, sync::Arc};
use tokio::sync::{Semaphore, SemaphorePermit};
use wasmtime::{
    Config, Enabled, InstanceAllocationStrategy, PoolingAllocationConfig,
    component::{Component, HasSelf, InstancePre, Linker},
};

/// How many runs the process is going to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One run, or a few: start fast. Memory is mapped for each instance and given back after it.
    OneShot,
    /// Many runs, at most this many of them at a time: memory for that many instances is reserved once
    /// (address space, not memory), and more runs than that wait for their turn.
    LongLived {
        /// The largest number of runs in flight.
        concurrency: NonZeroU32,
    },
}

/// Why an engine or component can't be created.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The machine or the settings don't allow an engine.
    #[error("can't start the WebAssembly engine: {0}")]
    Start(String),
    /// The file is not a component that this engine compiles.
    #[error("the component can't be compiled: {0}")]
    Compile(String),
    /// The process can't have as much of something as that takes.
    #[error("{0}")]
    Exhausted(io::Error),
    /// It imports what the host does not offer, or does not export `run`.
    #[error("does not fit the host's interface: {0}")]
    Link(String),
    /// It needs more memories or tables than the pool has in all.
    #[error("needs {0} linear memories at once, more than the pool of this process holds")]
    TooLargeForPool(u32),
}

impl EngineError {
    pub(super) fn not_compiled(error: &wasmtime::Error) -> Self {
        match exhausted(error) {
            Some(exhausted) => Self::Exhausted(exhausted),
            None => Self::Compile(format!("{error:#}")),
        }
    }
}

/// What the process is out of, if that is what the error is about.
pub(super) fn exhausted(error: &wasmtime::Error) -> Option<io::Error> {
    let code = error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::raw_os_error);
    // wasmtime passes on the system's error as one type or another, and all are written the same.
    let out_of_memory = || {
        format!("{error:#}")
            .contains("(os error 12)")
            .then_some(libc::ENOMEM)
    };
    let error = io::Error::from_raw_os_error(code.or_else(out_of_memory)?);
    Failure::of_exhaustion(&error).map(|_| error)
}

/// The engine. Clones are the same engine.
#[derive(Clone)]
pub struct Engine(Arc<Shared>);

struct Shared {
    wasmtime: wasmtime::Engine,
    linker: Linker<RunState>,
    egress: EgressClient<OutgoingBody>,
    ticker: Ticker,
    pool: Option<Pool>,
}

/// Slots of the pooling allocator. A run takes its slots before it starts, so that it waits for its turn
/// instead of failing on a full pool.
struct Pool {
    slots: Semaphore,
    total: u32,
}

/// A component that is compiled and linked: instantiating it is all that is left to do for a run.
#[derive(Clone)]
pub(super) struct Prepared {
    pub(super) pre: bindings::RunnerPre<RunState>,
    slots: u32,
}

/// Tables that the pool holds for each memory. A Rust guest with its adapter has three; an interpreter
/// built from shared libraries a few more.
const TABLES_PER_SLOT: u32 = 8;

impl Engine {
    /// Starts an engine.
    ///
    /// # Errors
    /// When the settings don't fit the machine, such as a pool larger than the address space.
    pub fn new(mode: Mode) -> Result<Self, EngineError> {
        exhaustion::check_address_space(ADDRESS_SPACE).map_err(EngineError::Exhausted)?;
        let start = |e: wasmtime::Error| EngineError::Start(format!("{e:#}"));
        let wasmtime = wasmtime::Engine::new(&config(mode)).map_err(start)?;
        let linker = linker(&wasmtime).map_err(start)?;
        let pool = match mode {
            Mode::OneShot => None,
            Mode::LongLived { concurrency } => Some(Pool {
                slots: Semaphore::new(concurrency.get() as usize),
                total: concurrency.get(),
            }),
        };
        Ok(Self(Arc::new(Shared {
            ticker: Ticker::new(wasmtime.clone()),
            egress: EgressClient::new(),
            wasmtime,
            linker,
            pool,
        })))
    }

    /// Links a compiled component.
    pub(super) fn prepare(&self, component: &Component) -> Result<Prepared, EngineError> {
        let link = |e: wasmtime::Error| EngineError::Link(format!("{e:#}"));
        let pre: InstancePre<RunState> = self.0.linker.instantiate_pre(component).map_err(link)?;
        let pre = bindings::RunnerPre::new(pre).map_err(link)?;
        let needs = component.resources_required();
        let slots = needs.map_or(1, |r| {
            r.num_memories.max(r.num_tables.div_ceil(TABLES_PER_SLOT)).max(1)
        });
        if let Some(pool) = &self.0.pool
            && slots > pool.total
        {
            return Err(EngineError::TooLargeForPool(slots));
        }
        Ok(Prepared { pre, slots })
    }

    /// Waits for the pool's slots that one run of `prepared` takes, and starts the clock that interrupts it.
    ///
    /// # Errors
    /// When the clock's thread can't be started.
    pub(super) async fn admit(&self, prepared: &Prepared) -> io::Result<Admission<'_>> {
        let slots = match &self.0.pool {
            // The semaphore is never closed.
            Some(pool) => pool.slots.acquire_many(prepared.slots).await.ok(),
            None => None,
        };
        self.0.ticker.start()?;
        Ok(Admission { _slots: slots })
    }

    /// The engine itself, to compile with and to make stores from.
    pub fn wasmtime(&self) -> &wasmtime::Engine {
        &self.0.wasmtime
    }

    /// The HTTP client that all components share.
    pub(super) fn egress(&self) -> &EgressClient<OutgoingBody> {
        &self.0.egress
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

/// Address space for one instance, with guard pages around its memory, and for what the engine allocates meanwhile,
/// which aborts where it can't.
const ADDRESS_SPACE: usize = (4 << 30) + (128 << 20);

/// The right to instantiate once; held until the store is gone.
pub(super) struct Admission<'a> {
    _slots: Option<SemaphorePermit<'a>>,
}

/// Stack that a guest may use. wasmtime's own default: CPython and SpiderMonkey run in it, and a deep
/// recursion ends here, long before the fiber's stack does.
const MAX_WASM_STACK: usize = 512 * 1024;

/// Stack of the fiber that a guest and the host functions it calls run on. Mapped, not touched: a run that
/// does little costs two pages of it.
const FIBER_STACK: usize = 2 * 1024 * 1024;

/// Elements that one table may have; the store's limiter stops a guest at the same number.
pub(super) const MAX_TABLE_ELEMENTS: usize = 100_000;

/// Linear memory that one slot of the pool can hold: all that a 32-bit memory can address. What a run may
/// use is the limiter's business, because it differs from plugin to plugin.
const POOL_MEMORY: usize = 1 << 32;

fn config(mode: Mode) -> Config {
    let mut config = Config::new();
    // A guest that never calls the host is interrupted by the ticker. Costs a load and a compare for each
    // function entry and loop, and unlike fuel it does not slow straight-line code down.
    config.epoch_interruption(true);
    config.max_wasm_stack(MAX_WASM_STACK);
    config.async_stack_size(FIBER_STACK);
    // A trap is told in words; the frames of a guest whose code the reader does not have add nothing, and
    // collecting them is work that a hostile guest could ask for again and again.
    config.wasm_backtrace_max_frames(None);
    // The map from machine code to source offsets serves backtraces only: a third of the cached code.
    config.generate_address_map(false);
    // Nothing unwinds through a guest: traps and interrupts use frame pointers.
    config.native_unwind_info(false);
    if let Mode::LongLived { concurrency } = mode {
        let n = concurrency.get();
        let mut pool = PoolingAllocationConfig::new();
        pool.total_memories(n);
        pool.total_stacks(n);
        pool.total_component_instances(n);
        pool.total_tables(n.saturating_mul(TABLES_PER_SLOT));
        // Core instances are counted, not reserved; interpreters built from shared libraries have dozens.
        pool.total_core_instances(n.saturating_mul(MAX_INSTANCES));
        pool.max_core_instances_per_component(MAX_INSTANCES);
        // What one component needs is bounded by the slots it takes (`Engine::prepare`).
        pool.max_memories_per_component(n);
        pool.max_tables_per_component(n.saturating_mul(TABLES_PER_SLOT));
        pool.table_elements(MAX_TABLE_ELEMENTS);
        pool.max_memory_size(POOL_MEMORY);
        // Instances are as large as the code says; these bound a component that says something absurd.
        pool.max_core_instance_size(4 << 20);
        pool.max_component_instance_size(4 << 20);
        // A slot that is used again keeps this much of its memory, zeroed by hand instead of by a system call, after
        // which every processor has to forget its translations; a small Rust guest touches less. Where the kernel
        // tells which pages were touched, only those are zeroed.
        pool.pagemap_scan(Enabled::Auto);
        pool.linear_memory_keep_resident(256 * 1024);
        pool.table_keep_resident(16 * 1024);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    }
    config
}

/// Core instances that one component may consist of.
pub(super) const MAX_INSTANCES: u32 = 200;

/// Everything a component may import. WASI links in full, because the standard libraries of guest languages
/// import all of it; what it grants is decided in [`RunState`]: HTTP, clocks and random numbers.
fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<RunState>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    handler::put_in_place(&mut linker)?;
    bindings::host::add_to_linker::<RunState, HasSelf<RunState>>(&mut linker, |state| state)?;
    Ok(linker)
}
