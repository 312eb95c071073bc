//! The host's functions, as the plugin calls them. No panic leaves them.

use super::{
    super::wire::Message,
    LINK,
    artifacts::{Artifacts, CreateError},
    link::Link,
};
use executor_runtime_protocol::native::{
    CREATE_DUPLICATE_NAME, CREATE_INVALID_NAME, CREATE_NOT_RESUMABLE, CREATE_TOO_MANY, CREATE_UNWRITABLE,
    CreateFailure, NO_DEADLINE,
    abi_stable::std_types::{ROption, RResult, RSlice, RStr, RString, RVec},
};
use executor_runtime_run::capture::check_checkpoint;
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    time::{ClockId, clock_gettime},
};
use std::{
    fs::File,
    os::fd::{AsFd, AsRawFd, IntoRawFd},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::PoisonError,
    time::{Duration, Instant},
};

/// The longest last will, in bytes.
const MAX_LAST_WILL: usize = 64 * 1024;

/// Calls `body` with the run's link; `otherwise` if there is none or `body` panics.
fn with<T>(otherwise: T, body: impl FnOnce(&'static Link) -> T) -> T {
    match LINK.get() {
        Some(link) => catch_unwind(AssertUnwindSafe(|| body(link))).unwrap_or(otherwise),
        None => otherwise,
    }
}

fn sentence(text: impl ToString) -> RString {
    text.to_string().into()
}

pub(super) extern "C" fn log(level: u8, message: RStr<'_>) {
    with((), |link| {
        // If the host is gone, there is no reader.
        let _ = link.say(&Message::Log {
            level,
            message: shortened(message.as_str()),
        });
    });
}

pub(super) extern "C" fn progress(fraction: f64, message: RStr<'_>) {
    with((), |link| {
        let _ = link.say(&Message::Progress {
            fraction: Some(fraction).filter(|fraction| fraction.is_finite()),
            message: shortened(message.as_str()),
        });
    });
}

/// More than the host shows, and less than fills its memory.
fn shortened(text: &str) -> String {
    let mut end = text.len().min(16 * 1024);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

pub(super) extern "C" fn stop_requested() -> bool {
    with(true, |link| is_ready(link, Some(Duration::ZERO)))
}

pub(super) extern "C" fn wait_stop(nanoseconds: u64) -> bool {
    with(true, |link| {
        is_ready(link, Some(Duration::from_nanos(nanoseconds)))
    })
}

fn is_ready(link: &Link, time: Option<Duration>) -> bool {
    let until = time.and_then(|time| Instant::now().checked_add(time));
    loop {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let timeout = match left {
            None => PollTimeout::NONE,
            // Rounded up, so that time is over when the poll ends.
            Some(left) => {
                PollTimeout::try_from(left.as_nanos().div_ceil(1_000_000)).unwrap_or(PollTimeout::MAX)
            }
        };
        let mut descriptors = [PollFd::new(link.stop.as_fd(), PollFlags::POLLIN)];
        match poll(&mut descriptors, timeout) {
            Ok(0) if left.is_some_and(|left| left <= Duration::from_secs(3600)) => return false,
            Ok(0) | Err(Errno::EINTR) => {}
            // A descriptor that the plugin has closed counts as a request: it can't be told any more.
            Ok(_) | Err(_) => return true,
        }
    }
}

pub(super) extern "C" fn stop_descriptor() -> i32 {
    with(-1, |link| link.stop.as_raw_fd())
}

pub(super) extern "C" fn remaining() -> u64 {
    with(NO_DEADLINE, |link| {
        let Some(deadline) = link.request.deadline_ns else {
            return NO_DEADLINE;
        };
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |now| {
            // The clock counts from the start of the machine: never negative.
            now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64
        });
        deadline.saturating_sub(now)
    })
}

pub(super) extern "C" fn grace() -> u64 {
    with(0, |link| link.request.grace_ns)
}

pub(super) extern "C" fn config(key: RStr<'_>) -> ROption<RString> {
    with(ROption::RNone, |link| {
        let value = link.request.config.get(key.as_str());
        value.map(|value| value.as_str().into()).into()
    })
}

pub(super) extern "C" fn open_input() -> RResult<i32, RString> {
    with(RResult::RErr("the host's side panicked".into()), |link| {
        if let Some(reason) = &link.request.no_input {
            return RResult::RErr(sentence(reason));
        }
        let Some(input) = &link.input else {
            return RResult::ROk(-1);
        };
        // Opened anew, because a duplicate would share its position.
        match File::open(format!("/proc/self/fd/{}", input.as_raw_fd())) {
            Ok(file) => RResult::ROk(file.into_raw_fd()),
            Err(error) => RResult::RErr(sentence(format_args!(
                "the input payload can't be opened: {error}"
            ))),
        }
    })
}

pub(super) extern "C" fn create_artifact(
    name: RStr<'_>,
    kind: RStr<'_>,
    description: RStr<'_>,
) -> RResult<u64, CreateFailure> {
    begin(name, |artifacts| {
        artifacts.create(name.as_str(), kind.as_str(), description.as_str())
    })
}

pub(super) extern "C" fn reopen_artifact(
    name: RStr<'_>,
    kind: RStr<'_>,
    description: RStr<'_>,
    length: u64,
) -> RResult<u64, CreateFailure> {
    begin(name, |artifacts| {
        artifacts.reopen(name.as_str(), kind.as_str(), description.as_str(), length)
    })
}

fn begin(
    name: RStr<'_>,
    begin: impl FnOnce(&mut Artifacts) -> Result<u64, CreateError>,
) -> RResult<u64, CreateFailure> {
    let failure = |reason, limit, text: String| {
        RResult::RErr(CreateFailure {
            reason,
            limit,
            text: text.into(),
        })
    };
    with(
        failure(CREATE_UNWRITABLE, 0, "the host's side panicked".to_owned()),
        |link| {
            let mut artifacts = link.artifacts.lock().unwrap_or_else(PoisonError::into_inner);
            match begin(&mut artifacts) {
                Ok(handle) => {
                    // For those who follow the run; it goes on without.
                    let _ = link.say(&Message::Begun {
                        name: name.as_str().to_owned(),
                    });
                    RResult::ROk(handle)
                }
                Err(CreateError::InvalidName) => failure(CREATE_INVALID_NAME, 0, String::new()),
                Err(CreateError::DuplicateName) => failure(CREATE_DUPLICATE_NAME, 0, String::new()),
                Err(CreateError::TooMany(limit)) => failure(CREATE_TOO_MANY, limit, String::new()),
                Err(CreateError::Unwritable(text)) => failure(CREATE_UNWRITABLE, 0, text),
                Err(CreateError::NotResumable(error)) => failure(CREATE_NOT_RESUMABLE, 0, error.to_string()),
            }
        },
    )
}

pub(super) extern "C" fn write_artifact(artifact: u64, bytes: RSlice<'_, u8>) -> RResult<u64, RString> {
    with(RResult::RErr("the host's side panicked".into()), |link| {
        let mut artifacts = link.artifacts.lock().unwrap_or_else(PoisonError::into_inner);
        artifacts
            .write(artifact, bytes.as_slice())
            .map_err(sentence)
            .into()
    })
}

pub(super) extern "C" fn finish_artifact(artifact: u64) -> RResult<u64, RString> {
    with(RResult::RErr("the host's side panicked".into()), |link| {
        let mut artifacts = link.artifacts.lock().unwrap_or_else(PoisonError::into_inner);
        let finished = artifacts.finish(artifact).and_then(|(length, message)| {
            let listed = link.ask(&message)?;
            Ok(listed.map(|()| length))
        });
        match finished {
            Ok(listed) => listed.map_err(sentence).into(),
            Err(error) => RResult::RErr(sentence(error)),
        }
    })
}

pub(super) extern "C" fn drop_artifact(artifact: u64) {
    with((), |link| {
        let mut artifacts = link.artifacts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(message) = artifacts.discard(artifact) {
            // A host that is gone removes nothing, as it should.
            let _ = link.say(&message);
        }
    });
}

pub(super) extern "C" fn checkpoint(state: RSlice<'_, u8>) -> RResult<(), RString> {
    with(RResult::RErr("the host's side panicked".into()), |link| {
        if let Err(reason) = check_checkpoint(state.as_slice()) {
            return RResult::RErr(sentence(reason));
        }
        let message = Message::Checkpoint {
            state: state.as_slice().to_owned(),
        };
        // Once this returns, a host that is killed has it all the same: it is the host that writes the file.
        match link.ask(&message) {
            Ok(kept) => kept.map_err(sentence).into(),
            Err(error) => RResult::RErr(sentence(error)),
        }
    })
}

pub(super) extern "C" fn resumed() -> ROption<RVec<u8>> {
    with(ROption::RNone, |link| {
        let state = link.request.resumed.as_deref();
        state.map(RVec::from).into()
    })
}

pub(super) extern "C" fn last_will(command: RSlice<'_, RStr<'_>>) -> RResult<(), RString> {
    with(RResult::RErr("the host's side panicked".into()), |link| {
        let command: Vec<_> = command.iter().map(|part| part.as_str().to_owned()).collect();
        if command.iter().map(String::len).sum::<usize>() > MAX_LAST_WILL {
            return RResult::RErr(sentence(format_args!(
                "the last will is longer than {MAX_LAST_WILL} bytes"
            )));
        }
        match link.ask(&Message::LastWill { command }) {
            Ok(left) => left.map_err(sentence).into(),
            Err(error) => RResult::RErr(sentence(error)),
        }
    })
}
