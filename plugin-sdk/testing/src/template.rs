//! Native plugins run in processes of the test's own executable.
//!
//! The host starts its executable again to load a native plugin. Here that is a test, whose `main` belongs to
//! the test harness: so what the host's `main` does first is done before it.

use executor_runtime_native::worker_main;

/// Called by the C library before `main`.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = become_template;

extern "C" fn become_template() {
    if worker_main(std::env::args_os().skip(1)).is_some() {
        // It returns only if it has failed, and has said so.
        std::process::exit(1);
    }
}

/// Makes the linker keep what is above, wherever a host is made.
pub(crate) fn ensure_linked() {
    std::hint::black_box(&BEFORE_MAIN);
}
