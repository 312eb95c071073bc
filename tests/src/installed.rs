//! An official kind as an operator has it: the host's binary, and the plugin's file in its directory.

use crate::{Finished, Invocation, Scene, fixtures, kind::package};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

/// A scene in which one plugin is installed.
#[derive(Debug)]
pub struct Installed {
    /// Where it takes place.
    pub scene: Scene,
    kind: &'static str,
}

/// The name of a file that `host` is told of if it exists.
const CONFIG: &str = "executor-runtime.toml";

impl Installed {
    /// The official plugin that runs `kind`, as a component.
    pub fn component(kind: &'static str) -> Self {
        Self::file(kind, &fixtures::component(&package(kind)))
    }

    /// The official plugin that runs `kind`, as a native library.
    pub fn native(kind: &'static str) -> Self {
        Self::file(kind, &fixtures::native(&package(kind)))
    }

    /// On each carrier.
    pub fn on_both(kind: &'static str) -> [Self; 2] {
        [Self::component(kind), Self::native(kind)]
    }

    /// The plugin file `file`, which runs `kind`.
    #[track_caller]
    pub fn file(kind: &'static str, file: &Path) -> Self {
        let scene = Scene::new();
        fs::create_dir(scene.path("plugins")).expect("the scene is new");
        let name = file.file_name().expect("a file has a name");
        fs::copy(file, scene.path("plugins").join(name)).expect("it was built");
        Self { scene, kind }
    }

    /// With an operator's configuration.
    #[must_use]
    pub fn configured(self, text: &str) -> Self {
        self.scene.file(CONFIG, text);
        self
    }

    /// An invocation of the kind.
    pub fn invocation(&self, metadata: &[(&str, &str)]) -> Invocation {
        metadata.iter().fold(
            self.scene.invocation(&["run"]).with("runtime_kind", self.kind),
            |invocation, (key, value)| invocation.metadata(key, value),
        )
    }

    /// A host that is to run what is on its stdin.
    pub fn host(&self) -> Command {
        let mut command = self.scene.host(&["run", "-"]);
        self.equip(&mut command);
        command
    }

    /// Gives a host command this scene's plugins, its configuration, and a cache of compiled components that the
    /// tests of a program share.
    pub fn equip<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let config = self.scene.path(CONFIG);
        if config.exists() {
            command.env("EXECUTOR_RUNTIME_CONFIG", config);
        }
        command
            .env("EXECUTOR_RUNTIME_PLUGINS_DIR", self.scene.path("plugins"))
            .env("XDG_CACHE_HOME", cache())
    }

    /// Runs an invocation to its end.
    #[track_caller]
    pub fn run(&self, invocation: &Invocation) -> Finished {
        self.scene
            .run_command(&mut self.host(), invocation.text().as_bytes())
    }

    /// Starts a host with an invocation.
    #[track_caller]
    pub fn start(&self, invocation: &Invocation) -> Child {
        let file = self.scene.file("invocation.json", invocation.text());
        let mut command = self
            .scene
            .host(&["run", file.to_str().expect("temporary directories are UTF-8")]);
        self.equip(&mut command)
            .stdin(Stdio::null())
            .spawn()
            .expect("it starts")
    }
}

/// Waits until hosts take down what they find out about files that were written until now: those that were changed just
/// before they read each time.
pub fn await_settled() {
    thread::sleep(Duration::from_secs(4));
}

/// The cache of compiled components that the tests of a program share.
pub fn cache() -> PathBuf {
    let program = std::env::current_exe().expect("a program has a path");
    program.with_file_name("host-cache")
}
