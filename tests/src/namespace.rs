//! Tests in namespaces of their own: a network with a `/etc/hosts`, or file systems to mount.
//!
//! A test program starts itself again in new namespaces, so that what a test changes there is gone with it. As
//! root that needs no more than `unshare` and `mount` of util-linux; other users need the kernel's permission to
//! make user namespaces.

use crate::own_process;
use std::{env, io::Write, mem, net::Ipv4Addr, process::Command};

/// Runs `body`, that of the test function `test`, with this `/etc/hosts` and only a loopback interface, which also
/// has the address `link_local`.
///
/// Where the machine makes no namespaces it says so, and nothing is tested.
///
/// # Panics
/// When the test fails there.
pub fn with_hosts(test: impl Fn(), hosts: &str, link_local: Ipv4Addr, body: impl FnOnce()) {
    if own_process::is_own() {
        raise_loopback(link_local).expect("the namespace is this program's own");
        return body();
    }
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(hosts.as_bytes()).expect("it can be written");
    let path = file.path().to_str().expect("temporary directories are UTF-8");
    let script = "mount --bind \"$0\" /etc/hosts && exec \"$@\"";
    run_inside(&test, &["--mount", "--net", "sh", "-c", script, path]);
}

/// Runs `body`, that of the test function `test`, where what it mounts is seen by no one else.
///
/// Where the machine makes no namespaces it says so, and nothing is tested.
///
/// # Panics
/// When the test fails there.
pub fn with_mounts(test: impl Fn(), body: impl FnOnce()) {
    if own_process::is_own() {
        return body();
    }
    run_inside(&test, &["--mount"]);
}

/// Runs the function `test` of this program by way of `unshare` with these arguments.
fn run_inside(test: &impl Fn(), way: &[&str]) {
    let inside = || {
        let mut command = Command::new("unshare");
        // SAFETY: no memory is involved.
        if unsafe { libc::geteuid() } != 0 {
            command.arg("--map-root-user");
        }
        command.args(way);
        command
    };
    let reason = match inside().arg("true").output() {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).into_owned()),
        Err(error) => Some(error.to_string()),
    };
    if let Some(reason) = reason {
        let reason = format!("this machine makes no namespaces: {reason}");
        crate::not_tested(own_process::name(test), reason);
        return;
    }
    let mut command = inside();
    command.arg(env::current_exe().expect("a program has a path"));
    own_process::run(test, command).expect("it started before");
}

/// Gives the loopback interface a second address, and switches it on.
fn raise_loopback(link_local: Ipv4Addr) -> std::io::Result<()> {
    // SAFETY: each request is a zeroed ifreq with a name, an address or flags, as the kernel reads it for this
    // operation; the descriptor is open until the end.
    unsafe {
        let descriptor = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        if descriptor < 0 {
            return Err(std::io::Error::last_os_error());
        }
        let apply = |name: &[u8], operation: libc::c_ulong, fill: &dyn Fn(&mut libc::ifreq)| {
            let mut request: libc::ifreq = mem::zeroed();
            for (to, from) in request.ifr_name.iter_mut().zip(name) {
                *to = from.cast_signed();
            }
            fill(&mut request);
            if libc::ioctl(descriptor, operation as _, &request) < 0 {
                return Err(std::io::Error::last_os_error());
            }
            Ok(())
        };
        let done = apply(b"lo", libc::SIOCSIFFLAGS as _, &|request| {
            request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as _;
        })
        .and_then(|()| {
            apply(b"lo:1", libc::SIOCSIFADDR as _, &|request| {
                let mut address: libc::sockaddr_in = mem::zeroed();
                address.sin_family = libc::AF_INET as _;
                address.sin_addr.s_addr = u32::from(link_local).to_be();
                request.ifr_ifru.ifru_addr = mem::transmute::<libc::sockaddr_in, libc::sockaddr>(address);
            })
        });
        libc::close(descriptor);
        done
    }
}
