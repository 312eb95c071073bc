//! One bad file never stops the rest: each is listed with its reason, nothing of a plugin runs for that, and
//! what can be used is used.

use executor_runtime::{
    Host,
    config::{Config, trust::FileError},
    plugin::{Found, State, Unusable, discover},
    protocol::{RuntimeInvocation, RuntimeKind, Status},
};
use executor_runtime_component::{CodeCache, Components, Mode};
use executor_runtime_tests::{descriptors::behaviours_with, fixtures};
use std::{
    fs::{self, File, Permissions},
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    pin::pin,
    process::Command,
    task::{Context, Waker},
};

/// A plugins directory that is being filled.
struct Directory(tempfile::TempDir);

impl Directory {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().to_owned()
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        path
    }

    /// A plugin named `name` with the kinds `kinds`.
    fn plugin(&self, name: &str, kinds: &[&str]) -> PathBuf {
        self.write(
            &format!("{name}.wasm"),
            &behaviours_with(&descriptor(name, kinds, "1.0")),
        )
    }

    fn list(&self) -> Vec<Found> {
        self.list_with("")
    }

    fn list_with(&self, config: &str) -> Vec<Found> {
        discover(&[self.path()], &Config::parse(config, "c.toml").unwrap())
    }
}

fn descriptor(name: &str, kinds: &[&str], interface: &str) -> String {
    serde_json::json!({
        "name": name, "version": "1.2.3", "kinds": kinds, "interface": interface, "summary": "A test",
        "metadata": {"fixture.behaviour": {"type": "string", "required": true, "help": "What to do"}},
    })
    .to_string()
}

fn component() -> Vec<u8> {
    fs::read(fixtures::component("fixture-behaviours")).unwrap()
}

fn replaced(mut bytes: Vec<u8>, from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut count = 0;
    for at in 0..bytes.len() - from.len() {
        if bytes[at..].starts_with(from.as_bytes()) {
            bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
            count += 1;
        }
    }
    assert!(count > 0, "{from} is not there");
    bytes
}

fn reason(found: &Found) -> String {
    match &found.state {
        State::Usable(kinds) => format!("runs {kinds:?}"),
        State::Unusable(reason) => reason.to_string(),
    }
}

