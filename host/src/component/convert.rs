//! Between the documents of the host and those of the WIT package.
//!
//! What comes from the guest is checked here once: lengths are bounded, codes are what codes may be, and no
//! key that the host itself writes can be taken.

use super::{
    bindings::types::{self, FailureStatus},
    journal::{cut, printable},
    stop::StopCause,
};
use crate::{
    ErrorKind, Failure,
    receipt::{self, Receipt},
};
use executor_runtime_protocol::{RuntimeInvocation, Status, is_printable};
use std::collections::BTreeMap;

const MAX_SUMMARY: usize = 2000;
const MAX_CODE: usize = 64;
const MAX_KEYS: usize = 256;
const MAX_KEY: usize = 128;
const MAX_VALUE: usize = 4096;

/// Prefixes of keys that only the host writes.
const RESERVED: [&str; 3] = ["error.", "usage.", "plugin."];

/// The invocation as the guest sees it.
pub(crate) fn invocation(
    invocation: &RuntimeInvocation,
    metadata: &BTreeMap<String, String>,
) -> types::Invocation {
    let pairs = |map: &BTreeMap<String, String>| {
        map.iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    };
    types::Invocation {
        invocation_id: invocation.invocation_id.clone(),
        runtime_name: invocation.runtime_name.clone(),
        runtime_kind: invocation.runtime_kind.as_str().to_owned(),
        working_directory: invocation.working_directory.clone(),
        command: invocation.command.clone(),
        environment: pairs(&invocation.environment),
        timeout_seconds: invocation.timeout_seconds.map(std::num::NonZero::get),
        input_payload_path: invocation.input_payload_path.clone(),
        artifact_directory: invocation.artifact_directory.clone(),
        metadata: pairs(metadata),
    }
}

/// The guest's receipt, as far as it is the guest's to write.
pub(crate) fn receipt(pairs: Vec<(String, String)>) -> Receipt {
    pairs
        .into_iter()
        .filter(|(key, _)| is_free_key(key))
        .take(MAX_KEYS)
        .map(|(key, mut value)| {
            value.truncate(cut(&value, MAX_VALUE).len());
            (key, value)
        })
        .collect()
}

/// Whether a key of the receipt tells of this host's own part in a run, and not of the run.
pub(crate) fn is_about_this_host(key: &str) -> bool {
    key == receipt::RESULT_FILE_ERROR || ["error.", "plugin."].iter().any(|prefix| key.starts_with(prefix))
}

fn is_free_key(key: &str) -> bool {
    (1..=MAX_KEY).contains(&key.len())
        && key.chars().all(is_printable)
        && !RESERVED.iter().any(|prefix| key.starts_with(prefix))
        && !receipt::KEYS.iter().any(|(reserved, _)| *reserved == key)
}

/// A failure that the guest reported, given why it had been asked to stop, if it had.
pub(crate) fn failure(reported: &types::Failure, asked: Option<StopCause>) -> Failure {
    let status = match reported.status {
        FailureStatus::Rejected => Status::Rejected,
        FailureStatus::Failed => Status::Failed,
        FailureStatus::TimedOut => Status::TimedOut,
        FailureStatus::Cancelled => Status::Cancelled,
    };
    let kind = match (status, asked) {
        (Status::TimedOut, Some(StopCause::Deadline)) => ErrorKind::Timeout,
        (Status::Cancelled, Some(StopCause::Cancelled)) => ErrorKind::Cancelled,
        _ => error_kind(&reported.kind, status),
    };
    let summary = printable(reported.summary.trim(), MAX_SUMMARY);
    let summary = if summary.is_empty() {
        format!("the plugin reported '{}' without a summary", kind.code())
    } else {
        summary
    };
    Failure { kind, summary }
}

/// The host's own kind where the code is one and means that status, else the guest's code.
fn error_kind(code: &str, status: Status) -> ErrorKind {
    let known = ErrorKind::ALL.iter().find(|(kind, _)| kind.code() == code);
    match known {
        Some((kind, _)) if kind.status() == status => return kind.clone(),
        // The code means another status: it would say two things at once.
        Some(_) => {}
        None if is_code(code) => {
            return ErrorKind::Reported {
                code: code.to_owned(),
                status,
            };
        }
        None => {}
    }
    ErrorKind::Reported {
        code: "plugin_reported".to_owned(),
        status,
    }
}

fn is_code(code: &str) -> bool {
    code.len() <= MAX_CODE
        && code.bytes().next().is_some_and(|b| b.is_ascii_lowercase())
        && code
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reported(status: FailureStatus, kind: &str, summary: &str) -> types::Failure {
        types::Failure {
            status,
            kind: kind.into(),
            summary: summary.into(),
            exit_code: None,
            receipt: Vec::new(),
        }
    }

    #[test]
    fn a_guest_cant_write_the_hosts_keys() {
        let pairs = [
            "error.kind",
            "usage.x",
            "plugin.name",
            "core_dumped",
            "",
            "a\nb",
            "a\u{202e}b",
            "http.status",
        ];
        let pairs = pairs.map(|key| (key.to_owned(), "v".repeat(10_000)));
        let receipt = receipt(pairs.into());
        assert_eq!(receipt.len(), 1);
        assert_eq!(receipt["http.status"].len(), MAX_VALUE);
    }

    #[test]
    fn codes_keep_their_meaning() {
        for (status, code, expected) in [
            (FailureStatus::Failed, "network", "network"),
            (FailureStatus::Failed, "egress_denied", "egress_denied"),
            (FailureStatus::Rejected, "egress_denied", "plugin_reported"),
            (FailureStatus::Failed, "timeout", "plugin_reported"),
            (FailureStatus::TimedOut, "timeout", "timeout"),
            (FailureStatus::Failed, "Not A Code", "plugin_reported"),
        ] {
            let failure = failure(&reported(status, code, "s"), None);
            assert_eq!(failure.kind.code(), expected, "{code}");
        }
    }

    #[test]
    fn a_timeout_in_time_keeps_its_own_summary() {
        let reported = reported(FailureStatus::TimedOut, "x", "timed out in poll");
        let failure = failure(&reported, Some(StopCause::Deadline));
        assert_eq!(failure.kind, ErrorKind::Timeout);
        assert_eq!(failure.summary, "timed out in poll");
    }
}
