//! What was found out about a file of 64 KiB or more, so that it need not be read again.
//!
//! To read a plugin for its digest, and its code for a checksum, can take longer than to run it. So both are noted, and a
//! note counts for one version of one file: the same device, inode, length and time of change, since the machine
//! was started. The kernel sets the time of change whenever a file is written, and no program can set it back. Where that
//! is not so, a file is not noted ([`tells_changes`]):
//!
//! - it has changed just now: its file system's clock may not tell one change from the next;
//! - a file system that is an image made elsewhere, such as squashfs, or a network's: its times are what someone wrote; or that
//!   is in memory, which does not see a page written that was mapped and read before;
//! - someone has it open for writing: what is written by a shared mapping sets the time only at first.
//!
//! Notes are in the directory of the cache, which belongs to this user alone: who could write a false one could write false
//! code. Where one can't be read or written, the file is read.

use super::cache::{create_partial, prune};
use nix::{
    errno::Errno,
    fcntl::{OFlag, openat, renameat},
    sys::{
        stat::{FileStat, Mode, fstat},
        statfs::{BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, F2FS_SUPER_MAGIC, FsType, XFS_SUPER_MAGIC, fstatfs},
        statvfs::{FsFlags, fstatvfs},
    },
    unistd::{UnlinkatFlags, unlinkat},
};
use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, AsRawFd, OwnedFd},
    sync::OnceLock,
    time::SystemTime,
};

/// How the name of a note ends.
pub(super) const EXTENSION: &str = ".note";

/// Bytes of a file that is worth a note. A shorter one is read in little more time than its note.
const WORTH_IT: i64 = 1 << 16;

/// Seconds after which two changes of a file have different times on each file system.
const SETTLED: u64 = 2;

/// Bytes that a note may have.
const LONGEST: u64 = 1024;

/// A version of a file, as it is written down.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Version {
    /// What its note is called.
    name: String,
    text: String,
}

impl Version {
    /// The file behind a descriptor as it is now, if a note may be made of it. `about` says what the note is about.
    pub(super) fn of(file: impl AsFd, about: &str) -> Option<Self> {
        Self::at(&fstat(file).ok()?, about, SystemTime::now())
    }

    fn at(stat: &FileStat, about: &str, now: SystemTime) -> Option<Self> {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        let changed = u64::try_from(stat.st_ctime).ok()?;
        let is_settled = changed.saturating_add(SETTLED) < now.as_secs();
        if stat.st_size < WORTH_IT || !is_settled {
            return None;
        }
        Some(Self::noted(stat, about, boot()?))
    }

    fn noted(stat: &FileStat, about: &str, boot: &str) -> Self {
        Self {
            name: format!("{about}-{:x}-{:x}{EXTENSION}", stat.st_dev, stat.st_ino),
            text: format!(
                "{boot} {} {}.{:09}\n",
                stat.st_size, stat.st_ctime, stat.st_ctime_nsec
            ),
        }
    }

    /// What is noted of this version.
    pub(super) fn note(&self, directory: &OwnedFd) -> Option<String> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let file = openat(directory, self.name.as_str(), flags, Mode::empty()).ok()?;
        if !super::cache::is_our_file(&fstat(&file).ok()?) {
            return None;
        }
        let mut text = String::new();
        File::from(file).take(LONGEST).read_to_string(&mut text).ok()?;
        Some(text.strip_prefix(&self.text)?.to_owned())
    }

    /// Notes it.
    pub(super) fn write(&self, directory: &OwnedFd, note: &str) -> io::Result<()> {
        let (partial, mut file) = create_partial(directory)?;
        let written = file
            .write_all(format!("{}{note}", self.text).as_bytes())
            .and_then(|()| {
                renameat(directory, partial.as_str(), directory, self.name.as_str()).map_err(Errno::into)
            });
        if written.is_err() {
            // It may not even exist.
            let _ = unlinkat(directory, partial.as_str(), UnlinkatFlags::NoRemoveDir);
        } else if let Ok(directory) = directory.try_clone() {
            prune(directory);
        }
        written
    }
}

/// Whether the kernel sets the time of change of this file, opened for reading alone, whenever it is written from now on. To be
/// asked before it is read.
pub(super) fn tells_changes(file: &File) -> bool {
    /// File systems whose times are this kernel's, as long as they are written to.
    const LOCAL: [FsType; 4] = [
        BTRFS_SUPER_MAGIC,
        EXT4_SUPER_MAGIC,
        F2FS_SUPER_MAGIC,
        XFS_SUPER_MAGIC,
    ];
    let is_local = fstatfs(file).is_ok_and(|found| LOCAL.contains(&found.filesystem_type()));
    let is_image = fstatvfs(file).is_ok_and(|found| found.flags().contains(FsFlags::ST_RDONLY));
    is_local && !is_image && !has_writer(file)
}

/// Whether someone has it open for writing, or mapped; also where that can't be known, as of another user's file.
fn has_writer(file: &File) -> bool {
    /// `F_SETSIG` of `fcntl`.
    const SET_SIGNAL: libc::c_int = 10;
    let fd = file.as_raw_fd();
    // A lease for reading is given only while there is no writer. One who comes while it is held waits until it is given back,
    // which is at once, and the holder gets a signal: one that nothing is done about, instead of SIGIO, which would end the
    // process.
    // SAFETY: each takes a descriptor that is open, and a number.
    unsafe {
        if libc::fcntl(fd, SET_SIGNAL, libc::SIGURG) != 0
            || libc::fcntl(fd, libc::F_SETLEASE, libc::F_RDLCK) != 0
        {
            return true;
        }
        libc::fcntl(fd, libc::F_SETLEASE, libc::F_UNLCK);
    }
    false
}