#[test]
fn every_bad_file_is_listed_with_its_reason_and_the_good_one_works() {
    let directory = Directory::new();
    let own = fs::read(std::env::current_exe().unwrap()).unwrap();
    directory.plugin("good", &["good"]);
    directory.write("a_empty.wasm", b"");
    directory.write("a_text.wasm", b"not a component");
    directory.write("a_truncated.wasm", &component()[..5000]);
    directory.write("a_header.wasm", &component()[..6]);
    directory.write("a_module.wasm", b"\0asm\x01\0\0\0");
    directory.write("a_component.wasm", b"\0asm\x0d\0\x01\0");
    directory.write(
        "a_import.wasm",
        &replaced(component(), "wasi:io/poll@0.2.12", "acme:io/poll@0.2.12"),
    );
    directory.write(
        "a_export.wasm",
        &replaced(
            component(),
            "executor-runtime:plugin/run@1.0.0",
            "executor-runtime:plugin/job@1.0.0",
        ),
    );
    directory.write(
        "a_newer.wasm",
        &behaviours_with(&descriptor("newer", &["newer"], "1.7")),
    );
    directory.write(
        "a_major.wasm",
        &behaviours_with(&descriptor("major", &["major"], "2.0")),
    );
    directory.write("a_json.wasm", &behaviours_with("{"));
    directory.write(
        "a_reserved.wasm",
        &behaviours_with(&descriptor("reserved", &["subprocess"], "1.0")),
    );
    directory.write("b_empty.so", b"");
    directory.write("b_text.so", b"not a library");
    directory.write("b_truncated.so", &own[..2000]);
    directory.write("b_header.so", &own[..40]);
    directory.write("b_program.so", &own);
    let mut foreign = own.clone();
    foreign[18] = 243;
    directory.write("b_foreign.so", &foreign);
    fs::create_dir(directory.path().join("c_directory.wasm")).unwrap();
    symlink("nowhere", directory.path().join("c_dangling.wasm")).unwrap();
    nix::unistd::mkfifo(
        &directory.path().join("c_fifo.wasm"),
        nix::sys::stat::Mode::S_IRWXU,
    )
    .unwrap();
    let sparse = File::create(directory.path().join("c_sparse.wasm")).unwrap();
    sparse.set_len(1 << 30).unwrap();
    let loose = directory.plugin("c_loose", &["loose"]);
    fs::set_permissions(&loose, Permissions::from_mode(0o666)).unwrap();
    directory.write("readme.txt", b"not looked at");

    let started = std::time::Instant::now();
    let list = directory.list();
    eprintln!("listed {} files in {:?}", list.len(), started.elapsed());
    let table: Vec<(String, String)> = list
        .iter()
        .map(|found| {
            (
                found.path.file_name().unwrap().to_string_lossy().into_owned(),
                reason(found),
            )
        })
        .collect();
    for (name, expected) in [
        (
            "a_component.wasm",
            "is not a plugin: it has no descriptor (section 'executor-runtime.plugin')",
        ),
        ("a_empty.wasm", "is empty"),
        ("a_header.wasm", "is damaged"),
        (
            "a_import.wasm",
            "imports 'acme:io/poll@0.2.12', which this host does not provide",
        ),
        (
            "a_export.wasm",
            "does not export 'executor-runtime:plugin/run@1.0.0', which the host requires",
        ),
        ("a_json.wasm", "has an invalid descriptor: "),
        (
            "a_major.wasm",
            "needs plugin interface 2.0, and this host speaks 1.1; update the host",
        ),
        ("a_module.wasm", "is a core module, not a component; "),
        (
            "a_newer.wasm",
            "needs plugin interface 1.7, and this host speaks 1.1; update the host",
        ),
        ("a_reserved.wasm", "has an invalid descriptor: "),
        ("a_text.wasm", "is not a WebAssembly component"),
        ("a_truncated.wasm", "is damaged: it is truncated"),
        ("b_empty.so", "is empty"),
        ("b_foreign.so", "is built for riscv, and this host is "),
        ("b_header.so", "is damaged: it is truncated"),
        (
            "b_program.so",
            "is not a plugin: it has no descriptor (section '.executor_runtime_plugin')",
        ),
        ("b_text.so", "is not a shared library (ELF)"),
        ("b_truncated.so", "is damaged: it is truncated"),
        ("c_dangling.wasm", "can't be read: no such file or directory"),
        ("c_directory.wasm", "is not a regular file"),
        ("c_fifo.wasm", "is not a regular file"),
        (
            "c_loose.wasm",
            "is not trusted, because other users can write to '",
        ),
        ("c_sparse.wasm", "is not a WebAssembly component"),
        ("good.wasm", "runs [RuntimeKind(\"good\")]"),
    ] {
        let (_, found) = table.iter().find(|(file, _)| file == name).expect(name);
        assert!(found.starts_with(expected), "{name}: {found}");
    }
    assert_eq!(table.len(), 24, "{table:?}");
}

#[test]
fn what_others_could_replace_is_refused() {
    let directory = Directory::new();
    directory.plugin("a", &["a"]);
    let mode = |mode| fs::set_permissions(directory.path(), Permissions::from_mode(mode)).unwrap();
    for loose in [0o777, 0o770] {
        mode(loose);
        let list = directory.list();
        assert!(
            matches!(&list[0].state, State::Unusable(Unusable::File(FileError::WritableByOthers { path, .. }))
                if *path == directory.path().canonicalize().unwrap()),
            "{}",
            reason(&list[0])
        );
    }
    mode(0o755);
    assert!(matches!(directory.list()[0].state, State::Usable(_)));
    // A link is judged by what it leads to.
    let elsewhere = Directory::new();
    symlink(
        directory.path().join("a.wasm"),
        elsewhere.path().join("link.wasm"),
    )
    .unwrap();
    assert!(matches!(elsewhere.list()[0].state, State::Usable(_)));
    mode(0o777);
    assert!(matches!(
        elsewhere.list()[0].state,
        State::Unusable(Unusable::File(FileError::WritableByOthers { .. }))
    ));
}

