//! What the file alone tells: which check a reason not to use it belongs to, and what to do about it.

use super::{CheckName, Verdict};
use executor_runtime::{
    config::trust::FileError,
    plugin::{Found, State, Unusable},
};
use std::collections::BTreeMap;

/// The checks of the file, in the order in which the host looks.
const ORDER: [CheckName; 6] = [
    CheckName::File,
    CheckName::Format,
    CheckName::Descriptor,
    CheckName::Interface,
    CheckName::Imports,
    CheckName::Configuration,
];

/// The verdicts on the file; what comes after a failure has none.
pub(super) fn verdicts(found: &Found) -> BTreeMap<CheckName, Verdict> {
    let failed = match &found.state {
        State::Usable(_) => None,
        State::Unusable(reason) => Some((place(reason), reason)),
    };
    let mut verdicts = BTreeMap::new();
    for name in ORDER {
        match failed {
            Some((place, reason)) if place == name => {
                verdicts.insert(name, Verdict::failed(format!("it {reason}"), remedy(reason)));
                return verdicts;
            }
            _ => verdicts.insert(name, Verdict::Passed),
        };
    }
    verdicts
}

fn place(reason: &Unusable) -> CheckName {
    match reason {
        Unusable::File(_) | Unusable::Exhausted(_) | Unusable::Empty | Unusable::Changed => CheckName::File,
        Unusable::WrongFormat { .. }
        | Unusable::Damaged(_)
        | Unusable::CoreModule
        | Unusable::WrongArchitecture { .. } => CheckName::Format,
        Unusable::NoDescriptor { .. } | Unusable::InvalidDescriptor(_) | Unusable::Recipe(_) => {
            CheckName::Descriptor
        }
        Unusable::PreRelease | Unusable::Interface { .. } => CheckName::Interface,
        Unusable::UnknownImport(_) | Unusable::MissingExport(_) => CheckName::Imports,
        Unusable::OtherDigest { .. }
        | Unusable::Disabled(_)
        | Unusable::SameKind { .. }
        | Unusable::Shadowed { .. } => CheckName::Configuration,
        Unusable::Load(_) => CheckName::Loads,
    }
}

fn remedy(reason: &Unusable) -> String {
    match reason {
        Unusable::File(FileError::Unreadable(_) | FileError::System(_)) => {
            "give the path of a file that this user may read".into()
        }
        Unusable::Exhausted(_) => "give the host more of it, and check again".into(),
        Unusable::File(FileError::NotAFile) => "give the path of the plugin file itself".into(),
        Unusable::File(error @ FileError::WritableByOthers { .. }) => error.remedy().unwrap_or_default(),
        Unusable::File(error @ FileError::ForeignOwner { .. }) => {
            let command = error.remedy().unwrap_or_default();
            format!("{command}, or copy the plugin to a directory of yours")
        }
        Unusable::Empty | Unusable::Damaged(_) => {
            "rebuild it, or download it again".into()
        }
        Unusable::Changed => "check it again once it is no longer being written".into(),
        Unusable::WrongFormat { .. } => {
            "name a component *.wasm or a native plugin *.so, as `executor-runtime plugin build` does, and a recipe \
             *.kind.toml"
                .into()
        }
        Unusable::CoreModule => {
            "build it for the target wasm32-wasip2, as `executor-runtime plugin build` does".into()
        }
        Unusable::WrongArchitecture { .. } => {
            "build it on this kind of machine, or ship the component, which runs on every machine".into()
        }
        Unusable::NoDescriptor { .. } => {
            "call export_runner! once in the crate, with plugin.json beside its Cargo.toml; for a component built by \
             another toolchain, use `executor-runtime plugin embed`"
                .into()
        }
        Unusable::InvalidDescriptor(_) => {
            "fix plugin.json as described; `executor-runtime schema descriptor` prints what is allowed, and the test \
             that export_runner! adds to the crate finds this before a build"
                .into()
        }
        Unusable::Recipe(_) => "fix the file as described; plugins/recipes/README.md shows a whole recipe".into(),
        Unusable::PreRelease => {
            "rebuild it with the current plugin-sdk or against the current wit/; the interface will not change again"
                .into()
        }
        Unusable::Interface { .. } => "update the host, or build the plugin with the SDK of this host's version".into(),
        Unusable::UnknownImport(_) => {
            "build it with the SDK or against the package in wit/, and remove imports beyond WASI 0.2".into()
        }
        Unusable::MissingExport(_) => {
            "call export_runner! in the crate's library, or export the interface `run` of wit/".into()
        }
        Unusable::OtherDigest { .. } => "verify where the file comes from, then update the pin".into(),
        Unusable::Disabled(name) => format!("set enabled = true under [plugins.{name}]"),
        Unusable::SameKind { .. } | Unusable::Shadowed { .. } => "remove one of the two files".into(),
        Unusable::Load(_) => "build it with the SDK and the toolchain that `executor-runtime plugin build` uses".into(),
    }
}
