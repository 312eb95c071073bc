//! What one run of a component may use, and how the engine is told.
//!
//! Every limit is per run. A guest that asks for more memory or table elements than it may have is told so
//! the way WebAssembly tells it (`memory.grow` yields -1) and may go on with what it has; the limiter
//! remembers, so that a guest which then breaks off is reported as `plugin_limit` and not as a crash.

use crate::engine::{MAX_INSTANCES, MAX_TABLE_ELEMENTS};
use executor_runtime_plugin::Limits;
use std::fmt;
use wasmtime::ResourceLimiter;

/// Handles (streams, requests, pollables, errors) that a run may hold at once. With what the host keeps for
/// each, header fields of 128 KiB at most, this bounds the host's memory for one run.
pub(super) const MAX_HANDLES: usize = 1024;

/// Bytes that one call may carry from the guest to the host, the result of the run included. Streams
/// carry far less in one call.
pub(super) const MAX_CALL_BYTES: usize = 16 << 20;

/// Tables that a run may have: an interpreter built from shared libraries has a few.
const MAX_TABLES: usize = 64;

/// Which limit a run went over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ExceededLimit {
    Memory(u64),
    TableElements,
}

impl ExceededLimit {
    /// What can be done about it.
    pub(super) fn remedy(self) -> &'static str {
        match self {
            Self::Memory(_) => "hold less in memory at a time, or raise limits.memory_bytes",
            Self::TableElements => "build it with fewer functions in its tables",
        }
    }
}

impl fmt::Display for ExceededLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory(bytes) if bytes % (1 << 20) == 0 => {
                write!(f, "memory limit of {} MiB", bytes >> 20)
            }
            Self::Memory(bytes) => write!(f, "memory limit of {bytes} bytes"),
            Self::TableElements => write!(f, "limit of {MAX_TABLE_ELEMENTS} table elements"),
        }
    }
}

/// Enforces the limits of one store.
#[derive(Debug)]
pub(super) struct Limiter {
    memory_bytes: u64,
    memory_used: u64,
    exceeded: Option<ExceededLimit>,
}

impl Limiter {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            memory_bytes: limits.memory_bytes,
            memory_used: 0,
            exceeded: None,
        }
    }

    /// The last limit that the run went over.
    pub(super) fn exceeded(&self) -> Option<ExceededLimit> {
        self.exceeded
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let used = self
            .memory_used
            .saturating_add(desired.saturating_sub(current) as u64);
        if used > self.memory_bytes {
            self.exceeded = Some(ExceededLimit::Memory(self.memory_bytes));
            return Ok(false);
        }
        // Past the maximum that the memory itself declares, the engine refuses after this call.
        if maximum.is_none_or(|maximum| desired <= maximum) {
            self.memory_used = used;
        }
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let allowed = desired <= MAX_TABLE_ELEMENTS;
        if !allowed {
            self.exceeded = Some(ExceededLimit::TableElements);
        }
        Ok(allowed)
    }

    fn instances(&self) -> usize {
        MAX_INSTANCES as usize
    }

    fn tables(&self) -> usize {
        MAX_TABLES
    }

    fn memories(&self) -> usize {
        MAX_TABLES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_count_together() {
        let mut limiter = Limiter::new(&Limits {
            memory_bytes: 10 << 20,
            ..Limits::default()
        });
        assert!(limiter.memory_growing(0, 6 << 20, None).unwrap());
        assert!(!limiter.memory_growing(0, 6 << 20, None).unwrap());
        assert_eq!(limiter.exceeded().unwrap().to_string(), "memory limit of 10 MiB");
        assert!(limiter.memory_growing(0, 4 << 20, None).unwrap());
    }

    /// A component that instantiates `(module (table 1000000 funcref))`.
    const TABLE_BOMB: &[u8] = b"\0asm\x0d\0\x01\0\
        \x01\x10\0asm\x01\0\0\0\x04\x06\x01\x70\0\xc0\x84\x3d\
        \x02\x04\x01\0\0\0";

    #[test]
    fn a_table_bomb_is_refused_before_it_is_allocated() {
        use wasmtime::component::{Component, Linker};
        let engine = wasmtime::Engine::default();
        let component = Component::from_binary(&engine, TABLE_BOMB).unwrap();
        let mut store = wasmtime::Store::new(&engine, Limiter::new(&Limits::default()));
        store.limiter(|limiter| limiter);
        let instance = Linker::new(&engine).instantiate(&mut store, &component);
        assert!(instance.is_err());
        assert_eq!(store.data().exceeded(), Some(ExceededLimit::TableElements));
    }
}
