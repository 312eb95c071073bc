//! Which directories answer at once, so that a run may open its files where it is polled.
//!
//! Opening a capture directory takes microseconds on a local file system, less than handing the work to another
//! thread. On a network file system, or one that a process serves, it takes as long as whatever is at the other end
//! likes, and everything that is polled on the same thread would wait with it. So a run asks here first, and this asks
//! only the kernel's own memory: a path that can be walked in its lookup cache, on a file system of a kind that is
//! local, answers at once. Everything else (a path that was not used for long, a kind that is not known here, a kernel
//! before 5.12) does not, and is left to another thread, for which the run waits no longer than its deadline.
//!
//! The kind counts, and not the device: a process may serve what is on a block device (`fuseblk`). From 6.8 on the
//! kernel tells the kind of a mount from memory. An older one is asked on the other thread ([`remember`]), and only the
//! device of a mount tells it from others then.
//!
//! A local file system may hang, too, while it is frozen for a snapshot or its disk does not answer.

use super::DEFAULT_BASE;
use executor_runtime_protocol::RuntimeInvocation;
use nix::{
    errno::Errno,
    fcntl::AT_FDCWD,
    sys::statfs::{
        BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, F2FS_SUPER_MAGIC, FsType, OVERLAYFS_SUPER_MAGIC, TMPFS_MAGIC,
        XFS_SUPER_MAGIC, fstatfs,
    },
};
use std::{
    ffi::CString,
    mem::{size_of, zeroed},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
    sync::{PoisonError, RwLock},
};

/// Kinds that are local.
const KINDS: [FsType; 6] = [
    BTRFS_SUPER_MAGIC,
    EXT4_SUPER_MAGIC,
    F2FS_SUPER_MAGIC,
    OVERLAYFS_SUPER_MAGIC,
    TMPFS_MAGIC,
    XFS_SUPER_MAGIC,
];

/// Devices with a file system of these kinds, the latest last; where the kernel does not tell the kind of a mount.
static LOCAL: RwLock<Vec<Device>> = RwLock::new(Vec::new());
/// How many of them are known at a time.
const MAX_LOCAL: usize = 64;

/// Major and minor number.
type Device = (u32, u32);

/// Where something is mounted.
#[derive(Clone, Copy)]
struct Mount {
    device: Device,
    /// No later mount has the same. None if the kernel does not tell.
    id: Option<u64>,
}

impl Mount {
    /// The mount of an open directory, as the kernel has it in memory.
    fn of(directory: BorrowedFd<'_>) -> Option<Self> {
        // SAFETY: a structure of integers, which may all be 0.
        let mut status: libc::statx = unsafe { zeroed() };
        // SAFETY: the path is NUL-terminated, and `status` is writable.
        let result = unsafe {
            libc::statx(
                directory.as_raw_fd(),
                c"".as_ptr(),
                libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC,
                libc::STATX_MNT_ID_UNIQUE,
                &raw mut status,
            )
        };
        (result == 0).then_some(Self {
            device: (status.stx_dev_major, status.stx_dev_minor),
            id: (status.stx_mask & libc::STATX_MNT_ID_UNIQUE != 0).then_some(status.stx_mnt_id),
        })
    }

    fn is_local(self) -> bool {
        match self.id.and_then(kind_of_mount) {
            Some(kind) => KINDS.contains(&kind),
            None => {
                let local = LOCAL.read().unwrap_or_else(PoisonError::into_inner);
                local.contains(&self.device)
            }
        }
    }

    /// Whether its device is a block device: no other file system gets that while it is mounted.
    fn is_on_block_device(self) -> bool {
        // Only block devices have a major number.
        self.device.0 != 0
    }
}

/// What `statmount(2)` is asked, as the kernel has it (`struct mnt_id_req`).
#[repr(C)]
struct MountRequest {
    size: u32,
    spare: u32,
    id: u64,
    parameters: u64,
}

/// The beginning of what it answers (`struct statmount`).
#[repr(C)]
struct MountStatus {
    size: u32,
    options: u32,
    mask: u64,
    device_major: u32,
    device_minor: u32,
    magic: u64,
    /// What there may be more.
    rest: [u64; 60],
}

/// `statmount`, which has the same number on every system that this is built for.
const SYS_STATMOUNT: libc::c_long = 457;
/// Asks for the device and the kind of the file system.
const STATMOUNT_SB_BASIC: u64 = 1;

