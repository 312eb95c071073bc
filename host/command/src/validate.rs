//! `validate`: everything that is wrong with an invocation, at once.

use super::{Format, args::InvocationFile, exit, input, print_json, problems, style};
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
            let style = style::stdout();
            let kind = &invocation.runtime_kind;
            let text = format!("{} is an invocation of kind {kind}", input::name(file));
            let heading = style.good("valid:");
            writeln!(out, "{}", style.after(&heading, "valid:", &text, "  "))?;
        }
        (Err(invalid), Format::Human) => {
            let style = style::stdout();
            let heading = style.error("invalid:");
            let text = problems::text(style, &heading, "invalid:", file, invalid);
            writeln!(out, "{text}")?;
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
