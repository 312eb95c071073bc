//! The `executor-runtime` command with the WebAssembly engine, which runs plugins that are components.

use executor_runtime_command::{Executable, ServeOptions};
use executor_runtime_component::{CodeCache, Components, Mode};
use executor_runtime_native::NativePlugins;
use executor_runtime_server::{Endpoints, Options, TlsFiles};
use executor_runtime_service::Limits;
use std::{num::NonZeroU32, process::ExitCode, sync::Arc};

/// Instances that the engine keeps room for at most: each takes 4 GiB of addresses. More runs take turns.
const MAX_POOL: NonZeroU32 = NonZeroU32::new(4096).unwrap();

fn main() -> ExitCode {
    // A process that runs a native plugin is nothing else.
    if let Some(code) = executor_runtime_native::worker_main(std::env::args_os().skip(1)) {
        return code;
    }
    let executable = Executable::with_engine(|builder, max_runs| {
        let pooled =
            max_runs.map(|runs| NonZeroU32::try_from(runs).map_or(MAX_POOL, |runs| runs.min(MAX_POOL)));
        let mode = pooled.map_or(Mode::OneShot, |concurrency| Mode::LongLived { concurrency });
        builder
            .carrier(|supervisors| NativePlugins::new(Arc::clone(supervisors)))
            .carrier(move |_| Components::new(mode, CodeCache::of_user()))
    });
    executor_runtime_command::main(
        executable.serving(|options, start| executor_runtime_server::serve(&server_options(options), start)),
    )
}

/// What was said at the command line, as the server takes it.
fn server_options(options: ServeOptions) -> Options {
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
        limits: Limits::from(options.jobs),
        max_queued: options.max_queued,
        drain: options.drain,
    }
}
