//! Which file a command's first word means, and why the kernel would not run it.
//!
//! `execve` answers `ENOENT` for a missing program, a missing interpreter and a missing working directory
//! alike, and `EACCES` for a dozen reasons. So the program is found here, the way `execvp` does it but without
//! its detour through `sh`, and an error of the kernel's is looked into afterwards.

use executor_runtime_run::{ErrorKind, Failure};
use nix::{
    errno::Errno,
    fcntl::{AtFlags, OFlag, openat},
    sys::{
        stat::{FileStat, Mode, SFlag, fstatat},
        statvfs::{FsFlags, fstatvfs},
    },
    unistd::{AccessFlags, faccessat},
};
use std::{
    collections::BTreeMap,
    ffi::{CString, OsStr},
    fs::File,
    io::Read,
    os::{
        fd::{BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

/// What `execvp` searches where `PATH` is not set.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// Finds the file for `program`, as seen from the directory `cwd`; a name without a slash is looked up in
/// `search_path`.
pub(super) fn find(
    program: &str,
    search_path: Option<&OsStr>,
    cwd: BorrowedFd<'_>,
) -> Result<PathBuf, Failure> {
    if program.is_empty() {
        return Err(Failure::new(
            ErrorKind::ExecNotFound,
            "the program's name (the first element of command) is empty",
        ));
    }
    if program.contains('/') {
        // Whatever is wrong with it, the kernel says; then `explain` says more.
        return Ok(PathBuf::from(program));
    }
    let search_path = search_path.unwrap_or(OsStr::new(DEFAULT_PATH));
    let mut not_executable = None;
    for directory in search_path.as_bytes().split(|byte| *byte == b':') {
        let candidate = match directory {
            [] => Path::new(".").join(program),
            directory => Path::new(OsStr::from_bytes(directory)).join(program),
        };
        match status(cwd, &candidate) {
            Ok(status) if is_regular(&status) => {}
            _ => continue,
        }
        match faccessat(cwd, &candidate, AccessFlags::X_OK, AtFlags::AT_EACCESS) {
            Ok(()) => return Ok(candidate),
            Err(_) => not_executable = not_executable.or(Some(candidate)),
        }
    }
    Err(match not_executable {
        Some(file) => Failure::new(ErrorKind::ExecPermission, permission(&file, cwd)),
        None => Failure::new(
            ErrorKind::ExecNotFound,
            format!(
                "program '{program}' was not found in PATH ({})",
                search_path.to_string_lossy()
            ),
        ),
    })
}

/// Turns an error of `execve` into a reason.
pub(super) fn explain(
    errno: Errno,
    program: &Path,
    argv: &[CString],
    overlay: &BTreeMap<String, String>,
    cwd: BorrowedFd<'_>,
) -> Failure {
    let shown = program.display();
    match errno {
        Errno::ENOENT | Errno::ENOTDIR if status(cwd, program).is_err() => Failure::new(
            ErrorKind::ExecNotFound,
            format!("program '{shown}' does not exist"),
        ),
        Errno::ENOENT | Errno::ENOTDIR => Failure::new(
            ErrorKind::ExecInterpreterMissing,
            format!("'{shown}' can't be run: {}", missing_interpreter(program, cwd)),
        ),
        Errno::EACCES | Errno::EPERM => Failure::new(ErrorKind::ExecPermission, permission(program, cwd)),
        Errno::ENOEXEC | Errno::EINVAL | Errno::ELIBBAD => Failure::new(
            ErrorKind::ExecFormat,
            format!(
                "'{shown}' is not in an executable format; a script needs a first line such as '#!/bin/sh'"
            ),
        ),
        Errno::E2BIG => Failure::new(ErrorKind::ArgTooLong, too_long(argv, overlay)),
        Errno::ELOOP => Failure::new(
            ErrorKind::ExecNotFound,
            format!("program '{shown}' can't be found: too many symbolic links"),
        ),
        Errno::ENAMETOOLONG => Failure::new(
            ErrorKind::ExecNotFound,
            format!("program '{shown}' can't be found: its name is too long"),
        ),
        Errno::ETXTBSY => Failure::new(
            ErrorKind::ExecPermission,
            format!("'{shown}' is still open for writing by another process"),
        ),
        Errno::ENOMEM | Errno::EMFILE | Errno::ENFILE | Errno::EAGAIN => Failure::exhausted(&errno.into()),
        errno => Failure::new(
            ErrorKind::ExecPermission,
            format!("'{shown}' could not be run: {}", errno.desc().to_lowercase()),
        ),
    }
}

/// What an existing program lacks: its interpreter, or that one's own.
fn missing_interpreter(program: &Path, cwd: BorrowedFd<'_>) -> String {
    // The kernel follows no more than five.
    let mut named_by = program.to_owned();
    for _ in 0..5 {
        let Some(needed) = interpreter(&named_by, cwd) else {
            break;
        };
        if status(cwd, Path::new(&needed)).is_err() {
            return if named_by == program {
                format!("its interpreter '{needed}' does not exist")
            } else {
                format!(
                    "its interpreter '{}' needs '{needed}', which does not exist",
                    named_by.display()
                )
            };
        }
        named_by = needed.into();
    }
    "a file that it needs does not exist".to_owned()
}

/// Whether nothing may be executed on the file system that this file is on.
fn is_on_noexec(program: &Path, cwd: BorrowedFd<'_>) -> bool {
    openat(cwd, program, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
        .and_then(|file| fstatvfs(&file))
        .is_ok_and(|file_system| file_system.flags().contains(FsFlags::ST_NOEXEC))
}

fn permission(program: &Path, cwd: BorrowedFd<'_>) -> String {
    let shown = program.display();
    let Ok(status) = status(cwd, program) else {
        return format!(
            "'{shown}' can't be reached: a directory in its path may not be searched by this user"
        );
    };
    if kind(&status) == SFlag::S_IFDIR {
        return format!("'{shown}' is a directory, not a program");
    }
    if !is_regular(&status) {
        return format!("'{shown}' is not a regular file");
    }
    if is_on_noexec(program, cwd) {
        return format!("'{shown}' may not be run: its file system is mounted noexec");
    }
    if faccessat(cwd, program, AccessFlags::X_OK, AtFlags::AT_EACCESS).is_err() {
        return format!("'{shown}' is not executable by this user");
    }
    match interpreter(program, cwd) {
        Some(interpreter) => {
            format!("'{shown}' can't be run: its interpreter '{interpreter}' is not executable by this user")
        }
        None => {
            format!("'{shown}' may not be run by this user")
        }
    }
}

/// The kernel takes no single string of 32 pages or more (`MAX_ARG_STRLEN`), and a quarter of the stack limit
/// in all.
fn too_long(argv: &[CString], overlay: &BTreeMap<String, String>) -> String {
    let longest = 32
        * nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)
            .ok()
            .flatten()
            .and_then(|size| usize::try_from(size).ok())
            .unwrap_or(4096);
    // `NAME=value` and a NUL.
    let too_large = |(name, value): &(&String, &String)| name.len() + value.len() + 2 > longest;
    if let Some((name, value)) = overlay.iter().find(too_large) {
        return format!(
            "environment variable '{name}' has {} bytes; the kernel accepts at most {} here; pass large input \
             through input_payload_path",
            value.len(),
            longest.saturating_sub(name.len() + 2),
        );
    }
    match argv
        .iter()
        .enumerate()
        .find(|(_, arg)| arg.as_bytes_with_nul().len() > longest)
    {
        Some((index, arg)) => format!(
            "/command/{index} has {} bytes; the kernel accepts at most {} in one argument; pass large input through \
             input_payload_path",
            arg.as_bytes().len(),
            longest - 1,
        ),
        None => {
            "command and environment together are larger than the kernel accepts; pass large input through \
                 input_payload_path"
                .to_owned()
        }
    }
}

/// The interpreter that a script (`#!`) or a dynamically linked ELF file names.
fn interpreter(program: &Path, cwd: BorrowedFd<'_>) -> Option<String> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    let file: OwnedFd = openat(cwd, program, flags, Mode::empty()).ok()?;
    let mut head = Vec::new();
    File::from(file).take(64 * 1024).read_to_end(&mut head).ok()?;
    if let Some(line) = head.strip_prefix(b"#!") {
        let line = line.split(|byte| *byte == b'\n').next()?;
        let line = String::from_utf8_lossy(line);
        return line.split_whitespace().next().map(str::to_owned);
    }
    elf_interpreter(&head)
}

fn elf_interpreter(head: &[u8]) -> Option<String> {
    use object::{
        Endianness,
        read::elf::{FileHeader, ProgramHeader},
    };
    let header = object::elf::FileHeader64::<Endianness>::parse(head).ok()?;
    let endian = header.endian().ok()?;
    let segments = header.program_headers(endian, head).ok()?;
    let path = segments
        .iter()
        .find_map(|segment| segment.interpreter(endian, head).ok().flatten())?;
    Some(String::from_utf8_lossy(path).into_owned())
}

fn status(cwd: BorrowedFd<'_>, path: &Path) -> nix::Result<FileStat> {
    fstatat(cwd, path, AtFlags::empty())
}

fn kind(status: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(status.st_mode & SFlag::S_IFMT.bits())
}

fn is_regular(status: &FileStat) -> bool {
    kind(status) == SFlag::S_IFREG
}
