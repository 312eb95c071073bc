//! `plugin dev`: build, run, show what comes of it; and again each time a file of the plugin is saved.
//!
//! What runs it is this executable in a process of its own, so that receipt and log are shown as `run` shows them, and a
//! plugin that goes wrong ends nothing but its run.

use super::{files::Files, language::PluginFolder};
use crate::{
    args::{DevOptions, HostOptions},
    exit, report,
};
use anyhow::{Context, Result, bail};
use executor_runtime::plugin::Carrier;
use std::{
    env,
    process::{Command, ExitCode, ExitStatus},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

/// Time between two looks at the files.
const INTERVAL: Duration = Duration::from_millis(200);

/// Whether Ctrl-C was pressed.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

pub(super) fn dev(options: &DevOptions, host: &HostOptions) -> Result<ExitCode> {
    let directory = options.directory.clone().unwrap_or_else(|| ".".into());
    let directory = &directory;
    note_interrupts();
    loop {
        // Before anything is read of them, so that no change is missed.
        let seen = Files::of(directory);
        let project = PluginFolder::read(directory);
        let made = project.as_ref().ok().map(PluginFolder::target_directory);
        let seen = seen.without(made.as_deref());
        let ran = project.and_then(|project| build_and_run(&project, options, host));
        if options.once {
            return Ok(ran?
                .code()
                .map_or(ExitCode::FAILURE, |code| ExitCode::from(code as u8)));
        }
        if interrupted() {
            return Ok(exit::INTERRUPTED.into());
        }
        if let Err(error) = ran {
            let _ = report(&error);
        }
        say!(
            "waiting for a file to be saved in '{}'; Ctrl-C ends this",
            directory.display()
        );
        while Files::of(directory).without(made.as_deref()) == seen {
            if interrupted() {
                return Ok(exit::INTERRUPTED.into());
            }
            thread::sleep(INTERVAL);
        }
    }
}

fn build_and_run(project: &PluginFolder, options: &DevOptions, host: &HostOptions) -> Result<ExitStatus> {
    let carrier = if options.native {
        Carrier::Native
    } else {
        Carrier::Component
    };
    let built = project.build(carrier)?;
    let kind = match (&options.kind, built.kinds.as_slice()) {
        (Some(kind), _) => kind.as_str(),
        (None, [kind, ..]) => kind.as_str(),
        (None, []) => bail!("the plugin has no kind"),
    };
    let mut command = Command::new(env::current_exe().context("this executable can't be found")?);
    if let Some(config) = &host.config {
        command.arg("--config").arg(config);
    }
    let plugins = built.path.parent().context("a file is in a directory")?;
    command
        .arg("--plugins-dir")
        .arg(plugins)
        .args(["run", "--kind", kind]);
    for (key, value) in &options.metadata {
        command.arg("--metadata").arg(format!("{key}={value}"));
    }
    if let Some(input) = &options.input {
        command.arg("--input").arg(input);
    }
    command.status().context("the host can't be started")
}

fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Has Ctrl-C end the run that is under way, which does so itself, and then this process.
fn note_interrupts() {
    extern "C" fn note(_: libc::c_int) {
        INTERRUPTED.store(true, Ordering::Relaxed);
    }
    let handler: extern "C" fn(libc::c_int) = note;
    // SAFETY: the handler stores to an atomic, which may be done at any moment. In what is started from here, exec puts
    // back what a signal did.
    unsafe { libc::signal(libc::SIGINT, handler as libc::sighandler_t) };
}
