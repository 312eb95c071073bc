//! The allocator of an executable that may have many runs.
//!
//! Problem: an instance of a component consists of hundreds of small blocks, which one thread allocates and another one
//! frees. With the C library's allocator a host of many runs spends a quarter of its time there. mimalloc is made for that;
//! but it touches more pages at first, takes more addresses, and keeps large blocks for longer than a host that is to stay
//! small can have. Solution: mimalloc for small blocks where the executable says that it has many runs; else the C library's.

use mimalloc::MiMalloc;
use std::{
    alloc::{GlobalAlloc, Layout, System},
    ptr,
    sync::atomic::{AtomicBool, Ordering},
};

/// The C library's allocator, or mimalloc for small blocks and the C library's for the others.
#[derive(Debug)]
pub struct Allocator {
    has_many_runs: AtomicBool,
}

/// Longer blocks are the C library's.
const SMALL: usize = 1024;

/// Heaps that the C library has for threads that allocate at once. It would make eight for each processor, and each keeps
/// what it once had: a few megabytes.
#[cfg(target_env = "gnu")]
const HEAPS: libc::c_int = 4;

impl Allocator {
    /// The C library's, unless [`Self::prepare_for_many_runs`] is called.
    pub const fn of_c_library() -> Self {
        Self {
            has_many_runs: AtomicBool::new(false),
        }
    }

    /// mimalloc for small blocks from the start.
    pub const fn for_many_runs() -> Self {
        Self {
            has_many_runs: AtomicBool::new(true),
        }
    }

    /// Has small blocks allocated by mimalloc from now on, and bounds the C library's heaps, unless the operator has.
    ///
    /// # Safety
    /// Nothing is allocated yet, as a block has to be freed by the allocator that it came from, and there is one thread.
    pub unsafe fn prepare_for_many_runs(&self) {
        self.has_many_runs.store(true, Ordering::Relaxed);
        #[cfg(target_env = "gnu")]
        // SAFETY: the names are NUL-terminated, and no other thread runs that could change the environment.
        unsafe {
            let is_set = |name: &std::ffi::CStr| !libc::getenv(name.as_ptr()).is_null();
            if !is_set(c"MALLOC_ARENA_MAX") && !is_set(c"GLIBC_TUNABLES") {
                libc::mallopt(libc::M_ARENA_MAX, HEAPS);
            }
        }
    }

    /// Whether a block of this size is mimalloc's.
    fn is_small(&self, size: usize) -> bool {
        size <= SMALL && self.has_many_runs.load(Ordering::Relaxed)
    }
}

// SAFETY: a block is freed or moved by the allocator that it came from, which is one that keeps the trait's promises.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are those that are asked for.
        unsafe {
            match self.is_small(layout.size()) {
                true => MiMalloc.alloc(layout),
                false => System.alloc(layout),
            }
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are those that are asked for.
        unsafe {
            match self.is_small(layout.size()) {
                true => MiMalloc.alloc_zeroed(layout),
                false => System.alloc_zeroed(layout),
            }
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are those that are asked for.
        unsafe {
            match self.is_small(layout.size()) {
                true => MiMalloc.dealloc(block, layout),
                false => System.dealloc(block, layout),
            }
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promises are those that are asked for; the new block is another one, as long as `size`, and
        // the caller says that this makes a layout.
        unsafe {
            match (self.is_small(layout.size()), self.is_small(size)) {
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
