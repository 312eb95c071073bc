//! URLs: what can be requested, and what a relative reference means (RFC 3986, section 5).

use super::HttpError;
use http::Uri;
use std::fmt::{self, Write as _};

/// `url` with these names and values in its query, after what is there. All but letters, digits and `-._~` in them is
/// percent-encoded.
///
/// ```
/// use executor_runtime_sdk::http::with_query;
///
/// let url = with_query("https://api.example.com/runs?all", [("name", "a b&c"), ("page", "2")]);
/// assert_eq!(url, "https://api.example.com/runs?all&name=a%20b%26c&page=2");
/// ```
pub fn with_query<N: AsRef<str>, V: fmt::Display>(
    url: &str,
    pairs: impl IntoIterator<Item = (N, V)>,
) -> String {
    let (url, fragment) = url.find('#').map_or((url, ""), |at| url.split_at(at));
    let mut built = url.to_owned();
    for (name, value) in pairs {
        match built.find('?') {
            None => built.push('?'),
            Some(_) if built.ends_with(['?', '&']) => {}
            Some(_) => built.push('&'),
        }
        encode(name.as_ref(), &mut built);
        built.push('=');
        encode(&value.to_string(), &mut built);
    }
    built + fragment
}

/// Adds `text` with everything percent-encoded that means something in a URL (RFC 3986, section 2.3).
fn encode(text: &str, into: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => into.push(byte.into()),
            // Writing to a string can't fail.
            _ => drop(write!(into, "%{byte:02X}")),
        }
    }
}

/// Whether a URL can be requested.
pub(super) fn check(url: &Uri) -> Result<(), HttpError> {
    let refuse = |reason: &str| {
        Err(HttpError::InvalidRequest {
            reason: format!("'{}' {reason}", shown(&url.to_string())),
        })
    };
    match url.scheme_str() {
        Some("http" | "https") => {}
        Some(_) => return refuse("is neither http nor https"),
        None => return refuse("is not absolute"),
    }
    match url.authority() {
        None => refuse("has no host"),
        Some(authority) if authority.host().is_empty() => refuse("has no host"),
        Some(authority) if authority.as_str().contains('@') => {
            refuse("contains a user name or password; use the authorization header")
        }
        Some(_) => Ok(()),
    }
}

/// Scheme, host and port: what credentials belong to.
pub(super) fn origin(url: &Uri) -> (Option<String>, Option<String>, Option<u16>) {
    let scheme = url.scheme_str().map(str::to_ascii_lowercase);
    let standard_port = if scheme.as_deref() == Some("https") {
        443
    } else {
        80
    };
    (
        scheme,
        url.host().map(str::to_ascii_lowercase),
        url.port_u16().or(Some(standard_port)),
    )
}

/// A URL as it may be shown: scheme, host, port and path. A query may hold secrets.
pub(super) fn without_query(url: &Uri) -> String {
    let origin = format!(
        "{}://{}",
        url.scheme_str().unwrap_or_default(),
        url.host().unwrap_or_default()
    );
    match url.port_u16() {
        Some(port) => format!("{origin}:{port}{}", url.path()),
        None => format!("{origin}{}", url.path()),
    }
}

/// What is no usable URL, as it may be shown: without user name, password and query.
pub(super) fn shown(text: &str) -> String {
    let text = text.find(['?', '#']).map_or(text, |at| &text[..at]);
    let (scheme, rest) = text.find("//").map_or(("", text), |at| text.split_at(at + 2));
    let authority = rest.find('/').unwrap_or(rest.len());
    let rest = rest[..authority].rfind('@').map_or(rest, |at| &rest[at + 1..]);
    format!("{}{}", scheme.escape_debug(), rest.escape_debug())
}

