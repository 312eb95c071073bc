//! `plugin`: look at, add and remove plugin files. None of this runs a plugin.

use super::{
    Format,
    args::{HostOptions, PluginCommand},
    host, print_json, style,
};
use anyhow::{Context, Result, bail};
use executor_runtime::{
    plugin::{Found, Plugin, PluginSet, State, inspect, search_path},
    protocol::{MetadataKey, RuntimeKind},
};
use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    process::ExitCode,
};

pub(super) fn plugin(
    command: &PluginCommand,
    options: &HostOptions,
    format: Option<Format>,
) -> Result<ExitCode> {
    let plugins = host::plugins(options)?;
    let format = Format::or_detect(format);
    match command {
        PluginCommand::List => list(&plugins, format)?,
        PluginCommand::Inspect { plugin } => show(&find(&plugins, plugin)?, format)?,
        PluginCommand::Install { file, into, replace } => {
            let directory = into.clone().map_or_else(|| default_directory(options), Ok)?;
            install(&plugins, file, &directory, *replace)?;
        }
        PluginCommand::Remove { plugin } => {
            let found = find(&plugins, plugin)?;
            fs::remove_file(&found.path)
                .with_context(|| format!("'{}' can't be removed", found.path.display()))?;
            eprintln!("removed '{}'", found.path.display());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A plugin file as machines see it.
fn document(found: &Found) -> serde_json::Value {
    let (kinds, reason) = match &found.state {
        State::Usable(kinds) => (kinds.as_slice(), None),
        State::Unusable(reason) => (&[][..], Some(reason.to_string())),
    };
    serde_json::json!({
        "path": found.path,
        "usable": reason.is_none(),
        "reason": reason,
        "runs_kinds": kinds,
        "carrier": found.plugin.as_ref().map(|plugin| plugin.carrier),
        "descriptor": found.plugin.as_ref().map(|plugin| &plugin.descriptor),
    })
}

fn list(plugins: &PluginSet, format: Format) -> Result<()> {
    if format == Format::Json {
        return print_json(&plugins.list().iter().map(document).collect::<Vec<_>>());
    }
    let style = style::stdout();
    let mut out = io::stdout().lock();
    for found in plugins.list() {
        let path = found.path.display();
        match (&found.state, &found.plugin) {
            (State::Usable(kinds), Some(plugin)) => {
                let kinds: Vec<_> = kinds.iter().map(RuntimeKind::as_str).collect();
                let Plugin {
                    descriptor, carrier, ..
                } = &**plugin;
                let (name, version) = (&descriptor.name, &descriptor.version);
                writeln!(
                    out,
                    "{} {name} {version}  {}  {}",
                    style.good("ok"),
                    carrier.as_str(),
                    kinds.join(", ")
                )?;
                writeln!(out, "   {}", style.faint(&path.to_string()))?;
            }
            (State::Unusable(reason), _) => writeln!(out, "{} '{path}' {reason}", style.error("unusable:"))?,
            (State::Usable(_), None) => {}
        }
    }
    if plugins.list().is_empty() {
        writeln!(out, "no plugins; searched:")?;
        for directory in plugins.directories() {
            writeln!(out, "  {}", directory.display())?;
        }
    }
    Ok(())
}

fn show(found: &Found, format: Format) -> Result<()> {
    if format == Format::Json {
        return print_json(&document(found));
    }
    let style = style::stdout();
    let mut out = io::stdout().lock();
    writeln!(out, "{} {}", style.faint("file     "), found.path.display())?;
    if let State::Unusable(reason) = &found.state {
        writeln!(out, "{} it {reason}", style.error("unusable:"))?;
    }
    let Some(plugin) = &found.plugin else {
        return Ok(());
    };
    let descriptor = &plugin.descriptor;
    let kinds: Vec<_> = descriptor.kinds.iter().map(RuntimeKind::as_str).collect();
    writeln!(
        out,
        "{} {} {}, {}",
        style.faint("plugin   "),
        descriptor.name,
        descriptor.version,
        descriptor.summary
    )?;
    writeln!(out, "{} {}", style.faint("carrier  "), plugin.carrier.as_str())?;
    writeln!(out, "{} {}", style.faint("interface"), descriptor.interface)?;
    writeln!(out, "{} {}", style.faint("kinds    "), kinds.join(", "))?;
    if !descriptor.metadata.is_empty() {
        writeln!(out, "{}", style.faint("metadata keys"))?;
    }
    for (key, spec) in &descriptor.metadata {
        writeln!(out, "  {key}  {}", describe_key(spec))?;
        writeln!(out, "      {}", spec.help)?;
    }
    Ok(())
}

fn describe_key(spec: &MetadataKey) -> String {
    let mut text = spec.value_type.as_str().to_owned();
    if spec.required {
        text.push_str(", required");
    }
    if let Some(default) = &spec.default {
        text.push_str(&format!(", default {default}"));
    }
    if !spec.one_of.is_empty() {
        text.push_str(&format!(", one of {}", spec.one_of.join(" ")));
    }
    text
}

/// The file at a path, or the installed plugin with this name or kind.
fn find(plugins: &PluginSet, wanted: &str) -> Result<Found> {
    if wanted.contains('/') || wanted.ends_with(".wasm") || wanted.ends_with(".so") {
        return Ok(inspect(Path::new(wanted), plugins.config()));
    }
    let matching = |found: &&Found| {
        found.plugin.as_ref().is_some_and(|plugin| {
            plugin.descriptor.name == wanted
                || plugin.descriptor.kinds.iter().any(|kind| kind.as_str() == wanted)
        })
    };
    match plugins.list().iter().find(matching) {
        Some(found) => Ok(found.clone()),
        None => bail!(
            "no installed plugin has the name or kind '{wanted}'; `plugin list` shows what is installed"
        ),
    }
}

/// Where plugins go if nobody says: the first directory that is given, else the user's.
fn default_directory(options: &HostOptions) -> Result<PathBuf> {
    match options
        .plugins_dir
        .first()
        .cloned()
        .or_else(|| search_path(&[]).pop())
    {
        Some(directory) => Ok(directory),
        None => bail!("no directory to install into: give --into DIR"),
    }
}

fn install(plugins: &PluginSet, file: &Path, directory: &Path, replace: bool) -> Result<()> {
    let found = inspect(file, plugins.config());
    let plugin = match (&found.state, &found.plugin) {
        (State::Usable(_), Some(plugin)) => plugin.clone(),
        (State::Unusable(reason), _) => bail!("not installed: '{}' {reason}", file.display()),
        (State::Usable(_), None) => bail!("not installed: '{}' has no descriptor", file.display()),
    };
    let Some(name) = file.file_name() else {
        bail!("not installed: '{}' is not the name of a file", file.display());
    };
    let target = directory.join(name);
    let rivals = rivals(&plugin, directory, plugins)?;
    if !replace && let Some((kind, rival)) = rivals.first() {
        bail!(
            "not installed: kind '{kind}' is taken by '{}'; use --replace to install over it",
            rival.display()
        );
    }
    if !replace && target.exists() {
        bail!(
            "not installed: '{}' exists; use --replace to install over it",
            target.display()
        );
    }
    fs::create_dir_all(directory).with_context(|| format!("'{}' can't be made", directory.display()))?;
    copy(file, &target).with_context(|| format!("'{}' can't be written", target.display()))?;
    for (_, rival) in rivals.iter().filter(|(_, rival)| *rival != target) {
        fs::remove_file(rival).with_context(|| format!("'{}' can't be removed", rival.display()))?;
        eprintln!("removed '{}'", rival.display());
    }
    let kinds: Vec<_> = plugin.descriptor.kinds.iter().map(RuntimeKind::as_str).collect();
    eprintln!("installed '{}' for {}", target.display(), kinds.join(", "));
    Ok(())
}

/// Files in `directory` that have a kind of `plugin`.
fn rivals(plugin: &Plugin, directory: &Path, plugins: &PluginSet) -> Result<Vec<(RuntimeKind, PathBuf)>> {
    let there = executor_runtime::plugin::discover(&[directory.to_owned()], plugins.config());
    Ok(there
        .into_iter()
        .filter_map(|found| {
            let rival = found.plugin?;
            let shared = rival
                .descriptor
                .kinds
                .iter()
                .find(|kind| plugin.descriptor.kinds.contains(kind))?;
            Some((shared.clone(), found.path))
        })
        .collect())
}

/// Copies so that nobody ever sees half a plugin, or one that others may write to.
fn copy(file: &Path, target: &Path) -> io::Result<()> {
    let temporary = target.with_extension(format!("{}.tmp", std::process::id()));
    let written = (|| {
        let mut to = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o644)
            .open(&temporary)?;
        io::copy(&mut fs::File::open(file)?, &mut to)?;
        to.set_permissions(fs::Permissions::from_mode(0o644))?;
        to.sync_all()?;
        fs::rename(&temporary, target)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}
