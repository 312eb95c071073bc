//! The list of checks, gone through.

use super::{
    CheckName, Report, Verdict, file,
    runs::{GRACE, Observed, Subject},
    samples::{self, Metadata, Ports},
    scratch::Scratch,
};
use executor_runtime::{
    ErrorKind,
    plugin::{Carrier, Limits, Plugin, PluginSet, inspect},
    protocol::{RuntimeKind, Status},
};
use std::{collections::BTreeMap, io, num::NonZeroU64, path::Path, sync::Arc, time::Duration};

const ONE: NonZeroU64 = NonZeroU64::MIN;
const TWO: NonZeroU64 = ONE.saturating_add(1);

/// The longest that a plugin may take to be compiled.
const LONGEST_LOADING: NonZeroU64 = ONE.saturating_add(119);

/// How long a run is left alone before it is told to stop.
const BEFORE_STOP: Duration = Duration::from_millis(300);

/// Text that a plugin may not expect.
const ODD_TEXTS: [&str; 4] = [
    "",
    " \t\r\n",
    "\u{1f980} äöü \u{202e}\u{0} {}%s",
    "../../x?a=b&c#d",
];
const LONG_TEXT: usize = 100_000;

/// Checks the plugin file at `path`, which `plugins` need not contain; its configuration and its carriers count.
/// Needs a tokio runtime with time and I/O.
///
/// # Errors
/// When this machine has no room for the runs: no temporary directory, no port.
pub async fn check(path: &Path, plugins: &PluginSet) -> io::Result<Report> {
    let found = inspect(path, plugins.config());
    let mut verdicts = file::verdicts(&found);
    let failed = |verdict: &Verdict| matches!(verdict, Verdict::Failed { .. });
    let (Some(plugin), false) = (&found.plugin, verdicts.values().any(failed)) else {
        let why = "the file can't be used";
        return Ok(match Carrier::of(path) {
            Some(Carrier::Recipe) => Report::of_recipe(path, verdicts, why),
            _ => Report::new(path, verdicts, why),
        });
    };
    if plugin.recipe.is_some() {
        // Runs would reach whatever hosts the recipe names.
        verdicts.insert(CheckName::Loads, has_base(plugin, plugins));
        let why = "nothing of a recipe runs; its base does, which has checks of its own";
        return Ok(Report::of_recipe(path, verdicts, why));
    }
    if !plugins.runs(plugin) {
        let why = format!("this host runs no {} plugins", plugin.carrier.as_str());
        return Ok(Report::new(path, verdicts, &why));
    }
    let otherwise = run_checks(plugin, plugins, &mut verdicts).await?;
    Ok(Report::new(path, verdicts, otherwise))
}

/// The checks that run the plugin. Returns why those without a verdict have none.
async fn run_checks(
    plugin: &Arc<Plugin>,
    plugins: &PluginSet,
    verdicts: &mut BTreeMap<CheckName, Verdict>,
) -> io::Result<&'static str> {
    let (scratch, ports) = (Scratch::new()?, Ports::open()?);
    let runner = match plugins.runner(plugin) {
        Ok(runner) => runner,
        Err(failure) => {
            verdicts.insert(
                CheckName::Loads,
                Verdict::failed(failure.summary, "see the reason"),
            );
            return Ok("it does not load");
        }
    };
    let grace = grace(plugin, plugins);
    let subject = Subject::new(&plugin.descriptor, grace, runner, &scratch);
    let loads = loads(&subject, &ports).await;
    let loaded = loads == Verdict::Passed;
    verdicts.insert(CheckName::Loads, loads);
    if !loaded {
        return Ok("it does not load");
    }
    let (brisk, patient) = (ports.brisk(), ports.patient());
    let minimal = brisk.required(subject.descriptor);
    verdicts.insert(CheckName::MinimalMetadata, each_kind(&subject, &minimal).await);
    verdicts.insert(
        CheckName::EveryKey,
        each_kind(&subject, &brisk.all(subject.descriptor)).await,
    );
    verdicts.insert(CheckName::OddText, odd_text(&subject, &minimal).await);
    verdicts.insert(CheckName::MissingKey, missing_key(&subject, &minimal).await);
    verdicts.insert(CheckName::UnknownKey, unknown_key(&subject, &minimal).await);
    let waiting = [
        patient.required(subject.descriptor),
        patient.waiting(subject.descriptor),
    ];
    verdicts.insert(
        CheckName::Deadline,
        ends_when_asked(&subject, &waiting, None).await,
    );
    verdicts.insert(
        CheckName::Stop,
        ends_when_asked(&subject, &waiting, Some(BEFORE_STOP)).await,
    );
    Ok("an earlier check failed")
}

