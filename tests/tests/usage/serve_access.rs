//! Access to `serve`: tokens, sockets, TLS, other users, web pages, path tricks, garbage.

use super::serve::{result, submit};
use executor_runtime_tests::{
    Scene, eventually,
    serving::{self, Connection, Serving},
};
use rustls::{ClientConfig, ClientConnection, RootCertStore, pki_types::CertificateDer};
use std::{
    fs::{self, Permissions},
    net::TcpStream,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt, net::UnixListener, process::CommandExt},
    path::Path,
    process::Command,
    sync::Arc,
    time::Duration,
};

pub(super) const TOKEN: &str = "a-token-of-enough-characters";

/// A file with the token, of this mode.
pub(super) fn token_file(scene: &Scene, token: &str, mode: u32) -> String {
    let path = scene.file("token", token);
    fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    path.display().to_string()
}

#[test]
fn ids_and_names_are_no_paths() {
    let scene = Scene::new();
    let serving = Serving::start(&scene, &[]);
    scene.file("secret", "secret");
    let encoded = "%2E%2E%2F%20%25%C3%A4%3F%23";
    let invocation = scene.script("echo in").id("../ %ä?#");
    let accepted = serving.post("/v1/runs", &invocation.text()).expect(202);
    assert_eq!(accepted.header("location"), "/v1/runs/..%2F%20%25%C3%A4%3F%23");
    for id in [encoded, "..%2F%20%25%C3%A4%3F%23"] {
        assert_eq!(result(&serving, id).status.as_str(), "succeeded");
        assert_eq!(serving.get(&format!("/v1/runs/{id}/logs/stdout")).body, b"in\n");
    }
    submit(&serving, &scene.script("echo dots").id(".."));
    assert_eq!(result(&serving, "%2E%2E").status.as_str(), "succeeded");
    submit(&serving, &scene.script("echo plain").id("plain"));
    result(&serving, "plain");
    for path in [
        "plain/logs/..%2F..%2F..%2Fsecret",
        "plain/logs/../../../secret",
        "plain/logs/%2Fetc%2Fpasswd",
        "plain/logs/stdout%00",
        "plain/artifacts/..%2F..%2F..%2Fsecret",
        "plain/artifacts/stdout.txt",
        "plain/artifacts/%2Fetc%2Fpasswd",
        "plain/artifacts/..%2Fplain%2Fstdout.txt",
        "..%2Fplain/logs/stdout",
        "plain%2F..%2Fplain/result",
        "..%2F..%2Fsecret/logs/stdout",
    ] {
        let answer = serving.get(&format!("/v1/runs/{path}"));
        answer.expect_problem(404);
        assert!(!String::from_utf8_lossy(&answer.body).contains("root:"));
    }
    for path in ["%FF", "%FF/result", "plain/artifacts/%FF"] {
        serving.get(&format!("/v1/runs/{path}")).expect_problem(400);
    }
}

