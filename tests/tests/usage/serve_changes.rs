//! Plugins and configuration that change on disk while a host serves.

use executor_runtime_tests::{
    Scene, eventually, fixtures,
    installed::{Installed, cache},
    scripted::{Answer, Scripted},
    serving::{self, Serving},
};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

fn start(scene: &Scene) -> Serving {
    let mut command = serving::command(scene, &["--log-level", "info"]);
    Serving::started(scene, equip(scene, &mut command))
}

/// Gives a command the plugins and the configuration of the scene.
fn equip<'a>(scene: &Scene, command: &'a mut Command) -> &'a mut Command {
    command.env("EXECUTOR_RUNTIME_PLUGINS_DIR", scene.path("plugins"));
    command.env("EXECUTOR_RUNTIME_CONFIG", scene.path("executor-runtime.toml"));
    command.env("XDG_CACHE_HOME", cache())
}

fn kinds(serving: &Serving) -> Vec<String> {
    let answer: Value = serving.get("/v1/kinds").expect(200).json();
    let kinds = answer["kinds"].as_array().unwrap();
    let name = |kind: &Value| kind["runtime_kind"].as_str().unwrap().to_owned();
    kinds.iter().map(name).collect()
}

/// Where the next version of a file is written.
fn next_version(path: &Path) -> PathBuf {
    path.with_extension("new")
}

/// The result of a run of `greet`, once there is one.
fn greet(serving: &Serving, place: &Installed, id: &str) -> Value {
    let invocation = place.invocation(&[("greet.name", "Ada")]).id(id);
    serving.post("/v1/runs", &invocation.text()).expect(202);
    let path = format!("/v1/runs/{id}/result?wait=60");
    serving.get(&path).expect(200).json()
}

#[test]
fn plugins_and_configuration_are_taken_up_or_refused_while_the_old_ones_go_on() {
    let file = fixtures::component("fixture-greet");
    let place = Installed::file("greet", &file).configured("");
    let scene = &place.scene;
    let plugin = scene.path("plugins").join(file.file_name().unwrap());
    let away = scene.path("away.wasm");
    fs::rename(&plugin, &away).unwrap();
    let serving = start(scene);
    assert_eq!(kinds(&serving), ["subprocess"]);
    let early = greet(&serving, &place, "early");
    assert_eq!(early["metadata"]["error.kind"], "no_runner");

    fs::rename(&away, &plugin).unwrap();
    eventually("the plugin being taken up", || {
        kinds(&serving).contains(&"greet".to_owned()).then_some(())
    });
    assert_eq!(greet(&serving, &place, "first")["status"], "succeeded");

    // A configuration with a mistake changes nothing, and is told of once.
    scene.file(
        "executor-runtime.toml",
        "[plugins.fixture-greet]\nenabld = false\n",
    );
    eventually("the mistake being told of", || {
        serving.said().contains("did you mean `enabled`?").then_some(())
    });
    assert_eq!(greet(&serving, &place, "second")["status"], "succeeded");
    scene.file("executor-runtime.toml", "[subprocess]\nmax_output_bytes = 3\n");
    let mut number = 0;
    eventually("the limit being taken up", || {
        number += 1;
        let id = format!("limited-{number}");
        let invocation = scene.script("echo much more").id(&id);
        serving.post("/v1/runs", &invocation.text()).expect(202);
        let result = serving.get(&format!("/v1/runs/{id}/result?wait=60")).expect(200);
        (result.json()["metadata"]["stdout_truncated"] == "true").then_some(())
    });
    assert_eq!(
        serving.said().matches("did you mean").count(),
        1,
        "{}",
        serving.said()
    );

    // What counts only at the start is told of: all that differs, at each change, and also when nothing differs any more.
    let told = |words: &str, times: usize| {
        eventually("the change being told of", || {
            (serving.said().matches(words).count() == times).then_some(())
        });
    };
    let both = "[serve] and [journal] of the configuration changed after this host started";
    let change = |text: &str| scene.file("executor-runtime.toml", text);
    change("[serve]\nmax_queued = 3\n[journal]\nkeep = \"2d\"\n");
    told(both, 1);
    change("[serve]\nmax_queued = 4\n[journal]\nkeep = \"2d\"\n");
    told(both, 2);
    change("[serve]\nmax_queued = 4\n");
    told(" [serve] of the configuration changed after", 1);
    change("");
    told("are as at the start of this host again", 1);
    assert_eq!(
        serving.said().matches("changed after this host started").count(),
        3
    );

    // A plugin that is broken now is refused, and what it was before goes on.
    fs::write(next_version(&plugin), "no plugin at all").unwrap();
    fs::rename(next_version(&plugin), &plugin).unwrap();
    eventually("the broken plugin being told of", || {
        serving.said().contains("can't be used any more").then_some(())
    });
    assert!(kinds(&serving).contains(&"greet".to_owned()));

    fs::remove_file(&plugin).unwrap();
    eventually("the plugin being gone", || {
        (kinds(&serving) == ["subprocess"]).then_some(())
    });
}

#[test]
fn a_configuration_that_misspells_a_plugin_is_refused_at_the_start_and_later() {
    const MISSPELT: &str = "[plugins.gret]\nenabled = false\n";
    let file = fixtures::component("fixture-greet");
    let place = Installed::file("greet", &file).configured(MISSPELT);
    let scene = &place.scene;
    let refused = |command: &mut Command| {
        let finished = scene.run_command(equip(scene, command), b"");
        assert_eq!(finished.code, Some(2), "{finished:?}");
        finished.stderr
    };
    let said = refused(&mut serving::command(scene, &[]));
    assert!(said.contains("did you mean [plugins.greet]?"), "{said}");
    assert_eq!(said, refused(&mut scene.host(&["kinds"])));

    scene.file("executor-runtime.toml", "");
    let serving = start(scene);
    scene.file("executor-runtime.toml", MISSPELT);
    eventually("the mistake being told of", || {
        let told = "stay as they were: [plugins.gret] in the configuration matches no plugin";
        serving.said().contains(told).then_some(())
    });
    assert_eq!(greet(&serving, &place, "after")["status"], "succeeded");
}

