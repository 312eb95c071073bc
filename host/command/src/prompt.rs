//! From a command line to an invocation.

use super::{
    args::{PromptOptions, SourceOptions},
    input, problems,
};
use anyhow::{Context, Result, bail};
use executor_runtime::{
    DEFAULT_BASE,
    protocol::{RuntimeInvocation, RuntimeKind},
};
use std::{
    fs::File,
    num::NonZeroU64,
    time::{SystemTime, UNIX_EPOCH},
};

/// An invocation as a command line gives it.
pub(super) struct Given {
    pub(super) invocation: RuntimeInvocation,
    /// What it was read from; none if it was built from a command or kind.
    pub(super) document: Option<Vec<u8>>,
}

impl Given {
    /// Whether it was built from a command or kind.
    pub(super) fn is_prompted(&self) -> bool {
        self.document.is_none()
    }
}

/// Reads the invocation, or builds it; none if what was read is no invocation, which a person has then been told.
/// For `keep` see [`invocation`].
pub(super) fn given(
    options: &SourceOptions,
    prompt: &PromptOptions,
    handed_over: Option<&File>,
    keep: bool,
) -> Result<Option<Given>> {
    if let (Some(file), false) = (&options.file, options.words.is_empty()) {
        bail!(
            "an invocation ('{}') and a command ('{}') can't be given together: the invocation names its own command; \
             leave out one of them",
            file.display(),
            options.words.join(" ")
        );
    }
    let mut given = if !options.words.is_empty() || prompt.kind.is_some() {
        Given {
            invocation: invocation(&options.words, prompt, keep)?,
            document: None,
        }
    } else {
        let document = input::read(options.file.as_deref(), handed_over)?;
        match RuntimeInvocation::from_json(&document) {
            Ok(invocation) => Given {
                invocation,
                document: Some(document),
            },
            Err(invalid) => {
                problems::tell(options.file.as_deref(), &invalid);
                return Ok(None);
            }
        }
    };
    override_with(options, &mut given.invocation);
    Ok(Some(given))
}

/// The invocation that `run -- COMMAND` or `run --kind KIND` means; with `keep`, what the kind may leave out without a
/// directory for it (the body of an answer) is kept where the output of a command would be.
pub(super) fn invocation(words: &[String], options: &PromptOptions, keep: bool) -> Result<RuntimeInvocation> {
    let cwd = match &options.cwd {
        Some(directory) => std::path::absolute(directory).context("--cwd can't be used")?,
        None => std::env::current_dir().context("the current directory can't be found; give --cwd")?,
    };
    let Some(working_directory) = cwd.to_str() else {
        bail!(
            "the directory '{}' can't be written as JSON because its name is not valid UTF-8",
            cwd.display()
        );
    };
    let kind = options.kind.as_deref().unwrap_or("subprocess");
    let Some(runtime_kind) = RuntimeKind::new(kind) else {
        bail!(
            "--kind '{kind}' is not a valid runtime kind: expected a lower-case letter, then at most 63 of a-z, 0-9 \
             and _"
        );
    };
    if options.input.as_deref() == Some("-") {
        bail!("--input - names no file; give --stdin to pass on stdin");
    }
    let is_subprocess = kind == "subprocess";
    let command = match words {
        [] if is_subprocess => {
            bail!("no command: give it after `--`, as in `executor-runtime run -- echo hello`")
        }
        // The contract wants a command of every kind.
        [] => vec![kind.to_owned()],
        words => words.to_vec(),
    };
    let artifact_directory = match &options.artifacts {
        None if keep && !is_subprocess => Some(format!("{working_directory}/{DEFAULT_BASE}")),
        given => given.clone(),
    };
    Ok(RuntimeInvocation {
        invocation_id: options.id.clone().unwrap_or_else(|| new_id("prompt")),
        runtime_name: options.name.clone().unwrap_or_else(|| "prompt".to_owned()),
        runtime_kind,
        working_directory: working_directory.to_owned(),
        command,
        environment: options.env.iter().cloned().collect(),
        timeout_seconds: None,
        input_payload_path: options.input.clone(),
        output_result_path: None,
        artifact_directory,
        metadata: options.metadata.iter().cloned().collect(),
    })
}

/// Applies what the command line says about any invocation.
fn override_with(options: &SourceOptions, invocation: &mut RuntimeInvocation) {
    if let Some(timeout) = options.timeout.and_then(NonZeroU64::new) {
        invocation.timeout_seconds = Some(timeout);
    }
    if let Some(output) = &options.output {
        invocation.output_result_path = Some(output.clone());
    }
    if let Some(grace) = options.grace {
        let key = if invocation.runtime_kind.as_str() == "subprocess" {
            "subprocess.grace_seconds"
        } else {
            "plugin.grace_seconds"
        };
        invocation
            .metadata
            .insert(key.to_owned(), grace.as_secs_f64().to_string());
    }
}

/// An id that sorts by time and that no other process makes.
pub fn new_id(prefix: &str) -> String {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!(
        "{prefix}-{}-{:06}-{}",
        since_epoch.as_secs(),
        since_epoch.subsec_micros(),
        std::process::id()
    )
}
