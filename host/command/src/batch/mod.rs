//! `batch`: many invocations, several at a time, out of one input. What does it is in the large executable alone.

mod habits;

use super::{
    Format,
    args::{BatchOptions, HostOptions},
    host, many_runs, prompt,
    trace_export::Parent,
};
use crate::many_runs::StartHost;
use anyhow::{Result, anyhow};
use executor_runtime::{config::Config, protocol::RuntimeInvocation};
pub(super) use habits::hint;
use std::{num::NonZeroUsize, process::ExitCode, thread};

/// When to start no more runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Halt {
    /// So many did not succeed.
    Runs(u64),
    /// This share of those that have ended, in percent.
    Percent(u64),
}

impl Halt {
    /// Fewer runs say nothing about a share.
    const LEAST: u64 = 10;

    /// Whether it has come to that.
    pub fn is_reached(self, ended: u64, unsuccessful: u64) -> bool {
        match self {
            Self::Runs(runs) => unsuccessful >= runs,
            Self::Percent(percent) => ended >= Self::LEAST && unsuccessful * 100 >= percent * ended,
        }
    }
}

/// `fail=N` or `fail=N%`.
pub(super) fn halt(text: &str) -> Result<Halt, String> {
    let expected = || "expected `fail=` and a number or a percentage, such as fail=1 or fail=10%".to_owned();
    let amount = text.strip_prefix("fail=").ok_or_else(expected)?;
    let number = |text: &str| text.parse::<u64>().ok().filter(|number| *number > 0);
    match amount.strip_suffix('%') {
        Some(percent) => number(percent)
            .filter(|percent| *percent <= 100)
            .map(Halt::Percent),
        None => number(amount).map(Halt::Runs),
    }
    .ok_or_else(expected)
}

/// `N` or `N%` of the processors, rounded up.
pub(super) fn jobs(text: &str) -> Result<NonZeroUsize, String> {
    let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let jobs = match text.strip_suffix('%') {
        Some(percent) => percent
            .parse::<usize>()
            .ok()
            .and_then(|percent| percent.checked_mul(processors))
            .map(|share| share.div_ceil(100)),
        None => text.parse().ok(),
    };
    jobs.and_then(NonZeroUsize::new).ok_or_else(|| {
        "expected a number, 1 or more, or a share of the processors, such as 8 or 50%".to_owned()
    })
}

/// Does a batch; returns the exit status.
pub type Batch = fn(Batching) -> Result<u8>;

/// What is to be done, and how.
pub struct Batching {
    /// What was said at the command line.
    pub options: BatchOptions,
    /// What the invocations have in common that are built from a command.
    pub template: Option<RuntimeInvocation>,
    /// How results are printed.
    pub format: Format,
    /// The operator's configuration.
    pub config: Config,
    /// Starts the host.
    pub start: StartHost,
}

pub(super) fn batch(
    options: BatchOptions,
    host_options: &HostOptions,
    format: Option<Format>,
) -> Result<ExitCode> {
    host_options.executable.need_journal()?;
    let Some(batch) = host_options.executable.batch else {
        return Err(anyhow!("this executable has no journal"));
    };
    let builder = host::builder_for(options.jobs, Parent::OfProcess, host_options)?;
    let template = match options.words.as_slice() {
        [] => None,
        words => Some(prompt::invocation(words, &options.template.prompt(), false)?),
    };
    batch(Batching {
        template,
        format: Format::or_detect(format),
        config: host::configuration_file(host_options).read()?,
        start: many_runs::start(builder, options.jobs),
        options,
    })
    .map(ExitCode::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_the_processors_are_rounded_up_and_never_none() {
        let processors = thread::available_parallelism().unwrap().get();
        assert_eq!(jobs("3").unwrap().get(), 3);
        assert_eq!(jobs("100%").unwrap().get(), processors);
        assert_eq!(jobs("1%").unwrap().get(), processors.div_ceil(100));
        for bad in ["0", "0%", "-1", "many", "", "%", "1.5"] {
            assert!(jobs(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_batch_halts_at_a_number_or_at_a_share_of_enough_runs() {
        assert_eq!(halt("fail=1").unwrap(), Halt::Runs(1));
        assert_eq!(halt("fail=10%").unwrap(), Halt::Percent(10));
        for bad in ["fail=0", "fail=101%", "1", "fail=", "now,fail=1"] {
            assert!(halt(bad).is_err(), "{bad}");
        }
        assert!(Halt::Runs(2).is_reached(2, 2));
        assert!(!Halt::Percent(10).is_reached(9, 9));
        assert!(Halt::Percent(10).is_reached(10, 1));
        assert!(!Halt::Percent(10).is_reached(11, 1));
    }
}
