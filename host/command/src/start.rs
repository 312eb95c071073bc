//! A start without what a short command has no use for. With glibc only, which gives a program its arguments however it
//! starts.
//!
//! Problem: before `main` the standard library looks up where the stack ends, in `/proc/self/maps`, to be able to say of a
//! stack overflow that it is one. And the mathematical library is loaded, for one function, which only a host of many
//! runs calls. The two take a fifth of what `--version` does. Solution: the C library calls `main` here, which does the rest
//! of those preparations; and [`pow`] loads the mathematical library when it is called.
//!
//! (A stack overflow still ends the process by SIGSEGV: the kernel keeps a gap below each stack.)

use std::{
    ffi::{c_char, c_int, c_void},
    mem,
    panic::catch_unwind,
    process::ExitCode,
    sync::OnceLock,
};

/// What a process exits with that has panicked, as the standard library has it.
const PANICKED: u8 = 101;

#[unsafe(no_mangle)]
extern "C" fn main(_: c_int, _: *const *const c_char) -> c_int {
    open_standard_descriptors();
    // A write to a pipe without a reader is an error then.
    // SAFETY: SIG_IGN runs no code.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    let code = catch_unwind(super::main).unwrap_or(ExitCode::from(PANICKED));
    // A code does not tell its number.
    let number = (0..=u8::MAX).find(|number| ExitCode::from(*number) == code);
    // This also writes what is left in the buffer of stdout.
    std::process::exit(number.unwrap_or(PANICKED).into())
}

/// Opens those of the descriptors 0 to 2 that are not open, so that no other file gets their numbers. What is written to a
/// stdout that was closed fails still.
fn open_standard_descriptors() {
    let mut standard = [0, 1, 2].map(|fd| libc::pollfd {
        fd,
        events: 0,
        revents: 0,
    });
    // SAFETY: `standard` is valid for its length.
    let polled = unsafe { libc::poll(standard.as_mut_ptr(), standard.len() as libc::nfds_t, 0) };
    for (fd, polled_fd) in (0..).zip(standard) {
        let is_closed = match polled {
            // There is no memory for the call, or 3 descriptors are more than the limit.
            // SAFETY: no memory is involved.
            ..0 => unsafe { libc::fcntl(fd, libc::F_GETFD) == -1 },
            _ => polled_fd.revents & libc::POLLNVAL != 0,
        };
        let mode = match fd {
            libc::STDOUT_FILENO => libc::O_RDONLY,
            _ => libc::O_RDWR,
        };
        // The lowest number that is free is taken.
        // SAFETY: the path is NUL-terminated.
        if is_closed && unsafe { libc::open(c"/dev/null".as_ptr(), mode) } == -1 {
            // SAFETY: it does not return.
            unsafe { libc::abort() }
        }
    }
}

type Pow = extern "C" fn(f64, f64) -> f64;

/// The mathematical library's function of this name.
#[unsafe(no_mangle)]
extern "C" fn pow(base: f64, exponent: f64) -> f64 {
    static POW: OnceLock<Option<Pow>> = OnceLock::new();
    match POW.get_or_init(load_pow) {
        Some(pow) => pow(base, exponent),
        // It is a part of the C library, and always there.
        None => f64::NAN,
    }
}

fn load_pow() -> Option<Pow> {
    // SAFETY: the strings are NUL-terminated, and the library's initialisation has no precondition.
    let function = unsafe {
        let library = libc::dlopen(c"libm.so.6".as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL);
        if library.is_null() {
            return None;
        }
        libc::dlsym(library, c"pow".as_ptr())
    };
    // SAFETY: the library has a function of this name and this type.
    (!function.is_null()).then(|| unsafe { mem::transmute::<*mut c_void, Pow>(function) })
}
