//! What crosses between the host, the spawner and a supervisor.
//!
//! All three run the same code of the same build, so messages are plain `repr(C)` structs sent whole over
//! `SOCK_SEQPACKET` sockets: a message is never split or merged. The variable part of a job (argument and
//! environment strings) follows its order in the same message. One that is too long for that travels as a
//! memory file, which the supervisor maps, because after `fork` it may not allocate.

use std::{ffi::CString, os::fd::RawFd};

/// A plain struct that may be sent as its bytes.
///
/// # Safety
/// Implementors are `repr(C)`, have no padding and are valid for every bit pattern.
pub(super) unsafe trait Message: Copy + Default {
    /// Its bytes, for sending.
    fn bytes(&self) -> &[u8] {
        // SAFETY: the trait's contract: no padding, so every byte is initialised.
        unsafe { std::slice::from_raw_parts(std::ptr::from_ref(self).cast(), size_of::<Self>()) }
    }

    /// Its bytes, for receiving into.
    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: the trait's contract: no padding, and valid for every bit pattern.
        unsafe { std::slice::from_raw_parts_mut(std::ptr::from_mut(self).cast(), size_of::<Self>()) }
    }
}

/// Host to spawner, and host to supervisor.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Order {
    /// One of the `ORDER_` constants.
    pub(super) tag: u32,
    /// Which of the optional descriptors are attached, in the order of the `ATTACHED_` bits.
    pub(super) attached: u32,
    /// Which supervisor it is about.
    pub(super) supervisor: u64,
}
// SAFETY: `repr(C)`, 4 + 4 + 8 bytes without padding, integers only.
unsafe impl Message for Order {}

/// To the spawner: fork a supervisor; its end of the control socket is attached.
pub(super) const ORDER_RECRUIT: u32 = 1;
/// To the spawner: the supervisor does not answer; end it and everything it left, then answer [`Swept`].
pub(super) const ORDER_ABANDON: u32 = 2;
/// To an idle supervisor: run a job; its descriptors are attached in the order of [`JobFds`].
pub(super) const ORDER_JOB: u32 = 3;
/// To a busy supervisor: end the job gracefully.
pub(super) const ORDER_TERMINATE: u32 = 4;
/// To a busy supervisor: end the job at once.
pub(super) const ORDER_KILL: u32 = 5;

/// `Order::attached`: the memory file with the job's specification, which otherwise follows in the message.
pub(super) const ATTACHED_SPEC: u32 = 1;
/// `Order::attached`: a channel descriptor.
pub(super) const ATTACHED_CHANNEL: u32 = 2;
/// `Order::attached`: a descriptor to be told of output.
pub(super) const ATTACHED_OUTPUT_EVENT: u32 = 4;

/// Bytes of a specification that fit into a message. The kernel sends about 200 KiB at once.
pub(super) const MAX_INLINE_SPEC: usize = 32 * 1024;

/// Spawner to host: nothing that this supervisor supervised is left.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Swept {
    pub(super) supervisor: u64,
}
// SAFETY: `repr(C)`, one integer.
unsafe impl Message for Swept {}

/// How many descriptors a job has at most.
pub(super) const MAX_FDS: usize = 8;

/// A job's descriptors as its supervisor received them, but for the capture directory, whose lock is held as long as that
/// is open.
#[derive(Clone, Copy, Debug)]
pub(super) struct JobFds {
    /// The memory file with the [`SpecHeader`] and the strings, unless they came in the message.
    pub(super) spec: Option<RawFd>,
    pub(super) cwd: RawFd,
    pub(super) stdin: RawFd,
    pub(super) stdout: RawFd,
    pub(super) stderr: RawFd,
    /// Becomes descriptor 3 of the target.
    pub(super) channel: Option<RawFd>,
    /// Is raised when output was kept.
    pub(super) output_event: Option<RawFd>,
}

impl JobFds {
    /// Names the descriptors of an [`ORDER_JOB`].
    pub(super) fn name(order: &Order, received: &[RawFd]) -> Option<Self> {
        let &[cwd, stdin, stdout, stderr, _, ref rest @ ..] = received else {
            return None;
        };
        let mut rest = rest.iter().copied();
        let mut attached = |bit| match order.attached & bit {
            0 => Some(None),
            _ => rest.next().map(Some),
        };
        let spec = attached(ATTACHED_SPEC)?;
        let channel = attached(ATTACHED_CHANNEL)?;
        let output_event = attached(ATTACHED_OUTPUT_EVENT)?;
        Some(Self {
            spec,
            cwd,
            stdin,
            stdout,
            stderr,
            channel,
            output_event,
        })
    }
}

