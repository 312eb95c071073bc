//! Why a plugin file can't be used, and what to do about it.

use executor_runtime_config::trust::FileError;
use executor_runtime_protocol::{INTERFACE_VERSION, InterfaceVersion, RuntimeKind};
use executor_runtime_run::{ErrorKind, Failure};
use std::{
    io,
    path::{Path, PathBuf},
};

/// Why a file in a plugins directory is not a plugin that can be used. Each is a sentence that goes after the
/// file's path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// It can't be read, or others could have written it.
    #[error(transparent)]
    File(FileError),
    /// Nothing is in it.
    #[error("is empty")]
    Empty,
    /// It does not begin as its extension promises.
    #[error("is not a {expected}")]
    WrongFormat {
        /// What it should be.
        expected: &'static str,
    },
    /// It breaks off, or its headers make no sense.
    #[error("is damaged: {0}")]
    Damaged(String),
    /// A WebAssembly module without a component around it.
    #[error(
        "is a core module, not a component; build it for the target wasm32-wasip2, or wrap it with 'wasm-tools \
         component new'"
    )]
    CoreModule,
    /// A library for another machine.
    #[error("is built for {found}, and this host is {host}")]
    WrongArchitecture {
        /// What the file is for.
        found: String,
        /// What the host is.
        host: &'static str,
    },
    /// No descriptor is embedded.
    #[error(
        "is not a plugin: it has no descriptor (section '{section}'); the SDK's export_runner! embeds plugin.json, \
         and `plugin embed` does it for a component of another toolchain"
    )]
    NoDescriptor {
        /// Where it should be.
        section: &'static str,
    },
    /// The descriptor breaks the rules.
    #[error("has an invalid descriptor: {0}")]
    InvalidDescriptor(String),
    /// The file of a recipe that can't be used.
    #[error("is not a recipe that can be used: {0}")]
    Recipe(String),
    /// Made before interface 1.0 was published, and of another shape.
    #[error("was built for a pre-release interface; rebuild it with the current plugin-sdk")]
    PreRelease,
    /// Made for a host that speaks another interface.
    #[error("needs plugin interface {needs}, and this host speaks {speaks}; {advice}", speaks = INTERFACE_VERSION, advice = advice(*.needs))]
    Interface {
        /// What it was built for.
        needs: InterfaceVersion,
    },
    /// It imports what no host of this version offers.
    #[error("imports '{0}', which this host does not provide")]
    UnknownImport(String),
    /// It does not export what the host calls.
    #[error("does not export '{0}', which the host requires")]
    MissingExport(String),
    /// Not the file that the operator pinned.
    #[error(
        "has SHA-256 {found}, but the configuration pins {pinned}; verify where it comes from, then update the pin"
    )]
    OtherDigest {
        /// The file's.
        found: String,
        /// The configuration's.
        pinned: String,
    },
    /// The operator turned it off.
    #[error("is disabled: [plugins.{0}] in the configuration has enabled = false")]
    Disabled(String),
    /// Another file of the same directory has the same kind.
    #[error("offers kind '{kind}', as does '{}' in the same directory; remove one of them", other.display())]
    SameKind {
        /// The kind.
        kind: RuntimeKind,
        /// The other file.
        other: PathBuf,
    },
    /// Files in directories that come before have all of its kinds.
    #[error("is shadowed: kind '{kind}' is taken by '{}'", by.display())]
    Shadowed {
        /// The kind.
        kind: RuntimeKind,
        /// The file that has it.
        by: PathBuf,
    },
    /// It changed after it was listed.
    #[error("changed while the host was running; restart the host")]
    Changed,
    /// The host has not enough left of something to read or load it.
    #[error("can't be read or loaded now: {0}")]
    Exhausted(String),
    /// It does not load.
    #[error("can't be loaded: {0}")]
    Load(String),
}

impl From<FileError> for Unusable {
    fn from(error: FileError) -> Self {
        let exhausted = match error {
            FileError::System(code) => Failure::of_exhaustion(&io::Error::from_raw_os_error(code)),
            _ => None,
        };
        match exhausted {
            Some(failure) => Self::Exhausted(failure.summary),
            None => Self::File(error),
        }
    }
}

impl Unusable {
    /// For the reason that the host is out of something, if this error says so; else because it can't be read.
    pub(crate) fn unreadable(error: &io::Error) -> Self {
        FileError::from(error).into()
    }

    /// The host has not enough left of something.
    pub fn exhausted(error: &io::Error) -> Self {
        Self::Exhausted(Failure::exhausted(error).summary)
    }

    /// Why nothing runs that needs the plugin `name`, whose file is at `path`.
    pub fn failure(&self, name: &str, path: &Path) -> Failure {
        match self {
            Self::Exhausted(summary) => Failure::new(ErrorKind::HostExhausted, summary.clone()),
            _ => Failure::new(
                ErrorKind::PluginUnusable,
                format!("plugin '{name}': '{}' {self}", path.display()),
            ),
        }
    }
}

fn advice(needs: InterfaceVersion) -> &'static str {
    if needs >= INTERFACE_VERSION {
        "update the host"
    } else {
        "build the plugin with a newer SDK"
    }
}
