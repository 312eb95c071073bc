//! What a run is asked for, until its turn comes.
//!
//! A queue is as long as many documents, each of which may have megabytes. So those that wait have a bounded room in memory.
//! What is found to have none there is read from the journal when its turn comes. In memory stays what has to be known of a
//! run all the time, its [`outline`], which is short; for those that are not there is as much room, and without it a run is
//! refused.

use executor_runtime::protocol::RuntimeInvocation;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many bytes the documents of runs that wait may have in memory, and as many their outlines.
const ROOM: usize = 32 << 20;
/// An outline that is not longer, in bytes, takes no room: the number of runs bounds them.
const SHORT: usize = 4 << 10;

/// The room that there is for documents.
pub(crate) struct Room {
    documents: Arc<Semaphore>,
    outlines: Arc<Semaphore>,
}

impl Default for Room {
    fn default() -> Self {
        Self::of(ROOM)
    }
}

impl Room {
    fn of(bytes: usize) -> Self {
        Self {
            documents: Arc::new(Semaphore::new(bytes)),
            outlines: Arc::new(Semaphore::new(bytes)),
        }
    }
}

/// Takes some of the room, if there is as much.
fn take(room: &Arc<Semaphore>, bytes: usize) -> Option<OwnedSemaphorePermit> {
    let bytes = u32::try_from(bytes).ok()?;
    Arc::clone(room).try_acquire_many_owned(bytes).ok()
}

/// The document of a run that waits, if it is in memory.
#[derive(Default)]
pub(crate) struct Document {
    held: Mutex<Option<Held>>,
    /// What its outline takes.
    outline: OnceLock<OwnedSemaphorePermit>,
}

struct Held {
    invocation: RuntimeInvocation,
    /// None while it is being accepted.
    _room: Option<OwnedSemaphorePermit>,
}

impl Document {
    /// One that is about to be accepted.
    pub(crate) fn new(invocation: RuntimeInvocation) -> Self {
        Self {
            held: Mutex::new(Some(Held {
                invocation,
                _room: None,
            })),
            outline: OnceLock::new(),
        }
    }

    /// It as JSON; empty if it is not in memory.
    pub(crate) fn text(&self) -> String {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let text = held.as_ref().map(|held| serde_json::to_string(&held.invocation));
        text.and_then(Result::ok).unwrap_or_default()
    }

    /// Takes room for its outline; false if there is none.
    pub(crate) fn take_room_for(&self, outline: &RuntimeInvocation, room: &Room) -> bool {
        let bytes = length(outline);
        if bytes <= SHORT {
            return true;
        }
        match take(&room.outlines, bytes) {
            Some(taken) => self.outline.set(taken).is_ok(),
            None => false,
        }
    }

    /// The journal has it: it stays in memory if there is room for its `bytes`.
    pub(crate) fn stay(&self, bytes: usize, room: &Room) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        *held = held.take().and_then(|held| {
            let taken = take(&room.documents, bytes)?;
            Some(Held {
                _room: Some(taken),
                ..held
            })
        });
    }

    /// Takes it out of memory; none if it is in the journal alone.
    pub(crate) fn take(&self) -> Option<RuntimeInvocation> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner).take();
        held.map(|held| held.invocation)
    }
}

/// What has to be known of a run all the time: all but what is run, and how.
pub(crate) fn outline(invocation: &RuntimeInvocation) -> RuntimeInvocation {
    RuntimeInvocation {
        invocation_id: invocation.invocation_id.clone(),
        runtime_name: invocation.runtime_name.clone(),
        runtime_kind: invocation.runtime_kind.clone(),
        working_directory: invocation.working_directory.clone(),
        command: Vec::new(),
        environment: BTreeMap::new(),
        timeout_seconds: invocation.timeout_seconds,
        input_payload_path: None,
        output_result_path: invocation.output_result_path.clone(),
        artifact_directory: invocation.artifact_directory.clone(),
        metadata: BTreeMap::new(),
    }
}

/// How many bytes an outline takes: its names are in the summary of the run and in the table, too.
fn length(outline: &RuntimeInvocation) -> usize {
    let paths = [&outline.output_result_path, &outline.artifact_directory];
    let paths: usize = paths.into_iter().flatten().map(String::len).sum();
    3 * outline.invocation_id.len() + 2 * outline.runtime_name.len() + outline.working_directory.len() + paths
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invocation(id: &str, bytes: usize) -> RuntimeInvocation {
        let document = serde_json::json!({
            "invocation_id": id, "runtime_name": "test", "runtime_kind": "test", "working_directory": "/",
            "command": ["x".repeat(bytes)],
        });
        RuntimeInvocation::from_json(document.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn documents_stay_in_memory_while_there_is_room() {
        let room = Room::of(1000);
        let [one, two, three] = [1, 2, 3].map(|_| Document::new(invocation("a", 400)));
        for document in [&one, &two, &three] {
            let bytes = document.text().len();
            assert!((400..800).contains(&bytes), "{bytes}");
            document.stay(bytes.min(450), &room);
        }
        assert_eq!(one.take(), Some(invocation("a", 400)));
        assert_eq!(one.take(), None);
        assert_eq!(three.take(), None);
        // What has left makes room.
        let four = Document::new(invocation("a", 400));
        four.stay(450, &room);
        drop(two);
        assert!(four.take().is_some());
        assert_eq!(room.documents.available_permits(), 1000);
    }

    #[test]
    fn a_long_outline_needs_room() {
        let room = Room::of(20_000);
        let long = "x".repeat(6000);
        let documents: Vec<_> = ["short", &long, &long]
            .into_iter()
            .map(|id| {
                let document = Document::new(invocation(id, 1));
                let taken = document.take_room_for(&outline(&invocation(id, 1)), &room);
                (document, taken)
            })
            .collect();
        let taken: Vec<_> = documents.iter().map(|(_, taken)| *taken).collect();
        assert_eq!(taken, [true, true, false]);
        drop(documents);
        assert_eq!(room.outlines.available_permits(), 20_000);
    }
}