#[test]
fn of_two_files_for_one_kind_neither_is_used_and_both_are_named() {
    let directory = Directory::new();
    let one = directory.plugin("one", &["shared", "only_one"]);
    let two = directory.plugin("two", &["shared"]);
    directory.plugin("three", &["three"]);
    let list = directory.list();
    let text: Vec<_> = list.iter().map(reason).collect();
    assert!(
        text[0].contains("kind 'shared'") && text[0].contains(&two.display().to_string()),
        "{text:?}"
    );
    assert_eq!(text[1], "runs [RuntimeKind(\"three\")]");
    assert!(text[2].contains(&one.display().to_string()), "{text:?}");
}

#[test]
fn the_first_directory_wins() {
    let (first, second) = (Directory::new(), Directory::new());
    let winner = first.plugin("x", &["shared"]);
    second.plugin("y", &["shared", "extra"]);
    second.plugin("z", &["shared"]);
    let missing = first.path().join("missing");
    let config = Config::default();
    // Two in the second directory: neither, although the first has it.
    let list = discover(&[missing.clone(), first.path(), second.path()], &config);
    assert!(matches!(
        list[1].state,
        State::Unusable(Unusable::SameKind { .. })
    ));
    fs::remove_file(second.path().join("z.wasm")).unwrap();
    let list = discover(&[missing, first.path(), second.path()], &config);
    assert_eq!(reason(&list[0]), "runs [RuntimeKind(\"shared\")]");
    assert_eq!(reason(&list[1]), "runs [RuntimeKind(\"extra\")]");
    second.plugin("y", &["shared"]);
    let list = discover(&[first.path(), second.path()], &config);
    assert_eq!(
        reason(&list[1]),
        format!("is shadowed: kind 'shared' is taken by '{}'", winner.display())
    );
}

#[test]
fn the_operator_disables_and_pins() {
    let directory = Directory::new();
    let path = directory.plugin("a", &["a"]);
    assert!(reason(&directory.list_with("plugins.a.enabled = false")[0]).starts_with("is disabled"));
    let zeros = "0".repeat(64);
    let other = directory.list_with(&format!("plugins.a.sha256 = \"{zeros}\""));
    assert!(reason(&other[0]).contains(&format!("the configuration pins {zeros}")));
    let digest = Command::new("sha256sum").arg(&path).output().unwrap();
    let digest = String::from_utf8(digest.stdout[..64].to_vec()).unwrap();
    let pinned = directory.list_with(&format!("plugins.a.sha256 = \"{digest}\""));
    assert!(
        matches!(pinned[0].state, State::Usable(_)),
        "{}",
        reason(&pinned[0])
    );
}

#[test]
fn listing_a_library_runs_nothing_of_it() {
    let directory = Directory::new();
    let marker = directory.path().join("marker");
    let source = directory.path().join("plugin.rs");
    let descriptor = descriptor("native", &["native"], "1.0");
    fs::write(
        &source,
        format!(
            r##"
            const DESCRIPTOR: &[u8] = br#"{descriptor}"#;
            #[unsafe(link_section = ".executor_runtime_plugin")] #[used]
            static SECTION: [u8; DESCRIPTOR.len()] = {{
                let mut bytes = [0; DESCRIPTOR.len()];
                let mut i = 0;
                while i < bytes.len() {{ bytes[i] = DESCRIPTOR[i]; i += 1; }}
                bytes
            }};
            #[unsafe(link_section = ".init_array")] #[used]
            static RUN: extern "C" fn() = {{
                extern "C" fn run() {{ std::fs::write({marker:?}, "ran").unwrap(); }}
                run
            }};
            #[unsafe(no_mangle)] pub extern "C" fn entry() -> usize {{ SECTION.len() }}
            "##
        ),
    )
    .unwrap();
    let library = directory.path().join("libnative.so");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let built = Command::new(rustc)
        .args(["--edition=2024", "--crate-type=cdylib", "-o"])
        .args([&library, &source])
        .status()
        .unwrap();
    assert!(built.success());
    fs::set_permissions(&library, Permissions::from_mode(0o755)).unwrap();
    let list = directory.list();
    assert_eq!(reason(&list[0]), "runs [RuntimeKind(\"native\")]");
    assert!(!marker.exists());
}

