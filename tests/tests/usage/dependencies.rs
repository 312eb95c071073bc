//! What comes from elsewhere: from the registry alone, and under licenses that `.cargo/deny.toml` allows.

use super::crate_graph::{entries, metadata};
use serde::Deserialize;
use spdx::{Expression, Licensee, ParseMode};
use std::fs;

/// What of `deny.toml` is checked here.
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
    let parse = |name: &String| Licensee::parse(name).unwrap_or_else(|error| panic!("{error}"));
    let allowed: Vec<Licensee> = deny.licenses.allow.iter().map(parse).collect();
    let metadata = metadata();
    let mut licenses = Vec::new();
    for package in entries(&metadata["packages"]) {
        let name = &package["name"];
        // Those without a source are this repository's.
        if let Some(source) = package["source"].as_str() {
            assert!(source.starts_with("registry+"), "{name} comes from {source}");
        }
        let license = package["license"]
            .as_str()
            .unwrap_or_else(|| panic!("{name} names no license"));
        let license = Expression::parse_mode(license, ParseMode::LAX);
        let license = license.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(
            is_allowed(&license, &allowed),
            "{name} is under '{license}', which .cargo/deny.toml does not allow"
        );
        licenses.push(license);
    }
    assert!(licenses.len() > 300, "{} packages", licenses.len());
    for needless in 0..allowed.len() {
        let mut fewer = allowed.clone();
        let removed = fewer.remove(needless);
        assert!(
            licenses.iter().any(|license| !is_allowed(license, &fewer)),
            "no dependency needs '{removed}': take it out of .cargo/deny.toml"
        );
    }
}

fn is_allowed(license: &Expression, allowed: &[Licensee]) -> bool {
    license.evaluate(|required| allowed.iter().any(|licensee| licensee.satisfies(required)))
}
