//! The carrier of components: the host's functions and WASI, through generated bindings.

mod artifact;
mod clock;
mod convert;
mod host;
mod http;
mod http_error;
#[cfg(target_os = "unknown")]
mod panic;
mod stream;
mod wait;

/// What `wit-bindgen` makes of the WIT package. What a component does not use it does not import either.
#[allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "wit",
        inline: "
            package executor-runtime:sdk;
            world guest {
                include executor-runtime:plugin/runner@1.0.0;
                import wasi:cli/stderr@0.2.12;
            }
        ",
        world: "executor-runtime:sdk/guest",
        generate_all,
        pub_export_macro: true,
        default_bindings_module: "executor_runtime_sdk::__private::bindings",
    });
}

pub(crate) use artifact::ArtifactSink;
pub(crate) use clock::{monotonic_time, system_time};
pub(crate) use host::Host;
pub(crate) use http::{BodyStream, Transport};
pub(crate) use stream::InputStream;

use crate::{Context, Runner};
use bindings::executor_runtime::plugin::runner_types;

/// What the exported function does.
pub fn run(runner: &impl Runner, invocation: runner_types::Invocation) -> runner_types::Outcome {
    #[cfg(target_os = "unknown")]
    panic::tell_on_stderr();
    let run = convert::invocation(invocation).and_then(|invocation| {
        let mut context = Context::new(Host::new());
        runner.run(&invocation, &mut context)
    });
    convert::outcome(run)
}
