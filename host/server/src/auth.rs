//! Who may use the API over TCP.
//!
//! A web page that a user looks at can send requests to loopback addresses, under a name of its own that it has resolve to
//! them (DNS rebinding). Such requests have that name as their host, or the page as their origin, and are refused before
//! anything else is looked at. Everyone else needs the token.

use crate::{listen::Token, problem::Problem};
use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{
    HeaderValue, StatusCode,
    header::{AUTHORIZATION, CONNECTION, HOST, ORIGIN, WWW_AUTHENTICATE},
    uri::Authority,
};
use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

/// The one path that needs no token.
const HEALTH: &str = "/healthz";

/// What a request over TCP has to have.
pub(crate) struct Guard {
    token: Arc<Token>,
    hosts: Hosts,
}

impl Guard {
    /// For what listens at this address.
    pub(crate) fn new(token: Arc<Token>, address: SocketAddr, names: &[String]) -> Self {
        let names = names.iter().map(|name| name.to_ascii_lowercase());
        Self {
            token,
            hosts: Hosts {
                address: address.ip(),
                names: names.chain(["localhost".to_owned()]).collect(),
            },
        }
    }

    fn check(&self, request: &Request) -> Result<(), Problem> {
        check_one_host(request)?;
        self.check_host(request)?;
        check_origin(request)?;
        if request.uri().path() == HEALTH || self.has_token(request) {
            return Ok(());
        }
        let problem = Problem::new(
            StatusCode::UNAUTHORIZED,
            "the token is missing or wrong; send 'Authorization: Bearer TOKEN'",
        );
        Err(problem.with_header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")))
    }

    fn check_host(&self, request: &Request) -> Result<(), Problem> {
        let mut headers = request.headers().get_all(HOST).iter();
        let header = headers.next().and_then(|host| host.to_str().ok());
        let header = header.and_then(|host| host.parse::<Authority>().ok());
        let is_known = |authority: &Authority| self.hosts.has(authority.host());
        // A request for a whole URL has a host there, too.
        let known = header.as_ref().is_some_and(is_known) && request.uri().authority().is_none_or(is_known);
        if known {
            return Ok(());
        }
        Err(Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            "the Host header is not an address or name of this host; `serve --allow-host NAME` allows more",
        ))
    }

    fn has_token(&self, request: &Request) -> bool {
        let mut headers = request.headers().get_all(AUTHORIZATION).iter();
        let (Some(header), None) = (headers.next(), headers.next()) else {
            return false;
        };
        let given = header.as_bytes();
        match given.split_at_checked(7) {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => {
                self.token.is(token.trim_ascii())
            }
            _ => false,
        }
    }
}

/// Refuses a request that names several hosts: each reader could take another one of them for the right one (RFC 9112,
/// section 3.2).
fn check_one_host(request: &Request) -> Result<(), Problem> {
    match request.headers().get_all(HOST).iter().count() {
        0 | 1 => Ok(()),
        _ => Err(Problem::bad_request("the request has several Host headers")),
    }
}

/// Refuses what a web page sends.
fn check_origin(request: &Request) -> Result<(), Problem> {
    if request.headers().contains_key(ORIGIN) {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "requests from web pages are refused",
        ));
    }
    Ok(())
}

/// The names that what listens is known by.
struct Hosts {
    address: IpAddr,
    names: BTreeSet<String>,
}

impl Hosts {
    fn has(&self, host: &str) -> bool {
        let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        match literal.unwrap_or(host).parse::<IpAddr>() {
            // Where it listens at every address of the machine, each is one of its own; a page can't have one as its name.
            Ok(address) => {
                let address = address.to_canonical();
                address.is_loopback()
                    || address == self.address.to_canonical()
                    || self.address.is_unspecified()
            }
            Err(_) => self.names.contains(&host.to_ascii_lowercase()),
        }
    }
}

