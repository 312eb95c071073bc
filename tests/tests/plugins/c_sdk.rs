//! What the SDK for C does in a run, whatever a server, a caller or an author gives it.

use super::c::{behaviours, result};
use executor_runtime_protocol::Status;
use executor_runtime_tests::{
    c::{new_plugin, run},
    home::Home,
    scripted::{Answer, Scripted},
};
use guest_build::workspace;
use std::{
    io::Read,
    net::{TcpListener, TcpStream},
    sync::mpsc,
    thread,
};

#[test]
fn what_is_the_same_on_every_host_passes_its_tests_in_c() {
    let home = Home::new();
    let fixture = workspace().join("tests/fixtures/c/behaviours");
    if new_plugin(&home, "c-behaviours", Some(&fixture)).is_none() {
        return;
    }
    let tested = run(&home, &["plugin", "test", "c-behaviours"]);
    assert!(tested.stderr.contains("test_sdk.c passed"), "{tested:?}");
}

#[test]
fn bytes_that_are_no_utf8_reach_the_host_replaced() {
    let Some(place) = behaviours() else { return };
    let server = Scripted::start(|request, _| match request.target.as_str() {
        "/ftp" => Answer::Bytes(
            b"HTTP/1.1 302 Found\r\ncontent-length: 0\r\nlocation: ftp://x/\xe9\r\n\r\n".to_vec(),
        ),
        _ => Answer::new(200, b"caf\xe9"),
    });
    let replaced = "caf\u{fffd}";
    let ended = result(&place, "no_utf8", &server.url("/"));
    assert_eq!(ended.metadata["error.kind"], "broken", "{ended:?}");
    assert_eq!(
        ended.error_summary.as_deref(),
        Some("said caf\u{fffd}"),
        "{ended:?}"
    );
    assert_eq!(ended.metadata[replaced], replaced, "{ended:?}");
    assert!(ended.metadata["test.name"].contains(replaced), "{ended:?}");
    // What goes to a file is not changed.
    let kept = ended.artifacts.iter().find(|one| one.artifact_id == "kept");
    let kept = kept.unwrap_or_else(|| panic!("{ended:?}"));
    assert_eq!(std::fs::read(&kept.path).unwrap(), b"caf\xe9");

    let ended = result(&place, "text", &server.url("/ftp"));
    assert_eq!(ended.metadata["error.kind"], "redirect", "{ended:?}");
    let summary = ended.error_summary.unwrap_or_default();
    assert!(summary.contains("to 'ftp://x/\u{fffd}'"), "{summary}");
}

#[test]
fn text_with_a_nul_is_refused_and_not_cut() {
    let Some(place) = behaviours() else { return };
    let server = Scripted::start(|_, _| Answer::new(200, "a\0b"));
    let ended = result(&place, "text", &server.url("/page?token=s3cret"));
    assert_eq!(ended.metadata["error.kind"], "network", "{ended:?}");
    let summary = ended.error_summary.unwrap_or_default();
    assert!(
        summary.contains("/page has a NUL, which would end the text"),
        "{summary}"
    );

    let asked = || {
        place
            .invocation(&[("test.behaviour", "word"), ("test.word", "Ada")])
            .timeout(60, 1.0)
    };
    let ended = place.run(&asked()).result();
    assert_eq!(ended.metadata["test.word"], "Ada", "{ended:?}");
    for (invocation, kind, words) in [
        (
            asked().metadata("test.word", "Ada\0Eve"),
            "invalid_metadata",
            "the value of metadata key test.word has a NUL in it",
        ),
        (
            asked().with("runtime_name", "a\0b"),
            "invalid_invocation",
            "runtime_name has a NUL in it",
        ),
    ] {
        let ended = place.run(&invocation).result();
        assert_eq!(ended.status, Status::Rejected, "{ended:?}");
        assert_eq!(ended.metadata["error.kind"], kind, "{ended:?}");
        assert!(ended.error_summary.unwrap_or_default().contains(words));
    }

    let place = place.configured("plugins.c-behaviours.config = { word = \"a\\u0000b\" }");
    let ended = result(&place, "config", "");
    assert_eq!(ended.metadata["error.kind"], "invalid_config", "{ended:?}");
}

#[test]
fn a_run_that_polls_takes_no_more_memory_for_each_request() {
    let Some(place) = behaviours() else { return };
    let server = Scripted::start(|request, _| match request.target.as_str() {
        "/" => Answer::new(307, "").header("location", "/polled"),
        _ => Answer::new(200, "running").header("x-long", "x".repeat(500)),
    });
    let invocation = place
        .invocation(&[
            ("test.behaviour", "polls"),
            ("test.number", "2000"),
            ("test.url", &server.url("/")),
        ])
        .timeout(300, 1.0);
    let ended = place.run(&invocation).result();
    assert_eq!(ended.status, Status::Succeeded, "{ended:?}");
    assert_eq!(ended.metadata["test.polled"], "2000", "{ended:?}");
    assert_eq!(ended.metadata["test.pages"], "0", "{ended:?}");
}

#[test]
fn a_request_may_take_as_long_as_a_run_without_a_deadline() {
    let Some(place) = behaviours() else { return };
    let server = Scripted::start(|_, _| Answer::new(200, ""));
    let invocation = place.invocation(&[("test.behaviour", "patient"), ("test.url", &server.url("/"))]);
    let ended = place.run(&invocation).result();
    assert_eq!(ended.status, Status::Succeeded, "{ended:?}");
    assert_eq!(ended.metadata["test.remaining"], "inf", "{ended:?}");
}

#[test]
fn an_upload_to_a_server_that_never_reads_ends_when_its_time_is_over() {
    let Some(place) = behaviours() else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (keep, kept) = mpsc::channel::<TcpStream>();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            if keep.send(stream).is_err() {
                return;
            }
        }
    });
    let upload = |bytes: usize| {
        let invocation = place
            .invocation(&[
                ("test.behaviour", "upload"),
                ("test.number", &bytes.to_string()),
                ("test.url", &url),
            ])
            .timeout(60, 1.0);
        let ended = place.run(&invocation).result();
        let told = format!("{bytes} bytes: {ended:?}");
        assert_eq!(
            ended.error_summary.as_deref(),
            Some("http error: timed out"),
            "{told}"
        );
        assert_eq!(ended.status, Status::Failed, "{told}");
        // What was on its way when the run was over.
        let mut taken = Vec::new();
        let _ = kept.recv().unwrap().read_to_end(&mut taken);
        taken.len()
    };
    let taken = upload(16 << 20);
    // One of these fills what the host keeps besides the sockets, with the last of its bytes.
    for more in 0..32 {
        upload(taken + more * 64 * 1024);
    }
}

#[test]
fn c_sleeps_by_its_own_functions_until_the_run_is_to_stop() {
    let Some(place) = behaviours() else { return };
    let invocation = place.invocation(&[("test.behaviour", "sleeps")]).timeout(5, 60.0);
    let ended = place.run(&invocation).result();
    assert_eq!(
        ended.error_summary.as_deref(),
        Some("timed out in a long sleep"),
        "{ended:?}"
    );
    for (key, value) in [
        ("test.sleep", "0"),
        ("test.usleep", "0"),
        ("test.nanosleep", "0"),
        ("test.slept", "1"),
        ("test.interrupted", "1"),
    ] {
        assert_eq!(ended.metadata[key], value, "{key}: {ended:?}");
    }
    let ended = result(&place, "files_by_name", "");
    for key in ["test.access", "test.rename", "test.remove"] {
        assert_eq!(ended.metadata[key], "-1", "{ended:?}");
    }
}
