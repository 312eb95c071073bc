//! Debian's toolchain for WebAssembly, for machines that reach Debian's packages but not rustup's server.
//!
//! The packages of the `rustc-web` family are unpacked into a cache folder and not installed; names and
//! versions are what apt knows at that moment. They hold a newer compiler and its standard library as source;
//! the library is built along (`-Zbuild-std`) for `wasm32-unknown-unknown`, and the core module is made a
//! component here, as the `wasm32-wasip2` target's linker would have done. What the library depends on comes from
//! crates.io, as everything else does.

use crate::{apt::Apt, cargo, output, run, target_directory, workspace};
use anyhow::{Context, Result, bail};
use std::{
    env,
    ffi::OsString,
    fmt,
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
    process::Command,
};

/// What the core module is built for.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// Unpacks the packages, unless they are there, and returns the folder. Of several processes that need them,
/// one unpacks and the others wait for it.
pub(crate) fn unpack() -> Result<PathBuf> {
    // Not the host's own cache, which no other user may read.
    let cache = cache_directory()?.join("executor-runtime-toolchains");
    let folder = cache.join("rustc-web");
    let Err(_) = compiler(&folder) else {
        return Ok(folder);
    };
    fs::create_dir_all(&cache).with_context(|| format!("'{}' can't be created", cache.display()))?;
    let _lock = lock(&cache.join("rustc-web.lock"))?;
    // Another process may have been faster.
    if compiler(&folder).is_err() {
        // Beside its place, so that a half-unpacked toolchain is never used; an earlier one may be left there.
        let partial = cache.join("rustc-web.partial");
        remove(&partial)?;
        let made = fill(&partial).and_then(|()| {
            compiler(&partial).context("the unpacked packages have no compiler for components")?;
            remove(&folder)?;
            fs::rename(&partial, &folder).with_context(|| format!("'{}' can't be created", folder.display()))
        });
        if made.is_err() {
            remove(&partial)?;
        }
        made?;
    }
    Ok(folder)
}

/// The lock lasts as long as the file is open: a process that dies releases it.
fn lock(path: &Path) -> Result<File> {
    let unlockable = || format!("'{}' can't be locked", path.display());
    let file = File::create(path).with_context(unlockable)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            eprintln!("waiting for another process that unpacks Debian's toolchain");
            file.lock().with_context(unlockable)?;
        }
        Err(TryLockError::Error(error)) => return Err(error).with_context(unlockable),
    }
    Ok(file)
}

fn remove(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("'{}' can't be removed", folder.display()))?;
    }
    Ok(())
}

/// Downloads and unpacks everything into `folder`.
fn fill(folder: &Path) -> Result<()> {
    let packages = folder.join("packages");
    fs::create_dir_all(&packages).with_context(|| format!("'{}' can't be created", packages.display()))?;
    for file in download(&packages).context(OutOfReach)? {
        output(Command::new("dpkg").arg("-x").arg(&file).arg(folder))?;
    }
    remove(&packages)
}

fn download(folder: &Path) -> Result<Vec<PathBuf>> {
    let apt = Apt::new(folder)?;
    let version = apt.version("rustc-web")?;
    if !is_new_enough(&version) {
        bail!(
            "apt's newest rustc-web is {version}, but Rust {} or newer is required",
            env!("CARGO_PKG_RUST_VERSION")
        );
    }
    let mut names = apt.missing("libstd-rust-web-dev")?;
    names.extend(["rustc-web", "rust-web-src"].map(str::to_owned));
    eprintln!("downloading {} (once)", names.join(", "));
    apt.download(&names)
}

/// This machine has no apt, or apt can't get the packages.
#[derive(Debug)]
pub struct OutOfReach;

impl fmt::Display for OutOfReach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Debian's packages are out of reach")
    }
}

