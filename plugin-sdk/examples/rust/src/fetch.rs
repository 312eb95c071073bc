//! `fetch`: a page that is asked for again until the server has it, and kept.

use executor_runtime_sdk::{Context, Invocation, Outcome, Retry, RunError};
use std::time::Duration;

pub(crate) fn run(invocation: &Invocation, ctx: &Context) -> Result<Outcome, RunError> {
    let url = invocation.required("fetch.url")?;
    let retries = invocation.integer("fetch.retries")?.unwrap_or_default();
    let retry = Retry::times(retries.try_into().unwrap_or_default()).first_wait(Duration::from_millis(10));
    let mut client = ctx.http().retry(retry);
    if let Some(time) = invocation.duration("fetch.timeout")? {
        client = client.timeout(time);
    }
    let mut page = client.get(url)?;
    let status = page.status().as_u16();
    if !page.status().is_success() {
        return Err(
            RunError::failed("http_status", format!("the server answered {status}")).exit_code(status.into()),
        );
    }
    let mut file = ctx.artifact("body", "response_body")?;
    file.copy_from(page.body_mut())?;
    Ok(Outcome::succeeded()
        .exit_code(status.into())
        .receipt("fetch.bytes", file.finish()?))
}
