//! `plugin new`: a plugin that builds, and passes its own test at once.

use super::{
    python,
    sdk::{self, Carried},
};
use crate::{
    Executable,
    args::{Language, NewOptions},
};
use anyhow::{Context, Result, bail};
use executor_runtime::protocol::{HOST_NAMESPACES, INTERFACE_VERSION, PluginDescriptor, RuntimeKind};
use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

/// The crate, with words in capitals for what is filled in.
const RUST: [(&str, &str); 5] = [
    ("Cargo.toml", include_str!("template/Cargo.toml.in")),
    ("plugin.json", include_str!("template/plugin.json.in")),
    (".gitignore", include_str!("template/gitignore.in")),
    ("src/lib.rs", include_str!("template/src/lib.rs.in")),
    ("tests/plugin.rs", include_str!("template/tests/plugin.rs.in")),
];

/// The folder of a plugin in Python.
const PYTHON: [(&str, &str); 5] = [
    ("plugin.py", include_str!("template/python/plugin.py.in")),
    ("plugin.json", include_str!("template/plugin.json.in")),
    (".gitignore", include_str!("template/python/gitignore.in")),
    (
        "test_plugin.py",
        include_str!("template/python/test_plugin.py.in"),
    ),
    ("README.md", include_str!("template/python/README.md.in")),
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

/// Where the SDK goes in a new crate that has one of its own.
const OWN_SDK: &str = "vendor/executor-runtime";

/// The SDK that a new plugin uses.
enum Sdk {
    /// In this folder.
    At(PathBuf),
    /// Written into the plugin's own crate, which then needs nothing else of ours.
    Own(Carried),
    /// Written into the folder of a plugin in Python.
    Python(Carried),
}

impl Sdk {
    fn of(options: &NewOptions, executable: Executable) -> Result<Self> {
        if options.lang == Language::Python {
            if options.sdk.is_some() {
                bail!(
                    "--sdk is for plugins in Rust: one in Python gets the SDK that this executable carries"
                );
            }
            return Ok(Self::Python(Carried::by(executable)?));
        }
        match &options.sdk {
            Some(given) => Ok(Self::At(sdk::named(given)?)),
            None => match sdk::beside_executable() {
                Some(folder) => Ok(Self::At(folder)),
                None => Ok(Self::Own(Carried::by(executable)?)),
            },
        }
    }

    /// Its folder, as a path that Cargo.toml may have.
    fn folder(&self) -> PathBuf {
        match self {
            Self::At(folder) => folder.clone(),
            Self::Own(_) => Path::new(OWN_SDK).join("plugin-sdk"),
            Self::Python(_) => python::SDK.into(),
        }
    }
}

pub(super) fn new(options: &NewOptions, executable: Executable) -> Result<()> {
    let name = options.name.as_str();
    check_name(name)?;
    if options.lang == Language::Rust {
        check_crate_name(name)?;
    }
    let kind = kind(name, options.kind.as_deref())?;
    let sdk = Sdk::of(options, executable)?;
    let into = options.into.clone().unwrap_or_default();
    let folder = into.join(name);
    let filled = |text: &str| {
        text.replace("__NAME__", name)
            .replace("__KIND__", kind.as_str())
            .replace("__TYPE__", &type_name(name))
            .replace("__INTERFACE__", &INTERFACE_VERSION.to_string())
            .replace("__SDK__", &dependency(&sdk.folder()))
            .replace("__TESTING__", &dependency(&sdk.folder().join("testing")))
            .replace("__COMPONENTIZE__", python::COMPONENTIZE)
    };
    let template = match options.lang {
        Language::Rust => RUST,
        Language::Python => PYTHON,
    };
    let files = template.map(|(path, text)| (path, filled(text)));
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
    match &sdk {
        Sdk::At(_) => {}
        Sdk::Own(carried) => carried.write_crates(&folder.join(OWN_SDK))?,
        Sdk::Python(carried) => carried.write_python(&folder.join(python::SDK))?,
    }
    tell(&folder, name, &kind, &sdk);
    Ok(())
}

fn tell(folder: &Path, name: &str, kind: &RuntimeKind, sdk: &Sdk) {
    let folder = folder.display();
    say!("wrote '{folder}': plugin {name}, which runs the kind {kind}");
    let source = match sdk {
        Sdk::At(sdk) => {
            say!("it uses the SDK in '{}'", sdk.display());
            "src/lib.rs"
        }
        Sdk::Own(_) => {
            say!("it has the SDK of this executable in '{folder}/{OWN_SDK}'");
            "src/lib.rs"
        }
        Sdk::Python(_) => {
            say!("it has the SDK of this executable in '{folder}/{}'", python::SDK);
            "plugin.py"
        }
    };
    say!("it greets, as an example; replace {source} and plugin.json by what yours does");
    say!("next:");
    if let Sdk::Python(_) = sdk {
        say!(
            "  python3 -m venv '{folder}/.venv' && '{folder}/.venv/bin/pip' install componentize-py=={}",
            python::COMPONENTIZE
        );
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

fn check_crate_name(name: &str) -> Result<()> {
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
            check_crate_name(good).unwrap();
        }
        for bad in ["", "Ab", "2x", "-x", "a_b", "a b", "../x", "ä", &"x".repeat(65)] {
            check_name(bad).unwrap_err();
        }
        for reserved in ["test", "fn", "self"] {
            check_name(reserved).unwrap();
            check_crate_name(reserved).unwrap_err();
        }
        assert_eq!(kind("word-count", None).unwrap().as_str(), "word_count");
        for bad in ["subprocess", "limits", "plugin", "a-b", ""] {
            kind("x", Some(bad)).unwrap_err();
        }
        assert_eq!(type_name("word-count-2"), "WordCount2");
    }
}
