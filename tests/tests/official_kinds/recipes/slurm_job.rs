//! The recipe `slurm_job`, against a server that answers as slurmrestd's later API versions do
//! (<https://slurm.schedmd.com/rest_api.html>); `real_slurm` has v0.0.38 of slurmrestd itself.

use super::{body, official, summary};
use executor_runtime_protocol::Status;
use executor_runtime_tests::{
    Invocation,
    installed::Installed,
    scripted::{Answer, Scripted},
};
use serde_json::{Value, json};
use std::{fs, os::unix::fs::PermissionsExt, process::Command};

fn job(place: &Installed, server: &Scripted) -> Invocation {
    place
        .invocation(&[
            ("slurm.url", &server.url("")),
            ("slurm.api_version", "v0.0.42"),
            ("slurm.user", "ada"),
            ("slurm.token", "s3cret"),
            ("slurm.poll_seconds", "0.05"),
        ])
        .with("command", json!(["python", "-c", "print('hi there')"]))
        .id("job/1")
}

/// A number as the API has it, which may not be set.
fn number(number: Option<i64>) -> Value {
    json!({"set": number.is_some(), "infinite": false, "number": number.unwrap_or_default()})
}

/// A server whose job is pending first, and then as these fields say.
fn slurm(job: Value) -> Scripted {
    Scripted::start(move |request, n| match (&*request.method, n) {
        ("POST", _) => Answer::new(
            200,
            json!({"job_id": 17, "step_id": "batch", "errors": []}).to_string(),
        ),
        ("DELETE", _) => Answer::new(200, json!({"errors": []}).to_string()),
        (_, 1) => Answer::new(
            200,
            json!({"jobs": [{"job_state": ["PENDING"], "state_reason": "Resources"}]}).to_string(),
        ),
        _ => Answer::new(200, json!({"jobs": [job]}).to_string()),
    })
}

fn ended(state: &str, code: Option<i64>, signal: Option<i64>) -> Value {
    json!({
        "job_state": [state, "COMPLETING"],
        "state_description": "",
        "state_reason": "NonZeroExitCode",
        "exit_code": {
            "status": ["ERROR"],
            "return_code": number(code),
            "signal": {"id": number(signal), "name": ""},
        },
    })
}

#[test]
fn a_job_is_submitted_and_waited_for() {
    let place = official("slurm_job");
    let server = slurm(ended("COMPLETED", Some(0), None));
    let invocation = job(&place, &server)
        .env("A", "it's \"so\"")
        .metadata("slurm.partition", "gpu")
        .metadata("slurm.cpus_per_task", "4")
        .metadata("slurm.output", "out-%j.txt")
        .metadata(
            "slurm.options",
            r#"{"tres_per_job": "gres/gpu:1", "name": "not this"}"#,
        );
    let result = place.run(&invocation).expect(Status::Succeeded);
    assert_eq!(result.exit_code, Some(0));
    assert_eq!(result.metadata["http.run_id"], "17");
    assert_eq!(result.metadata["http.run_status"], "COMPLETED");
    let requests = server.requests();
    let directory = place.scene.root().to_str().unwrap();
    assert_eq!(
        body(&requests[0]),
        json!({
            "script": "#!/bin/sh\nexport PATH=\"${PATH:-/usr/local/bin:/usr/bin:/bin}\"\n\
                       set -- python -c 'print('\\''hi there'\\'')'\n\
                       case $1 in -*) \"$@\"; exit ;; esac\n\
                       exec \"$@\"\n",
            "job": {
                "name": "job/1",
                "current_working_directory": directory,
                "partition": "gpu",
                "cpus_per_task": 4,
                "standard_output": "out-%j.txt",
                "tres_per_job": "gres/gpu:1",
                "environment": {"A": "it's \"so\"", "RXP_INVOCATION_ID": "job/1"},
            },
        })
    );
    for request in &requests {
        assert_eq!(request.header("x-slurm-user-name"), "ada");
        assert_eq!(request.header("x-slurm-user-token"), "s3cret");
    }
    let looked = "GET /slurm/v0.0.42/job/17";
    assert_eq!(server.lines(), ["POST /slurm/v0.0.42/job/submit", looked, looked]);
}

#[test]
fn a_job_that_fails_has_its_exit_code() {
    let place = official("slurm_job");
    for (state, code, signal, expected) in [
        ("FAILED", Some(3), None, 3),
        ("FAILED", None, Some(9), -9),
        ("TIMEOUT", Some(0), None, 1),
        ("CANCELLED", None, None, 1),
        ("OUT_OF_MEMORY", Some(125), None, 125),
    ] {
        let server = slurm(ended(state, code, signal));
        let result = place.run(&job(&place, &server)).expect(Status::Failed);
        assert_eq!(result.exit_code, Some(expected), "{state}");
        assert_eq!(
            summary(&result),
            format!("backend reported terminal status: {state}: NonZeroExitCode")
        );
    }
    // v0.0.39 has what wait reports.
    let server = slurm(json!({"job_state": "FAILED", "exit_code": number(Some(768))}));
    let result = place.run(&job(&place, &server)).expect(Status::Failed);
    assert_eq!(result.exit_code, Some(3));
}

#[test]
fn a_job_that_takes_too_long_is_cancelled() {
    let place = official("slurm_job");
    let server = slurm(json!({"job_state": ["RUNNING"]}));
    let invocation = job(&place, &server).timeout(5, 1.0);
    let result = place.run(&invocation).expect(Status::TimedOut);
    assert_eq!(result.metadata["http.cancel_status"], "200");
    assert_eq!(server.lines().last().unwrap(), "DELETE /slurm/v0.0.42/job/17");
}

#[test]
fn the_script_runs_each_command_in_each_shell() {
    let place = official("slurm_job");
    let bin = place.scene.path("bin");
    fs::create_dir(&bin).unwrap();
    for name in ["-tool", "--", "if", "A=1", "tool"] {
        let file = bin.join(name);
        fs::write(&file, "#!/bin/sh\nprintf '%s|' \"$@\"\nexit 7\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        let server = slurm(ended("COMPLETED", Some(0), None));
        let invocation = job(&place, &server).with("command", json!([name, "-c", "a b", "$HOME"]));
        place.run(&invocation).expect(Status::Succeeded);
        let sent = body(&server.requests()[0]);
        let script = place.scene.file("script", sent["script"].as_str().unwrap());
        for shell in ["sh", "bash", "dash"] {
            let path = format!("{}:/usr/bin:/bin", bin.display());
            let Ok(output) = Command::new(shell).arg(&script).env("PATH", path).output() else {
                executor_runtime_tests::not_tested("a batch script", format!("there is no {shell}"));
                continue;
            };
            let printed = String::from_utf8_lossy(&output.stdout);
            assert_eq!(
                (&*printed, output.status.code()),
                ("-c|a b|$HOME|", Some(7)),
                "{shell} {name}: {output:?}"
            );
        }
    }
}
