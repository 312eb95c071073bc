//! An executor from the host's side: a socket to talk over, and a hold on its process, which may be anyone's child.
//!
//! The executor may be stopped (`SIGSTOP`) at any moment and go on at any other, with what it was told before. So an executor
//! that does not answer is killed: once that is asked for, it runs no more code of its own.
//!
//! One that is let go of without that goes on with its will: then the run is not waited for any more.

use super::{
    super::rights,
    END_TIME, EXECUTOR_MODE, ORDER_TIME, SLACK, TIME, orphans,
    wire::{Answer, MAX_FRAME},
};
use executor_runtime_run::exhaustion;
use std::{
    io,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::{self, process::CommandExt},
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    ptr,
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, Interest, unix::AsyncFd},
    net::UnixStream,
    time::timeout,
};

#[derive(Debug)]
pub(super) struct Executor {
    socket: UnixStream,
    process: Process,
}

/// An executor's process, as a descriptor. It may go on when this is dropped, and be the host's to collect.
#[derive(Debug)]
struct Process(Arc<OwnedFd>);

impl Drop for Process {
    fn drop(&mut self) {
        orphans::collect(Arc::clone(&self.0));
    }
}

impl Executor {
    /// Starts one that runs its will at the end of `life`.
    pub(super) async fn start(program: PathBuf, life: OwnedFd) -> io::Result<Self> {
        let starting = exhaustion::run_blocking(move || start(&program, life));
        let (socket, process) = timeout(ORDER_TIME, starting).await.map_err(|_| late())???;
        Ok(Self {
            socket: UnixStream::from_std(socket)?,
            process,
        })
    }

    /// Gives an order, which is a frame, with the program if there is one.
    pub(super) async fn order(&mut self, order: &[u8], program: &[OwnedFd]) -> io::Result<Answer> {
        let asked = async {
            rights::send_when_writable(&self.socket, order[0], program).await?;
            self.socket.write_all(&order[1..]).await?;
            self.answer().await
        };
        timeout(ORDER_TIME, asked).await.map_err(|_| late())?
    }

    /// What came of its will. It has ended then, or goes on by itself.
    pub(super) async fn carried_out(mut self) -> io::Result<Answer> {
        let answer = timeout(TIME + SLACK, self.answer()).await;
        let answer = answer.map_err(|_| late()).flatten();
        match answer {
            Ok(Answer::Later(_)) => {}
            Ok(_) => self.end_after(SLACK).await,
            Err(_) => self.end().await,
        }
        answer
    }

    /// Ends it, by force if it has not ended by itself after this time.
    pub(super) async fn end_after(self, time: Duration) {
        if !self.ends_within(time).await {
            self.end().await;
        }
    }

    /// Ends it by force. One that is stuck in the kernel is not waited for: it does nothing any more.
    pub(super) async fn end(self) {
        // SAFETY: the descriptor is open, and no other memory is involved. It may have ended before.
        unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.process.0.as_raw_fd(),
                libc::SIGKILL,
                ptr::null::<libc::siginfo_t>(),
                0,
            )
        };
        self.ends_within(END_TIME).await;
    }

    async fn ends_within(&self, time: Duration) -> bool {
        let ended = async {
            let process = self.process.0.as_fd();
            // SAFETY: it is one descriptor, which is open for as long as it is borrowed.
            let process = unsafe { AsyncFd::register_with_interest(process, Interest::READABLE) }?;
            process.readable().await.map(drop)
        };
        matches!(timeout(time, ended).await, Ok(Ok(())))
    }

    async fn answer(&mut self) -> io::Result<Answer> {
        let length = self.socket.read_u32_le().await? as usize;
        if length > MAX_FRAME {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut json = vec![0; length];
        self.socket.read_exact(&mut json).await?;
        Ok(serde_json::from_slice(&json)?)
    }
}

fn late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "its executor does not answer")
}

/// Starts an executor. Blocks until it is on its own: what the host has started ends at once, leaves the executor, and sends
/// a hold on its process.
fn start(program: &Path, life: OwnedFd) -> io::Result<(unix::net::UnixStream, Process)> {
    let (ours, theirs) = unix::net::UnixStream::pair()?;
    let status = Command::new(program)
        .arg0("executor-runtime")
        .arg(EXECUTOR_MODE)
        .current_dir("/")
        .stdin(life)
        .stdout(OwnedFd::from(theirs))
        .stderr(Stdio::null())
        .status()?;
    if !status.success() {
        return Err(io::Error::other(format!("its executor {status}")));
    }
    ours.set_nonblocking(true)?;
    let (_, mut process) = rights::receive(&ours)?;
    let process = process.pop().ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok((ours, Process(Arc::new(process))))
}