/// The URL that `reference` means, seen from `base`; None if it is none.
pub(super) fn join(base: &Uri, reference: &str) -> Option<Uri> {
    let reference = reference.split('#').next().unwrap_or_default().trim();
    let scheme = base.scheme_str()?;
    let authority = base.authority()?;
    let path = base.path();
    let absolute = if has_scheme(reference) {
        reference.to_owned()
    } else if reference.starts_with("//") {
        format!("{scheme}:{reference}")
    } else {
        let target = if reference.is_empty() {
            base.path_and_query()
                .map_or("/", |target| target.as_str())
                .to_owned()
        } else if reference.starts_with('?') {
            format!("{path}{reference}")
        } else {
            let (relative, query) = match reference.split_once('?') {
                Some((relative, query)) => (relative, Some(query)),
                None => (reference, None),
            };
            let merged = if relative.starts_with('/') {
                relative.to_owned()
            } else {
                let directory = path.rfind('/').map_or("/", |slash| &path[..=slash]);
                format!("{directory}{relative}")
            };
            let mut target = without_dot_segments(&merged);
            if let Some(query) = query {
                target.push('?');
                target.push_str(query);
            }
            target
        };
        format!("{scheme}://{authority}{target}")
    };
    absolute.parse().ok()
}

fn has_scheme(reference: &str) -> bool {
    let end = reference.find([':', '/', '?']).unwrap_or(0);
    reference[end..].starts_with(':')
        && reference.starts_with(|c: char| c.is_ascii_alphabetic())
        && reference[..end]
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
}

fn without_dot_segments(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if last {
                    kept.push("");
                }
            }
            _ => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_of_a_url_holds_no_secret() {
        for (url, expected) in [
            ("https://user:pass@example.com/a?key=x#y", "https://example.com/a"),
            ("ftp://example.com?key=x", "ftp://example.com"),
            ("/a@b?key=x", "/a@b"),
            ("https://a@b@c", "https://c"),
            ("http://a b/\u{7}?x", "http://a b/\\u{7}"),
        ] {
            assert_eq!(shown(url), expected);
        }
    }

    #[test]
    fn a_query_is_added_to_what_is_there() {
        for (url, expected) in [
            ("http://h", "http://h?a=1&b%3D=%C3%A4%2B"),
            ("http://h/p?", "http://h/p?a=1&b%3D=%C3%A4%2B"),
            ("http://h/p?x=1", "http://h/p?x=1&a=1&b%3D=%C3%A4%2B"),
            ("http://h/p?x=1&", "http://h/p?x=1&a=1&b%3D=%C3%A4%2B"),
            ("http://h/a&", "http://h/a&?a=1&b%3D=%C3%A4%2B"),
            ("http://h/p#f?", "http://h/p?a=1&b%3D=%C3%A4%2B#f?"),
        ] {
            assert_eq!(with_query(url, [("a", "1"), ("b=", "ä+")]), expected, "{url}");
        }
        assert_eq!(with_query("http://h/?a", [] as [(&str, &str); 0]), "http://h/?a");
    }

    #[test]
    fn references_are_resolved_as_in_rfc_3986() {
        let base: Uri = "http://a/b/c/d;p?q".parse().unwrap();
        for (reference, expected) in [
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("//g", "http://g/"),
            ("?y", "http://a/b/c/d;p?y"),
            ("g?y", "http://a/b/c/g?y"),
            ("g#s", "http://a/b/c/g"),
            (";x", "http://a/b/c/;x"),
            ("", "http://a/b/c/d;p?q"),
            (".", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../g", "http://a/b/g"),
            ("../../g", "http://a/g"),
            ("../../../g", "http://a/g"),
            ("/./g", "http://a/g"),
            ("g?y/../x", "http://a/b/c/g?y/../x"),
            ("https://z:1/y", "https://z:1/y"),
            ("y:80", "y:80"),
        ] {
            let joined = join(&base, reference).map(|url| url.to_string());
            assert_eq!(joined.as_deref(), Some(expected), "{reference}");
        }
    }
}
