//! What a host can run out of, asked for before something that panics or aborts without it, or that gives no reason.

use std::{
    fs::File,
    hint, io,
    os::fd::OwnedFd,
    panic::{self, AssertUnwindSafe, catch_unwind},
    path::Path,
    ptr,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};
use tokio::sync::oneshot;

/// Stack of a thread, as the standard library and tokio have it.
const STACK: usize = 2 << 20;

/// Stack of a thread that does little.
const SMALL_STACK: usize = 64 << 10;

/// How long the kernel may take to put an end to a thread.
const THREAD_END: Duration = Duration::from_millis(100);

/// Fails if this process can't have `count` more descriptors.
///
/// # Errors
/// `EMFILE` or `ENFILE`.
pub fn check_descriptors(count: usize) -> io::Result<()> {
    let first: OwnedFd = File::open("/dev/null")?.into();
    let more: io::Result<Vec<_>> = (1..count).map(|_| first.try_clone()).collect();
    more.map(drop)
}

/// Fails if this process can't allocate `bytes` more.
///
/// # Errors
/// `ENOMEM`.
pub fn check_memory(bytes: usize) -> io::Result<()> {
    let reserved = hint::black_box(Vec::<u8>::new()).try_reserve_exact(bytes);
    reserved.map_err(|_| io::Error::from_raw_os_error(libc::ENOMEM))
}

/// Fails if this process can't have `bytes` more of address space: because of `ulimit -v`.
///
/// # Errors
/// `ENOMEM`.
pub fn check_address_space(bytes: usize) -> io::Result<()> {
    // A mapping of nothing is an error of another kind.
    if bytes == 0 {
        return Ok(());
    }
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new mapping, at an address that the kernel chooses, touches no other.
    let mapped = unsafe { libc::mmap(ptr::null_mut(), bytes, libc::PROT_NONE, flags, -1, 0) };
    if mapped == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it was mapped above, and nothing uses it.
    unsafe { libc::munmap(mapped, bytes) };
    Ok(())
}

/// Fails if this process can't have `count` more threads at the same time.
///
/// # Errors
/// `EAGAIN` for want of processes, `ENOMEM` for want of memory.
pub fn check_threads(count: usize) -> io::Result<()> {
    // They end when this is dropped.
    let (running, stop) = mpsc::channel::<()>();
    let stop = Arc::new(Mutex::new(stop));
    let mut threads = Vec::new();
    let mut missing = None;
    while threads.len() < count {
        let stop = Arc::clone(&stop);
        match thread::Builder::new()
            .stack_size(STACK)
            .spawn(move || wait(&stop))
        {
            Ok(thread) => threads.push(thread),
            Err(error) => {
                missing = Some(missing_thread(error));
                break;
            }
        }
    }
    drop(running);
    for id in threads.into_iter().filter_map(|thread| thread.join().ok()) {
        wait_until_gone(id);
    }
    missing.map_or(Ok(()), Err)
}

/// Waits until the other end is dropped, and returns this thread's id.
fn wait(stop: &Mutex<mpsc::Receiver<()>>) -> libc::pid_t {
    let _ = stop.lock().unwrap_or_else(PoisonError::into_inner).recv();
    // SAFETY: no memory is involved.
    unsafe { libc::gettid() }
}

/// A thread that has been joined still counts for a moment.
fn wait_until_gone(id: libc::pid_t) {
    let (task, until) = (format!("/proc/self/task/{id}"), Instant::now() + THREAD_END);
    while Path::new(&task).exists() && Instant::now() < until {
        thread::yield_now();
    }
}

/// What became of work on another thread.
#[derive(Debug)]
pub struct Work<T>(oneshot::Receiver<thread::Result<T>>);

impl<T> Work<T> {
    /// Waits for it; a panic of the work is the error.
    pub async fn join(self) -> thread::Result<T> {
        // Only a thread that has unwound sends nothing, and it has caught that before.
        self.0.await.unwrap_or_else(|error| Err(Box::new(error)))
    }
}

/// Runs `work`, which blocks, on a thread of its own. (Tokio panics where its first thread can't be started.)
///
/// # Errors
/// Those of [`check_threads`]; `work` is not called then.
pub fn try_spawn_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<Work<T>> {
    let (done, result) = oneshot::channel();
    let runs = thread::Builder::new().stack_size(STACK).spawn(move || {
        // The receiver may be gone.
        let _ = done.send(catch_unwind(AssertUnwindSafe(work)));
    });
    match runs {
        Ok(_) => Ok(Work(result)),
        Err(error) => Err(missing_thread(error)),
    }
}

/// Runs `work`, which blocks, on a thread of its own; on this one if there is no other to be had.
///
/// # Errors
/// When it panics.
pub async fn run_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let here = Arc::new(Mutex::new(Some(work)));
    let there = Arc::clone(&here);
    let done = match try_spawn_blocking(move || run_once(&there)) {
        Ok(running) => running.join().await,
        Err(_) => catch_unwind(AssertUnwindSafe(|| run_once(&here))),
    };
    done.ok().flatten().ok_or_else(|| io::Error::other("it panicked"))
}

fn run_once<T>(work: &Mutex<Option<impl FnOnce() -> T>>) -> Option<T> {
    let work = work.lock().unwrap_or_else(PoisonError::into_inner).take();
    work.map(|work| work())
}

/// Starts a thread with a small stack, for work that needs little and goes on for long.
///
/// # Errors
/// Those of [`check_threads`]; `work` is not called then.
pub fn spawn_small_thread(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    // A thread that has no room for its signal stack panics after it has been started.
    check_address_space(STACK)?;
    let started = thread::Builder::new()
        .name(name.to_owned())
        .stack_size(SMALL_STACK)
        .spawn(work);
    started.map(drop).map_err(missing_thread)
}

/// Has tokio start a thread for work that blocks, which it does by itself when there is some, and panics if it can't.
///
/// # Errors
/// Those of [`check_threads`].
pub fn start_tokio_thread() -> io::Result<()> {
    check_address_space(STACK)?;
    // The panic is an error here, and not worth words of its own.
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let started = catch_unwind(|| tokio::task::spawn_blocking(|| ()));
    panic::set_hook(hook);
    started
        .map(drop)
        .map_err(|_| missing_thread(io::Error::from_raw_os_error(libc::EAGAIN)))
}

/// The C library gives the same reason for a want of processes and one of memory.
fn missing_thread(error: io::Error) -> io::Error {
    check_memory(STACK).err().unwrap_or(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_no_lack_of_is_found() {
        check_descriptors(10).unwrap();
        check_memory(1 << 20).unwrap();
        check_threads(3).unwrap();
        check_address_space(1 << 20).unwrap();
        check_address_space(0).unwrap();
        assert!(check_address_space(1 << 60).is_err());
        let error = check_memory(1 << 60).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOMEM));
    }
}
