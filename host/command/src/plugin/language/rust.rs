//! A plugin in Rust: a crate, which cargo builds for each carrier.
//!
//! Cargo says which files it made, and they are copied if the host finds the descriptor in them.

use super::{
    super::build::{Built, extension, make_directory, plugin_path, read_descriptor},
    Definition, Project, SdkForm,
};
use anyhow::{Context, Result, bail};
use executor_runtime::{
    config::{Config, trust::FileError},
    plugin::{self, Carrier, Found, State, Unusable},
    protocol::PluginDescriptor,
};
use serde_json::Value;
use std::{
    ffi::OsStr,
    fs,
    io::{self, ErrorKind},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

const COMPONENT_TARGET: &str = "wasm32-wasip2";

/// Names that cargo refuses for a package, or that a dependency of the crate has.
const TAKEN: [&str; 9] = [
    "alloc",
    "build",
    "core",
    "executor-runtime-sdk",
    "executor-runtime-testing",
    "proc-macro",
    "proc_macro",
    "std",
    "test",
];

/// Rust's keywords that are names as far as a plugin is concerned; a crate can't be called like one.
const KEYWORDS: [&str; 51] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn",
    "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop",
    "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static",
    "struct", "super", "trait", "true", "try", "type", "typeof", "unsafe", "unsized", "use", "virtual",
    "where", "while", "yield",
];

pub(super) static RUST: Definition = Definition {
    name: "Rust",
    option: "rust",
    marker: "Cargo.toml",
    source: "src/lib.rs",
    template: &[
        ("Cargo.toml", include_str!("../template/rust/Cargo.toml.in")),
        ("plugin.json", include_str!("../template/plugin.json.in")),
        (".gitignore", include_str!("../template/rust/gitignore.in")),
        ("src/lib.rs", include_str!("../template/rust/src/lib.rs.in")),
        (
            "tests/plugin.rs",
            include_str!("../template/rust/tests/plugin.rs.in"),
        ),
    ],
    fills: &[],
    sdk: SdkForm::Crates("vendor/executor-runtime"),
    check_name,
    setup: |_| None,
    carriers: &[Carrier::Component, Carrier::Native],
    read: |given, directory| Ok(Box::new(Package::read(given, directory)?)),
};

fn check_name(name: &str) -> Result<()> {
    if TAKEN.contains(&name) || KEYWORDS.contains(&name) {
        bail!(
            "'{name}' can't be a crate name, because Rust reserves it; choose another, such as '{name}-plugin'"
        );
    }
    Ok(())
}

/// A plugin's crate.
struct Package {
    /// Its directory, without links.
    directory: PathBuf,
    manifest: PathBuf,
    descriptor: PluginDescriptor,
    target_directory: PathBuf,
}

impl Package {
    fn read(given: &Path, directory: PathBuf) -> Result<Self> {
        let shown = given.display();
        let manifest = directory.join("Cargo.toml");
        let (descriptor, _) = read_descriptor(&directory, given, "Cargo.toml")?;
        let metadata = metadata(&manifest)?;
        let package = metadata["packages"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|package| is_at(&package["manifest_path"], &manifest));
        let Some(package) = package else {
            bail!("'{shown}' has no package: its Cargo.toml only defines a workspace");
        };
        let is_cdylib = |target: &Value| {
            let types = target["crate_types"].as_array();
            types.is_some_and(|types| types.iter().any(|one| one == "cdylib"))
        };
        if !package["targets"]
            .as_array()
            .is_some_and(|targets| targets.iter().any(is_cdylib))
        {
            bail!(
                "the crate in '{shown}' does not build a library that a host can load: set crate-type = [\"cdylib\", \"rlib\"] \
                 under [lib] in its Cargo.toml"
            );
        }
        let target_directory = metadata["target_directory"].as_str();
        Ok(Self {
            target_directory: target_directory
                .context("`cargo metadata` reported no target directory")?
                .into(),
            directory,
            manifest,
            descriptor,
        })
    }