/// The kind of the file system of a mount. None if the kernel does not tell.
fn kind_of_mount(id: u64) -> Option<FsType> {
    let request = MountRequest {
        size: size_of::<MountRequest>() as u32,
        spare: 0,
        id,
        parameters: STATMOUNT_SB_BASIC,
    };
    // SAFETY: a structure of integers, which may all be 0.
    let mut status: MountStatus = unsafe { zeroed() };
    // SAFETY: `request` is readable and has the size that it says; `status` is writable, and its size is given.
    let result = unsafe {
        libc::syscall(
            SYS_STATMOUNT,
            &raw const request,
            &raw mut status,
            size_of::<MountStatus>(),
            0,
        )
    };
    let is_told = result == 0 && status.mask & STATMOUNT_SB_BASIC != 0;
    is_told.then_some(FsType(status.magic as _))
}

/// Whether the directories that a run is started in and keeps its files in answer at once, and its input too.
pub fn answers_at_once(invocation: &RuntimeInvocation) -> bool {
    let Ok(working_directory) = open_cached(AT_FDCWD, Path::new(&invocation.working_directory)) else {
        return false;
    };
    if !is_local(&working_directory) {
        return false;
    }
    let base = match &invocation.artifact_directory {
        Some(base) => is_local_path(Path::new(base)),
        // A mount point never leaves the cache, so what is not in it is where its parent is.
        None => open_cached(working_directory.as_fd(), Path::new(DEFAULT_BASE))
            .map_or(true, |base| is_local(&base)),
    };
    let input = invocation.input_payload_path.as_deref();
    base && input.is_none_or(|input| is_local_path(Path::new(input)))
}

/// Whether what is at `path` answers at once.
pub(super) fn is_local_path(path: &Path) -> bool {
    open_cached(AT_FDCWD, path).is_ok_and(|open| is_local(&open))
}

fn is_local(open: &OwnedFd) -> bool {
    Mount::of(open.as_fd()).is_some_and(Mount::is_local)
}

/// Takes note of the file system of an open directory, for later runs there. Blocks.
pub(super) fn remember(directory: impl AsFd) {
    let Some(mount) = Mount::of(directory.as_fd()) else {
        return;
    };
    if mount.id.and_then(kind_of_mount).is_some() || !mount.is_on_block_device() || mount.is_local() {
        return;
    }
    if !fstatfs(directory).is_ok_and(|status| KINDS.contains(&status.filesystem_type())) {
        return;
    }
    let mut local = LOCAL.write().unwrap_or_else(PoisonError::into_inner);
    if local.contains(&mount.device) {
        return;
    }
    if local.len() == MAX_LOCAL {
        local.remove(0);
    }
    local.push(mount.device);
}

/// Opens what is at `path`, without reading it, if the kernel has all that it takes in its lookup cache.
fn open_cached(directory: BorrowedFd<'_>, path: &Path) -> nix::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)?;
    // SAFETY: a structure of integers, which may all be 0.
    let mut how: libc::open_how = unsafe { zeroed() };
    how.flags = (libc::O_PATH | libc::O_CLOEXEC) as u64;
    how.resolve = libc::RESOLVE_CACHED;
    // SAFETY: the path is NUL-terminated, `how` is readable, and has the size that is given.
    let opened = unsafe {
        libc::syscall(
            libc::SYS_openat2,
            directory.as_raw_fd(),
            path.as_ptr(),
            &raw const how,
            size_of::<libc::open_how>(),
        )
    };
    let opened = Errno::result(opened)?;
    // SAFETY: the kernel has just made it for this process. A descriptor is an int.
    Ok(unsafe { OwnedFd::from_raw_fd(opened as i32) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_in_use_answers_at_once_and_proc_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let open = std::fs::File::open(directory.path()).unwrap();
        remember(&open);
        let kind = fstatfs(&open).unwrap().filesystem_type();
        let mount = Mount::of(open.as_fd()).unwrap();
        let told = mount.id.and_then(kind_of_mount);
        if let Some(told) = told {
            assert_eq!(told, kind, "the kernel tells the same in both ways");
        }
        if KINDS.contains(&kind) && (told.is_some() || mount.is_on_block_device()) {
            assert!(is_local_path(directory.path()));
        }
        let proc = std::fs::File::open("/proc/self").unwrap();
        remember(&proc);
        assert!(!is_local_path(Path::new("/proc")), "it is no local file system");
        assert!(!is_local_path(&directory.path().join("missing")));
    }
}