/// Lets a request over TCP pass if it has what it needs. Where it has not, the connection ends.
pub(crate) async fn guarded(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    match guard.check(&request) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem
            .with_header(CONNECTION, HeaderValue::from_static("close"))
            .into_response(),
    }
}

/// Lets a request over the Unix socket pass unless a web page has sent it, by way of some proxy.
pub(crate) async fn local(request: Request, next: Next) -> Response {
    match check_one_host(&request).and_then(|()| check_origin(&request)) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    const TOKEN: &str = "0123456789abcdef";

    fn guard(address: &str) -> Guard {
        let token = Arc::new(Token::new(TOKEN.as_bytes().to_vec()));
        Guard::new(token, address.parse().unwrap(), &["Build.Example".to_owned()])
    }

    fn request(uri: &str, headers: &[(&str, &str)]) -> Request {
        let mut request = http::Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Body::empty()).unwrap()
    }

    #[test]
    fn only_the_names_that_are_listened_on_are_answered() {
        for (address, host, known) in [
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "127.1.2.3", true),
            ("127.0.0.1:80", "[::1]:9", true),
            ("127.0.0.1:80", "LOCALHOST:1", true),
            ("127.0.0.1:80", "build.example", true),
            ("127.0.0.1:80", "evil.example", false),
            ("127.0.0.1:80", "localhost.evil.example", false),
            ("127.0.0.1:80", "127.0.0.1.evil.example", false),
            ("127.0.0.1:80", "10.0.0.1", false),
            ("127.0.0.1:80", "", false),
            ("10.0.0.1:80", "10.0.0.1:80", true),
            ("10.0.0.1:80", "[::ffff:10.0.0.1]", true),
            ("10.0.0.1:80", "10.0.0.2", false),
            ("0.0.0.0:80", "10.0.0.2", true),
            ("0.0.0.0:80", "evil.example", false),
        ] {
            let checked = guard(address).check_host(&request("/", &[("host", host)]));
            assert_eq!(checked.is_ok(), known, "{host} at {address}");
        }
        let guard = guard("127.0.0.1:80");
        let host = ("host", "localhost");
        assert!(guard.check_host(&request("/", &[])).is_err());
        assert!(check_one_host(&request("/", &[host, host])).is_err());
        assert!(check_one_host(&request("/", &[host])).is_ok());
        assert!(
            guard
                .check_host(&request("http://evil.example/", &[host]))
                .is_err()
        );
        assert!(guard.check_host(&request("http://localhost/", &[host])).is_ok());
    }

    #[test]
    fn only_the_token_is_the_token() {
        let guard = guard("127.0.0.1:80");
        for (header, right) in [
            ("Bearer 0123456789abcdef", true),
            ("bearer  0123456789abcdef ", true),
            ("Bearer 0123456789abcdeF", false),
            ("Bearer 0123456789abcde", false),
            ("Bearer 0123456789abcdef0", false),
            ("Bearer ", false),
            ("Bearer", false),
            ("", false),
            ("Basic 0123456789abcdef", false),
            ("0123456789abcdef", false),
        ] {
            let request = request("/v1/runs", &[("authorization", header)]);
            assert_eq!(guard.has_token(&request), right, "{header}");
        }
        let twice = ("authorization", "Bearer 0123456789abcdef");
        assert!(!guard.has_token(&request("/", &[twice, twice])));
    }

    #[test]
    fn a_page_is_refused_whatever_it_has() {
        let guard = guard("127.0.0.1:80");
        let headers = [
            ("host", "localhost"),
            ("authorization", "Bearer 0123456789abcdef"),
            ("origin", "null"),
        ];
        assert!(guard.check(&request("/v1/runs", &headers)).is_err());
        assert!(guard.check(&request("/v1/runs", &headers[..2])).is_ok());
        assert!(guard.check(&request("/healthz", &headers[..1])).is_ok());
        assert!(guard.check(&request("/v1/runs", &headers[..1])).is_err());
    }
}
