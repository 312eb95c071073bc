//! Compiled components on disk.
//!
//! Compiling takes tens of milliseconds for a small component and seconds for one with an interpreter in it;
//! loading what was compiled before takes a fraction of one. Loading it is also running it: machine code is
//! trusted as it is. Who could write the file could run code as this user, so an entry is used only when
//! no other user could:
//!
//! - the directory belongs to this user and has no permission for others (0700), and it is that directory,
//!   held open, that is read and written, whatever happens to its path meanwhile;
//! - a file is a regular file of this user that others can't write;
//! - its name has the SHA-256 of the component and of everything that the engine's code depends on (version,
//!   settings, CPU), so that another component or another engine never matches;
//! - it ends with a checksum of the code, which finds what a crash or a bad disk left. It is not a defence against
//!   a writer (that is what the ownership is for), and so it can be one that costs little. It is compared once for each time
//!   that the machine is started, and after each change of the file ([`super::notes`]).
//!
//! Entries appear complete or not at all (written under another name, then renamed), so that any number of
//! processes share a cache, and of those that miss an entry at once, one compiles it ([`super::turn`]). An unfinished file is locked by its writer, so that what one that was killed has left is known
//! by its lock being free, and goes when the next entry is written. Whatever is wrong with it, from a full disk to a directory that others may write,
//! costs the time to compile and never a run.

use super::{
    notes::{self, Version},
    turn::Turn,
};
use executor_runtime_plugin::hex;
use executor_runtime_run::exhaustion;
use nix::{
    dir::Dir,
    errno::Errno,
    fcntl::{AtFlags, OFlag, openat, renameat},
    sys::stat::{FileStat, Mode, SFlag, fstat, fstatat},
    unistd::{Uid, UnlinkatFlags, unlinkat},
};
use sha2::{Digest, Sha256};
use std::{
    ffi::CStr,
    fs::{DirBuilder, File, TryLockError},
    hash::{Hash, Hasher},
    io::{self, Read, Write},
    num::NonZero,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::fs::{DirBuilderExt, FileExt, MetadataExt},
    },
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, SystemTime},
};
use wasmtime::{Engine, component::Component};

/// Ends every entry; the digit is the version of the format. What comes before is mapped into memory as it
/// stands in the file, so the code comes first.
const MAGIC: &[u8; 16] = b"exrt-component3\n";
const CHECKSUM: usize = 4;
const TRAILER: usize = CHECKSUM + MAGIC.len();

/// Of which entries a note says that they are whole; another format has another name.
const CHECKED: &str = "checked3";

/// What the note with the digest of a plugin's file is called.
const DIGEST: &str = "sha256";

/// Entries that are kept. Above that the oldest go: those of plugins and versions that were replaced.
const MAX_ENTRIES: usize = 128;

/// After this, an unfinished file is one whose writer has died, where files can't be locked.
const ABANDONED: Duration = Duration::from_secs(3600);

/// Size of an entry that is read; what is larger was not written by this cache.
const MAX_ENTRY: u64 = 1 << 30;

/// Bytes that are read at a time to be checked. A larger buffer is new pages, which take more time than the calls save.
const READ: usize = 16 * 1024;

/// A directory of compiled components. Clones share it.
#[derive(Clone, Debug)]
pub struct CodeCache {
    path: Option<PathBuf>,
}

/// Why the cache can't be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum CacheError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it is not a directory that belongs only to this user (owner uid {uid}, mode {mode:o})")]
    Untrusted { uid: u32, mode: u32 },
    #[error("the entry is damaged")]
    Damaged,
}

impl From<Errno> for CacheError {
    fn from(errno: Errno) -> Self {
        Self::Io(errno.into())
    }
}

