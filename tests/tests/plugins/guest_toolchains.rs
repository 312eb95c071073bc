//! The ways to build components: which one a machine uses, what goes wrong with them, and that components of
//! both are alike.
//!
//! A machine is made up of programs in a directory that is all of its `PATH`: nothing of this one is changed.

use executor_runtime_testing::{PluginHost, RuntimeResult, Status, assert_conforms};
use executor_runtime_tests::{Scene, eventually, fixtures, helper_binary};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, SystemTime},
};

/// A machine with these programs, where somebody asks for the toolchain that builds components.
struct Machine(Scene);

/// What came of it: `rustup`, `debian FOLDER`, or the error.
type Answer = Result<String, String>;

impl Machine {
    /// One with Rust, but without its target for components.
    fn new() -> Self {
        let scene = Scene::new();
        for name in ["bin", "log"] {
            fs::create_dir(scene.path(name)).unwrap();
        }
        let machine = Self(scene);
        let target = machine.0.path("target-libdir");
        machine.program("rustc", &format!("echo '{}'", target.display()));
        machine
    }

    /// With the program `name`, which logs its arguments first.
    fn program(&self, name: &str, script: &str) -> &Self {
        let log = self.0.path("log").join(name);
        let script = format!(
            "#!/bin/sh\nPATH=/usr/bin:/bin\necho \"$@\" >> '{}'\n{script}\n",
            log.display()
        );
        self.0.program(&format!("bin/{name}"), script);
        self
    }

    fn with_target(&self) -> &Self {
        fs::create_dir(self.0.path("target-libdir")).unwrap();
        self
    }

    /// With Debian's programs, and a compiler of this version in the packages.
    fn with_debian(&self, version: &str) -> &Self {
        self.program("apt-get", "case \"$*\" in *download*) for p in a b c d; do : > $p.deb; done;; esac")
            .program(
                "apt-cache",
                &format!(
                    "case \"$*\" in
                     *show*) printf 'Package: rustc-web\\nVersion: {version}+dfsg1-1\\n';;
                     *) printf 'libstd-rust-web-dev\\n  Depends: libx\\nlibx\\nlibc6\\n<virtual>\\nlibc6:i386\\n';;
                     esac"
                ),
            )
            .program("dpkg-query", "printf 'libc6 installed\\nlibx config-files\\n'")
            .program(
                "dpkg",
                &format!("mkdir -p \"$3/usr/bin\" && {}", compiler("$3/usr/bin/rustc", version)),
            )
    }

    /// With a toolchain that was unpacked before.
    fn with_unpacked(&self, version: &str) -> &Self {
        let bin = self.folder().join("usr/bin");
        fs::create_dir_all(&bin).unwrap();
        let rustc = bin.join("rustc");
        let made = Command::new("sh")
            .args(["-c", &compiler(&rustc.display().to_string(), version)])
            .status();
        assert!(made.unwrap().success());
        self
    }

    fn folder(&self) -> PathBuf {
        self.0.path("cache/executor-runtime-toolchains/rustc-web")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(helper_binary("xtask"));
        command
            .arg("toolchain")
            .env("PATH", self.0.path("bin"))
            .env("XDG_CACHE_HOME", self.0.path("cache"))
            .env("RUST_BACKTRACE", "0")
            .env_remove(guest_build::TOOLCHAIN_VARIABLE)
            .stdin(Stdio::null());
        command
    }

    fn answer(&self) -> Answer {
        answer(
            self.command()
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap(),
        )
    }

    fn answer_by(&self, toolchain: &str) -> Answer {
        let mut command = self.command();
        command.env(guest_build::TOOLCHAIN_VARIABLE, toolchain);
        answer(
            command
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap(),
        )
    }

    fn debian(&self) -> Answer {
        Ok(format!("debian {}", self.folder().display()))
    }

    /// With which arguments `program` was called.
    fn calls(&self, program: &str) -> Vec<String> {
        let log = fs::read_to_string(self.0.path("log").join(program)).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }
}

/// A command of the shell that makes a compiler.
fn compiler(path: &str, version: &str) -> String {
    format!("printf '#!/bin/sh\\necho rustc {version}\\n' > \"{path}\" && chmod 755 \"{path}\"")
}

fn answer(child: Child) -> Answer {
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().trim().to_owned();
    if output.status.success() {
        Ok(text(output.stdout))
    } else {
        Err(text(output.stderr))
    }
}

#[track_caller]
fn assert_error(answer: Answer, parts: &[&str]) {
    let error = answer.unwrap_err();
    for part in parts {
        assert!(error.contains(part), "no {part:?} in:\n{error}");
    }
}

#[test]
fn an_installed_target_is_used() {
    let machine = Machine::new();
    machine
        .with_target()
        .program("rustup", "exit 1")
        .with_unpacked("1.999.0");
    assert_eq!(machine.answer(), Ok("rustup".to_owned()));
    assert_eq!(machine.calls("rustup"), [""; 0]);
}

