//! Of the processes that miss the same component in the cache at once, one compiles it, and the others wait for that.

use super::cache::{CacheError, make_directory};
use nix::{
    fcntl::{OFlag, openat},
    sys::stat::Mode,
    unistd::{UnlinkatFlags, unlinkat},
};
use std::{
    fs::{File, TryLockError},
    os::{fd::OwnedFd, unix::fs::MetadataExt},
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// How long to wait for another process that compiles the same component: longer than a large one takes.
const LONGEST_TURN: Duration = Duration::from_secs(60);

/// How long to wait until the lock of another process is tried again, which can't be waited for with a limit.
const TURN_PAUSE: Duration = Duration::from_millis(20);

/// The right to compile one component: what other processes that miss the same entry wait for, so that it is compiled once.
pub(super) struct Turn {
    directory: OwnedFd,
    name: String,
    /// Locked.
    _file: File,
    /// Whether another one was compiling it.
    pub(super) has_waited: bool,
}

impl Turn {
    /// Waits while another process compiles this entry, but not for ever: that process may be stopped.
    pub(super) fn take(path: &Path, entry: &str) -> Result<Self, CacheError> {
        let directory = make_directory(path)?;
        let name = format!(".{entry}.partial");
        let flags =
            OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let mut has_waited = false;
        let until = Instant::now() + LONGEST_TURN;
        loop {
            let file = File::from(openat(
                &directory,
                name.as_str(),
                flags,
                Mode::S_IRUSR | Mode::S_IWUSR,
            )?);
            match file.try_lock() {
                // Otherwise it was removed between the two, and another one may have made it anew.
                Ok(()) if file.metadata()?.nlink() > 0 => {
                    return Ok(Self {
                        directory,
                        name,
                        _file: file,
                        has_waited,
                    });
                }
                Ok(()) => {}
                Err(TryLockError::WouldBlock) if Instant::now() < until => {
                    has_waited = true;
                    thread::sleep(TURN_PAUSE);
                }
                Err(error) => return Err(CacheError::Io(error.into())),
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // While it is locked: a process that waits finds that it is gone.
        let _ = unlinkat(&self.directory, self.name.as_str(), UnlinkatFlags::NoRemoveDir);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        fs,
        sync::atomic::{AtomicBool, Ordering},
    };

    #[test]
    fn of_those_that_miss_an_entry_one_at_a_time_has_its_turn() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("deep/cache");
        let take = || Turn::take(&path, "entry").unwrap();
        let first = take();
        assert!(!first.has_waited);
        let is_taken = AtomicBool::new(true);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let _turn = take();
                    assert!(!is_taken.swap(true, Ordering::SeqCst));
                    thread::yield_now();
                    is_taken.store(false, Ordering::SeqCst);
                });
            }
            is_taken.store(false, Ordering::SeqCst);
            drop(first);
        });
        assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
        // One that was killed leaves its file, and no lock.
        fs::write(path.join(".entry.partial"), "").unwrap();
        assert!(!take().has_waited);
        assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
    }
}
