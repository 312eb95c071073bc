//! A plugin in JavaScript: `plugin.js`, the SDK beside it, and componentize-js, which makes a component of both.

use super::{
    super::build::Built,
    Definition, Project, SdkFolder, SdkForm,
    folder::{Folder, not_started, run_tests},
};
use anyhow::{Result, anyhow, bail};
use executor_runtime::{plugin::Carrier, protocol::PluginDescriptor};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The version of componentize-js that this was tested with.
const COMPONENTIZE: &str = "0.23.0";

/// Where the SDK is in a plugin's folder.
const SDK: &str = "executor_runtime";

/// The packages that npm has installed, in a plugin's folder or in one above it.
const PACKAGES: &str = "node_modules";

/// What componentize-js says before what went wrong in the plugin, and the line after it.
const SAID: [&str; 2] = [
    "Exception while evaluating top-level script\n",
    "\n    at componentize ",
];

pub(super) static JAVASCRIPT: Definition = Definition {
    name: "JavaScript",
    option: "javascript",
    marker: "plugin.js",
    source: "plugin.js",
    template: &[
        ("plugin.js", include_str!("../template/javascript/plugin.js.in")),
        ("plugin.json", include_str!("../template/plugin.json.in")),
        (".gitignore", include_str!("../template/javascript/gitignore.in")),
        (
            "package.json",
            include_str!("../template/javascript/package.json.in"),
        ),
        (
            "plugin.test.js",
            include_str!("../template/javascript/plugin.test.js.in"),
        ),
        ("README.md", include_str!("../template/javascript/README.md.in")),
    ],
    fills: &[("__COMPONENTIZE__", COMPONENTIZE)],
    sdk: SdkForm::Folder(SdkFolder {
        carried: "plugin-sdk/javascript/",
        sources: "executor_runtime/",
        folder: SDK,
    }),
    check_name: |_| Ok(()),
    setup: |folder| {
        Some(format!(
            "npm install --prefix '{folder}'    # componentize-js {COMPONENTIZE}"
        ))
    },
    carriers: &[Carrier::Component],
    read: |given, directory| {
        Ok(Box::new(JavaScriptPlugin(Folder::read(
            &JAVASCRIPT,
            given,
            directory,
        )?)))
    },
};

struct JavaScriptPlugin(Folder);

impl Project for JavaScriptPlugin {
    fn descriptor(&self) -> &PluginDescriptor {
        &self.0.descriptor
    }

    fn build(&self, _: Carrier) -> Result<Built> {
        let own = self.own_componentize();
        let packages = own.as_deref().and_then(packages);
        self.0
            .build(packages, |made| self.componentize(own.as_deref(), made))
    }

    /// Runs the tests that node finds, such as those in `*.test.js`.
    fn test(&self) -> Result<()> {
        let mut node = Command::new("node");
        node.arg("--test").current_dir(&self.0.directory);
        run_tests(&mut node, "node", no_node)
    }

    fn target_directory(&self) -> PathBuf {
        self.0.target()
    }

    fn plugin_path(&self, _: Carrier) -> PathBuf {
        self.0.plugin_path()
    }
}

impl JavaScriptPlugin {
    /// The componentize-js that npm has installed for the plugin.
    fn own_componentize(&self) -> Option<PathBuf> {
        let folders = self.0.directory.ancestors();
        let mut scripts = folders.map(|folder| folder.join(PACKAGES).join(".bin/componentize-js"));
        scripts.find(|script| script.is_file())
    }

    fn componentize(&self, own: Option<&Path>, made: &Path) -> Result<()> {
        let mut tool = match own {
            Some(script) => {
                let mut node = Command::new("node");
                node.arg(script);
                node
            }
            None => Command::new("componentize-js"),
        };
        tool.arg(Path::new(SDK).join("component.js"))
            .arg("--wit")
            .arg(Path::new(SDK).join("wit"))
            // Requests are the SDK's, by the host's own interface.
            .args([
                "--world-name",
                "runner",
                "--disable",
                "http",
                "fetch-event",
                "--out",
            ])
            .arg(made)
            .current_dir(&self.0.directory)
            .stdin(Stdio::null());
        let missing = || {
            if own.is_some() {
                no_node()
            } else {
                self.no_componentize()
            }
        };
        let ended = tool
            .output()
            .map_err(|error| not_started(error, "componentize-js", missing))?;
        let said = String::from_utf8_lossy(&ended.stderr);
        if ended.status.success() {
            return Ok(());
        }
        say!("{}", what_went_wrong(&said));
        if let Some(module) = unknown_module(&said) {
            bail!(
                "the component was not built: it can't import '{module}'\n  \
                 modules of Node.js are not there, and modules of npm only in a file of the plugin: make one with \
                 `npx esbuild PACKAGE --bundle --format=esm --outfile=lib/PACKAGE.js`, and import './lib/PACKAGE.js'"
            );
        }
        bail!("the component was not built: componentize-js failed; see its output above");
    }

    fn no_componentize(&self) -> anyhow::Error {
        anyhow!(
            "componentize-js is not installed in the plugin's {PACKAGES}, nor in PATH: it makes a component of JavaScript\n  \
             install it for this plugin with: npm install --prefix '{}' --save-dev \
             @bytecodealliance/componentize-js@{COMPONENTIZE}\n  \
             npm comes with Node.js 20 or newer: https://nodejs.org",
            self.0.directory.display()
        )
    }
}

/// When the packages were installed among which this script is, and which: npm writes a file about that.
fn packages(script: &Path) -> Option<String> {
    let list = script.parent()?.parent()?.join(".package-lock.json");
    let installed = fs::metadata(list).ok()?.modified().ok()?;
    Some(format!("{COMPONENTIZE} {installed:?}"))
}

fn no_node() -> anyhow::Error {
    anyhow!("node is not installed, or not in PATH: get Node.js 20 or newer from https://nodejs.org")
}

/// The part of componentize-js's output that is about the plugin; all of it if there is none.
fn what_went_wrong(said: &str) -> &str {
    let [before, after] = SAID;
    let own = said
        .split_once(before)
        .map(|(_, rest)| rest.split(after).next().unwrap_or(rest));
    let own = own.map(|own| own.split("\nAdditionally, some promises").next().unwrap_or(own));
    own.unwrap_or(said).trim_end()
}

/// The module that a plugin imports by a name and not by a path, if that is what went wrong.
fn unknown_module(said: &str) -> Option<&str> {
    let (_, rest) = said.split_once("Error loading module \"")?;
    let (module, _) = rest.split_once('"')?;
    (!module.starts_with(['.', '/'])).then_some(module)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_componentize_js_says_the_authors_part_is_shown() {
        let said = "Error: Failed to initialize component (wizer (/x)):\nException while evaluating top-level script\n\
                    plugin.js:2:11 TypeError: x\nAdditionally, some promises were rejected\nStack:\n  \
                    @plugin.js:2:11\n    at componentize (file:///x:365:11)\n\nNode.js v20\n";
        assert_eq!(what_went_wrong(said), "plugin.js:2:11 TypeError: x");
        assert_eq!(what_went_wrong("other\n"), "other");
        let not_there =
            |module: &str| format!("ReferenceError: Error loading module \"{module}\" (resolved path");
        assert_eq!(unknown_module(&not_there("node:fs")), Some("node:fs"));
        assert_eq!(unknown_module(&not_there("./lib/x.js")), None);
    }
}
