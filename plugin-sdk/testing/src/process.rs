//! A process of the host, of which nothing is left when it is dropped.

use crate::directory::Directory;
use std::{
    fs::{self, File},
    io::{self, Read, Seek},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

/// The host ends a run at once when it is asked twice; what it can't end it gives up after 10 seconds.
const FORCED_END: Duration = Duration::from_secs(20);

/// The host listens to signals as soon as it has loaded.
const LOADING: Duration = Duration::from_secs(30);

const POLL: Duration = Duration::from_millis(2);

/// A process without stdin, whose output is kept in files without a name: nothing has to read it while it runs.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    stdout: File,
    stderr: File,
}

/// How a process ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Process {
    pub(crate) fn start(command: &mut Command) -> io::Result<Self> {
        let directory = Directory::new()?;
        let unnamed = |name| {
            let mut options = File::options();
            options.read(true).write(true).create_new(true);
            options.open(directory.path().join(name))
        };
        let (stdout, stderr) = (unnamed("stdout")?, unnamed("stderr")?);
        let child = command
            .stdin(Stdio::null())
            .stdout(stdout.try_clone()?)
            .stderr(stderr.try_clone()?)
            .spawn()?;
        Ok(Self {
            child,
            stdout,
            stderr,
        })
    }

    /// Asks it to end, as an orchestrator would: with SIGTERM, once it listens to that.
    pub(crate) fn terminate(&self) {
        let until = Instant::now() + LOADING;
        while !self.listens() && Instant::now() < until {
            thread::sleep(POLL);
        }
        self.signal(libc::SIGTERM);
    }

    /// Ends it on the spot.
    pub(crate) fn kill(mut self) {
        // An error means that it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub(crate) fn end(mut self) -> io::Result<Ended> {
        let status = self.child.wait()?;
        self.ended(status)
    }

    /// None if it has not ended in this time; it is ended then.
    pub(crate) fn end_within(mut self, time: Duration) -> Option<Ended> {
        let status = self.wait_for(time)?;
        self.ended(status).ok()
    }

    fn ended(&mut self, status: ExitStatus) -> io::Result<Ended> {
        let mut stderr = Vec::new();
        let mut stdout = Vec::new();
        for (file, bytes) in [(&mut self.stdout, &mut stdout), (&mut self.stderr, &mut stderr)] {
            file.rewind()?;
            file.read_to_end(bytes)?;
        }
        Ok(Ended {
            status,
            stdout,
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
        })
    }

    fn wait_for(&mut self, time: Duration) -> Option<ExitStatus> {
        let until = Instant::now() + time;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if Instant::now() < until => thread::sleep(POLL),
                _ => return None,
            }
        }
    }

    /// Whether SIGTERM does something else than to end it on the spot. True, too, when it has ended by itself.
    fn listens(&self) -> bool {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let field = |name| status.lines().find_map(|line: &str| line.strip_prefix(name));
        let is_zombie = field("State:").is_none_or(|state| state.trim().starts_with('Z'));
        let caught = field("SigCgt:").and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        is_zombie || caught.is_some_and(|mask| mask & (1 << (libc::SIGTERM - 1)) != 0)
    }

    fn signal(&self, signal: i32) {
        let Ok(pid) = i32::try_from(self.child.id()) else {
            return;
        };
        // SAFETY: no memory is involved; the process is not waited for yet, so that its id is not another's.
        unsafe { libc::kill(pid, signal) };
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        // Two signals, of which the second one ends the run at once; two of the same kind might arrive as one.
        self.signal(libc::SIGTERM);
        self.signal(libc::SIGINT);
        if self.wait_for(FORCED_END).is_none() {
            // The run's supervisor ends what is left of it.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Process {
        Process::start(Command::new("sh").args(["-c", script])).unwrap()
    }

    #[test]
    fn it_is_asked_to_end_only_once_it_listens() {
        for _ in 0..20 {
            let process = sh("trap 'echo asked; exit 3' TERM; while :; do sleep 0.01; done");
            process.terminate();
            let ended = process.end_within(Duration::from_secs(20)).unwrap();
            assert_eq!((ended.status.code(), &*ended.stdout), (Some(3), &b"asked\n"[..]));
        }
    }

    #[test]
    fn one_that_has_ended_need_not_listen() {
        let process = sh("exit 4");
        process.terminate();
        assert_eq!(process.end().unwrap().status.code(), Some(4));
    }

    #[test]
    fn one_that_is_dropped_is_gone() {
        let process = sh("exec sleep 1000");
        let folder = format!("/proc/{}", process.child.id());
        assert!(fs::exists(&folder).unwrap());
        drop(process);
        assert!(!fs::exists(&folder).unwrap());
    }
}
