//! The HTTP client against real sockets, on the native carrier.

#[path = "../testing/src/loopback.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "shared with the testing crate, which depends on this one"
)]
mod loopback;

use executor_runtime_sdk::{
    Body, Client, Context, Copied, FailureStatus, HttpError, Invocation, Outcome, Retry, RunError, TestHost,
    http_types::Request,
};
use loopback::{Answer, Loopback};
use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::Mutex,
    time::{Duration, Instant},
};

/// Runs `body` with a context of `host`, and returns what it does.
fn with<T>(host: &TestHost, body: impl FnOnce(&Context) -> T) -> T {
    let body = Mutex::new(Some(body));
    let result = Mutex::new(None);
    let runner = |_: &Invocation, ctx: &mut Context| -> Result<Outcome, RunError> {
        let body = body.lock().unwrap().take().unwrap();
        *result.lock().unwrap() = Some(body(ctx));
        Ok(Outcome::succeeded())
    };
    host.run(&runner, &Invocation::new("test")).unwrap();
    result.into_inner().unwrap().unwrap()
}

fn get(url: &str) -> Request<Body> {
    Request::get(url).body(Body::empty()).unwrap()
}

#[test]
fn requests_go_out_as_they_are_and_connections_are_kept() {
    let server = Loopback::answering([Answer::status(404, "no").header("x-a", "1").header("x-a", "2")]);
    let host = TestHost::new();
    with(&host, |ctx| {
        for _ in 0..2 {
            let request = Request::post(server.url("/a?b=c"))
                .header("content-type", "text/plain")
                .body("hello".into())
                .unwrap();
            let mut response = ctx.http().send(request).unwrap();
            assert_eq!(response.status(), 404);
            assert_eq!(response.headers().get_all("x-a").iter().count(), 2);
            assert_eq!(response.body_mut().bytes(10).unwrap(), b"no");
        }
    });
    let requests = server.requests();
    assert_eq!(
        (requests[0].method.as_str(), requests[0].target.as_str()),
        ("POST", "/a?b=c")
    );
    assert_eq!(requests[0].body, b"hello");
    assert_eq!(requests[0].header("content-length"), Some("5"));
    assert_eq!(requests[0].header("content-type"), Some("text/plain"));
    assert!(
        requests[0]
            .header("user-agent")
            .unwrap()
            .starts_with("executor-runtime-sdk/")
    );
    assert_eq!(requests[1].connection, 0);
}

#[test]
fn a_body_that_is_silent_for_a_while_can_be_read_on() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (more, wanted) = std::sync::mpsc::channel();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]).unwrap();
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        wanted.recv().unwrap();
        stream.write_all(b"3\r\ntwo\r\n0\r\n\r\n").unwrap();
    });
    with(&TestHost::new(), |ctx| {
        let mut answer = ctx.http().send(get(&url)).unwrap();
        let mut read = |milliseconds| {
            let mut buffer = [0; 100];
            let time = Duration::from_millis(milliseconds);
            let length = answer.body_mut().read_within(time, &mut buffer).unwrap();
            length.map(|length| buffer[..length].to_vec())
        };
        assert_eq!(read(20_000), Some(b"one".to_vec()));
        assert_eq!(read(50), None);
        assert_eq!(read(50), None);
        more.send(()).unwrap();
        assert_eq!(read(20_000), Some(b"two".to_vec()));
        assert_eq!(read(20_000), Some(Vec::new()));
    });
    server.join().unwrap();
}