/// Whether the base of a recipe is there, and takes what the recipe sets.
fn has_base(plugin: &Arc<Plugin>, plugins: &PluginSet) -> Verdict {
    match plugins.runner(plugin) {
        Ok(_) => Verdict::Passed,
        Err(failure) => Verdict::failed(failure.summary, "correct the recipe, or install its base"),
    }
}

/// The grace of the checks' runs: the operator may allow less than they ask for.
fn grace(plugin: &Plugin, plugins: &PluginSet) -> Duration {
    let limits = &plugins.config().plugin(&plugin.descriptor.name).limits;
    Limits::configured(limits).grace.min(GRACE)
}

impl Subject<'_> {
    fn kind(&self) -> &RuntimeKind {
        // A descriptor has at least one.
        &self.descriptor.kinds[0]
    }
}

/// Runs it until it has been loaded, which the first time may take longer than a run.
async fn loads(subject: &Subject<'_>, ports: &Ports) -> Verdict {
    let mut seconds = TWO;
    loop {
        let metadata = ports.brisk().required(subject.descriptor);
        let seen = subject.run(subject.kind(), metadata, seconds, None).await;
        if seen.is(&ErrorKind::PluginUnusable) {
            let reason = seen.failure().map(|failure| failure.summary.clone());
            return Verdict::failed(
                reason.unwrap_or_default(),
                "build it again with the SDK and the toolchain that the SDK asks for",
            );
        }
        if seen.reached_plugin() || !seen.is(&ErrorKind::Timeout) {
            return Verdict::Passed;
        }
        if seconds >= LONGEST_LOADING {
            return Verdict::failed(
                format!("it did not load within {seconds} s"),
                "make it smaller: build it with optimisations, and remove code that it does not need",
            );
        }
        seconds = seconds
            .saturating_mul(TWO)
            .saturating_mul(TWO)
            .min(LONGEST_LOADING);
    }
}

async fn each_kind(subject: &Subject<'_>, metadata: &Metadata) -> Verdict {
    for kind in &subject.descriptor.kinds {
        let seen = subject.run(kind, metadata.clone(), TWO, None).await;
        if let Some((reason, remedy)) = seen.trouble() {
            return Verdict::failed(format!("kind '{kind}': {reason}"), remedy);
        }
        if let Some(verdict) = refused(kind, &seen) {
            return verdict;
        }
        if let Some(verdict) = not_in_time(subject, kind, &seen) {
            return verdict;
        }
    }
    Verdict::Passed
}

/// Metadata that the descriptor allows and the host none the less refuses.
fn refused(kind: &RuntimeKind, seen: &Observed) -> Option<Verdict> {
    let failure = seen.failure().filter(|_| !seen.reached_plugin())?;
    (failure.kind == ErrorKind::InvalidMetadata).then(|| {
        Verdict::failed(
            format!("kind '{kind}': {}", failure.summary),
            "make the descriptor's keys agree with each other",
        )
    })
}

fn not_in_time(subject: &Subject<'_>, kind: &RuntimeKind, seen: &Observed) -> Option<Verdict> {
    let late = seen.took.saturating_sub(Duration::from_secs(TWO.get()));
    subject.is_forced(late).then(|| {
        Verdict::failed(
            format!(
                "kind '{kind}': it was still running {:.1} s after its deadline and was ended",
                late.as_secs_f64()
            ),
            RETURN_ON_STOP,
        )
    })
}

