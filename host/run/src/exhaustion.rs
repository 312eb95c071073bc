//! What a host can run out of, asked for before something that panics without it, or that gives no reason.

use std::{fs::File, hint, io, os::fd::OwnedFd, thread};
use tokio::task::{JoinError, JoinHandle, spawn_blocking};

/// Stack of a thread, as the standard library and tokio have it.
const STACK: usize = 2 << 20;

/// Fails if this process can't have `count` more descriptors.
///
/// # Errors
/// `EMFILE` or `ENFILE`.
pub fn check_descriptors(count: usize) -> io::Result<()> {
    let first: OwnedFd = File::open("/dev/null")?.into();
    let more: io::Result<Vec<_>> = (1..count).map(|_| first.try_clone()).collect();
    more.map(drop)
}

/// Fails if this process can't have another thread.
///
/// # Errors
/// `EAGAIN` for want of a process, `ENOMEM` for want of memory.
pub fn check_thread() -> io::Result<()> {
    let Err(error) = thread::Builder::new().stack_size(STACK).spawn(|| ()).map(drop) else {
        return Ok(());
    };
    // The C library gives the same reason for both.
    if hint::black_box(Vec::<u8>::new())
        .try_reserve_exact(STACK)
        .is_err()
    {
        return Err(io::Error::from_raw_os_error(libc::ENOMEM));
    }
    Err(error)
}

/// [`tokio::task::spawn_blocking`], which panics where its first thread can't be started.
///
/// # Errors
/// Those of [`check_thread`]; `work` is not called then.
pub fn try_spawn_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    check_thread()?;
    Ok(spawn_blocking(work))
}

/// Runs `work`, which blocks, on a thread for such; on this one if there is no other to be had.
///
/// # Errors
/// When it panics there.
pub async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    match check_thread() {
        Ok(()) => spawn_blocking(work).await,
        Err(_) => Ok(work()),
    }
}
