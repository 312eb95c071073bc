//! Builds, demonstrates and tests executor-runtime: `cargo xtask demo`, `cargo xtask test`.

mod arguments;
mod authors;
mod demo;
mod package;
mod plugins;
mod scratch;
mod server;
mod soak;

use anyhow::{Context, Result, bail};
use arguments::Task;
use guest_build::{TOOLCHAIN_VARIABLE, Toolchain};
use std::process::Command;

fn main() -> Result<()> {
    match arguments::read()? {
        Task::Demo => demo::demo(),
        Task::Plugins => plugins::build_all().map(drop),
        Task::Test { arguments } => test(&arguments),
        Task::Toolchain => Toolchain::get().map(|toolchain| println!("{toolchain}")),
        Task::Soak { rounds } => soak::soak(rounds),
        Task::Authors { languages, download } => authors::authors(&languages, download),
        Task::Package => package::package(),
        Task::Ci => ci(),
        Task::Help => {
            print!("{}", arguments::HELP);
            Ok(())
        }
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