    /// Installs the standard library for components where it is missing.
    fn need_component_target(&self) -> Result<()> {
        if self.has_component_target() {
            return Ok(());
        }
        say!("the target {COMPONENT_TARGET} is missing: running rustup target add {COMPONENT_TARGET}");
        let tried = Command::new("rustup")
            .args(["target", "add", COMPONENT_TARGET])
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .stdout(io::stderr())
            .status();
        let why = match tried {
            Ok(status) if status.success() && self.has_component_target() => return Ok(()),
            Ok(status) if status.success() => {
                "rustup added it to a different toolchain than the one cargo uses".to_owned()
            }
            Ok(_) => format!("'rustup target add {COMPONENT_TARGET}' failed"),
            Err(error) if error.kind() == ErrorKind::NotFound => "rustup is not installed".to_owned(),
            Err(error) => format!("rustup can't be started: {error}"),
        };
        bail!(
            "components can't be built: Rust's target {COMPONENT_TARGET} is missing, and {why}\n  \
             install it with your system's package for it, or get Rust from https://rustup.rs and run \
             'rustup target add {COMPONENT_TARGET}'\n  \
             or build only the native plugin with --native"
        );
    }

    fn has_component_target(&self) -> bool {
        let printed = Command::new("rustc")
            .args(["--print", "target-libdir", "--target", COMPONENT_TARGET])
            .current_dir(&self.directory)
            .stderr(Stdio::null())
            .output();
        printed.is_ok_and(|printed| {
            printed.status.success() && Path::new(String::from_utf8_lossy(&printed.stdout).trim()).is_dir()
        })
    }

    /// Has cargo build the library, and returns the file that it made.
    fn cargo_build(&self, carrier: Carrier, extension: &str) -> Result<PathBuf> {
        let mut cargo = Command::new("cargo");
        cargo
            .args([
                "build",
                "--release",
                "--lib",
                "--message-format=json-render-diagnostics",
            ])
            .arg("--manifest-path")
            .arg(&self.manifest)
            .current_dir(&self.directory)
            // Debug information and names are nine tenths of a small component, and the host does not use them.
            .env("CARGO_PROFILE_RELEASE_STRIP", "symbols")
            .stdin(Stdio::null())
            .stderr(Stdio::inherit());
        if carrier == Carrier::Component {
            cargo.args(["--target", COMPONENT_TARGET]);
        }
        let output = cargo.output().map_err(no_cargo)?;
        if !output.status.success() {
            bail!(
                "the {} was not built: cargo failed; see its output above",
                match carrier {
                    Carrier::Component => "component",
                    Carrier::Native => "native plugin",
                    Carrier::Recipe => "recipe",
                }
            );
        }
        let messages = output.stdout.split(|&b| b == b'\n');
        let made = messages
            .filter_map(|line| serde_json::from_slice::<Value>(line).ok())
            .filter(|message| {
                message["reason"] == "compiler-artifact" && is_at(&message["manifest_path"], &self.manifest)
            })
            .flat_map(|message| message["filenames"].as_array().cloned().unwrap_or_default())
            .filter_map(|file| file.as_str().map(PathBuf::from))
            .find(|file| file.extension() == Some(OsStr::new(extension)));
        made.with_context(|| {
            format!("cargo made no *.{extension} file: native plugins can be built only on Linux")
        })
    }
}

impl Project for Package {
    fn descriptor(&self) -> &PluginDescriptor {
        &self.descriptor
    }

    /// Runs the crate's own tests.
    fn test(&self) -> Result<()> {
        let mut cargo = Command::new("cargo");
        cargo
            .args(["test", "--release", "--manifest-path"])
            .arg(&self.manifest);
        let ended = cargo.current_dir(&self.directory).status().map_err(no_cargo)?;
        match ended.success() {
            true => Ok(()),
            false => bail!("the plugin's own tests did not pass; see the output above"),
        }
    }

