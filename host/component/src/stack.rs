//! Memory of a fiber's stack that is not in use while the guest on it waits.
//!
//! A stack keeps each page that was ever touched. Sending a request reaches several pages deeper than waiting does, so that
//! a run that mostly waits would hold them for nothing, and ten thousand runs a lot.

/// How far below the caller to look: deeper than a request reaches, and less than the stack of a fiber always has left
/// below a host function, whatever the guest did.
const DEPTH: usize = 64 * 1024;

/// What is left alone for the frames of [`release_unused`] and of what it calls.
const OWN_FRAMES: usize = 1024;

/// Gives back the memory of the stack below the caller, which nothing uses while the caller runs.
///
/// To be called in a host function, which is on the fiber of the guest that called it.
#[inline(never)]
pub(super) fn release_unused() {
    let own = 0_u8;
    // SAFETY: sysconf has no preconditions.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    let Ok(page) = usize::try_from(page) else {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Touches the stack below the caller, further down than one page.
    #[inline(never)]
    fn dig() -> u64 {
        let deep = std::hint::black_box([7_u8; 60 * 1024]);
        deep.iter().map(|&byte| u64::from(byte)).sum()
    }

    /// Of eight pages some way below the caller, those that are in memory.
    #[inline(never)]
    fn resident() -> usize {
        let page = 4096;
        let own = 0_u8;
        let end = (&raw const own).wrapping_byte_sub(OWN_FRAMES + 4 * page);
        let end = end.wrapping_byte_sub(end.addr() % page);
        let start = end.wrapping_byte_sub(32 * 1024);
        let mut pages = [0_u8; 8];
        // SAFETY: the range is of this thread's stack, and there is a byte for each page.
        let told = unsafe { libc::mincore(start.cast_mut().cast(), 32 * 1024, pages.as_mut_ptr()) };
        assert_eq!(told, 0);
        pages.iter().filter(|&&page| page & 1 == 1).count()
    }

    #[test]
    fn what_was_used_below_is_given_back_and_what_is_above_stays() {
        let above = std::hint::black_box([5_u8; 8 * 1024]);
        let depth = dig();
        let before = resident();
        release_unused();
        let after = resident();
        assert_eq!((before, after), (8, 0));
        assert_eq!(depth, 7 * 60 * 1024);
        assert!(above.iter().all(|&byte| byte == 5));
        assert_eq!(dig(), depth);
    }
}
