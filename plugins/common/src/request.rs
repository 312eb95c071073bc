//! A request made of metadata keys. What is wrong with one is `rejected`, and the key named; the value is not
//! repeated, because headers hold secrets.

use crate::body;
use executor_runtime_sdk::{
    Body, Invocation, RunError,
    http_types::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header},
};

/// The request that `http.url`, `http.method` (default POST), `http.header.*`, `http.body` and
/// `http.body_format` describe.
///
/// # Errors
/// `rejected`: which key is wrong, and how.
pub fn kickoff_request(invocation: &Invocation) -> Result<Request<Body>, RunError> {
    let url = url("http.url", invocation.required("http.url")?)?;
    let (body, content_type) = body::body(invocation)?;
    let mut request = Request::new(body);
    *request.uri_mut() = url;
    *request.method_mut() = method(invocation, "http.method")?;
    add_headers(invocation, "http.header.", request.headers_mut())?;
    if let Some(content_type) = content_type {
        let value = HeaderValue::from_static(content_type);
        request.headers_mut().entry(header::CONTENT_TYPE).or_insert(value);
    }
    Ok(request)
}

/// The URL in the value of `key`.
///
/// # Errors
/// `rejected`.
pub fn url(key: &str, text: &str) -> Result<Uri, RunError> {
    let url: Uri = text
        .parse()
        .map_err(|error| invalid(key, &format!("is not a URL: {error}")))?;
    if !matches!(url.scheme_str(), Some("http" | "https")) || url.host().is_none_or(str::is_empty) {
        return Err(invalid(key, "is not an absolute http or https URL"));
    }
    Ok(url)
}

/// The method in the value of `key`, in upper case; POST without the key.
///
/// # Errors
/// `rejected`.
pub fn method(invocation: &Invocation, key: &str) -> Result<Method, RunError> {
    method_or(invocation, key, Method::POST)
}

/// The method in the value of `key`, in upper case; `default` without the key.
///
/// # Errors
/// `rejected`.
pub fn method_or(invocation: &Invocation, key: &str, default: Method) -> Result<Method, RunError> {
    let Some(name) = invocation.text(key) else {
        return Ok(default);
    };
    let name = name.trim().to_ascii_uppercase();
    match Method::from_bytes(name.as_bytes()) {
        Ok(Method::CONNECT) => Err(invalid(key, "is CONNECT, which is not supported")),
        Ok(method) => Ok(method),
        Err(_) => Err(invalid(key, "is not an HTTP method")),
    }
}

/// Sets the headers in the keys that begin with `prefix`, in place of those of the same name in `headers`.
///
/// # Errors
/// `rejected`.
pub fn add_headers(invocation: &Invocation, prefix: &str, headers: &mut HeaderMap) -> Result<(), RunError> {
    for (name, value) in invocation.with_prefix(prefix) {
        let key = format!("{prefix}{name}");
        let name = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| invalid(&key, "does not end with a header name"))?;
        let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| {
            invalid(
                &key,
                "contains a character that is not allowed in a header, such as a line break",
            )
        })?;
        headers.insert(name, value);
    }
    Ok(())
}

fn invalid(key: &str, problem: &str) -> RunError {
    RunError::rejected("invalid_metadata", format!("metadata key '{key}' {problem}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invocation() -> Invocation {
        Invocation::new("http").with("http.url", "http://localhost/x")
    }

    #[test]
    fn the_metadata_makes_the_request() {
        let request = kickoff_request(
            &invocation()
                .with("http.method", "put")
                .with("http.body", "{}")
                .with("http.header.X-Key", "grün"),
        )
        .unwrap();
        assert_eq!(request.method(), Method::PUT);
        assert_eq!(request.uri(), "http://localhost/x");
        assert_eq!(request.headers()["x-key"].as_bytes(), "grün".as_bytes());
        assert_eq!(request.headers()["content-type"], "application/json");
        assert_eq!(kickoff_request(&invocation()).unwrap().method(), Method::POST);
    }

    #[test]
    fn a_content_type_of_the_callers_own_wins() {
        let request = kickoff_request(
            &invocation()
                .with("http.body", "{}")
                .with("http.header.content-Type", "application/ld+json"),
        )
        .unwrap();
        let values: Vec<_> = request.headers().get_all("content-type").iter().collect();
        assert_eq!(values, ["application/ld+json"]);
    }

    #[test]
    fn what_is_wrong_is_named_without_its_value() {
        let secret = "s3cret\r\nx: y";
        for (key, value) in [
            ("http.url", "s3cret"),
            ("http.url", "ftp://s3cret/"),
            ("http.url", "http://"),
            ("http.method", "s3cret s3cret"),
            ("http.method", "connect"),
            ("http.header.X-Key", secret),
            ("http.header.X Key", "s3cret"),
        ] {
            let error = kickoff_request(&invocation().with(key, value)).unwrap_err();
            assert_eq!(error.kind(), "invalid_metadata");
            assert!(error.summary().contains(&format!("'{key}'")), "{error}");
            assert!(!error.summary().contains("s3cret"), "{error}");
        }
        let error = kickoff_request(&Invocation::new("http")).unwrap_err();
        assert_eq!(error.summary(), "metadata key 'http.url' is missing");
    }
}
