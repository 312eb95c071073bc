//! A host on a real terminal: its standard streams are a pty, whose other end a test reads and types at.

use crate::{Watchdog, eventually};
use std::{
    fs::File,
    io::{Read, Write},
    os::{
        fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    process::{Child, Command, ExitStatus, Stdio},
    ptr,
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
};

/// Runs a command whose three streams are a terminal of this many columns; returns all that appears on it.
///
/// # Panics
/// When no terminal can be made, or the command does not end in time.
#[track_caller]
pub fn on_terminal(command: &mut Command, columns: u16) -> String {
    Setup::columns(columns).start(command).finish().shown
}

/// How a command is put on a terminal.
#[derive(Debug)]
pub struct Setup {
    columns: u16,
    raw: bool,
    held: bool,
    stdin: Option<Stdio>,
}

impl Setup {
    /// A terminal of this many columns that carries all three streams.
    pub fn columns(columns: u16) -> Self {
        Self {
            columns,
            raw: false,
            held: false,
            stdin: None,
        }
    }

    /// Bytes appear as they are written, and stderr has a terminal of its own.
    #[must_use]
    pub fn raw_and_apart(mut self) -> Self {
        self.raw = true;
        self
    }

    /// Nothing is taken from the terminal before [`Terminal::release`].
    #[must_use]
    pub fn held(mut self) -> Self {
        self.held = true;
        self
    }

    /// stdin is something else.
    #[must_use]
    pub fn stdin(mut self, stdin: impl Into<Stdio>) -> Self {
        self.stdin = Some(stdin.into());
        self
    }

    /// Starts the command there, in a session of its own, so that Ctrl-C is a signal to it.
    #[track_caller]
    pub fn start(self, command: &mut Command) -> Terminal {
        let (ours, theirs) = open(self.columns, self.raw);
        let copy = |of: &OwnedFd| of.as_fd().try_clone_to_owned().expect("a descriptor is free");
        let (our_errors, their_errors) = if self.raw {
            let (ours, theirs) = open(self.columns, true);
            (Some(ours), theirs)
        } else {
            (None, copy(&theirs))
        };
        command
            .stdin(self.stdin.unwrap_or_else(|| copy(&theirs).into()))
            .stdout(theirs)
            .stderr(their_errors);
        // SAFETY: both calls may be made between `fork` and `exec`, and involve no memory.
        unsafe {
            command.pre_exec(|| {
                // A command that is started again does this twice; then it fails, and changes nothing.
                libc::setsid();
                libc::ioctl(1, libc::TIOCSCTTY, 0);
                Ok(())
            });
        }
        let child = command.spawn().expect("it starts");
        // The command's copies go, too, so that the end of the terminal is seen.
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut terminal = Terminal {
            watchdog: Watchdog::over(&child),
            child,
            screen: Screen::new(ours),
            errors: our_errors.map(Screen::new),
        };
        if !self.held {
            terminal.release();
        }
        terminal
    }
}

/// A command on a terminal.
#[derive(Debug)]
pub struct Terminal {
    child: Child,
    watchdog: Watchdog,
    screen: Screen,
    errors: Option<Screen>,
}

/// What was left on a terminal.
#[derive(Debug)]
pub struct Shown {
    /// All that appeared, of stdout alone if stderr had its own.
    pub shown: String,
    /// What appeared on stderr's own.
    pub errors: String,
    /// The same, as bytes.
    pub bytes: [Vec<u8>; 2],
    /// How the command ended.
    pub status: ExitStatus,
}

impl Terminal {
    /// The command's process.
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// Begins to take what is written to the terminal.
    pub fn release(&mut self) {
        self.screen.read();
        if let Some(errors) = &mut self.errors {
            errors.read();
        }
    }

    /// Types at it.
    #[track_caller]
    pub fn enter(&mut self, keys: &str) {
        self.screen
            .terminal
            .write_all(keys.as_bytes())
            .expect("the terminal is open");
    }

    /// What has appeared so far.
    pub fn so_far(&self) -> String {
        self.screen.text()
    }

    /// Waits until `text` has appeared.
    #[track_caller]
    pub fn await_shown(&self, text: &str) {
        eventually(&format!("'{text}' appearing"), || {
            self.so_far().contains(text).then_some(())
        });
    }

    /// Closes the terminal, as a window is closed; the command is waited for.
    ///
    /// # Panics
    /// When it does not end in time, or the terminal was released: what reads it keeps it open.
    #[track_caller]
    pub fn close(self) -> ExitStatus {
        assert!(self.screen.reader.is_none(), "it is being read");
        let Self {
            mut child,
            watchdog,
            screen,
            errors,
        } = self;
        drop((screen, errors));
        let status = child.wait().expect("it can be waited for");
        watchdog.assert_in_time();
        status
    }

    /// Waits for the command to end.
    ///
    /// # Panics
    /// When it does not in time.
    #[track_caller]
    pub fn finish(mut self) -> Shown {
        let bytes = [
            self.screen.take(),
            self.errors.as_mut().map_or_else(Vec::new, Screen::take),
        ];
        let status = self.child.wait().expect("it can be waited for");
        self.watchdog.assert_in_time();
        let [shown, errors] = bytes.each_ref().map(|bytes| as_text(bytes));
        Shown {
            shown,
            errors,
            bytes,
            status,
        }
    }
}

/// Our end of a pty.
#[derive(Debug)]
struct Screen {
    terminal: File,
    shown: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Screen {
    fn new(ours: OwnedFd) -> Self {
        Self {
            terminal: ours.into(),
            shown: Arc::default(),
            reader: None,
        }
    }

    fn read(&mut self) {
        let mut terminal = self.terminal.try_clone().expect("a descriptor is free");
        let shown = Arc::clone(&self.shown);
        self.reader = Some(thread::spawn(move || {
            let mut buffer = [0; 16 * 1024];
            // A terminal whose last user is gone reads as an error on Linux.
            while let Ok(read @ 1..) = terminal.read(&mut buffer) {
                let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
                shown.extend_from_slice(&buffer[..read]);
            }
        }));
    }

    fn text(&self) -> String {
        as_text(&self.shown.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// All that appeared until its last user was gone.
    fn take(&mut self) -> Vec<u8> {
        if self.reader.is_none() {
            self.read();
        }
        let reader = self.reader.take().expect("it was just started");
        reader.join().expect("reading can't panic");
        std::mem::take(&mut *self.shown.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn as_text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace("\r\n", "\n")
}

fn open(columns: u16, raw: bool) -> (OwnedFd, OwnedFd) {
    let size = libc::winsize {
        ws_row: 24,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let (mut ours, mut theirs) = (-1, -1);
    // SAFETY: the descriptors are valid for writing, `size` for reading; name and settings are not given.
    let made = unsafe {
        libc::openpty(
            &raw mut ours,
            &raw mut theirs,
            ptr::null_mut(),
            ptr::null(),
            &raw const size,
        )
    };
    assert_eq!(made, 0, "no terminal: {}", std::io::Error::last_os_error());
    for descriptor in [ours, theirs] {
        // SAFETY: no memory is involved. A child that is started elsewhere at this moment is to have neither.
        unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    // SAFETY: `openpty` has made both, and no one else knows them.
    let (ours, theirs) = unsafe { (OwnedFd::from_raw_fd(ours), OwnedFd::from_raw_fd(theirs)) };
    if raw {
        // SAFETY: `settings` is written before it is read; a bit pattern of zeros is valid for it.
        unsafe {
            let mut settings: libc::termios = std::mem::zeroed();
            libc::tcgetattr(theirs.as_raw_fd(), &raw mut settings);
            libc::cfmakeraw(&raw mut settings);
            libc::tcsetattr(theirs.as_raw_fd(), libc::TCSANOW, &raw const settings);
        }
    }
    (ours, theirs)
}
