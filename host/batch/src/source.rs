//! Makes jobs of lines: each an invocation, or arguments of a command.

use super::{input::Line, no_invocation};
use anyhow::{Result, bail};
use executor_runtime::{
    protocol::{MAX_DOCUMENT_BYTES, RuntimeInvocation, RuntimeKind, RuntimeResult},
    reject,
};
use executor_runtime_command::BatchOptions;
use std::collections::BTreeMap;

/// Stands for the argument, or arguments.
const ARGUMENT: &str = "{}";
/// Stands for the number of the job.
const NUMBER: &str = "{#}";

/// What is to be run.
pub(super) struct Job {
    /// Counted from 1.
    pub(super) number: u64,
    /// The line that it begins at.
    pub(super) line: u64,
    /// What the job log knows it by.
    pub(super) name: String,
    /// Or why it is none.
    pub(super) invocation: Result<RuntimeInvocation, Box<RuntimeResult>>,
}

/// Makes jobs.
pub(super) struct Source {
    template: Option<Template>,
    jobs: u64,
}

struct Template {
    words: Vec<String>,
    invocation: RuntimeInvocation,
    null: bool,
    max_args: usize,
    /// Those of the next command, and the line of the first.
    arguments: Vec<String>,
    line: u64,
}

impl Source {
    /// `common` is what the invocations have in common that are built from a command.
    pub(super) fn new(options: &BatchOptions, common: Option<RuntimeInvocation>) -> Result<Self> {
        let template = common.map(|common| Template::new(options, common));
        Ok(Self {
            template: template.transpose()?,
            jobs: 0,
        })
    }

    /// Has the ids of jobs that have none of their own begin with this.
    pub(super) fn name_jobs(&mut self, prefix: &str) {
        if let Some(template) = &mut self.template {
            template.invocation.invocation_id = prefix.to_owned();
        }
    }

    /// What ends a line.
    pub(super) fn separator(&self) -> u8 {
        match &self.template {
            Some(template) if template.null => 0,
            _ => b'\n',
        }
    }

    /// Whether a line without its end is no job: without any content, or, where documents are expected, of white space.
    pub(super) fn blank(&self) -> fn(&[u8]) -> bool {
        match self.template {
            Some(_) => <[u8]>::is_empty,
            None => |line| line.trim_ascii().is_empty(),
        }
    }

    /// How many jobs there have been.
    pub(super) fn jobs(&self) -> u64 {
        self.jobs
    }

    /// How many jobs this many lines make.
    pub(super) fn jobs_of(&self, lines: u64) -> u64 {
        match &self.template {
            Some(template) => lines.div_ceil(template.max_args as u64),
            None => lines,
        }
    }

    /// The job that a line makes, or completes.
    pub(super) fn job(&mut self, line: Line) -> Option<Job> {
        let number = line.number;
        let Some(template) = &mut self.template else {
            self.jobs += 1;
            return Some(of_document(self.jobs, line));
        };
        let argument = match line.bytes.map(String::from_utf8) {
            Some(Ok(argument)) if !argument.contains('\0') => argument,
            problem => {
                let reason = match problem {
                    None => format!("line {number} has more than {MAX_DOCUMENT_BYTES} bytes"),
                    Some(Ok(_)) => format!("line {number} has a NUL byte, which no argument can contain"),
                    Some(Err(_)) => {
                        format!("line {number} is not valid UTF-8, so it can't be an argument in JSON")
                    }
                };
                self.jobs += 1;
                return Some(rejected(self.jobs, number, None, reason));
            }
        };
        if template.arguments.is_empty() {
            template.line = number;
        }
        template.arguments.push(argument);
        (template.arguments.len() == template.max_args).then(|| {
            self.jobs += 1;
            template.take(self.jobs)
        })
    }

    /// The job of the arguments that are left over at the end of the input.
    pub(super) fn rest(&mut self) -> Option<Job> {
        let template = self.template.as_mut()?;
        (!template.arguments.is_empty()).then(|| {
            self.jobs += 1;
            template.take(self.jobs)
        })
    }
}

