//! Which dispatcher, and how it is asked.
//!
//! `manual.url` or `manual.socket` in the metadata; without them the operator's config for the plugin, where
//! `dispatcher.<runtime_name>` is a URL or `unix:<absolute path>`.

use crate::{protocol, socket};
use executor_runtime_plugin_common::{
    ReadFailure, beginning, http_error, interrupted, preview, read_failure, url,
};
use executor_runtime_sdk::{
    Body, Context, Invocation, RunError,
    http_types::{HeaderValue, Method, Request, Uri, header},
    protocol::MAX_DOCUMENT_BYTES,
};
use std::{
    fmt,
    path::{Path, PathBuf},
};

/// What a run waits for, in words.
const DOING: &str = "the dispatcher's run";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Dispatcher {
    Http(Uri),
    Socket(PathBuf),
}

impl Dispatcher {
    pub(crate) fn choose(
        invocation: &Invocation,
        config: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, RunError> {
        match (invocation.text("manual.url"), invocation.text("manual.socket")) {
            (Some(_), Some(_)) => Err(invalid(
                "metadata keys 'manual.url' and 'manual.socket' can't be combined".to_owned(),
            )),
            (Some(text), None) => Ok(Self::Http(url("manual.url", text)?)),
            (None, Some(path)) => socket("metadata key 'manual.socket'", path),
            (None, None) => {
                let key = format!("dispatcher.{}", invocation.runtime_name);
                let place = format!("config key '{key}' of plugin 'manual'");
                match config(&key) {
                    None => Err(invalid(format!(
                        "no dispatcher: set metadata key 'manual.url' or 'manual.socket', or {place}"
                    ))),
                    Some(value) => match value.strip_prefix("unix:") {
                        Some(path) => socket(&place, path),
                        None => url(&key, &value).map(Self::Http).map_err(|_| {
                            invalid(format!("{place} is neither a URL nor unix:<absolute path>"))
                        }),
                    },
                }
            }
        }
    }

    /// Sends the invocation; returns the answer, whatever it is.
    pub(crate) fn ask(&self, invocation: &Invocation, ctx: &Context) -> Result<Vec<u8>, RunError> {
        // Text, numbers and maps of text: serialising them can't fail.
        let document = serde_json::to_vec(&**invocation).unwrap_or_default();
        match self {
            Self::Http(url) => post(url, document, invocation, ctx),
            Self::Socket(path) => socket::exchange(path, document, ctx).map_err(|error| match error {
                socket::Failed::Interrupted => interrupted(invocation, ctx, DOING),
                socket::Failed::Io { doing, error } => RunError::failed(
                    "network",
                    format!("dispatcher socket '{}': {doing}: {error}", path.display()),
                ),
                socket::Failed::TooLong => too_long(),
            }),
        }
    }
}

/// Without the query, which may hold a secret.
impl fmt::Display for Dispatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(url) => {
                let scheme = url.scheme_str().unwrap_or_default();
                let authority = url.authority().map_or("", |authority| authority.as_str());
                write!(f, "{scheme}://{authority}{}", url.path())
            }
            Self::Socket(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

fn post(url: &Uri, document: Vec<u8>, invocation: &Invocation, ctx: &Context) -> Result<Vec<u8>, RunError> {
    let mut request = Request::new(Body::from(document));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = url.clone();
    let json = HeaderValue::from_static("application/json");
    request.headers_mut().insert(header::CONTENT_TYPE, json.clone());
    request.headers_mut().insert(header::ACCEPT, json);
    let failed = |error: std::io::Error| match read_failure(error) {
        ReadFailure::Http(error) => http_error(invocation, ctx, DOING, &error),
        ReadFailure::Other(error) => RunError::failed("network", format!("http error: {error}")),
    };
    let response = ctx
        .http()
        .send(request)
        .map_err(|error| http_error(invocation, ctx, DOING, &error))?;
    let (head, mut body) = response.into_parts();
    if !head.status.is_success() {
        let start = beginning(&mut body).map_err(failed)?;
        let text = format!("is HTTP {}: {}", head.status.as_str(), preview(&start));
        return Err(protocol(text.trim_end()));
    }
    match body.read_up_to(MAX_DOCUMENT_BYTES).map_err(failed)? {
        (answer, true) => Ok(answer),
        (_, false) => Err(too_long()),
    }
}

fn socket(place: &str, path: &str) -> Result<Dispatcher, RunError> {
    if Path::new(path).is_absolute() {
        Ok(Dispatcher::Socket(path.into()))
    } else {
        Err(invalid(format!(
            "{place} is '{}', expected an absolute path",
            path.escape_debug()
        )))
    }
}

fn too_long() -> RunError {
    protocol(format_args!("is longer than {MAX_DOCUMENT_BYTES} bytes"))
}

fn invalid(summary: String) -> RunError {
    RunError::rejected("invalid_metadata", summary)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(metadata: &[(&str, &str)], config: Option<&str>) -> Result<String, String> {
        let invocation = metadata
            .iter()
            .fold(Invocation::new("manual"), |invocation, (key, value)| {
                invocation.with(*key, *value)
            });
        Dispatcher::choose(&invocation, |key| {
            config.filter(|_| key == "dispatcher.manual").map(str::to_owned)
        })
        .map(|dispatcher| dispatcher.to_string())
        .map_err(|error| error.summary().to_owned())
    }

    #[test]
    fn metadata_wins_over_the_config() {
        let url = ("manual.url", "http://a:1/run?key=s3cret");
        let path = ("manual.socket", "/run/d.sock");
        assert_eq!(choose(&[url], Some("http://b/")), Ok("http://a:1/run".into()));
        assert_eq!(choose(&[path], Some("http://b/")), Ok("unix:/run/d.sock".into()));
        assert_eq!(choose(&[], Some("https://b/x")), Ok("https://b/x".into()));
        assert_eq!(choose(&[], Some("unix:/d.sock")), Ok("unix:/d.sock".into()));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let both = [("manual.url", "http://a/"), ("manual.socket", "/d")];
        for (metadata, config, words) in [
            (&both[..], None, "can't be combined"),
            (&[], None, "config key 'dispatcher.manual' of plugin 'manual'"),
            (
                &[],
                Some("b"),
                "config key 'dispatcher.manual' of plugin 'manual' is neither",
            ),
            (
                &[],
                Some("unix:d"),
                "config key 'dispatcher.manual' of plugin 'manual' is 'd'",
            ),
            (
                &[("manual.socket", "d")],
                None,
                "metadata key 'manual.socket' is 'd', expected an absolute path",
            ),
        ] {
            let summary = choose(metadata, config).unwrap_err();
            assert!(summary.contains(words), "{summary}");
        }
    }
}
