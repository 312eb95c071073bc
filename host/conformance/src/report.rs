//! What a check found.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

macro_rules! check_names {
    ($( $(#[doc = $doc:literal])+ $variant:ident => $name:literal, $promise:literal; )+) => {
        /// One thing that is checked.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum CheckName {
            $( $(#[doc = $doc])+ $variant, )+
        }

        impl CheckName {
            /// Every check, in the order of the report.
            pub const ALL: &'static [Self] = &[ $( Self::$variant, )+ ];

            /// Its name for machines.
            pub fn as_str(self) -> &'static str {
                match self {
                    $( Self::$variant => $name, )+
                }
            }

            /// What is true of a plugin that passes.
            pub fn promise(self) -> &'static str {
                match self {
                    $( Self::$variant => $promise, )+
                }
            }
        }
    };
}

check_names! {
    /// Who could have written the file.
    File => "file", "is readable, and not writable by other users";
    /// What kind of file it is.
    Format => "format", "is a component, or a shared library for this machine";
    /// The embedded `plugin.json`.
    Descriptor => "descriptor", "has a valid descriptor";
    /// The interface that it was built for.
    Interface => "interface", "was built for an interface that this host speaks";
    /// What it asks the host for, and offers it.
    Imports => "imports", "imports and exports only what the host supports";
    /// What the operator says about it.
    Configuration => "configuration", "is allowed by the configuration";
    /// It compiles and links, or opens.
    Loads => "loads", "loads";
    /// The least that an invocation can give.
    MinimalMetadata => "minimal_metadata", "ends in time, without crashing, given only the required keys";
    /// The most that an invocation can give.
    EveryKey => "every_key", "ends in time, without crashing, given every key";
    /// Unusual text.
    OddText => "odd_text", "handles empty, long and non-English text";
    /// A required key is left out.
    MissingKey => "missing_key", "rejects an invocation without a required key";
    /// A key is misspelt.
    UnknownKey => "unknown_key", "rejects a misspelled key";
    /// The deadline passes while a server is silent.
    Deadline => "deadline", "returns within its grace period when its deadline passes";
    /// It is told to stop while a server is silent.
    Stop => "stop", "returns within its grace period when it is told to stop";
}

impl CheckName {
    /// Whether it is a check for recipes, too, which have no code.
    pub fn applies_to_recipes(self) -> bool {
        matches!(
            self,
            Self::File | Self::Format | Self::Descriptor | Self::Configuration | Self::Loads
        )
    }
}

impl serde::Serialize for CheckName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl fmt::Display for CheckName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a check ended.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// It is as it should be.
    Passed,
    /// It is not.
    Failed {
        /// What was found.
        reason: String,
        /// What to do about it.
        remedy: String,
    },
    /// It could not be looked at.
    Skipped {
        /// Why not.
        reason: String,
    },
}

impl Verdict {
    pub(super) fn failed(reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Failed {
            reason: reason.into(),
            remedy: remedy.into(),
        }
    }

    pub(super) fn skipped(reason: impl Into<String>) -> Self {
        Self::Skipped {
            reason: reason.into(),
        }
    }
}

/// One check and how it ended.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Check {
    /// What was checked.
    pub name: CheckName,
    /// What is true of a plugin that passes.
    pub promise: &'static str,
    /// How it ended.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// Every check of one file.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    /// The file.
    pub path: PathBuf,
    /// Whether no check failed.
    pub passed: bool,
    /// Every check, in the order of [`CheckName::ALL`].
    pub checks: Vec<Check>,
    /// Whether it is a recipe, which is data and never runs.
    #[serde(skip)]
    pub is_recipe: bool,
}

impl Report {
    /// The verdicts in order; a check without one was skipped, because `otherwise`.
    pub(super) fn new(path: &Path, mut verdicts: BTreeMap<CheckName, Verdict>, otherwise: &str) -> Self {
        let checks: Vec<_> = CheckName::ALL
            .iter()
            .map(|&name| Check {
                name,
                promise: name.promise(),
                verdict: verdicts
                    .remove(&name)
                    .unwrap_or_else(|| Verdict::skipped(otherwise)),
            })
            .collect();
        let failed = |check: &Check| matches!(check.verdict, Verdict::Failed { .. });
        Self {
            path: path.to_owned(),
            passed: !checks.iter().any(failed),
            checks,
            is_recipe: false,
        }
    }

    /// The same of a recipe.
    pub(super) fn of_recipe(
        path: &Path,
        mut verdicts: BTreeMap<CheckName, Verdict>,
        otherwise: &str,
    ) -> Self {
        verdicts.retain(|name, _| name.applies_to_recipes());
        let mut report = Self::new(path, verdicts, otherwise);
        report.is_recipe = true;
        for check in &mut report.checks {
            check.promise = match check.name {
                CheckName::Format => "is a recipe",
                CheckName::Loads => "has a base that is here and takes what the recipe sets",
                _ => check.promise,
            };
        }
        report
    }

    /// How one check ended.
    pub fn verdict(&self, name: CheckName) -> Option<&Verdict> {
        let check = self.checks.iter().find(|check| check.name == name)?;
        Some(&check.verdict)
    }
}