#[test]
fn nobody_gets_in_over_tcp_without_the_token() {
    let scene = Scene::new();
    let token = token_file(&scene, &format!("{TOKEN}\n"), 0o600);
    let options = [
        "--listen",
        "127.0.0.1:0",
        "--token-file",
        &token,
        "--allow-host",
        "Build.example",
    ];
    let serving = Serving::start(&scene, &options);
    let address = serving.address();
    let ask = |path: &str, headers: &[(&str, &str)]| {
        let mut connection = Connection::tcp(address);
        connection.send("GET", path, headers, b"");
        connection.answer()
    };
    let right = format!("Bearer {TOKEN}");
    let authorised = ("Authorization", right.as_str());
    ask("/v1/runs", &[authorised]).expect(200);
    ask("/healthz", &[]).expect(200);
    for wrong in [
        "",
        "Bearer",
        "Bearer x",
        "Bearer a-token-of-enough-characterS",
        "Basic YTpi",
        TOKEN,
    ] {
        let answer = ask("/v1/runs", &[("Authorization", wrong)]);
        let detail = answer.expect_problem(401);
        assert!(detail.ends_with("send 'Authorization: Bearer TOKEN'"), "{detail}");
        assert_eq!(answer.header("www-authenticate"), "Bearer");
    }
    for path in [
        "/v1/runs",
        "/metrics",
        "/openapi.json",
        "/v1/kinds",
        "/none",
        "/healthz/",
        "//healthz",
    ] {
        ask(path, &[]).expect_problem(401);
    }
    for (host, status) in [
        ("localhost", 200),
        ("127.0.0.1:9", 200),
        ("[::1]", 200),
        ("build.example:80", 200),
        ("evil.example", 421),
        ("10.1.2.3", 421),
        ("", 421),
    ] {
        let answer = ask("/v1/runs", &[("Host", host), authorised]);
        assert_eq!(answer.status(), status, "{host}: {answer:?}");
        // Not even this is told to a page under another name.
        assert_eq!(ask("/healthz", &[("Host", host)]).status(), status, "{host}");
    }
    for origin in ["http://evil.example", "null", "http://localhost"] {
        ask("/v1/runs", &[authorised, ("Origin", origin)]).expect_problem(403);
        let mut connection = serving.connect();
        connection.send("GET", "/v1/runs", &[("Origin", origin)], b"");
        connection.answer().expect_problem(403);
    }
    let mut connection = Connection::tcp(address);
    connection
        .write(b"GET http://evil.example/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    connection.answer().expect_problem(421);
    let mut connection = Connection::tcp(address);
    connection.write(b"GET /healthz HTTP/1.0\r\n\r\n").unwrap();
    connection.answer().expect_problem(421);
}

#[test]
fn what_others_could_use_is_refused_before_anything_is_served() {
    let scene = Scene::new();
    let refused = |options: &[&str]| {
        let mut command = serving::command(&scene, options);
        let finished = scene.run_command(&mut command, b"");
        assert_eq!(finished.code, Some(2), "{finished:?}");
        finished.stderr
    };
    let assert_says = |said: String, words: &str| assert!(said.contains(words), "{said}");
    assert_says(refused(&["--listen", "127.0.0.1:0"]), "--token-file");
    let open = token_file(&scene, TOKEN, 0o640);
    let listen = ["--listen", "127.0.0.1:0", "--token-file", &open];
    assert_says(refused(&listen), "set its mode to 0600");
    token_file(&scene, "short", 0o600);
    assert_says(refused(&listen), "it needs at least 16");
    token_file(&scene, "two words that are long enough", 0o600);
    assert_says(refused(&listen), "visible ASCII");
    let token = token_file(&scene, TOKEN, 0o600);
    let everywhere = ["--listen", "0.0.0.0:0", "--token-file", &token];
    assert_says(refused(&everywhere), "needs TLS");
    fs::set_permissions(scene.root(), Permissions::from_mode(0o770)).unwrap();
    assert_says(refused(&[]), "can be written by others");
    fs::set_permissions(scene.root(), Permissions::from_mode(0o700)).unwrap();
    scene.file("api.sock", "no socket");
    assert_says(refused(&[]), "is no socket");
    fs::remove_file(scene.path("api.sock")).unwrap();
    let state = scene.path("state");
    fs::create_dir_all(&state).unwrap();
    fs::set_permissions(&state, Permissions::from_mode(0o777)).unwrap();
    assert_says(refused(&[]), "others can write there");
    fs::remove_dir_all(&state).unwrap();

    let mut command = scene.host(&["serve"]);
    command.env_remove("XDG_RUNTIME_DIR");
    let finished = scene.run_command(&mut command, b"");
    assert_says(finished.stderr, "XDG_RUNTIME_DIR is not set");
}

#[test]
fn the_socket_is_for_this_user_alone_and_a_stale_one_is_replaced() {
    let scene = Scene::new();
    let socket = scene.path("api.sock");
    // Left by a process that is gone.
    drop(UnixListener::bind(&socket).unwrap());
    let serving = Serving::start(&scene, &[]);
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    let state = scene.path("other-state");
    let mut second = scene.host(&["serve", "--socket"]);
    second.arg(&socket).arg("--state-dir").arg(&state);
    let finished = scene.run_command(&mut second, b"");
    assert_eq!(finished.code, Some(2), "{finished:?}");
    assert!(
        finished.stderr.contains("already serving at"),
        "{}",
        finished.stderr
    );
    serving.get("/healthz").expect(200);
    serving.signal(libc::SIGTERM);
    assert_eq!(serving.finish().code, Some(0));
    assert!(!socket.exists());

    // The user's own place.
    let runtime = scene.path("runtime");
    fs::create_dir(&runtime).unwrap();
    let mut command = scene.host(&["serve"]);
    command
        .env("XDG_RUNTIME_DIR", &runtime)
        .env("XDG_STATE_HOME", scene.path("state-home"));
    let serving = Serving::started(&scene, &mut command);
    let directory = runtime.join("executor-runtime");
    assert_eq!(
        fs::metadata(&directory).unwrap().permissions().mode() & 0o777,
        0o700
    );
    let mut connection = Connection::unix(&directory.join("api.sock"));
    connection.send("GET", "/healthz", &[], b"");
    connection.answer().expect(200);
    assert!(scene.path("state-home/executor-runtime").is_dir());
    drop(serving);
}

/// The address of a Unix socket, as system calls have it.
fn address_of(path: &Path) -> libc::sockaddr_un {
    // SAFETY: it is a struct of numbers.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    for (to, from) in address.sun_path.iter_mut().zip(path.as_os_str().as_bytes()) {
        *to = *from as libc::c_char;
    }
    address
}

