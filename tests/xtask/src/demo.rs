//! The main job, shown: an invocation of each kind and its result.

use crate::{build_host, plugins, server};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

pub(crate) fn demo() -> Result<()> {
    eprintln!("building the host and the official plugins (the first time takes some minutes)");
    build_host()?;
    plugins::build_all()?;
    let host = guest_build::target_directory().join("release/executor-runtime");
    let address = server::start()?;
    let url = |path: &str| format!("http://{address}{path}");
    let directory = tempfile::tempdir()?;

    let kinds = [
        (
            "subprocess",
            json!(["sh", "-c", "echo hello from $RXP_INVOCATION_ID"]),
            json!({}),
        ),
        (
            "http",
            json!(["-"]),
            json!({"http.url": url("/echo"), "http.body": "{\"greeting\": \"hello\"}"}),
        ),
        (
            "http_async",
            json!(["-"]),
            json!({
                "http.url": url("/runs"),
                "http.poll_url_template": url("/runs/{run_id}"),
                "http.poll_run_id_path": "run_id",
                "http.poll_status_path": "status",
                "http.poll_terminal_states": "completed,failed",
                "http.poll_interval_seconds": "0.1",
            }),
        ),
        ("manual", json!(["-"]), json!({"manual.url": url("/dispatch")})),
    ];
    for (kind, command, metadata) in kinds {
        let invocation = json!({
            "invocation_id": format!("demo-{kind}"),
            "runtime_name": "demo",
            "runtime_kind": kind,
            "working_directory": directory.path(),
            "command": command,
            "timeout_seconds": 30,
            "artifact_directory": directory.path().join("artifacts"),
            "metadata": metadata,
        });
        let result = run(&host, &invocation)?;
        println!("\n--- {kind}: invocation\n{invocation:#}\n--- {kind}: result\n{result:#}");
        if result["status"] != "succeeded" {
            bail!("the {kind} invocation did not succeed");
        }
    }
    println!("\nEvery kind succeeded. The host is {}", host.display());
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
