//! A job's specification, as the supervisor sees it.
//!
//! Runs in children of `fork`: no allocation.

use super::{
    sys,
    wire::{MAX_INLINE_SPEC, Message, SpecHeader},
};
use nix::errno::Errno;
use std::{os::fd::RawFd, ptr};

/// Memory for one specification after another. A longer one gets memory of its own.
pub(super) struct SpecRoom {
    /// For what comes in a message.
    pub(super) message: &'static mut [u8],
    /// For the pointers to its strings.
    pointers: *mut *const libc::c_char,
}

impl SpecRoom {
    /// A string takes a byte at least, and each of the two arrays ends in a NULL.
    const POINTERS: usize = MAX_INLINE_SPEC + 2;

    /// Maps it, for as long as this process lives.
    pub(super) fn map() -> sys::Result<Self> {
        let message = sys::map_anonymous(MAX_INLINE_SPEC)?;
        Ok(Self {
            // SAFETY: a fresh, zeroed mapping of that length, never unmapped.
            message: unsafe { std::slice::from_raw_parts_mut(message, MAX_INLINE_SPEC) },
            pointers: sys::map_anonymous(Self::POINTERS * size_of::<*const libc::c_char>())?.cast(),
        })
    }

    /// Overwrites the first `len` bytes of the message.
    pub(super) fn forget(&mut self, len: usize) {
        if let Some(used) = self.message.get_mut(..len) {
            used.fill(0);
        }
    }
}

/// A job specification, with the arrays that `execve` takes. The room that it was read with is its own until it is
/// dropped.
pub(super) struct Spec {
    /// What is unmapped in the end.
    mappings: [Option<(*mut u8, usize)>; 2],
    pub(super) header: SpecHeader,
    pub(super) program: *const libc::c_char,
    pub(super) argv: *const *const libc::c_char,
    pub(super) envp: *const *const libc::c_char,
}

impl Spec {
    /// Finds the strings of what has come in a message: the first `len` bytes of the room.
    pub(super) fn of_message(room: &SpecRoom, len: usize) -> sys::Result<Self> {
        let bytes = room.message.get(..len).ok_or(Errno::EBADMSG)?;
        let header = header(bytes)?;
        if pointers(&header) > SpecRoom::POINTERS {
            return Err(Errno::EBADMSG);
        }
        Self::parse(bytes, header, room.pointers, [None, None])
    }

    /// Maps the file and finds its strings.
    pub(super) fn map(file: RawFd) -> sys::Result<Self> {
        let (base, len) = sys::map_file(file)?;
        // SAFETY: a private mapping of `len` bytes that nothing else writes to or unmaps.
        let bytes: &'static [u8] = unsafe { std::slice::from_raw_parts(base, len) };
        let header = header(bytes)?;
        let array_len = pointers(&header) * size_of::<*const libc::c_char>();
        let array = sys::map_anonymous(array_len)?;
        let mappings = [Some((base, len)), Some((array, array_len))];
        Self::parse(bytes, header, array.cast(), mappings)
    }

    /// Fills `array`, which has a slot for every string and two NULLs.
    fn parse(
        bytes: &[u8],
        header: SpecHeader,
        array: *mut *const libc::c_char,
        mappings: [Option<(*mut u8, usize)>; 2],
    ) -> sys::Result<Self> {
        let mut strings = &bytes[size_of::<SpecHeader>()..];
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
        for (address, len) in self.mappings.into_iter().flatten() {
            // SAFETY: the pointers into the mappings go with this value.
            unsafe { sys::unmap(address, len) };
        }
    }
}

fn header(bytes: &[u8]) -> sys::Result<SpecHeader> {
    let head = bytes.get(..size_of::<SpecHeader>()).ok_or(Errno::EBADMSG)?;
    let mut header = SpecHeader::default();
    header.bytes_mut().copy_from_slice(head);
    Ok(header)
}

/// How many pointers the arguments and the variables take, with the two NULLs.
fn pointers(header: &SpecHeader) -> usize {
    (header.argc + header.envc + 2) as usize
}
