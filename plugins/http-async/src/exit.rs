//! The exit code of what the backend ran, as its last answer tells it.

use executor_runtime_plugin_common::{Found, Paths, path};
use executor_runtime_sdk::{Invocation, RunError};

/// Where an answer has it, in the ways that backends tell it.
#[derive(Debug, Default)]
pub(crate) struct ExitPaths {
    /// The number itself.
    code: Option<Paths>,
    /// The number of the signal that ended the run; 0 or nothing if none did.
    signal: Option<Paths>,
    /// Both in one number, as `wait` of POSIX reports it.
    wait_status: Option<Paths>,
}

impl ExitPaths {
    pub(crate) fn read(invocation: &Invocation) -> Result<Self, RunError> {
        Ok(Self {
            code: path(invocation, "http.poll_exit_code_path")?,
            signal: path(invocation, "http.poll_signal_path")?,
            wait_status: path(invocation, "http.poll_wait_status_path")?,
        })
    }

    /// The exit code, `-N` for a death by signal N; None where the answer has neither.
    pub(crate) fn find(&self, payload: &[u8]) -> Option<i64> {
        let number = |paths: &Option<Paths>| match paths.as_ref()?.find(payload) {
            Ok(Found::Text(text)) => text.parse::<i64>().ok(),
            _ => None,
        };
        let signal = number(&self.signal).filter(|signal| *signal > 0);
        signal
            .map(|signal| -signal)
            .or_else(|| number(&self.code))
            .or_else(|| number(&self.wait_status).map(of_wait_status))
    }
}

/// What `wait` reports: the signal in the lowest 7 bits, or the code in the second byte.
fn of_wait_status(status: i64) -> i64 {
    match status & 0x7f {
        0 => (status >> 8) & 0xff,
        signal => -signal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_backend_tells_it_in_its_way() {
        let paths = ExitPaths::read(
            &Invocation::new("http_async")
                .with("http.poll_exit_code_path", "exit.code.number,code")
                .with("http.poll_signal_path", "exit.signal")
                .with("http.poll_wait_status_path", "exit"),
        )
        .unwrap();
        for (answer, expected) in [
            (r#"{"code": 3}"#, Some(3)),
            (r#"{"code": "3"}"#, Some(3)),
            (r#"{"exit": {"code": {"number": 7}, "signal": 0}}"#, Some(7)),
            (r#"{"exit": {"code": {"number": 0}, "signal": 9}}"#, Some(-9)),
            (r#"{"exit": 768}"#, Some(3)),
            (r#"{"exit": 0}"#, Some(0)),
            (r#"{"exit": 9}"#, Some(-9)),
            // With a core dump.
            (r#"{"exit": 139}"#, Some(-11)),
            (r#"{"code": "many"}"#, None),
            ("{}", None),
            ("<html>", None),
        ] {
            assert_eq!(paths.find(answer.as_bytes()), expected, "{answer}");
        }
        assert_eq!(ExitPaths::default().find(br#"{"exit": 768}"#), None);
    }
}
