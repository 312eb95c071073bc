//! System calls that `nix` lacks, or whose `nix` form allocates.
//!
//! Everything here may be called in a child of `fork`: no allocation, no lock, no panic on any path.

use super::wire::{MAX_FDS, Message};
use nix::errno::Errno;
use std::{
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    ptr,
    time::Duration,
};

pub(super) type Result<T> = std::result::Result<T, Errno>;

/// Nanoseconds of `CLOCK_MONOTONIC`.
pub fn monotonic_ns() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `now` is valid for writing; the clock always exists on Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    (now.tv_sec as u64)
        .wrapping_mul(1_000_000_000)
        .wrapping_add(now.tv_nsec as u64)
}

/// Which side of a `fork` this is.
pub(super) enum Forked {
    Parent(libc::pid_t),
    Child,
}

/// A plain `fork`, straight from the kernel: the C library's would run its handlers, which walk through the
/// heap's administration, and a spawner has dropped that together with the heap.
///
/// # Safety
/// The child only makes system calls: it does not allocate, and the C library does not know its thread.
pub(super) unsafe fn fork() -> Result<Forked> {
    // A `clone` without flags or a stack; the zeros make the order of the other arguments irrelevant.
    // SAFETY: the caller keeps to what a child may do.
    match Errno::result(unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) })? {
        0 => Ok(Forked::Child),
        pid => Ok(Forked::Parent(pid as libc::pid_t)),
    }
}

/// Memory for the stack of a child of [`run_suspended`].
pub(super) struct ChildStack(*mut u8);

impl ChildStack {
    const LEN: usize = 64 * 1024;

    /// Maps it, for as long as this process lives.
    pub(super) fn map() -> Result<Self> {
        map_anonymous(Self::LEN).map(Self)
    }

    /// The architectures that Linux runs on grow the stack downwards, from a 16-byte boundary.
    fn top(&self) -> *mut libc::c_void {
        self.0.wrapping_add(Self::LEN).cast()
    }
}

/// Starts a child that runs `body` in this process's memory, with the caller suspended until the child has
/// called `execve` or ended: what `vfork` does, on a stack of its own. Nothing is copied and nothing is
/// faulted in again, which is most of what a `fork` costs.
///
/// # Safety
/// This process has one thread. `body` does not return and does not unwind; what it writes to memory stays
/// written.
pub(super) unsafe fn run_suspended<T>(
    argument: &T,
    body: extern "C" fn(*mut libc::c_void) -> i32,
    stack: &mut ChildStack,
) -> Result<libc::pid_t> {
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: no one else uses the stack until the child is done with it; the caller vouches for `body`, which
    // outlives its borrow of `argument` only in the sense that this frame is suspended meanwhile.
    Errno::result(unsafe {
        libc::clone(
            body,
            stack.top(),
            flags,
            ptr::from_ref(argument).cast_mut().cast(),
        )
    })
}

/// Ends the process without running anything of the C library's or Rust's exit handlers.
pub(super) fn exit_now(status: i32) -> ! {
    // SAFETY: `_exit` is always allowed.
    unsafe { libc::_exit(status) }
}

/// Closes every descriptor from `first` on.
pub(super) fn close_from(first: RawFd) {
    // SAFETY: descriptors are plain numbers here; the caller owns all of this process.
    unsafe { libc::syscall(libc::SYS_close_range, first as libc::c_uint, libc::c_uint::MAX, 0) };
}

/// Closes every descriptor from `first` to the one before `end`.
pub(super) fn close_between(first: RawFd, end: RawFd) {
    if first < end {
        let last = (end - 1) as libc::c_uint;
        // SAFETY: as above.
        unsafe { libc::syscall(libc::SYS_close_range, first as libc::c_uint, last, 0) };
    }
}

/// Closes one descriptor.
pub(super) fn close(fd: RawFd) {
    // SAFETY: as above.
    unsafe { libc::close(fd) };
}

