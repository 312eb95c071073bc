//! Lets a freshly forked spawner drop the memory that it inherited.
//!
//! `fork` shares the host's pages with the child, and the kernel counts them as the child's: a supervisor
//! forked later would start out as large, and so would the peak memory that is reported for a job. A host
//! that starts its supervisors first thing has nothing to drop; one that starts them after having filled a
//! gigabyte does.
//!
//! Runs in a child of `fork`: no allocation. Afterwards the heap must not be touched at all.

use super::sys;

/// Smaller mappings are not worth it; among them are the C library's variables.
const WORTH_DROPPING: usize = 1 << 20;

/// What stays around the current stack frame and around thread-local storage. A mapping of the program's may
/// lie right beside them, and the kernel shows neighbours as one.
const KEPT_AROUND: usize = 1 << 20;

/// What a process has that has nothing worth dropping, in KiB. A mapping is seldom resident as a whole.
const SMALL_KIB: libc::c_long = 2 << 10;

/// Drops every large private anonymous mapping but the current stack and thread-local storage.
pub(super) fn drop_inherited() {
    if sys::peak_memory_kib() < SMALL_KIB {
        return;
    }
    let Ok(maps) = sys::open_read(b"/proc/self/maps\0", 0) else {
        return;
    };
    let stack_marker = 0_u8;
    // SAFETY: the call has no precondition.
    let thread_local = unsafe { libc::__errno_location() } as usize;
    let mut keep = [&raw const stack_marker as usize, thread_local];
    keep.sort_unstable();

    let mut lines = Lines::new(maps);
    let mut previous_file_end = 0;
    while let Some(mapping) = lines.next_mapping() {
        // Variables of a library that are zero at first lie right behind its file.
        let bss = mapping.start == previous_file_end;
        if mapping.anonymous && mapping.private_writable && !bss && mapping.len() >= WORTH_DROPPING {
            let mut start = mapping.start;
            for address in keep {
                if (mapping.start..mapping.end).contains(&address) {
                    drop_range(start, address.saturating_sub(KEPT_AROUND) & !(PAGE_ALIGNMENT - 1));
                    start = start.max((address + KEPT_AROUND) & !(PAGE_ALIGNMENT - 1));
                }
            }
            drop_range(start, mapping.end);
        }
        if !mapping.anonymous {
            previous_file_end = mapping.end;
        }
    }
    sys::close(maps);
}

/// At least a page, on every architecture.
const PAGE_ALIGNMENT: usize = 64 * 1024;

fn drop_range(start: usize, end: usize) {
    if start < end {
        // SAFETY: nothing in this process reads the heap any more, as this module's docs demand.
        unsafe { libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_DONTNEED) };
    }
}

struct Mapping {
    start: usize,
    end: usize,
    private_writable: bool,
    anonymous: bool,
}

impl Mapping {
    fn len(&self) -> usize {
        self.end - self.start
    }

    /// `start-end rwxp offset dev inode path`, numbers in hex but for the inode.
    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|byte| *byte == b' ').filter(|field| !field.is_empty());
        let range = fields.next()?;
        let dash = range.iter().position(|byte| *byte == b'-')?;
        let permissions = fields.next()?;
        let inode = fields.nth(2)?;
        let path = fields.next();
        Some(Self {
            start: hex(&range[..dash])?,
            end: hex(&range[dash + 1..])?,
            private_writable: permissions.starts_with(b"rw") && permissions.get(3) == Some(&b'p'),
            anonymous: inode == b"0" && matches!(path, None | Some(b"[heap]")),
        })
    }
}

fn hex(digits: &[u8]) -> Option<usize> {
    digits.iter().try_fold(0_usize, |value, digit| {
        Some(value << 4 | (*digit as char).to_digit(16)? as usize)
    })
}

/// Lines of a file, through a fixed buffer; a longer line is passed over.
struct Lines {
    file: libc::c_int,
    buffer: [u8; 4096],
    start: usize,
    end: usize,
}

impl Lines {
    fn new(file: libc::c_int) -> Self {
        Self {
            file,
            buffer: [0; 4096],
            start: 0,
            end: 0,
        }
    }

    fn next_mapping(&mut self) -> Option<Mapping> {
        loop {
            let unread = &self.buffer[self.start..self.end];
            if let Some(len) = unread.iter().position(|byte| *byte == b'\n') {
                let mapping = Mapping::parse(&unread[..len]);
                self.start += len + 1;
                if mapping.is_some() {
                    return mapping;
                }
                continue;
            }
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            if self.end == self.buffer.len() {
                self.end = 0;
            }
            match sys::read(self.file, &mut self.buffer[self.end..]) {
                Ok(0) | Err(_) => return None,
                Ok(len) => self.end += len,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_are_told_apart() {
        let heap = Mapping::parse(b"55d0c000-55d2d000 rw-p 00000000 00:00 0                [heap]").unwrap();
        assert_eq!((heap.start, heap.end), (0x55d0_c000, 0x55d2_d000));
        assert!(heap.anonymous && heap.private_writable);
        let nameless = Mapping::parse(b"7f00-7f10 rw-p 00000000 00:00 0 ").unwrap();
        assert!(nameless.anonymous);
        let library = Mapping::parse(b"7f00-7f10 r-xp 00026000 fe:00 5678 /usr/lib/libc.so.6").unwrap();
        assert!(!library.anonymous && !library.private_writable);
        let stack = Mapping::parse(b"7ff0-7fff rw-p 00000000 00:00 0 [stack]").unwrap();
        assert!(!stack.anonymous);
        assert!(Mapping::parse(b"rubbish").is_none());
    }
}