#[test]
fn a_missing_target_is_installed() {
    let machine = Machine::new();
    let target = machine.0.path("target-libdir");
    machine.program("rustup", &format!("echo info; mkdir '{}'", target.display()));
    assert_eq!(machine.answer(), Ok("rustup".to_owned()));
    assert_eq!(machine.calls("rustup"), ["target add wasm32-wasip2"]);
}

#[test]
fn where_the_target_cant_be_installed_debians_toolchain_is_used() {
    for rustup in ["exit 1", "exit 0"] {
        let machine = Machine::new();
        machine.program("rustup", rustup).with_unpacked("1.999.0");
        assert_eq!(machine.answer(), machine.debian());
        assert_eq!(machine.calls("rustup"), ["target add wasm32-wasip2"]);
    }
    let without_rustup = Machine::new();
    without_rustup.with_debian("1.999.0");
    assert_eq!(without_rustup.answer(), without_rustup.debian());
}

#[test]
fn a_variable_chooses_the_toolchain() {
    let machine = Machine::new();
    machine.with_target().with_unpacked("1.999.0");
    assert_eq!(machine.answer_by("debian"), machine.debian());
    assert_eq!(machine.answer_by("rustup"), Ok("rustup".to_owned()));
    assert_error(
        machine.answer_by("other"),
        &["EXECUTOR_RUNTIME_GUEST_TOOLCHAIN is 'other'; expected 'rustup' or 'debian'"],
    );
    let machine = Machine::new();
    machine.with_unpacked("1.999.0");
    assert_error(
        machine.answer_by("rustup"),
        &["rustup can't be started", "rustup target add wasm32-wasip2"],
    );
}

#[test]
fn without_any_toolchain_both_ways_are_told() {
    let machine = Machine::new();
    machine.program("rustup", "echo 'error: no network' >&2; exit 1");
    assert_error(
        machine.answer(),
        &[
            "Rust's target wasm32-wasip2 ('rustup target add wasm32-wasip2'",
            "Debian's packages of rustc-web (apt-get, dpkg, and a Debian source in /etc/apt)",
            "error: no network",
            "'rustup target add wasm32-wasip2' failed",
            "Debian's packages are out of reach",
            "apt-get can't be started",
        ],
    );
}

#[test]
fn only_what_is_missing_is_downloaded_and_once() {
    let machine = Machine::new();
    machine.with_debian("1.999.0");
    for _ in 0..2 {
        assert_eq!(machine.answer(), machine.debian());
    }
    let calls = machine.calls("apt-get");
    let downloads: Vec<_> = calls
        .iter()
        .filter_map(|call| call.split_once("download --quiet=2 "))
        .collect();
    let names: Vec<_> = downloads.iter().map(|(_, names)| *names).collect();
    assert_eq!(names, ["libstd-rust-web-dev libx rustc-web rust-web-src"]);
    let left: Vec<_> = fs::read_dir(machine.folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["usr"], "the packages are not kept");
}

#[test]
fn an_unpacked_toolchain_that_is_unusable_is_replaced() {
    let old = Machine::new();
    old.with_unpacked("1.63.0").with_debian("1.999.0");
    assert_eq!(old.answer(), old.debian());
    let broken = Machine::new();
    broken.with_unpacked("1.999.0").with_debian("1.999.0");
    fs::write(broken.folder().join("usr/bin/rustc"), "half a prog").unwrap();
    assert_eq!(broken.answer(), broken.debian());
    for machine in [old, broken] {
        assert_eq!(machine.calls("dpkg").len(), 4);
        // And is used from then on.
        assert_eq!(machine.answer(), machine.debian());
        assert_eq!(machine.calls("dpkg").len(), 4);
    }
}

#[test]
fn what_is_left_half_unpacked_is_not_used() {
    let machine = Machine::new();
    machine.with_debian("1.999.0");
    // As after a process that was killed.
    let partial = machine.folder().with_extension("partial").join("packages");
    fs::create_dir_all(&partial).unwrap();
    fs::write(partial.join("half.deb"), "half a pack").unwrap();
    assert_eq!(machine.answer(), machine.debian());
    assert_eq!(machine.calls("dpkg").len(), 4);
}

#[test]
fn a_failure_says_what_failed_and_leaves_nothing() {
    for (program, script, words) in [
        (
            "dpkg",
            "echo \"dpkg-deb: error: '$2' is truncated\" >&2; exit 2",
            &["dpkg failed (exit status: 2)", ".deb' is truncated"][..],
        ),
        (
            "apt-get",
            "case \"$*\" in *download*) echo 'E: Could not connect to mirror.example:80' >&2; exit 100;; esac",
            &[
                "apt-get failed (exit status: 100)",
                "E: Could not connect to mirror.example:80",
            ],
        ),
        (
            "apt-get",
            "case \"$*\" in *download*) : > a.deb;; esac",
            &["apt-get downloaded 1 of 4 packages"],
        ),
        (
            "dpkg",
            "mkdir -p \"$3/usr/bin\"",
            &[
                "the unpacked packages have no compiler for components",
                "usr/bin/rustc can't be started",
            ],
        ),
        (
            "dpkg-query",
            "exit 127",
            &["dpkg-query failed (exit status: 127)"],
        ),
    ] {
        let machine = Machine::new();
        machine.with_debian("1.999.0").program(program, script);
        assert_error(machine.answer(), words);
        let cache = machine.folder().parent().unwrap().to_owned();
        let left: Vec<_> = fs::read_dir(cache)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(left, ["rustc-web.lock"], "{program}");
        // The next attempt begins anew.
        machine.with_debian("1.999.0");
        assert_eq!(machine.answer(), machine.debian());
    }
}

