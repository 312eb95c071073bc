//! Labels of a container: whose it is. What a machine that lost power has left is found by them.

use crate::{
    daemon::{Address, remove},
    directory,
};
use bollard::{Docker, query_parameters::ListContainersOptions};
use std::{collections::HashMap, fs, os::unix::fs::MetadataExt, path::Path};

const INVOCATION: &str = "executor-runtime.invocation";
const RUNTIME: &str = "executor-runtime.runtime";
const OWNER: &str = "executor-runtime.owner";
const DIRECTORY: &str = "executor-runtime.directory";
/// The container's own name. An image that was made of a container has its labels, and gives them to others.
const CONTAINER: &str = "executor-runtime.container";

/// The process that a container belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Owner {
    machine: String,
    boot: String,
    /// The inode of its pid namespace.
    namespace: u64,
    pid: u32,
    /// In clock ticks since the start of the machine.
    started: u64,
}

impl Owner {
    /// This process. None where the system does not say.
    fn own() -> Option<Self> {
        let pid = std::process::id();
        let read = |path: &str| Some(fs::read_to_string(path).ok()?.trim().to_owned());
        Some(Self {
            machine: read("/etc/machine-id")
                .filter(|id| !id.is_empty())
                .or_else(|| read("/proc/sys/kernel/hostname"))?,
            boot: read("/proc/sys/kernel/random/boot_id")?,
            namespace: fs::metadata("/proc/self/ns/pid").ok()?.ino(),
            pid,
            started: match started(pid) {
                Started::At(moment) => moment,
                Started::Never | Started::Unknown => return None,
            },
        })
    }

    fn text(&self) -> String {
        let Self {
            machine,
            boot,
            namespace,
            pid,
            started,
        } = self;
        format!("{machine} {boot} {namespace} {pid} {started}")
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let owner = Self {
            machine: words.next()?.to_owned(),
            boot: words.next()?.to_owned(),
            namespace: words.next()?.parse().ok()?,
            pid: words.next()?.parse().ok()?,
            started: words.next()?.parse().ok()?,
        };
        words.next().is_none().then_some(owner)
    }

    /// Whether this owner has certainly ended, as `own` sees it: the machine has been started again since, or no such
    /// process is there. An owner on another machine, or in another namespace, may be alive.
    fn is_gone(&self, own: &Self, started: impl Fn(u32) -> Started) -> bool {
        if self.machine != own.machine {
            return false;
        }
        if self.boot != own.boot {
            return true;
        }
        self.namespace == own.namespace
            && match started(self.pid) {
                Started::Never => true,
                Started::At(moment) => moment != self.started,
                Started::Unknown => false,
            }
    }
}

/// When a process was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Started {
    /// There is none.
    Never,
    /// In clock ticks since the start of the machine.
    At(u64),
    /// The system does not say, as where `/proc` hides other users' processes.
    Unknown,
}

fn started(pid: u32) -> Started {
    let read = || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // After the name, which may have anything in it: the state, and so on; the start is the 22nd field.
        stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
    };
    match read() {
        Some(moment) => Started::At(moment),
        None if is_there(pid) => Started::Unknown,
        None => Started::Never,
    }
}

/// Whether there is a process with this id, also where nothing else is told of it.
fn is_there(pid: u32) -> bool {
    let Ok(pid) = libc::pid_t::try_from(pid) else {
        return false;
    };
    // SAFETY: no signal is sent.
    let asked = unsafe { libc::kill(pid, 0) };
    asked == 0 || std::io::Error::last_os_error().raw_os_error() != Some(libc::ESRCH)
}

/// The labels of this run's container.
pub(crate) fn labels(
    container: &str,
    invocation: &str,
    runtime: &str,
    directory: &Path,
) -> HashMap<String, String> {
    let mut labels = HashMap::from([
        (CONTAINER.to_owned(), container.to_owned()),
        (INVOCATION.to_owned(), invocation.to_owned()),
        (RUNTIME.to_owned(), runtime.to_owned()),
        (DIRECTORY.to_owned(), directory.to_string_lossy().into_owned()),
    ]);
    if let Some(own) = Owner::own() {
        labels.insert(OWNER.to_owned(), own.text());
    }
    labels
}

/// Removes containers whose owners are certainly gone; returns their names. Only on a daemon of this machine.
pub(crate) async fn remove_strays(docker: &Docker, address: &Address) -> Vec<String> {
    let (Address::Socket(_), Some(own)) = (address, Owner::own()) else {
        return Vec::new();
    };
    let options = ListContainersOptions {
        all: true,
        filters: Some(HashMap::from([("label".to_owned(), vec![OWNER.to_owned()])])),
        ..ListContainersOptions::default()
    };
    let mut removed = Vec::new();
    for container in docker.list_containers(Some(options)).await.unwrap_or_default() {
        let (Some(id), Some(labels)) = (container.id, container.labels) else {
            continue;
        };
        let names = container.names.unwrap_or_default();
        let is_its_own = labels
            .get(CONTAINER)
            .is_some_and(|own| names.iter().any(|name| name.trim_start_matches('/') == own));
        if !is_its_own {
            continue;
        }
        let owner = labels.get(OWNER).and_then(|owner| Owner::parse(owner));
        if owner.is_some_and(|owner| owner.is_gone(&own, started))
            && remove(docker, &id).await.is_ok_and(|was| was)
        {
            if let Some(of_run) = labels.get(DIRECTORY) {
                directory::remove(Path::new(of_run));
            }
            removed.push(labels.get(INVOCATION).cloned().unwrap_or(id));
        }
    }
    removed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(text: &str) -> Owner {
        Owner::parse(text).unwrap()
    }

    #[test]
    fn only_an_owner_that_is_certainly_gone_is_gone() {
        let own = owner("machine boot 1 10 100");
        let started = |pid| match pid {
            10 => Started::At(100),
            12 => Started::Unknown,
            _ => Started::Never,
        };
        for (text, expected) in [
            ("machine boot 1 10 100", false),
            ("machine boot 1 11 100", true),
            ("machine boot 1 10 99", true),
            ("machine boot 1 12 100", false),
            ("machine before 1 10 100", true),
            ("machine before 2 10 100", true),
            ("machine boot 2 11 100", false),
            ("other boot 1 11 100", false),
            ("other before 1 11 100", false),
        ] {
            assert_eq!(owner(text).is_gone(&own, started), expected, "{text}");
        }
    }

    #[test]
    fn this_process_is_an_owner_that_is_there() {
        let own = Owner::own().unwrap();
        assert_eq!(owner(&own.text()), own);
        assert!(!own.is_gone(&own, super::started));
    }

    #[test]
    fn what_is_no_owner_is_none() {
        for text in ["", "machine boot 1 10", "machine boot 1 10 100 x", "m b x 1 1"] {
            assert_eq!(Owner::parse(text), None, "{text}");
        }
    }
}
