//! Debian's packages by way of apt, without installing anything: apt's lists and downloads are kept in a folder
//! of ours, so that they are today's, and no privilege is needed.

use crate::output;
use anyhow::{Context, Result, bail};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// apt with state of its own.
pub(crate) struct Apt {
    folder: PathBuf,
    /// What went wrong with the update of the lists. One of several sources may be out of reach, so that is an
    /// error only if something is missing then.
    complaint: Option<String>,
}

impl Apt {
    /// Takes today's lists from the sources that the machine has.
    pub(crate) fn new(folder: &Path) -> Result<Self> {
        for name in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(folder.join(name))?;
        }
        let mut apt = Self {
            folder: folder.to_owned(),
            complaint: None,
        };
        let mut update = apt.command("apt-get");
        let updated = update
            .args(["update", "--quiet=2"])
            .output()
            .context("apt-get can't be started")?;
        let complaint = String::from_utf8_lossy(&updated.stderr).trim().to_owned();
        apt.complaint = (!complaint.is_empty()).then_some(complaint);
        Ok(apt)
    }

    /// The version of `package` that would be downloaded.
    pub(crate) fn version(&self, package: &str) -> Result<String> {
        let mut show = self.command("apt-cache");
        show.args(["show", "--no-all-versions", package]);
        output(&mut show)
            .ok()
            .and_then(|shown| {
                let mut lines = shown.lines();
                lines.find_map(|line| Some(line.strip_prefix("Version: ")?.to_owned()))
            })
            .with_context(|| match &self.complaint {
                None => format!("apt has no package '{package}'"),
                Some(complaint) => format!("apt-get update failed: {complaint}"),
            })
    }

    /// `package` and everything it depends on, as far as it is not installed.
    pub(crate) fn missing(&self, package: &str) -> Result<Vec<String>> {
        let mut depends = self.command("apt-cache");
        depends.args(["depends", "--recurse", "--important", package]);
        let depends = output(&mut depends)?;
        let installed = output(
            Command::new("dpkg-query").args(["--show", "--showformat=${Package} ${db:Status-Status}\n"]),
        )?;
        let installed: BTreeSet<_> = installed
            .lines()
            .filter_map(|line| line.strip_suffix(" installed"))
            .collect();
        // What depends on what is indented; virtual packages are in brackets, other architectures have a colon.
        let names = depends
            .lines()
            .filter(|line| line.starts_with(|c: char| c.is_ascii_alphanumeric()) && !line.contains(':'));
        Ok(names
            .filter(|name| !installed.contains(name))
            .map(str::to_owned)
            .collect())
    }

    /// Downloads these packages, and returns their files.
    pub(crate) fn download(&self, packages: &[String]) -> Result<Vec<PathBuf>> {
        let mut download = self.command("apt-get");
        output(download.args(["download", "--quiet=2"]).args(packages))?;
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let file = entry?.path();
            if file.extension().is_some_and(|extension| extension == "deb") {
                files.push(file);
            }
        }
        if files.len() != packages.len() {
            bail!(
                "apt-get downloaded {} of {} packages",
                files.len(),
                packages.len()
            );
        }
        Ok(files)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let state = |key: &str, name: &str| format!("{key}={}", self.folder.join(name).display());
        command
            .current_dir(&self.folder)
            .env("LC_ALL", "C")
            .args(["-o", &state("Dir::State::lists", "lists")])
            .args(["-o", &state("Dir::Cache", "cache")])
            // A source behind a firewall that answers nothing is given up soon.
            .args([
                "-o",
                "Acquire::http::Timeout=20",
                "-o",
                "Acquire::https::Timeout=20",
            ])
            // apt run by root changes to a user who may not reach this folder.
            .args(["-o", "APT::Sandbox::User=root"]);
        command
    }
}