#[test]
fn bodies_of_every_kind_arrive() {
    let server = Loopback::answering([Answer::status(200, "")]);
    let big = vec![b'x'; 300_000];
    let host = TestHost::new().input(big.clone());
    with(&host, |ctx| {
        let send = |method: &str, body: Body| {
            let request = Request::builder()
                .method(method)
                .uri(server.url("/"))
                .body(body)
                .unwrap();
            ctx.http().send(request).unwrap();
        };
        send("POST", Body::empty());
        send("PUT", Body::input());
        send("POST", Body::reader(std::io::repeat(b'y').take(100_000)));
        send("DELETE", "d".into());
        send("GET", "g".into());
        send("PURGE", Body::empty());
    });
    let small = TestHost::new().input("small");
    with(&small, |ctx| {
        ctx.http()
            .send(Request::post(server.url("/")).body(Body::input()).unwrap())
            .unwrap();
    });
    let requests = server.requests();
    assert_eq!(requests[0].header("content-length"), Some("0"));
    assert_eq!(requests[1].body, big);
    assert_eq!(requests[2].body.len(), 100_000);
    assert_eq!(requests[3].body, b"d");
    assert_eq!(requests[4].body, b"g");
    assert_eq!(requests[5].method, "PURGE");
    assert_eq!(requests[6].body, b"small");
    assert_eq!(requests[6].header("content-length"), Some("5"));
}

#[test]
fn redirects_are_followed_by_their_rules() {
    let other = Loopback::answering([Answer::status(200, "there")]);
    let elsewhere = other.url("/end");
    let server = Loopback::new(move |request| match request.target.as_str() {
        "/307" => Answer::redirect(307, "/302"),
        "/302" => Answer::redirect(302, &elsewhere),
        _ => Answer::redirect(302, "/loop"),
    });
    let host = TestHost::new();
    with(&host, |ctx| {
        let request = Request::post(server.url("/307"))
            .header("authorization", "secret")
            .header("x-other", "1")
            .body("again".into())
            .unwrap();
        let mut response = ctx.http().send(request).unwrap();
        assert_eq!(response.body_mut().preview(10).unwrap(), "there");
        assert_eq!(
            ctx.http().send(get(&server.url("/loop"))).unwrap_err(),
            HttpError::TooManyRedirects { limit: 20 }
        );
        let streamed = Request::post(server.url("/307"))
            .body(Body::reader(&b"once"[..]))
            .unwrap();
        assert!(matches!(
            ctx.http().send(streamed),
            Err(HttpError::Redirect { .. })
        ));
    });
    let requests = server.requests();
    assert_eq!(
        (requests[1].method.as_str(), requests[1].body.as_slice()),
        ("POST", &b"again"[..])
    );
    assert_eq!(requests[1].header("authorization"), Some("secret"));
    let last = &other.requests()[0];
    assert_eq!((last.method.as_str(), last.body.len()), ("GET", 0));
    assert_eq!(last.header("authorization"), None);
    assert_eq!(last.header("x-other"), Some("1"));
}

#[test]
fn failures_are_told_apart_in_words() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let broken = Loopback::answering([Answer::Close]);
    let short = Loopback::answering([Answer::Raw(
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc".to_vec(),
    )]);
    let gibberish = Loopback::answering([Answer::Raw(b"what?\r\n\r\n".to_vec())]);
    let host = TestHost::new();
    with(&host, |ctx| {
        let fails = |url: &str| match ctx.http().send(get(url)) {
            Err(error) => error,
            Ok(mut response) => {
                let error = response.body_mut().bytes(100).unwrap_err();
                error.downcast::<HttpError>().unwrap()
            }
        };
        let refused = fails(&format!("http://{closed}/"));
        assert_eq!(refused.to_string(), format!("connection refused by {closed}"));
        assert_eq!(refused.code(), "network");
        assert!(matches!(fails(&broken.url("/")), HttpError::Disconnected { .. }));
        assert!(
            matches!(fails(&short.url("/")), HttpError::Disconnected { .. }),
            "{:?}",
            fails(&short.url("/"))
        );
        assert!(matches!(fails(&gibberish.url("/")), HttpError::Protocol { .. }));
        assert!(matches!(
            fails("http://no-such-name.invalid/"),
            HttpError::Dns { .. }
        ));
        let plain = fails(&broken.url("/").replace("http:", "https:"));
        assert!(matches!(plain, HttpError::HandshakeBroken { .. }), "{plain:?}");
        for url in ["/relative", "ftp://h/", "http://u:p@h/"] {
            assert!(matches!(fails(url), HttpError::InvalidRequest { .. }), "{url}");
        }
        let header = Request::get("http://h/")
            .header("transfer-encoding", "x")
            .body(Body::empty());
        let tunnel = Request::connect("http://h/").body(Body::empty());
        for request in [header, tunnel].map(Result::unwrap) {
            let checked = Client::check(&request);
            assert!(
                matches!(checked, Err(HttpError::InvalidRequest { .. })),
                "{checked:?}"
            );
            assert_eq!(ctx.http().send(request).err(), checked.err());
        }
        assert_eq!(RunError::from(refused).status(), FailureStatus::Failed);
    });
}

