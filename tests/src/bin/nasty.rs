//! A program that behaves badly, or reports how it was started: one subcommand a scenario.
//!
//! `nasty <what> [argument...]`; the table is in `main`. Whatever waits does so for ever: ending it is the
//! host's business. Scenarios that a shell can play are in the tests as scripts.

use std::{
    env, fs,
    io::{self, Write},
    process::{Command, exit},
    ptr,
};

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["report"] => report(),
        ["ignore-term", ready] => ignore_term(ready),
        ["leave-a-child-that-ignores-term", ready] => leave_a_child_that_ignores_term(ready),
        ["stop-yourself", ready] => stop_yourself(ready),
        ["leave", how, ready] => leave(how, ready),
        ["leave-writing"] => leave_writing(),
        ["signal-supervisor", signal, ready] => signal_supervisor(number(signal), ready),
        ["stop-spawner", ready] => stop_spawner(ready),
        ["write", bytes] => write_bytes(number(bytes)),
        ["allocate", bytes] => allocate(number(bytes)),
        ["open-files"] => open_files(),
        ["burn", milliseconds] => burn(number(milliseconds)),
        ["dump-core"] => dump_core(),
        ["adopt-orphans", runs, ref command @ ..] => adopt_orphans(number(runs), command),
        ["bomb", how, total] => bomb(how, number(total)),
        _ => {
            eprintln!("nasty: no such scenario: {arguments:?}");
            exit(64)
        }
    }
}

fn number<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| {
        eprintln!("nasty: '{text}' is no number");
        exit(64)
    })
}

/// Tells, in a file, that the scenario is in place, and by whom it is played.
fn announce(ready: &str) {
    let temporary = format!("{ready}.{}", std::process::id());
    fs::write(&temporary, std::process::id().to_string()).expect("the ready file can be written");
    fs::rename(temporary, ready).expect("it can be renamed");
}

fn wait_for_ever() -> ! {
    loop {
        // SAFETY: no memory is involved.
        unsafe { libc::pause() };
    }
}

/// Runs `body` in a child; the child does not return.
fn in_child(body: impl FnOnce()) -> libc::pid_t {
    // SAFETY: this process has one thread.
    match unsafe { libc::fork() } {
        0 => {
            body();
            exit(0)
        }
        pid => pid,
    }
}

fn ignore(signal: i32) {
    // SAFETY: SIG_IGN runs no code.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

fn new_session() {
    // SAFETY: no memory is involved.
    unsafe { libc::setsid() };
}

fn parent() -> libc::pid_t {
    // SAFETY: no memory is involved.
    unsafe { libc::getppid() }
}

fn kill(pid: libc::pid_t, signal: i32) {
    // SAFETY: no memory is involved.
    unsafe { libc::kill(pid, signal) };
}

/// Prints how this process was started, as JSON.
fn report() {
    let status = fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(':'))
            .map_or("", |(_, value)| value.trim())
            .to_owned()
    };
    // The directory that is being read has a descriptor too, the last one.
    let mut descriptors: Vec<i32> = fs::read_dir("/proc/self/fd")
        .expect("/proc is mounted")
        .flatten()
        .map(|entry| number(&entry.file_name().to_string_lossy()))
        .collect();
    descriptors.sort_unstable();
    descriptors.pop();
    // SAFETY: none of these calls involves memory.
    let (pid, session, group, terminal) = unsafe {
        (
            libc::getpid(),
            libc::getsid(0),
            libc::getpgrp(),
            (0..3).any(|fd| libc::isatty(fd) == 1),
        )
    };
    let stdin = fs::read_link("/proc/self/fd/0").expect("stdin is open");
    let document = serde_json::json!({
        "pid": pid,
        "session": session,
        "group": group,
        "terminal": terminal,
        "descriptors": descriptors,
        "ignored": field("SigIgn"),
        "blocked": field("SigBlk"),
        "stdin": stdin,
        "cwd": env::current_dir().expect("it exists"),
    });
    println!("{document}");
}

fn ignore_term(ready: &str) {
    ignore(libc::SIGTERM);
    announce(ready);
    wait_for_ever()
}

/// The parent ends at TERM, as programs do; its child does not.
fn leave_a_child_that_ignores_term(ready: &str) {
    in_child(|| ignore_term(ready));
    wait_for_ever()
}

fn stop_yourself(ready: &str) {
    announce(ready);
    kill(std::process::id() as i32, libc::SIGSTOP);
    wait_for_ever()
}

/// Succeeds, and leaves a process behind that tries to get away.
fn leave(how: &str, ready: &str) {
    match how {
        "in-background" => {
            in_child(|| {
                announce(ready);
                wait_for_ever()
            });
        }
        "in-its-own-session" => {
            in_child(|| {
                new_session();
                announce(ready);
                wait_for_ever()
            });
        }
        "forked-twice" => {
            let middle = in_child(|| {
                new_session();
                in_child(|| {
                    ignore(libc::SIGTERM);
                    ignore(libc::SIGHUP);
                    announce(ready);
                    wait_for_ever()
                });
            });
            // SAFETY: no status is asked for.
            unsafe { libc::waitpid(middle, ptr::null_mut(), 0) };
        }
        "stopped" => {
            in_child(|| {
                new_session();
                announce(ready);
                kill(std::process::id() as i32, libc::SIGSTOP);
                wait_for_ever()
            });
        }
        "in-a-family" => {
            // Three generations, each in a session of its own, each with two children.
            fn family(depth: u32, mut there: &io::PipeWriter) {
                for _ in 0..2 {
                    in_child(|| {
                        new_session();
                        if depth > 1 {
                            family(depth - 1, there);
                        }
                        let _ = there.write_all(b".");
                        wait_for_ever()
                    });
                }
            }
            let (mut arrivals, there) = io::pipe().expect("a pipe");
            family(3, &there);
            io::Read::read_exact(&mut arrivals, &mut [0; 14]).expect("all of them are there");
            announce(ready);
        }
        _ => exit(64),
    }
    while fs::metadata(ready).is_err() {
        // SAFETY: no memory is involved.
        unsafe { libc::sched_yield() };
    }
}

