//! Where the SDK is that a new plugin uses: named, beside this executable in a checkout, or carried by it.

use super::language::{self, SdkFolder, SdkForm};
use crate::Executable;
use anyhow::{Context, Result, anyhow, bail};
use std::{
    env, fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// What the SDK's own manifest has in it.
const PACKAGE: &str = "name = \"executor-runtime-sdk\"";

/// Where `wit/` is in what is carried.
const WIT: &str = "plugin-sdk/wit/";

/// The SDK in the folder that was given, or `plugin-sdk` in it.
pub(super) fn named(given: &Path) -> Result<PathBuf> {
    folder_in(given)?.with_context(|| {
        format!(
            "no SDK in '{}': expected a checkout of executor-runtime, or its folder plugin-sdk",
            given.display()
        )
    })
}

/// The SDK of the checkout that this executable was built in, if it belongs to the owner of the executable: its build
/// scripts will run as this user.
pub(super) fn beside_executable() -> Option<PathBuf> {
    let executable = env::current_exe().ok()?.canonicalize().ok()?;
    let owner = fs::metadata(&executable).ok()?.uid();
    let is_trusted = |path: &Path| {
        fs::metadata(path).is_ok_and(|status| status.uid() == owner && status.mode() & 0o002 == 0)
    };
    let mut above = executable.ancestors().skip(1);
    let folder = above.find_map(|folder| folder_in(folder).ok().flatten())?;
    let manifest = folder.join("Cargo.toml");
    (is_trusted(&folder) && is_trusted(&manifest)).then_some(folder)
}

fn folder_in(given: &Path) -> Result<Option<PathBuf>> {
    let is_sdk = |folder: &PathBuf| {
        fs::read_to_string(folder.join("Cargo.toml")).is_ok_and(|manifest| manifest.contains(PACKAGE))
    };
    let mut candidates = [given.to_owned(), given.join("plugin-sdk")].into_iter();
    let Some(folder) = candidates.find(is_sdk) else {
        return Ok(None);
    };
    let folder = folder.canonicalize()?;
    if folder.to_str().is_none() {
        bail!(
            "'{}' can't be written to Cargo.toml because it is not valid UTF-8",
            folder.display()
        );
    }
    Ok(Some(folder))
}

/// The files that the executable carries: the SDK's crates as a workspace, each with its path there.
pub(super) struct Carried(Vec<u8>);

impl Carried {
    /// Goes on in the executable that carries them, if this one does not.
    ///
    /// # Errors
    /// Why it can't.
    pub(super) fn by(executable: Executable) -> Result<Self> {
        executable.need_engine()?;
        let packed = executable.sdk.context("this executable carries no SDK")?;
        let damaged = |error| anyhow!("the SDK that this executable carries is damaged: {error}");
        let entries = miniz_oxide::inflate::decompress_to_vec_zlib(packed).map_err(damaged)?;
        Ok(Self(entries))
    }

    /// Writes the SDK's crates below `folder`.
    pub(super) fn write_crates(&self, folder: &Path) -> Result<()> {
        let folders = language::all().filter_map(|language| match &language.sdk {
            SdkForm::Folder(sdk) => Some(sdk.carried),
            SdkForm::Crates(_) => None,
        });
        let others: Vec<_> = folders.collect();
        let is_of_another = |path: &str| others.iter().any(|other| path.starts_with(other));
        let mut crates = self.files().filter(|(path, _)| !is_of_another(path));
        crates.try_for_each(|(path, content)| write(&folder.join(path), content))
    }

    /// Writes `wit/` into `folder`; returns how many files that are.
    pub(super) fn write_wit(&self, folder: &Path) -> Result<usize> {
        let files = || {
            self.files()
                .filter_map(|(path, content)| Some((path.strip_prefix(WIT)?, content)))
        };
        for (path, content) in files() {
            let path = folder.join(path);
            if fs::read(&path).is_ok_and(|there| there != content) {
                bail!(
                    "'{}' exists and is another file; remove it first, or write to another directory",
                    path.display()
                );
            }
        }
        for (path, content) in files() {
            write(&folder.join(path), content)?;
        }
        Ok(files().count())
    }

    /// Writes the SDK of a language, with its guide and `wit/` in it, into a plugin.
    pub(super) fn write_folder(&self, sdk: &SdkFolder, plugin: &Path) -> Result<()> {
        let folder = plugin.join(sdk.folder);
        for (path, content) in self.files() {
            if let Some(path) = path.strip_prefix(sdk.carried) {
                let path = path.strip_prefix(sdk.sources).unwrap_or(path);
                write(&folder.join(path), content)?;
            }
        }
        self.write_wit(&folder.join("wit")).map(drop)
    }

    fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let mut rest = self.0.as_slice();
        std::iter::from_fn(move || {
            let length = rest.split_off(..2)?;
            let path = rest.split_off(..usize::from(u16::from_le_bytes(length.try_into().ok()?)))?;
            let length = u32::from_le_bytes(rest.split_off(..4)?.try_into().ok()?);
            let content = rest.split_off(..usize::try_from(length).ok()?)?;
            Some((str::from_utf8(path).ok()?, content))
        })
    }
}

fn write(path: &Path, content: &[u8]) -> Result<()> {
    fs::create_dir_all(path.parent().unwrap_or(path))
        .and_then(|()| fs::write(path, content))
        .with_context(|| format!("'{}' can't be written", path.display()))
}
