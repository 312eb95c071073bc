//! One suite for all languages: the examples in `plugin-sdk/examples` are built as their authors would build them, and the
//! same invocations have the same results. Rust is there twice, once for each carrier.

use super::{guest_languages, resumable_artifacts::download_survives};
use executor_runtime_protocol::{RuntimeResult, Status};
use executor_runtime_tests::{
    Invocation, examples,
    home::Home,
    installed::Installed,
    not_tested,
    scripted::{Answer, Request, Scripted},
};
use std::{
    fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
    sync::LazyLock,
    thread,
};

/// The examples in one language.
struct Language {
    name: &'static str,
    file: PathBuf,
    /// How many bytes of a body its download reads at a time.
    read: usize,
}

/// Builds the examples in a language. None where this machine can't.
type Build = fn() -> Option<PathBuf>;

/// The name of a language, what builds its examples, and how many bytes its download reads at a time.
const BUILDERS: [(&str, Build, usize); 5] = [
    (
        "Rust, a component",
        || Some(examples::rust_component()),
        16 * 1024,
    ),
    ("Rust, native", || Some(examples::rust_native()), 16 * 1024),
    ("Python", examples::python, 64 * 1024),
    ("JavaScript", examples::javascript, 64 * 1024),
    ("C", examples::c, 16 * 1024),
];

/// Those that can be built on this machine; each that can't says so.
fn languages() -> &'static [Language] {
    static BUILT: LazyLock<Vec<Language>> = LazyLock::new(|| {
        let building: Vec<_> = BUILDERS
            .into_iter()
            .map(|(name, build, read)| {
                thread::spawn(move || build().map(|file| checked(Language { name, file, read })))
            })
            .collect();
        building
            .into_iter()
            .filter_map(|one| one.join().unwrap())
            .collect()
    });
    &BUILT
}

/// Keeps the promises of every plugin. What is compiled for it is compiled for the suite.
fn checked(language: Language) -> Language {
    let home = Home::new();
    let file = language.file.display().to_string();
    let report = guest_languages::run(&home, &["plugin", "check", &file])
        .succeeds()
        .json();
    assert_eq!(report["passed"], true, "{}: {report:#}", language.name);
    language
}

/// What is done in every language, and comes to the same.
struct Case {
    name: &'static str,
    kind: &'static str,
    /// `SERVER` stands for the server's address.
    metadata: &'static [(&'static str, &'static str)],
    server: fn(&Request, usize) -> Answer,
    /// What the server was asked.
    asked: &'static [&'static str],
    status: Status,
    error: &'static str,
    exit_code: Option<i64>,
    receipt: &'static [(&'static str, &'static str)],
    /// Name, kind and bytes.
    artifacts: &'static [(&'static str, &'static str, &'static str)],
}

const CASE: Case = Case {
    name: "",
    kind: "outcomes",
    metadata: &[],
    server: |_, _| Answer::new(404, "nothing here"),
    asked: &[],
    status: Status::Succeeded,
    error: "",
    exit_code: None,
    receipt: &[],
    artifacts: &[],
};