/// `dup2`, which also clears close-on-exec; where source and target are the same, only that.
pub(super) fn place_fd(from: RawFd, to: RawFd) -> Result<()> {
    // SAFETY: plain descriptor operations.
    unsafe {
        if from == to {
            Errno::result(libc::fcntl(from, libc::F_SETFD, 0))?;
        } else {
            Errno::result(libc::dup2(from, to))?;
        }
    }
    Ok(())
}

/// A duplicate at `least` or above, closed on exec.
pub(super) fn duplicate_above(fd: RawFd, least: RawFd) -> Result<RawFd> {
    // SAFETY: plain descriptor operation.
    Errno::result(unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, least) })
}

/// Something that was waited for.
#[derive(Clone, Copy)]
pub(super) struct Reaped {
    pub(super) pid: libc::pid_t,
    pub(super) status: i32,
    pub(super) usage: libc::rusage,
}

/// What [`peek_ended`] and [`reap`] found.
pub(super) enum Wait<T> {
    Ended(T),
    /// There are children, all of them alive.
    Alive,
    /// There are no children at all.
    NoChildren,
}

/// Any child that has ended, left in place: its pid stays taken.
pub(super) fn peek_ended() -> Wait<libc::pid_t> {
    // SAFETY: all-zero is a valid siginfo_t; it is valid for writing.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        match libc::waitid(libc::P_ALL, 0, &raw mut info, flags) {
            0 if info.si_pid() == 0 => Wait::Alive,
            0 => Wait::Ended(info.si_pid()),
            _ => Wait::NoChildren,
        }
    }
}

/// The child `pid` (none: any) that has been stopped since it was last asked for.
pub(super) fn take_stopped(pid: Option<libc::pid_t>) -> Option<libc::pid_t> {
    let (kind, id) = match pid {
        Some(pid) => (libc::P_PID, pid as libc::id_t),
        None => (libc::P_ALL, 0),
    };
    // SAFETY: all-zero is a valid siginfo_t; it is valid for writing.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let found = libc::waitid(kind, id, &raw mut info, libc::WSTOPPED | libc::WNOHANG);
        (found == 0 && info.si_pid() != 0).then(|| info.si_pid())
    }
}

/// Collects the child `pid` (-1: any) if it has ended, with what it used.
pub(super) fn reap(pid: libc::pid_t) -> Wait<Reaped> {
    let mut status = 0;
    // SAFETY: all-zero is a valid rusage; both are valid for writing.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        match libc::wait4(pid, &raw mut status, libc::WNOHANG, &raw mut usage) {
            0 => Wait::Alive,
            pid if pid > 0 => Wait::Ended(Reaped { pid, status, usage }),
            _ => Wait::NoChildren,
        }
    }
}

/// What this process has had resident at most, its parent's pages that it was forked with included.
pub(super) fn peak_memory_kib() -> libc::c_long {
    // SAFETY: all-zero is a valid rusage; it is valid for writing.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage.ru_maxrss
    }
}

/// A descriptor that is ready to be read once the process has ended.
///
/// # Errors
/// When there is no such process, or no descriptor to be had.
pub fn open_process(pid: libc::pid_t) -> Result<OwnedFd> {
    // SAFETY: no memory is involved; the descriptor is new, and closed on exec as all of its kind.
    unsafe {
        let fd = Errno::result(libc::syscall(libc::SYS_pidfd_open, pid, 0))?;
        Ok(OwnedFd::from_raw_fd(fd as RawFd))
    }
}

/// `kill`; a process that has already ended is not an error.
pub(super) fn kill(pid: libc::pid_t, signal: i32) {
    // SAFETY: no memory is involved.
    unsafe { libc::kill(pid, signal) };
}

/// Sends one message, with `fds` attached.
pub(super) fn send<M: Message>(socket: RawFd, message: &M, fds: &[RawFd]) -> Result<()> {
    send_with_tail(socket, message, &[], fds)
}

