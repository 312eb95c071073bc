//! What is shown of a run while it runs: its output as it is captured, its progress, that it is stopping.
//!
//! A thread of its own reads the captured files behind the run and writes to the terminal. So a terminal that is slow,
//! held (Ctrl-S) or closed holds up this thread only: not the capture, not the time-out, not the run. What runs prints
//! goes on byte for byte, stdout to stdout and stderr to stderr; lines of ours go to stderr.

use super::{logging, shown, stderr, style};
use executor_runtime::{CancelReason, CancelToken, Event, Events, Notifier, OutputFeed};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};
use std::{
    collections::VecDeque,
    fs::File,
    io::{self, IsTerminal},
    os::{fd::AsFd, unix::fs::FileExt},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use tokio::sync::oneshot;

/// How much of a stream is written before the other one, and the news, are looked at.
const PIECE: usize = 64 * 1024;
/// Time between two states of the line that tells progress.
const UPDATE_INTERVAL: Duration = Duration::from_millis(100);
/// The same on a terminal on which each is a line of its own.
const LINE_INTERVAL: Duration = Duration::from_secs(1);
/// How many lines of a plugin's log wait for a terminal that is held; of more the newest are shown.
const MAX_LINES: usize = 200;
/// How long a person who has asked twice for the end waits for output that the terminal has not taken.
const LAST_PATIENCE: Duration = Duration::from_millis(500);

/// What is to be shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shows {
    /// The run's output.
    pub(super) output: bool,
    /// Progress, what the host waits for, and what a plugin logs for people (`info`).
    pub(super) notes: bool,
}

impl Shows {
    /// Whether anything is.
    pub(super) fn any(self) -> bool {
        self.output || self.notes
    }
}

/// What a person has seen of a run when it is over.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// How many bytes of stdout and stderr; none if the output was not followed.
    pub(super) bytes: Option<[u64; 2]>,
    /// Whether the cursor is within a line.
    pub(super) within_line: bool,
}

/// The showing of one run.
#[derive(Debug)]
pub(super) struct Live {
    shared: Arc<Shared>,
    done: oneshot::Receiver<()>,
}

/// Between the run and the thread that shows it.
#[derive(Debug)]
struct Shared {
    news: Mutex<News>,
    wake: Notifier,
    seen: Mutex<Seen>,
    /// What is not shown yet is not waited for.
    abandoned: AtomicBool,
}

/// What is not shown yet.
#[derive(Debug, Default)]
struct News {
    feed: Option<OutputFeed>,
    progress: Option<String>,
    lines: VecDeque<String>,
    stopping: Option<Duration>,
    note: Option<&'static str>,
    over: bool,
}

impl Live {
    /// Starts showing; None if there is nothing to show, or no thread or descriptor left to do it with. A run goes on
    /// without.
    pub(super) fn start(shows: Shows, kind: &str) -> Option<Self> {
        if !shows.any() {
            return None;
        }
        let shared = Arc::new(Shared {
            news: Mutex::default(),
            wake: Notifier::new().ok()?,
            seen: Mutex::default(),
            abandoned: AtomicBool::new(false),
        });
        let (tell, done) = oneshot::channel();
        let (theirs, kind) = (Arc::clone(&shared), kind.to_owned());
        let work = move || {
            Screen::new(&theirs, shows, kind).show();
            // The other end waits, unless it has lost its patience.
            let _ = tell.send(());
        };
        thread::Builder::new()
            .name("terminal".to_owned())
            .spawn(work)
            .ok()?;
        Some(Self { shared, done })
    }

    /// Where the run is to report.
    pub(super) fn events(&self) -> Events {
        let shared = Arc::clone(&self.shared);
        Events::to(move |event| shared.take_note(event))
    }

    /// Tells a person something, if notes are shown.
    pub(super) fn note(&self, text: &'static str) {
        self.shared.news().note = Some(text);
        self.shared.wake.notify();
    }

    /// The run is over: waits until all is shown, or a person wants no more of it.
    pub(super) async fn finish(self, stop: &CancelToken) -> Seen {
        let Self { shared, mut done } = self;
        shared.news().over = true;
        shared.wake.notify();
        let enough = async {
            match stop.reason() {
                None => stop.raised(CancelReason::Requested).await,
                Some(CancelReason::Requested) => stop.raised(CancelReason::Immediate).await,
                Some(CancelReason::Immediate) => {}
            }
            shared.abandoned.store(true, Ordering::Relaxed);
            tokio::time::sleep(LAST_PATIENCE).await;
        };
        tokio::select! {
            _ = &mut done => {}
            () = enough => {}
        }
        *shared.seen()
    }
}

