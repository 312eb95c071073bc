//! What one store holds: everything a guest can reach during its run.
//!
//! The WASI context grants nothing: no variable, no argument, no directory, no socket, no name lookup, an
//! empty stdin. Clocks and random numbers are the machine's; HTTP goes through [`EgressHooks`].

use super::{
    artifact::ArtifactStore,
    egress::EgressHooks,
    limits::{Limiter, MAX_HANDLES},
    output::GuestOutput,
};
use executor_runtime_plugin::session::{LineStream, RunLog, Source, Stop};
use executor_runtime_run::Events;
use std::{collections::BTreeMap, path::PathBuf, sync::Arc};
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

/// Bytes of random numbers that one call may ask for.
const MAX_RANDOM: u64 = 1 << 20;

/// The data of one store.
pub(super) struct RunState {
    pub(super) table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    pub(super) egress: EgressHooks,
    pub(super) limiter: Limiter,
    pub(super) stdout: GuestOutput,
    pub(super) stderr: GuestOutput,
    pub(super) given: RunResources,
}

/// What the host gives one run.
pub(super) struct RunResources {
    pub(super) log: Arc<RunLog>,
    pub(super) stop: Stop,
    pub(super) artifacts: ArtifactStore,
    pub(super) events: Events,
    pub(super) input: Option<PathBuf>,
    pub(super) config: Arc<BTreeMap<String, String>>,
}

impl RunState {
    pub(super) fn new(given: RunResources, egress: EgressHooks, limiter: Limiter) -> Self {
        let stdout = GuestOutput(LineStream::new(Source::Stdout, Arc::clone(&given.log)));
        let stderr = GuestOutput(LineStream::new(Source::Stderr, Arc::clone(&given.log)));
        let wasi = WasiCtx::builder()
            .stdout(stdout.clone())
            .stderr(stderr.clone())
            .max_random_size(MAX_RANDOM)
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .build();
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_HANDLES);
        Self {
            table,
            wasi,
            http: WasiHttpCtx::new(),
            egress,
            limiter,
            stdout,
            stderr,
            given,
        }
    }
}

impl WasiView for RunState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for RunState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            hooks: &mut self.egress,
            table: &mut self.table,
            ctx: &mut self.http,
        }
    }
}
