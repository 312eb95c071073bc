//! The loaded plugin, for as long as it is used: its processes end when it has had no run for a while, and are started anew
//! with the next.

use super::template::Template;
use executor_runtime_plugin::Identity;
use executor_runtime_supervisor::idle::{self, Idle};
use std::{
    ops::Deref,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

/// A plugin whose template is running.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) template: Template,
    pub(super) identity: Identity,
}

/// Where the loaded plugin is kept between runs.
#[derive(Debug)]
pub(super) struct LoadedSlot {
    state: Mutex<State>,
    /// How long it is kept without a run.
    idle_time: Duration,
}

#[derive(Debug, Default)]
struct State {
    loaded: Option<Arc<Loaded>>,
    /// How many runs use it, or one that was forgotten.
    users: usize,
    /// When the last of them was over.
    used_at: Option<Instant>,
}

impl LoadedSlot {
    pub(super) fn new(idle_time: Duration) -> Self {
        Self {
            state: Mutex::default(),
            idle_time,
        }
    }

    /// What is kept, for a run.
    pub(super) fn take_up(self: &Arc<Self>) -> Option<InUse> {
        let mut state = self.state();
        let loaded = state.loaded.clone()?;
        state.users += 1;
        Some(InUse {
            loaded,
            slot: Arc::clone(self),
        })
    }

    /// Keeps what was loaded, for this run and others.
    pub(super) fn put(self: &Arc<Self>, loaded: Loaded) -> InUse {
        let loaded = Arc::new(loaded);
        let mut state = self.state();
        state.loaded = Some(Arc::clone(&loaded));
        state.users += 1;
        InUse {
            loaded,
            slot: Arc::clone(self),
        }
    }

    /// Lets go of what is kept. It ends with the last run that uses it.
    pub(super) fn clear(&self) {
        self.state().loaded = None;
    }

    fn forget(&self, dead: &Arc<Loaded>) {
        let mut state = self.state();
        if state
            .loaded
            .as_ref()
            .is_some_and(|loaded| Arc::ptr_eq(loaded, dead))
        {
            state.loaded = None;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Idle for LoadedSlot {
    fn end_idle(&self, now: Instant) -> Option<Instant> {
        let mut state = self.state();
        if state.users > 0 {
            // Each of them asks again when it is over.
            return None;
        }
        let ends_at = state.used_at?.checked_add(self.idle_time)?;
        if now < ends_at {
            return Some(ends_at);
        }
        // While it is locked, so that a host that is dropped meanwhile waits for it.
        state.loaded = None;
        None
    }
}

impl Drop for LoadedSlot {
    fn drop(&mut self) {
        idle::forget_dropped();
    }
}

/// The loaded plugin, used by a run.
#[derive(Debug)]
pub(super) struct InUse {
    loaded: Arc<Loaded>,
    slot: Arc<LoadedSlot>,
}

impl InUse {
    /// Has the next run load it anew, because this one is dead.
    pub(super) fn forget(&self) {
        self.slot.forget(&self.loaded);
    }

    /// Another handle, which does not count as use.
    pub(super) fn share(&self) -> Arc<Loaded> {
        Arc::clone(&self.loaded)
    }
}

impl Deref for InUse {
    type Target = Loaded;

    fn deref(&self) -> &Loaded {
        &self.loaded
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        let now = Instant::now();
        let mut state = self.slot.state();
        state.users -= 1;
        state.used_at = Some(now);
        drop(state);
        if let Some(at) = now.checked_add(self.slot.idle_time) {
            let slot: Weak<LoadedSlot> = Arc::downgrade(&self.slot);
            idle::ask_at(at, slot);
        }
    }
}