#[test]
fn the_kinds_whose_runs_are_limited_are_those_that_are_there() {
    let place = Installed::file("greet", &fixtures::component("fixture-greet"));
    let scene = &place.scene;
    let configure = |kinds: &str| {
        scene.file(
            "executor-runtime.toml",
            format!("[serve]\nmax_running_by_kind = {{ {kinds} }}"),
        );
    };
    for (kinds, words) in [
        (
            "gret = 2",
            "max_running_by_kind in the configuration has 'gret', which is no kind here; did you mean 'greet'?",
        ),
        ("subproces = 2, greet = 1", "did you mean 'subprocess'?"),
        (
            "gr-eet = 2",
            "\"gr-eet\" is not a valid kind; did you mean \"gr_eet\"?",
        ),
    ] {
        configure(kinds);
        for mut command in [serving::command(scene, &[]), scene.host(&["kinds"])] {
            let finished = scene.run_command(equip(scene, &mut command), b"");
            assert_eq!(finished.code, Some(2), "{finished:?}");
            assert!(finished.stderr.contains(words), "{finished:?}");
        }
    }
    // A plugin for it may come later.
    configure("another = 2, greet = 1, subprocess = 1");
    const WARNING: &str = "max_running_by_kind in the configuration has 'another', which is no kind here\n";
    let finished = scene.run_command(equip(scene, &mut scene.host(&["kinds"])), b"");
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!(finished.stderr.contains(WARNING), "{finished:?}");
    let serving = start(scene);
    assert!(serving.said().contains(WARNING), "{}", serving.said());
    assert_eq!(kinds(&serving), ["greet", "subprocess"]);
}

#[test]
fn a_limited_kind_that_goes_away_is_no_misspelling_of_a_similar_one_that_is_limited_too() {
    let place = Installed::file("greet", &fixtures::component("fixture-greet"))
        .configured("[serve]\nmax_running_by_kind = { build1 = 2, build2 = 2 }");
    let scene = &place.scene;
    for kind in ["build1", "build2"] {
        let recipe =
            "version = \"0.1.0\"\nsummary = \"A build\"\nbase = \"greet\"\n[set]\n\"greet.name\" = \"Ada\"";
        scene.file(&format!("plugins/{kind}.kind.toml"), recipe);
    }
    let serving = start(scene);
    assert_eq!(kinds(&serving), ["build1", "build2", "greet", "subprocess"]);

    fs::remove_file(scene.path("plugins/build2.kind.toml")).unwrap();
    eventually("the recipe being gone", || {
        (kinds(&serving) == ["build1", "greet", "subprocess"]).then_some(())
    });
    const WARNING: &str = "max_running_by_kind in the configuration has 'build2', which is no kind here\n";
    let finished = scene.run_command(equip(scene, &mut scene.host(&["kinds"])), b"");
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!(finished.stderr.contains(WARNING), "{finished:?}");
}

#[test]
fn a_plugin_that_is_replaced_again_and_again_hurts_no_other_run() {
    let file = fixtures::component("fixture-greet");
    let place = Installed::file("greet", &file).configured("");
    let scene = &place.scene;
    // A run that is under way keeps what it began with.
    let answers = AtomicBool::new(false);
    let answers: &'static AtomicBool = Box::leak(Box::new(answers));
    let server = Scripted::start(move |_, _| {
        while !answers.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(5));
        }
        Answer::new(200, "a page")
    });
    let serving = start(scene);
    let slow = place
        .invocation(&[("greet.name", "Ada"), ("greet.url", &server.url("/"))])
        .id("slow")
        .with("timeout_seconds", 60);
    serving.post("/v1/runs", &slow.text()).expect(202);
    server.wait_for(1);
    let (good, plugins) = (fs::read(&file).unwrap(), scene.path("plugins"));
    let name = file.file_name().unwrap().to_str().unwrap();
    for round in 0..25_usize {
        let bytes = match round % 3 {
            0 => &good[..good.len() / 2],
            1 => b"no plugin at all",
            _ => good.as_slice(),
        };
        fs::write(plugins.join("new"), bytes).unwrap();
        fs::rename(plugins.join("new"), plugins.join(name)).unwrap();
        let id = format!("beside-{round}");
        let beside = scene.script("echo beside").id(&id);
        serving.post("/v1/runs", &beside.text()).expect(202);
        let result = serving.get(&format!("/v1/runs/{id}/result?wait=60")).expect(200);
        assert_eq!(result.json()["status"], "succeeded");
        thread::sleep(Duration::from_millis(100));
    }
    fs::write(plugins.join("new"), &good).unwrap();
    fs::rename(plugins.join("new"), plugins.join(name)).unwrap();
    serving.signal(libc::SIGHUP);
    answers.store(true, Ordering::SeqCst);
    let slow: Value = serving.get("/v1/runs/slow/result?wait=60").expect(200).json();
    assert_eq!(slow["status"], "succeeded", "{slow}");
    let mut number = 0;
    eventually("the good plugin being taken up", || {
        number += 1;
        let last = greet(&serving, &place, &format!("last-{number}"));
        (last["status"] == "succeeded").then_some(())
    });
}
