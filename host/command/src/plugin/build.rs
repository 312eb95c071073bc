//! `plugin build`: from a crate, or a folder in another language, to plugin files that are known to load.
//!
//! Of a crate, cargo builds it for each carrier, says which files it made, and the files are copied to
//! `plugins/component` and `plugins/native` in its target directory, if the host finds the descriptor in them.
//! Two directories, because two files for one kind in one directory are refused.

use super::project::Project;
use crate::{Format, args::BuildOptions, print_json};
use anyhow::{Context, Result, bail};
use executor_runtime::{
    config::{Config, trust::FileError},
    plugin::{self, Carrier, Found, State, Unusable},
    protocol::{PluginDescriptor, RuntimeKind},
};
use serde_json::Value;
use std::{
    ffi::OsStr,
    fs,
    io::{self, ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

const COMPONENT_TARGET: &str = "wasm32-wasip2";

/// A plugin file that was built.
#[derive(serde::Serialize)]
pub(super) struct Built {
    pub(super) path: PathBuf,
    pub(super) carrier: Carrier,
    pub(super) bytes: u64,
    pub(super) kinds: Vec<RuntimeKind>,
}

pub(super) fn build(options: &BuildOptions, format: Format) -> Result<()> {
    let project = Project::read(options.directory.as_deref().unwrap_or(Path::new(".")))?;
    let carriers = match (options.component, options.native) {
        (true, false) => &[Carrier::Component],
        (false, true) => &[Carrier::Native],
        _ => project.carriers(),
    };
    let built: Vec<_> = carriers
        .iter()
        .map(|carrier| project.build(*carrier))
        .collect::<Result<_>>()?;
    print(&built, format)
}

/// The component that was built of the plugin in the current directory.
pub(super) fn built_here() -> Result<PathBuf> {
    let path = Project::read(Path::new("."))?.plugin_path(Carrier::Component);
    if !path.is_file() {
        bail!(
            "the plugin in the current directory has not been built as a component: '{}' is missing; run \
             `executor-runtime plugin build`, or give the FILE to install",
            path.display()
        );
    }
    Ok(path)
}

/// Prints what was built, and what comes next.
pub(super) fn print(built: &[Built], format: Format) -> Result<()> {
    match format {
        Format::Json => print_json(&built)?,
        Format::Human => {
            let mut out = io::stdout().lock();
            for file in built {
                let kinds: Vec<_> = file.kinds.iter().map(RuntimeKind::as_str).collect();
                writeln!(
                    out,
                    "{}  {}  {}  {}",
                    file.carrier.as_str(),
                    size(file.bytes),
                    kinds.join(", "),
                    file.path.display()
                )?;
            }
        }
    }
    if let Some(file) = built.first() {
        let path = file.path.display();
        say!(
            "next: `executor-runtime plugin check '{path}'`, then `executor-runtime plugin install '{path}'`"
        );
    }
    Ok(())
}

/// A plugin's crate.
pub(super) struct Package {
    /// Its directory, without links.
    directory: PathBuf,
    manifest: PathBuf,
    descriptor: PluginDescriptor,
    target_directory: PathBuf,
}

impl Package {
    pub(super) fn read(given: &Path) -> Result<Self> {
        let shown = given.display();
        let directory = given
            .canonicalize()
            .with_context(|| format!("'{shown}' can't be opened"))?;
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

    /// Cargo's, without links.
    pub(super) fn target_directory(&self) -> PathBuf {
        let folder = &self.target_directory;
        folder.canonicalize().unwrap_or_else(|_| folder.clone())
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

    /// Runs the crate's own tests.
    pub(super) fn test(&self) -> Result<()> {
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

    pub(super) fn build(&self, carrier: Carrier) -> Result<Built> {
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
    pub(super) fn plugin_path(&self, carrier: Carrier) -> PathBuf {
        plugin_path(&self.target_directory, &self.descriptor, carrier)
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

/// The descriptor in a plugin's directory, which is called `shown`, and its text. `beside` is the file that it stands
/// beside.
pub(super) fn read_descriptor(
    directory: &Path,
    shown: &Path,
    beside: &str,
) -> Result<(PluginDescriptor, Vec<u8>)> {
    let file = directory.join("plugin.json");
    let json = match fs::read(&file) {
        Ok(json) => json,
        Err(error) if error.kind() == ErrorKind::NotFound => bail!(
            "no plugin.json in '{}': the plugin's descriptor has to be beside {beside}; `executor-runtime schema \
             descriptor` prints its JSON Schema",
            shown.display()
        ),
        Err(error) => return Err(error).with_context(|| format!("'{}' can't be read", file.display())),
    };
    let descriptor =
        PluginDescriptor::from_json(&json).with_context(|| format!("'{}' can't be used", file.display()))?;
    Ok((descriptor, json))
}

/// Where the plugin file for a carrier is put.
pub(super) fn plugin_path(
    target_directory: &Path,
    descriptor: &PluginDescriptor,
    carrier: Carrier,
) -> PathBuf {
    let directory = target_directory.join("plugins").join(carrier.as_str());
    directory
        .join(&descriptor.name)
        .with_extension(extension(carrier))
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

fn extension(carrier: Carrier) -> &'static str {
    match carrier {
        Carrier::Component => "wasm",
        Carrier::Native => "so",
        Carrier::Recipe => "kind.toml",
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

pub(super) fn make_directory(directory: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(directory)
        .with_context(|| format!("'{}' can't be created", directory.display()))
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

fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{:.0} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}