impl Template {
    fn new(options: &BatchOptions, invocation: RuntimeInvocation) -> Result<Self> {
        let template = &options.template;
        let max_args = template.max_args.get();
        let mut words = options.words.clone();
        let embeds = words
            .iter()
            .any(|word| word != ARGUMENT && word.contains(ARGUMENT));
        if embeds && max_args > 1 {
            bail!(
                "`{ARGUMENT}` within a word takes one argument; make it a word of its own, or leave out --max-args"
            );
        }
        if !words.iter().any(|word| word.contains(ARGUMENT)) {
            words.push(ARGUMENT.to_owned());
        }
        Ok(Self {
            words,
            invocation,
            null: template.null,
            max_args,
            arguments: Vec::new(),
            line: 0,
        })
    }

    fn take(&mut self, number: u64) -> Job {
        let arguments = std::mem::take(&mut self.arguments);
        let mut command = Vec::with_capacity(self.words.len() + arguments.len());
        for word in &self.words {
            if word == ARGUMENT {
                command.extend(arguments.iter().cloned());
            } else {
                command.push(filled(word, &arguments, number));
            }
        }
        let name = command
            .iter()
            .map(|word| quoted(word))
            .collect::<Vec<_>>()
            .join(" ");
        let mut invocation = self.invocation.clone();
        invocation.invocation_id = format!("{}-{number}", self.invocation.invocation_id);
        invocation.command = command;
        Job {
            number,
            line: self.line,
            name,
            invocation: Ok(invocation),
        }
    }
}

/// A word with everything in its place. What an argument contains is not looked at again.
fn filled(word: &str, arguments: &[String], number: u64) -> String {
    let mut text = String::new();
    let mut rest = word;
    while let Some(at) = rest.find('{') {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix(ARGUMENT) {
            text.push_str(arguments.first().map_or("", String::as_str));
            rest = after;
        } else if let Some(after) = rest.strip_prefix(NUMBER) {
            text.push_str(&number.to_string());
            rest = after;
        } else {
            text.push('{');
            rest = &rest[1..];
        }
    }
    text.push_str(rest);
    text
}

/// A word as a shell reads it.
fn quoted(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./,:=@%+".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

fn of_document(number: u64, line: Line) -> Job {
    let Some(document) = line.bytes else {
        let reason = format!("line {} has more than {MAX_DOCUMENT_BYTES} bytes", line.number);
        return rejected(number, line.number, None, reason);
    };
    match RuntimeInvocation::from_json(&document) {
        Ok(invocation) => Job {
            number,
            line: line.number,
            name: invocation.invocation_id.clone(),
            invocation: Ok(invocation),
        },
        Err(invalid) => {
            let id = serde_json::from_slice::<serde_json::Value>(&document)
                .ok()
                .and_then(|value| Some(value.get("invocation_id")?.as_str()?.to_owned()))
                .filter(|id| !id.is_empty());
            let reason = format!("line {} is {invalid}", line.number);
            rejected(number, line.number, id, reason)
        }
    }
}

/// A job that is no invocation: its result says so.
fn rejected(number: u64, line: u64, id: Option<String>, reason: String) -> Job {
    let name = id.unwrap_or_else(|| format!("line-{line}"));
    let invocation = RuntimeInvocation {
        invocation_id: name.clone(),
        runtime_name: "batch".to_owned(),
        runtime_kind: RuntimeKind::new("unknown").unwrap_or_else(|| unreachable!("it is a valid kind")),
        working_directory: "/".to_owned(),
        command: Vec::new(),
        environment: BTreeMap::new(),
        timeout_seconds: None,
        input_payload_path: None,
        output_result_path: None,
        artifact_directory: None,
        metadata: BTreeMap::new(),
    };
    Job {
        number,
        line,
        name,
        invocation: Err(Box::new(reject(&invocation, no_invocation(reason)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_filled_once() {
        let arguments = ["{#}{}".to_owned()];
        assert_eq!(filled("a{}b{#}c{d}", &arguments, 7), "a{#}{}b7c{d}");
        assert_eq!(filled("{{}}", &arguments, 7), "{{#}{}}");
        assert_eq!(filled("ä{", &arguments, 7), "ä{");
    }

    #[test]
    fn words_are_quoted_as_a_shell_reads_them() {
        assert_eq!(quoted("a-b/c.d"), "a-b/c.d");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
