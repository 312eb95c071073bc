//! Builds the official plugins and lays them where a host in `target/release` looks for them.

use anyhow::{Context, Result};
use std::{fs, path::PathBuf};

/// Builds all of them, each for the carrier that it is installed for; returns the directory.
pub(crate) fn build_all() -> Result<PathBuf> {
    let directory = guest_build::target_directory().join("plugins");
    fs::create_dir_all(&directory).with_context(|| format!("'{}' can't be created", directory.display()))?;
    for package in guest_build::COMPONENTS {
        install(
            &guest_build::component(package)?,
            &directory.join(format!("{}.wasm", short(package))),
        )?;
    }
    for package in guest_build::NATIVE {
        install(
            &guest_build::native(package)?,
            &directory.join(format!("{}.so", short(package))),
        )?;
    }
    for recipe in recipes()? {
        install(&recipe, &directory.join(recipe.file_name().unwrap_or_default()))?;
    }
    Ok(directory)
}

/// The official recipes, which are files already.
fn recipes() -> Result<Vec<PathBuf>> {
    let directory = guest_build::workspace().join("plugins/recipes");
    let entries =
        fs::read_dir(&directory).with_context(|| format!("'{}' can't be read", directory.display()))?;
    let mut recipes = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    recipes.retain(|path| path.to_string_lossy().ends_with(".kind.toml"));
    recipes.sort();
    Ok(recipes)
}

fn short(package: &str) -> &str {
    package
        .strip_prefix("executor-runtime-plugin-")
        .unwrap_or(package)
}

fn install(file: &std::path::Path, target: &std::path::Path) -> Result<()> {
    // Not in place: a host may have the old one open.
    let temporary = target.with_extension("tmp");
    fs::copy(file, &temporary)
        .and_then(|_| {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(&temporary, fs::Permissions::from_mode(0o644))
        })
        .and_then(|()| fs::rename(&temporary, target))
        .with_context(|| format!("'{}' can't be written", target.display()))?;
    eprintln!(
        "  {} ({} KB)",
        target.display(),
        fs::metadata(target)?.len().div_ceil(1024)
    );
    Ok(())
}
