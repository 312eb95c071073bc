//! A host process that has ended, and what it said.

use executor_runtime_protocol::{RuntimeResult, Status};
use std::{fs, os::unix::process::ExitStatusExt, process::Output, time::Duration};

/// What came of one host process.
#[derive(Debug)]
pub struct Finished {
    /// Its exit status; none if a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// What it printed.
    pub stdout: Vec<u8>,
    /// What it printed as errors and logs.
    pub stderr: String,
    /// From before its start until after its end.
    pub wall: Duration,
}

impl Finished {
    pub(crate) fn new(output: Output, wall: Duration) -> Self {
        Self {
            code: output.status.code(),
            signal: output.status.signal(),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            wall,
        }
    }

    /// The result on stdout, which has to be exactly one valid document.
    #[track_caller]
    pub fn result(&self) -> RuntimeResult {
        match RuntimeResult::from_json(&self.stdout) {
            Ok(result) => result,
            Err(error) => panic!("stdout is no result: {error}\n{self:?}"),
        }
    }

    /// The result, which has to have this status.
    #[track_caller]
    pub fn expect(&self, status: Status) -> RuntimeResult {
        let result = self.result();
        assert_eq!(result.status, status, "{result:#?}\n{}", self.stderr);
        result
    }

    /// The result, which has to be that the run never began, for the reason `kind`.
    #[track_caller]
    pub fn expect_rejected(&self, kind: &str) -> RuntimeResult {
        let result = self.expect(Status::Rejected);
        assert_eq!(result.metadata["error.kind"], kind, "{result:#?}");
        assert_eq!(result.exit_code, None);
        assert_eq!((&result.stdout_path, &result.stderr_path), (&None, &None));
        assert!(result.artifacts.is_empty());
        assert_eq!(self.code, Some(3));
        result
    }

    /// What the run wrote to its stdout.
    #[track_caller]
    pub fn captured(&self) -> String {
        let path = self.result().stdout_path.expect("a run has a stdout");
        String::from_utf8_lossy(&fs::read(path).expect("it can be read")).into_owned()
    }
}
