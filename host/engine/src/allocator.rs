//! The allocator of this executable.
//!
//! Problem: an instance of a component consists of hundreds of small blocks, which one thread allocates and another one
//! frees. With the C library's allocator a host of many runs spends a quarter of its time there. mimalloc is made for that;
//! but it touches more pages at first, which a process that has one run, or runs a native plugin, would pay for nothing, and
//! it keeps large blocks for longer than a host that is to stay small can have. Solution: mimalloc for small blocks where
//! the command is one for many runs, which is settled before anything is allocated; else the C library's.

use mimalloc::MiMalloc;
use std::{
    alloc::{GlobalAlloc, Layout, System},
    ptr,
    sync::atomic::{AtomicBool, Ordering},
};

/// mimalloc for small blocks in a host of many runs, else the C library's.
pub(super) struct Allocator;

/// The longest block that mimalloc has.
const SMALL: usize = 1024;

/// Changes only before the first block is allocated, as a block has to be freed by the allocator that it came from.
static HAS_MANY_RUNS: AtomicBool = AtomicBool::new(false);

/// Whether a block of this size is mimalloc's.
fn is_small(size: usize) -> bool {
    size <= SMALL && HAS_MANY_RUNS.load(Ordering::Relaxed)
}

// SAFETY: a block is freed or moved by the allocator that it came from, which is one that keeps the trait's promises.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are those that are asked for.
        unsafe {
            match is_small(layout.size()) {
                true => MiMalloc.alloc(layout),
                false => System.alloc(layout),
            }
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are those that are asked for.
        unsafe {
            match is_small(layout.size()) {
                true => MiMalloc.alloc_zeroed(layout),
                false => System.alloc_zeroed(layout),
            }
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are those that are asked for.
        unsafe {
            match is_small(layout.size()) {
                true => MiMalloc.dealloc(block, layout),
                false => System.dealloc(block, layout),
            }
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promises are those that are asked for; the new block is another one, as long as `size`, and
        // the caller says that this makes a layout.
        unsafe {
            match (is_small(layout.size()), is_small(size)) {
                (true, true) => MiMalloc.realloc(block, layout, size),
                (false, false) => System.realloc(block, layout, size),
                _ => {
                    let moved = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
                    if !moved.is_null() {
                        ptr::copy_nonoverlapping(block, moved, layout.size().min(size));
                        self.dealloc(block, layout);
                    }
                    moved
                }
            }
        }
    }
}

/// Only glibc gives the arguments to what runs before `main`.
#[cfg(target_env = "gnu")]
mod before_main {
    use super::HAS_MANY_RUNS;
    use std::{
        ffi::{CStr, c_char, c_int},
        sync::atomic::Ordering,
    };

    /// Heaps that the C library has for threads that allocate at once. It would make eight for each processor, and each
    /// keeps what it once had: a few megabytes.
    const ARENAS: c_int = 4;

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
        if words.any(|word| matches!(word, b"batch" | b"serve")) {
            HAS_MANY_RUNS.store(true, Ordering::Relaxed);
            // SAFETY: no other thread runs yet.
            unsafe { libc::mallopt(libc::M_ARENA_MAX, ARENAS) };
        }
    }
}