const RETURN_ON_STOP: &str = "wait only with the SDK's functions (ctx.sleep, ctx.http), which end as soon as the run is told to \
                    stop; in long computations, look at ctx.stop_requested and return";

async fn odd_text(subject: &Subject<'_>, minimal: &Metadata) -> Verdict {
    let keys = samples::free_texts(subject.descriptor);
    if keys.is_empty() {
        return Verdict::skipped("no key takes any text");
    }
    let long = "x".repeat(LONG_TEXT);
    for text in ODD_TEXTS.into_iter().chain([long.as_str()]) {
        let mut metadata = minimal.clone();
        metadata.extend(keys.iter().map(|key| (key.clone(), text.to_owned())));
        let seen = subject.run(subject.kind(), metadata, TWO, None).await;
        if let Some((reason, remedy)) = seen.trouble() {
            let shown: String = text.chars().take(30).collect();
            return Verdict::failed(format!("with {shown:?} in {}: {reason}", keys.join(", ")), remedy);
        }
    }
    Verdict::Passed
}

async fn missing_key(subject: &Subject<'_>, minimal: &Metadata) -> Verdict {
    if minimal.is_empty() {
        return Verdict::skipped("no key is required");
    }
    for key in minimal.keys() {
        let mut metadata = minimal.clone();
        metadata.remove(key);
        let seen = subject.run(subject.kind(), metadata, TWO, None).await;
        if let Some(verdict) = not_rejected(&seen, key, "without") {
            return verdict;
        }
    }
    Verdict::Passed
}

async fn unknown_key(subject: &Subject<'_>, minimal: &Metadata) -> Verdict {
    let Some(key) = samples::unknown_key(subject.descriptor, minimal) else {
        return Verdict::skipped("it declares no namespace in which a key could be misspelled");
    };
    let mut metadata = minimal.clone();
    metadata.insert(key.clone(), "x".to_owned());
    let seen = subject.run(subject.kind(), metadata, TWO, None).await;
    not_rejected(&seen, &key, "with").unwrap_or(Verdict::Passed)
}

fn not_rejected(seen: &Observed, key: &str, how: &str) -> Option<Verdict> {
    let named = seen
        .failure()
        .is_some_and(|failure| failure.summary.contains(key));
    if seen.outcome.status() == Status::Rejected && named {
        return None;
    }
    let status = seen.outcome.status();
    Some(Verdict::failed(
        format!("{how} '{key}' the result was {}", status.as_str()),
        "declare the key in plugin.json, and return RunError::rejected naming it",
    ))
}

/// Runs it with something to wait for, until it is asked to end by its deadline or by `stop`.
async fn ends_when_asked(subject: &Subject<'_>, waiting: &[Metadata], stop: Option<Duration>) -> Verdict {
    let (seconds, asked, doing) = match stop {
        None => (ONE, Duration::from_secs(ONE.get()), "its deadline had passed"),
        Some(after) => (LONGEST_LOADING, after, "it was told to stop"),
    };
    if !subject.has_grace() {
        return Verdict::skipped("the configured grace period is too short for this check");
    }
    for metadata in waiting {
        let seen = subject.run(subject.kind(), metadata.clone(), seconds, stop).await;
        if let Some((reason, remedy)) = seen.trouble() {
            return Verdict::failed(reason, remedy);
        }
        let late = seen.took.saturating_sub(asked);
        if subject.is_forced(late) {
            return Verdict::failed(
                format!(
                    "it was still running {:.1} s after {doing}, and was ended",
                    late.as_secs_f64()
                ),
                RETURN_ON_STOP,
            );
        }
        if seen.took >= asked {
            return Verdict::Passed;
        }
        // It had nothing to wait for; with more to do it may have.
    }
    Verdict::Passed
}