/// Sends one message with bytes behind it, and with `fds` attached.
pub(super) fn send_with_tail<M: Message>(
    socket: RawFd,
    message: &M,
    tail: &[u8],
    fds: &[RawFd],
) -> Result<()> {
    let mut control = ControlBuffer::default();
    // SAFETY: all-zero is a valid msghdr; every pointer set below outlives the call, and the control
    // buffer has room for MAX_FDS descriptors, which is checked.
    unsafe {
        let mut header: libc::msghdr = std::mem::zeroed();
        let mut parts = [message.bytes(), tail].map(|bytes| libc::iovec {
            iov_base: bytes.as_ptr().cast_mut().cast(),
            iov_len: bytes.len(),
        });
        header.msg_iov = parts.as_mut_ptr();
        header.msg_iovlen = parts.len() as _;
        if !fds.is_empty() {
            if fds.len() > MAX_FDS {
                return Err(Errno::EINVAL);
            }
            let len = size_of_val(fds);
            header.msg_control = control.0.as_mut_ptr().cast();
            header.msg_controllen = libc::CMSG_SPACE(len as u32) as _;
            let first = libc::CMSG_FIRSTHDR(&raw const header);
            (*first).cmsg_level = libc::SOL_SOCKET;
            (*first).cmsg_type = libc::SCM_RIGHTS;
            (*first).cmsg_len = libc::CMSG_LEN(len as u32) as _;
            ptr::copy_nonoverlapping(fds.as_ptr().cast::<u8>(), libc::CMSG_DATA(first), len);
        }
        loop {
            match Errno::result(libc::sendmsg(socket, &raw const header, libc::MSG_NOSIGNAL)) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
}

/// Descriptors that came with a message. They are closed on exec.
#[derive(Clone, Copy)]
pub(super) struct ReceivedFds {
    fds: [RawFd; MAX_FDS],
    len: usize,
}

impl ReceivedFds {
    pub(super) fn as_slice(&self) -> &[RawFd] {
        &self.fds[..self.len]
    }
}

/// Receives one message; none once the other side is closed.
pub(super) fn receive<M: Message>(socket: RawFd, flags: i32) -> Result<Option<(M, ReceivedFds)>> {
    let received = receive_with_tail(socket, flags, &mut [])?;
    Ok(received.map(|(message, _, fds)| (message, fds)))
}

/// Receives one message, and the bytes behind it into `tail`; tells how many there were.
pub(super) fn receive_with_tail<M: Message>(
    socket: RawFd,
    flags: i32,
    tail: &mut [u8],
) -> Result<Option<(M, usize, ReceivedFds)>> {
    let mut message = M::default();
    let mut control = ControlBuffer::default();
    let mut received = ReceivedFds {
        fds: [-1; MAX_FDS],
        len: 0,
    };
    // SAFETY: as in `send`; the kernel writes no more than `msg_controllen` bytes of control data.
    let tail_len = unsafe {
        let mut header: libc::msghdr = std::mem::zeroed();
        let mut parts = [message.bytes_mut(), tail].map(|bytes| libc::iovec {
            iov_base: bytes.as_mut_ptr().cast(),
            iov_len: bytes.len(),
        });
        header.msg_iov = parts.as_mut_ptr();
        header.msg_iovlen = parts.len() as _;
        header.msg_control = control.0.as_mut_ptr().cast();
        header.msg_controllen = size_of_val(&control.0) as _;
        let len = loop {
            match Errno::result(libc::recvmsg(
                socket,
                &raw mut header,
                flags | libc::MSG_CMSG_CLOEXEC,
            )) {
                Ok(len) => break len as usize,
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        };
        let mut part = libc::CMSG_FIRSTHDR(&raw const header);
        while !part.is_null() {
            if (*part).cmsg_level == libc::SOL_SOCKET && (*part).cmsg_type == libc::SCM_RIGHTS {
                let bytes = (*part).cmsg_len as usize - libc::CMSG_LEN(0) as usize;
                let count = (bytes / size_of::<RawFd>()).min(MAX_FDS - received.len);
                let data = libc::CMSG_DATA(part).cast::<RawFd>();
                for index in 0..count {
                    received.fds[received.len] = ptr::read_unaligned(data.add(index));
                    received.len += 1;
                }
            }
            part = libc::CMSG_NXTHDR(&raw const header, part);
        }
        if len == 0 {
            return Ok(None);
        }
        if header.msg_flags & libc::MSG_TRUNC != 0 {
            return Err(Errno::EBADMSG);
        }
        len.checked_sub(size_of::<M>()).ok_or(Errno::EBADMSG)?
    };
    Ok(Some((message, tail_len, received)))
}

/// Room for the control data of MAX_FDS descriptors, aligned as `cmsghdr` needs.
#[repr(C, align(8))]
struct ControlBuffer([u8; 128]);

impl Default for ControlBuffer {
    fn default() -> Self {
        Self([0; 128])
    }
}

const _: () = assert!(size_of::<libc::cmsghdr>() + MAX_FDS * size_of::<RawFd>() + 8 <= 128);

/// Memory from the kernel, for the children of `fork`, which may not allocate.
pub(super) fn map_anonymous(len: usize) -> Result<*mut u8> {
    // SAFETY: an anonymous mapping at an address of the kernel's choice.
    let address = unsafe {
        libc::mmap(
            ptr::null_mut(),
            len,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if address == libc::MAP_FAILED {
        return Err(Errno::last());
    }
    Ok(address.cast())
}

/// Gives back a mapping.
///
/// # Safety
/// Nothing refers to it any more.
pub(super) unsafe fn unmap(address: *mut u8, len: usize) {
    // SAFETY: the caller's promise.
    unsafe { libc::munmap(address.cast(), len) };
}

/// A private mapping of a whole file, and its length.
pub(super) fn map_file(fd: RawFd) -> Result<(*mut u8, usize)> {
    // SAFETY: all-zero is a valid stat buffer; a private file mapping at an address of the kernel's choice.
    unsafe {
        let mut stat: libc::stat = std::mem::zeroed();
        Errno::result(libc::fstat(fd, &raw mut stat))?;
        let len = stat.st_size as usize;
        let address = libc::mmap(
            ptr::null_mut(),
            len,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE,
            fd,
            0,
        );
        if address == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        Ok((address.cast(), len))
    }
}

/// A pipe whose read end does not block; both ends are closed on exec.
pub(super) fn pipe() -> Result<(RawFd, RawFd)> {
    let mut ends = [-1; 2];
    // SAFETY: `ends` has room for both descriptors.
    unsafe {
        Errno::result(libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC))?;
        Errno::result(libc::fcntl(ends[0], libc::F_SETFL, libc::O_NONBLOCK))?;
    }
    Ok((ends[0], ends[1]))
}

/// A pair of connected `SOCK_SEQPACKET` sockets, closed on exec.
pub(super) fn socket_pair() -> Result<(OwnedFd, OwnedFd)> {
    let mut ends = [-1; 2];
    // SAFETY: `ends` has room for both descriptors, which nothing else uses yet.
    unsafe {
        Errno::result(libc::socketpair(
            libc::AF_UNIX,
            libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC,
            0,
            ends.as_mut_ptr(),
        ))?;
        Ok((OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])))
    }
}

/// Makes a descriptor fail instead of block.
pub(super) fn set_nonblocking(fd: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: plain descriptor operation.
    Errno::result(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) }).map(drop)
}