const CASES: [Case; 19] = [
    Case {
        name: "greet",
        kind: "greet",
        metadata: &[("greet.name", "Zoë 😀")],
        receipt: &[("greet.text", "Hello, Zoë 😀!")],
        ..CASE
    },
    Case {
        name: "a key that is missing",
        kind: "greet",
        status: Status::Rejected,
        error: "invalid_metadata",
        ..CASE
    },
    Case {
        name: "a request that is tried again",
        kind: "fetch",
        metadata: &[("fetch.url", "SERVER/page?a=b")],
        server: |_, number| match number {
            0 => Answer::new(503, "later").header("retry-after", "0"),
            1 => Answer::new(500, "broken"),
            _ => Answer::new(200, "page"),
        },
        asked: &["GET /page?a=b", "GET /page?a=b", "GET /page?a=b"],
        exit_code: Some(200),
        receipt: &[("fetch.bytes", "4")],
        artifacts: &[("body", "response_body", "page")],
        ..CASE
    },
    Case {
        name: "a request that is given up",
        kind: "fetch",
        metadata: &[("fetch.url", "SERVER/"), ("fetch.retries", "1")],
        server: |_, _| Answer::new(429, "later"),
        asked: &["GET /", "GET /"],
        status: Status::Failed,
        error: "http_status",
        exit_code: Some(429),
        ..CASE
    },
    Case {
        name: "a server that asks for too long a wait",
        kind: "fetch",
        metadata: &[("fetch.url", "SERVER/")],
        server: |_, _| Answer::new(503, "later").header("retry-after", "3600"),
        asked: &["GET /"],
        status: Status::Failed,
        error: "http_status",
        exit_code: Some(503),
        ..CASE
    },
    Case {
        name: "a page that is not there",
        kind: "fetch",
        metadata: &[("fetch.url", "SERVER/")],
        asked: &["GET /"],
        status: Status::Failed,
        error: "http_status",
        exit_code: Some(404),
        ..CASE
    },
    Case {
        name: "a redirect",
        kind: "fetch",
        metadata: &[("fetch.url", "SERVER/a/b")],
        server: |request, _| match request.target.as_str() {
            "/a/b" => Answer::new(302, "").header("location", "../c"),
            _ => Answer::new(200, "page"),
        },
        asked: &["GET /a/b", "GET /c"],
        exit_code: Some(200),
        receipt: &[("fetch.bytes", "4")],
        artifacts: &[("body", "response_body", "page")],
        ..CASE
    },
    Case {
        name: "a redirect with dots in its fragment",
        kind: "fetch",
        metadata: &[("fetch.url", "SERVER/a/x")],
        server: |request, _| match request.target.as_str() {
            "/a/x" => Answer::new(302, "").header("location", "b#/../../c"),
            _ => Answer::new(200, "page"),
        },
        asked: &["GET /a/x", "GET /a/b"],
        exit_code: Some(200),
        receipt: &[("fetch.bytes", "4")],
        artifacts: &[("body", "response_body", "page")],
        ..CASE
    },
    Case {
        name: BEFORE_DEADLINE,
        kind: "fetch",
        metadata: &[("fetch.url", "SERVER/")],
        server: |_, _| Answer::new(503, "later").header("retry-after", "60"),
        asked: &["GET /"],
        status: Status::Failed,
        error: "http_status",
        exit_code: Some(503),
        ..CASE
    },
    Case {
        name: "a server that is not there",
        kind: "fetch",
        metadata: &[("fetch.url", "http://127.0.0.1:9/"), ("fetch.retries", "0")],
        status: Status::Failed,
        error: "network",
        ..CASE
    },
    Case {
        name: "a request that takes too long",
        kind: "fetch",
        metadata: &[
            ("fetch.url", "SERVER/"),
            ("fetch.retries", "0"),
            ("fetch.timeout", "0.2"),
        ],
        server: |_, _| Answer::Silence,
        asked: &["GET /"],
        status: Status::Failed,
        error: "network",
        ..CASE
    },
    Case {
        name: "a body that breaks off",
        kind: "fetch",
        metadata: &[("fetch.url", "SERVER/")],
        server: |_, _| Answer::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf".to_vec()),
        asked: &["GET /"],
        status: Status::Failed,
        error: "network",
        ..CASE
    },
    Case {
        name: "success",
        metadata: &[("outcomes.end", "succeeded")],
        exit_code: Some(0),
        receipt: &[("outcomes.text", "ä € 😀")],
        ..CASE
    },
    Case {
        name: "failure",
        metadata: &[("outcomes.end", "failed")],
        status: Status::Failed,
        error: "backend",
        exit_code: Some(7),
        receipt: &[("outcomes.seen", "500")],
        ..CASE
    },
    Case {
        name: "rejection",
        metadata: &[("outcomes.end", "rejected")],
        status: Status::Rejected,
        error: "nothing_to_do",
        ..CASE
    },
    Case {
        name: "artifacts",
        metadata: &[("outcomes.end", "artifacts")],
        receipt: &[("outcomes.refused", "true")],
        artifacts: &[("kept.txt", "report", "kept\n")],
        ..CASE
    },
    Case {
        name: "input",
        metadata: &[("outcomes.end", "input")],
        receipt: &[("outcomes.bytes", "12")],
        artifacts: &[("input", "input", "the payload\n")],
        ..CASE
    },
    Case {
        name: "configuration",
        metadata: &[("outcomes.end", "config")],
        receipt: &[("outcomes.word", "")],
        ..CASE
    },
    Case {
        name: DEADLINE,
        metadata: &[("outcomes.end", "waits")],
        status: Status::TimedOut,
        error: "timeout",
        ..CASE
    },
];

/// The case whose deadline comes before the second request.
const BEFORE_DEADLINE: &str = "a wait that would last to the deadline";

/// The case whose deadline passes.
const DEADLINE: &str = "the deadline";

