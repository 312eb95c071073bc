//! `kill -9` of host, plugin or supervisor at any moment of a run: no container is left. A few kills; `cargo xtask soak` has
//! 200 of them.

use super::{Place, begun};
use executor_runtime_tests::{amount, eventually, status_field};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    process::Child,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Within which time after its start a process of a run is killed. A run takes about a second.
const MOMENTS: Duration = Duration::from_millis(1500);

/// How long a last will may be tried: the daemon may have been asked for a container that it does not make any more.
const LEFT: Duration = Duration::from_secs(180);

#[derive(Clone, Copy, Debug)]
enum Killed {
    Host,
    Plugin,
    Supervisor,
}

const KILLED: [Killed; 3] = [Killed::Host, Killed::Plugin, Killed::Supervisor];

impl Killed {
    /// The process, if it is there at this moment.
    fn find(self, place: &Place, host: &Child) -> Option<Pid> {
        if matches!(self, Self::Host) {
            return Some(Pid::from_raw(host.id().cast_signed()));
        }
        // A template, the supervisors that are forked from it, and the plugins that are forked from those.
        let all: Vec<i32> = place
            .installed
            .scene
            .processes_with("__native-plugin")
            .into_iter()
            .map(|process| process.pid)
            .collect();
        let parent = |pid: i32| {
            let parent = status_field(pid, "PPid")?.parse().ok()?;
            all.contains(&parent).then_some(parent)
        };
        let plugin = all
            .iter()
            .copied()
            .find(|pid| parent(*pid).is_some_and(|above| parent(above).is_some()))?;
        let pid = match self {
            Self::Supervisor => parent(plugin)?,
            _ => plugin,
        };
        Some(Pid::from_raw(pid))
    }
}

#[test]
fn no_container_is_left() {
    let place = Place::new();
    let mut random = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .subsec_nanos();
    println!("seed {random}");
    let mut killed_containers = 0;
    for round in 0..amount(12, 200) {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let delay = MOMENTS.mul_f64(f64::from(random) / f64::from(u32::MAX));
        let what = KILLED[round % KILLED.len()];
        let script = if round % 4 == 0 {
            "true"
        } else {
            "trap '' TERM; sleep 3600"
        };
        let mut host = place.start(&place.script(script));
        // The moment is what is being varied: nothing is waited for.
        thread::sleep(delay);
        // Before there is a plugin there is its host.
        let pid = what
            .find(&place, &host)
            .or_else(|| Killed::Host.find(&place, &host))
            .unwrap();
        killed_containers += usize::from(!place.podman.containers().is_empty());
        // It may have ended by now.
        let _ = kill(pid, Signal::SIGKILL);
        host.wait().unwrap();
        place.installed.scene.assert_nothing_left_within(LEFT);
        eventually(
            &format!("the end of containers, killed {what:?} after {delay:?}"),
            || place.podman.containers().is_empty().then_some(()),
        );
    }
    // What the daemon was still about to make is there by now.
    place.assert_nothing_left();
    println!("{killed_containers} containers were there when something was killed");
    assert!(killed_containers > 0, "no moment was one with a container");
}

#[test]
fn a_container_is_removed_where_no_process_of_the_plugin_is_left_to_name_it() {
    let place = Place::new();
    let mut host = place.start(&place.script("echo > begun; sleep 3600"));
    begun(&place, "begun");
    let scene = &place.installed.scene;
    // The one that would remove the container comes first, and then the program that it names.
    for process in scene.processes_with("__last-will") {
        kill(Pid::from_raw(process.pid), Signal::SIGKILL).unwrap();
    }
    place.kill_plugin();
    host.wait().unwrap();
    place.assert_nothing_left();
}