impl Shared {
    fn news(&self) -> MutexGuard<'_, News> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_note(&self, event: Event) {
        {
            let mut news = self.news();
            match event {
                Event::Output(feed) => news.feed = Some(feed),
                Event::Progress { fraction, message } => news.progress = Some(progress(fraction, &message)),
                Event::Stopping { grace } => news.stopping = Some(grace),
                Event::Log(line) if logging::is_left_to_live(line.level) => {
                    if news.lines.len() == MAX_LINES {
                        news.lines.pop_front();
                    }
                    news.lines.push_back(line.message);
                }
                // Warnings are on stderr already, and the summary at the end tells of the files.
                Event::Log(_)
                | Event::Called
                | Event::Resumed
                | Event::Checkpoint { .. }
                | Event::Artifact(_) => return,
            }
        }
        self.wake.notify();
    }

    fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Relaxed)
    }
}

/// How far a run is, in words.
pub(super) fn progress(fraction: Option<f64>, message: &str) -> String {
    match fraction {
        Some(fraction) if message.is_empty() => format!("{:.0}%", fraction * 100.0),
        Some(fraction) => format!("{:.0}% {message}", fraction * 100.0),
        None => message.to_owned(),
    }
}

/// The thread's own: what is on the terminal.
struct Screen<'a> {
    shared: &'a Shared,
    shows: Shows,
    kind: String,
    follower: Option<Follower>,
    /// Progress that is to be shown once enough time has passed since the last.
    pending: Option<String>,
    next_progress: Instant,
}

impl<'a> Screen<'a> {
    fn new(shared: &'a Shared, shows: Shows, kind: String) -> Self {
        Self {
            shared,
            shows,
            kind,
            follower: None,
            pending: None,
            next_progress: Instant::now(),
        }
    }

    fn show(mut self) {
        let mut more = false;
        loop {
            self.wait(more);
            let news = std::mem::take(&mut *self.shared.news());
            if let (Some(feed), true) = (news.feed, self.shows.output) {
                self.follower = Some(Follower::new(feed));
                self.shared.seen().bytes = Some([0; 2]);
            }
            if self.shows.notes {
                self.pending = news.progress.or(self.pending.take());
                for message in news.lines {
                    let line = format!("{}: {}", self.kind, shown::value(&message));
                    self.note(&line);
                }
                if let Some(text) = news.note {
                    self.note(text);
                }
                if let Some(grace) = news.stopping {
                    self.note(&stopping(grace));
                }
                self.update_progress(news.over);
            }
            more = self.follow_a_piece();
            if news.over {
                break;
            }
        }
        // Nothing is written any more by the run; what a stranger goes on writing is not waited for.
        let ends = self.follower.as_ref().map(Follower::ends);
        while more && !self.shared.is_abandoned() && self.is_before(ends) {
            more = self.follow_a_piece();
        }
        stderr::clear_status();
    }

    fn is_before(&self, ends: Option<[u64; 2]>) -> bool {
        let offsets = self.follower.as_ref().map(|follower| follower.offsets);
        let (Some(ends), Some(offsets)) = (ends, offsets) else {
            return false;
        };
        offsets.iter().zip(ends).any(|(offset, end)| *offset < end)
    }