/// Blocks every signal but `SIGCONT`, which [`continue_every`] needs, and makes `SIGCHLD` readable from the descriptor that is returned.
pub(super) fn child_signals() -> Result<RawFd> {
    // SAFETY: the sets are initialised by the calls before they are read.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::sigdelset(&raw mut all, libc::SIGCONT);
        Errno::result(libc::sigprocmask(
            libc::SIG_SETMASK,
            &raw const all,
            ptr::null_mut(),
        ))?;
        let mut child: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut child);
        libc::sigaddset(&raw mut child, libc::SIGCHLD);
        Errno::result(libc::signalfd(
            -1,
            &raw const child,
            libc::SFD_CLOEXEC | libc::SFD_NONBLOCK,
        ))
    }
}

/// Empties a descriptor of [`child_signals`].
pub(super) fn drain_signals(signals: RawFd) {
    let mut buffer = [0_u8; 4 * size_of::<libc::signalfd_siginfo>()];
    // SAFETY: the buffer is valid for its length; the descriptor does not block.
    while unsafe { libc::read(signals, buffer.as_mut_ptr().cast(), buffer.len()) } > 0 {}
}

/// Whether this process has a handler for a signal.
pub(super) fn handles_signal(signal: libc::c_int) -> bool {
    // SAFETY: nothing is installed; all-zero is a valid `sigaction`, and it is valid for writing.
    let action = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, ptr::null(), &raw mut action);
        action.sa_sigaction
    };
    !matches!(action, libc::SIG_DFL | libc::SIG_IGN)
}

