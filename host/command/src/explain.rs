//! `explain`: what would run an invocation, and what it could use. Runs nothing.

use super::{
    Format,
    args::{HostOptions, InvocationFile},
    exit, host, input, print_json, problems, shown,
    style::{self, Style},
};
use anyhow::Result;
use executor_runtime::{
    Failure, Origin,
    plugin::{MadeOf, Plugin},
    protocol::RuntimeInvocation,
};
use std::{
    collections::BTreeMap,
    io::{self, Write},
    process::ExitCode,
};

/// What is known before a run.
#[derive(serde::Serialize)]
struct Explanation {
    invocation_id: String,
    runtime_kind: String,
    /// What would run it: `built-in`, `component`, `native` or `recipe`; none if nothing would.
    carrier: Option<&'static str>,
    plugin: Option<String>,
    path: Option<String>,
    /// What does the work of a recipe.
    base: Option<Base>,
    /// Limits and settings that would apply, by name.
    limits: BTreeMap<String, String>,
    /// Hosts that could be reached.
    grants: Vec<String>,
    /// Why it would be rejected, if that is known already.
    rejected: Option<Rejection>,
}

/// The plugin that a recipe is made of.
#[derive(serde::Serialize)]
struct Base {
    runtime_kind: String,
    carrier: &'static str,
    plugin: String,
    path: String,
    /// The keys that the recipe sets, each with its template.
    set: BTreeMap<String, String>,
    /// What the base would be given; none of an invocation that does not fit.
    given: Option<Given>,
}

/// What a recipe makes of an invocation. What may be secret is hidden in the metadata.
#[derive(serde::Serialize)]
struct Given {
    command: Vec<String>,
    metadata: BTreeMap<String, String>,
}

impl Base {
    fn new(made_of: MadeOf, invocation: &RuntimeInvocation) -> Self {
        let MadeOf {
            kind,
            plugin,
            templates,
            metadata,
        } = made_of;
        let given = metadata.map(|metadata| Given {
            command: invocation.command.clone(),
            metadata,
        });
        Self {
            runtime_kind: kind.to_string(),
            carrier: plugin.carrier.as_str(),
            plugin: name(&plugin),
            path: plugin.path.display().to_string(),
            set: templates,
            given,
        }
    }
}

fn name(plugin: &Plugin) -> String {
    format!("{} {}", plugin.descriptor.name, plugin.descriptor.version)
}

#[derive(serde::Serialize)]
struct Rejection {
    error_kind: String,
    error_summary: String,
}

impl From<Failure> for Rejection {
    fn from(failure: Failure) -> Self {
        Self {
            error_kind: failure.kind.code().into_owned(),
            error_summary: failure.summary,
        }
    }
}

pub(super) fn explain(
    options: &InvocationFile,
    host: &HostOptions,
    format: Option<Format>,
) -> Result<ExitCode> {
    let file = options.file.as_deref();
    let document = input::read(file, host.document())?;
    let invocation = match RuntimeInvocation::from_json(&document) {
        Ok(invocation) => invocation,
        Err(invalid) => {
            problems::tell(file, &invalid);
            return Ok(exit::UNUSABLE.into());
        }
    };
    let builder = host::builder(host)?;
    let needed = host
        .executable
        .need_runner_of(&invocation.runtime_kind, &builder, Some(&document));
    let mut explained = host::start(builder)??.explain(&invocation);
    if let Err(failure) = needed {
        explained.terms = Err(failure);
    }
    let explanation = describe(&invocation, explained);
    match Format::or_detect(format) {
        Format::Json => print_json(&explanation)?,
        Format::Human => print(&explanation)?,
    }
    Ok(if explanation.rejected.is_none() {
        ExitCode::SUCCESS
    } else {
        exit::REJECTED.into()
    })
}

fn describe(invocation: &RuntimeInvocation, explained: executor_runtime::Explanation) -> Explanation {
    let mut explanation = Explanation {
        invocation_id: invocation.invocation_id.clone(),
        runtime_kind: invocation.runtime_kind.to_string(),
        carrier: None,
        plugin: None,
        path: None,
        base: explained.made_of.map(|made_of| Base::new(made_of, invocation)),
        limits: BTreeMap::new(),
        grants: Vec::new(),
        rejected: None,
    };
    if let Some(limit) = invocation.timeout_seconds {
        explanation
            .limits
            .insert("timeout_seconds".to_owned(), limit.to_string());
    }
    match explained.origin {
        Some(Origin::Plugin(plugin)) => {
            explanation.carrier = Some(plugin.carrier.as_str());
            explanation.plugin = Some(name(&plugin));
            explanation.path = Some(plugin.path.display().to_string());
        }
        Some(_) => explanation.carrier = Some("built-in"),
        None => {}
    }
    match explained.terms {
        Ok(terms) => {
            explanation.limits.extend(terms.limits);
            explanation.grants = terms.grants;
        }
        Err(failure) => explanation.rejected = Some(failure.into()),
    }
    explanation
}

fn print(explanation: &Explanation) -> io::Result<()> {
    let style = style::stdout();
    let mut out = io::stdout().lock();
    let mut row = |label: &str, text: &str| row(&mut out, style, label, text);
    row("invocation", &shown::value(&explanation.invocation_id))?;
    row("kind", &explanation.runtime_kind)?;
    if let Some(carrier) = explanation.carrier {
        let runner = match (&explanation.plugin, &explanation.path) {
            (Some(plugin), Some(path)) => file(carrier, plugin, path),
            _ => carrier.to_owned(),
        };
        row("runs in", &runner)?;
    }
    if let Some(base) = &explanation.base {
        let runner = file(base.carrier, &base.plugin, &base.path);
        row("base", &format!("{}: {runner}", base.runtime_kind))?;
        for (key, template) in &base.set {
            row("sets", &format!("{key} = {}", shown::value(template)))?;
        }
        if let Some(Given { command, metadata }) = &base.given {
            let words = serde_json::to_string(command)?;
            row("given", &format!("command = {}", shown::value(&words)))?;
            for (key, value) in metadata {
                row("given", &shown::value(&format!("{key} = {value}")))?;
            }
        }
    }
    for (name, value) in &explanation.limits {
        row("limit", &format!("{name} = {}", shown::setting(name, value)))?;
    }
    for grant in &explanation.grants {
        row("may reach", &shown::value(grant))?;
    }
    if let Some(Rejection {
        error_kind,
        error_summary,
    }) = &explanation.rejected
    {
        let reason = format!("{} ({error_kind})", shown::summary(error_summary, ""));
        let heading = style.error("rejected:");
        writeln!(out, "{}", style.after(&heading, "rejected:", &reason, "  "))?;
    }
    Ok(())
}

/// A plugin file, and how it runs.
fn file(carrier: &str, plugin: &str, path: &str) -> String {
    format!("{carrier}, plugin {plugin}, '{}'", shown::value(path))
}

/// A line that begins with what it is about.
fn row(out: &mut impl Write, style: Style, label: &str, text: &str) -> io::Result<()> {
    let label = format!("{label:10}");
    writeln!(out, "{}", style.after(&style.faint(&label), &label, text, "  "))
}
