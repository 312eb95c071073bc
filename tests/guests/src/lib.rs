//! Builds guests: a package of this workspace as a component or as a native plugin.
//!
//! Components are built for `wasm32-wasip2`. Where that target is missing it is installed with rustup; where
//! rustup's server can't be reached, Debian's toolchain for WebAssembly is unpacked and used ([`Toolchain`]).

mod apt;
mod cargo;
mod debian;
mod toolchain;

pub use cargo::{cargo_command, without_outer_cargo};
pub use debian::OutOfReach;
pub use toolchain::{TOOLCHAIN_VARIABLE, Toolchain};

use anyhow::{Context, Result, bail};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The official plugins that are components.
pub const COMPONENTS: [&str; 3] = [
    "executor-runtime-plugin-http",
    "executor-runtime-plugin-http-async",
    "executor-runtime-plugin-http-sse",
];
/// Those that are native, because a component can't do what they do.
pub const NATIVE: [&str; 2] = [
    "executor-runtime-plugin-container",
    "executor-runtime-plugin-manual",
];
/// Packages of which each is built with the others, whichever is asked for: cargo settles the features of their dependencies
/// once for all of them, and compiles none of those again for the next.
const TOGETHER: [&[&str]; 2] = [&COMPONENTS, &NATIVE];

/// What cargo is told to build for a package.
fn selection(package: &str) -> Vec<String> {
    let alone = [package];
    let together = TOGETHER.into_iter().find(|together| together.contains(&package));
    let packages = together.unwrap_or(&alone);
    packages
        .iter()
        .map(|package| format!("--package={package}"))
        .collect()
}

/// The workspace's folder.
pub fn workspace() -> PathBuf {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    folder.canonicalize().unwrap_or_else(|_| folder.to_owned())
}

/// The target directory that this very program was built into.
pub fn target_directory() -> PathBuf {
    let program = env::current_exe().unwrap_or_default();
    program
        .ancestors()
        .find(|directory| directory.join("CACHEDIR.TAG").exists())
        .map_or_else(|| workspace().join("target"), Path::to_path_buf)
}

/// Builds the native plugin of `package`, and returns its file.
pub fn native(package: &str) -> Result<PathBuf> {
    let target = target_directory();
    run(cargo(&target)
        .args(["build", "--quiet", "--release"])
        .args(selection(package)))?;
    let file = target
        .join("release")
        .join(format!("lib{}.so", package.replace('-', "_")));
    existing(file)
}

/// Builds the component of `package`, and returns its file.
pub fn component(package: &str) -> Result<PathBuf> {
    component_with(package, &Toolchain::get()?)
}

/// Builds the component of `package` with a certain toolchain, and returns its file.
pub fn component_with(package: &str, toolchain: &Toolchain) -> Result<PathBuf> {
    let target = target_directory();
    let mut cargo = cargo(&target);
    cargo
        // The names of functions are a large part of such a small component, and are not used: the host shows no frames of
        // a guest.
        .env("CARGO_PROFILE_RELEASE_STRIP", "symbols")
        .args(["build", "--quiet", "--release"])
        .args(selection(package));
    let module = format!("{}.wasm", package.replace('-', "_"));
    match toolchain {
        Toolchain::Rustup => {
            run(cargo.args(["--target", toolchain::TARGET]))?;
            existing(target.join(toolchain::TARGET).join("release").join(module))
        }
        Toolchain::Debian(folder) => {
            debian::prepare(&mut cargo, folder)?;
            run(&mut cargo)?;
            let core = existing(target.join(debian::TARGET).join("release").join(&module))?;
            let component = core.with_extension("component.wasm");
            debian::encode(&core, &component)?;
            Ok(component)
        }
    }
}

fn cargo(target: &Path) -> Command {
    let mut cargo = cargo_command();
    cargo
        .current_dir(workspace())
        .env("CARGO_TARGET_DIR", target)
        .env_remove("RUSTFLAGS");
    cargo
}

fn run(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("{command:?} can't be started"))?;
    if !status.success() {
        bail!("{command:?} failed: {status}");
    }
    Ok(())
}

/// What the command prints; what it complains about is in the error.
fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{} can't be started", command.get_program().display()))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        bail!(
            "{} failed ({}): {}",
            command.get_program().display(),
            output.status,
            complaint.trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn existing(file: PathBuf) -> Result<PathBuf> {
    fs::metadata(&file).with_context(|| format!("the build produced no '{}'", file.display()))?;
    Ok(file)
}
