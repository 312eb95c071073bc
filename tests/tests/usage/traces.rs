//! Traces: which one a run continues, what is told of it, and the spans that a collector gets.

use executor_runtime_protocol::Status;
use executor_runtime_tests::{
    Finished, Invocation, Scene,
    collector::Collector,
    collector::Span,
    copy_executable, eventually, fixtures, host_binary,
    installed::Installed,
    scripted::{Answer, Scripted},
    serving::{self, Serving},
};
use std::{fs, process::Command, time::Duration};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";
const CONTEXT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const OTHER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// What a script prints of its trace.
const TELL: &str = "echo $TRACEPARENT; echo $TRACESTATE";

/// Runs the invocation in a host with these variables.
#[track_caller]
fn run(scene: &Scene, invocation: &Invocation, variables: &[(&str, &str)]) -> Finished {
    let mut command = scene.host(&["run", "-"]);
    command.envs(variables.iter().copied());
    scene.run_command(&mut command, invocation.text().as_bytes())
}

/// The same, exporting.
#[track_caller]
fn run_traced(
    scene: &Scene,
    invocation: &Invocation,
    collector: &Collector,
    variables: &[(&str, &str)],
) -> Finished {
    let mut command = scene.host(&["run", "-"]);
    collector.asked_for(&mut command).envs(variables.iter().copied());
    scene.run_command(&mut command, invocation.text().as_bytes())
}

/// The context of a span, as it is told.
fn context(span: &Span, flags: &str) -> String {
    format!("00-{}-{}-{flags}", span.trace_id, span.span_id)
}

#[track_caller]
fn assert_below(span: &Span, parent: &Span) {
    assert_eq!(
        (&span.trace_id, &span.parent),
        (&parent.trace_id, &parent.span_id)
    );
    assert!(parent.start <= span.start && span.start <= span.end && span.end <= parent.end);
}