/// Succeeds, and leaves a process behind that writes to stdout for ever.
fn leave_writing() {
    in_child(|| {
        new_session();
        ignore(libc::SIGPIPE);
        loop {
            let _ = io::stdout().write_all(&[b'x'; 4096]);
        }
    });
}

/// Leaves processes in sessions of their own, then signals the process that supervises this one.
fn signal_supervisor(signal: i32, ready: &str) {
    let supervisor = parent();
    in_child(|| {
        new_session();
        ignore(libc::SIGTERM);
        announce(ready);
        wait_for_ever()
    });
    while fs::metadata(ready).is_err() {
        // SAFETY: no memory is involved.
        unsafe { libc::sched_yield() };
    }
    kill(supervisor, signal);
    wait_for_ever()
}

/// Stops the supervisor's parent, then ends.
fn stop_spawner(ready: &str) {
    let stat = fs::read_to_string(format!("/proc/{}/stat", parent())).expect("the supervisor lives");
    let after_name = stat.rsplit_once(')').expect("a name in parentheses").1;
    let spawner = number(after_name.split_whitespace().nth(1).expect("a parent"));
    kill(spawner, libc::SIGSTOP);
    fs::write(ready, spawner.to_string()).expect("it can be written");
}

fn write_bytes(mut bytes: u64) {
    let chunk = vec![b'a'; 1 << 20];
    let mut out = io::stdout().lock();
    while bytes > 0 {
        let len = bytes.min(chunk.len() as u64);
        if let Err(error) = out.write_all(&chunk[..len as usize]) {
            eprintln!("nasty: write failed: {error}");
            exit(74);
        }
        bytes -= len;
    }
}

/// Touches every page.
fn allocate(bytes: usize) {
    // SAFETY: an anonymous mapping at an address of the kernel's choice, used within its length only.
    unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE;
        let memory = libc::mmap(
            ptr::null_mut(),
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            flags,
            -1,
            0,
        );
        if memory == libc::MAP_FAILED {
            eprintln!("nasty: {}", io::Error::last_os_error());
            exit(75);
        }
        for page in (0..bytes).step_by(4096) {
            *memory.cast::<u8>().add(page) = 1;
        }
    }
    println!("allocated {bytes}");
}

/// Opens as many descriptors as there may be, and prints how many that are, with 0-2.
fn open_files() {
    let mut last = 2;
    loop {
        // SAFETY: no memory is involved.
        let fd = unsafe { libc::dup(0) };
        if fd < 0 {
            break;
        }
        last = fd;
    }
    println!("{}", last + 1);
}

/// Uses this much CPU time in user mode, and prints what the kernel says that was, in seconds.
fn burn(milliseconds: i64) {
    let used = || {
        // SAFETY: all-zero is a valid rusage, which is valid for writing.
        unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
            usage.ru_utime.tv_sec * 1_000_000 + usage.ru_utime.tv_usec
        }
    };
    let mut value = 1_u64;
    while used() < milliseconds * 1000 {
        for _ in 0..100_000 {
            value = std::hint::black_box(value.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        }
    }
    println!("{:.6}", used() as f64 / 1e6);
}

fn dump_core() {
    let unlimited = libc::rlimit {
        rlim_cur: 1 << 20,
        rlim_max: 1 << 20,
    };
    // SAFETY: the limit is valid for reading.
    unsafe {
        if libc::setrlimit(libc::RLIMIT_CORE, &raw const unlimited) != 0 {
            eprintln!("nasty: {}", io::Error::last_os_error());
            exit(75);
        }
        libc::abort()
    }
}

/// Runs a command that often, and adopts what it leaves. Prints after how many runs there was something, be it only a
/// process that had ended and was not collected.
fn adopt_orphans(runs: u32, command: &[&str]) {
    // SAFETY: no memory is involved.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) };
    let mut left = 0;
    for _ in 0..runs {
        // Collects this one child, by its pid.
        let ended = Command::new(command[0]).args(&command[1..]).output();
        ended.expect("it can be run");
        // SAFETY: no status is asked for.
        let other = unsafe { libc::waitpid(-1, ptr::null_mut(), libc::WNOHANG) };
        if other >= 0 {
            left += 1;
            // SAFETY: no status is asked for.
            while unsafe { libc::waitpid(-1, ptr::null_mut(), 0) } > 0 {}
        }
    }
    println!("{left}");
}

/// Makes processes that make processes, `total` at most in all; each tells a shared counter.
fn bomb(how: &str, total: u32) {
    use std::sync::atomic::{AtomicU32, Ordering};
    // SAFETY: a shared anonymous mapping, zeroed, large enough for the counter, never unmapped.
    let made = unsafe {
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        let memory = libc::mmap(
            ptr::null_mut(),
            4096,
            libc::PROT_READ | libc::PROT_WRITE,
            flags,
            -1,
            0,
        );
        assert_ne!(memory, libc::MAP_FAILED);
        &*memory.cast::<AtomicU32>()
    };
    loop {
        // SAFETY: this process has one thread; none of the calls involves memory.
        unsafe {
            if made.fetch_add(1, Ordering::Relaxed) >= total {
                wait_for_ever();
            }
            if libc::fork() == 0 && how == "with-sessions" {
                libc::setsid();
            }
        }
    }
}
