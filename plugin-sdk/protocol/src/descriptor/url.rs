//! URLs in metadata. They decide what a plugin may reach, so what is accepted has exactly one reading:
//! absolute, http or https, a plain host and port, nothing before an `@`, and no placeholder in front of
//! the path.

use crate::problem::quoted;
use http::Uri;
use std::net::Ipv6Addr;

/// Not repeated in a message: it may be a password.
const WITH_CREDENTIALS: &str = "a user name or password in the URL";

/// Reads an absolute http or https URL. `{name}` may stand in its path and query for each of the
/// `placeholders`. The error is what was found.
pub(crate) fn parse(text: &str, placeholders: &[String]) -> Result<Uri, String> {
    let (scheme, rest) = text.split_once("://").ok_or_else(|| {
        if text.contains('@') {
            WITH_CREDENTIALS.into()
        } else {
            quoted(text)
        }
    })?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err(format!("the scheme {}", quoted(scheme)));
    }
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    if authority.contains('@') {
        return Err(WITH_CREDENTIALS.into());
    }
    if authority.contains(['{', '}']) {
        return Err("a placeholder in front of the path".into());
    }
    if authority.is_empty() || authority.starts_with(':') {
        return Err("a URL without a host".into());
    }
    if let Some(c) = rest.chars().find(|c| !c.is_ascii_graphic()) {
        return Err(format!("the character {c:?}, which is not percent-encoded"));
    }
    check_placeholders(rest, placeholders)?;
    let uri: Uri = text
        .parse()
        .map_err(|error| format!("a malformed URL ({error})"))?;
    let host = uri.host().unwrap_or_default();
    if let Some(address) = host.strip_prefix('[') {
        let address = address.strip_suffix(']').unwrap_or_default();
        address
            .parse::<Ipv6Addr>()
            .map_err(|_| "a malformed IPv6 address")?;
    }
    let port = authority.strip_prefix(host).ok_or("a malformed host")?;
    if !port.is_empty() && uri.port_u16().is_none_or(|port| port == 0) {
        return Err("a malformed port".into());
    }
    Ok(uri)
}

fn check_placeholders(text: &str, placeholders: &[String]) -> Result<(), String> {
    let mut rest = text;
    while let Some(open) = rest.find(['{', '}']) {
        let inner = rest[open..].strip_prefix('{').ok_or("an unmatched }")?;
        let close = inner
            .find(['{', '}'])
            .filter(|&end| inner[end..].starts_with('}'));
        let name = &inner[..close.ok_or("an unmatched {")?];
        if !placeholders.iter().any(|known| known == name) {
            return Err(format!(
                "the unknown placeholder {}",
                quoted(&format!("{{{name}}}"))
            ));
        }
        rest = &inner[name.len() + 1..];
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_url_is_absolute_and_has_a_host() {
        for (text, authority) in [
            ("http://example.com", "example.com"),
            ("HTTPS://Example.com:8443/a?b=c#d", "Example.com:8443"),
            ("http://127.0.0.1:80/", "127.0.0.1:80"),
            ("http://[::1]:8080/x", "[::1]:8080"),
            ("http://h?x=http://other@evil", "h"),
        ] {
            let uri = parse(text, &[]).unwrap();
            assert_eq!(uri.authority().unwrap(), authority, "{text}");
        }
    }

    #[test]
    fn everything_with_two_readings_is_refused() {
        for (text, found) in [
            ("", "\"\""),
            ("/runs", "\"/runs\""),
            ("example.com/runs", "\"example.com/runs\""),
            ("//u:secret@example.com", "a user name or password in the URL"),
            ("ftp://example.com", "the scheme \"ftp\""),
            (" http://example.com", "the scheme \" http\""),
            ("http://", "a URL without a host"),
            ("http:///path", "a URL without a host"),
            ("http://:80/", "a URL without a host"),
            (
                "http://u:secret@example.com/",
                "a user name or password in the URL",
            ),
            (
                "http://good.example\\@evil.example/",
                "a user name or password in the URL",
            ),
            (
                "http://good.example\\evil.example/",
                "a malformed URL (invalid uri character)",
            ),
            (
                "http://exa mple.com/",
                "the character ' ', which is not percent-encoded",
            ),
            (
                "http://example.com/a b",
                "the character ' ', which is not percent-encoded",
            ),
            (
                "http://example.com/\r\nx",
                "the character '\\r', which is not percent-encoded",
            ),
            (
                "http://exämple.com/",
                "the character 'ä', which is not percent-encoded",
            ),
            ("http://example.com:/", "a malformed port"),
            ("http://example.com:0/", "a malformed port"),
            ("http://example.com:65536/", "a malformed port"),
            ("http://example.com:x/", "a malformed port"),
            ("http://[::zz]/", "a malformed IPv6 address"),
            ("http://[::1/", "a malformed URL (invalid authority)"),
            (
                "http://example.com/{run_id}",
                "the unknown placeholder \"{run_id}\"",
            ),
        ] {
            assert_eq!(parse(text, &[]).unwrap_err(), found, "{text}");
        }
    }

    #[test]
    fn a_template_has_known_placeholders_after_the_host() {
        let known = ["run_id".to_owned()];
        for text in [
            "http://h/runs/{run_id}",
            "http://h/runs?id={run_id}&again={run_id}",
            "http://h/runs",
        ] {
            assert_eq!(parse(text, &known).unwrap().authority().unwrap(), "h");
        }
        for (text, found) in [
            ("http://{run_id}/", "a placeholder in front of the path"),
            ("http://h:{run_id}/", "a placeholder in front of the path"),
            ("{run_id}://h/", "the scheme \"{run_id}\""),
            ("http://h/{runid}", "the unknown placeholder \"{runid}\""),
            ("http://h/{}", "the unknown placeholder \"{}\""),
            ("http://h/{run_id", "an unmatched {"),
            ("http://h/{run_{run_id}}", "an unmatched {"),
            ("http://h/run_id}", "an unmatched }"),
        ] {
            assert_eq!(parse(text, &known).unwrap_err(), found, "{text}");
        }
    }
}