#[test]
fn a_run_is_a_span_below_what_its_metadata_names_and_its_program_one_below_that() {
    let scene = Scene::new();
    for protocol in ["http/protobuf", "http/json"] {
        let collector = Collector::start();
        let invocation = scene
            .script(&format!("{TELL}; exit 3"))
            .metadata("traceparent", CONTEXT)
            .metadata("tracestate", "rojo=1 , congo=t61rcWkgMzE");
        let variables = [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("OTEL_SERVICE_NAME", "jobs"),
            ("OTEL_RESOURCE_ATTRIBUTES", "team=a%20b"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=s%20e"),
        ];
        let finished = run_traced(&scene, &invocation, &collector, &variables);
        let result = finished.expect(Status::Failed);
        assert_eq!(finished.stderr, "");

        let span = collector.span("run subprocess");
        assert_eq!((span.trace_id.as_str(), span.parent.as_str()), (TRACE, PARENT));
        assert_eq!((span.kind, span.status), (1, 2));
        assert_eq!(span.state, "rojo=1,congo=t61rcWkgMzE");
        assert_eq!(
            span.attributes["executor_runtime.invocation.id"],
            result.invocation_id
        );
        assert_eq!(span.attributes["executor_runtime.runtime.kind"], "subprocess");
        assert_eq!(span.attributes["executor_runtime.status"], "failed");
        assert_eq!(span.attributes["executor_runtime.exit_code"], "3");
        assert_eq!(span.attributes["error.type"], "exit_status");
        assert_eq!(span.resource["service.name"], "jobs");
        assert_eq!(span.resource["team"], "a b");
        assert_eq!(collector.requests()[0].header("x-key"), "s e");

        let program = collector.span("sh");
        assert_below(&program, &span);
        assert_eq!(program.attributes["process.exit.code"], "3");
        let told = format!("{}\nrojo=1,congo=t61rcWkgMzE\n", context(&span, "01"));
        assert_eq!(finished.captured(), told);
    }
}

#[test]
fn requests_of_a_plugin_continue_the_trace_on_both_carriers() {
    for (installed, parts) in Installed::on_both("http")
        .into_iter()
        .zip([&["load", "instantiate", "call"][..], &["load", "call"]])
    {
        let collector = Collector::start();
        let backend = Scripted::sequence(vec![
            Answer::new(307, "").header("location", "/second?token=secret-2"),
            Answer::new(418, ""),
        ]);
        let invocation = installed
            .invocation(&[
                ("http.url", &backend.url("/path?token=secret-1")),
                ("http.method", "GET"),
                ("traceparent", CONTEXT),
                ("tracestate", "a=1"),
            ])
            .timeout(60, 1.0);
        let invocation = remove(invocation, "subprocess.grace_seconds");
        let finished = installed.scene.run_command(
            collector.asked_for(&mut installed.host()),
            invocation.text().as_bytes(),
        );
        finished.expect(Status::Failed);

        let span = collector.span("run http");
        assert_eq!((span.trace_id.as_str(), span.parent.as_str()), (TRACE, PARENT));
        for part in parts {
            assert_below(&collector.span(part), &span);
        }
        let requests = backend.requests();
        assert_eq!(requests.len(), 2);
        for request in &requests {
            assert_eq!(request.header("tracestate"), "a=1");
        }
        if parts.contains(&"instantiate") {
            let sent = collector.await_spans("GET", 2);
            for ((request, span_of), code) in requests.iter().zip(&sent).zip(["307", "418"]) {
                assert_below(span_of, &span);
                assert_eq!(request.header("traceparent"), context(span_of, "01"));
                assert_eq!(span_of.kind, 3);
                assert_eq!(span_of.attributes["http.request.method"], "GET");
                assert_eq!(span_of.attributes["http.response.status_code"], code);
                assert_eq!(span_of.attributes["server.address"], "127.0.0.1");
                assert_eq!(span_of.attributes["server.port"], backend.port().to_string());
            }
            assert_eq!((sent[0].status, sent[1].status), (0, 2));
        } else {
            // What a native plugin sends, the host does not see.
            for request in &requests {
                assert_eq!(request.header("traceparent"), context(&span, "01"));
            }
        }
        let all = format!("{:?}", collector.spans());
        assert!(!all.contains("secret") && !all.contains("/path"), "{all}");
    }
}

fn remove(mut invocation: Invocation, key: &str) -> Invocation {
    let metadata = invocation.0["metadata"].as_object_mut().unwrap();
    metadata.remove(key);
    invocation
}

#[test]
fn a_header_of_the_plugins_own_stays_and_a_context_is_passed_on_where_nothing_is_exported() {
    for installed in Installed::on_both("http") {
        let backend = Scripted::start(|_, _| Answer::new(200, ""));
        let url = backend.url("/");
        let own = [
            ("http.url", url.as_str()),
            ("traceparent", CONTEXT),
            ("tracestate", "a=1"),
            ("http.header.traceparent", OTHER),
        ];
        installed
            .run(&installed.invocation(&own))
            .expect(Status::Succeeded);
        installed
            .run(&installed.invocation(&own[..3]))
            .expect(Status::Succeeded);
        installed
            .run(&installed.invocation(&own[..1]))
            .expect(Status::Succeeded);
        let requests = backend.requests();
        let told: Vec<_> = requests
            .iter()
            .map(|request| (request.header("traceparent"), request.header("tracestate")))
            .collect();
        assert_eq!(told, [(OTHER, ""), (CONTEXT, "a=1"), ("", "")]);
    }
}

#[test]
fn a_native_plugin_finds_its_trace_in_environment_and_metadata() {
    let installed = Installed::file("hostile", &fixtures::native("fixture-hostile"));
    let collector = Collector::start();
    let invocation = installed.invocation(&[
        ("hostile.do", "tell_its_trace"),
        ("traceparent", CONTEXT),
        ("tracestate", "a=1"),
    ]);
    let finished = installed.scene.run_command(
        collector.asked_for(&mut installed.host()),
        invocation.text().as_bytes(),
    );
    let result = finished.expect(Status::Succeeded);
    let own = context(&collector.span("run hostile"), "01");
    assert_eq!(result.metadata["hostile.variable"], own);
    assert_eq!(result.metadata["hostile.metadata"], own);
    assert_eq!(result.metadata["hostile.state"], "a=1");
}

#[test]
fn nothing_is_made_up_and_the_nearest_word_about_the_trace_counts() {
    let scene = Scene::new();
    let plain = scene.script(TELL);
    let named = plain.clone().metadata("traceparent", CONTEXT);
    let of_host = [("TRACEPARENT", OTHER), ("TRACESTATE", "of=host")];
    for (invocation, variables, told) in [
        (plain.clone(), &[][..], "\n\n".to_owned()),
        (plain.clone(), &of_host, format!("{OTHER}\nof=host\n")),
        (named.clone(), &of_host, format!("{CONTEXT}\n\n")),
        (
            named.env("TRACEPARENT", "the invocation's own"),
            &of_host,
            "the invocation's own\n\n".to_owned(),
        ),
    ] {
        let finished = run(&scene, &invocation, variables);
        finished.expect(Status::Succeeded);
        assert_eq!(finished.captured(), told);
        assert_eq!(finished.stderr, "");
    }
    // A trace begins where spans are recorded.
    let collector = Collector::start();
    let finished = run_traced(&scene, &plain, &collector, &[]);
    let span = collector.span("run subprocess");
    assert_eq!(span.parent, "");
    assert_eq!(finished.captured(), format!("{}\n\n", context(&span, "03")));
}

#[test]
fn a_context_that_cannot_be_used_is_told_of_and_fails_nothing() {
    let scene = Scene::new();
    let zero = CONTEXT.replace(PARENT, "0000000000000000");
    let finished = run(&scene, &scene.script(TELL).metadata("traceparent", &zero), &[]);
    finished.expect(Status::Succeeded);
    assert_eq!(finished.captured(), "\n\n");
    assert!(
        finished.stderr.contains("metadata key 'traceparent' is ignored"),
        "{}",
        finished.stderr
    );
    assert!(
        finished.stderr.contains("its parent id is zero"),
        "{}",
        finished.stderr
    );

    let invocation = scene
        .script(TELL)
        .metadata("traceparent", CONTEXT)
        .metadata("tracestate", "A=1");
    let finished = run(&scene, &invocation, &[]);
    assert_eq!(finished.captured(), format!("{CONTEXT}\n\n"));
    assert!(
        finished.stderr.contains("metadata key 'tracestate' is ignored"),
        "{}",
        finished.stderr
    );

    let finished = run(&scene, &scene.script("true"), &[("TRACEPARENT", "nonsense")]);
    finished.expect(Status::Succeeded);
    assert!(
        finished
            .stderr
            .contains("TRACEPARENT is ignored: it is not VERSION"),
        "{}",
        finished.stderr
    );
}

#[test]
fn a_batch_is_part_of_the_trace_that_it_was_started_in() {
    let scene = Scene::new();
    let collector = Collector::start();
    let mut command = scene.host(&["batch", "-j2", "--", "true", "{}"]);
    collector.asked_for(&mut command).env("TRACEPARENT", CONTEXT);
    let finished = scene.run_command(&mut command, b"1\n2\n3\n4\n5\n");
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let spans = collector.await_spans("run subprocess", 5);
    assert_eq!(spans.len(), 5);
    for span in spans {
        assert_eq!((span.trace_id.as_str(), span.parent.as_str()), (TRACE, PARENT));
    }
}

#[test]
fn runs_of_a_host_that_serves_continue_the_traces_of_their_requests() {
    let scene = Scene::new();
    let collector = Collector::start();
    let mut command = serving::command(&scene, &["--log-level", "warn"]);
    collector
        .asked_for(&mut command)
        // The service's own start is nothing that its runs are part of.
        .env("TRACEPARENT", OTHER)
        .env("OTEL_BSP_SCHEDULE_DELAY", "50");
    let serving = Serving::started(&scene, &mut command);
    let submit = |invocation: &Invocation, headers: &[(&str, &str)]| {
        let mut connection = serving.connect();
        connection.send("POST", "/v1/runs", headers, invocation.text().as_bytes());
        connection.answer()
    };
    for number in 0..10 {
        let header = format!("00-{number:032x}-{PARENT}-01", number = number + 1);
        let invocation = scene.script("true").id(&format!("run-{number}"));
        submit(
            &invocation,
            &[
                ("traceparent", &header),
                ("tracestate", "a=1"),
                ("tracestate", "b=2"),
            ],
        )
        .expect(202);
        // Another request for the same run does not make it another one.
        submit(&invocation, &[("traceparent", OTHER)]).expect(200);
    }
    submit(
        &scene.script("true").id("named").metadata("traceparent", CONTEXT),
        &[("traceparent", OTHER)],
    )
    .expect(202);
    submit(&scene.script("true").id("bad"), &[("traceparent", "00-nonsense")]).expect(202);
    submit(
        &scene.script("true").id("twice"),
        &[("traceparent", CONTEXT), ("traceparent", OTHER)],
    )
    .expect(202);
    let spans = collector.await_spans("run subprocess", 13);
    let span = |id: &str| {
        let mut spans = spans.iter();
        spans
            .find(|span| span.attributes["executor_runtime.invocation.id"] == id)
            .unwrap()
    };
    for number in 0..10 {
        let span = span(&format!("run-{number}"));
        assert_eq!(span.trace_id, format!("{:032x}", number + 1));
        assert_eq!((span.parent.as_str(), span.state.as_str()), (PARENT, "a=1,b=2"));
        assert!(span.attributes.contains_key("executor_runtime.queue.seconds"));
    }
    assert_eq!(span("named").trace_id, TRACE);
    assert_eq!(
        (span("bad").parent.as_str(), span("twice").parent.as_str()),
        ("", "")
    );
    let said = serving.said();
    assert!(
        said.contains("the header 'traceparent' is ignored: it is not VERSION"),
        "{said}"
    );
    assert!(
        said.contains("the header 'traceparent' is ignored: there is more than one"),
        "{said}"
    );
    serving.signal(libc::SIGTERM);
    assert_eq!(serving.finish().code, Some(0));
}

#[test]
fn the_trace_of_a_run_that_waits_survives_the_host() {
    let scene = Scene::new();
    let serving = Serving::start(&scene, &["-j1"]);
    let first = scene.script("echo > begun; sleep 600").id("first");
    serving.post("/v1/runs", &first.text()).expect(202);
    scene.await_file("begun");
    let waiting = scene.script(TELL).id("waiting");
    let mut connection = serving.connect();
    connection.send(
        "POST",
        "/v1/runs",
        &[("traceparent", CONTEXT), ("tracestate", "a=1")],
        waiting.text().as_bytes(),
    );
    connection.answer().expect(202);
    serving.signal(libc::SIGKILL);
    drop(serving);
    let serving = Serving::start(&scene, &["-j1"]);
    serving.get("/v1/runs/waiting/result?wait=60").expect(200);
    let told = fs::read_to_string(scene.capture("waiting").join("stdout.txt")).unwrap();
    assert_eq!(told, format!("{CONTEXT}\na=1\n"));
}

#[test]
fn a_collector_that_is_of_no_use_harms_no_run() {
    let scene = Scene::new();
    let down = {
        let server = Collector::start();
        format!("http://{}", server.authority())
    };
    let answering = |answer: Answer| Collector::answering(move |_, _| answer.clone());
    let collectors = [
        (answering(Answer::new(500, "no")), "it answers 500"),
        (
            answering(Answer::new(503, "").header("retry-after", "3600")),
            "it answers 503",
        ),
        (answering(Answer::Bytes(b"nonsense\r\n\r\n".to_vec())), ""),
        (answering(Answer::Bytes(Vec::new())), ""),
        (answering(Answer::Silence), "has not taken them within 2 s"),
    ];
    let cases = collectors
        .iter()
        .map(|(collector, told)| (format!("http://{}", collector.authority()), *told))
        .chain([
            (down, "onnection refused"),
            ("http://no.such.host.invalid".to_owned(), ""),
        ]);
    for (endpoint, told) in cases {
        let invocation = scene.script("echo done");
        let finished = run(&scene, &invocation, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]);
        finished.expect(Status::Succeeded);
        assert_eq!((finished.code, finished.captured().as_str()), (Some(0), "done\n"));
        assert!(finished.wall < Duration::from_secs(20), "{:?}", finished.wall);
        assert!(finished.stderr.contains(told), "{}", finished.stderr);
        let warnings = finished.stderr.matches("WARN").count();
        assert!((1..=2).contains(&warnings), "{}", finished.stderr);
    }
    for (collector, _) in &collectors {
        assert!(
            collector.requests().len() <= 1,
            "it was asked while the process waited"
        );
    }
    // A whole answer of nonsense is an answer.
    let collector = answering(Answer::new(200, vec![0xff; 100_000]));
    let finished = run_traced(&scene, &scene.script("true"), &collector, &[]);
    finished.expect(Status::Succeeded);
    assert_eq!(finished.stderr, "");
}

