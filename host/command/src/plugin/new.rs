//! `plugin new`: a plugin that builds, and passes its own test at once.

use super::{
    language::{Definition, SdkFolder, SdkForm, definition},
    partial::Partial,
    sdk::{self, Carried},
};
use crate::{
    Executable,
    args::{Language, NewOptions},
};
use anyhow::{Context, Result, bail};
use executor_runtime::protocol::{
    COMPONENT_INTERFACE_VERSION, HOST_NAMESPACES, INTERFACE_VERSION, PluginDescriptor, RuntimeKind,
};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The SDK that a new plugin uses.
enum Sdk {
    /// In this folder.
    At(PathBuf),
    /// Written to this folder of the plugin, as crates, which then need nothing else of ours.
    Crates(&'static str, Carried),
    /// Written into the plugin.
    Folder(&'static SdkFolder, Carried),
}

impl Sdk {
    fn of(language: &'static Definition, options: &NewOptions, executable: Executable) -> Result<Self> {
        match (&language.sdk, &options.sdk) {
            (SdkForm::Crates(_), Some(given)) => Ok(Self::At(sdk::named(given)?)),
            (SdkForm::Crates(own), None) => match sdk::beside_executable() {
                Some(folder) => Ok(Self::At(folder)),
                None => Ok(Self::Crates(own, Carried::by(executable)?)),
            },
            (SdkForm::Folder(_), Some(_)) => bail!(
                "--sdk is for plugins in Rust: one in {} gets the SDK that this executable carries",
                language.name
            ),
            (SdkForm::Folder(folder), None) => Ok(Self::Folder(folder, Carried::by(executable)?)),
        }
    }

    /// Its folder, as a path that a file of the plugin may have.
    fn folder(&self) -> PathBuf {
        match self {
            Self::At(folder) => folder.clone(),
            Self::Crates(own, _) => Path::new(own).join("plugin-sdk"),
            Self::Folder(sdk, _) => sdk.folder.into(),
        }
    }

    fn write(&self, plugin: &Path) -> Result<()> {
        match self {
            Self::At(_) => Ok(()),
            Self::Crates(own, carried) => carried.write_crates(&plugin.join(own)),
            Self::Folder(sdk, carried) => carried.write_folder(sdk, plugin),
        }
    }
}

pub(super) fn new(options: &NewOptions, executable: Executable) -> Result<()> {
    let name = options.name.as_str();
    let language = definition(options.lang);
    check_name(name)?;
    (language.check_name)(name)?;
    let kind = kind(name, options.kind.as_deref())?;
    let sdk = Sdk::of(language, options, executable)?;
    let into = options.into.clone().unwrap_or_default();
    let folder = into.join(name);
    let interface = match options.lang {
        Language::Rust => INTERFACE_VERSION,
        // Always components.
        _ => COMPONENT_INTERFACE_VERSION,
    };
    let filled = |text: &str| {
        let text = text
            .replace("__NAME__", name)
            .replace("__KIND__", kind.as_str())
            .replace("__TYPE__", &type_name(name))
            .replace("__INTERFACE__", &interface.to_string())
            .replace("__SDK__", &dependency(&sdk.folder()))
            .replace("__TESTING__", &dependency(&sdk.folder().join("testing")));
        let own = language.fills.iter();
        own.fold(text, |text, (word, value)| text.replace(word, value))
    };
    let template = language.template.iter();
    let files: Vec<_> = template.map(|(path, text)| (*path, filled(text))).collect();
    for (_, descriptor) in files.iter().filter(|(path, _)| *path == "plugin.json") {
        PluginDescriptor::from_json(descriptor.as_bytes())?;
    }

    if folder.symlink_metadata().is_ok() {
        bail!("'{}' already exists; nothing was written", folder.display());
    }
    let cannot = || format!("'{}' can't be created", folder.display());
    let partial = Partial::beside(&folder).with_context(cannot)?;
    let made = partial.path();
    fs::create_dir(&made).with_context(cannot)?;
    for (path, text) in &files {
        let path = made.join(path);
        fs::create_dir_all(path.parent().unwrap_or(&made))
            .and_then(|()| fs::write(&path, text))
            .with_context(|| format!("'{}' can't be written", path.display()))?;
    }
    sdk.write(&made)?;
    partial.finish(&folder).with_context(cannot)?;
    tell(&folder, name, &kind, language, &sdk);
    Ok(())
}

fn tell(folder: &Path, name: &str, kind: &RuntimeKind, language: &Definition, sdk: &Sdk) {
    let folder = folder.display();
    say!("wrote '{folder}': plugin {name}, which runs the kind {kind}");
    match sdk {
        Sdk::At(sdk) => say!("it uses the SDK in '{}'", sdk.display()),
        Sdk::Crates(own, _) => say!("it has the SDK of this executable in '{folder}/{own}'"),
        Sdk::Folder(sdk, _) => say!("it has the SDK of this executable in '{folder}/{}'", sdk.folder),
    }
    say!(
        "it greets, as an example; replace {} and plugin.json by what yours does",
        language.source
    );
    say!("next:");
    if let Some(setup) = (language.setup)(&folder.to_string()) {
        say!("  {setup}");
    }
    say!(
        "  executor-runtime plugin dev '{folder}' -m greet.name=Ada    # build and run it, again on each save"
    );
    say!("  executor-runtime plugin test '{folder}'");
    say!("  executor-runtime plugin build '{folder}'");
}

fn check_name(name: &str) -> Result<()> {
    let mut bytes = name.bytes();
    let valid = (1..=64).contains(&name.len())
        && bytes.next().is_some_and(|b| b.is_ascii_lowercase())
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !valid {
        bail!(
            "'{}' is not a valid plugin name: expected a lower-case letter, then at most 63 of a-z, 0-9 and -",
            name.escape_debug()
        );
    }
    Ok(())
}

fn kind(name: &str, asked: Option<&str>) -> Result<RuntimeKind> {
    let text = asked.map_or_else(|| name.replace('-', "_"), str::to_owned);
    let Some(kind) = RuntimeKind::new(&text) else {
        bail!(
            "--kind '{}' is not a valid runtime kind: expected a lower-case letter, then at most 63 of a-z, 0-9 and _",
            text.escape_debug()
        );
    };
    if HOST_NAMESPACES.contains(&kind.as_str()) {
        bail!("kind '{kind}' is reserved for the host; choose another with --kind");
    }
    Ok(kind)
}

/// A dependency by path, in Cargo.toml. JSON's strings are TOML's too.
fn dependency(path: &Path) -> String {
    format!("{{ path = {} }}", serde_json::json!(path))
}

/// `word-count` as the name of a type: `WordCount`.
fn type_name(name: &str) -> String {
    name.split('-')
        .map(|word| {
            let (first, rest) = word.split_at(word.len().min(1));
            first.to_ascii_uppercase() + rest
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_the_host_takes() {
        for good in ["a", "http", "word-count", "x2"] {
            check_name(good).unwrap();
        }
        for bad in ["", "Ab", "2x", "-x", "a_b", "a b", "../x", "ä", &"x".repeat(65)] {
            check_name(bad).unwrap_err();
        }
        for reserved_in_rust in ["test", "fn", "self"] {
            check_name(reserved_in_rust).unwrap();
        }
        assert_eq!(kind("word-count", None).unwrap().as_str(), "word_count");
        for bad in ["subprocess", "limits", "plugin", "a-b", ""] {
            kind("x", Some(bad)).unwrap_err();
        }
        assert_eq!(type_name("word-count-2"), "WordCount2");
    }
}
