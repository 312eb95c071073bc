//! Memory of a fiber's stack that is not in use while the guest on it waits.
//!
//! A stack keeps each page that was ever touched. Sending a request reaches several pages deeper than waiting does, so that
//! a run that mostly waits would hold them for nothing, and ten thousand runs a lot.

/// How far below the caller to look: deeper than a request reaches, and less than the stack of a fiber always has left
/// below a host function, whatever the guest did.
const DEPTH: usize = 256 * 1024;

/// What is left alone for the frames of [`release_unused`] and of what it calls.
const OWN_FRAMES: usize = 1024;

/// Gives back the memory of the stack below the caller, which nothing uses while the caller runs.
///
/// To be called in a host function, which is on the fiber of the guest that called it.
#[inline(never)]
pub(super) fn release_unused() {
    let own = 0_u8;
    let Some(page) = page_size() else {
        return;
    };
    let end = (&raw const own).wrapping_byte_sub(OWN_FRAMES);
    let end = end.wrapping_byte_sub(end.addr() % page);
    let start = end.wrapping_byte_sub(DEPTH);
    // SAFETY: the pages are below all frames of this stack, which grows down, so that nothing is in them that is still
    // needed; and they are part of it, as far more than `DEPTH` of it is left.
    let given_back = unsafe { libc::madvise(start.cast_mut().cast(), DEPTH, libc::MADV_DONTNEED) };
    debug_assert_eq!(given_back, 0, "the stack is mapped that far");
}

fn page_size() -> Option<usize> {
    // SAFETY: it has no preconditions.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As much of the stack as is looked at: a page, however large pages are, or several.
    const WINDOW: usize = 64 * 1024;
    const DEEP: usize = 240 * 1024;

    /// Touches the stack below the caller, further down than the window.
    #[inline(never)]
    fn dig() -> u64 {
        let deep = std::hint::black_box([7_u8; DEEP]);
        deep.iter().map(|&byte| u64::from(byte)).sum()
    }

    /// Of the pages of the window, which is some way below the caller, those that are in memory.
    #[inline(never)]
    fn resident(page: usize) -> usize {
        let own = 0_u8;
        let end = (&raw const own).wrapping_byte_sub(OWN_FRAMES + 16 * 1024);
        let end = end.wrapping_byte_sub(end.addr() % page);
        let start = end.wrapping_byte_sub(WINDOW);
        let mut pages = vec![0_u8; WINDOW / page];
        // SAFETY: the range is of this thread's stack, and there is a byte for each page.
        let told = unsafe { libc::mincore(start.cast_mut().cast(), WINDOW, pages.as_mut_ptr()) };
        assert_eq!(told, 0);
        pages.iter().filter(|&&page| page & 1 == 1).count()
    }

    #[test]
    fn what_was_used_below_is_given_back_and_what_is_above_stays() {
        let above = std::hint::black_box([5_u8; 8 * 1024]);
        let page = page_size().unwrap();
        let depth = dig();
        let before = resident(page);
        release_unused();
        let after = resident(page);
        assert_eq!((before, after), (WINDOW / page, 0));
        assert_eq!(depth, 7 * DEEP as u64);
        assert!(above.iter().all(|&byte| byte == 5));
        assert_eq!(dig(), depth);
    }
}