#[test]
fn fifty_plugins_are_listed_quickly() {
    let directory = Directory::new();
    for i in 0..50 {
        directory.plugin(&format!("p{i}"), &[&format!("kind_{i}")]);
    }
    let started = std::time::Instant::now();
    let list = directory.list();
    eprintln!("50 plugins listed in {:?}", started.elapsed());
    assert!(list.iter().all(|found| matches!(found.state, State::Usable(_))));
}

fn invocation(kind: &str, directory: &Path, behaviour: Option<&str>) -> RuntimeInvocation {
    let mut metadata = serde_json::json!({});
    if let Some(behaviour) = behaviour {
        metadata["fixture.behaviour"] = behaviour.into();
    }
    let document = serde_json::json!({
        "invocation_id": "run-1", "runtime_name": "tests", "runtime_kind": kind,
        "working_directory": directory, "command": ["run"], "metadata": metadata,
    });
    RuntimeInvocation::from_json(document.to_string().as_bytes()).unwrap()
}

fn host(directory: &Directory, config: &str) -> Host {
    let cache = CodeCache::new(directory.path().join("cache"));
    Host::builder()
        .config(Config::parse(config, "c.toml").unwrap())
        .plugins_in(vec![directory.path()])
        .carrier(|_| Components::new(Mode::OneShot, cache))
        .build()
        .unwrap()
}

#[test]
fn a_file_that_is_dropped_in_runs_its_kind() {
    let directory = Directory::new();
    directory.plugin("fixture", &["fixture"]);
    let bad = directory.write("bad.wasm", &behaviours_with(&descriptor("bad", &["bad"], "1.0")));
    fs::set_permissions(&bad, Permissions::from_mode(0o666)).unwrap();
    let runtime = host(
        &directory,
        "plugins.fixture.config = { key = \"from the operator\" }",
    );
    assert!(runtime.kinds().contains(&RuntimeKind::new("fixture").unwrap()));
    let run = |kind, behaviour| runtime.run_blocking(invocation(kind, &directory.path(), behaviour));

    let result = run("fixture", Some("config"));
    assert_eq!(result.status, Status::Succeeded, "{result:?}");
    assert_eq!(result.exit_code, Some(0));
    assert_eq!(result.metadata["value"], "from the operator");
    assert_eq!(result.metadata["plugin.name"], "fixture");
    assert_eq!(result.metadata["plugin.version"], "1.2.3");
    assert_eq!(result.metadata["plugin.carrier"], "component");
    assert_eq!(result.metadata["plugin.sha256"].len(), 64);

    let result = run("fixture", None);
    assert_eq!(result.status, Status::Rejected);
    assert_eq!(result.metadata["error.kind"], "invalid_metadata");
    assert!(
        result
            .error_summary
            .unwrap()
            .contains("fixture.behaviour: found nothing")
    );

    let result = run("fixture", Some("reject"));
    assert_eq!(result.status, Status::Rejected);
    assert_eq!(result.error_summary.as_deref(), Some("there is nothing to do"));

    let result = run("unheard_of", None);
    assert_eq!(result.metadata["error.kind"], "no_runner");
    assert_eq!(
        result.error_summary.as_deref(),
        Some(
            "no runner registered for runtime_kind='unheard_of'; the kinds here are fixture, subprocess; \
             1 plugin file can't be used, `plugin list` says why"
        )
    );
    let result = run("fixture", Some("panic"));
    assert_eq!(result.metadata["error.kind"], "plugin_crashed");
}

