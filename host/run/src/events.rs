//! What a run tells while it is under way: where its output can be followed, its progress, what it logs and keeps, that it
//! is stopping.
//!
//! The caller gives a run its [`Events`], and the runner reports to them. Bytes of output and of artifacts are no events:
//! they stay in the files, and a follower reads them from there, so that a slow one holds up nothing.

use std::{
    fmt,
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

/// Something that happened in a run.
#[derive(Debug)]
pub enum Event {
    /// Its output can be followed.
    Output(OutputFeed),
    /// How far it is, as what is running has it; it replaces what was said before.
    Progress {
        /// From 0 to 1, if that is known.
        fraction: Option<f64>,
        /// In words that are printable; they may be empty.
        message: String,
    },
    /// What is running has logged a line.
    Log(LogLine),
    /// A plugin's code is about to be called for it.
    Called,
    /// It has been given the checkpoint of the run that it goes on from.
    Resumed,
    /// It has stored a checkpoint, from which it could go on.
    Checkpoint {
        /// How long the checkpoint is.
        bytes: u64,
    },
    /// An artifact has grown, or is finished.
    Artifact(ArtifactState),
    /// It was told to stop, and may take this long to.
    Stopping {
        /// Time until it is ended by force.
        grace: Duration,
    },
}

/// A line of a run's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// Its number among the lines of the run, from 1. Where numbers are missing, lines were left out.
    pub number: u64,
    /// `trace`, `debug`, `info`, `warn` or `error`.
    pub level: &'static str,
    /// In words that are printable.
    pub message: String,
    /// How many lines just before this one were left out, because there were too many.
    pub left_out: u64,
}

/// An artifact of a run, as it is at some moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArtifactState {
    /// Its id in the result.
    pub artifact_id: String,
    /// The file that it is in at that moment.
    pub path: PathBuf,
    /// How long it is.
    pub bytes: u64,
    /// Whether that is all of it.
    pub is_finished: bool,
}

/// The output of a run, to be read while it grows.
#[derive(Debug)]
pub struct OutputFeed {
    /// The files that stdout and stderr are kept in. Read them at offsets: position and lock belong to the run.
    pub files: [File; 2],
    /// Becomes readable when there is more.
    pub grown: Notifier,
}

type Listener = dyn Fn(Event) + Send + Sync;

/// Where a run reports events; nowhere by default. Clones report to the same place.
#[derive(Clone, Default)]
pub struct Events(Option<Arc<Listener>>);

impl Events {
    /// Reports to `listener`, which is called where the run is executed and so must not block.
    pub fn to(listener: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(listener)))
    }

    /// Whether anybody listens.
    pub fn are_wanted(&self) -> bool {
        self.0.is_some()
    }

    /// Reports an event.
    pub fn report(&self, event: Event) {
        if let Some(listener) = &self.0 {
            listener(event);
        }
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events")
            .field("wanted", &self.are_wanted())
            .finish()
    }
}

/// A counter of the kernel (`eventfd`) that one side raises and the other polls. Raising it never blocks, and many
/// times count as one.
#[derive(Debug)]
pub struct Notifier(OwnedFd);

impl Notifier {
    /// A new one, that is not raised.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn new() -> io::Result<Self> {
        // SAFETY: no memory is involved.
        let made = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if made < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call has just made it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(made) }))
    }

    /// Another handle on the same counter.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn share(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// Raises it.
    pub fn notify(&self) {
        let one = 1_u64.to_ne_bytes();
        // SAFETY: `one` is valid for reading 8 bytes. It can only fail where the counter is raised as high as it goes.
        unsafe { libc::write(self.0.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    /// Takes it down again.
    pub fn clear(&self) {
        let mut count = [0; 8];
        // SAFETY: `count` is valid for writing 8 bytes. It fails where it is not raised.
        unsafe { libc::read(self.0.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
    }
}

impl AsFd for Notifier {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Notifier {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl From<Notifier> for OwnedFd {
    fn from(notifier: Notifier) -> Self {
        notifier.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_raised(notifier: &Notifier) -> bool {
        let mut poll = libc::pollfd {
            fd: notifier.0.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: `poll` is one valid entry for the length of the call.
        unsafe { libc::poll(&raw mut poll, 1, 0) == 1 }
    }

    #[test]
    fn a_notifier_is_raised_until_it_is_cleared() {
        let notifier = Notifier::new().unwrap();
        assert!(!is_raised(&notifier));
        notifier.share().unwrap().notify();
        notifier.notify();
        assert!(is_raised(&notifier));
        notifier.clear();
        assert!(!is_raised(&notifier));
        notifier.clear();
    }
}
