//! What a run with a checkpoint has come to, until that is recorded.
//!
//! A run that comes to an end removes its checkpoint. Where a journal is to know of the end, a host that dies in between
//! would leave neither. So whoever runs it for a journal holds what there is to go on from ([`Unrecorded::held`]), puts the
//! result in its place ([`Unrecorded::keep`]), and removes that once it is recorded ([`Unrecorded::forget`]). A run without a
//! checkpoint is not gone on with anyway, and leaves nothing.

use super::{CaptureDirectory, CaptureError, Fingerprint, checkpoint, finished, open_regular_at};
use crate::exhaustion;
use executor_runtime_protocol::RuntimeResult;
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::{
    io::{self, Read},
    sync::{Arc, Mutex, PoisonError},
};

pub(super) const NAME: &str = ".result";
pub(super) const PARTIAL: &str = ".result.partial";
/// The longest result that is read, in bytes.
const MAX_RESULT: u64 = 64 << 20;

/// What there is to go on from, of a run that has ended and whose end is not recorded. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Unrecorded(Option<Arc<Mutex<Option<CaptureDirectory>>>>);

impl Unrecorded {
    /// For a run whose end is going to be recorded; by default there is nobody who does.
    pub fn held() -> Self {
        Self(Some(Arc::default()))
    }

    /// The run has come to an end, and all of its artifacts are listed: the next run of its id may begin, unless its end has
    /// to be recorded first. Blocks on the file system.
    pub fn leave(&self, capture: &CaptureDirectory) {
        if let Some(held) = &self.0
            && capture.has_checkpoint()
            && let Ok(capture) = capture.share()
        {
            *held.lock().unwrap_or_else(PoisonError::into_inner) = Some(capture);
            return;
        }
        capture.leave();
    }

    /// Keeps what the run, which was asked for `of`, has come to, in place of what there was to go on from.
    ///
    /// # Errors
    /// When it can't be written. A host that takes the run up goes on with it then.
    pub async fn keep(&self, of: Fingerprint, result: &RuntimeResult) -> Result<(), CaptureError> {
        let (Some(held), Some(capture)) = (&self.0, self.take()) else {
            return Ok(());
        };
        let text = serde_json::to_vec(result).unwrap_or_default();
        let keeping = in_directory(capture, move |capture| capture.keep_result(of, &text));
        let Some((capture, kept)) = keeping.await else {
            return Ok(());
        };
        *held.lock().unwrap_or_else(PoisonError::into_inner) = Some(capture);
        kept
    }

    /// The end is recorded.
    pub async fn forget(&self) {
        if let Some(capture) = self.take() {
            in_directory(capture, CaptureDirectory::leave).await;
        }
    }

    fn take(&self) -> Option<CaptureDirectory> {
        let held = self.0.as_ref()?;
        held.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
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

    /// Keeps what the run has come to, in place of its checkpoint.
    fn keep_result(&self, of: Fingerprint, result: &[u8]) -> Result<(), CaptureError> {
        self.replace_file(PARTIAL, NAME, &[of.as_bytes(), result].concat())?;
        for name in [checkpoint::NAME, finished::NAME] {
            // It is of no use any more, and harmless.
            let _ = unlinkat(&self.handle, name, UnlinkatFlags::NoRemoveDir);
        }
        Ok(())
    }

    /// What a run that was asked for `of` has come to, if nobody has recorded it.
    pub(super) fn unrecorded_result(&self, of: Fingerprint) -> Option<RuntimeResult> {
        let file = open_regular_at(&self.handle, NAME).ok()??;
        let mut read = Vec::new();
        file.take(MAX_RESULT).read_to_end(&mut read).ok()?;
        serde_json::from_slice(read.strip_prefix(of.as_bytes())?).ok()
    }
}

/// Does something in a directory: here if its file system answers at once, else on another thread. None if there is none.
async fn in_directory<T: Send + 'static>(
    capture: CaptureDirectory,
    work: impl FnOnce(&CaptureDirectory) -> T + Send + 'static,
) -> Option<(CaptureDirectory, T)> {
    let is_at_once = capture.answers_at_once();
    let work = move || {
        let done = work(&capture);
        (capture, done)
    };
    if is_at_once {
        return Some(work());
    }
    exhaustion::run_blocking(work).await.ok()
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

    #[tokio::test]
    async fn a_checkpoint_gives_way_to_the_result_and_that_to_nothing() {
        let base = tempfile::tempdir().unwrap();
        let invocation = invocation(&base);
        let of = Fingerprint::of(&invocation);
        let capture = CaptureDirectory::open(&invocation).unwrap();
        capture.keep_checkpoint(of, b"state").unwrap();

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
    async fn nothing_is_held_of_a_run_without_a_checkpoint_or_a_journal() {
        let base = tempfile::tempdir().unwrap();
        let invocation = invocation(&base);
        let of = Fingerprint::of(&invocation);
        let capture = CaptureDirectory::open(&invocation).unwrap();
        Unrecorded::held().leave(&capture);
        assert!(!location(&invocation).exists());

        let capture = CaptureDirectory::open(&invocation).unwrap();
        capture.keep_checkpoint(of, b"state").unwrap();
        let unrecorded = Unrecorded::default();
        unrecorded.leave(&capture);
        unrecorded.keep(of, &result()).await.unwrap();
        assert!(!location(&invocation).exists());
    }
}
