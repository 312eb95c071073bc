//! Taking up plugins and configuration that change on disk while a host serves.
//!
//! Files are looked at every second, and at once on SIGHUP. What is found, once it does not change any more, is taken up as
//! a whole, for runs that begin later, or not at all: a configuration that can't be used, or a plugin that could be used
//! before and can't be now, is told of, and what was before goes on. A plugin file that is gone takes its kinds with it.

use anyhow::{Result, bail};
use executor_runtime::{
    Host,
    config::{JournalConfig, ServeConfig},
    plugin::{Found, PluginSet, Snapshot, State, Unusable},
};
use executor_runtime_command::{ConfigurationFile, check_configured_names};
use executor_runtime_run::exhaustion;
use executor_runtime_service::Service;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// How long after SIGHUP files are looked at again, to see that they are whole.
const SETTLING: Duration = Duration::from_millis(50);

/// Takes up what is no longer as in `read`, for as long as what is returned is polled. From now on SIGHUP does not end this
/// process.
pub(super) fn follow_changes(
    service: Service,
    config: ConfigurationFile,
    read: Option<Snapshot>,
) -> impl Future<Output = ()> + Send + 'static {
    let asked = signal(SignalKind::hangup()).ok();
    follow(service, config, read, asked)
}

async fn follow(
    service: Service,
    config: ConfigurationFile,
    read: Option<Snapshot>,
    mut asked: Option<Signal>,
) {
    let directories = service.host().plugins().directories().to_vec();
    let started = OnlyAtStart::of(&service.host());
    let mut told = started.clone();
    let mut taken_up = read;
    let mut before = taken_up.clone();
    loop {
        let is_asked = match &mut asked {
            Some(asked) => tokio::select! {
                _ = asked.recv() => true,
                () = tokio::time::sleep(LOOK) => false,
            },
            None => {
                tokio::time::sleep(LOOK).await;
                false
            }
        };
        if is_asked {
            before = look(&config, &directories).await;
            tokio::time::sleep(SETTLING).await;
        }
        let now = look(&config, &directories).await;
        // What changes at this moment may be half written.
        let is_settled = now == before;
        before.clone_from(&now);
        if !is_settled || (now == taken_up && !is_asked) {
            continue;
        }
        taken_up = now;
        let (current, config) = (service.host(), config.clone());
        let read = exhaustion::run_blocking(move || read_again(&current, &config)).await;
        match read.map_err(anyhow::Error::from).flatten() {
            Ok(host) => {
                let kinds: Vec<_> = host.kinds().iter().map(ToString::to_string).collect();
                tracing::info!(
                    "plugins and configuration were read again; the kinds are {}",
                    kinds.join(", ")
                );
                let found = OnlyAtStart::of(&host);
                if found != told {
                    found.tell_what_differs_from(&started);
                    told = found;
                }
                service.replace_host(host);
            }
            Err(error) => {
                tracing::error!("plugins and configuration stay as they were: {error:#}");
            }
        }
    }
}

/// What of the configuration counts only when a host starts.
#[derive(Clone, PartialEq)]
struct OnlyAtStart {
    serve: ServeConfig,
    journal: JournalConfig,
}

impl OnlyAtStart {
    fn of(host: &Host) -> Self {
        let config = host.plugins().config();
        Self {
            serve: config.serve().clone(),
            journal: config.journal().clone(),
        }
    }

    fn tell_what_differs_from(&self, started: &Self) {
        let sections = [
            (self.serve != started.serve).then_some("[serve]"),
            (self.journal != started.journal).then_some("[journal]"),
        ];
        let sections: Vec<_> = sections.into_iter().flatten().collect();
        match sections.is_empty() {
            true => tracing::info!(
                "[serve] and [journal] of the configuration are as at the start of this host again"
            ),
            false => tracing::warn!(
                "{} of the configuration changed after this host started; such changes take effect at its next start, \
                 except where an option of `serve` sets the same",
                sections.join(" and ")
            ),
        }
    }
}

/// A plugin file that could be used before and can't be now, though it is there and the configuration has it.
fn broken<'a>(before: &PluginSet, now: &'a PluginSet) -> Option<&'a Found> {
    let worked = |path: &Path| {
        let mut found = before.list().iter();
        found.any(|found| found.path == path && matches!(found.state, State::Usable(_)))
    };
    now.list().iter().find(|found| match &found.state {
        State::Usable(_) | State::Unusable(Unusable::Disabled(_)) => false,
        State::Unusable(_) => worked(&found.path),
    })
}

fn reason(found: &Found) -> String {
    match &found.state {
        State::Usable(_) => String::new(),
        State::Unusable(reason) => reason.to_string(),
    }
}

async fn look(config: &ConfigurationFile, directories: &[PathBuf]) -> Option<Snapshot> {
    let (config, directories) = (config.clone(), directories.to_vec());
    let look = move || snapshot(&config, &directories);
    exhaustion::run_blocking(look).await.ok()
}

/// What the files are like now. Blocks.
pub(super) fn snapshot(config: &ConfigurationFile, directories: &[PathBuf]) -> Snapshot {
    let mut paths = directories.to_vec();
    paths.extend(config.path());
    Snapshot::of(paths.iter().map(PathBuf::as_path))
}

fn read_again(current: &Host, config: &ConfigurationFile) -> Result<Host> {
    let host = current.read_again(config.read()?);
    if let Some(broken) = broken(current.plugins(), host.plugins()) {
        bail!(
            "'{}' can't be used any more: it {}",
            broken.path.display(),
            reason(broken)
        );
    }
    check_configured_names(host.plugins())?;
    Ok(host)
}
