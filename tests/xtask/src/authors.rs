//! From nothing to a running plugin, as an author in each language does it on a machine that has the host's executables and
//! the language's tools, and nothing else of this project.
//!
//! Home, cargo's home, the plugins directory and the cache are empty. Each step is timed on its own; what a language's tool
//! takes to be installed, and what the crates of the SDK take to be built, is told apart from what is promised.

use crate::{ENGINE, SMALL, build_executable, scratch::Scratch};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};

/// How a plugin in a language comes to be.
struct Language {
    name: &'static str,
    /// Words of `plugin new`.
    new: &'static [&'static str],
    /// Installs the tool that makes components, in the plugin's folder. Empty where it is the language's own.
    install_tool: &'static str,
    /// Builds what the plugin and every other one depend on. Empty where there is nothing.
    build_dependencies: &'static str,
    /// Seconds that are promised from `plugin new` to the first result.
    promised: u64,
}

const LANGUAGES: [Language; 4] = [
    Language {
        name: "rust",
        new: &["--lang", "rust"],
        install_tool: "",
        build_dependencies: "executor-runtime plugin build --component && rm -rf target/plugins && touch src/lib.rs",
        promised: 60,
    },
    Language {
        name: "python",
        new: &["--lang", "python"],
        install_tool: "python3 -m venv .venv && .venv/bin/pip install --quiet componentize-py==0.25.1",
        build_dependencies: "",
        promised: 30,
    },
    Language {
        name: "javascript",
        new: &["--lang", "javascript"],
        install_tool: "npm install --no-audit --no-fund --silent",
        build_dependencies: "",
        promised: 60,
    },
    Language {
        name: "c",
        new: &["--lang", "c"],
        install_tool: "python3 -m venv .venv && .venv/bin/pip install --quiet ziglang==0.17.1",
        build_dependencies: "",
        promised: 20,
    },
];

/// Where an author is.
struct Place {
    home: Scratch,
    path: OsString,
}

/// Goes through the steps in the languages with these names, or in all; with `download`, cargo starts without the crates that
/// this machine has.
pub(crate) fn authors(names: &[String], download: bool) -> Result<()> {
    if let Some(unknown) = names
        .iter()
        .find(|name| LANGUAGES.iter().all(|language| language.name != **name))
    {
        let known = LANGUAGES.each_ref().map(|language| language.name).join(", ");
        bail!("no language '{unknown}': expected some of {known}");
    }
    for name in [SMALL, ENGINE] {
        build_executable(name)?;
    }
    for language in &LANGUAGES {
        if names.is_empty() || names.iter().any(|name| name == language.name) {
            from_nothing(language, download).with_context(|| format!("in {}", language.name))?;
        }
    }
    Ok(())
}

fn from_nothing(language: &Language, download: bool) -> Result<()> {
    let place = Place::new(download)?;
    println!("{}", language.name);
    let new = [&["plugin", "new", "greeter"], language.new].concat();
    let mut taken = place
        .step("executor-runtime plugin new", &mut place.host(&new))?
        .0;
    for (what, script) in [
        ("(install the tool)", language.install_tool),
        ("(build the crates of the SDK)", language.build_dependencies),
    ] {
        if !script.is_empty() {
            place.step(what, place.command("sh").args(["-c", script]))?;
        }
    }
    let (time, output) = place.step(
        "executor-runtime plugin dev",
        &mut place.host(&["plugin", "dev", "--once", "-m", "greet.name=Ada"]),
    )?;
    taken += time;
    greets(&output)?;
    println!(
        "  {:<34} {:>7.1} s of {} s that are promised",
        "to the first result",
        taken.as_secs_f64(),
        language.promised
    );
    place.step(
        "executor-runtime plugin test",
        &mut place.host(&["plugin", "test"]),
    )?;
    let build = ["plugin", "build", "--component"];
    let (_, built) = place.step("executor-runtime plugin build", &mut place.host(&build))?;
    place.step(
        "executor-runtime plugin install",
        &mut place.host(&["plugin", "install"]),
    )?;
    let run = ["run", "--kind", "greeter", "-m", "greet.name=Ada"];
    let (_, output) = place.step("executor-runtime run", &mut place.host(&run))?;
    let text = greets(&output)?;
    let built: Value = serde_json::from_slice(&built.stdout).context("`plugin build` printed no JSON")?;
    let bytes = built[0]["bytes"].as_u64().unwrap_or_default();
    println!("  {:<34} {text}, by a plugin of {} KB\n", "result", bytes / 1000);
    Ok(())
}

