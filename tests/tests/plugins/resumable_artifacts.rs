//! An artifact that a run had begun when its host died: the next run continues it, and makes no part of it twice. A small
//! one; `cargo xtask soak` has 1 GB and 20 deaths.

use executor_runtime_protocol::Status;
use executor_runtime_tests::{
    Invocation, amount, eventually, fixtures,
    installed::Installed,
    scripted::{Answer, Request, Scripted},
};
use sha2::{Digest, Sha256};
use std::{fs, path::PathBuf, sync::Arc, time::Duration};

/// How often the host is killed.
fn deaths() -> usize {
    amount(4, 20)
}

/// How many bytes arrive before it is. They are no multiple of what the plugin makes checkpoints of.
fn part() -> usize {
    amount(700_001, 50_000_001)
}

fn length() -> usize {
    amount(4 << 20, 1 << 30)
}

/// The plugin's.
const STEP: usize = 64 * 1024;

fn downloaders() -> [Installed; 2] {
    [
        fixtures::component("examples-rust"),
        fixtures::native("examples-rust"),
    ]
    .map(|file| {
        // 1 GB is more than an artifact may have by default.
        let limits = "[plugins.examples-rust.limits]\nartifact_bytes = 2147483648\n";
        Installed::file("download", &file).configured(limits)
    })
}

fn file() -> Arc<Vec<u8>> {
    // So that no part of it is like another.
    let numbers = (0..length() as u32 / 4).flat_map(|number| number.wrapping_mul(0x9e37_79b9).to_le_bytes());
    Arc::new(numbers.collect())
}

/// Where a request's range begins.
fn begin(request: &Request) -> usize {
    let range = request.header("range");
    let begin = range
        .strip_prefix("bytes=")
        .and_then(|range| range.strip_suffix('-'));
    begin
        .and_then(|begin| begin.parse().ok())
        .expect("it asks for a range")
}

/// Answers the first `parts` requests with a part of what they ask for, and the others with all of it.
fn serve(file: &Arc<Vec<u8>>, parts: usize) -> Scripted {
    let file = Arc::clone(file);
    Scripted::start(move |request, number| {
        let rest = &file[begin(request)..];
        if number >= parts {
            return Answer::new(206, rest);
        }
        let head = format!(
            "HTTP/1.1 206 Partial Content\r\ncontent-length: {}\r\n\r\n",
            rest.len()
        );
        Answer::Endless {
            head: [head.as_bytes(), &rest[..part()]].concat(),
            piece: Vec::new(),
            pause: Duration::from_secs(3600),
        }
    })
}

fn download(place: &Installed, server: &Scripted) -> Invocation {
    place
        .invocation(&[("download.url", &server.url("/"))])
        .id("the-run")
}

fn artifacts(place: &Installed) -> PathBuf {
    place.scene.capture("the-run").join("artifacts")
}

/// Has a host run it, and kills that host once all that the server has sent is in the artifact.
fn interrupt(place: &Installed, invocation: &Invocation, server: &Scripted, number: usize) {
    let mut host = place.start(invocation);
    server.wait_for(number + 1);
    let sent = begin(&server.requests()[number]) + part();
    let partial = artifacts(place).join(".file.partial");
    eventually("what was sent being written", || {
        let written = fs::metadata(&partial).ok()?;
        (written.len() >= sent as u64).then_some(())
    });
    host.kill().unwrap();
    host.wait().unwrap();
    // The lock goes with the last of its processes.
    place.scene.assert_nothing_left_within(Duration::from_secs(10));
}

#[test]
fn a_download_survives_its_host_again_and_again_and_asks_for_each_byte_about_once() {
    for place in downloaders() {
        download_survives(&place, deaths(), 16 * 1024);
    }
}

/// Interrupts a download so many times, of a plugin that reads at most so many bytes at a time.
pub(super) fn download_survives(place: &Installed, deaths: usize, read: usize) {
    let file = file();
    let server = serve(&file, deaths);
    let invocation = download(place, &server);
    for number in 0..deaths {
        interrupt(place, &invocation, &server, number);
    }
    let result = place.run(&invocation).expect(Status::Succeeded);
    let [artifact] = &result.artifacts[..] else {
        panic!("{result:#?}")
    };
    assert_eq!(artifact.artifact_id, "file");
    assert_eq!(artifact.kind, "download");
    assert_eq!(artifact.metadata["size_bytes"], length().to_string());
    assert_eq!(
        artifact.metadata["sha256"],
        format!("{:x}", Sha256::digest(&*file))
    );
    assert!(fs::read(&artifact.path).unwrap() == *file);
    assert_eq!(result.metadata.get("artifacts_omitted"), None);
    let begins: Vec<_> = server.requests().iter().map(begin).collect();
    assert_eq!(begins.len(), deaths + 1);
    assert_eq!(begins[0], 0);
    for pair in begins.windows(2) {
        let again = pair[0] + part() - pair[1];
        assert!(
            again <= STEP + read,
            "{again} bytes are asked for again: {begins:?}"
        );
    }
    let sent = deaths * part() + length() - begins[deaths];
    assert!(
        sent <= length() + deaths * (STEP + read),
        "{sent} of {}",
        length()
    );
    // Nothing else is left, and the next run begins anew.
    assert_eq!(fs::read_dir(artifacts(place)).unwrap().count(), 1);
    let result = place.run(&invocation).expect(Status::Succeeded);
    assert_eq!(result.metadata["download.begin"], "0");
}

#[test]
fn what_can_not_be_resumed_starts_over_and_what_is_not_resumed_is_removed() {
    let file = file();
    for place in downloaders() {
        for shorten in [true, false] {
            let server = serve(&file, 1);
            let invocation = download(&place, &server);
            interrupt(&place, &invocation, &server, 0);
            let partial = artifacts(&place).join(".file.partial");
            fs::write(artifacts(&place).join(".other.partial"), "begun").unwrap();
            if shorten {
                fs::File::options()
                    .write(true)
                    .open(&partial)
                    .and_then(|partial| partial.set_len(1000))
                    .unwrap();
            } else {
                fs::remove_file(&partial).unwrap();
            }
            let finished = place.run(&invocation);
            let result = finished.expect(Status::Succeeded);
            assert_eq!(result.metadata["download.begin"], "0");
            assert!(fs::read(&result.artifacts[0].path).unwrap() == *file);
            let left: Vec<_> = fs::read_dir(artifacts(&place))
                .unwrap()
                .map(|entry| entry.unwrap().file_name())
                .collect();
            assert_eq!(left, ["file"]);
        }
    }
}

#[test]
fn the_limit_of_an_artifact_counts_what_was_written_before() {
    let file = file();
    for place in downloaders() {
        let limit = part() + 1000;
        let place = place.configured(&format!(
            "[plugins.examples-rust.limits]\nartifact_bytes = {limit}\n"
        ));
        let server = serve(&file, 1);
        let invocation = download(&place, &server);
        interrupt(&place, &invocation, &server, 0);
        let result = place.run(&invocation).expect(Status::Failed);
        let summary = result.error_summary.unwrap();
        assert!(summary.contains("limit"), "{summary}");
        assert_eq!(server.requests().len(), 2);
    }
}
