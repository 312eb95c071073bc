//! What a plugin reports, as far as the host believes it.
//!
//! It is checked here once: lengths are bounded, codes are what codes may be, and no key that the host itself
//! writes can be taken.

use super::{
    log::{cut, printable},
    stop::StopCause,
};
use executor_runtime_protocol::{Status, is_printable};
use executor_runtime_run::{
    ErrorKind, Failure,
    receipt::{self, Receipt},
};

const MAX_SUMMARY: usize = 2000;
const MAX_CODE: usize = 64;
const MAX_KEYS: usize = 256;
const MAX_KEY: usize = 128;
const MAX_VALUE: usize = 4096;

/// Prefixes of keys that only the host writes, but for [`receipt::ERROR_TRANSIENT`]: the plugin may know better.
const RESERVED: [&str; 3] = ["error.", "usage.", "plugin."];

/// The plugin's receipt, as far as it is the plugin's to write.
pub fn receipt(pairs: Vec<(String, String)>) -> Receipt {
    pairs
        .into_iter()
        .filter(|(key, value)| is_free_key(key) || is_transient_key(key, value))
        .take(MAX_KEYS)
        .map(|(key, mut value)| {
            value.truncate(cut(&value, MAX_VALUE).len());
            (key, value)
        })
        .collect()
}

/// Whether an entry of the receipt tells of this host's own part in a run, and not of the run.
pub fn is_about_this_host(key: &str, value: &str) -> bool {
    let is_reserved = ["error.", "plugin."].iter().any(|prefix| key.starts_with(prefix));
    key == receipt::RESULT_FILE_ERROR || is_reserved && !is_transient_key(key, value)
}

fn is_transient_key(key: &str, value: &str) -> bool {
    key == receipt::ERROR_TRANSIENT && ["true", "false"].contains(&value)
}

fn is_free_key(key: &str) -> bool {
    (1..=MAX_KEY).contains(&key.len())
        && key.chars().all(is_printable)
        && !RESERVED.iter().any(|prefix| key.starts_with(prefix))
        && !receipt::KEYS.iter().any(|(reserved, _)| *reserved == key)
}

/// A failure as the plugin tells it.
#[derive(Clone, Debug)]
pub struct ReportedFailure<'a> {
    /// What became of the run.
    pub status: Status,
    /// A code for machines.
    pub kind: &'a str,
    /// What went wrong, for people.
    pub summary: &'a str,
}

impl ReportedFailure<'_> {
    /// The failure of the run, given why it had been asked to stop, if it had.
    pub fn failure(&self, asked: Option<StopCause>) -> Failure {
        let kind = match (self.status, asked) {
            (Status::TimedOut, Some(StopCause::Deadline)) => ErrorKind::Timeout,
            (Status::Cancelled, Some(StopCause::Cancelled)) => ErrorKind::Cancelled,
            (status, _) => error_kind(self.kind, status),
        };
        let summary = printable(self.summary.trim(), MAX_SUMMARY);
        let summary = if summary.is_empty() {
            format!("the plugin reported '{}' without a summary", kind.code())
        } else {
            summary
        };
        Failure { kind, summary }
    }
}

/// The host's own kind where the code is one and means that status, else the plugin's code.
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

    fn reported<'a>(status: Status, kind: &'a str, summary: &'a str) -> ReportedFailure<'a> {
        ReportedFailure {
            status,
            kind,
            summary,
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
    fn a_plugin_may_say_whether_to_try_again() {
        for (value, expected) in [("true", true), ("false", true), ("no", false), ("", false)] {
            let receipt = receipt(vec![("error.transient".to_owned(), value.to_owned())]);
            assert_eq!(receipt.contains_key("error.transient"), expected, "{value}");
        }
    }

    #[test]
    fn codes_keep_their_meaning() {
        for (status, code, expected) in [
            (Status::Failed, "network", "network"),
            (Status::Failed, "egress_denied", "egress_denied"),
            (Status::Rejected, "egress_denied", "plugin_reported"),
            (Status::Failed, "timeout", "plugin_reported"),
            (Status::TimedOut, "timeout", "timeout"),
            (Status::Failed, "Not A Code", "plugin_reported"),
        ] {
            let failure = reported(status, code, "s").failure(None);
            assert_eq!(failure.kind.code(), expected, "{code}");
        }
    }

    #[test]
    fn a_timeout_in_time_keeps_its_own_summary() {
        let reported = reported(Status::TimedOut, "x", "timed out in poll");
        let failure = reported.failure(Some(StopCause::Deadline));
        assert_eq!(failure.kind, ErrorKind::Timeout);
        assert_eq!(failure.summary, "timed out in poll");
    }
}
