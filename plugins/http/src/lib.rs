//! The runtime kind `http`: one request, one answer.
//!
//! The metadata keys are in `plugin.json`. An answer of 2xx is a run that `succeeded`; any other is `failed`,
//! `HTTP <code>: <first 200 characters>`; the exit code is the status. Redirects are followed.
//!
//! Where the invocation gives an `artifact_directory`, the answer's body is kept as artifact `response_body`,
//! whatever the status, up to the host's limit for an artifact. The receipt has `http.status`,
//! `http.header.*`, and with an artifact `http.body_bytes` and, where it was cut off, `http.body_truncated`.

use executor_runtime_plugin_common::{
    ReadFailure, answer_receipt, beginning, http_error, kickoff_request, preview, read_failure, refused,
};
use executor_runtime_sdk::{
    ArtifactWriter, BodyReader, Context, Copied, Invocation, Outcome, RunError, Runner, export_runner,
    http_types::StatusCode,
};
use std::io::{self, Write};

struct Http;

impl Runner for Http {
    fn run(&self, invocation: &Invocation, ctx: &mut Context) -> Result<Outcome, RunError> {
        const DOING: &str = "the http request";
        let request = kickoff_request(invocation)?;
        // Made before anything is sent: a request that can't be kept is better not made.
        let artifact = match &invocation.artifact_directory {
            Some(_) => Some(ctx.artifact("response_body", "response_body").map_err(|error| {
                RunError::rejected(
                    "artifacts_unwritable",
                    format!("artifact 'response_body': {error}"),
                )
            })?),
            None => None,
        };
        let client = match invocation.text("http.redirect_to_http") {
            Some("allow") => ctx.http().allow_redirects_to_http(),
            _ => ctx.http(),
        };
        let response = client
            .send(request)
            .map_err(|error| http_error(invocation, ctx, DOING, &error))?;
        let (head, mut body) = response.into_parts();
        let mut receipt = answer_receipt(head.status, &head.headers);
        let read = take_body(head.status, &mut body, artifact, &mut receipt);
        finish(
            head.status,
            read.map_err(|error| match read_failure(error) {
                ReadFailure::Http(error) => http_error(invocation, ctx, DOING, &error),
                ReadFailure::Other(error) => {
                    RunError::failed("output_unwritable", format!("artifact 'response_body': {error}"))
                }
            }),
            receipt,
        )
    }
}

/// Takes the whole body, so that a broken one is noticed and the connection can be used again. Returns its
/// beginning, if the status calls for a preview.
fn take_body(
    status: StatusCode,
    body: &mut BodyReader,
    artifact: Option<ArtifactWriter>,
    receipt: &mut Vec<(String, String)>,
) -> io::Result<Vec<u8>> {
    let start = if status.is_success() {
        Vec::new()
    } else {
        beginning(body)?
    };
    let Some(mut artifact) = artifact else {
        io::copy(body, &mut io::sink())?;
        return Ok(start);
    };
    let truncated = match artifact.write_all(&start) {
        Ok(()) => matches!(artifact.copy_from(body)?, Copied::Capped(_)),
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => true,
        Err(error) => return Err(error),
    };
    let bytes = artifact.finish()?;
    receipt.push(("http.body_bytes".to_owned(), bytes.to_string()));
    if truncated {
        receipt.push(("http.body_truncated".to_owned(), "true".to_owned()));
    }
    Ok(start)
}

fn finish(
    status: StatusCode,
    read: Result<Vec<u8>, RunError>,
    receipt: Vec<(String, String)>,
) -> Result<Outcome, RunError> {
    let code = i64::from(status.as_u16());
    let error = match read {
        Ok(_) if status.is_success() => {
            let outcome = Outcome::succeeded().exit_code(code);
            return Ok(receipt
                .into_iter()
                .fold(outcome, |outcome, (key, value)| outcome.receipt(key, value)));
        }
        Ok(start) => {
            let summary = format!("HTTP {}: {}", status.as_str(), preview(&start));
            let error = RunError::failed("http_status", summary.trim_end()).exit_code(code);
            refused(error, status)
        }
        Err(error) => error,
    };
    Err(receipt
        .into_iter()
        .fold(error, |error, (key, value)| error.receipt(key, value)))
}

export_runner!(Http);
