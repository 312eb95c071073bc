//! A job's memory file, as the supervisor sees it.
//!
//! Runs in children of `fork`: no allocation.

use super::{
    sys,
    wire::{Message, SpecHeader},
};
use nix::errno::Errno;
use std::{os::fd::RawFd, ptr};

/// A mapped job specification, with the arrays that `execve` takes.
pub(super) struct Spec {
    /// What is unmapped in the end.
    mappings: [(*mut u8, usize); 2],
    pub(super) header: SpecHeader,
    pub(super) program: *const libc::c_char,
    pub(super) argv: *const *const libc::c_char,
    pub(super) envp: *const *const libc::c_char,
}

impl Spec {
    /// Maps the file and finds its strings.
    pub(super) fn map(file: RawFd) -> sys::Result<Self> {
        let (base, len) = sys::map_file(file)?;
        // SAFETY: a private mapping of `len` bytes that nothing else writes to or unmaps.
        let bytes: &'static [u8] = unsafe { std::slice::from_raw_parts(base, len) };
        let (head, mut strings) = bytes
            .split_at_checked(size_of::<SpecHeader>())
            .ok_or(Errno::EBADMSG)?;
        let mut header = SpecHeader::default();
        header.bytes_mut().copy_from_slice(head);

        let pointers = (header.argc + header.envc + 2) as usize;
        let array_len = pointers * size_of::<*const libc::c_char>();
        let array: *mut *const libc::c_char = sys::map_anonymous(array_len)?.cast();
        let mappings = [(base, len), (array.cast(), array_len)];
        let mut next_string = || {
            let end = strings.iter().position(|byte| *byte == 0).ok_or(Errno::EBADMSG)?;
            let string = strings.as_ptr().cast::<libc::c_char>();
            strings = &strings[end + 1..];
            Ok(string)
        };
        let program = next_string()?;
        let mut slot = array;
        for count in [header.argc, header.envc] {
            for _ in 0..count {
                // SAFETY: the array has a slot for every string and two NULLs.
                unsafe {
                    *slot = next_string()?;
                    slot = slot.add(1);
                }
            }
            // SAFETY: as above.
            unsafe {
                *slot = ptr::null();
                slot = slot.add(1);
            }
        }
        // SAFETY: inside the array: it begins with `argc` pointers and a NULL.
        let envp = unsafe { array.add(header.argc as usize + 1) };
        Ok(Self {
            mappings,
            header,
            program,
            argv: array,
            envp,
        })
    }
}

impl Drop for Spec {
    fn drop(&mut self) {
        for (address, len) in self.mappings {
            // SAFETY: the pointers into the mappings go with this value.
            unsafe { sys::unmap(address, len) };
        }
    }
}
