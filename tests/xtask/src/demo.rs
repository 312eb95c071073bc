//! The main job, shown: an invocation of each kind and its result.

use crate::{ENGINE, SMALL, build_executable, plugins, scratch::Scratch, server};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

/// What is run to show a kind.
struct Example {
    kind: &'static str,
    command: Value,
    metadata: Value,
}

pub(crate) fn demo() -> Result<()> {
    let directory = Scratch::new("demo")?;
    eprintln!("building the small executable, which runs subprocesses");
    build_executable(SMALL)?;
    let host = guest_build::target_directory().join("release").join(SMALL);
    let subprocess = Example {
        kind: "subprocess",
        command: json!(["sh", "-c", "echo hello from $RXP_INVOCATION_ID"]),
        metadata: json!({}),
    };
    show(&host, directory.path(), &subprocess)?;

    eprintln!(
        "\nbuilding the executable with the WebAssembly engine, and the official plugins; the engine and its compiler \
         take most of the time, and the next builds don't compile them again"
    );
    build_executable(ENGINE)?;
    plugins::build_all()?;
    let address = server::start()?;
    for example in of_plugins(&address) {
        show(&host, directory.path(), &example)?;
    }
    let shown = match show_container(&host, directory.path())? {
        true => "Every kind succeeded",
        false => "Every kind that could be shown succeeded",
    };
    println!("\n{shown}. The host is {}", host.display());
    Ok(())
}

fn of_plugins(address: &impl std::fmt::Display) -> [Example; 4] {
    let url = |path: &str| format!("http://{address}{path}");
    let example = |kind, metadata| Example {
        kind,
        command: json!(["-"]),
        metadata,
    };
    [
        example(
            "http",
            json!({"http.url": url("/echo"), "http.body": "{\"greeting\": \"hello\"}"}),
        ),
        example(
            "http_async",
            json!({
                "http.url": url("/runs"),
                "http.poll_url_template": url("/runs/{run_id}"),
                "http.poll_run_id_path": "run_id",
                "http.poll_status_path": "status",
                "http.poll_terminal_states": "completed,failed",
                "http.poll_interval_seconds": "0.1",
            }),
        ),
        example(
            "http_sse",
            json!({
                "http.url": url("/events"),
                "http.method": "GET",
                "sse.success_events": "completed",
            }),
        ),
        example("manual", json!({"manual.url": url("/dispatch")})),
    ]
}

/// Codes of a container that this machine can't have: there is no daemon, or it does not get the image.
const NO_CONTAINER: [&str; 3] = ["daemon_unreachable", "image_not_found", "pull_failed"];

/// Shows a container where there is a daemon and it has the image, or can pull it; false, with the reason printed, where not.
fn show_container(host: &Path, directory: &Path) -> Result<bool> {
    let example = Example {
        kind: "container",
        command: json!(["echo", "hello from a container"]),
        metadata: json!({"container.image": "docker.io/library/busybox:latest"}),
    };
    let (invocation, result) = run_example(host, directory, &example)?;
    let kind = result["metadata"]["error.kind"].as_str().unwrap_or_default();
    if NO_CONTAINER.contains(&kind) {
        let why = result["error_summary"].as_str().unwrap_or_default();
        println!("\n--- container: not shown, because {why}");
        return Ok(false);
    }
    print("container", &invocation, &result)?;
    Ok(true)
}

/// Runs the example, and prints its invocation and result.
fn show(host: &Path, directory: &Path, example: &Example) -> Result<()> {
    let (invocation, result) = run_example(host, directory, example)?;
    print(example.kind, &invocation, &result)
}

fn run_example(host: &Path, directory: &Path, example: &Example) -> Result<(Value, Value)> {
    let kind = example.kind;
    let invocation = json!({
        "invocation_id": format!("demo-{kind}"),
        "runtime_name": "demo",
        "runtime_kind": kind,
        "working_directory": directory,
        "command": example.command,
        "timeout_seconds": 30,
        "artifact_directory": directory.join("artifacts"),
        "metadata": example.metadata,
    });
    let result = run(host, &invocation)?;
    Ok((invocation, result))
}

fn print(kind: &str, invocation: &Value, result: &Value) -> Result<()> {
    println!("\n--- {kind}: invocation\n{invocation:#}\n--- {kind}: result\n{result:#}");
    if result["status"] != "succeeded" {
        bail!("the {kind} invocation did not succeed");
    }
    Ok(())
}

fn run(host: &Path, invocation: &Value) -> Result<Value> {
    let mut child = Command::new(host)
        .args(["run", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("'{}' can't be started", host.display()))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(invocation.to_string().as_bytes())?;
    }
    let output = child.wait_with_output()?;
    serde_json::from_slice(&output.stdout).context("the host printed no result")
}
