//! The `executor-runtime` command with the WebAssembly engine, which runs plugins that are components.

use executor_runtime_command::{Executable, Runs, Serving};
use executor_runtime_component::{CodeCache, Components, Mode};
use executor_runtime_native::NativePlugins;
use executor_runtime_server::{Endpoints, Options, TlsFiles};
use std::{num::NonZeroU32, process::ExitCode, sync::Arc};

/// Instances that the engine keeps room for at most: each takes 4 GiB of addresses. More runs take turns.
const MAX_POOL: NonZeroU32 = NonZeroU32::new(4096).unwrap();

fn main() -> ExitCode {
    // A process that runs a native plugin is nothing else.
    if let Some(code) = executor_runtime_native::worker_main(std::env::args_os().skip(1)) {
        return code;
    }
    let executable = Executable::with_engine(|builder, runs| {
        builder
            .carrier(|supervisors| NativePlugins::new(Arc::clone(supervisors)))
            .carrier(move |_| components(runs))
    });
    let executable = executable
        .with_journal()
        .serving(|serving| executor_runtime_server::serve(server_options(serving)))
        .exporting(executor_runtime_telemetry::start)
        .carrying(include_bytes!(concat!(env!("OUT_DIR"), "/sdk.zlib")));
    executor_runtime_command::main(executable)
}

/// What was said at the command line, as the server takes it.
fn server_options(serving: Serving) -> Options {
    let options = serving.options;
    let tls = options.tls_cert.zip(options.tls_key);
    Options {
        endpoints: Endpoints {
            socket: options.socket,
            address: options.listen,
            token_file: options.token_file,
            tls: tls.map(|(certificate, key)| TlsFiles { certificate, key }),
            allow_hosts: options.allow_host,
        },
        state_directory: options.state_dir,
        limits: serving.limits,
        max_queued: serving.max_queued,
        retention: serving.retention,
        drain: options.drain,
        start: serving.start,
        follow_changes: serving.follow_changes,
    }
}

fn components(runs: Runs) -> Components {
    let cache = CodeCache::of_user();
    match runs {
        Runs::OneComponent => Components::for_one_run(cache),
        Runs::Few => Components::new(Mode::OneShot, cache),
        Runs::AtATime(runs) => {
            let concurrency = NonZeroU32::try_from(runs).map_or(MAX_POOL, |runs| runs.min(MAX_POOL));
            Components::new(Mode::LongLived { concurrency }, cache)
        }
    }
}