    /// Waits for news, for output, or until progress is to be shown; not at all if there is more to show already.
    fn wait(&self, more: bool) {
        let grown = self.follower.as_ref().map(|follower| &follower.grown);
        let mut ready: Vec<_> = [Some(&self.shared.wake), grown]
            .into_iter()
            .flatten()
            .map(|notifier| PollFd::new(notifier.as_fd(), PollFlags::POLLIN))
            .collect();
        let timeout = match (more, &self.pending) {
            (true, _) => PollTimeout::ZERO,
            (false, Some(_)) => {
                let left = self.next_progress.saturating_duration_since(Instant::now());
                PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::ZERO)
            }
            (false, None) => PollTimeout::NONE,
        };
        // An interrupted wait is a turn in which there is nothing new.
        let _ = poll(&mut ready, timeout);
        self.shared.wake.clear();
        if let Some(grown) = grown {
            grown.clear();
        }
    }

    /// Shows the next piece of both streams; whether there may be more at once.
    fn follow_a_piece(&mut self) -> bool {
        let Some(follower) = &mut self.follower else {
            return false;
        };
        let mut more = false;
        for stream in [Stream::Stdout, Stream::Stderr] {
            if let Some(last) = follower.show_a_piece(stream) {
                more = true;
                let mut seen = self.shared.seen();
                seen.bytes = Some(follower.offsets);
                if stream.is_terminal() {
                    seen.within_line = last != b'\n';
                }
            }
        }
        more
    }

    /// A line of ours.
    fn note(&mut self, text: &str) {
        stderr::clear_status();
        let style = style::stderr();
        // A terminal shows `^C` where the cursor was.
        let start = if self.shared.seen().within_line {
            "\n"
        } else {
            "\r"
        };
        let line = format!("{start}{}\n", style.wrap(text, 0, "  "));
        write_all(Stream::Stderr, line.as_bytes());
        self.shared.seen().within_line = false;
    }

    fn update_progress(&mut self, over: bool) {
        let dumb = style::is_dumb();
        let now = Instant::now();
        if over && !dumb {
            self.pending = None;
        }
        if now < self.next_progress && !over {
            return;
        }
        let Some(progress) = self.pending.take() else {
            return;
        };
        let style = style::stderr();
        let line = style.fit(&format!("{}: {progress}", self.kind));
        if dumb {
            write_all(Stream::Stderr, format!("{line}\n").as_bytes());
            self.next_progress = now + LINE_INTERVAL;
        } else {
            stderr::show_status(&line);
            self.next_progress = now + UPDATE_INTERVAL;
        }
    }
}

/// What is waited for after Ctrl-C.
fn stopping(grace: Duration) -> String {
    if grace.is_zero() {
        return "stopping: ending the run".to_owned();
    }
    format!(
        "stopping: waiting up to {} for the run to end; press Ctrl-C again to kill it now",
        shown::duration(grace)
    )
}

/// One of our own streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stream {
    Stdout = 0,
    Stderr = 1,
}

impl Stream {
    fn is_terminal(self) -> bool {
        match self {
            Self::Stdout => io::stdout().is_terminal(),
            Self::Stderr => io::stderr().is_terminal(),
        }
    }
}

/// Reads the captured files behind the run.
#[derive(Debug)]
struct Follower {
    files: [File; 2],
    grown: Notifier,
    offsets: [u64; 2],
    /// Whether our own stream takes no more: its terminal was closed.
    closed: [bool; 2],
}

impl Follower {
    fn new(feed: OutputFeed) -> Self {
        Self {
            files: feed.files,
            grown: feed.grown,
            offsets: [0; 2],
            closed: [false; 2],
        }
    }

    /// How long the files are now.
    fn ends(&self) -> [u64; 2] {
        self.files
            .each_ref()
            .map(|file| file.metadata().map_or(0, |status| status.len()))
    }

    /// Shows at most one piece; returns its last byte, if there was any.
    fn show_a_piece(&mut self, stream: Stream) -> Option<u8> {
        let index = stream as usize;
        if self.closed[index] {
            return None;
        }
        let mut buffer = vec![0; PIECE];
        // What can't be read now is read when there is more.
        let read = self.files[index]
            .read_at(&mut buffer, self.offsets[index])
            .unwrap_or(0);
        let last = *buffer[..read].last()?;
        self.closed[index] = !write_all(stream, &buffer[..read]);
        self.offsets[index] += read as u64;
        Some(last)
    }
}

/// Writes all of it, past the buffer and the lock of the standard library: this may take as long as a terminal is held.
/// False if the stream takes no more.
fn write_all(stream: Stream, mut bytes: &[u8]) -> bool {
    let (stdout, stderr) = (io::stdout(), io::stderr());
    let descriptor = match stream {
        Stream::Stdout => stdout.as_fd(),
        Stream::Stderr => stderr.as_fd(),
    };
    while !bytes.is_empty() {
        match nix::unistd::write(descriptor, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::EINTR) => {}
            // Another process that shares it has made it so.
            Err(Errno::EAGAIN) => {
                let mut room = [PollFd::new(descriptor, PollFlags::POLLOUT)];
                let _ = poll(&mut room, PollTimeout::NONE);
            }
            Err(_) => return false,
        }
    }
    true
}