    fn build(&self, carrier: Carrier) -> Result<Built> {
        if carrier == Carrier::Component {
            self.need_component_target()?;
        }
        let made = self.cargo_build(carrier, extension(carrier))?;
        let path = self.plugin_path(carrier);
        make_directory(path.parent().unwrap_or(&path))?;
        copy(&made, &path).with_context(|| format!("'{}' can't be written", path.display()))?;
        finish(path, carrier, &self.descriptor)
    }

    /// Where the plugin file for a carrier is put.
    fn plugin_path(&self, carrier: Carrier) -> PathBuf {
        plugin_path(&self.target_directory, &self.descriptor, carrier)
    }

    /// Cargo's, without links.
    fn target_directory(&self) -> PathBuf {
        let folder = &self.target_directory;
        folder.canonicalize().unwrap_or_else(|_| folder.clone())
    }
}

/// What was built, if a host can load it with this descriptor.
fn finish(path: PathBuf, carrier: Carrier, descriptor: &PluginDescriptor) -> Result<Built> {
    let found = plugin::inspect(&path, &Config::default());
    match &found.state {
        State::Usable(_) => compare(&found, descriptor)?,
        State::Unusable(
            reason @ Unusable::File(FileError::WritableByOthers { .. } | FileError::ForeignOwner { .. }),
        ) => {
            say!("note: '{}' {reason}", path.display());
            say!("      a host uses it only after that, or after it is installed in another directory");
        }
        State::Unusable(reason) => bail!("it was built, but '{}' {reason}", path.display()),
    }
    Ok(Built {
        bytes: fs::metadata(&path)?.len(),
        carrier,
        kinds: descriptor.kinds.clone(),
        path,
    })
}

/// What is embedded has to be the `plugin.json` that stands there.
fn compare(found: &Found, descriptor: &PluginDescriptor) -> Result<()> {
    match &found.plugin {
        Some(plugin) if plugin.descriptor == *descriptor => Ok(()),
        _ => bail!(
            "'{}' has a descriptor that differs from plugin.json: call export_runner! exactly once, in this crate",
            found.path.display()
        ),
    }
}

fn is_at(value: &Value, manifest: &Path) -> bool {
    value
        .as_str()
        .is_some_and(|path| Path::new(path).canonicalize().is_ok_and(|path| path == manifest))
}

/// What cargo knows about the package's workspace.
fn metadata(manifest: &Path) -> Result<Value> {
    let output = Command::new("cargo")
        .args(["metadata", "--no-deps", "--format-version=1", "--manifest-path"])
        .arg(manifest)
        .current_dir(manifest.parent().unwrap_or(Path::new("/")))
        .stdin(Stdio::null())
        .output()
        .map_err(no_cargo)?;
    if !output.status.success() {
        bail!(
            "cargo can't use '{}':\n{}",
            manifest.display(),
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    serde_json::from_slice(&output.stdout).context("`cargo metadata` did not print JSON")
}

fn no_cargo(error: io::Error) -> anyhow::Error {
    if error.kind() == ErrorKind::NotFound {
        anyhow::anyhow!("cargo is not installed, or not in PATH: get Rust from https://rustup.rs")
    } else {
        anyhow::Error::new(error).context("cargo can't be started")
    }
}

/// Not in place: a host may have the old one open.
fn copy(made: &Path, path: &Path) -> io::Result<()> {
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    let copied = fs::copy(made, &temporary)
        .and_then(|_| fs::set_permissions(&temporary, fs::Permissions::from_mode(0o644)))
        .and_then(|()| fs::rename(&temporary, path));
    if copied.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    copied
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_cargo_takes() {
        for good in ["a", "http", "word-count", "x2"] {
            check_name(good).unwrap();
        }
        for reserved in ["test", "fn", "self"] {
            check_name(reserved).unwrap_err();
        }
    }
}
