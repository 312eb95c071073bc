//! What comes from elsewhere: from the registry alone, and under licenses that `.cargo/deny.toml` allows.

use super::crate_graph::{entries, metadata};
use serde::Deserialize;
use spdx::{Expression, Licensee};
use std::fs;

/// What of `deny.toml` is checked here; the rest is `cargo deny check`'s.
#[derive(Deserialize)]
struct Deny {
    licenses: Licenses,
}

#[derive(Deserialize)]
struct Licenses {
    allow: Vec<String>,
}

#[test]
fn dependencies_are_the_registrys_and_have_licenses_that_are_allowed() {
    let path = guest_build::workspace().join(".cargo/deny.toml");
    let deny: Deny = toml::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let allowed: Vec<Licensee> = deny
        .licenses
        .allow
        .iter()
        .map(|name| Licensee::parse(name).unwrap_or_else(|error| panic!("{error}")))
        .collect();
    let metadata = metadata();
    let mut used = vec![false; allowed.len()];
    let mut checked = 0;
    for package in entries(&metadata["packages"]) {
        // Those without a source are this repository's.
        let Some(source) = package["source"].as_str() else {
            continue;
        };
        let name = &package["name"];
        assert!(source.starts_with("registry+"), "{name} comes from {source}");
        let license = package["license"]
            .as_str()
            .unwrap_or_else(|| panic!("{name} names no license"));
        let expression = Expression::parse_mode(license, spdx::ParseMode::LAX)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let is_allowed = expression.evaluate(|required| {
            let found = allowed.iter().position(|licensee| licensee.satisfies(required));
            found.inspect(|found| used[*found] = true).is_some()
        });
        assert!(
            is_allowed,
            "{name} is under '{license}', which .cargo/deny.toml does not allow"
        );
        checked += 1;
    }
    assert!(checked > 300, "{checked} packages");
    for (licensee, is_used) in allowed.iter().zip(used) {
        assert!(
            is_used,
            "no dependency is under '{licensee}': take it out of .cargo/deny.toml"
        );
    }
}
