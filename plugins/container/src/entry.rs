//! The plugin's file is a library, and a program too: the one that its last will names.
//!
//! Problem: a last will is a command, and there may be no program on the machine that speaks the daemon's API. Solution: as
//! the C library does, this one has an entry point and the name of a loader, so that the kernel runs it. What it does then
//! is in `will`.

use std::ffi::{CStr, c_char, c_int};

#[cfg(target_arch = "x86_64")]
const LOADER: &[u8; 28] = b"/lib64/ld-linux-x86-64.so.2\0";
#[cfg(target_arch = "aarch64")]
const LOADER: &[u8; 28] = b"/lib/ld-linux-aarch64.so.1\0\0";
#[cfg(not(all(any(target_arch = "x86_64", target_arch = "aarch64"), target_env = "gnu")))]
compile_error!("the container plugin is for Linux with glibc, on x86-64 or aarch64");

// SAFETY: nothing else is in this section, which a linker takes the loader's name from.
#[unsafe(link_section = ".interp")]
#[used]
static INTERPRETER: [u8; 28] = *LOADER;

// What the C library's own `_start` does: it passes on what the kernel has left on the stack.
#[cfg(target_arch = "x86_64")]
std::arch::global_asm!(
    ".globl executor_runtime_container_entry",
    ".type executor_runtime_container_entry, @function",
    "executor_runtime_container_entry:",
    "xor ebp, ebp",
    "mov r9, rdx",
    "pop rsi",
    "mov rdx, rsp",
    "and rsp, -16",
    "push rax",
    "push rsp",
    "xor r8d, r8d",
    "xor ecx, ecx",
    "lea rdi, [rip + {main}]",
    "call [rip + __libc_start_main@GOTPCREL]",
    "hlt",
    main = sym main,
);
#[cfg(target_arch = "aarch64")]
std::arch::global_asm!(
    ".globl executor_runtime_container_entry",
    ".type executor_runtime_container_entry, %function",
    "executor_runtime_container_entry:",
    "mov x29, #0",
    "mov x30, #0",
    "mov x5, x0",
    "ldr x1, [sp]",
    "add x2, sp, #8",
    "mov x6, sp",
    "adrp x0, {main}",
    "add x0, x0, :lo12:{main}",
    "mov x3, #0",
    "mov x4, #0",
    "bl __libc_start_main",
    "brk #0",
    main = sym main,
);

extern "C" fn main(argc: c_int, argv: *const *const c_char) -> c_int {
    let arguments = (1..usize::try_from(argc).unwrap_or(0)).map(|index| {
        // SAFETY: the C library passes `argc` strings, which stay as they are.
        let argument = unsafe { CStr::from_ptr(*argv.add(index)) };
        argument.to_string_lossy().into_owned()
    });
    crate::will::main(&arguments.collect::<Vec<_>>())
}

/// The path of this file, where the loader found it.
pub(crate) fn own_file() -> Option<String> {
    // SAFETY: all-zero is a valid value; it is valid for writing, and the address is one of this library.
    let info = unsafe {
        let mut info: libc::Dl_info = std::mem::zeroed();
        if libc::dladdr(INTERPRETER.as_ptr().cast(), &raw mut info) == 0 || info.dli_fname.is_null() {
            return None;
        }
        info
    };
    // SAFETY: the loader's own string, for as long as the library is loaded.
    let path = unsafe { CStr::from_ptr(info.dli_fname) };
    Some(path.to_string_lossy().into_owned())
}
