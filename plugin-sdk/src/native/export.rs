//! What a native plugin exports.

use super::{Host, linked::Linked};
use crate::{Context, FailureStatus, Invocation, RunError, Runner};
use executor_runtime_protocol::{
    RuntimeInvocation, Status,
    native::{HostRef, Reply},
};
use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

pub use executor_runtime_protocol::native::{
    HostRef as HostFunctionsRef, Plugin, PluginRef,
    abi_stable::{
        library::{__call_root_module_loader, CheckTypeLayout, LibHeader, RootModuleResult},
        prefix_type::PrefixTypeTrait,
        std_types::{RSlice, RVec},
    },
};

/// The longest message of a panic that is told, in bytes: with more of it, the result could be longer than the host
/// takes.
const MAX_PANIC: usize = 8 * 1024;

/// What the exported `invoke` does. No panic leaves it.
pub fn invoke(runner: &impl Runner, invocation: &[u8], host: HostRef) -> RVec<u8> {
    let reply = catch_unwind(AssertUnwindSafe(|| run(runner, invocation, host))).unwrap_or_else(|panic| {
        Reply::Panicked {
            message: message(&*panic),
        }
    });
    // String maps and numbers: serialising them can't fail.
    let json = serde_json::to_vec(&reply).unwrap_or_default();
    json.into()
}

fn run(runner: &impl Runner, invocation: &[u8], host: HostRef) -> Reply {
    let invocation = match RuntimeInvocation::from_json(invocation) {
        Ok(document) => Invocation::from(document),
        Err(invalid) => {
            return failure(RunError::rejected("invalid_invocation", invalid.to_string()));
        }
    };
    let mut context = Context::new(Host(Arc::new(Linked(host))));
    context.transport.continue_trace(&invocation);
    match runner.run(&invocation, &mut context) {
        Ok(outcome) => Reply::Outcome {
            exit_code: outcome.exit_code,
            receipt: outcome.receipt,
            delegated_run: outcome.delegated_run,
        },
        Err(error) => failure(error),
    }
}

fn failure(error: RunError) -> Reply {
    Reply::Failure {
        status: match error.status {
            FailureStatus::Rejected => Status::Rejected,
            FailureStatus::Failed => Status::Failed,
            FailureStatus::TimedOut => Status::TimedOut,
            FailureStatus::Cancelled => Status::Cancelled,
        },
        kind: error.kind,
        summary: error.summary,
        exit_code: error.exit_code,
        receipt: error.receipt,
        delegated_run: error.delegated_run,
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let text = text.unwrap_or("a panic without a message");
    text[..text.floor_char_boundary(MAX_PANIC)].to_owned()
}