impl CodeCache {
    /// The cache in `directory`, which is made with its parents when the first entry is written.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            path: Some(directory.into()),
        }
    }

    /// The user's cache: `$XDG_CACHE_HOME/executor-runtime`, else `~/.cache/executor-runtime`; none without
    /// either variable.
    pub fn of_user() -> Self {
        let absolute = |name: &str| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        let base = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
        Self {
            path: base.map(|base| base.join("executor-runtime")),
        }
    }

    /// No cache: every component is compiled.
    pub fn disabled() -> Self {
        Self { path: None }
    }

    /// The component with these bytes, from the cache or compiled. Blocks.
    ///
    /// # Errors
    /// When the bytes are not a component that compiles; never because of the cache.
    pub(super) fn component(
        &self,
        engine: &Engine,
        wasm: &[u8],
        sha256: &[u8; 32],
    ) -> wasmtime::Result<Component> {
        if let Some(component) = self.cached(engine, sha256) {
            return Ok(component);
        }
        let turn = self
            .path
            .as_ref()
            .and_then(|path| Turn::take(path, &entry_name(engine, sha256)).ok());
        match &turn {
            Some(turn) if turn.has_waited => match self.cached(engine, sha256) {
                Some(component) => Ok(component),
                None => self.compiled(engine, wasm, sha256),
            },
            _ => self.compiled(engine, wasm, sha256),
        }
    }

    /// The component whose bytes have this digest, if the cache has it. Blocks.
    pub(super) fn cached(&self, engine: &Engine, sha256: &[u8; 32]) -> Option<Component> {
        let path = self.path.as_ref()?;
        let name = entry_name(engine, sha256);
        load(path, &name, engine).unwrap_or_else(|error| {
            tracing::warn!(cache = %path.display(), entry = name, %error, "cached compiled code was not used");
            None
        })
    }

    /// The SHA-256 of a plugin's file: the one that was noted of this version of it, else what `compute` says. Blocks.
    ///
    /// # Errors
    /// As `compute`.
    pub(super) fn digest<E>(
        &self,
        file: &File,
        compute: impl FnOnce() -> Result<[u8; 32], E>,
    ) -> Result<[u8; 32], E> {
        let noted = self.path.as_ref().and_then(|path| {
            // Before it is read: what changes from then on is another version.
            let version = Version::of(file, DIGEST)?;
            Some((version, open_directory(path).ok()?))
        });
        let Some((version, directory)) = noted else {
            return compute();
        };
        if let Some(sha256) = version.note(&directory).and_then(|note| unhex(&note)) {
            return Ok(sha256);
        }
        let tells_changes = notes::tells_changes(file);
        let sha256 = compute()?;
        if tells_changes {
            // Otherwise it is read the next time, too.
            let _ = version.write(&directory, &hex(&sha256));
        }
        Ok(sha256)
    }

    /// Compiles the component with these bytes, whose digest is `sha256`, and stores it. Blocks.
    ///
    /// # Errors
    /// As [`CodeCache::component`].
    fn compiled(&self, engine: &Engine, wasm: &[u8], sha256: &[u8; 32]) -> wasmtime::Result<Component> {
        let component = compile(engine, wasm)?;
        let Some(path) = &self.path else {
            return Ok(component);
        };
        let name = entry_name(engine, sha256);
        let stored = component
            .serialize()
            .map_err(|error| CacheError::Io(io::Error::other(error.to_string())))
            .and_then(|code| store(path, &name, &code));
        if let Err(error) = stored {
            tracing::warn!(cache = %path.display(), entry = name, %error, "compiled code was not cached");
        }
        Ok(component)
    }
}

/// Processes and threads that may be started meanwhile, such as a supervisor.
const OTHERS: usize = 2;

/// Compiles with a thread for each processor. That they can be had is certain before: the library that starts them
/// panics otherwise.
fn compile(engine: &Engine, wasm: &[u8]) -> wasmtime::Result<Component> {
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    exhaustion::check_threads(processors + OTHERS)?;
    Component::from_binary(engine, wasm)
}

/// The digest that is written as `text`.
fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 2 * bytes.len() || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(bytes)
}

fn entry_name(engine: &Engine, sha256: &[u8; 32]) -> String {
    /// The engine tells what its code depends on through `Hash`; SHA-256 keeps all of it.
    struct Sha256Hasher(Sha256);
    impl Hasher for Sha256Hasher {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
        fn finish(&self) -> u64 {
            let digest = self.0.clone().finalize();
            u64::from_be_bytes(digest[..8].try_into().unwrap_or_default())
        }
    }
    let mut hasher = Sha256Hasher(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut hasher);
    let engine = hasher.0.finalize();
    format!("{}-{}.code", hex(sha256), hex(&engine[..16]))
}

