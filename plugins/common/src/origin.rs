//! Whether an address that a server names is its own.

use executor_runtime_sdk::http_types::{HeaderMap, Uri, header};

/// The URL in the `Location` of an answer to a request for `base`, if it is of the same origin: an absolute URL, or an
/// absolute path.
pub fn same_origin_location(base: &Uri, headers: &HeaderMap) -> Option<Uri> {
    let location = headers.get(header::LOCATION)?.to_str().ok()?.trim();
    let location = location.split('#').next().unwrap_or_default();
    let is_path = location.starts_with('/') && !location.starts_with("//");
    let url: Uri = match is_path {
        true => format!("{}://{}{location}", base.scheme_str()?, base.authority()?).parse(),
        false => location.parse(),
    }
    .ok()?;
    let same = origin(&url).is_some_and(|origin_of_url| Some(origin_of_url) == origin(base));
    (same && !url.authority()?.as_str().contains('@')).then_some(url)
}

/// Scheme, host and port.
fn origin(url: &Uri) -> Option<(String, String, u16)> {
    let scheme = url.scheme_str()?.to_ascii_lowercase();
    let port = url.port_u16().or(match &*scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    })?;
    Some((scheme, url.host()?.to_ascii_lowercase(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_origin_counts() {
        let base: Uri = "https://h.example/runs?x=1".parse().unwrap();
        for (location, expected) in [
            ("/runs/7/stream?a=b", Some("https://h.example/runs/7/stream?a=b")),
            ("https://h.example/runs/7", Some("https://h.example/runs/7")),
            (
                "https://H.example:443/runs/7#x",
                Some("https://H.example:443/runs/7"),
            ),
            ("http://h.example/runs/7", None),
            ("https://h.example:444/", None),
            ("https://g.example/", None),
            ("//g.example/x", None),
            ("//h.example/x", None),
            ("https://h.example@g.example/", None),
            ("https://u:p@h.example/", None),
            ("ftp://h.example/", None),
            ("stream", None),
            ("", None),
            ("mailto:a@b", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("location", location.parse().unwrap());
            let url = same_origin_location(&base, &headers).map(|url| url.to_string());
            assert_eq!(url.as_deref(), expected, "{location}");
        }
    }
}