#[test]
fn a_stop_interrupts_at_once_wherever_a_request_waits() {
    let silent = Loopback::answering([Answer::Silence]);
    let dripping = Loopback::answering([Answer::Drip(Duration::from_millis(20))]);
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    let deaf_url = format!("http://{}/", deaf.local_addr().unwrap());
    for (name, url, body) in [
        ("answer", silent.url("/"), Body::empty()),
        ("body", dripping.url("/"), Body::empty()),
        ("upload", deaf_url, Body::reader(std::io::repeat(b'x'))),
    ] {
        let host = TestHost::new();
        let stop = Duration::from_millis(100);
        let started = Instant::now();
        host.stop_after(stop);
        let error = with(&host, |ctx| {
            let request = Request::post(url).body(body).unwrap();
            match ctx.http().send(request) {
                Err(error) => RunError::from(error),
                Ok(mut response) => RunError::from(response.body_mut().bytes(usize::MAX - 1).unwrap_err()),
            }
        });
        let took = started.elapsed();
        assert_eq!(error.status(), FailureStatus::Cancelled, "{name}: {error}");
        assert!(
            took >= stop && took < stop + Duration::from_millis(60),
            "{name}: {took:?}"
        );
    }
}

#[test]
fn a_deadline_is_a_timeout_and_a_limit_of_one_request_is_not() {
    let silent = Loopback::answering([Answer::Silence]);
    let time = Duration::from_millis(100);
    let host = TestHost::new().deadline(time);
    let error = with(&host, |ctx| ctx.http().send(get(&silent.url("/"))).unwrap_err());
    assert_eq!(error, HttpError::Timeout);

    let host = TestHost::new();
    let started = Instant::now();
    let error = with(&host, |ctx| {
        ctx.http().timeout(time).send(get(&silent.url("/"))).unwrap_err()
    });
    assert_eq!(
        error.to_string(),
        format!(
            "{} can't be reached: no complete answer within 0.1 s",
            silent.address()
        )
    );
    assert!(started.elapsed() < Duration::from_millis(200));
}

