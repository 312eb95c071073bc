//! The recipe `slurm_job` against Slurm itself, from Debian's packages: for `cargo xtask soak`.

use super::{becomes_true, free_port, official, summary};
use executor_runtime_protocol::{RuntimeResult, Status};
use executor_runtime_tests::{Scene, amount, debian, not_tested};
use serde_json::json;
use std::{
    fs,
    net::TcpStream,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    process::{Child, Command, Stdio},
};

const PACKAGES: [(&str, &str); 4] = [
    ("slurmctld", "slurmctld"),
    ("slurmd", "slurmd"),
    ("slurmrestd", "slurmrestd"),
    (
        "slurm-wlm-jwt-plugin",
        "/usr/lib/x86_64-linux-gnu/slurm-wlm/auth_jwt.so",
    ),
];

/// The account that slurmrestd runs under, which refuses to run as root.
const NOBODY: u32 = 65534;

/// A cluster of this machine, until it is dropped.
struct Cluster {
    scene: Scene,
    daemons: Vec<Child>,
    rest: u16,
}

impl Cluster {
    fn start() -> Self {
        debian::install(&PACKAGES).unwrap();
        let mut cluster = Self {
            scene: Scene::new(),
            daemons: Vec::new(),
            rest: free_port(),
        };
        cluster.configure();
        cluster.daemon("slurmctld", &["-D", "-c"], None);
        cluster.daemon("slurmd", &["-D", "-N", "localhost"], None);
        let listen = format!("127.0.0.1:{}", cluster.rest);
        let rest = ["-a", "rest_auth/jwt", "-s", "openapi/v0.0.38", &listen];
        cluster.daemon("slurmrestd", &rest, Some(NOBODY));
        becomes_true("slurmrestd listens", || {
            TcpStream::connect(("127.0.0.1", cluster.rest)).is_ok()
        });
        becomes_true("the node is idle", || {
            let output = cluster.command("sinfo").args(["--noheader", "-o", "%T"]).output();
            output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).trim() == "idle")
        });
        cluster
    }

    fn path(&self, name: &str) -> String {
        self.scene.path(name).display().to_string()
    }

    fn configure(&self) {
        let root = self.scene.root();
        fs::set_permissions(root, fs::Permissions::from_mode(0o755)).unwrap();
        for directory in ["state", "spool"] {
            fs::create_dir(self.scene.path(directory)).unwrap();
        }
        let mut key = [0; 32];
        std::io::Read::read_exact(&mut fs::File::open("/dev/urandom").unwrap(), &mut key).unwrap();
        let key = self.scene.file("jwt.key", key);
        fs::set_permissions(key, fs::Permissions::from_mode(0o600)).unwrap();
        let root = root.display();
        let (controller, node) = (free_port(), free_port());
        let config = format!(
            "ClusterName=tests\nSlurmctldHost=localhost(127.0.0.1)\nSlurmctldPort={controller}\nSlurmdPort={node}\n\
             SlurmUser=root\nAuthType=auth/none\nCredType=cred/none\nAuthAltTypes=auth/jwt\n\
             AuthAltParameters=jwt_key={root}/jwt.key\nStateSaveLocation={root}/state\nSlurmdSpoolDir={root}/spool\n\
             SlurmctldPidFile={root}/slurmctld.pid\nSlurmdPidFile={root}/slurmd.pid\n\
             ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\nMpiDefault=none\nSwitchType=switch/none\n\
             SelectType=select/cons_tres\nSelectTypeParameters=CR_Core\nAccountingStorageType=accounting_storage/none\n\
             JobAcctGatherType=jobacct_gather/none\nReturnToService=2\nKillWait=2\n\
             NodeName=localhost NodeAddr=127.0.0.1 CPUs=1 State=UNKNOWN\n\
             PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP\n"
        );
        self.scene.file("slurm.conf", config);
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("SLURM_CONF", self.scene.path("slurm.conf"))
            .current_dir(self.scene.root());
        command
    }

    fn daemon(&mut self, program: &str, arguments: &[&str], user: Option<u32>) {
        let log = fs::File::create(self.scene.path(&format!("{program}.log"))).unwrap();
        let mut command = self.command(program);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        if let Some(user) = user {
            command.uid(user).gid(user).env("SLURM_JWT", "daemon");
        }
        self.daemons.push(command.spawn().unwrap());
    }

    /// A token of this user, for an hour.
    fn token(&self) -> String {
        let output = self
            .command("scontrol")
            .args(["token", "username=root", "lifespan=3600"])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.trim()
            .strip_prefix("SLURM_JWT=")
            .expect("a token")
            .to_owned()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for daemon in self.daemons.iter_mut().rev() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

#[test]
fn jobs_end_as_they_did_there() {
    if amount(0, 1) == 0 {
        not_tested(
            "slurm_job against Slurm itself",
            "only `cargo xtask soak` installs Slurm",
        );
        return;
    }
    let cluster = Cluster::start();
    let place = official("slurm_job");
    let token = cluster.token();
    let output = cluster.path("output-%j");
    let job = |script: &str, seconds: u64| {
        place
            .invocation(&[
                ("slurm.url", &format!("http://127.0.0.1:{}", cluster.rest)),
                ("slurm.api_version", "v0.0.38"),
                ("slurm.user", "root"),
                ("slurm.token", &token),
                ("slurm.partition", "all"),
                ("slurm.tasks", "1"),
                ("slurm.time_limit", "5"),
                ("slurm.output", &output),
                ("slurm.poll_seconds", "0.2"),
            ])
            .with("command", json!(["sh", "-c", script]))
            .timeout(seconds, 5.0)
    };
    let kept = |result: &RuntimeResult| {
        let name = format!("output-{}", result.metadata["http.run_id"]);
        fs::read_to_string(cluster.scene.path(&name)).unwrap()
    };
    // What a job is given arrives, whatever it is.
    let invocation = job("pwd; echo \"$A\"; echo \"$RXP_INVOCATION_ID\"", 120)
        .env("A", "it's \"so\"\n  $HOME")
        .id("job/1 é");
    let result = place.run(&invocation).expect(Status::Succeeded);
    let directory = place.scene.root().display();
    assert_eq!(
        kept(&result),
        format!("{directory}\nit's \"so\"\n  $HOME\njob/1 é\n")
    );
    assert_eq!(result.exit_code, Some(0));
    // It needs no environment.
    place.run(&job("true", 120)).expect(Status::Succeeded);

    let failed = place.run(&job("exit 3", 120)).expect(Status::Failed);
    assert_eq!(failed.exit_code, Some(3));
    assert_eq!(
        summary(&failed),
        "backend reported terminal status: FAILED: NonZeroExitCode"
    );
    let killed = place.run(&job("kill -9 $$", 120)).expect(Status::Failed);
    assert_eq!(killed.exit_code, Some(-9));

    let late = place.run(&job("sleep 1000", 10)).expect(Status::TimedOut);
    assert_eq!(late.metadata["http.cancel_status"], "200");
    becomes_true("no job is left", || {
        let output = cluster.command("squeue").arg("--noheader").output().unwrap();
        output.status.success() && output.stdout.is_empty()
    });

    // What is refused was never there.
    for (key, value) in [("slurm.token", "wrong"), ("slurm.partition", "none")] {
        let refused = place
            .run(&job("true", 120).metadata(key, value))
            .expect(Status::Failed);
        assert!(
            summary(&refused).starts_with("kickoff: expected HTTP 202 or 200, got HTTP "),
            "{}",
            summary(&refused)
        );
    }
}
