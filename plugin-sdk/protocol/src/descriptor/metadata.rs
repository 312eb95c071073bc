//! An invocation's metadata, seen by the plugin that is to run it.

use super::{HOST_NAMESPACES, MetadataKey, PluginDescriptor, ValueType, url};
use crate::{
    Problem,
    path::Path,
    problem::{MAX_PROBLEMS, shown_key},
    suggest,
};
use std::{collections::BTreeMap, fmt};

/// What is wrong with one metadata key of an invocation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize)]
pub struct MetadataProblem {
    /// The key.
    pub key: String,
    /// What is there, of bounded length.
    pub found: String,
    /// What should be there instead.
    pub expected: String,
}

/// One printable line: `http.url: found nothing, expected an absolute http or https URL (Where the request goes)`.
impl fmt::Display for MetadataProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, found, expected } = self;
        write!(f, "{}: found {found}, expected {expected}", shown_key(key))
    }
}

/// The same problem, seen in the whole invocation.
impl From<MetadataProblem> for Problem {
    fn from(problem: MetadataProblem) -> Self {
        let metadata = Path::Key(&Path::Root, "metadata");
        Self {
            pointer: Path::Key(&metadata, &problem.key).to_string(),
            found: problem.found,
            expected: problem.expected,
        }
    }
}

impl PluginDescriptor {
    /// Checks an invocation's metadata and fills in the defaults.
    ///
    /// Keys outside the plugin's namespaces (the parts before the first dot of the keys it declares) are the
    /// caller's own and pass through. Inside them an undeclared key is a problem: most likely it is a
    /// misspelt one.
    ///
    /// # Errors
    ///
    /// Every key that is wrong or missing; at most [`MAX_PROBLEMS`].
    pub fn check_metadata(
        &self,
        metadata: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, String>, Vec<MetadataProblem>> {
        let is_of_a_namespace = |key: &str| {
            self.metadata
                .keys()
                .any(|known| namespace(known) == namespace(key))
        };
        let given = metadata.iter().filter_map(|(key, value)| {
            let (found, expected) = match self.key(key) {
                Some(spec) => (spec.check(value).err()?, spec.expected()),
                None if is_of_a_namespace(key) => ("an unknown key".into(), self.known_keys(key)),
                None => return None,
            };
            Some(MetadataProblem {
                key: key.clone(),
                found,
                expected,
            })
        });
        let missing = self
            .metadata
            .iter()
            .filter(|(key, spec)| spec.required && !metadata.contains_key(*key))
            .map(|(key, spec)| MetadataProblem {
                key: key.clone(),
                found: "nothing".into(),
                expected: format!("{} ({})", spec.expected(), spec.help),
            });
        let problems: Vec<_> = given.chain(missing).take(MAX_PROBLEMS).collect();
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut filled = metadata.clone();
        for (key, spec) in &self.metadata {
            if let Some(default) = &spec.default {
                filled.entry(key.clone()).or_insert_with(|| default.clone());
            }
        }
        Ok(filled)
    }

    /// The URLs in checked metadata, each with its key: what the invocation lets the plugin reach. They
    /// all come from the invocation, for a `url` has no default. A template counts with the placeholders
    /// still in its path or query.
    pub fn urls<'m>(
        &'m self,
        metadata: &'m BTreeMap<String, String>,
    ) -> impl Iterator<Item = (&'m str, http::Uri)> {
        metadata.iter().filter_map(|(key, value)| {
            let spec = self.key(key)?;
            if spec.value_type != ValueType::Url {
                return None;
            }
            let url = url::parse(value, &spec.placeholders).ok()?;
            Some((key.as_str(), url))
        })
    }

    /// What is declared for `name`: by itself, else by the longest declared prefix.
    pub fn key(&self, name: &str) -> Option<&MetadataKey> {
        let prefixes = name
            .rmatch_indices('.')
            .filter(|(dot, _)| dot + 1 < name.len())
            .map(|(dot, _)| format!("{}.*", &name[..dot]));
        self.metadata
            .get(name)
            .or_else(|| prefixes.into_iter().find_map(|prefix| self.metadata.get(&prefix)))
    }

    /// What could have stood for the unknown key `name`.
    fn known_keys(&self, name: &str) -> String {
        // A declared prefix is compared with as many parts of the key.
        let candidates = self
            .metadata
            .keys()
            .filter_map(|key| match key.strip_suffix(".*") {
                None => Some((key.as_str(), name)),
                Some(prefix) => {
                    let parts = prefix.matches('.').count();
                    let (end, _) = name.match_indices('.').nth(parts)?;
                    Some((key.as_str(), &name[..end]))
                }
            });
        let close = candidates
            .filter_map(|(key, name)| {
                let stem = key.strip_suffix(".*").unwrap_or(key);
                suggest::distance(name, stem).map(|distance| (distance, key))
            })
            .min();
        match close {
            Some((_, key)) => format!("a key of plugin {}; did you mean {key:?}?", self.name),
            None => {
                let keys: Vec<_> = self.metadata.keys().map(String::as_str).take(20).collect();
                format!("a key of plugin {}: {}", self.name, keys.join(", "))
            }
        }
    }
}

/// The part before the first dot, if the key has one and the host leaves it to plugins.
fn namespace(key: &str) -> &str {
    let namespace = key.split_once('.').map_or("", |(namespace, _)| namespace);
    if HOST_NAMESPACES.contains(&namespace) {
        ""
    } else {
        namespace
    }
}
