//! A call to the backend beside the run's own requests: the one that cancels, or the one that cleans up.

use crate::{Template, Values, add_headers, method_or, sendable};
use executor_runtime_sdk::{
    Body, Context, Invocation, RunError,
    http_types::{HeaderMap, Method, Request, StatusCode, Uri},
};
use std::time::Duration;

/// How long a call may take where the run's grace does not limit it.
const TIME: Duration = Duration::from_secs(10);

/// A request without a body, whose answer matters little.
#[derive(Debug)]
pub struct Call {
    url: Template,
    method: Method,
    headers: HeaderMap,
}

impl Call {
    /// The call to the URL template in `url_key`, with the headers of `http.header.*`; None without the key. `what` it is
    /// called in an error.
    ///
    /// # Errors
    /// `rejected`: which key is wrong, or why the request could not be sent.
    pub fn read(
        invocation: &Invocation,
        what: &str,
        url_key: &'static str,
        method_key: &str,
        default: Method,
    ) -> Result<Option<Self>, RunError> {
        let Some(text) = invocation.text(url_key) else {
            return Ok(None);
        };
        let mut headers = HeaderMap::new();
        add_headers(invocation, "http.header.", &mut headers)?;
        let call = Self {
            url: Template::parse(url_key, text)?,
            method: method_or(invocation, method_key, default)?,
            headers,
        };
        sendable(what, &call.request(&call.url.example()?))?;
        Ok(Some(call))
    }

    /// Where it goes.
    pub fn url(&self) -> &Template {
        &self.url
    }

    /// Sends the request; returns the code of the answer, or why there is none.
    ///
    /// Once the run has been told to stop, it may take this `share` of the grace, and never more than is left.
    ///
    /// # Errors
    /// Why it was not sent, or not answered.
    pub fn send(&self, ctx: &Context, values: Values<'_>, share: f32) -> Result<StatusCode, String> {
        if !self.url.can_be_filled(values) {
            return Err("not called: the run's id was not known yet".to_owned());
        }
        let url = self.url.fill(values);
        let url = url.map_err(|error| format!("not called: {error}"))?;
        let client = match ctx.stop_requested() {
            true if share < 1.0 => ctx.http().after_stop().timeout(ctx.grace().mul_f32(share)),
            true => ctx.http().after_stop(),
            false => ctx.http().timeout(TIME),
        };
        client
            .send(self.request(&url))
            .map(|response| response.status())
            .map_err(|error| error.to_string())
    }

    fn request(&self, url: &Uri) -> Request<Body> {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = url.clone();
        *request.method_mut() = self.method.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }
}

/// What the calls leave in the receipt: the code of each, or its error.
pub fn call_receipt(
    keys: [&'static str; 2],
    called: Option<Result<StatusCode, String>>,
) -> [(&'static str, Option<String>); 2] {
    let (code, error) = match called {
        None => (None, None),
        Some(Ok(code)) => (Some(code.as_str().to_owned()), None),
        Some(Err(reason)) => (None, Some(reason)),
    };
    [(keys[0], code), (keys[1], error)]
}