fn load(path: &Path, name: &str, engine: &Engine) -> Result<Option<Component>, CacheError> {
    let directory = match open_directory(path) {
        Err(CacheError::Io(error)) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    let file = match openat(&directory, name, flags, Mode::empty()) {
        Err(Errno::ENOENT) => return Ok(None),
        other => other?,
    };
    let stat = fstat(&file)?;
    if !is_our_file(&stat) {
        return Err(untrusted(&stat));
    }
    let file = File::from(file);
    if !is_known_to_be_intact(&directory, &file, &stat)? {
        return Err(CacheError::Damaged);
    }
    // Through the descriptor, so that it is this very file that is mapped.
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    // SAFETY: `deserialize_file` runs what it maps as machine code, so it must be the output of `serialize`,
    // and must not change. It is a file that only this user could write, in a directory that only this user
    // could enter (checked on the open descriptors), under a name that `store` gives to the output of
    // `serialize` alone and never writes to again, and it has the checksum that `store` computed, or had it
    // since it was last changed, so that it is complete. wasmtime checks on its own that the engine is compatible,
    // and that the length of the code is what its ELF header says, so that the trailer is not part of it.
    let component = unsafe { Component::deserialize_file(engine, path) };
    match component {
        Ok(component) => Ok(Some(component)),
        Err(error) => Err(CacheError::Io(io::Error::other(format!("{error:#}")))),
    }
}

/// [`is_intact`], unless that was found out about this version of the file before.
fn is_known_to_be_intact(directory: &OwnedFd, file: &File, stat: &FileStat) -> io::Result<bool> {
    let version = Version::of(file, CHECKED);
    if version
        .as_ref()
        .is_some_and(|version| version.note(directory).is_some())
    {
        return Ok(true);
    }
    // To be asked before it is read.
    let version = version.filter(|_| notes::tells_changes(file));
    let is_intact = is_intact(file, u64::try_from(stat.st_size).unwrap_or(0))?;
    if let Some(version) = version
        && is_intact
    {
        // Otherwise it is read the next time, too.
        let _ = version.write(directory, "");
    }
    Ok(is_intact)
}

/// Whether an entry of `length` bytes ends with the checksum of what comes before. Read in pieces: pages of the
/// mapping that no run needs are never touched.
fn is_intact(file: &File, length: u64) -> io::Result<bool> {
    let Some(code_length) = length.checked_sub(TRAILER as u64).filter(|_| length <= MAX_ENTRY) else {
        return Ok(false);
    };
    let mut checksum = crc32fast::Hasher::new();
    let mut code = file.take(code_length);
    let mut buffer = vec![0; READ];
    loop {
        match code.read(&mut buffer)? {
            0 => break,
            read => checksum.update(&buffer[..read]),
        }
    }
    let mut trailer = [0; TRAILER];
    file.read_exact_at(&mut trailer, code_length)?;
    Ok(trailer[..CHECKSUM] == checksum.finalize().to_le_bytes() && &trailer[CHECKSUM..] == MAGIC)
}

fn store(path: &Path, name: &str, code: &[u8]) -> Result<(), CacheError> {
    let directory = make_directory(path)?;
    let (partial, mut file) = create_partial(&directory)?;
    let written = file
        .write_all(code)
        .and_then(|()| file.write_all(&crc32fast::hash(code).to_le_bytes()))
        .and_then(|()| file.write_all(MAGIC))
        .and_then(|()| renameat(&directory, partial.as_str(), &directory, name).map_err(io::Error::from));
    if let Err(error) = written {
        // It may not even exist.
        let _ = unlinkat(&directory, partial.as_str(), UnlinkatFlags::NoRemoveDir);
        return Err(error.into());
    }
    prune(directory);
    Ok(())
}

/// Makes the file that an entry is written to, locked as long as it is open.
pub(super) fn create_partial(directory: &OwnedFd) -> io::Result<(String, File)> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
    loop {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!(".{}-{number}.partial", std::process::id());
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        let file = match openat(directory, name.as_str(), flags, mode) {
            // A writer that died had the same process id, as in containers: it is removed when this entry is whole.
            Err(Errno::EEXIST) => continue,
            file => File::from(file?),
        };
        // Not every file system has locks. Before it was locked, another process may have taken it for abandoned.
        if file.lock().is_err() || file.metadata()?.nlink() > 0 {
            return Ok((name, file));
        }
    }
}

