//! The README is true: its tables are the code's, its documents are accepted and its programs run.

use executor_runtime::{ErrorKind, config::Config, protocol::Status, receipt};
use serde_json::Value;
use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

fn readme() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")).unwrap()
}

/// What follows the comment `<!-- test: name -->`: a fenced block's text, or a table.
fn section(name: &str) -> String {
    let readme = readme();
    let (_, after) = readme
        .split_once(&format!("<!-- test: {name} -->\n"))
        .expect("the section is marked");
    if let Some(block) = after.strip_prefix("```") {
        let (_language, block) = block.split_once('\n').unwrap();
        return block.split_once("```").unwrap().0.to_owned();
    }
    after.split("\n\n").next().unwrap().to_owned()
}

fn rows(name: &str) -> Vec<Vec<String>> {
    section(name)
        .lines()
        .skip(2)
        .map(|row| {
            row.trim_matches('|')
                .split(" | ")
                .map(|cell| cell.trim().to_owned())
                .collect()
        })
        .collect()
}

fn run(document: &str) -> Value {
    let mut child = Command::new(executor_runtime_tests::host_binary())
        .args(["run", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(document.as_bytes())
        .unwrap();
    serde_json::from_slice(&child.wait_with_output().unwrap().stdout).unwrap()
}

#[test]
fn the_receipt_table_is_the_codes() {
    let expected: Vec<_> = receipt::KEYS
        .iter()
        .map(|(key, meaning)| vec![format!("`{key}`"), meaning.trim().to_owned()])
        .collect();
    assert_eq!(rows("receipt"), expected);
}

#[test]
fn the_error_kind_table_is_the_codes() {
    let expected: Vec<_> = ErrorKind::ALL
        .iter()
        .map(|(kind, meaning)| {
            vec![
                format!("`{}`", kind.code()),
                format!("`{}`", kind.status().as_str()),
                meaning.trim().to_owned(),
            ]
        })
        .collect();
    assert_eq!(rows("error kinds"), expected);
}

#[test]
fn the_exit_status_table_is_the_helps() {
    let help = Command::new(executor_runtime_tests::host_binary())
        .args(["run", "--help"])
        .output()
        .unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    for row in rows("exit statuses") {
        let line = help
            .lines()
            .find(|line| line.trim_start().starts_with(&format!("{} ", row[0])));
        assert!(line.is_some(), "--help does not mention exit status {}", row[0]);
    }
}

#[test]
fn the_first_invocation_gives_the_result_that_is_shown() {
    let shown: Value = serde_json::from_str(&section("result")).unwrap();
    let mut result = run(&section("invocation"));
    for varying in ["started_at", "finished_at"] {
        result[varying] = shown[varying].clone();
    }
    let usage = result["metadata"].as_object_mut().unwrap();
    for (key, value) in usage.iter_mut().filter(|(key, _)| key.starts_with("usage.")) {
        *value = shown["metadata"][key].clone();
    }
    assert_eq!(result, shown);
    assert_eq!(shown["status"], Status::Failed.as_str());
}

#[test]
fn the_configuration_is_accepted() {
    let config = Config::parse(&section("configuration"), "README.md").unwrap();
    assert_eq!(config.subprocess().processes, Some(100));
    assert_eq!(config.plugin("http").config["region"], "eu");
}

#[test]
fn the_python_program_runs() {
    let program = section("python").replace("\"executor-runtime\"", "HOST");
    let host = executor_runtime_tests::host_binary();
    let program = format!("HOST = {:?}\n{program}", host.to_str().unwrap());
    match Command::new("python3").arg("-c").arg(&program).output() {
        Ok(output) => {
            let printed = String::from_utf8_lossy(&output.stdout);
            assert_eq!(
                printed.trim_end(),
                "succeeded Linux",
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Err(error) => {
            let why = format!("python3 can't be started: {error}");
            executor_runtime_tests::not_tested("the README's Python program", why);
        }
    }
}
