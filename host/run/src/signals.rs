//! What signals do to this process.

use std::{mem::MaybeUninit, ptr};

/// Whether the signal is ignored.
pub fn is_ignored(signal: i32) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: nothing is installed; `action` is valid for writing, and is read only if it was written.
    unsafe {
        libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) == 0
            && action.assume_init().sa_sigaction == libc::SIG_IGN
    }
}

/// Has the signal do again what it does by default.
pub fn set_default(signal: i32) {
    // SAFETY: SIG_DFL runs no code.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

/// Signals that wait. Dropping it lets them come.
#[derive(Debug)]
#[must_use = "dropping it lets them come"]
pub struct HeldSignals {
    before: libc::sigset_t,
}

impl HeldSignals {
    /// Has these signals wait in this thread.
    pub fn hold(numbers: &[i32]) -> Self {
        let (mut held, mut before) = (MaybeUninit::uninit(), MaybeUninit::uninit());
        // SAFETY: `held` is initialised by the first call, before it is read. `before` is valid for writing, and written:
        // nothing can be wrong with the arguments.
        unsafe {
            libc::sigemptyset(held.as_mut_ptr());
            for number in numbers {
                libc::sigaddset(held.as_mut_ptr(), *number);
            }
            libc::pthread_sigmask(libc::SIG_BLOCK, held.as_ptr(), before.as_mut_ptr());
            Self {
                before: before.assume_init(),
            }
        }
    }
}

impl Drop for HeldSignals {
    fn drop(&mut self) {
        // SAFETY: the set was the mask before; the present one is not asked for.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, ptr::null_mut()) };
    }
}