/// Removes an unfinished file whose writer has died, modified at `modified`, in seconds.
fn remove_abandoned(directory: BorrowedFd<'_>, name: &CStr, modified: u64, now: u64) {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    let Ok(file) = openat(directory, name, flags, Mode::empty()).map(File::from) else {
        return;
    };
    let is_abandoned = match file.try_lock() {
        Ok(()) => true,
        Err(TryLockError::WouldBlock) => false,
        Err(TryLockError::Error(_)) => now.saturating_sub(modified) > ABANDONED.as_secs(),
    };
    if is_abandoned {
        // While it is locked: a writer that has just made it finds that it is gone.
        let _ = unlinkat(directory, name, UnlinkatFlags::NoRemoveDir);
    }
}

pub(super) fn make_directory(path: &Path) -> Result<OwnedFd, CacheError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    open_directory(path)
}

fn open_directory(path: &Path) -> Result<OwnedFd, CacheError> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let directory = nix::fcntl::open(path, flags, Mode::empty())?;
    let stat = fstat(&directory)?;
    if is_ours(&stat, 0o077) {
        Ok(directory)
    } else {
        Err(untrusted(&stat))
    }
}

/// Whether it is a regular file of this user that others can't write.
pub(super) fn is_our_file(stat: &FileStat) -> bool {
    kind(stat) == SFlag::S_IFREG && is_ours(stat, 0o022)
}

/// Whether a file is this user's and has none of the `forbidden` permission bits.
fn is_ours(stat: &FileStat, forbidden: u32) -> bool {
    stat.st_uid == Uid::effective().as_raw() && stat.st_mode & forbidden == 0
}

fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits())
}

fn untrusted(stat: &FileStat) -> CacheError {
    CacheError::Untrusted {
        uid: stat.st_uid,
        mode: stat.st_mode & 0o7777,
    }
}

