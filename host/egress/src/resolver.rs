//! DNS: the machine's resolver, without the addresses that only a literal opens.

use executor_runtime_authority::is_guarded;
use hyper_util::client::legacy::connect::dns::Name;
use std::{
    future::Future,
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    vec,
};
use tokio::sync::Semaphore;
use tower_service::Service;

/// Lookups at a time. Each blocks a thread, and a name server that does not answer must not take all of them.
const LOOKUPS: usize = 64;

/// Why a name has no address to connect to.
#[derive(Debug, thiserror::Error)]
pub(super) enum ResolveError {
    #[error("{}", lookup_words(.0))]
    Lookup(#[from] io::Error),
    #[error("the name has no address")]
    NoAddress,
    #[error("the name resolves to {0}, which must be named literally")]
    Guarded(IpAddr),
}

#[derive(Clone, Debug)]
pub(super) struct GuardedResolver {
    lookups: Arc<Semaphore>,
}

impl GuardedResolver {
    pub(super) fn new() -> Self {
        Self {
            lookups: Arc::new(Semaphore::new(LOOKUPS)),
        }
    }
}

impl Service<Name> for GuardedResolver {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = ResolveError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ResolveError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ResolveError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let lookups = Arc::clone(&self.lookups);
        Box::pin(async move {
            // The semaphore is never closed. The permit stays with the thread, even when nothing waits for it
            // any more.
            let permit = lookups.acquire_owned().await.ok();
            let found = tokio::task::spawn_blocking(move || {
                let _permit = permit;
                (name.as_str(), 0).to_socket_addrs()
            })
            .await
            .map_err(io::Error::other)??;
            select(found)
        })
    }
}

/// The resolver's own words, without the prefix that the standard library puts before them.
fn lookup_words(error: &io::Error) -> String {
    let text = error.to_string();
    let reason = text.strip_prefix("failed to lookup address information: ");
    reason.unwrap_or(&text).to_lowercase()
}

fn select(found: impl Iterator<Item = SocketAddr>) -> Result<vec::IntoIter<SocketAddr>, ResolveError> {
    let (guarded, allowed): (Vec<_>, Vec<_>) = found.partition(|address| is_guarded(address.ip()));
    if !allowed.is_empty() {
        return Ok(allowed.into_iter());
    }
    Err(match guarded.first() {
        Some(address) => ResolveError::Guarded(address.ip()),
        None => ResolveError::NoAddress,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(list: &[&str]) -> Vec<SocketAddr> {
        list.iter()
            .map(|ip| SocketAddr::new(ip.parse().unwrap(), 0))
            .collect()
    }

    #[test]
    fn a_name_is_no_detour_to_a_metadata_service() {
        let error = select(addresses(&["169.254.169.254"]).into_iter()).unwrap_err();
        assert!(matches!(error, ResolveError::Guarded(_)), "{error}");
        let mixed = select(addresses(&["fe80::1", "10.0.0.1"]).into_iter()).unwrap();
        assert_eq!(mixed.collect::<Vec<_>>(), addresses(&["10.0.0.1"]));
        assert!(matches!(select(std::iter::empty()), Err(ResolveError::NoAddress)));
    }
}
