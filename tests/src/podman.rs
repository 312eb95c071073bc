//! A podman of a test's own: a daemon with Docker's API, with images and containers that no other one sees.
//!
//! podman, runc and busybox are Debian's packages, and are installed where they are missing. No registry is needed: images
//! are made of busybox alone.

use crate::{debian, eventually};
use std::{
    fs,
    io::Write,
    os::unix::{fs::symlink, net::UnixStream, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::LazyLock,
};
use tempfile::TempDir;

/// An image with a shell and busybox's programs.
pub const BUSYBOX: &str = "localhost/rxp-test/busybox:latest";
/// An image that has one file, `/busybox`, and no shell.
pub const NO_SHELL: &str = "localhost/rxp-test/no-shell:latest";

/// What is needed of Debian, each with a program of it.
const PACKAGES: [(&str, &str); 3] = [
    ("podman", "podman"),
    ("runc", "runc"),
    ("busybox-static", "busybox"),
];

/// Where a machine whose limits are low, as one in a container, lets containers be started.
const ULIMITS: &str = "nofile=1024:1024,nproc=4096:4096";

/// A daemon and its storage. Dropping it ends both, and every container.
#[derive(Debug)]
pub struct Podman {
    directory: TempDir,
    daemon: Option<Child>,
    driver: &'static str,
}

impl Default for Podman {
    fn default() -> Self {
        Self::start()
    }
}

impl Podman {
    /// A daemon that listens, with both images.
    ///
    /// # Panics
    /// When podman is not there and can't be installed: there is nothing to test then.
    pub fn start() -> Self {
        // Nothing of it is mounted, so that nothing stays behind.
        Self::with_driver("vfs")
    }

    /// The same with another storage driver.
    ///
    /// # Panics
    /// As for [`start`](Self::start).
    pub fn with_driver(driver: &'static str) -> Self {
        static INSTALLED: LazyLock<Result<(), String>> = LazyLock::new(|| debian::install(&PACKAGES));
        if let Err(why) = &*INSTALLED {
            panic!(
                "the kind container is tested against podman, which is not here and can't be installed (this needs \
                 root on Debian or Ubuntu; or install podman, runc and busybox-static yourself): {why}"
            );
        }
        let directory = tempfile::Builder::new()
            .prefix("podman-")
            .tempdir()
            .expect("a temporary directory");
        let mut podman = Self {
            directory,
            daemon: None,
            driver,
        };
        podman.make_images();
        podman.start_daemon();
        podman
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The daemon's socket.
    pub fn socket(&self) -> PathBuf {
        self.path("podman.sock")
    }

    /// The daemon's address, as in `DOCKER_HOST`.
    pub fn address(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// The configuration of a host whose plugin asks this daemon.
    pub fn config(&self, more: &str) -> String {
        format!(
            "[plugins.container.config]\nhost = \"{}\"\nulimits = \"{ULIMITS}\"\n{more}",
            self.address()
        )
    }

    /// The command line of podman with this storage.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("podman");
        command
            .arg("--root")
            .arg(self.path("storage"))
            .arg("--runroot")
            .arg(self.path("run"))
            .args(["--storage-driver", self.driver, "--runtime", "runc"])
            .args(["--cgroup-manager", "cgroupfs"])
            .args(arguments)
            // Some versions of conmon write files where they are started.
            .current_dir(self.directory.path())
            .stdin(Stdio::null());
        command
    }

    /// `podman run` of an image, with the limits that containers of the daemon get.
    pub fn run(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(&["run", "--rm", "--network", "none"]);
        for limit in ULIMITS.split(',') {
            command.args(["--ulimit", limit]);
        }
        command.args(arguments);
        command
    }

    /// What podman prints.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn output(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().expect("podman is installed");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// The names of all containers, those that have ended too.
    #[track_caller]
    pub fn containers(&self) -> Vec<String> {
        let names = self.output(&["ps", "--all", "--format", "{{.Names}}"]);
        names.lines().map(str::to_owned).collect()
    }

    /// Starts the daemon and waits until it listens.
    ///
    /// # Panics
    /// When it does not.
    pub fn start_daemon(&mut self) {
        let mut command = self.command(&["system", "service", "--time=0", &self.address()]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        // SAFETY: `prctl` may be called between `fork` and `exec`. The daemon ends with the thread of the test.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                Ok(())
            });
        }
        self.daemon = Some(command.spawn().expect("podman is installed"));
        let socket = self.socket();
        eventually("the daemon listening", || UnixStream::connect(&socket).ok());
    }

    /// Kills the daemon. Its containers run on.
    pub fn kill_daemon(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            // It may have ended.
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }

    fn make_images(&self) {
        let busybox = debian::program("busybox").expect("it was installed");
        let root = self.path("busybox");
        fs::create_dir_all(root.join("bin")).expect("it is new");
        for folder in ["etc", "tmp", "proc", "sys", "dev", "run"] {
            fs::create_dir_all(root.join(folder)).expect("it is new");
        }
        fs::copy(&busybox, root.join("bin/busybox")).expect("it can be copied");
        for program in [
            "cat", "chmod", "dd", "echo", "env", "grep", "head", "id", "kill", "ln", "ls", "mkdir", "mkfifo",
            "pwd", "sh", "sleep", "tail", "touch", "tr", "true", "wc", "yes",
        ] {
            symlink("busybox", root.join("bin").join(program)).expect("it is new");
        }
        fs::write(
            root.join("etc/passwd"),
            "root:x:0:0::/:/bin/sh\nanna:x:1234:1234::/:/bin/sh\n",
        )
        .expect("it can be written");
        self.import(&root, BUSYBOX);
        let root = self.path("no-shell");
        fs::create_dir(&root).expect("it is new");
        fs::copy(&busybox, root.join("busybox")).expect("it can be copied");
        self.import(&root, NO_SHELL);
    }

    fn import(&self, root: &Path, name: &str) {
        let archive = Command::new("tar")
            .arg("-C")
            .arg(root)
            .args(["-c", "."])
            .output()
            .expect("tar is there");
        assert!(archive.status.success(), "{archive:?}");
        let mut import = self
            .command(&["import", "-", name])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("podman is installed");
        let mut stdin = import.stdin.take().expect("it is a pipe");
        stdin.write_all(&archive.stdout).expect("podman reads it");
        drop(stdin);
        let imported = import.wait_with_output().expect("podman ends");
        assert!(imported.status.success(), "{imported:?}");
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        // Whatever is left by a test that has failed.
        let _ = self.command(&["rm", "--all", "--force", "--time", "0"]).output();
        self.kill_daemon();
        if self.driver == "overlay" {
            let _ = Command::new("umount").arg(self.path("storage/overlay")).output();
        }
    }
}