/// Connects and asks; fails if there is an answer.
fn told_nothing(address: &libc::sockaddr_un) -> std::io::Result<()> {
    const REQUEST: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut answer = [0_u8; 16];
    // SAFETY: all pointers are valid for the lengths that go with them.
    let received = unsafe {
        let socket = libc::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0);
        let length = size_of::<libc::sockaddr_un>() as libc::socklen_t;
        if libc::connect(socket, (&raw const *address).cast(), length) != 0 {
            return Err(std::io::Error::last_os_error());
        }
        libc::send(socket, REQUEST.as_ptr().cast(), REQUEST.len(), libc::MSG_NOSIGNAL);
        libc::recv(socket, answer.as_mut_ptr().cast(), answer.len(), 0)
    };
    match received {
        1.. => Err(std::io::Error::from_raw_os_error(libc::EPROTO)),
        _ => Ok(()),
    }
}

/// Only root can try to connect as another user.
#[test]
fn another_user_at_the_socket_is_told_nothing() {
    // SAFETY: no memory is involved.
    if unsafe { libc::geteuid() } != 0 {
        executor_runtime_tests::not_tested("another user at the socket", "this user is not root");
        return;
    }
    let scene = Scene::new();
    let serving = Serving::start(&scene, &[]);
    // As if someone had opened the door.
    fs::set_permissions(scene.root(), Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(scene.path("api.sock"), Permissions::from_mode(0o666)).unwrap();
    let socket = scene.path("api.sock");
    let mut nobody = Command::new("/bin/true");
    nobody.uid(65_534).gid(65_534).current_dir("/");
    // SAFETY: between `fork` and `exec` it only connects, writes and reads, with system calls.
    unsafe { nobody.pre_exec(move || told_nothing(&address_of(&socket))) };
    assert!(nobody.status().expect("the other user is told nothing").success());
    serving.get("/healthz").expect(200);
    let said = serving.said();
    assert!(said.contains("a connection of another user"), "{said}");
}

#[test]
fn garbage_is_answered_clearly_and_the_next_request_works() {
    let scene = Scene::new();
    let serving = Serving::start(&scene, &[]);
    let before = serving.resident();
    // Not HTTP: some are answered, all are let go of.
    let mut noise: Vec<u8> = (0..100_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    noise[0] = 0;
    for garbage in [
        &noise[..],
        b"\r\n\r\n\r\n",
        b"GET\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
    ] {
        let mut connection = serving.connect();
        let _ = connection.write(garbage);
        drop(connection);
        serving.get("/healthz").expect(200);
    }
    let head = format!(
        "GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n",
        "x".repeat(1 << 20)
    );
    let mut connection = serving.connect();
    let _ = connection.write(head.as_bytes());
    if let Ok(answer) = connection.try_answer() {
        assert_eq!(answer.status(), 431, "{answer:?}");
    }
    let many: String = (0..500).map(|number| format!("X-{number}: y\r\n")).collect();
    let mut connection = serving.connect();
    let _ = connection.write(format!("GET /healthz HTTP/1.1\r\nHost: x\r\n{many}\r\n").as_bytes());
    assert_eq!(connection.answer().status(), 431);
    // Two hosts are none.
    let mut connection = serving.connect();
    let _ = connection.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n");
    let detail = connection.answer().expect_problem(400);
    assert_eq!(detail, "the request has several Host headers");

    // Announced, and not: neither is taken in.
    let mut connection = serving.connect();
    connection
        .write(b"POST /v1/runs HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n")
        .unwrap();
    let detail = connection.answer().expect_problem(413);
    assert!(detail.contains("more than 16777216 bytes"), "{detail}");
    let mut connection = serving.connect();
    connection
        .write(b"POST /v1/runs HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        .unwrap();
    let piece = [
        format!("{:x}\r\n", 1 << 20).into_bytes(),
        vec![b' '; 1 << 20],
        b"\r\n".to_vec(),
    ]
    .concat();
    // A client that sends all of it before it reads anything has its answer, too.
    for _ in 0..20 {
        connection.write(&piece).unwrap();
    }
    connection.write(b"0\r\n\r\n").unwrap();
    connection.answer().expect_problem(413);
    let mut connection = serving.connect();
    connection
        .try_send("POST", "/v1/runs", &[], &vec![b' '; 20 << 20])
        .unwrap();
    connection.answer().expect_problem(413);
    // One that never stops is let go of.
    let mut connection = serving.connect();
    connection
        .write(b"POST /v1/runs HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        .unwrap();
    assert!((0..200).any(|_| connection.write(&piece).is_err()));

    for (body, words) in [
        ("", "not a valid RuntimeInvocation"),
        ("nonsense", "not a valid RuntimeInvocation"),
        (
            "{\"invocation_id\": 1}",
            "not a valid RuntimeInvocation: 5 problems",
        ),
        (&"[".repeat(1 << 20), "not a valid RuntimeInvocation: 1 problem"),
        (
            &format!("[{}0]", "0,".repeat(3_000_000)),
            "not a valid RuntimeInvocation: 1 problem",
        ),
    ] {
        let answer = serving.post("/v1/runs", body);
        let detail = answer.expect_problem(400);
        assert!(detail.starts_with(words), "{detail}");
        let errors = answer.json()["errors"].as_array().unwrap().clone();
        assert!(errors[0]["expected"].is_string(), "{errors:?}");
    }
    for (method, path, status) in [
        ("GET", "/", 404),
        ("GET", "/v2/runs", 404),
        ("GET", "/v1/runs/", 404),
        ("DELETE", "/v1/runs", 405),
        ("PUT", "/v1/runs/x", 405),
        ("GET", "/v1/runs/x/cancel", 405),
        ("GET", "/v1/runs?limit=0", 400),
        ("GET", "/v1/runs?limit=1001", 400),
        ("GET", "/v1/runs?limit=x", 400),
        ("GET", "/v1/runs?status=done", 400),
        ("GET", "/v1/runs?kind=Http", 400),
        ("GET", "/v1/runs?since=yesterday", 400),
        ("GET", "/v1/runs?cursor=!", 400),
        ("GET", "/v1/runs?stauts=failed", 400),
        ("POST", "/v1/runs?queue_timeout=-1", 400),
        ("POST", "/v1/prune", 400),
    ] {
        let detail = serving.request(method, path, "").expect_problem(status);
        assert!(!detail.is_empty(), "{method} {path}");
    }
    serving
        .post("/v1/prune", r#"{"older_than_seconds": -1}"#)
        .expect_problem(400);
    serving
        .post("/v1/prune", r#"{"older_than_secnds": 1}"#)
        .expect_problem(400);
    serving
        .post("/v1/prune", &" ".repeat(1 << 20))
        .expect_problem(413);

    submit(&serving, &scene.script("exit 0").id("after"));
    assert_eq!(result(&serving, "after").status.as_str(), "succeeded");
    let grown = serving.resident().saturating_sub(before);
    println!("resident memory grew by {} KiB over garbage", grown >> 10);
    assert!(grown < 400 << 20, "{grown} bytes");
}

#[test]
fn silent_and_half_finished_clients_hold_nothing() {
    let scene = Scene::new();
    let serving = Serving::start(&scene, &[]);
    let mut silent: Vec<_> = (0..200).map(|_| serving.connect()).collect();
    for (index, connection) in silent.iter_mut().enumerate() {
        match index % 3 {
            0 => {}
            1 => connection.write(b"GET /healthz HT").unwrap(),
            _ => connection
                .write(b"POST /v1/runs HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
                .unwrap(),
        }
    }
    submit(&serving, &scene.script("exit 0").id("among-them"));
    assert_eq!(result(&serving, "among-them").status.as_str(), "succeeded");
    // They don't keep the host from ending either.
    serving.signal(libc::SIGTERM);
    let finished = serving.finish();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!(finished.wall < Duration::from_secs(30), "{:?}", finished.wall);
}

#[test]
fn tls_is_served_where_it_is_asked_for() {
    let scene = Scene::new();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = scene.file("cert.pem", made.cert.pem()).display().to_string();
    let key = scene.file("key.pem", made.signing_key.serialize_pem());
    let key_path = key.display().to_string();
    let token = token_file(&scene, TOKEN, 0o600);
    let options = [
        "--listen",
        "0.0.0.0:0",
        "--token-file",
        &token,
        "--tls-cert",
        &certificate,
        "--tls-key",
        &key_path,
    ];
    fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    let refused = scene.run_command(&mut serving::command(&scene, &options), b"");
    assert!(
        refused.stderr.contains("set its mode to 0600"),
        "{}",
        refused.stderr
    );
    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    let serving = Serving::start(&scene, &options);
    let port = serving.address().port();
    assert!(serving.said().contains("https://0.0.0.0:"), "{}", serving.said());

    let first = made.cert.der().clone();
    let connect = || {
        let stream = connected(port);
        Connection::over(rustls::StreamOwned::new(client_trusting(&first), stream))
    };
    let right = format!("Bearer {TOKEN}");
    let mut kept = connect();
    kept.send("GET", "/v1/runs", &[("Authorization", &right)], b"");
    kept.answer().expect(200);
    let mut connection = connect();
    connection.send("GET", "/v1/runs", &[("Authorization", &right)], b"");
    connection.answer().expect(200);
    connection.send("GET", "/v1/runs", &[], b"");
    connection.answer().expect_problem(401);
    // A certificate that is renewed is taken up, and one that can't be used is not.
    let renewed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(&certificate, "no certificate").unwrap();
    eventually("the bad certificate being told of", || {
        serving
            .said()
            .contains("the TLS certificate stays as it was")
            .then_some(())
    });
    assert!(presents(port, &first));
    fs::write(&certificate, renewed.cert.pem()).unwrap();
    fs::write(&key, renewed.signing_key.serialize_pem()).unwrap();
    eventually("the new certificate being presented", || {
        presents(port, renewed.cert.der()).then_some(())
    });
    assert!(!presents(port, &first));
    // Connections that were there before go on.
    kept.send("GET", "/v1/runs", &[("Authorization", &right)], b"");
    kept.answer().expect(200);
    // Who does not encrypt is told nothing.
    let mut plain = Connection::tcp(([127, 0, 0, 1], port).into());
    plain.send("GET", "/healthz", &[], b"");
    assert!(plain.try_answer().is_err());
}

fn connected(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

/// A client that takes this certificate alone for localhost's.
fn client_trusting(certificate: &CertificateDer<'static>) -> ClientConnection {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap()
}

/// Whether a server on this machine presents this certificate.
fn presents(port: u16, certificate: &CertificateDer<'static>) -> bool {
    let (mut client, mut stream) = (client_trusting(certificate), connected(port));
    while client.is_handshaking() {
        if client.complete_io(&mut stream).is_err() {
            return false;
        }
    }
    true
}
