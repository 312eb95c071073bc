//! Which allocator this process has. That is settled before anything is allocated, by the command.

use executor_runtime_component::Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator::of_c_library();

/// Only glibc gives the arguments to what runs before `main`; elsewhere the C library allocates everything.
#[cfg(target_env = "gnu")]
mod before_main {
    use super::ALLOCATOR;
    use std::{
        ffi::{CStr, c_char, c_int},
        mem::MaybeUninit,
    };

    /// Ahead of the standard library's own, and so of all that allocates.
    #[used]
    #[unsafe(link_section = ".init_array.00098")]
    static CHOOSE: extern "C" fn(c_int, *const *const c_char) = choose;

    extern "C" fn choose(count: c_int, words: *const *const c_char) {
        let words = (1..usize::try_from(count).unwrap_or(0)).map(|n| {
            // SAFETY: there are `count` words, which are NUL-terminated and stay as they are meanwhile.
            unsafe { CStr::from_ptr(*words.add(n)) }.to_bytes()
        });
        // What follows `--` is the run's.
        let mut words = words.take_while(|word| *word != b"--");
        let has_many_runs = words.any(|word| matches!(word, b"batch" | b"serve"));
        if has_many_runs && has_all_addresses() {
            // SAFETY: nothing of this program has run before this.
            unsafe { ALLOCATOR.prepare_for_many_runs() };
        }
    }

    /// Whether no limit is set on this process's address space, of which mimalloc takes a gigabyte before it is used.
    fn has_all_addresses() -> bool {
        let mut limit = MaybeUninit::<libc::rlimit>::uninit();
        // SAFETY: there is room for the answer.
        let told = unsafe { libc::getrlimit(libc::RLIMIT_AS, limit.as_mut_ptr()) };
        // SAFETY: it was written if the call succeeded.
        told == 0 && unsafe { limit.assume_init() }.rlim_cur == libc::RLIM_INFINITY
    }
}
