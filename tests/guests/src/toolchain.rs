//! Which toolchain builds components.

use crate::debian;
use anyhow::{Context, Result, bail};
use std::{
    env, fmt, io,
    path::PathBuf,
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
};

/// What components are built for.
pub(crate) const TARGET: &str = "wasm32-wasip2";

/// Chooses a toolchain by name: `rustup` or `debian`.
pub const TOOLCHAIN_VARIABLE: &str = "EXECUTOR_RUNTIME_GUEST_TOOLCHAIN";

/// What to do without any.
const NEEDED: &str = "components can't be built: that takes Rust's target wasm32-wasip2 \
    ('rustup target add wasm32-wasip2', or your system's package for it), \
    or Debian's packages of rustc-web (apt-get, dpkg, and a Debian source in /etc/apt)";

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
            Ok("rustup") => Self::rustup().context(NEEDED)?,
            Ok("debian") => Self::debian()?,
            Ok(other) => bail!("{TOOLCHAIN_VARIABLE} is '{other}'; expected 'rustup' or 'debian'"),
            Err(_) => Self::rustup().or_else(|no_rustup| {
                eprintln!("{no_rustup:#}; using Debian's toolchain for WebAssembly instead");
                debian::unpack()
                    .map(Self::Debian)
                    .map_err(|no_debian| no_debian.context(format!("{no_rustup:#}")).context(NEEDED))
            })?,
        };
        Ok(found.insert(toolchain).clone())
    }

    /// What [`TOOLCHAIN_VARIABLE`] calls it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Rustup => "rustup",
            Self::Debian(_) => "debian",
        }
    }

    /// The toolchain that builds everything else; its target for components is installed if it is missing.
    pub fn rustup() -> Result<Self> {
        if has_target() {
            return Ok(Self::Rustup);
        }
        let installed = Command::new("rustup")
            .args(["target", "add", TARGET])
            .stdin(Stdio::null())
            .stdout(io::stderr())
            .status();
        match installed {
            Ok(status) if status.success() && has_target() => Ok(Self::Rustup),
            Ok(_) => bail!("the target {TARGET} is missing, and 'rustup target add {TARGET}' failed"),
            Err(error) => bail!("the target {TARGET} is missing, and rustup can't be started: {error}"),
        }
    }

    /// Debian's toolchain, which is downloaded and unpacked if it is not there.
    pub fn debian() -> Result<Self> {
        debian::unpack().map(Self::Debian).context(NEEDED)
    }
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rustup => f.write_str(self.name()),
            Self::Debian(folder) => write!(f, "{} {}", self.name(), folder.display()),
        }
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
