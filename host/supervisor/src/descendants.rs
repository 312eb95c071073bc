//! Finding and ending everything that descends from this process.
//!
//! A supervisor and what has forked it are child subreapers: a process below them whose parent ends becomes
//! their own child. So it is enough to end direct children, again and again, until the kernel says that
//! there are none (`ECHILD`). A direct child that has not been waited for keeps its pid, so it can be
//! signalled without fear of hitting a stranger; so can its process group, which only descendants can be
//! in, because each target starts in a session of its own.
//!
//! `/proc/<pid>/task/<tid>/children` (`CONFIG_PROC_CHILDREN`) lists children.
//!
//! Runs in children of `fork`: no allocation.

use super::sys::{self, Wait};

/// How long to wait for killed processes to disappear before giving up on one that is stuck in the kernel.
const GIVE_UP_NS: u64 = 10_000_000_000;
/// How long to wait for the next child to end before looking for new ones.
const ROUND_NS: u64 = 2_000_000;
/// From this many rounds on, what is being ended multiplies about as fast as it is ended.
const OUTPACED_ROUNDS: u32 = 3;
/// How many processes are counted at most.
const MAX_COUNTED: usize = 1 << 16;

/// What a [`Sweep`] came to.
pub(super) struct Swept {
    /// Processes that are still there, because they are stuck in the kernel.
    pub(super) unkillable: u32,
    /// The sweep took precedence over other processes, which this thread keeps.
    pub(super) urgent: bool,
}

/// Whose children are meant.
#[derive(Clone, Copy)]
pub(super) enum Children {
    /// Those of a process with one thread.
    OfThread,
    /// Those of all threads of this process.
    OfProcess,
}

/// How descendants are ended.
pub(super) struct Sweep {
    pub(super) children: Children,
    /// A descriptor of [`sys::child_signals`]; -1 without one.
    pub(super) signals: libc::c_int,
    pub(super) give_up_ns: u64,
}

impl Sweep {
    /// In a process with one thread.
    pub(super) fn of_thread(signals: libc::c_int) -> Self {
        Self {
            children: Children::OfThread,
            signals,
            give_up_ns: GIVE_UP_NS,
        }
    }

    /// Ends every child but `spared` ones, and every process that becomes a child by that, until none is left.
    ///
    /// `on_reaped` is told of each process that was collected, the spared ones included, if they end meanwhile.
    pub(super) fn run(
        &self,
        spared: impl Fn(libc::pid_t) -> bool,
        mut on_reaped: impl FnMut(&sys::Reaped),
    ) -> Swept {
        let give_up = sys::monotonic_ns().saturating_add(self.give_up_ns);
        let mut rounds = 0;
        let mut urgent = false;
        loop {
            // Most jobs leave nothing, which the kernel says at once.
            let children_left = reap_ended(&mut on_reaped);
            let mut living = 0;
            let complete = children_left
                && for_each_own_child(self.children, |pid| {
                    if !spared(pid) {
                        living += 1;
                        kill_with_group(pid);
                    }
                });
            // The kernel's list may lack children while others are being removed from it: only an empty list
            // of a complete reading counts.
            if !children_left || (complete && living == 0) {
                return Swept {
                    unkillable: 0,
                    urgent,
                };
            }
            if sys::monotonic_ns() >= give_up {
                return Swept {
                    unkillable: living,
                    urgent,
                };
            }
            rounds += 1;
            if rounds == OUTPACED_ROUNDS {
                run_before_others();
                urgent = true;
            }
            let mut ready = [libc::pollfd {
                fd: self.signals,
                events: libc::POLLIN,
                revents: 0,
            }];
            sys::poll(&mut ready, Some(sys::monotonic_ns() + ROUND_NS));
            sys::drain_signals(self.signals);
        }
    }
}