/// Has the kernel send this process `SIGCONT` again and again: a stopped process goes on by it. Timers run while it is stopped.
/// Best effort. After `fork`, and before anything is blocked.
pub(super) fn continue_every(interval: Duration) {
    extern "C" fn nothing(_: libc::c_int) {}
    let handler: extern "C" fn(libc::c_int) = nothing;
    // SAFETY: the handler does nothing; all-zero is a valid value of each type, and all are valid for the calls.
    unsafe {
        // A signal that is ignored stops the timer.
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as usize;
        action.sa_flags = libc::SA_RESTART;
        libc::sigaction(libc::SIGCONT, &raw const action, ptr::null_mut());
        let mut event: libc::sigevent = std::mem::zeroed();
        event.sigev_notify = libc::SIGEV_SIGNAL;
        event.sigev_signo = libc::SIGCONT;
        let mut timer: libc::c_int = 0;
        let made = libc::syscall(
            libc::SYS_timer_create,
            libc::CLOCK_MONOTONIC,
            &raw mut event,
            &raw mut timer,
        );
        if made == 0 {
            let time = libc::timespec {
                tv_sec: 0,
                tv_nsec: interval.subsec_nanos().into(),
            };
            let times = libc::itimerspec {
                it_interval: time,
                it_value: time,
            };
            libc::syscall(
                libc::SYS_timer_settime,
                timer,
                0,
                &raw const times,
                ptr::null_mut::<u8>(),
            );
        }
    }
}

/// Every signal to its default disposition.
pub fn reset_dispositions() {
    // The C library keeps two signals to itself and refuses to set them, but they may have been inherited as
    // ignored, so the kernel is asked. `SIG_DFL` without flags is all zeros, whatever the architecture's
    // order of the fields in `sigaction` is.
    let default = [0_u64; 4];
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: the kernel's `sigaction` has at most 32 bytes, and its signal set 8; SIG_DFL runs no code.
        // Signals that can't be set are refused, which is fine.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                ptr::null_mut::<u64>(),
                size_of::<u64>(),
            )
        };
    }
}

/// The signal mask of a program that has just been started by a shell: empty.
pub(super) fn unblock_all() {
    // The kernel's own set, which has the C library's signals too.
    let none = 0_u64;
    // SAFETY: the set is valid for reading, and has the size that is given.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const none,
            ptr::null_mut::<u64>(),
            size_of::<u64>(),
        )
    };
}