/// Finds the compiler in `folder`: one that runs, and is new enough for this workspace.
fn compiler(folder: &Path) -> Result<PathBuf> {
    let rustc = folder.join("usr/bin/rustc");
    let printed = output(
        Command::new(&rustc)
            .arg("--version")
            .env("LD_LIBRARY_PATH", libraries(folder)),
    )?;
    let version = printed.split_whitespace().nth(1).unwrap_or_default();
    if !is_new_enough(version) {
        bail!(
            "'{}' is {version}, but Rust {} or newer is required",
            rustc.display(),
            env!("CARGO_PKG_RUST_VERSION")
        );
    }
    Ok(rustc)
}

/// Whether a version such as `1.96.0+dfsg1-1` is at least the one that this workspace asks for.
fn is_new_enough(version: &str) -> bool {
    let numbers = |text: &str| {
        let mut parts = text.split(|c: char| !c.is_ascii_digit());
        let mut next = move || parts.next().and_then(|part| part.parse::<u32>().ok());
        next().zip(next())
    };
    let needed = numbers(env!("CARGO_PKG_RUST_VERSION"));
    numbers(version).is_some_and(|version| Some(version) >= needed)
}

/// Where the unpacked compiler's libraries are, before those that are set already.
fn libraries(folder: &Path) -> OsString {
    let architecture = format!("{}-linux-gnu", env::consts::ARCH);
    let mut path = OsString::new();
    for directory in ["usr/lib", "lib"] {
        path.push(folder.join(directory).join(&architecture));
        path.push(":");
    }
    path.push(env::var_os("LD_LIBRARY_PATH").unwrap_or_default());
    path
}

fn cache_directory() -> Result<PathBuf> {
    let absolute = |name: &str| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("XDG_CACHE_HOME")
        .or_else(|| Some(absolute("HOME")?.join(".cache")))
        .context("there is no cache folder: neither XDG_CACHE_HOME nor HOME is set")
}

/// Has cargo build with the unpacked toolchain.
pub(crate) fn prepare(cargo: &mut Command, folder: &Path) -> Result<()> {
    cargo
        .env("RUSTC", folder.join("usr/bin/rustc"))
        .env("RUSTC_BOOTSTRAP", "1")
        .env("LD_LIBRARY_PATH", libraries(folder))
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker()?)
        .args(["-Zbuild-std=std,panic_abort", "--target", TARGET]);
    Ok(())
}

/// The linker of the toolchain that builds everything else: Debian's has none for WebAssembly.
fn linker() -> Result<PathBuf> {
    let libraries = output(Command::new("rustc").args(["--print", "target-libdir"]))?;
    let linker = Path::new(libraries.trim()).with_file_name("bin").join("rust-lld");
    fs::metadata(&linker).with_context(|| {
        format!(
            "this Rust has no linker for components: there is no '{}'",
            linker.display()
        )
    })?;
    Ok(linker)
}

/// Makes a component of a core module that was built against the WIT package. The program that does it is a
/// workspace of its own and built when it is needed, because few machines need it.
pub(crate) fn encode(core: &Path, component: &Path) -> Result<()> {
    let manifest = workspace().join("tests/component-encoder/Cargo.toml");
    // Beside its place first: another process may be reading the component.
    let made = component.with_extension(format!("{}.tmp", std::process::id()));
    let mut cargo = cargo(&target_directory().join("component-encoder"));
    cargo
        .args(["run", "--quiet", "--release", "--locked", "--manifest-path"])
        .arg(manifest)
        .arg("--");
    run(cargo.arg(core).arg(&made))?;
    fs::rename(&made, component).with_context(|| format!("'{}' can't be written", component.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        for (version, expected) in [
            ("1.95.0", true),
            ("1.100.0", true),
            ("2.0", true),
            ("1.96.0+dfsg1-1~deb12u2", true),
            ("1.94.9", false),
            ("1.9.0", false),
            ("0.999", false),
            ("", false),
            ("new", false),
        ] {
            assert_eq!(is_new_enough(version), expected, "{version:?}");
        }
    }
}
