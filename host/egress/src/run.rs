//! What is decided about the requests of one run: who may be asked, and how much at a time.

use crate::{
    Dispatched, EgressClient, Grant, RequestBody, RequestError, RequestFailures, ResponseBody, Timeouts,
    request_failures::Denial,
};
use executor_runtime_authority::{Authority, AuthorityError};
use http::{HeaderMap, HeaderValue, Request, Response, header::USER_AGENT};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Requests that one run may have in flight; each has a connection and its buffers.
const IN_FLIGHT: usize = 64;

/// Sent unless the plugin sets its own: servers that log or limit by client want to know.
const OWN_USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("executor-runtime/", env!("CARGO_PKG_VERSION")));

/// The requests of one run.
#[derive(Debug)]
pub struct RunEgress<B> {
    client: EgressClient<B>,
    grant: Arc<Grant>,
    failures: Arc<RequestFailures>,
    in_flight: Arc<Semaphore>,
}

/// A request that may be sent.
#[derive(Debug)]
pub struct AdmittedRequest<B> {
    client: EgressClient<B>,
    request: Request<B>,
    authority: Authority,
    failures: Arc<RequestFailures>,
    in_flight: OwnedSemaphorePermit,
}

impl<B: RequestBody> RunEgress<B> {
    /// For a run that may reach what `grant` opens. What goes wrong is noted in `failures`.
    pub fn new(client: EgressClient<B>, grant: Arc<Grant>, failures: Arc<RequestFailures>) -> Self {
        Self {
            client,
            grant,
            failures,
            in_flight: Arc::new(Semaphore::new(IN_FLIGHT)),
        }
    }

    /// Lets a request pass that is granted, if the run has not too many under way.
    ///
    /// # Errors
    /// When it is not granted, names no authority, or is one too many.
    pub fn admit(&self, mut request: Request<B>) -> Result<AdmittedRequest<B>, RequestError> {
        let authority = self.granted(&request)?;
        let in_flight = Arc::clone(&self.in_flight)
            .try_acquire_owned()
            .map_err(|_| RequestError::TooMany)?;
        request.headers_mut().entry(USER_AGENT).or_insert(OWN_USER_AGENT);
        Ok(AdmittedRequest {
            client: self.client.clone(),
            request,
            authority,
            failures: Arc::clone(&self.failures),
            in_flight,
        })
    }

    fn granted(&self, request: &Request<B>) -> Result<Authority, RequestError> {
        let authority = authority_of(request.uri()).map_err(|_| RequestError::InvalidUri)?;
        if self.grant.allows(&authority) {
            Ok(authority)
        } else {
            tracing::debug!(%authority, "request denied: no grant");
            self.failures.deny(Denial::NoGrant(authority));
            Err(RequestError::Denied)
        }
    }
}

impl<B: RequestBody> AdmittedRequest<B> {
    /// What is sent.
    pub fn request(&self) -> &Request<B> {
        &self.request
    }

    /// What is sent, to add headers of the host's.
    pub fn headers_mut(&mut self) -> &mut HeaderMap {
        self.request.headers_mut()
    }

    /// Sends it, and waits for the head of the response.
    ///
    /// # Errors
    /// What went wrong; the words for it are in the run's [`RequestFailures`].
    pub async fn send(
        self,
        timeouts: Timeouts,
        dispatched: &Dispatched,
    ) -> Result<Response<ResponseBody>, RequestError> {
        self.client
            .send(
                self.request,
                self.authority,
                timeouts,
                self.in_flight,
                &self.failures,
                dispatched,
            )
            .await
    }
}

/// The authority that a request goes to.
fn authority_of(uri: &http::Uri) -> Result<Authority, AuthorityError> {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    Authority::of_parts(uri.scheme_str().unwrap_or_default(), authority)
}
