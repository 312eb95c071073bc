//! The recipe `ray_job` against Ray itself, which takes 400 MB and a minute: for `cargo xtask soak`.

use super::{free_port, official};
use executor_runtime_protocol::Status;
use executor_runtime_tests::{
    amount,
    guest_tools::{done, python_environment},
    not_tested,
};
use serde_json::json;
use std::{path::PathBuf, process::Command};

const RAY: &str = "ray[default]==2.60.0";

/// A cluster of one machine, until this is dropped.
struct Cluster {
    ray: PathBuf,
    dashboard: u16,
}

impl Cluster {
    fn start() -> Self {
        let ray = python_environment("python/ray", RAY).unwrap().join("bin/ray");
        let cluster = Self {
            ray,
            dashboard: free_port(),
        };
        done(
            cluster
                .command()
                .args([
                    "start",
                    "--head",
                    "--num-cpus",
                    "1",
                    "--port",
                    "0",
                    "--disable-usage-stats",
                ])
                .args(["--dashboard-port", &cluster.dashboard.to_string()]),
        )
        .unwrap();
        cluster
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.ray);
        command.env("PATH", {
            let bin = self.ray.parent().unwrap().display().to_string();
            format!("{bin}:{}", std::env::var("PATH").unwrap_or_default())
        });
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.command().args(["stop", "--force"]).output();
    }
}

#[test]
fn jobs_end_as_they_did_there() {
    if amount(0, 1) == 0 {
        not_tested(
            "ray_job against Ray itself",
            "only `cargo xtask soak` installs Ray",
        );
        return;
    }
    let cluster = Cluster::start();
    let place = official("ray_job");
    let url = format!("http://127.0.0.1:{}", cluster.dashboard);
    let job = |script: &str, seconds: u64| {
        let invocation = place
            .invocation(&[
                ("ray.url", &url),
                ("ray.num_cpus", "0.5"),
                ("ray.poll_seconds", "0.5"),
            ])
            .with("command", json!(["sh", "-c", script]))
            .env("A", "it's \"so\"")
            .timeout(seconds, 2.0);
        place.run(&invocation)
    };
    // The agent that starts jobs comes up after the dashboard.
    job("test \"$A\" = \"it's \\\"so\\\"\"", 180).expect(Status::Succeeded);
    let failed = job("exit 3", 180).expect(Status::Failed);
    assert_eq!(failed.metadata["http.run_status"], "FAILED");
    assert_eq!(failed.exit_code, Some(3));
    let said = failed.error_summary.unwrap_or_default();
    assert!(
        said.starts_with("backend reported terminal status: FAILED: ") && said.contains("exit code 3"),
        "{said}"
    );
    let late = job("sleep 1000", 20).expect(Status::TimedOut);
    assert_eq!(late.metadata["http.cancel_status"], "200");
}