/// What the plugin has reported: the rest is the host's.
fn own(result: &RuntimeResult) -> Vec<(&str, &str)> {
    let pairs = result.metadata.iter();
    let pairs = pairs.map(|(key, value)| (key.as_str(), value.as_str()));
    let prefixes = CASES.map(|case| format!("{}.", case.kind));
    pairs
        .filter(|(key, _)| prefixes.iter().any(|prefix| key.starts_with(prefix)))
        .collect()
}

fn run_case(language: &Language, case: &Case) {
    let place = Installed::file("greet", &language.file);
    let server = Scripted::start(case.server);
    let metadata: Vec<_> = case
        .metadata
        .iter()
        .map(|(key, value)| (*key, value.replace("SERVER", &server.url(""))))
        .collect();
    let pairs: Vec<_> = metadata
        .iter()
        .map(|(key, value)| (*key, value.as_str()))
        .collect();
    let input = place.scene.file("input.txt", "the payload\n");
    let invocation = invocation(&place, case.kind, &pairs).path("input_payload_path", &input);
    let invocation = match case.name {
        DEADLINE => invocation.timeout(1, 60.0),
        BEFORE_DEADLINE => invocation.timeout(50, 1.0),
        _ => invocation.timeout(120, 1.0),
    };
    let finished = place.run(&invocation);
    let result = finished.result();
    let told = format!(
        "{}, {}: {result:#?}\n{}",
        language.name, case.name, finished.stderr
    );
    assert_eq!(result.status, case.status, "{told}");
    let error = result.metadata.get("error.kind").map_or("", String::as_str);
    assert_eq!(error, case.error, "{told}");
    assert_eq!(result.error_summary.is_some(), !case.error.is_empty(), "{told}");
    assert_eq!(result.exit_code, case.exit_code, "{told}");
    assert_eq!(own(&result), case.receipt, "{told}");
    let artifacts: Vec<_> = result
        .artifacts
        .iter()
        .map(|one| {
            let bytes = fs::read_to_string(&one.path).unwrap();
            (one.artifact_id.as_str(), one.kind.as_str(), bytes)
        })
        .collect();
    let expected: Vec<_> = case
        .artifacts
        .iter()
        .map(|(name, kind, bytes)| (*name, *kind, (*bytes).to_owned()))
        .collect();
    assert_eq!(artifacts, expected, "{told}");
    assert_eq!(server.lines(), case.asked, "{told}");
}

fn invocation(place: &Installed, kind: &str, metadata: &[(&str, &str)]) -> Invocation {
    place.invocation(metadata).with("runtime_kind", kind)
}

#[test]
fn the_same_invocations_have_the_same_results_in_every_language() {
    for language in languages() {
        for case in &CASES {
            run_case(language, case);
        }
    }
}

#[test]
fn a_run_is_cancelled_in_every_language() {
    for language in languages() {
        let place = Installed::file("outcomes", &language.file);
        let written = place.scene.path("result.json");
        let invocation = place
            .invocation(&[("outcomes.end", "waits")])
            .grace(60.0)
            .path("output_result_path", &written)
            .id("the-run");
        let file = place.scene.file("invocation.json", invocation.text());
        let arguments = ["--log-level", "info", "run", file.to_str().unwrap()];
        let mut host = place
            .equip(&mut place.scene.host(&arguments))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(host.stderr.take().unwrap()).lines();
        assert!(
            log.any(|line| line.is_ok_and(|line| line.contains("waiting"))),
            "{} did not begin to wait",
            language.name
        );
        let told = Command::new("kill").arg(host.id().to_string()).status();
        assert!(told.is_ok_and(|status| status.success()));
        host.wait().unwrap();
        let result = RuntimeResult::from_json(&fs::read(&written).unwrap()).unwrap();
        let found = (result.status, result.metadata["error.kind"].as_str());
        assert_eq!(
            found,
            (Status::Cancelled, "cancelled"),
            "{}: {result:#?}",
            language.name
        );
    }
}

#[test]
fn a_download_goes_on_where_its_host_died_in_every_language() {
    for language in languages() {
        let place = Installed::file("download", &language.file);
        download_survives(&place, 1, language.read);
    }
}

#[test]
fn the_examples_are_the_same_in_every_language() {
    let described = |language: &str| {
        let text = fs::read_to_string(examples::source(language).join("plugin.json")).unwrap();
        text.replace(&format!("examples-{language}"), "examples")
    };
    for language in ["python", "javascript", "c"] {
        assert_eq!(described(language), described("rust"), "{language}");
    }
    if languages().len() < BUILDERS.len() {
        not_tested("all languages", "some of them can't be built here, as was said");
    }
}
