//! Input that can't be used: exit 2, every problem told at once, nothing run, within bounds.

use executor_runtime_tests::{Scene, assert_golden, status_field};
use serde_json::{Value, json};
use std::{
    io::Write,
    process::Stdio,
    time::{Duration, Instant},
};

/// Everything that is wrong, by the name of its golden file.
fn documents(scene: &Scene) -> Vec<(&'static str, Vec<u8>)> {
    let valid = || {
        scene
            .script("touch ran")
            .id("inv")
            .with("working_directory", "/work")
            .0
    };
    let with = |field: &str, value: Value| {
        let mut document = valid();
        document[field] = value;
        document.to_string().into_bytes()
    };
    let valid_text = valid().to_string();
    vec![
        ("nothing", Vec::new()),
        ("blank", b" \n\t ".to_vec()),
        ("not-json", b"command: [touch, ran]\n".to_vec()),
        ("cut-off", valid_text.as_bytes()[..valid_text.len() - 10].to_vec()),
        ("two-documents", format!("{valid_text}\n{valid_text}").into_bytes()),
        ("not-an-object", b"[1, 2]".to_vec()),
        ("a-string", b"\"touch ran\"".to_vec()),
        ("not-utf8", b"{\"invocation_id\": \"\xff\xfe\"}".to_vec()),
        ("byte-order-mark", [b"\xef\xbb\xbf", valid_text.as_bytes()].concat()),
        ("wrong-version", with("schema_version", json!("rxp/v9"))),
        ("wrong-contract", with("contract_kind", json!("runtime_result"))),
        ("unknown-field", with("comand", json!(["x"]))),
        ("timeout-zero", with("timeout_seconds", json!(0))),
        ("timeout-fraction", with("timeout_seconds", json!(1.5))),
        ("empty-command", with("command", json!([]))),
        (
            "many-problems",
            json!({
                "schema_version": 1, "invocation_id": "", "runtime_kind": "Sub Process", "working_directory": null,
                "command": ["sh", 1, null], "environment": {"A": 1, "B": null}, "timeout_seconds": -5,
                "input_payload_path": 7, "metadata": [], "cmd": "x", "timeout": 3,
            })
            .to_string()
            .into_bytes(),
        ),
        (
            "duplicate-keys",
            format!(
                "{{\"invocation_id\": \"first\", \"environment\": {{\"A\": \"1\", \"A\": \"2\"}}, {}",
                &valid_text[1..]
            )
            .into_bytes(),
        ),
        ("deeply-nested", [b"{\"metadata\": ", "[".repeat(1_000_000).as_bytes()].concat()),
        ("nested-objects", "{\"a\":".repeat(1_000_000).into_bytes()),
    ]
}

#[test]
fn each_is_told_as_it_was_reviewed() {
    let scene = Scene::new();
    let mut shown = String::new();
    for (name, document) in documents(&scene) {
        let finished = scene.run_with(&["run", "-"], &document);
        assert_eq!(finished.code, Some(2), "{name}: {finished:?}");
        assert!(finished.stdout.is_empty(), "{name}");
        assert!(
            finished.wall < Duration::from_secs(2),
            "{name}: {:?}",
            finished.wall
        );
        shown += &format!("## {name}\n{}\n", finished.stderr);

        // `validate` says the same, for people and for machines.
        let validated = scene.run_with(&["validate", "--format", "human"], &document);
        assert_eq!(validated.code, Some(2), "{name}");
        let same = |text: &str| text.split_once("stdin is ").map(|(_, said)| said.to_owned());
        assert_eq!(
            same(&String::from_utf8_lossy(&validated.stdout)),
            same(&finished.stderr),
            "{name}"
        );
        let validated = scene.run_with(&["validate", "--format", "json"], &document);
        assert_eq!(validated.code, Some(2), "{name}");
        let report: Value = serde_json::from_slice(&validated.stdout).unwrap();
        assert_eq!(report["valid"], false, "{name}");
        assert!(!report["problems"].as_array().unwrap().is_empty(), "{name}");
    }
    assert_golden("bad_input/documents.txt", &shown);
    assert!(!scene.path("ran").exists() && !scene.path(".executor_runtime").exists());
}

#[test]
fn files_that_can_not_be_read_are_told_apart() {
    let scene = Scene::new();
    std::fs::create_dir(scene.path("folder")).unwrap();
    scene.file("file", "");
    std::os::unix::fs::symlink("loop", scene.path("loop")).unwrap();
    let mut shown = String::new();
    for file in ["missing.json", "folder", "file/below", "loop", "/proc/self/mem"] {
        for command in ["run", "validate"] {
            let finished = scene.run_with(&[command, file], b"");
            assert_eq!(finished.code, Some(2), "{file}");
            assert!(finished.stdout.is_empty());
            shown += &format!("$ executor-runtime {command} {file}\n{}\n", finished.stderr);
        }
    }
    assert_golden("bad_input/files.txt", &shown);
}

#[test]
fn a_hundred_megabytes_of_garbage_are_refused_in_bounded_time_and_memory() {
    let scene = Scene::new();
    let block = vec![b'{'; 1 << 20];
    let start = Instant::now();
    let mut host = scene.host(&["run", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    let pid = host.id() as i32;
    let mut pipe = host.stdin.take().unwrap();
    let mut peak = 0;
    for _ in 0..100 {
        if let Some(found) = status_field(pid, "VmHWM") {
            peak = peak.max(found.trim_end_matches(" kB").parse::<u64>().unwrap());
        }
        // The host reads no further than it has to.
        if pipe.write_all(&block).is_err() {
            break;
        }
    }
    drop(pipe);
    let finished = scene.finish(host);
    assert_eq!(finished.code, Some(2));
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert!(peak > 0 && peak < 96 << 10, "{peak} KiB");
    assert_golden("bad_input/too-long.txt", &finished.stderr);

    // A file of that size, sparse.
    let file = std::fs::File::create(scene.path("large")).unwrap();
    file.set_len(100 << 20).unwrap();
    let finished = scene.run_with(&["run", "large"], b"");
    assert_eq!(finished.code, Some(2));
    assert!(finished.wall < Duration::from_secs(2), "{:?}", finished.wall);
}

#[test]
fn a_document_with_countless_problems_is_refused_briefly() {
    let scene = Scene::new();
    let mut document = scene.script("touch ran").0;
    for number in 0..50_000 {
        document[format!("extra-{number}")] = json!(number);
    }
    let finished = scene.run_with(&["run"], document.to_string().as_bytes());
    assert_eq!(finished.code, Some(2));
    assert!(finished.stderr.contains(" and 49900 more"), "{}", finished.stderr);
    assert!(finished.stderr.len() < 64 << 10);
    assert!(finished.wall < Duration::from_secs(2), "{:?}", finished.wall);
}

#[test]
fn a_message_can_not_be_made_to_write_to_the_terminal() {
    let scene = Scene::new();
    let document = scene.script("x").with("evil\u{1b}[2J\n", "\u{1b}]0;title\u{7}").0;
    let finished = scene.run_with(&["run"], document.to_string().as_bytes());
    assert_eq!(finished.code, Some(2));
    assert!(
        !finished.stderr.contains(['\u{1b}', '\u{7}']),
        "{:?}",
        finished.stderr
    );
}
