//! Which crate of the host may know which: the folder listing is the architecture.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What each crate of the host names of the others. An arrow that is missing here is a decision, not an oversight: the
/// carriers don't know each other, and nothing below the library knows the library.
const ARROWS: [(&str, &[&str]); 19] = [
    ("supervisor", &[]),
    ("authority", &[]),
    ("egress", &["authority"]),
    ("run", &["supervisor"]),
    ("config", &["authority"]),
    ("subprocess", &["run", "supervisor"]),
    ("recipe", &[]),
    ("plugin", &["config", "recipe", "run"]),
    ("component", &["config", "egress", "plugin", "run"]),
    ("native", &["config", "plugin", "run", "supervisor"]),
    ("", &["config", "plugin", "run", "subprocess", "supervisor"]),
    ("conformance", &[""]),
    ("service", &["", "run"]),
    ("server", &["", "run", "service"]),
    ("client", &[]),
    ("telemetry", &["run"]),
    ("command", &["", "client", "conformance", "native", "run"]),
    ("batch", &["", "command", "run", "service"]),
    (
        "engine",
        &[
            "",
            "batch",
            "command",
            "component",
            "native",
            "run",
            "server",
            "service",
            "telemetry",
        ],
    ),
];

/// What a crate must not have at any distance.
const NEVER: [(&str, &[&str]); 9] = [
    (
        "supervisor",
        &[
            "executor-runtime-protocol",
            "futures-core",
            "mio",
            "serde",
            "tokio",
        ],
    ),
    ("egress", &["executor-runtime-protocol", "wasmtime"]),
    ("recipe", &["hyper", "nix", "tokio", "wasmtime"]),
    ("run", &["hyper", "rustls", "wasmtime"]),
    ("config", &["hyper", "rustls", "tokio", "wasmtime"]),
    ("", &["hyper", "rustls", "wasmtime"]),
    ("service", &["axum", "hyper", "rustls", "wasmtime"]),
    ("client", &["axum", "executor-runtime", "rustls", "wasmtime"]),
    ("command", &["axum", "rusqlite", "rustls", "wasmtime"]),
];

/// The packages of the workspace and of the registry, and what each is built from; what only tests need is left out.
struct Graph {
    dependencies: BTreeMap<String, BTreeSet<String>>,
    host: BTreeSet<String>,
}

impl Graph {
    fn read() -> Self {
        let metadata = metadata();
        let packages = entries(&metadata["packages"]);
        let names: BTreeMap<_, _> = packages
            .iter()
            .map(|package| (text(&package["id"]), text(&package["name"])))
            .collect();
        let below = guest_build::workspace().join("host");
        let host = packages
            .iter()
            .filter(|package| std::path::Path::new(text(&package["manifest_path"])).starts_with(&below))
            .map(|package| text(&package["name"]).to_owned())
            .collect();
        let mut dependencies: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for node in entries(&metadata["resolve"]["nodes"]) {
            let built_from = entries(&node["deps"]).iter().filter(|dependency| {
                let kinds = entries(&dependency["dep_kinds"]);
                kinds.iter().any(|kind| kind["kind"] != "dev")
            });
            let of = dependencies
                .entry(names[text(&node["id"])].to_owned())
                .or_default();
            of.extend(built_from.map(|dependency| names[text(&dependency["pkg"])].to_owned()));
        }
        Self { dependencies, host }
    }

    /// Everything that a package is built from, and how it comes to that.
    fn reached<'a>(&'a self, package: &'a str) -> BTreeMap<&'a str, &'a str> {
        let mut reached = BTreeMap::new();
        let mut next = vec![package];
        while let Some(package) = next.pop() {
            for dependency in &self.dependencies[package] {
                if !reached.contains_key(dependency.as_str()) {
                    reached.insert(dependency.as_str(), package);
                    next.push(dependency);
                }
            }
        }
        reached
    }
}

/// What cargo says of the packages of the workspace and of the registry, for this system.
pub(super) fn metadata() -> Value {
    // Of the crates for other systems, none may be downloaded.
    let platform = format!("--filter-platform={}-unknown-linux-gnu", std::env::consts::ARCH);
    let output = guest_build::cargo_command()
        .args([
            "metadata",
            "--offline",
            "--locked",
            "--format-version=1",
            &platform,
        ])
        .current_dir(guest_build::workspace())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{said}"))
}

pub(super) fn entries(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

fn package(short: &str) -> String {
    match short {
        "" => "executor-runtime".to_owned(),
        short => format!("executor-runtime-{short}"),
    }
}

#[test]
fn the_crates_of_the_host_know_only_those_below_them() {
    let graph = Graph::read();
    let drawn: BTreeSet<_> = ARROWS.iter().map(|(short, _)| package(short)).collect();
    assert_eq!(drawn, graph.host, "every crate in host/ has a row");
    for (short, known) in ARROWS {
        let package_name = package(short);
        let direct: BTreeSet<_> = graph.dependencies[&package_name]
            .intersection(&graph.host)
            .cloned()
            .collect();
        let known: BTreeSet<_> = known.iter().map(|short| package(short)).collect();
        assert_eq!(direct, known, "{package_name}");
    }
}

#[test]
fn what_is_small_reaches_no_engine_and_what_is_a_leaf_no_async_runtime() {
    let graph = Graph::read();
    for (short, forbidden) in NEVER {
        let package = package(short);
        let reached = graph.reached(&package);
        for name in forbidden {
            assert!(
                graph.dependencies.contains_key(*name),
                "there is no package '{name}'"
            );
            if let Some(through) = reached.get(name) {
                panic!("{package} reaches {name} through {through}");
            }
        }
    }
}
