//! The result of a run with a checkpoint, until the journal has it.
//!
//! A run that ends removes its checkpoint. If the host died after that and before the journal had the result, both would be
//! lost. So a host with a journal keeps the checkpoint when the run ends ([`Unrecorded::held`]), replaces it with the result
//! ([`Unrecorded::keep`]), and removes the result once the journal has it ([`Unrecorded::forget`]). A run without a
//! checkpoint can't be resumed, and leaves nothing.

use super::{CaptureDirectory, CaptureError, Fingerprint, checkpoint, finished, open_regular_at};
use crate::exhaustion;
use executor_runtime_protocol::RuntimeResult;
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::{
    io::{self, Read},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

pub(super) const NAME: &str = ".result";
pub(super) const PARTIAL: &str = ".result.partial";
/// The longest result that is kept, in bytes.
const MAX_RESULT: usize = 64 << 20;

/// How long a file system is waited for that does not answer.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// What there is to go on from, of a run that has ended and whose end is not recorded. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Unrecorded(Option<Arc<Mutex<State>>>);

#[derive(Debug, Default)]
enum State {
    /// Nothing is held: the run has not ended, or had no checkpoint.
    #[default]
    Empty,
    Held(CaptureDirectory),
    /// The end is recorded: nothing is held any more.
    Recorded,
}

impl Unrecorded {
    /// For a run whose result goes to a journal. By default it goes to none, and nothing is kept.
    pub fn held() -> Self {
        Self(Some(Arc::default()))
    }

    /// The run has come to an end, and all of its artifacts are listed: the next run of its id may begin, unless its end has
    /// to be recorded first. Blocks on the file system.
    pub fn leave(&self, capture: &CaptureDirectory) {
        if self.0.is_some()
            && capture.has_checkpoint()
            && let Ok(capture) = capture.share()
        {
            self.hold(capture);
        } else {
            capture.leave();
        }
    }

    /// Keeps what the run, which was asked for `of`, has come to, in place of what there was to go on from. Waits for a file
    /// system that does not answer, but not for long.
    ///
    /// # Errors
    /// When it can't be written. A host that takes the run up goes on with it then.
    pub async fn keep(&self, of: Fingerprint, result: &RuntimeResult) -> Result<(), CaptureError> {
        let Some(capture) = self.take(State::Empty) else {
            return Ok(());
        };
        let text = serde_json::to_vec(result).unwrap_or_default();
        let (unrecorded, is_at_once) = (self.clone(), capture.answers_at_once());
        let keep = move || {
            let kept = capture.keep_result(of, &text);
            unrecorded.hold(capture);
            kept
        };
        in_time(is_at_once, keep).await.unwrap_or(Ok(()))
    }

    /// The end is recorded. Waits as [`Unrecorded::keep`].
    pub async fn forget(&self) {
        if let Some(capture) = self.take(State::Recorded) {
            in_time(capture.answers_at_once(), move || capture.leave()).await;
        }
    }

    /// Holds it, unless the end is recorded already.
    fn hold(&self, capture: CaptureDirectory) {
        let mut state = self.0.as_ref().map(|state| lock_state(state));
        match state.as_deref_mut() {
            Some(state @ State::Empty) => *state = State::Held(capture),
            // It comes late, from a file system that was not waited for.
            _ => capture.leave(),
        }
    }

    /// What was held; `state` is what is then.
    fn take(&self, state: State) -> Option<CaptureDirectory> {
        match std::mem::replace(&mut *lock_state(self.0.as_ref()?), state) {
            State::Held(capture) => Some(capture),
            State::Empty | State::Recorded => None,
        }
    }
}

fn lock_state(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl CaptureDirectory {
    /// A second handle on it, which holds the lock too.
    fn share(&self) -> io::Result<Self> {
        Ok(Self {
            path: self.path.clone(),
            handle: self.share_lock()?,
            location: None,
        })
    }

    /// Ends the run's stay: what only a run that goes on would need is removed, and the next one of its id may begin.
    pub(super) fn leave(&self) {
        self.forget_checkpoint();
        self.remove_if_empty();
        self.unlock();
    }

    /// Keeps what the run has come to, in place of its checkpoint; one that is too long is not kept.
    fn keep_result(&self, of: Fingerprint, result: &[u8]) -> Result<(), CaptureError> {
        if result.len() > MAX_RESULT {
            return Ok(());
        }
        self.replace_file(PARTIAL, NAME, &[of.as_bytes(), result].concat())?;
        for name in [checkpoint::NAME, finished::NAME] {
            // It is of no use any more, and harmless.
            let _ = unlinkat(&self.handle, name, UnlinkatFlags::NoRemoveDir);
        }
        Ok(())
    }

    /// The result that a run with this fingerprint has left because no journal had it yet.
    pub(super) fn unrecorded_result(&self, of: Fingerprint) -> Option<RuntimeResult> {
        let file = open_regular_at(&self.handle, NAME).ok()??;
        let mut read = Vec::new();
        file.take((of.as_bytes().len() + MAX_RESULT) as u64)
            .read_to_end(&mut read)
            .ok()?;
        serde_json::from_slice(read.strip_prefix(of.as_bytes())?).ok()
    }
}

/// What `work` comes to in a directory: here if its file system answers at once, else on another thread, which is left to
/// itself if it takes long.
async fn in_time<T: Send + 'static>(
    is_at_once: bool,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    if is_at_once {
        return Some(work());
    }
    let working = exhaustion::run_blocking(work);
    tokio::time::timeout(MAX_WAIT, working).await.ok()?.ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::{left_by, location};
    use executor_runtime_protocol::{RuntimeInvocation, RuntimeKind, Status, Timestamp};
    use std::collections::BTreeMap;

    fn invocation(base: &tempfile::TempDir) -> RuntimeInvocation {
        let document = serde_json::json!({
            "invocation_id": "run", "runtime_name": "test", "runtime_kind": "test",
            "working_directory": base.path(), "command": ["x"],
        });
        RuntimeInvocation::from_json(document.to_string().as_bytes()).unwrap()
    }

    fn result() -> RuntimeResult {
        RuntimeResult {
            invocation_id: "run".to_owned(),
            runtime_name: "test".to_owned(),
            runtime_kind: RuntimeKind::new("test").unwrap(),
            status: Status::Succeeded,
            exit_code: Some(7),
            started_at: Timestamp::now(),
            finished_at: Timestamp::now(),
            stdout_path: None,
            stderr_path: None,
            artifacts: Vec::new(),
            error_summary: None,
            metadata: BTreeMap::new(),
        }
    }

    /// A run that has kept a checkpoint.
    fn with_checkpoint(base: &tempfile::TempDir) -> (RuntimeInvocation, Fingerprint, CaptureDirectory) {
        let invocation = invocation(base);
        let of = Fingerprint::of(&invocation);
        let capture = CaptureDirectory::open(&invocation).unwrap();
        capture.keep_checkpoint(of, b"state").unwrap();
        (invocation, of, capture)
    }

    #[tokio::test]
    async fn a_checkpoint_gives_way_to_the_result_and_that_to_nothing() {
        let base = tempfile::tempdir().unwrap();
        let (invocation, of, capture) = with_checkpoint(&base);

        let unrecorded = Unrecorded::held();
        unrecorded.leave(&capture);
        assert!(left_by(&invocation, of).can_resume);
        let taken = CaptureDirectory::open(&invocation);
        assert!(matches!(taken, Err(CaptureError::AlreadyRunning { .. })));
        drop(capture);

        unrecorded.keep(of, &result()).await.unwrap();
        let left = left_by(&invocation, of);
        assert!(!left.can_resume);
        assert_eq!(left.result.unwrap().exit_code, Some(7));
        let mut another = invocation.clone();
        another.command = vec!["y".to_owned()];
        assert!(left_by(&invocation, Fingerprint::of(&another)).result.is_none());

        unrecorded.forget().await;
        assert!(!location(&invocation).exists());
    }

    #[tokio::test]
    async fn a_run_that_leaves_late_leaves_nothing() {
        let base = tempfile::tempdir().unwrap();
        let (invocation, of, capture) = with_checkpoint(&base);
        let unrecorded = Unrecorded::held();
        unrecorded.keep(of, &result()).await.unwrap();
        unrecorded.forget().await;
        unrecorded.leave(&capture);
        assert!(!location(&invocation).exists());
        CaptureDirectory::open(&invocation).unwrap();
    }

    #[tokio::test]
    async fn nothing_is_held_of_a_run_without_a_checkpoint_or_a_journal() {
        let base = tempfile::tempdir().unwrap();
        let invocation = invocation(&base);
        let capture = CaptureDirectory::open(&invocation).unwrap();
        Unrecorded::held().leave(&capture);
        assert!(!location(&invocation).exists());

        let (invocation, of, capture) = with_checkpoint(&base);
        let unrecorded = Unrecorded::default();
        unrecorded.leave(&capture);
        unrecorded.keep(of, &result()).await.unwrap();
        assert!(!location(&invocation).exists());
    }
}
