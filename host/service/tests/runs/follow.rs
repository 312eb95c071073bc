//! What followers of a run are told: its events and its output.

use super::*;

#[tokio::test]
async fn followers_get_every_event_in_order_whenever_they_come() {
    let directory = tempfile::tempdir().unwrap();
    let Opened { runs, .. } = open(directory.path(), 2, 10).await;
    submit(&runs, invocation("it", "report")).await;
    let early = all_events(&runs, "it", 0).await;
    let late = all_events(&runs, "it", 0).await;
    for events in [&early, &late] {
        assert!(events.is_sorted_by(|one, next| one.sequence < next.sequence));
        let kinds: Vec<_> = events.iter().map(|event| event.kind).collect();
        assert_eq!(kinds[..2], [EventKind::Accepted, EventKind::Started]);
        assert_eq!(kinds.last(), Some(&EventKind::Ended));
        let last = events[events.len() - 2].body["message"].as_str().unwrap();
        assert_eq!(last, "step 99");
    }
    // Progress that was overtaken is not kept.
    assert_eq!(late.len(), 4);
    let again = all_events(&runs, "it", late[1].sequence).await;
    assert_eq!(again, late[2..]);
    assert_eq!(late[3].body["status"], "succeeded");
    // After a number that no event has, there is none to wait for.
    assert_eq!(all_events(&runs, "it", 9999).await, []);
}

#[tokio::test]
async fn the_events_of_a_run_that_reports_too_much_are_bounded_and_the_newest() {
    let directory = tempfile::tempdir().unwrap();
    let Opened { runs, .. } = open(directory.path(), 2, 10).await;
    submit(&runs, invocation("it", "flood")).await;
    // One that is there from the beginning, and one that comes late.
    let early = all_events(&runs, "it", 0).await;
    let mut seen = Vec::new();
    for events in [&early, &all_events(&runs, "it", 0).await] {
        assert!(events.is_sorted_by(|one, next| one.sequence < next.sequence));
        assert_eq!(events.last().unwrap().kind, EventKind::Ended);
        let of = |kind| -> Vec<_> { events.iter().filter(|event| event.kind == kind).collect() };
        let lines: Vec<_> = of(EventKind::Log)
            .iter()
            .map(|event| event.body["line"].as_u64().unwrap())
            .collect();
        assert!(lines.is_sorted_by(|one, next| one < next));
        assert_eq!(lines.last(), Some(&FLOOD));
        assert_eq!(of(EventKind::Checkpoint).last().unwrap().body["bytes"], FLOOD);
        let progress = of(EventKind::Progress);
        assert_eq!(progress.last().unwrap().body["message"], format!("step {FLOOD}"));
        for number in 0..7 {
            let name = format!("artifact-{number}");
            let of_it: Vec<_> = of(EventKind::Artifact)
                .into_iter()
                .filter(|event| event.body["artifact_id"] == *name)
                .collect();
            let last = of_it.last().unwrap();
            assert_eq!(last.body["finished"], true, "{last:?}");
            assert!(last.body["bytes"].as_u64().unwrap() > FLOOD - 7, "{last:?}");
        }
        seen.push(events.len());
    }
    // What is kept: lines, artifacts, one checkpoint and progress, and what there always is.
    assert_eq!(seen[1], 200 + 1000 + 2 + 3);
    // The same with a connection that is lost again and again.
    let (mut after, mut again, mut is_over) = (0, Vec::new(), false);
    while !is_over {
        let mut follower = runs.events("it", after).await.unwrap().unwrap();
        for _ in 0..10 {
            let Some(event) = follower.next().await.unwrap() else {
                is_over = true;
                break;
            };
            after = event.sequence;
            again.push(event);
        }
    }
    assert_eq!(again, all_events(&runs, "it", 0).await);
}

#[test]
fn the_page_for_orchestrators_lists_the_events() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ORCHESTRATORS.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, table) = page.split_once("<!-- test: events -->\n").unwrap();
    let rows: Vec<_> = table
        .lines()
        .skip(2)
        .take_while(|line| !line.is_empty())
        .collect();
    let expected: Vec<_> = EventKind::ALL
        .iter()
        .map(|(kind, meaning)| format!("| `{}` | {} |", kind.as_str(), meaning.trim()))
        .collect();
    assert_eq!(rows, expected);
}

#[tokio::test]
async fn output_is_followed_byte_for_byte_while_it_grows() {
    let directory = tempfile::tempdir().unwrap();
    let Opened { runs, .. } = open(&directory.path().join("state"), 2, 10).await;
    let document = json!({
        "invocation_id": "growing", "runtime_name": "test", "runtime_kind": "subprocess",
        "working_directory": directory.path(), "timeout_seconds": 60,
        "command": ["sh", "-c", "for i in $(seq 1 200); do echo line $i; sleep 0.002; done; echo end >&2"],
    });
    let invocation = RuntimeInvocation::from_json(document.to_string().as_bytes()).unwrap();
    submit(&runs, invocation).await;
    let mut files = [
        runs.output("growing", OutputStream::Stdout)
            .await
            .unwrap()
            .unwrap(),
        runs.output("growing", OutputStream::Stderr)
            .await
            .unwrap()
            .unwrap(),
    ];
    let mut texts = [Vec::new(), Vec::new()];
    let mut pieces = 0;
    for (file, text) in files.iter_mut().zip(&mut texts) {
        let mut goes_on = true;
        loop {
            let mut buffer = [0; 1000];
            let read = file.read_at(&mut buffer, text.len() as u64).unwrap();
            text.extend_from_slice(&buffer[..read]);
            pieces += usize::from(read > 0);
            if read == 0 {
                if !goes_on {
                    break;
                }
                goes_on = tokio::time::timeout(LIMIT, file.grown()).await.unwrap();
            }
        }
    }
    let expected: String = (1..=200).map(|n| format!("line {n}\n")).collect();
    assert_eq!(String::from_utf8_lossy(&texts[0]), expected);
    assert_eq!(texts[1], b"end\n");
    assert!(pieces > 3, "{pieces}");
    let events = all_events(&runs, "growing", 0).await;
    let output = events
        .iter()
        .rfind(|event| event.kind == EventKind::Output)
        .unwrap();
    assert_eq!(output.body["stdout"], expected.len());
    assert_eq!(output.body["stderr"], 4);
    // And when it has ended.
    let file = runs
        .output("growing", OutputStream::Stdout)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(file.length().unwrap(), expected.len() as u64);
    assert!(
        runs.output("other", OutputStream::Stdout)
            .await
            .unwrap()
            .is_none()
    );
    assert!(runs.artifact("growing", "../stdout.txt").await.unwrap().is_none());
}