#[test]
fn a_machine_whose_debian_has_no_such_package_says_so() {
    let unknown = Machine::new();
    unknown
        .with_debian("1.999.0")
        .program("apt-cache", "echo 'E: No packages found' >&2; exit 100");
    assert_error(unknown.answer(), &["apt has no package 'rustc-web'"]);

    let offline = Machine::new();
    offline
        .with_debian("1.999.0")
        .program("apt-cache", "exit 100")
        .program(
            "apt-get",
            "echo 'W: Temporary failure resolving mirror.example' >&2",
        );
    assert_error(
        offline.answer(),
        &["apt-get update failed: W: Temporary failure resolving mirror.example"],
    );

    let old = Machine::new();
    old.with_debian("1.63.0");
    assert_error(
        old.answer(),
        &["apt's newest rustc-web is 1.63.0+dfsg1-1, but Rust 1.95 or newer is required"],
    );
}

#[test]
fn a_source_that_is_down_does_no_harm_if_another_has_the_packages() {
    let machine = Machine::new();
    machine.with_debian("1.999.0").program(
        "apt-get",
        "case \"$*\" in
         *download*) for p in a b c d; do : > $p.deb; done;;
         *) echo 'E: The repository has no Release file' >&2; exit 100;;
         esac",
    );
    assert_eq!(machine.answer(), machine.debian());
}

#[test]
fn of_two_processes_one_unpacks_and_the_other_waits() {
    let machine = Machine::new();
    machine.with_debian("1.999.0").program(
        "apt-get",
        &format!(
            "case \"$*\" in *download*)
             while [ ! -e '{0}/go' ]; do sleep 0.01; done
             for p in a b c d; do : > $p.deb; done;;
             esac",
            machine.0.root().display()
        ),
    );
    let start = |name: &str| {
        let stderr = fs::File::create(machine.0.path(name)).unwrap();
        machine
            .command()
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .unwrap()
    };
    let first = start("first");
    eventually("the first one downloading", || {
        machine
            .calls("apt-get")
            .iter()
            .any(|call| call.contains("download"))
            .then_some(())
    });
    let second = start("second");
    eventually("the second one waiting", || {
        let said = fs::read_to_string(machine.0.path("second")).unwrap();
        said.contains("waiting for another process").then_some(())
    });
    machine.0.file("go", "");
    assert_eq!(answer(first), machine.debian());
    assert_eq!(answer(second), machine.debian());
    assert_eq!(machine.calls("dpkg").len(), 4);
}

/// The fixture plugin as a component: with the toolchain of this machine, and with Debian's.
fn components() -> Vec<PathBuf> {
    let mut components = vec![fixtures::component("fixture-greet")];
    components.extend(fixtures::component_of_debian("fixture-greet"));
    components
}

fn run(component: &Path, metadata: &[(&str, &str)]) -> RuntimeResult {
    let host = PluginHost::new(component);
    let invocation = metadata
        .iter()
        .fold(host.invocation(), |invocation, (key, value)| {
            invocation.metadata(key, value)
        });
    host.run(invocation)
}

#[test]
fn a_panic_tells_its_text_whichever_toolchain_built_it() {
    let at = "panicked at tests/fixtures/plugins/greet/src/lib.rs:";
    // Of a long one the host keeps the end; it is more than one write to stderr takes.
    let long = "x".repeat(10_000);
    for component in components() {
        for (text, words) in [
            ("the sky is falling", [at, "the sky is falling"]),
            (&long, ["xxx", "xxx"]),
        ] {
            let result = run(&component, &[("greet.name", &format!("panic: {text}"))]);
            assert_eq!(result.status, Status::Failed);
            assert_eq!(result.metadata["error.kind"], "plugin_crashed");
            let summary = result.error_summary.unwrap();
            let expected = "plugin 'greet' panicked or aborted: ";
            assert!(summary.starts_with(expected), "{summary}");
            for words in words {
                assert!(summary.contains(words), "{summary}");
            }
        }
    }
}

#[test]
fn both_clocks_go_whichever_toolchain_built_it() {
    for component in components() {
        let result = run(&component, &[("greet.name", "x"), ("greet.sleep", "0.05")]);
        let seconds = |key: &str| Duration::from_secs_f64(result.metadata[key].parse().unwrap());
        assert!(seconds("greet.slept") >= Duration::from_millis(50), "{result:?}");
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        assert!(
            now.abs_diff(seconds("greet.time")) < Duration::from_secs(60),
            "{result:?}"
        );
    }
}

#[test]
fn components_conform_whichever_toolchain_built_them() {
    for component in components() {
        assert_conforms(&component);
    }
}