/// What the kernel calls the time since the machine was started. A crash may leave a file with its times and without what
/// was in it.
fn boot() -> Option<&'static str> {
    static BOOT: OnceLock<Option<String>> = OnceLock::new();
    let read = || {
        let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        Some(id.trim().to_owned())
    };
    BOOT.get_or_init(read).as_deref()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
    use std::{
        fs,
        os::unix::fs::FileExt,
        path::Path,
        time::{Duration, Instant},
    };

    fn directory(path: &Path) -> OwnedFd {
        File::open(path).unwrap().into()
    }

    /// The version of a file, as it is taken some seconds from now.
    fn later(file: &File, about: &str) -> Option<Version> {
        Version::at(
            &fstat(file).unwrap(),
            about,
            SystemTime::now() + Duration::from_secs(10),
        )
    }

    #[test]
    fn a_note_counts_until_the_file_is_written_whatever_its_times_are_set_to() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("file");
        fs::write(&path, vec![1; 2 << 20]).unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        let modified = file.metadata().unwrap().modified().unwrap();
        assert_eq!(Version::of(&file, "about"), None, "it may change unnoticed");

        let version = later(&file, "about").unwrap();
        let directory = directory(place.path());
        assert_eq!(version.note(&directory), None);
        version.write(&directory, "noted").unwrap();
        assert_eq!(version.note(&directory).as_deref(), Some("noted"));
        assert_eq!(later(&file, "another").unwrap().note(&directory), None);

        // Past the next tick of the file system's clock.
        let begun = Instant::now();
        while later(&file, "about").unwrap() == version {
            assert!(begun.elapsed() < Duration::from_secs(30));
            file.write_all_at(&[2], 1 << 20).unwrap();
            file.set_modified(modified).unwrap();
        }
        assert_eq!(later(&file, "about").unwrap().note(&directory), None);

        file.set_len(1000).unwrap();
        assert_eq!(later(&file, "about"), None, "it is not worth a note");
    }

    #[test]
    fn what_may_change_unnoticed_is_not_noted() {
        // On tmpfs, which tells who writes: the temporary directory may be on any file system.
        let place = tempfile::tempdir_in("/dev/shm").unwrap();
        let path = place.path().join("file");
        fs::write(&path, vec![1; 2 << 20]).unwrap();
        let reader = File::open(&path).unwrap();
        assert!(!has_writer(&reader));
        assert!(
            !tells_changes(&reader),
            "a mapping that was read before is written unseen"
        );
        let writer = File::options().read(true).write(true).open(&path).unwrap();
        assert!(has_writer(&reader));
        let length = std::num::NonZeroUsize::new(4096).unwrap();
        let (protection, flags) = (ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED);
        // SAFETY: it is mapped where there is room, and the memory is not used.
        let mapped = unsafe { mmap(None, length, protection, flags, &writer, 0) }.unwrap();
        drop(writer);
        assert!(has_writer(&reader));
        // SAFETY: it is what was mapped.
        unsafe { munmap(mapped, length.get()) }.unwrap();
        assert!(!has_writer(&reader));
        assert!(!tells_changes(&File::open("/proc/self/maps").unwrap()));
    }

    #[test]
    fn notes_do_not_pile_up() {
        let place = tempfile::tempdir().unwrap();
        let directory = directory(place.path());
        let mut stat = fstat(&directory).unwrap();
        for _ in 0..200 {
            stat.st_ino += 1;
            let version = Version::noted(&stat, "about", "now");
            version.write(&directory, "noted").unwrap();
            assert!(version.note(&directory).is_some());
        }
        assert!(fs::read_dir(place.path()).unwrap().count() < 150);
    }

    #[test]
    fn a_note_of_another_start_of_the_machine_does_not_count() {
        let place = tempfile::tempdir().unwrap();
        let file = File::create(place.path().join("file")).unwrap();
        let directory = directory(place.path());
        let stat = fstat(&file).unwrap();
        Version::noted(&stat, "about", "before")
            .write(&directory, "noted")
            .unwrap();
        assert_eq!(Version::noted(&stat, "about", "now").note(&directory), None);
        assert!(
            Version::noted(&stat, "about", "before")
                .note(&directory)
                .is_some()
        );
    }

    #[test]
    fn what_others_may_write_or_is_a_link_is_no_note() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let place = tempfile::tempdir().unwrap();
        let file = File::create(place.path().join("file")).unwrap();
        let directory = directory(place.path());
        let version = Version::noted(&fstat(&file).unwrap(), "about", "now");
        version.write(&directory, "noted").unwrap();
        let note = place.path().join(&version.name);
        fs::set_permissions(&note, fs::Permissions::from_mode(0o622)).unwrap();
        assert_eq!(version.note(&directory), None);
        fs::set_permissions(&note, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(version.note(&directory).is_some());
        let elsewhere = place.path().join("elsewhere");
        fs::rename(&note, &elsewhere).unwrap();
        symlink(&elsewhere, &note).unwrap();
        assert_eq!(version.note(&directory), None);
    }
}