/// Removes the oldest entries and notes above [`MAX_ENTRIES`], and what crashed writers left. Best effort: another
/// process may do the same.
pub(super) fn prune(directory: OwnedFd) {
    let Ok(mut directory) = Dir::from_fd(directory) else {
        return;
    };
    let names: Vec<_> = directory
        .iter()
        .flatten()
        .map(|entry| entry.file_name().to_owned())
        .collect();
    let fd = directory.as_fd();
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |now| now.as_secs());
    let (mut entries, mut noted) = (Vec::new(), Vec::new());
    for name in names {
        let bytes = name.to_bytes();
        let Ok(stat) = fstatat(fd, name.as_c_str(), AtFlags::AT_SYMLINK_NOFOLLOW) else {
            continue;
        };
        let modified = u64::try_from(stat.st_mtime).unwrap_or(0);
        if bytes.ends_with(b".code") {
            entries.push((modified, name));
        } else if bytes.ends_with(notes::EXTENSION.as_bytes()) {
            noted.push((modified, name));
        } else if bytes.ends_with(b".partial") {
            remove_abandoned(fd, &name, modified, now);
        }
    }
    for mut files in [entries, noted] {
        files.sort();
        let excess = files.len().saturating_sub(MAX_ENTRIES);
        for (_, name) in &files[..excess] {
            let _ = unlinkat(fd, name.as_c_str(), UnlinkatFlags::NoRemoveDir);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        fs::{self, Permissions},
        os::unix::fs::{PermissionsExt, symlink},
        process::Command,
    };

    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

    struct Fixture {
        _root: tempfile::TempDir,
        path: PathBuf,
        engine: Engine,
        sha256: [u8; 32],
    }

    impl Fixture {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            Self {
                path: root.path().join("deep/cache"),
                _root: root,
                engine: Engine::default(),
                sha256: Sha256::digest(EMPTY).into(),
            }
        }

        fn component(&self) {
            CodeCache::new(&self.path)
                .component(&self.engine, EMPTY, &self.sha256)
                .unwrap();
        }

        fn entry(&self) -> PathBuf {
            self.path.join(entry_name(&self.engine, &self.sha256))
        }

        fn load(&self) -> Result<bool, CacheError> {
            load(&self.path, &entry_name(&self.engine, &self.sha256), &self.engine)
                .map(|found| found.is_some())
        }
    }

    #[test]
    fn what_was_compiled_is_loaded() {
        let fixture = Fixture::new();
        assert!(!fixture.load().unwrap());
        fixture.component();
        assert!(fixture.load().unwrap());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&fixture.path), 0o700);
        assert_eq!(mode(&fixture.entry()), 0o600);
        assert_eq!(fs::read_dir(&fixture.path).unwrap().count(), 1);
    }

    #[test]
    fn a_damaged_entry_is_compiled_again() {
        for damage in [
            (|bytes| bytes.truncate(10)) as fn(&mut Vec<u8>),
            Vec::clear,
            |bytes| bytes[100] ^= 1,
            |bytes| *bytes.last_mut().unwrap() ^= 1,
            |bytes| bytes.extend(b"more"),
        ] {
            let fixture = Fixture::new();
            fixture.component();
            let mut bytes = fs::read(fixture.entry()).unwrap();
            damage(&mut bytes);
            fs::write(fixture.entry(), bytes).unwrap();
            assert!(matches!(fixture.load(), Err(CacheError::Damaged)));
            fixture.component();
            assert!(fixture.load().unwrap());
        }
    }

    #[test]
    fn what_others_may_write_is_not_used() {
        let fixture = Fixture::new();
        fixture.component();
        let chmod = |path: &Path, mode| {
            fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        };
        for mode in [0o770, 0o707, 0o755, 0o1777] {
            chmod(&fixture.path, mode);
            assert!(matches!(fixture.load(), Err(CacheError::Untrusted { .. })));
            fixture.component();
        }
        chmod(&fixture.path, 0o700);
        for mode in [0o620, 0o602] {
            chmod(&fixture.entry(), mode);
            assert!(matches!(fixture.load(), Err(CacheError::Untrusted { .. })));
        }
        fixture.component();
        assert!(fixture.load().unwrap());
    }

    #[test]
    fn links_are_not_followed() {
        let fixture = Fixture::new();
        fixture.component();
        let elsewhere = fixture.path.join("elsewhere");
        fs::rename(fixture.entry(), &elsewhere).unwrap();
        symlink(&elsewhere, fixture.entry()).unwrap();
        assert!(fixture.load().is_err());
        fixture.component();
        assert!(fixture.load().unwrap());
        let link = fixture.path.with_file_name("link");
        symlink(&fixture.path, &link).unwrap();
        assert!(open_directory(&link).is_err());
    }

    #[test]
    fn another_engine_has_other_entries() {
        let fixture = Fixture::new();
        let mut config = wasmtime::Config::new();
        config.epoch_interruption(true);
        let other = Engine::new(&config).unwrap();
        assert_ne!(
            entry_name(&fixture.engine, &fixture.sha256),
            entry_name(&other, &fixture.sha256)
        );
        // Under the name of the right one, it is refused and replaced.
        let code = Component::from_binary(&other, EMPTY)
            .unwrap()
            .serialize()
            .unwrap();
        let name = entry_name(&fixture.engine, &fixture.sha256);
        store(&fixture.path, &name, &code).unwrap();
        assert!(fixture.load().is_err());
        fixture.component();
        assert!(fixture.load().unwrap());
    }

    #[test]
    fn a_cache_that_cant_be_written_costs_nothing_but_time() {
        let fixture = Fixture::new();
        let file = fixture.path.with_extension("file");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "").unwrap();
        for path in [file.join("below"), PathBuf::from("/proc/executor-runtime")] {
            CodeCache::new(path)
                .component(&fixture.engine, EMPTY, &fixture.sha256)
                .unwrap();
        }
    }

    #[test]
    fn writers_at_the_same_time_leave_one_intact_entry() {
        let fixture = Fixture::new();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| fixture.component());
            }
        });
        assert!(fixture.load().unwrap());
        assert_eq!(fs::read_dir(&fixture.path).unwrap().count(), 1);
    }

    #[test]
    fn what_a_writer_of_the_same_process_id_left_is_in_nobodys_way() {
        let fixture = Fixture::new();
        fixture.component();
        fs::remove_file(fixture.entry()).unwrap();
        for number in 0..100 {
            let left = format!(".{}-{number}.partial", std::process::id());
            fs::write(fixture.path.join(left), "").unwrap();
        }
        fixture.component();
        assert!(fixture.entry().exists());
        assert_eq!(fs::read_dir(&fixture.path).unwrap().count(), 1);
    }

    #[test]
    fn what_a_killed_writer_left_goes_and_what_is_being_written_stays() {
        let fixture = Fixture::new();
        fixture.component();
        let directory = open_directory(&fixture.path).unwrap();
        let (_, killed) = create_partial(&directory).unwrap();
        let (writing, _file) = create_partial(&directory).unwrap();
        drop(killed);
        assert_eq!(fs::read_dir(&fixture.path).unwrap().count(), 3);
        fs::remove_file(fixture.entry()).unwrap();
        fixture.component();
        assert!(fixture.path.join(writing).exists());
        assert_eq!(fs::read_dir(&fixture.path).unwrap().count(), 2);
    }

    #[test]
    fn the_oldest_entries_go() {
        let fixture = Fixture::new();
        for i in 0..MAX_ENTRIES + 5 {
            store(&fixture.path, &format!("{i}.code"), b"x").unwrap();
        }
        assert_eq!(fs::read_dir(&fixture.path).unwrap().count(), MAX_ENTRIES);
    }

    #[test]
    fn a_digest_is_computed_again_only_for_a_file_that_has_changed() {
        let fixture = Fixture::new();
        fixture.component();
        let file = fixture.path.with_extension("plugin");
        fs::write(&file, vec![0; 2 << 20]).unwrap();
        let open = File::open(&file).unwrap();
        let cache = CodeCache::new(&fixture.path);
        let digest = |digest| cache.digest(&open, || digest);
        assert_eq!(digest(Err("fresh")), Err("fresh"));
        let begun = std::time::Instant::now();
        while Version::of(&open, DIGEST).is_none() {
            assert!(begun.elapsed() < Duration::from_secs(30));
            thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(digest(Err("unreadable")), Err("unreadable"));
        assert_eq!(digest(Ok([1; 32])), Ok([1; 32]));
        assert_eq!(digest(Err("read again")), Ok([1; 32]));
        fs::set_permissions(&fixture.path, Permissions::from_mode(0o755)).unwrap();
        assert_eq!(
            digest(Err("others may write notes")),
            Err("others may write notes")
        );
        fs::set_permissions(&fixture.path, Permissions::from_mode(0o700)).unwrap();
        fs::write(&file, vec![1; 2 << 20]).unwrap();
        assert_eq!(digest(Err("changed")), Err("changed"));
    }

    #[test]
    fn digests_are_read_as_they_are_written() {
        let digest: [u8; 32] = Sha256::digest("x").into();
        assert_eq!(unhex(&hex(&digest)), Some(digest));
        for text in ["", "ab", &"x".repeat(64), &"é".repeat(32), &"+1".repeat(32)] {
            assert_eq!(unhex(text), None, "{text}");
        }
    }

    #[test]
    fn what_belongs_to_another_user_is_not_used() {
        if !Uid::effective().is_root() {
            eprintln!("not run: only root can give a file to another user");
            return;
        }
        let fixture = Fixture::new();
        fixture.component();
        std::os::unix::fs::chown(fixture.entry(), Some(1), None).unwrap();
        assert!(matches!(
            fixture.load(),
            Err(CacheError::Untrusted { uid: 1, .. })
        ));
        fixture.component();
        assert!(fixture.load().unwrap());
        std::os::unix::fs::chown(&fixture.path, Some(1), None).unwrap();
        assert!(matches!(
            fixture.load(),
            Err(CacheError::Untrusted { uid: 1, .. })
        ));
        fixture.component();
    }

    #[test]
    fn a_full_disk_costs_nothing_but_time() {
        let fixture = Fixture::new();
        fs::create_dir_all(&fixture.path).unwrap();
        let run = |program: &str, arguments: &[&str]| {
            Command::new(program)
                .args(arguments)
                .arg(&fixture.path)
                .status()
                .is_ok_and(|status| status.success())
        };
        if !run("mount", &["-t", "tmpfs", "-o", "size=4k,mode=700", "tmpfs"]) {
            eprintln!("not run: can't mount a small file system");
            return;
        }
        fixture.component();
        let left = fs::read_dir(&fixture.path).unwrap().count();
        assert!(run("umount", &[]));
        assert_eq!(left, 0);
    }
}
