//! `outcomes`: each way to end, and what a run may do before.

use executor_runtime_sdk::{Context, Invocation, Level, Outcome, RunError};
use std::{io::Write, time::Duration};

pub(crate) fn run(invocation: &Invocation, ctx: &Context) -> Result<Outcome, RunError> {
    match invocation.required("outcomes.end")? {
        "failed" => Err(RunError::failed("backend", "the backend answered 500")
            .exit_code(7)
            .receipt("outcomes.seen", 500)),
        "rejected" => Err(RunError::rejected("nothing_to_do", "nothing is asked for")),
        "waits" => {
            ctx.log(Level::Info, "waiting");
            match ctx.sleep(Duration::from_secs(600)).is_stopped() {
                true => Err(ctx.stopped("a pause")),
                false => Ok(Outcome::succeeded()),
            }
        }
        "artifacts" => artifacts(ctx),
        "input" => input(ctx),
        "config" => {
            let word = ctx.config("word").unwrap_or_default();
            Ok(Outcome::succeeded().receipt("outcomes.word", word))
        }
        _ => Ok(Outcome::succeeded()
            .exit_code(0)
            .receipt("outcomes.text", "ä € 😀")),
    }
}

/// Of what is begun, that stays which is finished.
fn artifacts(ctx: &Context) -> Result<Outcome, RunError> {
    let mut kept = ctx.artifact_described("kept.txt", "report", "what was found")?;
    kept.write_all(b"kept\n")?;
    kept.finish()?;
    let mut dropped = ctx.artifact("dropped.txt", "report")?;
    dropped.write_all(b"dropped\n")?;
    drop(dropped);
    let refused = ctx.artifact("../escaped.txt", "report").is_err();
    Ok(Outcome::succeeded().receipt("outcomes.refused", refused))
}

/// Keeps the input payload as an artifact.
fn input(ctx: &Context) -> Result<Outcome, RunError> {
    let Some(mut input) = ctx.open_input()? else {
        return Err(RunError::rejected("no_input", "there is no input payload"));
    };
    let mut file = ctx.artifact("input", "input")?;
    std::io::copy(&mut input, &mut file)?;
    Ok(Outcome::succeeded().receipt("outcomes.bytes", file.finish()?))
}
