//! Builds, demonstrates and tests executor-runtime: `cargo xtask demo`, `cargo xtask test`.

mod authors;
mod demo;
mod package;
mod plugins;
mod server;
mod soak;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use guest_build::{TOOLCHAIN_VARIABLE, Toolchain};
use std::process::Command;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Build the host and the official plugins, and run an invocation of each kind
    Demo,
    /// Run all tests
    Test {
        /// Arguments for `cargo test`
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Build the official plugins into target/plugins, where a host in target/release finds them
    Plugins,
    /// Find the toolchain that builds components, install it if it is missing, and print which it is
    Toolchain,
    /// Repeat the tests about many kills, runs and races
    Soak {
        /// How often
        #[arg(long, default_value_t = 20)]
        rounds: u32,
    },
    /// Make a new plugin in each language in an empty home, run, test and install it, and print what each step takes
    Authors {
        /// Languages; all by default
        languages: Vec<String>,
        /// Have cargo download all crates, instead of using those that this machine has
        #[arg(long)]
        download: bool,
    },
    /// Pack the crates for authors of plugins, and build each from its package
    Package,
    /// What CI runs: formatting, clippy with warnings denied, all tests, packages, documentation
    Ci,
}

fn main() -> Result<()> {
    match Arguments::parse().task {
        Task::Demo => demo::demo(),
        Task::Plugins => plugins::build_all().map(drop),
        Task::Test { arguments } => test(&arguments),
        Task::Toolchain => Toolchain::get().map(|toolchain| println!("{toolchain}")),
        Task::Soak { rounds } => soak::soak(rounds),
        Task::Authors { languages, download } => authors::authors(&languages, download),
        Task::Package => package::package(),
        Task::Ci => ci(),
    }
}

/// The host's executables.
const SMALL: &str = "executor-runtime";
const ENGINE: &str = "executor-runtime-engine";

/// Builds one of the host's executables. The selection is the whole workspace, as it is for the tests, so that cargo
/// settles the features of all dependencies once, and no build compiles any of them again.
fn build_executable(name: &str) -> Result<()> {
    cargo(&["build", "--release", "--workspace", "--bin", name])
}

/// All tests, with the one profile that everything is built with.
fn test(arguments: &[String]) -> Result<()> {
    build_for_tests()?;
    let mut all = vec!["test", "--release", "--workspace"];
    all.extend(arguments.iter().map(String::as_str));
    // Looked for once: where rustup's server can't be reached, finding that out takes its time.
    let toolchain = Toolchain::get()?;
    let mut test = guest_build::cargo_command();
    test.args(all).env(TOOLCHAIN_VARIABLE, toolchain.name());
    run(test)
}

/// The end-to-end tests run the host and the helpers, which `cargo test` does not know they need.
fn build_for_tests() -> Result<()> {
    cargo(&["build", "--release", "--workspace", "--bins"])
}

fn ci() -> Result<()> {
    cargo(&["fmt", "--all", "--check"])?;
    cargo(&[
        "clippy",
        "--release",
        "--workspace",
        "--all-targets",
        "--",
        "--deny",
        "warnings",
    ])?;
    test(&[])?;
    package::package()?;
    documentation()
}

fn documentation() -> Result<()> {
    let mut doc = guest_build::cargo_command();
    doc.args(["doc", "--release", "--workspace", "--no-deps"])
        .env("RUSTDOCFLAGS", "--deny warnings");
    run(doc)
}

fn cargo(arguments: &[&str]) -> Result<()> {
    let mut cargo = guest_build::cargo_command();
    cargo.args(arguments);
    run(cargo)
}

fn run(mut command: Command) -> Result<()> {
    command.current_dir(guest_build::workspace());
    eprintln!("$ {}", shown(&command));
    let status = command
        .status()
        .with_context(|| format!("{} can't be started", shown(&command)))?;
    if !status.success() {
        bail!("{} failed: {status}", shown(&command));
    }
    Ok(())
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}
