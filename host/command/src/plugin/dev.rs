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
    os::unix::process::CommandExt,
    process::{Command, ExitCode},
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
    // Else whatever is saved anywhere below would be reported for ever.
    PluginFolder::need_marker(directory)?;
    loop {
        // Before anything is read of them, so that no change is missed.
        let seen = Files::of(directory);
        let project = PluginFolder::read(directory);
        let made = project.as_ref().ok().map(PluginFolder::target_directory);
        let seen = seen.without(made.as_deref());
        let ran = project.and_then(|project| build_and_run(&project, options, host));
        if options.once {
            return ran;
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

/// Returns the exit status of the run.
fn build_and_run(project: &PluginFolder, options: &DevOptions, host: &HostOptions) -> Result<ExitCode> {
    let carrier = if options.native {
        Carrier::Native
    } else {
        Carrier::Component
    };
    // What a run would be rejected for is told before a build, which takes its time.
    if let Err(error) = project.check_metadata(options.metadata.iter().cloned().collect()) {
        let _ = report(&error);
        return Ok(exit::REJECTED.into());
    }
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
    end_with_this_process(&mut command);
    let ended = command.status().context("the host can't be started")?;
    Ok(ended
        .code()
        .map_or(ExitCode::FAILURE, |code| ExitCode::from(code as u8)))
}

/// Has the run told to stop when this process is ended, in whatever way.
fn end_with_this_process(command: &mut Command) {
    let ask = || {
        // SAFETY: its arguments are numbers.
        match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    // SAFETY: it makes one system call, and touches nothing of this process.
    unsafe { command.pre_exec(ask) };
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
