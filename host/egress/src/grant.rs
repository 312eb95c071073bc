//! What one run may reach.
//!
//! A [`Grant`] opens
//! - exactly the authorities of the URLs that the invocation gives in keys that the plugin's descriptor
//!   declares as `url`;
//! - what the operator's `allow_hosts` for the plugin [matches](HostPattern).
//!
//! An empty grant opens nothing. Link-local and metadata addresses are opened only by a URL or a pattern that
//! is that very address; a name that leads there is refused after DNS, and `*` does not match them.
//!
//! ```
//! use executor_runtime_egress::{Authority, Grant, HostPattern};
//!
//! let url = Authority::of_url("https://API.example.com/runs?x=1").unwrap();
//! let grant = Grant::new([url.clone()], [HostPattern::parse("*.internal:*").unwrap()]);
//! assert!(grant.allows(&url));
//! assert!(grant.allows(&Authority::of_url("http://a.b.internal:9000/").unwrap()));
//! // Another port is another authority.
//! assert!(!grant.allows(&Authority::of_url("http://api.example.com/").unwrap()));
//!
//! let all = Grant::new([], [HostPattern::parse("*").unwrap()]);
//! assert!(all.allows(&Authority::of_url("http://203.0.113.9/").unwrap()));
//! assert!(!all.allows(&Authority::of_url("http://169.254.169.254/latest").unwrap()));
//! ```

use executor_runtime_authority::{Authority, HostPattern};

/// What one invocation may reach.
#[derive(Clone, Debug, Default)]
pub struct Grant {
    named: Vec<Authority>,
    patterns: Vec<HostPattern>,
}

impl Grant {
    /// Opens the authorities that the invocation names, and what the operator's patterns match.
    pub fn new(
        named: impl IntoIterator<Item = Authority>,
        patterns: impl IntoIterator<Item = HostPattern>,
    ) -> Self {
        Self {
            named: named.into_iter().collect(),
            patterns: patterns.into_iter().collect(),
        }
    }

    /// Whether a request may go to `authority`.
    pub fn allows(&self, authority: &Authority) -> bool {
        self.named.iter().any(|named| named.is_same_place(authority))
            || self.patterns.iter().any(|pattern| pattern.matches(authority))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_grant_opens_nothing() {
        let url = Authority::of_url("http://localhost/").unwrap();
        assert!(!Grant::default().allows(&url));
    }

    #[test]
    fn a_named_authority_is_one_port_with_either_scheme() {
        let authority = |url| Authority::of_url(url).unwrap();
        let grant = Grant::new([authority("http://a.com:443/")], []);
        assert!(grant.allows(&authority("https://a.com/")));
        assert!(!grant.allows(&authority("http://a.com/")));
    }
}
