//! The version of the interface between host and plugin.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::fmt;

/// The interface that this crate describes: the newest that a host built with it can load.
pub const INTERFACE_VERSION: InterfaceVersion = InterfaceVersion { major: 1, minor: 1 };

/// The newest version that has a form of its own for components: 1.1 added nothing that a sandboxed component may do, so
/// `wit/` is that of 1.0.
pub const COMPONENT_INTERFACE_VERSION: InterfaceVersion = InterfaceVersion { major: 1, minor: 0 };

/// A version of the plugin interface, written `major.minor`. A new minor version adds to the one before; a
/// new major version replaces it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceVersion {
    /// Changes when older plugins would no longer load.
    pub major: u32,
    /// Changes when something is added.
    pub minor: u32,
}

impl InterfaceVersion {
    /// The version that `text` writes, such as `1.0`.
    pub fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        let version = Self {
            major: major.parse().ok()?,
            minor: minor.parse().ok()?,
        };
        // One spelling for a version: no signs, no leading zeros.
        (version.to_string() == text).then_some(version)
    }

    /// Whether a host that speaks `host` can load a plugin that was built for this version.
    pub fn loads_in(self, host: Self) -> bool {
        self.major == host.major && self.minor <= host.minor
    }
}

impl fmt::Display for InterfaceVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl Serialize for InterfaceVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for InterfaceVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom("expected an interface version, such as \"1.0\""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_has_one_spelling() {
        for text in ["1.0", "0.0", "12.34", "4294967295.0"] {
            assert_eq!(InterfaceVersion::parse(text).unwrap().to_string(), text);
        }
        for text in [
            "",
            "1",
            "1.",
            ".1",
            "1.0.0",
            "01.0",
            "1.00",
            "+1.0",
            "1.-0",
            "4294967296.0",
            "v1.0",
        ] {
            assert_eq!(InterfaceVersion::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_host_loads_its_own_and_older_minor_versions() {
        let version = |text| InterfaceVersion::parse(text).unwrap();
        assert!(version("1.0").loads_in(version("1.0")));
        assert!(version("1.0").loads_in(version("1.3")));
        assert!(!version("1.4").loads_in(version("1.3")));
        assert!(!version("1.0").loads_in(version("2.0")));
        assert!(!version("2.0").loads_in(version("1.0")));
    }
}