#[tokio::test]
async fn what_runs_a_kind_is_known_at_once_where_the_directories_were_read_before() {
    let directory = Directory::new();
    directory.plugin("good", &["good"]);
    let host = host(&directory, "");
    let invocation = invocation("missing", &directory.path(), None);
    assert_eq!(host.run(invocation.clone()).await.status, Status::Rejected);
    let again = pin!(host.run(invocation));
    let polled = again.poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled.is_ready(), "it waits for something");
}

#[test]
fn a_plugin_that_cant_be_used_says_why_when_it_is_needed() {
    let directory = Directory::new();
    let path = directory.plugin("fixture", &["fixture"]);
    let runtime = host(&directory, "plugins.fixture.enabled = false");
    let result = runtime.run_blocking(invocation("fixture", &directory.path(), Some("ok")));
    assert_eq!(result.status, Status::Rejected);
    assert_eq!(result.metadata["error.kind"], "plugin_unusable");
    let summary = result.error_summary.unwrap();
    assert!(
        summary.contains(&path.display().to_string()) && summary.contains("is disabled"),
        "{summary}"
    );
}

#[test]
fn an_unknown_kind_is_told_alone_where_every_file_was_read() {
    let directory = Directory::new();
    directory.plugin("fixture", &["fixture"]);
    let runtime = host(&directory, "plugins.fixture.enabled = false");
    let result = runtime.run_blocking(invocation("unheard_of", &directory.path(), None));
    assert_eq!(
        (
            result.metadata["error.kind"].as_str(),
            result.error_summary.as_deref()
        ),
        (
            "no_runner",
            Some("no runner registered for runtime_kind='unheard_of'; the kinds here are subprocess")
        )
    );
    let result = runtime.run_blocking(invocation("subproces", &directory.path(), None));
    let summary = result.error_summary.unwrap();
    assert!(summary.contains("did you mean 'subprocess'?"), "{summary}");
}

#[test]
fn a_file_that_is_replaced_after_listing_does_not_run() {
    let directory = Directory::new();
    directory.plugin("fixture", &["fixture"]);
    let runtime = host(&directory, "");
    assert_eq!(runtime.plugins().list().len(), 1);
    let other = behaviours_with(&descriptor("other", &["fixture"], "1.0"));
    directory.write("fixture.wasm", &other);
    let result = runtime.run_blocking(invocation("fixture", &directory.path(), Some("ok")));
    assert_eq!(result.metadata["error.kind"], "plugin_unusable");
    assert!(
        result
            .error_summary
            .unwrap()
            .contains("changed while the host was running")
    );
}

#[test]
fn a_plugin_of_the_first_interface_keeps_running() {
    let directory = Directory::new();
    directory.write(
        "first.wasm",
        &fs::read(fixtures::component("fixture-first-interface")).unwrap(),
    );
    let runtime = host(&directory, "");
    let mut invocation = invocation("first_interface", &directory.path(), None);
    assert_eq!(runtime.run_blocking(invocation.clone()).status, Status::Rejected);
    invocation.metadata.insert("first.word".into(), "hello".into());
    let result = runtime.run_blocking(invocation);
    assert_eq!(result.status, Status::Succeeded, "{result:?}");
    assert_eq!(result.metadata["word"], "hello");
    assert_eq!(result.metadata["facts"], "(None, false, 2000000000, false)");
    assert_eq!(result.metadata["checkpoint"], "Ok(()) None");
    assert_eq!(
        result.metadata["reopened"],
        "artifact 'other' can't be reopened: this run does not go on from an interrupted one, of which `resumed` has \
         the checkpoint; create it"
    );
    assert_eq!(fs::read_to_string(&result.artifacts[0].path).unwrap(), "hello");
}
