//! `validate`: everything that is wrong with an invocation, at once.

use super::{Format, args::InvocationFile, exit, input, print_json, style};
use anyhow::Result;
use executor_runtime::protocol::RuntimeInvocation;
use std::{
    io::{self, Write},
    process::ExitCode,
};

pub(super) fn validate(options: &InvocationFile, format: Option<Format>) -> Result<ExitCode> {
    let file = options.file.as_deref();
    let document = input::read(file, None)?;
    let checked = RuntimeInvocation::from_json(&document);
    let mut out = io::stdout();
    match (&checked, Format::or_detect(format)) {
        (Ok(invocation), Format::Human) => {
            let good = style::stdout().good("valid");
            writeln!(
                out,
                "{good}: {} is an invocation of kind {}",
                input::name(file),
                invocation.runtime_kind
            )?;
        }
        (Err(invalid), Format::Human) => {
            let bad = style::stdout().error("invalid:");
            writeln!(out, "{bad} {} is {invalid}", input::name(file))?;
        }
        (checked, Format::Json) => {
            let (problems, omitted) = match checked {
                Ok(_) => (&[][..], 0),
                Err(invalid) => (&invalid.problems[..], invalid.omitted),
            };
            let report = serde_json::json!({
                "valid": checked.is_ok(), "problems": problems, "problems_omitted": omitted,
            });
            print_json(&report)?;
        }
    }
    Ok(if checked.is_ok() {
        ExitCode::SUCCESS
    } else {
        exit::UNUSABLE.into()
    })
}