/// Collects every child that has ended; whether others are left.
fn reap_ended(on_reaped: &mut impl FnMut(&sys::Reaped)) -> bool {
    loop {
        match sys::reap(-1) {
            Wait::Ended(reaped) => on_reaped(&reaped),
            Wait::Alive => return true,
            Wait::NoChildren => return false,
        }
    }
}

/// Kills a direct child that has not been waited for, and its process group.
fn kill_with_group(pid: libc::pid_t) {
    // SAFETY: neither call involves memory.
    let (group, own) = unsafe { (libc::getpgid(pid), libc::getpgrp()) };
    if group > 1 && group != own {
        sys::kill(-group, libc::SIGKILL);
    }
    sys::kill(pid, libc::SIGKILL);
}

/// A fork bomb competes for the processor with the thread that ends it: go first, as far as this user may.
fn run_before_others() {
    // SAFETY: `parameters` is valid for reading. Both calls may be refused, which changes nothing.
    unsafe {
        let parameters = libc::sched_param { sched_priority: 1 };
        if libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameters) != 0 {
            libc::setpriority(libc::PRIO_PROCESS, 0, -20);
        }
    }
}

/// How many living or unreaped processes descend from this one; `room` is scratch memory for pids.
pub(super) fn count(room: &mut [libc::pid_t]) -> u32 {
    let mut len = 0;
    for_each_own_child(Children::OfThread, |pid| push(room, &mut len, pid));
    let mut next = 0;
    while next < len {
        let pid = room[next];
        next += 1;
        for_each_child_of(pid, |child| push(room, &mut len, child));
    }
    len as u32
}

/// Scratch memory for [`count`].
pub(super) fn counting_room() -> sys::Result<&'static mut [libc::pid_t]> {
    let memory = sys::map_anonymous(MAX_COUNTED * size_of::<libc::pid_t>())?;
    // SAFETY: a fresh mapping of that size, page-aligned and zeroed, that is never unmapped.
    Ok(unsafe { std::slice::from_raw_parts_mut(memory.cast(), MAX_COUNTED) })
}

fn push(room: &mut [libc::pid_t], len: &mut usize, pid: libc::pid_t) {
    if let Some(slot) = room.get_mut(*len) {
        *slot = pid;
        *len += 1;
    }
}

fn own_children() -> PathBuffer {
    let mut path = PathBuffer::default();
    path.text(b"/proc/thread-self/children\0");
    path
}

/// Fails if this system does not list children, or has no descriptor left for that.
pub(super) fn check_listing() -> sys::Result<()> {
    sys::open_read(own_children().as_bytes(), 0).map(sys::close)
}

/// Calls `found` for each child of this process; false if they could not be listed to the end.
fn for_each_own_child(children: Children, found: impl FnMut(libc::pid_t)) -> bool {
    match children {
        Children::OfThread => for_each_child(own_children(), found),
        // SAFETY: no memory is involved.
        Children::OfProcess => for_each_child_of(unsafe { libc::getpid() }, found),
    }
}

/// Calls `found` for each child of a process, of whichever thread; false if they could not be listed to the end.
fn for_each_child_of(pid: libc::pid_t, mut found: impl FnMut(libc::pid_t)) -> bool {
    let mut complete = true;
    let listed = for_each_task(pid, |tid| {
        let mut path = PathBuffer::default();
        path.text(b"/proc/")
            .number(pid)
            .text(b"/task/")
            .number(tid)
            .text(b"/children\0");
        complete &= for_each_child(path, &mut found);
    });
    listed && complete
}

