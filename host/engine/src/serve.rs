//! `serve`, put together from the command line, the configuration and the server.

use crate::reload;
use anyhow::Result;
use executor_runtime::{config::Config, plugin::Snapshot};
use executor_runtime_command::{ConfigurationFile, Serving, StartHost, check_configured_names};
use executor_runtime_server::{Endpoints, Options, TlsFiles};
use executor_runtime_service::{Limits, Retention};
use std::{
    num::NonZeroUsize,
    sync::{Arc, OnceLock},
};

/// Runs that wait, unless something else is said.
const MAX_QUEUED: usize = 10_000;

pub(super) fn serve(serving: Serving) -> Result<u8> {
    let Serving {
        options,
        max_running,
        config,
        config_file,
        start,
    } = serving;
    let tls = options.tls_cert.zip(options.tls_key);
    let configured = config.serve().max_queued.map(number);
    let read = Arc::new(OnceLock::new());
    executor_runtime_server::serve(Options {
        endpoints: Endpoints {
            socket: options.socket,
            address: options.listen,
            token_file: options.token_file,
            tls: tls.map(|(certificate, key)| TlsFiles { certificate, key }),
            allow_hosts: options.allow_host,
        },
        state_directory: options.state_dir,
        limits: limits(max_running, &config),
        max_queued: options.max_queued.or(configured).unwrap_or(MAX_QUEUED),
        retention: Retention::of(&config),
        drain: options.drain,
        start: checked(start, config_file.clone(), Arc::clone(&read)),
        follow_changes: Box::new(move |service| {
            let read = read.get().cloned();
            Box::pin(reload::follow_changes(service, config_file.clone(), read))
        }),
    })
}

/// The same, which fails where the configuration names plugins wrongly: a host that went on would reject each run of a
/// plugin. `read` becomes what the files were like just before the plugins were looked for.
fn checked(start: StartHost, config: ConfigurationFile, read: Arc<OnceLock<Snapshot>>) -> StartHost {
    Box::new(move || {
        let (host, runtime) = start()?;
        let plugins = host.plugins();
        read.get_or_init(|| reload::snapshot(&config, plugins.directories()));
        check_configured_names(plugins)?;
        Ok((host, runtime))
    })
}

fn limits(max_running: NonZeroUsize, config: &Config) -> Limits {
    let by_kind = config.serve().max_running_by_kind.iter();
    Limits {
        max_running,
        max_running_by_kind: by_kind
            .map(|(kind, runs)| {
                let runs = NonZeroUsize::new(number(*runs)).unwrap_or(NonZeroUsize::MIN);
                (kind.clone(), runs)
            })
            .collect(),
    }
}

fn number(value: impl Into<u64>) -> usize {
    usize::try_from(value.into()).unwrap_or(usize::MAX)
}