#[test]
fn what_may_go_better_is_tried_again_and_nothing_else() {
    let server = Loopback::new(|request| match request.target.as_str() {
        "/gone" => Answer::status(404, "no"),
        "/broken" => Answer::Close,
        "/later" => Answer::status(503, "later").header("retry-after", "1"),
        "/tomorrow" => Answer::status(503, "tomorrow").header("retry-after", "86400"),
        "/moved" => Answer::redirect(302, "/down"),
        _ => Answer::status(503, "down"),
    });
    let host = TestHost::new();
    let retry = Retry::times(2).first_wait(Duration::from_millis(1));
    let attempts = |method: &str, path: &str, body: Body, retry: Retry| {
        let before = server.requests().len();
        let request = Request::builder()
            .method(method)
            .uri(server.url(path))
            .body(body)
            .unwrap();
        let answer = with(&host, |ctx| ctx.http().retry(retry).send(request).map(drop));
        let asked = server.requests();
        let asked = asked[before..].iter().filter(|request| request.target == path);
        (asked.count(), answer.is_ok())
    };
    let again = |path: &str| attempts("GET", path, Body::empty(), retry);
    assert_eq!(again("/down"), (3, true));
    assert_eq!(again("/broken"), (3, false));
    assert_eq!(again("/moved"), (3, true));
    assert_eq!(again("/gone"), (1, true));
    assert_eq!(again("/tomorrow"), (1, true));
    assert_eq!(attempts("PUT", "/down", "body".into(), retry), (3, true));
    assert_eq!(server.requests().last().unwrap().body, b"body");
    assert_eq!(
        attempts("PUT", "/down", Body::reader(&b"once"[..]), retry),
        (1, true)
    );
    assert_eq!(attempts("POST", "/down", Body::empty(), retry), (1, true));
    assert_eq!(
        attempts("POST", "/down", Body::empty(), retry.any_method()),
        (3, true)
    );
    assert!(
        host.log()
            .iter()
            .any(|(_, line)| line.contains("HTTP 503 Service Unavailable; trying again in 0.0 s (retry 2)")),
        "{:?}",
        host.log()
    );

    let begun = Instant::now();
    assert_eq!(
        attempts("GET", "/later", Body::empty(), Retry::times(1)),
        (2, true)
    );
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[test]
fn a_retry_gives_way_to_the_deadline_and_to_a_stop() {
    let server = Loopback::new(|_| Answer::status(503, "later").header("retry-after", "30"));
    let retry = Retry::times(5);
    // There is no time for another attempt: the answer is the best there is.
    let host = TestHost::new().deadline(Duration::from_secs(10));
    let answer = with(&host, |ctx| {
        ctx.http()
            .retry(retry)
            .get(&server.url("/"))
            .map(|answer| answer.status())
    });
    assert_eq!(answer.unwrap(), 503);
    assert_eq!(server.requests().len(), 1);

    // Long after the answer, which takes no time.
    let host = TestHost::new();
    host.stop_after(Duration::from_secs(3));
    let error = with(&host, |ctx| {
        ctx.http().retry(retry).get(&server.url("/")).unwrap_err()
    });
    assert_eq!(error, HttpError::Stopped);
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn a_last_word_is_heard_after_the_stop_and_bounded_by_the_grace() {
    let server = Loopback::new(|request| match request.target.as_str() {
        "/cancel" => Answer::status(200, "ok"),
        _ => Answer::Silence,
    });
    let host = TestHost::new().grace(Duration::from_millis(400));
    host.stop_after(Duration::from_millis(50));
    with(&host, |ctx| {
        assert_eq!(
            ctx.http().send(get(&server.url("/poll"))).unwrap_err(),
            HttpError::Stopped
        );
        let started = Instant::now();
        let mut response = ctx.http().after_stop().send(get(&server.url("/cancel"))).unwrap();
        assert_eq!(response.body_mut().preview(9).unwrap(), "ok");
        assert_eq!(
            ctx.http().send(get(&server.url("/cancel"))).unwrap_err(),
            HttpError::Stopped
        );
        let error = ctx
            .http()
            .after_stop()
            .send(get(&server.url("/silent")))
            .unwrap_err();
        assert_eq!(error, HttpError::Timeout);
        let took = started.elapsed();
        assert!(
            took > Duration::from_millis(200) && took < Duration::from_millis(400),
            "{took:?}"
        );
    });
}

#[test]
fn a_body_streams_into_an_artifact_up_to_its_limit() {
    let body = vec![b'z'; 1_000_000];
    let server = Loopback::answering([Answer::status(200, body.clone())]);
    for (limit, expected) in [
        (2_000_000, Copied::Whole(1_000_000)),
        (1000, Copied::Capped(1000)),
    ] {
        let host = TestHost::new().artifact_limit(limit);
        let copied = with(&host, |ctx| {
            let mut response = ctx.http().send(get(&server.url("/"))).unwrap();
            let mut artifact = ctx.artifact("page", "response_body").unwrap();
            let copied = artifact.copy_from(response.body_mut()).unwrap();
            artifact.finish().unwrap();
            copied
        });
        assert_eq!(copied, expected);
        assert_eq!(host.artifact("page").unwrap().len(), limit.min(body.len()));
    }
}
