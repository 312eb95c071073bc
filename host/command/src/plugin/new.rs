//! `plugin new`: a crate that builds, and passes its own test at once.

use crate::args::NewOptions;
use anyhow::{Context, Result, bail};
use executor_runtime::protocol::{HOST_NAMESPACES, INTERFACE_VERSION, PluginDescriptor, RuntimeKind};
use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

/// The crate, with words in capitals for what is filled in.
const TEMPLATE: [(&str, &str); 5] = [
    ("Cargo.toml", include_str!("template/Cargo.toml.in")),
    ("plugin.json", include_str!("template/plugin.json.in")),
    (".gitignore", include_str!("template/gitignore.in")),
    ("src/lib.rs", include_str!("template/src/lib.rs.in")),
    ("tests/plugin.rs", include_str!("template/tests/plugin.rs.in")),
];

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

pub(super) fn new(options: &NewOptions) -> Result<()> {
    let name = options.name.as_str();
    check_name(name)?;
    let kind = kind(name, options.kind.as_deref())?;
    let Some(sdk) = &options.sdk else {
        bail!(
            "--sdk PATH is required: the path of a checkout of executor-runtime, until the SDK is published"
        );
    };
    let sdk = sdk_folder(sdk)?;
    let into = options.into.clone().unwrap_or_default();
    let folder = into.join(name);
    let filled = |text: &str| {
        text.replace("__NAME__", name)
            .replace("__KIND__", kind.as_str())
            .replace("__TYPE__", &type_name(name))
            .replace("__INTERFACE__", &INTERFACE_VERSION.to_string())
            .replace("__SDK__", &dependency(&sdk))
            .replace("__TESTING__", &dependency(&sdk.join("testing")))
    };
    let files = TEMPLATE.map(|(path, text)| (path, filled(text)));
    for (_, descriptor) in files.iter().filter(|(path, _)| *path == "plugin.json") {
        PluginDescriptor::from_json(descriptor.as_bytes())?;
    }

    match fs::create_dir(&folder) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            bail!("'{}' already exists; nothing was written", folder.display())
        }
        Err(error) => return Err(error).with_context(|| format!("'{}' can't be created", folder.display())),
    }
    for (path, text) in &files {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap_or(&folder))
            .and_then(|()| fs::write(&path, text))
            .with_context(|| format!("'{}' can't be written", path.display()))?;
    }
    tell(&folder, name, &kind, &sdk);
    Ok(())
}

fn tell(folder: &Path, name: &str, kind: &RuntimeKind, sdk: &Path) {
    let folder = folder.display();
    say!("wrote '{folder}': plugin {name}, which runs the kind {kind}");
    say!("it uses the SDK in '{}'", sdk.display());
    say!(
        "it waits until a service is up, as an example; replace src/lib.rs and plugin.json by what yours does"
    );
    say!("next, test it and build it:");
    say!("  cargo test --manifest-path '{folder}/Cargo.toml'");
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
    if TAKEN.contains(&name) || KEYWORDS.contains(&name) {
        bail!(
            "'{name}' can't be a crate name, because Rust reserves it; choose another, such as '{name}-plugin'"
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

/// The SDK's folder: what was given, or `plugin-sdk` in it.
fn sdk_folder(given: &Path) -> Result<PathBuf> {
    let is_sdk = |folder: &PathBuf| {
        fs::read_to_string(folder.join("Cargo.toml"))
            .is_ok_and(|manifest| manifest.contains("name = \"executor-runtime-sdk\""))
    };
    let Some(folder) = [given.to_owned(), given.join("plugin-sdk")]
        .into_iter()
        .find(is_sdk)
    else {
        bail!(
            "no SDK in '{}': expected a checkout of executor-runtime, or its folder plugin-sdk",
            given.display()
        );
    };
    let folder = folder.canonicalize()?;
    if folder.to_str().is_none() {
        bail!(
            "'{}' can't be written to Cargo.toml because it is not valid UTF-8",
            folder.display()
        );
    }
    Ok(folder)
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
    fn names_are_what_cargo_and_the_host_take() {
        for good in ["a", "http", "word-count", "x2"] {
            check_name(good).unwrap();
        }
        for bad in [
            "",
            "Ab",
            "2x",
            "-x",
            "a_b",
            "a b",
            "../x",
            "ä",
            "test",
            "fn",
            "self",
            &"x".repeat(65),
        ] {
            check_name(bad).unwrap_err();
        }
        assert_eq!(kind("word-count", None).unwrap().as_str(), "word_count");
        for bad in ["subprocess", "limits", "plugin", "a-b", ""] {
            kind("x", Some(bad)).unwrap_err();
        }
        assert_eq!(type_name("word-count-2"), "WordCount2");
    }
}
