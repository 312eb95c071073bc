//! Where a redirect leads, and with what.

use super::{HttpError, url};
use http::{HeaderMap, Method, StatusCode, Uri, header};

/// One request of a chain of redirects, without its body.
#[derive(Clone, Debug)]
pub(super) struct Hop {
    pub(super) method: Method,
    pub(super) url: Uri,
    pub(super) headers: HeaderMap,
}

#[derive(Debug)]
pub(super) struct Next {
    pub(super) hop: Hop,
    pub(super) drops_body: bool,
}

/// The request that follows an answer; None if the answer is to be returned.
pub(super) fn next(hop: &Hop, status: StatusCode, headers: &HeaderMap) -> Result<Option<Next>, HttpError> {
    let rewrites = matches!(status.as_u16(), 301..=303);
    if !rewrites && !matches!(status.as_u16(), 307 | 308) {
        return Ok(None);
    }
    let Some(location) = headers.get(header::LOCATION) else {
        return Ok(None);
    };
    let unusable = |reason: String| HttpError::Redirect { reason };
    let location = location
        .to_str()
        .map_err(|_| unusable(format!("the location of {status} is not text")))?;
    let url = url::join(&hop.url, location)
        .ok_or_else(|| unusable(format!("to '{}', which is no URL", location.escape_debug())))?;
    if let Err(error) = url::check(&url) {
        return Err(unusable(format!("to '{}': {error}", location.escape_debug())));
    }
    let mut next = Hop { url, ..hop.clone() };
    if rewrites {
        if next.method != Method::HEAD {
            next.method = Method::GET;
        }
        for name in [
            header::CONTENT_LENGTH,
            header::CONTENT_TYPE,
            header::CONTENT_ENCODING,
            header::CONTENT_LANGUAGE,
            header::CONTENT_LOCATION,
        ] {
            next.headers.remove(name);
        }
    }
    if url::origin(&next.url) != url::origin(&hop.url) {
        for name in [header::AUTHORIZATION, header::COOKIE] {
            next.headers.remove(name);
        }
    }
    Ok(Some(Next {
        hop: next,
        drops_body: rewrites,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop(method: Method) -> Hop {
        let mut headers = HeaderMap::new();
        for name in ["authorization", "cookie", "content-type", "x-other"] {
            headers.insert(name, "v".parse().unwrap());
        }
        Hop {
            method,
            url: "http://a.example/dir/x?q=1".parse().unwrap(),
            headers,
        }
    }

    fn follow(method: Method, status: u16, location: &str) -> Result<Option<Next>, HttpError> {
        let mut headers = HeaderMap::new();
        headers.insert("location", location.parse().unwrap());
        next(&hop(method), StatusCode::from_u16(status).unwrap(), &headers)
    }

    #[test]
    fn each_status_has_its_own_rule() {
        for (method, status, expected, drops_body) in [
            (Method::POST, 301, Method::GET, true),
            (Method::POST, 302, Method::GET, true),
            (Method::PUT, 303, Method::GET, true),
            (Method::HEAD, 303, Method::HEAD, true),
            (Method::POST, 307, Method::POST, false),
            (Method::DELETE, 308, Method::DELETE, false),
        ] {
            let next = follow(method.clone(), status, "/y").unwrap().unwrap();
            assert_eq!(next.hop.method, expected, "{method} {status}");
            assert_eq!(next.drops_body, drops_body, "{method} {status}");
            assert_eq!(next.hop.url, "http://a.example/y");
            assert_eq!(next.hop.headers.contains_key("content-type"), !drops_body);
            assert!(next.hop.headers.contains_key("authorization"));
        }
        for status in [200, 300, 304, 305, 404] {
            assert!(follow(Method::GET, status, "/y").unwrap().is_none(), "{status}");
        }
    }

    #[test]
    fn another_origin_gets_no_credentials() {
        for (location, same_origin) in [
            ("http://a.example:80/y", true),
            ("HTTP://A.example/y", true),
            ("https://a.example/y", false),
            ("http://a.example:8080/y", false),
            ("//b.example/y", false),
        ] {
            let headers = follow(Method::GET, 302, location).unwrap().unwrap().hop.headers;
            assert_eq!(headers.contains_key("authorization"), same_origin, "{location}");
            assert_eq!(headers.contains_key("cookie"), same_origin, "{location}");
            assert!(headers.contains_key("x-other"), "{location}");
        }
    }

    #[test]
    fn a_location_that_is_no_web_address_is_an_error() {
        for location in ["ftp://a.example/", "http://", "http://user@", "mailto:a@b"] {
            assert!(matches!(
                follow(Method::GET, 302, location),
                Err(HttpError::Redirect { .. })
            ));
        }
    }
}
