//! What a plugin keeps for the case that its run is interrupted: the next run of the same invocation is told,
//! once; a run that comes to an end leaves nothing to go on from.

use executor_runtime_protocol::{RuntimeResult, Status};
use executor_runtime_tests::{Invocation, Scene, eventually, fixtures};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::Duration,
};

fn carriers() -> [PathBuf; 2] {
    [
        fixtures::component("fixture-greet"),
        fixtures::native("fixture-greet"),
    ]
}

/// A host with one plugin.
struct Place {
    scene: Scene,
}

impl Place {
    fn new(plugin: &Path) -> Self {
        let scene = Scene::new();
        fs::create_dir(scene.path("plugins")).unwrap();
        let name = plugin.file_name().unwrap();
        fs::copy(plugin, scene.path("plugins").join(name)).unwrap();
        Self { scene }
    }

    fn greet(&self, name: &str) -> Invocation {
        self.scene
            .invocation(&["greet"])
            .with("runtime_kind", "greet")
            .id("the-run")
            .metadata("greet.name", name)
            .metadata("greet.remember", "yes")
    }

    fn start(&self, invocation: &Invocation) -> Child {
        use std::io::Write;
        let mut command = self.scene.host(&["--plugins-dir", "plugins", "run", "-"]);
        let mut host = command.stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = host.stdin.take().unwrap();
        stdin.write_all(invocation.text().as_bytes()).unwrap();
        host
    }

    fn run(&self, invocation: &Invocation) -> RuntimeResult {
        self.scene.finish(self.start(invocation)).result()
    }

    /// Has a host greet `name` and die in the middle of it; what is kept then has to be `kept`.
    fn interrupt(&self, name: &str, kept: &str) {
        let mut host = self.start(&self.greet(name).metadata("greet.sleep", 3600));
        let path = self.scene.capture("the-run").join("checkpoint");
        eventually("the checkpoint", || {
            (fs::read_to_string(&path).ok()? == kept).then_some(())
        });
        host.kill().unwrap();
        host.wait().unwrap();
        // The lock goes with the last of its processes.
        self.scene.assert_nothing_left_within(Duration::from_secs(1));
    }

    /// Whom the runs before greeted, as the run that greets `name` is told.
    fn before(&self, name: &str) -> String {
        let result = self.run(&self.greet(name));
        assert_eq!(result.status, Status::Succeeded, "{result:#?}");
        result.metadata["greet.before"].clone()
    }
}

#[test]
fn a_run_goes_on_from_where_the_host_died_and_only_once() {
    for plugin in carriers() {
        let place = Place::new(&plugin);
        assert_eq!(place.before("Ada"), "", "a run that ended is not gone on from");
        place.interrupt("Ada", "Ada;");
        place.interrupt("Bob", "Ada;Bob;");
        assert_eq!(place.before("Eve"), "Ada;Bob;", "{}", plugin.display());
        assert_eq!(place.before("Eve"), "", "{}", plugin.display());
        assert!(!place.scene.capture("the-run").exists(), "{}", plugin.display());
    }
}

#[test]
fn a_run_that_ends_in_any_way_leaves_none() {
    for plugin in carriers() {
        let place = Place::new(&plugin);
        let late = place
            .greet("Ada")
            .metadata("greet.sleep", 3600)
            .with("timeout_seconds", 1);
        assert_eq!(place.run(&late).status, Status::TimedOut);
        assert_eq!(place.before("Eve"), "");
        assert!(!place.scene.capture("the-run").exists(), "{}", plugin.display());
    }
}

#[test]
fn what_was_planted_in_its_place_is_no_checkpoint() {
    for plugin in carriers() {
        let place = Place::new(&plugin);
        let capture = place.scene.capture("the-run");
        let checkpoint = capture.join("checkpoint");
        fs::create_dir_all(&capture).unwrap();
        let secret = place.scene.file("secret", "secret");
        std::os::unix::fs::symlink(&secret, &checkpoint).unwrap();
        assert_eq!(place.before("Eve"), "");
        assert_eq!(fs::read_to_string(&secret).unwrap(), "secret");
        fs::create_dir_all(&capture).unwrap();
        fs::write(&checkpoint, vec![b'x'; 70_000]).unwrap();
        assert_eq!(place.before("Eve"), "");
    }
}
