//! What a plugin keeps for the case that its run is interrupted: the next run of the same invocation is told,
//! once; a run that comes to an end leaves nothing to go on from.

use executor_runtime_protocol::{RuntimeResult, Status};
use executor_runtime_tests::{
    Invocation, Scene, fixtures,
    scripted::{Answer, Scripted},
};
use serde_json::json;
use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::Duration,
};

fn carriers_of(package: &str) -> [PathBuf; 2] {
    [fixtures::component(package), fixtures::native(package)]
}

/// A host with one plugin.
struct Place(Scene);

impl Place {
    fn new(plugin: &Path) -> Self {
        let scene = Scene::new();
        fs::create_dir(scene.path("plugins")).unwrap();
        let name = plugin.file_name().unwrap();
        fs::copy(plugin, scene.path("plugins").join(name)).unwrap();
        Self(scene)
    }

    fn capture(&self) -> PathBuf {
        self.0.capture("the-run")
    }

    fn invocation(&self, kind: &str) -> Invocation {
        self.0
            .invocation(&["run"])
            .with("runtime_kind", kind)
            .id("the-run")
    }

    /// An invocation that keeps whom it greets, asks `server` for a page, and tells whom the run before greeted.
    fn greet(&self, name: &str, server: &Scripted) -> Invocation {
        self.invocation("greet")
            .metadata("greet.name", name)
            .metadata("greet.remember", "yes")
            .metadata("greet.url", server.url("/"))
    }

    fn start(&self, invocation: &Invocation) -> Child {
        let mut command = self.0.host(&["--plugins-dir", "plugins", "run", "-"]);
        let mut host = command.stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = host.stdin.take().unwrap();
        stdin.write_all(invocation.text().as_bytes()).unwrap();
        host
    }

    fn run(&self, invocation: &Invocation) -> RuntimeResult {
        self.0.finish(self.start(invocation)).result()
    }

    /// Has a host run it, and kills that host when the backend has got `requests` in all.
    fn interrupt(&self, invocation: &Invocation, server: &Scripted, requests: usize) {
        let mut host = self.start(invocation);
        server.wait_for(requests);
        host.kill().unwrap();
        host.wait().unwrap();
        // The lock goes with the last of its processes.
        self.0.assert_nothing_left_within(Duration::from_secs(1));
    }

    /// Whom the run before greeted, as this one is told.
    fn before(&self, invocation: &Invocation) -> String {
        let result = self.run(invocation);
        assert_eq!(result.status, Status::Succeeded, "{result:#?}");
        result.metadata["greet.before"].clone()
    }
}

/// Keeps the first `silent` requests waiting, and answers the others.
fn silent_at_first(silent: usize) -> Scripted {
    Scripted::start(move |_, n| match n < silent {
        true => Answer::Silence,
        false => Answer::new(200, "a page"),
    })
}

#[test]
fn a_run_goes_on_from_where_the_host_died_and_only_once() {
    for plugin in carriers_of("fixture-greet") {
        let place = Place::new(&plugin);
        let server = silent_at_first(2);
        let greet = place.greet("Ada", &server);
        place.interrupt(&greet, &server, 1);
        place.interrupt(&greet.clone().with("timeout_seconds", 60), &server, 2);
        assert_eq!(place.before(&greet), "Ada;Ada;", "{}", plugin.display());
        assert_eq!(place.before(&greet), "", "{}", plugin.display());
        // Only what the page was kept in is left.
        assert!(
            !place.capture().join("checkpoint").exists(),
            "{}",
            plugin.display()
        );
    }
}

#[test]
fn another_invocation_of_the_same_id_starts_anew() {
    for plugin in carriers_of("fixture-greet") {
        let place = Place::new(&plugin);
        let server = silent_at_first(1);
        place.interrupt(&place.greet("Ada", &server), &server, 1);
        assert_eq!(
            place.before(&place.greet("Eve", &server)),
            "",
            "{}",
            plugin.display()
        );
        assert_eq!(
            place.before(&place.greet("Ada", &server)),
            "",
            "{}",
            plugin.display()
        );
    }
}

#[test]
fn a_run_that_ends_in_any_way_leaves_none() {
    for plugin in carriers_of("fixture-greet") {
        let place = Place::new(&plugin);
        let server = silent_at_first(1);
        let greet = place.greet("Ada", &server);
        let late = place.run(&greet.clone().with("timeout_seconds", 1));
        assert_eq!(late.status, Status::TimedOut);
        assert_eq!(place.before(&greet), "", "{}", plugin.display());
    }
}

#[test]
fn what_was_planted_in_its_place_is_no_checkpoint() {
    for plugin in carriers_of("fixture-greet") {
        let place = Place::new(&plugin);
        let server = silent_at_first(0);
        let greet = place.greet("Eve", &server);
        let checkpoint = place.capture().join("checkpoint");
        fs::create_dir_all(place.capture()).unwrap();
        let secret = place.0.file("secret", "secret");
        std::os::unix::fs::symlink(&secret, &checkpoint).unwrap();
        assert_eq!(place.before(&greet), "");
        assert_eq!(fs::read_to_string(&secret).unwrap(), "secret");
        for planted in [b"Ada;".to_vec(), vec![b'x'; 200_000]] {
            fs::write(&checkpoint, planted).unwrap();
            assert_eq!(place.before(&greet), "");
        }
    }
}

#[test]
fn http_async_goes_on_polling_the_run_that_it_had_started() {
    for plugin in carriers_of("executor-runtime-plugin-http-async") {
        let place = Place::new(&plugin);
        // The kickoff and two polls for the host that dies, one poll for the next.
        let server = Scripted::start(|request, n| match (&*request.method, n) {
            ("POST", _) => Answer::new(202, json!({"id": "r/7"}).to_string()),
            (_, 1 | 2) => Answer::new(200, json!({"status": "running"}).to_string()),
            _ => Answer::new(200, json!({"status": "completed"}).to_string()),
        });
        let invocation = place
            .invocation("http_async")
            .metadata("http.url", server.url("/runs"))
            .metadata("http.poll_url_template", server.url("/runs/{run_id}"))
            .metadata("http.poll_run_id_path", "id")
            .metadata("http.poll_status_path", "status")
            .metadata("http.poll_terminal_states", "completed")
            .metadata("http.poll_interval_seconds", "0.3");
        place.interrupt(&invocation, &server, 3);
        let result = place.run(&invocation);
        assert_eq!(result.status, Status::Succeeded, "{result:#?}");
        assert_eq!(result.metadata["http.resumed"], "true");
        assert_eq!(result.metadata["http.run_id"], "r/7");
        assert_eq!(
            server.lines(),
            [
                "POST /runs",
                "GET /runs/r%2F7",
                "GET /runs/r%2F7",
                "GET /runs/r%2F7"
            ]
        );
        // It has ended: the same invocation is a new run.
        assert_eq!(place.run(&invocation).metadata.get("http.resumed"), None);
        assert_eq!(server.lines()[4..], ["POST /runs", "GET /runs/r%2F7"]);
    }
}
