//! Debian's toolchain for WebAssembly, for machines that reach Debian's packages but not rustup's server.
//!
//! The packages of the `rustc-web` family are unpacked into a cache folder and not installed. They hold a
//! newer compiler and its standard library as source; the library is built along (`-Zbuild-std`) for
//! `wasm32-unknown-unknown`, and the core module is made a component here, as the `wasm32-wasip2` target's
//! linker would have done.

use crate::{cargo, run, target_directory, workspace};
use anyhow::{Context, Result, bail};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// What the core module is built for.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// Unpacks the packages, unless they are there, and returns the folder.
pub(crate) fn unpack() -> Result<PathBuf> {
    let cache = cache_directory()?.join("executor-runtime");
    let folder = cache.join("rustc-web");
    if folder.join("usr/bin/rustc").exists() {
        return Ok(folder);
    }
    fs::create_dir_all(&cache).with_context(|| format!("'{}' can't be made", cache.display()))?;
    let packages = packages()?;
    eprintln!("unpacking {} into {}", packages.join(", "), folder.display());
    // Unpacked beside its place, so that a half-unpacked toolchain is never used.
    let partial = cache.join(format!("rustc-web.{}.tmp", std::process::id()));
    let _ = fs::remove_dir_all(&partial);
    fs::create_dir_all(&partial)?;
    run(Command::new("apt-get")
        .current_dir(&partial)
        .args(["download", "--quiet"])
        .args(&packages))?;
    for entry in fs::read_dir(&partial)? {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "deb") {
            run(Command::new("dpkg").arg("-x").arg(&file).arg(&partial))?;
            fs::remove_file(&file)?;
        }
    }
    let _ = fs::remove_dir_all(&folder);
    fs::rename(&partial, &folder)?;
    Ok(folder)
}

/// The compiler, what it needs to run, and the source of its standard library: names as apt knows them now.
fn packages() -> Result<Vec<String>> {
    if depends_of("rustc-web").is_empty() {
        // The lists of a fresh machine may be empty.
        run(Command::new("apt-get").args(["update", "--quiet=2"]))?;
    }
    let needs = depends_of("rustc-web");
    if needs.is_empty() {
        bail!(
            "apt knows no package 'rustc-web', so there is no way to build components: install the target wasm32-wasip2"
        );
    }
    let mut packages: Vec<String> = ["rustc-web", "libstd-rust-web-dev", "rust-web-src"]
        .map(str::to_owned)
        .into();
    let of_library = depends_of("libstd-rust-web-dev");
    packages.extend(
        needs
            .into_iter()
            .chain(of_library)
            .filter(|name| name.starts_with("libstd-rust-web-") || name.starts_with("libllvm")),
    );
    packages.sort();
    packages.dedup();
    Ok(packages)
}

fn depends_of(package: &str) -> Vec<String> {
    let Ok(output) = Command::new("apt-cache").args(["depends", package]).output() else {
        return Vec::new();
    };
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "))
        .map(str::to_owned)
        .collect()
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
    let sysroot = Command::new("rustc")
        .args(["--print", "sysroot"])
        .output()
        .context("rustc can't be started")?;
    let linker = Path::new(String::from_utf8_lossy(&sysroot.stdout).trim())
        .join("lib/rustlib")
        .join(format!("{}-unknown-linux-gnu", env::consts::ARCH))
        .join("bin/rust-lld");
    cargo
        .env("RUSTC", folder.join("usr/bin/rustc"))
        .env("RUSTC_BOOTSTRAP", "1")
        .env(
            "LD_LIBRARY_PATH",
            folder.join(format!("usr/lib/{}-linux-gnu", env::consts::ARCH)),
        )
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker)
        .args(["-Zbuild-std=std,panic_abort", "--target", TARGET]);
    Ok(())
}

/// Makes a component of a core module that was built against the WIT package. The program that does it is a
/// workspace of its own and built when it is needed, because few machines need it.
pub(crate) fn encode(core: &Path, component: &Path) -> Result<()> {
    let manifest = workspace().join("tests/component-encoder/Cargo.toml");
    let mut cargo = cargo(&target_directory().join("component-encoder"));
    cargo
        .args(["run", "--quiet", "--release", "--locked", "--manifest-path"])
        .arg(manifest)
        .arg("--");
    run(cargo.arg(core).arg(component))
}