/// Calls `found` for each pid of a `children` file; false if it could not be read to its end.
fn for_each_child(path: PathBuffer, mut found: impl FnMut(libc::pid_t)) -> bool {
    let Ok(file) = sys::open_read(path.as_bytes(), 0) else {
        return false;
    };
    let mut buffer = [0_u8; 4096];
    let mut pid: libc::pid_t = 0;
    let complete = loop {
        match sys::read(file, &mut buffer) {
            Ok(0) => break true,
            Ok(len) => {
                for byte in &buffer[..len] {
                    if byte.is_ascii_digit() {
                        pid = pid.wrapping_mul(10).wrapping_add(libc::pid_t::from(byte - b'0'));
                    } else if pid != 0 {
                        found(pid);
                        pid = 0;
                    }
                }
            }
            Err(_) => break false,
        }
    };
    sys::close(file);
    if pid != 0 {
        found(pid);
    }
    complete
}

/// Calls `found` for each thread of a process; false, and for none, if it has ended.
fn for_each_task(pid: libc::pid_t, mut found: impl FnMut(libc::pid_t)) -> bool {
    let mut path = PathBuffer::default();
    path.text(b"/proc/").number(pid).text(b"/task\0");
    let Ok(directory) = sys::open_read(path.as_bytes(), libc::O_DIRECTORY) else {
        return false;
    };
    #[repr(align(8))]
    struct Entries([u8; 4096]);
    let mut entries = Entries([0; 4096]);
    loop {
        // SAFETY: the buffer is valid for its length.
        let len = unsafe {
            libc::syscall(
                libc::SYS_getdents64,
                directory,
                entries.0.as_mut_ptr(),
                entries.0.len(),
            )
        };
        if len <= 0 {
            break;
        }
        let mut rest = &entries.0[..len as usize];
        // linux_dirent64: 8 bytes inode, 8 bytes offset, 2 bytes length of the entry, 1 byte type, name.
        while rest.len() > 19 {
            let entry_len = usize::from(u16::from_ne_bytes([rest[16], rest[17]]));
            let mut tid: libc::pid_t = 0;
            for byte in rest[19..].iter().take_while(|byte| byte.is_ascii_digit()) {
                tid = tid.wrapping_mul(10).wrapping_add(libc::pid_t::from(byte - b'0'));
            }
            if tid != 0 {
                found(tid);
            }
            rest = rest.get(entry_len.max(1)..).unwrap_or_default();
        }
    }
    sys::close(directory);
    true
}

/// A path built without allocating; the last part that is added ends with NUL.
struct PathBuffer {
    bytes: [u8; 64],
    len: usize,
}

impl Default for PathBuffer {
    fn default() -> Self {
        Self {
            bytes: [0; 64],
            len: 0,
        }
    }
}

impl PathBuffer {
    fn text(&mut self, text: &[u8]) -> &mut Self {
        // The longest path, with two ten-digit numbers, has 42 bytes.
        for byte in text {
            if let Some(slot) = self.bytes.get_mut(self.len) {
                *slot = *byte;
                self.len += 1;
            }
        }
        self
    }

    fn number(&mut self, number: libc::pid_t) -> &mut Self {
        let mut digits = [0_u8; 10];
        let mut at = digits.len();
        let mut rest = number.unsigned_abs();
        loop {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 || at == 0 {
                break;
            }
        }
        self.text(&digits[at..])
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_built_without_allocating() {
        let mut path = PathBuffer::default();
        path.text(b"/proc/")
            .number(4_194_304)
            .text(b"/task/")
            .number(1)
            .text(b"/children\0");
        assert_eq!(path.as_bytes(), b"/proc/4194304/task/1/children\0");
    }

    #[test]
    fn descendants_of_other_threads_and_of_children_are_counted() {
        // A child is listed under the thread that made it: this one, for `counting` below.
        let mut room = [0; 64];
        let before = count(&mut room);
        let mut child = std::process::Command::new("sh")
            .args(["-c", "sleep 60 & echo $!; read ignored"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        std::io::BufRead::read_line(
            &mut std::io::BufReader::new(child.stdout.take().unwrap()),
            &mut line,
        )
        .unwrap();
        assert_eq!(count(&mut room), before + 2);
        sys::kill(line.trim().parse().unwrap(), libc::SIGKILL);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
