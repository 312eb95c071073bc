//! What a host can run out of, asked for before something that panics or aborts without it, or that gives no reason.

use std::{
    fs::File,
    hint, io,
    os::fd::OwnedFd,
    panic::{self, AssertUnwindSafe, catch_unwind},
    path::Path,
    ptr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread::{self, ThreadId},
    time::{Duration, Instant},
};
use tokio::sync::oneshot;

/// Stack of a thread, as the standard library and tokio have it.
const STACK: usize = 2 << 20;

/// How many descriptors a run of a plugin needs: a native one takes the most, for its process and for its run.
pub const DESCRIPTORS_OF_A_RUN: usize = 32;

/// How many descriptors most processes do not have more than.
const OFTEN_OPEN: usize = 32;

/// How long the kernel may take to put an end to a thread.
const THREAD_END: Duration = Duration::from_millis(100);

/// Fails if this process can't have `count` more descriptors.
///
/// # Errors
/// `EMFILE` or `ENFILE`.
pub fn check_descriptors(count: usize) -> io::Result<()> {
    let first: OwnedFd = File::open("/dev/null")?.into();
    if free_numbers(count) + 1 >= count {
        return Ok(());
    }
    let more: io::Result<Vec<_>> = (1..count).map(|_| first.try_clone()).collect();
    more.map(drop)
}

/// How many of the lowest numbers of descriptors are free; not all are looked at, but enough for most processes that
/// have `wanted`.
fn free_numbers(wanted: usize) -> usize {
    let limit = {
        let mut limit = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        // SAFETY: `limit` is valid for writing.
        unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
        usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX)
    };
    let mut numbers: Vec<_> = (0..)
        .take(limit.min(wanted + OFTEN_OPEN))
        .map(|fd| libc::pollfd {
            fd,
            events: 0,
            revents: 0,
        })
        .collect();
    // SAFETY: `numbers` is valid for its length.
    unsafe { libc::poll(numbers.as_mut_ptr(), numbers.len() as libc::nfds_t, 0) };
    let is_free = |polled: &&libc::pollfd| polled.revents & libc::POLLNVAL != 0;
    numbers.iter().filter(is_free).count()
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

/// Runs `work`, which blocks, on a thread that does nothing else meanwhile. (Tokio panics where its first thread can't be
/// started.)
///
/// # Errors
/// Those of [`check_threads`]; `work` is not called then.
pub fn try_spawn_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<Work<T>> {
    let (done, result) = oneshot::channel();
    spawn(move || {
        // The receiver may be gone.
        let _ = done.send(catch_unwind(AssertUnwindSafe(work)));
    })?;
    Ok(Work(result))
}

/// What a thread is to do.
type Task = Box<dyn FnOnce() + Send>;

/// A thread that has done its work and waits for more.
struct IdleThread {
    id: ThreadId,
    more: mpsc::Sender<Task>,
}

/// The one that came last is the first to get work.
static IDLE: Mutex<Vec<IdleThread>> = Mutex::new(Vec::new());

/// How long a thread waits for more work before it ends.
const KEEP_IDLE: Duration = Duration::from_millis(100);

/// Runs `work`, which does not panic, on a thread that does nothing else meanwhile: one that has just done other work, or
/// a new one.
///
/// # Errors
/// Those of [`check_threads`]; `work` is not called then.
pub fn spawn(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let mut task: Task = Box::new(work);
    let kept = idle_threads().pop();
    if let Some(thread) = kept {
        match thread.more.send(task) {
            Ok(()) => return Ok(()),
            // It waits for as long as it was not taken off the list by itself, so that this does not happen.
            Err(mpsc::SendError(unsent)) => task = unsent,
        }
    }
    let started = thread::Builder::new().stack_size(STACK).spawn(move || {
        let mut next = Some(task);
        while let Some(task) = next {
            task();
            next = next_task();
        }
    });
    started.map(drop).map_err(missing_thread)
}

/// Waits for more work for this thread; none after a while.
fn next_task() -> Option<Task> {
    let id = thread::current().id();
    let (more, tasks) = mpsc::channel();
    idle_threads().push(IdleThread { id, more });
    if let Ok(task) = tasks.recv_timeout(KEEP_IDLE) {
        return Some(task);
    }
    let mut idle = idle_threads();
    match idle.iter().position(|thread| thread.id == id) {
        Some(position) => {
            idle.remove(position);
            None
        }
        // It was taken to be given something, which comes now.
        None => {
            drop(idle);
            tasks.recv().ok()
        }
    }
}

fn idle_threads() -> MutexGuard<'static, Vec<IdleThread>> {
    IDLE.lock().unwrap_or_else(PoisonError::into_inner)
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

    #[test]
    fn work_is_done_whatever_thread_it_gets() {
        let executor = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        executor.block_on(async {
            // Also where threads are about to give up waiting for work.
            for round in 0..60_u64 {
                let works: Vec<_> = (0..3)
                    .map(|n| try_spawn_blocking(move || (round, n)).unwrap())
                    .collect();
                for (n, work) in works.into_iter().enumerate() {
                    assert_eq!(work.join().await.unwrap(), (round, n));
                }
                if round % 20 == 0 {
                    tokio::time::sleep(KEEP_IDLE).await;
                }
            }
            let failed = try_spawn_blocking(|| panic!("on purpose")).unwrap();
            assert!(failed.join().await.is_err());
        });
    }
}