/// What a run's result greets with.
fn greets(output: &Output) -> Result<String> {
    let result: Value = serde_json::from_slice(&output.stdout).context("it printed no result")?;
    match (
        result["status"].as_str(),
        result["metadata"]["greet.text"].as_str(),
    ) {
        (Some("succeeded"), Some(text)) => Ok(text.to_owned()),
        _ => bail!("the run did not succeed: {result:#}"),
    }
}

impl Place {
    fn new(download: bool) -> Result<Self> {
        let home = Scratch::new("authors")?;
        let executables = home.path().join("bin");
        fs::create_dir(&executables)?;
        let built = guest_build::target_directory().join("release");
        for name in [SMALL, ENGINE] {
            fs::copy(built.join(name), executables.join(name))?;
        }
        let cargo_home = home.path().join(".cargo");
        fs::create_dir(&cargo_home)?;
        let crates = cargo_home_of_this_machine().join("registry");
        if !download && crates.is_dir() {
            std::os::unix::fs::symlink(crates, cargo_home.join("registry"))?;
            println!("cargo has the crates that this machine has downloaded");
        }
        let of_this_machine = env::var_os("PATH").unwrap_or_default();
        let path = [executables]
            .into_iter()
            .chain(tools())
            .chain(env::split_paths(&of_this_machine));
        let path = env::join_paths(path)?;
        Ok(Self { home, path })
    }

    /// A program in the plugin's folder, or in the home as long as there is none.
    fn command(&self, program: &str) -> Command {
        let home = self.home.path();
        let plugin = home.join("greeter");
        let mut command = Command::new(program);
        guest_build::without_outer_cargo(&mut command);
        for (name, _) in env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"EXECUTOR_RUNTIME_") {
                command.env_remove(name);
            }
        }
        command
            .current_dir(if plugin.is_dir() { &plugin } else { home })
            .env("PATH", &self.path)
            .env("HOME", home)
            .env("CARGO_HOME", home.join(".cargo"))
            .env("RUSTUP_HOME", rustup_home())
            .env_remove("CARGO_TARGET_DIR");
        for name in [
            "XDG_CACHE_HOME",
            "XDG_CONFIG_HOME",
            "XDG_DATA_HOME",
            "XDG_STATE_HOME",
        ] {
            command.env_remove(name);
        }
        command
    }

    fn host(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(SMALL);
        command.args(arguments);
        command
    }

    /// Runs a step to its end, which has to be a good one, and prints how long it took.
    fn step(&self, what: &str, command: &mut Command) -> Result<(Duration, Output)> {
        let begun = Instant::now();
        let output = command
            .output()
            .with_context(|| format!("{what} can't be started"))?;
        let taken = begun.elapsed();
        if !output.status.success() {
            bail!(
                "{what} failed: {}\n{}{}",
                output.status,
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
        }
        println!("  {what:<34} {:>7.1} s", taken.as_secs_f64());
        Ok((taken, output))
    }
}

fn home_of_this_machine() -> PathBuf {
    env::var_os("HOME").map_or_else(|| "/".into(), PathBuf::from)
}

pub(crate) fn cargo_home_of_this_machine() -> PathBuf {
    env::var_os("CARGO_HOME").map_or_else(|| home_of_this_machine().join(".cargo"), PathBuf::from)
}

/// Where rustup keeps what it has installed; without rustup, nothing looks there.
fn rustup_home() -> PathBuf {
    env::var_os("RUSTUP_HOME").map_or_else(|| home_of_this_machine().join(".rustup"), PathBuf::from)
}

/// Where Python really is. What stands for it in `PATH` may look for it in the user's home.
fn tools() -> Option<PathBuf> {
    let script = "import os, sys; print(os.path.dirname(os.path.realpath(sys.executable)))";
    let output = Command::new("python3").args(["-c", script]).output().ok()?;
    let folder = String::from_utf8(output.stdout).ok()?;
    Some(Path::new(folder.trim()).to_owned()).filter(|folder| folder.is_dir())
}