#[test]
fn a_batch_that_busy_collectors_cannot_follow_drops_spans_and_says_how_many() {
    let scene = Scene::new();
    let collector = Collector::answering(|_, _| Answer::Silence);
    let mut command = scene.host(&["batch", "-j4", "--", "true", "{}"]);
    collector
        .asked_for(&mut command)
        .env("OTEL_BSP_MAX_QUEUE_SIZE", "4")
        .env("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2");
    let lines: String = (0..50).map(|number| format!("{number}\n")).collect();
    let finished = scene.run_command(&mut command, lines.as_bytes());
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert_eq!(finished.stdout.iter().filter(|byte| **byte == b'\n').count(), 50);
    // 100 spans: two were sent, four wait.
    assert_eq!(
        finished.stderr.matches("spans are dropped").count(),
        1,
        "{}",
        finished.stderr
    );
    assert!(
        finished.stderr.contains("94 spans were dropped"),
        "{}",
        finished.stderr
    );
    assert!(
        finished.stderr.contains("6 spans are lost"),
        "{}",
        finished.stderr
    );
}

#[test]
fn nothing_is_opened_unless_the_variables_ask_for_it() {
    let scene = Scene::new();
    let collector = Collector::start();
    let endpoint = format!("http://{}", collector.authority());
    let asked = ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str());
    // Which executable supervises it shows which one this process is.
    let which = scene.script("readlink /proc/$PPID/exe");
    for (variables, executable) in [
        (&[][..], "executor-runtime\n"),
        (&[asked, ("OTEL_SDK_DISABLED", "true")], "executor-runtime\n"),
        (&[asked, ("OTEL_TRACES_EXPORTER", "none")], "executor-runtime\n"),
        (&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")], "executor-runtime\n"),
        (&[("OTEL_SERVICE_NAME", "x")], "executor-runtime\n"),
        (
            &[asked, ("OTEL_TRACES_SAMPLER", "always_off")],
            "executor-runtime-engine\n",
        ),
    ] {
        let finished = run(&scene, &which, variables);
        finished.expect(Status::Succeeded);
        let found = finished.captured();
        assert!(
            found.ends_with(&format!("/{executable}")),
            "{variables:?}: {found}"
        );
    }
    assert!(collector.requests().is_empty());
    // What is not recorded is told all the same, as that.
    let finished = run_traced(
        &scene,
        &scene.script(TELL).metadata("traceparent", CONTEXT),
        &collector,
        &[("OTEL_TRACES_SAMPLER", "always_off")],
    );
    let told = finished.captured();
    assert!(
        told.starts_with(&format!("00-{TRACE}-")) && told.ends_with("-00\n\n"),
        "{told}"
    );
    assert!(collector.requests().is_empty());
}

