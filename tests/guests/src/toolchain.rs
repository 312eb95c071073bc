//! Which toolchain builds components.

use crate::debian;
use anyhow::{Context, Result, bail};
use std::{
    env,
    path::PathBuf,
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
};

/// What components are built for.
pub(crate) const TARGET: &str = "wasm32-wasip2";

/// Chooses a toolchain by name: `rustup` or `debian`.
pub const TOOLCHAIN_VARIABLE: &str = "EXECUTOR_RUNTIME_GUEST_TOOLCHAIN";

/// A way to build components.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Toolchain {
    /// The toolchain that builds everything else, with the target `wasm32-wasip2`.
    Rustup,
    /// Debian's `rustc-web`, unpacked into this folder.
    Debian(PathBuf),
}

impl Toolchain {
    /// The toolchain of this machine: it is looked for, and installed if it is missing, once a process.
    pub fn get() -> Result<Self> {
        static FOUND: Mutex<Option<Toolchain>> = Mutex::new(None);
        let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(toolchain) = &*found {
            return Ok(toolchain.clone());
        }
        let toolchain = match env::var(TOOLCHAIN_VARIABLE).as_deref() {
            Ok("rustup") => rustup()?,
            Ok("debian") => Self::debian()?,
            Ok(other) => bail!("{TOOLCHAIN_VARIABLE} is '{other}'; expected 'rustup' or 'debian'"),
            Err(_) => rustup().or_else(|no_rustup| {
                eprintln!("{no_rustup:#}; using Debian's toolchain for WebAssembly instead");
                Self::debian().with_context(|| format!("{no_rustup:#}"))
            })?,
        };
        Ok(found.insert(toolchain).clone())
    }

    /// Debian's toolchain, which is downloaded and unpacked if it is not there.
    pub fn debian() -> Result<Self> {
        debian::unpack().map(Self::Debian)
    }
}

fn rustup() -> Result<Toolchain> {
    if has_target() {
        return Ok(Toolchain::Rustup);
    }
    let installed = Command::new("rustup")
        .args(["target", "add", TARGET])
        .stdin(Stdio::null())
        .status();
    match installed {
        Ok(status) if status.success() && has_target() => Ok(Toolchain::Rustup),
        Ok(_) => bail!("the target {TARGET} is missing, and 'rustup target add {TARGET}' failed"),
        Err(error) => bail!("the target {TARGET} is missing, and rustup can't be started: {error}"),
    }
}

/// Whether the standard library for the target is installed.
fn has_target() -> bool {
    let printed = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", TARGET])
        .output();
    printed.is_ok_and(|output| {
        output.status.success() && PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()).is_dir()
    })
}