/// Waits until one of `fds` is ready or `until_ns` (monotonic) has come.
pub(super) fn poll(fds: &mut [libc::pollfd], until_ns: Option<u64>) {
    let timeout = until_ns.map(|until| {
        let left = until.saturating_sub(monotonic_ns());
        libc::timespec {
            tv_sec: (left / 1_000_000_000) as libc::time_t,
            tv_nsec: (left % 1_000_000_000) as libc::c_long,
        }
    });
    let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: `fds` is valid for its length, `timeout` null or valid. On an error nothing is ready.
    let ready = unsafe { libc::ppoll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, timeout, ptr::null()) };
    if ready < 0 {
        for fd in fds {
            fd.revents = 0;
        }
    }
}

/// What one attempt to move output did.
pub(super) enum Moved {
    Bytes(u64),
    /// All writers are gone.
    End,
    /// Nothing there at the moment.
    Empty,
}

/// Moves up to `len` bytes from a pipe into a file without copying them through this process.
pub(super) fn splice(pipe: RawFd, file: RawFd, len: usize) -> Result<Moved> {
    let flags = libc::SPLICE_F_MOVE | libc::SPLICE_F_NONBLOCK;
    // SAFETY: no offsets are given, so no memory is involved.
    let moved = unsafe { libc::splice(pipe, ptr::null_mut(), file, ptr::null_mut(), len, flags) };
    match Errno::result(moved) {
        Ok(0) => Ok(Moved::End),
        Ok(bytes) => Ok(Moved::Bytes(bytes as u64)),
        Err(Errno::EAGAIN | Errno::EINTR) => Ok(Moved::Empty),
        Err(errno) => Err(errno),
    }
}

/// The same through a buffer, for files that can't be spliced to.
pub(super) fn copy(pipe: RawFd, file: RawFd, len: usize) -> Result<Moved> {
    let mut buffer = [0_u8; 16 * 1024];
    let len = len.min(buffer.len());
    // SAFETY: the buffer is valid for `len` bytes.
    let got = match Errno::result(unsafe { libc::read(pipe, buffer.as_mut_ptr().cast(), len) }) {
        Ok(0) => return Ok(Moved::End),
        Ok(got) => got as usize,
        Err(Errno::EAGAIN | Errno::EINTR) => return Ok(Moved::Empty),
        Err(errno) => return Err(errno),
    };
    let mut written = 0;
    while written < got {
        // SAFETY: the buffer is valid from `written` to `got`.
        match Errno::result(unsafe { libc::write(file, buffer[written..].as_ptr().cast(), got - written) }) {
            Ok(more) => written += more as usize,
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(Moved::Bytes(got as u64))
}

/// Reads from a file of `/proc` whose path is a NUL-terminated string.
pub(super) fn open_read(path: &[u8], flags: i32) -> Result<RawFd> {
    debug_assert_eq!(path.last(), Some(&0));
    // SAFETY: the path ends with NUL, as every caller's does.
    Errno::result(unsafe { libc::open(path.as_ptr().cast(), libc::O_RDONLY | libc::O_CLOEXEC | flags) })
}

/// Reads what fits into `buffer`.
pub(super) fn read(fd: RawFd, buffer: &mut [u8]) -> Result<usize> {
    loop {
        // SAFETY: the buffer is valid for its length.
        match Errno::result(unsafe { libc::read(fd, buffer.as_mut_ptr().cast(), buffer.len()) }) {
            Ok(len) => return Ok(len as usize),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Writes what a pipe takes at once; a missing reader is not an error.
pub(super) fn write(fd: RawFd, bytes: &[u8]) {
    // SAFETY: the bytes are valid for their length.
    unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
}

/// Raises an `eventfd`. One that is as high as it goes stays there.
pub(super) fn raise(event: RawFd) {
    write(event, &1_u64.to_ne_bytes());
}

/// The descriptor's number.
pub(super) fn raw(fd: BorrowedFd<'_>) -> RawFd {
    fd.as_raw_fd()
}
