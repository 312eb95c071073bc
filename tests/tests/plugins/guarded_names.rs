//! A name is no detour to a link-local or metadata address: through the host's binary, with names that lead there
//! and a server that waits at the address for whoever comes.

use executor_runtime_protocol::{RuntimeResult, Status};
use executor_runtime_tests::{
    installed::Installed,
    namespace::with_hosts,
    scripted::{Answer, Scripted},
};
use std::net::Ipv4Addr;

const LINK_LOCAL: Ipv4Addr = Ipv4Addr::new(169, 254, 10, 10);

/// Names and what they lead to.
const HOSTS: &str = "\
127.0.0.1 localhost good.test
169.254.10.10 link-local.test
169.254.169.254 metadata.test
100.100.100.200 other-metadata.test
fe80::1 link-local-6.test
fd00:ec2::254 metadata-6.test
127.0.0.1 good-first.test
169.254.10.10 good-first.test
169.254.10.10 good-last.test
127.0.0.1 good-last.test
";

/// Runs `body`, that of the test function `test`, where these names lead there.
fn in_namespace(test: impl Fn(), body: impl FnOnce()) {
    // What it takes is built where there is a network.
    drop(Installed::component("http"));
    with_hosts(test, HOSTS, LINK_LOCAL, body);
}

fn summary(result: &RuntimeResult) -> &str {
    result.error_summary.as_deref().unwrap_or_default()
}

/// What nobody may reach.
fn trap(address: &str) -> Scripted {
    Scripted::at(address, |_, _| Answer::new(200, "the machine's credentials"))
}

fn get(installed: &Installed, url: &str) -> executor_runtime_tests::Finished {
    let invocation = installed
        .invocation(&[("http.url", url), ("http.method", "GET")])
        .with("timeout_seconds", 20);
    installed.run(&invocation)
}

#[track_caller]
fn denied(installed: &Installed, url: &str, authority: &str, leads_to: &str) {
    let result = get(installed, url).expect(Status::Failed);
    assert_eq!(
        result.metadata["error.kind"],
        "egress_denied",
        "{url}: {}",
        summary(&result)
    );
    let expected =
        format!("plugin 'http' may not reach '{authority}': the name resolves to {leads_to}, a link-local");
    assert!(
        summary(&result).starts_with(&expected),
        "{url}: {}",
        summary(&result)
    );
}

#[test]
fn a_name_that_leads_to_a_guarded_address_is_denied() {
    in_namespace(a_name_that_leads_to_a_guarded_address_is_denied, || {
        let trap = trap("169.254.10.10:0");
        let port = trap.port();
        for installed in [
            Installed::component("http"),
            Installed::component("http").configured("[plugins.http]\nallow_hosts = [\"*:*\"]\n"),
            Installed::component("http").configured("[plugins.http]\nallow_hosts = [\"*.test:*\"]\n"),
        ] {
            for (name, leads_to) in [
                ("link-local.test", "169.254.10.10"),
                ("LINK-LOCAL.test", "169.254.10.10"),
                ("metadata.test", "169.254.169.254"),
                ("other-metadata.test", "100.100.100.200"),
                ("link-local-6.test", "fe80::1"),
                ("metadata-6.test", "fd00:ec2::254"),
                // Numbers that the C library takes for addresses.
                ("2851998218", "169.254.10.10"),
                ("0xa9.254.2570", "169.254.10.10"),
            ] {
                let authority = format!("{}:{port}", name.to_lowercase());
                denied(
                    &installed,
                    &format!("http://{name}:{port}/"),
                    &authority,
                    leads_to,
                );
                // A number is no name for TLS: nobody is asked.
                if name.ends_with("test") {
                    denied(
                        &installed,
                        &format!("https://{name}:{port}/"),
                        &authority,
                        leads_to,
                    );
                }
            }
        }
        assert!(trap.requests().is_empty());
    });
}

#[test]
fn of_a_name_with_good_and_guarded_addresses_only_the_good_are_used() {
    in_namespace(
        of_a_name_with_good_and_guarded_addresses_only_the_good_are_used,
        || {
            let good = Scripted::at("127.0.0.1:0", |_, _| Answer::new(200, "good"));
            let trap_at_its_port = trap(&format!("169.254.10.10:{}", good.port()));
            let trap_alone = trap("169.254.10.10:0");
            let installed = Installed::component("http");
            for name in ["good-first.test", "good-last.test"] {
                get(&installed, &format!("http://{name}:{}/", good.port())).expect(Status::Succeeded);
                // Where the good one is closed, the other is still no way.
                let finished = get(&installed, &format!("http://{name}:{}/", trap_alone.port()));
                let result = finished.expect(Status::Failed);
                assert_eq!(
                    summary(&result),
                    format!("http error: connection refused by {name}:{}", trap_alone.port())
                );
            }
            assert_eq!(good.requests().len(), 2);
            assert!(trap_at_its_port.requests().is_empty() && trap_alone.requests().is_empty());
        },
    );
}

#[test]
fn a_redirect_is_no_detour_either() {
    in_namespace(a_redirect_is_no_detour_either, || {
        let trap = trap("169.254.10.10:0");
        let port = trap.port();
        let redirecting = Scripted::start(|request, _| {
            let to = request.header("x-to").to_owned();
            Answer::new(302, "").header("location", to)
        });
        let installed = Installed::component("http")
            .configured("[plugins.http]\nallow_hosts = [\"*:*\", \"*.test:*\"]\n");
        for (host, words) in [
            ("link-local.test", "the name resolves to 169.254.10.10"),
            ("2851998218", "the name resolves to 169.254.10.10"),
            // An address that matches no pattern, because only one that is that very address would.
            ("169.254.10.10", "no URL of this invocation names it"),
            ("[::ffff:169.254.10.10]", "no URL of this invocation names it"),
        ] {
            let invocation = installed
                .invocation(&[
                    ("http.url", &redirecting.url("/")),
                    ("http.header.X-To", &format!("http://{host}:{port}/")),
                ])
                .with("timeout_seconds", 20);
            let result = installed.run(&invocation).expect(Status::Failed);
            assert_eq!(
                result.metadata["error.kind"],
                "egress_denied",
                "{host}: {}",
                summary(&result)
            );
            assert!(summary(&result).contains(words), "{host}: {}", summary(&result));
        }
        assert_eq!(redirecting.requests().len(), 4);
        assert!(trap.requests().is_empty());
    });
}

#[test]
fn named_literally_it_is_reached() {
    in_namespace(named_literally_it_is_reached, || {
        let server = trap("169.254.10.10:0");
        let installed = Installed::component("http");
        get(&installed, &server.url("/")).expect(Status::Succeeded);
        let redirecting = {
            let to = server.url("/");
            Scripted::start(move |_, _| Answer::new(302, "").header("location", &to))
        };
        let installed = installed.configured("[plugins.http]\nallow_hosts = [\"169.254.10.10:*\"]\n");
        get(&installed, &redirecting.url("/")).expect(Status::Succeeded);
        assert_eq!(server.requests().len(), 2);
    });
}