#[test]
fn variables_that_cannot_be_used_are_told_of() {
    let scene = Scene::new();
    let collector = Collector::start();
    let variables = [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "secret"),
    ];
    let finished = run_traced(&scene, &scene.script("true"), &collector, &variables);
    finished.expect(Status::Succeeded);
    assert!(
        finished
            .stderr
            .contains("OTEL_EXPORTER_OTLP_PROTOCOL is ignored: 'grpc'"),
        "{}",
        finished.stderr
    );
    assert!(
        finished.stderr.contains("OTEL_EXPORTER_OTLP_HEADERS: part 1"),
        "{}",
        finished.stderr
    );
    assert!(!finished.stderr.contains("secret"), "{}", finished.stderr);
    collector.span("run subprocess");

    let finished = run(
        &scene,
        &scene.script("true"),
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", "nowhere")],
    );
    finished.expect(Status::Succeeded);
    assert!(
        finished
            .stderr
            .contains("OTEL_EXPORTER_OTLP_ENDPOINT can't be used"),
        "{}",
        finished.stderr
    );
}

#[test]
fn a_run_goes_on_where_the_executable_that_exports_is_missing() {
    let scene = Scene::new();
    let host = scene.path("executor-runtime");
    copy_executable(&host_binary(), &host);
    let collector = Collector::start();
    let mut command = scene.host_from(&host, &["run", "-"]);
    let invocation = scene.script(TELL).metadata("traceparent", CONTEXT);
    let finished = scene.run_command(collector.asked_for(&mut command), invocation.text().as_bytes());
    finished.expect(Status::Succeeded);
    assert_eq!(finished.captured(), format!("{CONTEXT}\n\n"));
    assert!(
        finished.stderr.contains("no spans are sent"),
        "{}",
        finished.stderr
    );
    assert!(collector.requests().is_empty());
}

#[test]
fn a_signal_reaches_a_run_whose_host_exports() {
    let scene = Scene::new();
    let collector = Collector::start();
    let file = scene.file("invocation.json", scene.script("echo > begun; sleep 600").text());
    let mut command: Command = scene.host(&["run", file.to_str().unwrap()]);
    let child = collector.asked_for(&mut command).spawn().unwrap();
    scene.await_file("begun");
    // SAFETY: no memory is involved.
    unsafe { libc::kill(child.id() as i32, libc::SIGTERM) };
    let finished = scene.finish(child);
    finished.expect(Status::Cancelled);
    assert_eq!(finished.code, Some(128 + libc::SIGTERM));
    eventually("the span", || (!collector.requests().is_empty()).then_some(()));
    assert_eq!(
        collector.span("run subprocess").attributes["error.type"],
        "cancelled"
    );
    scene.assert_nothing_left();
}
