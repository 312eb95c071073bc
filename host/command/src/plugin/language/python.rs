//! A plugin in Python: `plugin.py`, the SDK beside it, and componentize-py, which makes a component of both.

use super::{
    super::build::Built,
    Definition, Project, SdkFolder, SdkForm,
    folder::{Folder, run_builder, run_tests},
};
use anyhow::{Result, anyhow};
use executor_runtime::{plugin::Carrier, protocol::PluginDescriptor};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The version of componentize-py that this was tested with.
const COMPONENTIZE: &str = "0.25.1";

/// Where the SDK is in a plugin's folder.
const SDK: &str = "executor_runtime";

/// The module of the SDK that componentize-py starts from.
const ENTRY: &str = "executor_runtime.component";

/// A plugin's own Python, which need not be activated.
const VENV: &str = ".venv";

pub(super) static PYTHON: Definition = Definition {
    name: "Python",
    option: "python",
    marker: "plugin.py",
    source: "plugin.py",
    template: &[
        ("plugin.py", include_str!("../template/python/plugin.py.in")),
        ("plugin.json", include_str!("../template/plugin.json.in")),
        (".gitignore", include_str!("../template/python/gitignore.in")),
        (
            "test_plugin.py",
            include_str!("../template/python/test_plugin.py.in"),
        ),
        ("README.md", include_str!("../template/python/README.md.in")),
    ],
    fills: &[("__COMPONENTIZE__", COMPONENTIZE)],
    sdk: SdkForm::Folder(SdkFolder {
        carried: "plugin-sdk/python/",
        sources: "executor_runtime/",
        folder: SDK,
    }),
    check_name: |_| Ok(()),
    setup: |folder| {
        Some(format!(
            "python3 -m venv '{folder}/{VENV}' && '{folder}/{VENV}/bin/pip' install componentize-py=={COMPONENTIZE}"
        ))
    },
    carriers: &[Carrier::Component],
    read: |given, directory| Ok(Box::new(PythonPlugin(Folder::read(&PYTHON, given, directory)?))),
};

struct PythonPlugin(Folder);

impl Project for PythonPlugin {
    fn descriptor(&self) -> &PluginDescriptor {
        &self.0.descriptor
    }

    fn build(&self, _: Carrier) -> Result<Built> {
        self.0.build(self.packages(), |made| self.componentize(made))
    }

    /// Runs the tests in `test*.py`, on the machine's Python.
    fn test(&self) -> Result<()> {
        let mut python = self.command("python3");
        python
            .args(["-m", "unittest"])
            .env("PYTHONDONTWRITEBYTECODE", "1");
        run_tests(&mut python, "python3", || {
            anyhow!("python3 is not installed, or not in PATH")
        })
    }

    fn target_directory(&self) -> PathBuf {
        self.0.target()
    }

    fn plugin_path(&self, _: Carrier) -> PathBuf {
        self.0.plugin_path()
    }
}

impl PythonPlugin {
    /// The packages in the plugin's own environment. None without one: which packages there are is not known then.
    fn packages(&self) -> Option<String> {
        let library = self.0.directory.join(VENV).join("lib");
        let mut packages: Vec<_> = fs::read_dir(library)
            .ok()?
            .filter_map(|python| fs::read_dir(python.ok()?.path().join("site-packages")).ok())
            .flatten()
            .filter_map(|package| {
                let package = package.ok()?;
                Some((package.file_name(), package.metadata().ok()?.modified().ok()?))
            })
            .collect();
        packages.sort();
        Some(format!("{COMPONENTIZE} {packages:?}"))
    }

    fn componentize(&self, made: &Path) -> Result<()> {
        let mut tool = self.command("componentize-py");
        tool.args(["--quiet", "--world", "runner", "--wit-path"])
            .arg(Path::new(SDK).join("wit"))
            .args(["componentize", "--python-path", ".", "--output"])
            .arg(made)
            .arg(ENTRY);
        run_builder(&mut tool, "componentize-py", || self.no_componentize())
    }

    /// A program of Python's, first looked for in the plugin's own environment.
    fn command(&self, program: &str) -> Command {
        let venv = self.0.directory.join(VENV);
        let own = venv.join("bin").join(program);
        let mut command = Command::new(if own.is_file() {
            own.as_path()
        } else {
            Path::new(program)
        });
        if own.is_file() {
            // componentize-py looks there for the packages that a plugin imports.
            command.env("VIRTUAL_ENV", &venv);
        }
        command.current_dir(&self.0.directory);
        command
    }

    fn no_componentize(&self) -> anyhow::Error {
        let venv = self.0.directory.join(VENV);
        let venv = venv.display();
        anyhow!(
            "componentize-py is not installed, or not in PATH: it makes a component of Python\n  \
             install it for this plugin with: python3 -m venv '{venv}' && '{venv}/bin/pip' install \
             componentize-py=={COMPONENTIZE}\n  \
             or with: pip install componentize-py=={COMPONENTIZE}"
        )
    }
}
