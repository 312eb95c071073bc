//! What a panic says, told where the host listens.
//!
//! In a component for `wasm32-unknown-unknown` std's stderr leads nowhere, and the host could only say that the
//! plugin panicked or aborted. For other targets std writes to the same stream itself.

use super::bindings::wasi::cli::stderr::get_stderr;

/// The most that one call may write.
const MAX_WRITE: usize = 4096;

/// Has panics tell their message on the component's stderr.
pub(super) fn tell_on_stderr() {
    std::panic::set_hook(Box::new(|panic| {
        let stderr = get_stderr();
        for part in format!("{panic}\n").as_bytes().chunks(MAX_WRITE) {
            if stderr.blocking_write_and_flush(part).is_err() {
                break;
            }
        }
    }));
}