/// `SpecHeader`: no limit, no deadline.
pub(super) const UNLIMITED: u64 = u64::MAX;

/// The beginning of a job's specification; the strings follow, each with its NUL: the program's path, then
/// `argc` arguments, then `envc` variables.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct SpecHeader {
    /// `CLOCK_MONOTONIC` time in nanoseconds at which the run has to be over.
    pub(super) deadline_ns: u64,
    /// Nanoseconds between TERM and KILL.
    pub(super) grace_ns: u64,
    /// Bytes to keep of each output stream.
    pub(super) max_output_bytes: u64,
    pub(super) memory_bytes: u64,
    pub(super) cpu_seconds: u64,
    pub(super) open_files: u64,
    pub(super) processes: u64,
    /// 1: stdout and stderr are given to the target as they are, instead of through capped pipes.
    pub(super) direct_output: u64,
    pub(super) argc: u64,
    pub(super) envc: u64,
}
// SAFETY: `repr(C)`, 64-bit integers only.
unsafe impl Message for SpecHeader {}

/// Serialises a job's specification.
pub(super) fn encode_spec(
    header: SpecHeader,
    program: &CString,
    argv: &[CString],
    env: &[CString],
) -> Vec<u8> {
    let header = SpecHeader {
        argc: argv.len() as u64,
        envc: env.len() as u64,
        ..header
    };
    let mut bytes = header.bytes().to_vec();
    for string in std::iter::once(program).chain(argv).chain(env) {
        bytes.extend_from_slice(string.as_bytes_with_nul());
    }
    bytes
}

/// Supervisor to host, once a job, when nothing of it is left.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct RawReport {
    /// 0: the target ran. Otherwise one of the `STAGE_` constants: it could not be started.
    pub(super) stage: u32,
    /// `errno` of the stage that failed.
    pub(super) errno: i32,
    /// The wait status of the target.
    pub(super) wait_status: i32,
    /// One of the `CAUSE_` constants: why the supervisor ended it, if it did.
    pub(super) cause: u32,
    /// How many processes had to be killed after the target had ended.
    pub(super) leaked: u32,
    /// How many can't be killed (stuck in the kernel) and were given up on.
    pub(super) unkillable: u32,
    /// How many processes there were when the limit on them was exceeded.
    pub(super) processes_seen: u32,
    /// 1: the supervisor is not fit for another job.
    pub(super) retired: u32,
    /// Bit 0: stdout was longer than the cap; bit 1: stderr.
    pub(super) truncated: u32,
    /// `errno` of writing stdout and stderr; 0 if all went well.
    pub(super) output_errno: [i32; 2],
    /// Keeps the 64-bit fields aligned without padding.
    pub(super) reserved: u32,
    pub(super) output_bytes: [u64; 2],
    pub(super) max_rss_kib: u64,
    pub(super) user_us: u64,
    pub(super) system_us: u64,
}
// SAFETY: `repr(C)`, twelve 32-bit and five 64-bit integers: 48 + 40 bytes without padding.
unsafe impl Message for RawReport {}

/// The supervisor could not set itself up.
pub(super) const STAGE_SUPERVISOR: u32 = 1;
/// No process could be made for the target.
pub(super) const STAGE_FORK: u32 = 2;
/// The target could not enter the working directory.
pub(super) const STAGE_CWD: u32 = 3;
/// A limit could not be set.
pub(super) const STAGE_LIMITS: u32 = 4;
/// `execve` failed.
pub(super) const STAGE_EXEC: u32 = 5;
/// Something else between `fork` and `execve` failed.
pub(super) const STAGE_SETUP: u32 = 6;

/// The target ended by itself.
pub(super) const CAUSE_NONE: u32 = 0;
/// The deadline passed.
pub(super) const CAUSE_DEADLINE: u32 = 1;
/// The host asked for the end.
pub(super) const CAUSE_CANCEL: u32 = 2;
/// There were more processes than allowed.
pub(super) const CAUSE_PROCESSES: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spec_is_its_header_and_its_strings() {
        let c = |s: &str| CString::new(s).unwrap();
        let bytes = encode_spec(SpecHeader::default(), &c("/p"), &[c("a"), c("")], &[c("K=V")]);
        let (head, strings) = bytes.split_at(size_of::<SpecHeader>());
        let mut header = SpecHeader::default();
        header.bytes_mut().copy_from_slice(head);
        assert_eq!((header.argc, header.envc), (2, 1));
        assert_eq!(strings, b"/p\0a\0\0K=V\0");
    }
}
