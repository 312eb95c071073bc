//! What an answer leaves in the receipt.
//!
//! | key | value |
//! |---|---|
//! | `http.status` | the status, such as `200` |
//! | `http.header.<name>` | a header, the name in lower case, several values joined by `, `; the first 32 names, 512 characters each |
//! | `http.headers_omitted` | how many names were left out: over 32, or longer than 100 bytes |
//! | `http.headers_truncated` | the names whose values were cut, joined by `, ` |
//!
//! `set-cookie` and the like are left out: results are kept and passed on, and those are credentials.

use executor_runtime_sdk::http_types::{HeaderMap, HeaderValue, StatusCode};

const MAX_HEADERS: usize = 32;
const MAX_VALUE: usize = 512;
const MAX_NAME: usize = 100;
const CREDENTIALS: [&str; 4] = [
    "set-cookie",
    "set-cookie2",
    "authorization",
    "authentication-info",
];

/// The keys of an answer, each with its value.
pub fn answer_receipt(status: StatusCode, headers: &HeaderMap) -> Vec<(String, String)> {
    let mut receipt = vec![("http.status".to_owned(), status.as_str().to_owned())];
    let mut truncated = Vec::new();
    let mut omitted = 0_usize;
    let shown = headers
        .keys()
        .filter(|name| !CREDENTIALS.contains(&name.as_str()));
    for name in shown {
        if receipt.len() > MAX_HEADERS || name.as_str().len() > MAX_NAME {
            omitted += 1;
            continue;
        }
        let values: Vec<_> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
        let mut value = String::from_utf8_lossy(&values.join(&b", "[..])).into_owned();
        if let Some((end, _)) = value.char_indices().nth(MAX_VALUE) {
            value.truncate(end);
            truncated.push(name.as_str());
        }
        receipt.push((format!("http.header.{name}"), value));
    }
    if omitted > 0 {
        receipt.push(("http.headers_omitted".to_owned(), omitted.to_string()));
    }
    if !truncated.is_empty() {
        receipt.push(("http.headers_truncated".to_owned(), truncated.join(", ")));
    }
    receipt
}

#[cfg(test)]
mod tests {
    use super::*;
    use executor_runtime_sdk::http_types::HeaderName;

    #[test]
    fn headers_are_joined_and_credentials_left_out() {
        let mut headers = HeaderMap::new();
        headers.append("x-a", "1".parse().unwrap());
        headers.append("x-a", "2".parse().unwrap());
        headers.append("set-cookie", "session=s3cret".parse().unwrap());
        let receipt = answer_receipt(StatusCode::CREATED, &headers);
        let expected = [("http.status", "201"), ("http.header.x-a", "1, 2")];
        assert_eq!(
            receipt,
            expected.map(|(key, value)| (key.to_owned(), value.to_owned()))
        );
    }

    #[test]
    fn it_is_bounded() {
        let mut headers = HeaderMap::new();
        for n in 0..100 {
            let name = HeaderName::from_bytes(format!("x-{n}").as_bytes()).unwrap();
            headers.insert(name, "ä".repeat(1000).parse().unwrap());
        }
        headers.insert(
            HeaderName::from_bytes("n".repeat(200).as_bytes()).unwrap(),
            "v".parse().unwrap(),
        );
        let receipt = answer_receipt(StatusCode::OK, &headers);
        let (kept, marks) = receipt.split_at(1 + MAX_HEADERS);
        assert!(kept.iter().all(|(_, value)| value.chars().count() <= MAX_VALUE));
        let [(omitted, number), (truncated, names)] = marks else {
            panic!("{marks:?}");
        };
        assert_eq!(
            (omitted.as_str(), number.as_str()),
            ("http.headers_omitted", "69")
        );
        assert_eq!(truncated, "http.headers_truncated");
        assert_eq!(names.split(", ").count(), MAX_HEADERS);
    }

    #[test]
    fn what_fits_has_no_mark() {
        let mut headers = HeaderMap::new();
        for n in 0..MAX_HEADERS {
            let name = HeaderName::from_bytes(format!("x-{n}").as_bytes()).unwrap();
            headers.insert(name, "v".repeat(MAX_VALUE).parse().unwrap());
        }
        assert_eq!(answer_receipt(StatusCode::OK, &headers).len(), 1 + MAX_HEADERS);
    }
}
