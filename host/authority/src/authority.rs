//! Authorities and patterns of them.
//!
//! An [`Authority`] is a host and a port, parsed once: lower case, without a trailing dot, without user
//! information, an address in its canonical form, and the port always there (80 for `http`, 443 for
//! `https`). A [`HostPattern`] is one entry of an operator's `allow_hosts`:
//!
//! | pattern | matches |
//! |---|---|
//! | `api.example.com` | that host, at the default port of the scheme |
//! | `api.example.com:8443` | that host, at that port, with either scheme |
//! | `api.example.com:*` | that host, at any port |
//! | `*.example.com` | every host below `example.com`, at any depth, but not `example.com` itself |
//! | `10.0.0.7`, `[2001:db8::1]:8080` | that address, when the URL has the address and not a name |
//! | `*` | every host, at the default port; `*:*` at any |
//!
//! Link-local and metadata addresses are matched only by a pattern that is that very address.
//!
//! ```
//! use executor_runtime_authority::{Authority, HostPattern};
//!
//! let url = Authority::of_url("https://API.example.com/runs?x=1").unwrap();
//! assert_eq!(url.to_string(), "api.example.com:443");
//!
//! let pattern = HostPattern::parse("*.internal:*").unwrap();
//! assert!(pattern.matches(&Authority::of_url("http://a.b.internal:9000/").unwrap()));
//! assert!(!pattern.matches(&Authority::of_url("http://internal:9000/").unwrap()));
//! ```

use super::address::is_guarded;
use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Authority {
    host: Host,
    port: u16,
    /// Whether the port is the default of the scheme it was parsed with.
    default_port: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Host {
    Name(String),
    Ip(IpAddr),
}

/// Why a text names no authority.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    /// Neither `http://` nor `https://`.
    #[error("the URL has to begin with 'http://' or 'https://'")]
    Scheme,
    /// No host, or one with characters that no host has.
    #[error("'{0}' is not a valid host")]
    Host(String),
    /// Not a number from 1 to 65535.
    #[error("'{0}' is not a valid port")]
    Port(String),
    /// `user:password@`.
    #[error("user information before '@' is not supported")]
    UserInformation,
}

impl Authority {
    /// The authority of an absolute `http` or `https` URL. Only the part before the path is looked at, so that
    /// the rest may be a template.
    ///
    /// # Errors
    /// When the URL has another scheme or no usable host and port.
    pub fn of_url(url: &str) -> Result<Self, AuthorityError> {
        let (scheme, rest) = url.split_once("://").ok_or(AuthorityError::Scheme)?;
        let default_port = default_port(scheme).ok_or(AuthorityError::Scheme)?;
        let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
        Self::parse(&rest[..end], default_port)
    }

    /// The authority of a URL that was taken apart already.
    ///
    /// # Errors
    /// When the URL has another scheme or no usable host and port.
    pub fn of_parts(scheme: &str, authority: &str) -> Result<Self, AuthorityError> {
        Self::parse(authority, default_port(scheme).ok_or(AuthorityError::Scheme)?)
    }

    fn parse(text: &str, default: u16) -> Result<Self, AuthorityError> {
        if text.contains('@') {
            return Err(AuthorityError::UserInformation);
        }
        let (host, port) = split_port(text)?;
        let port = match port {
            None | Some("") => default,
            Some(port) => parse_port(port)?,
        };
        Ok(Self {
            host: Host::parse(host)?,
            port,
            default_port: port == default,
        })
    }

    /// The host, as it stands in a pattern.
    pub fn host(&self) -> String {
        self.host.to_string()
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether both lead to the same port of the same host, whatever scheme they were parsed with.
    pub fn is_same_place(&self, other: &Self) -> bool {
        self.host == other.host && self.port == other.port
    }

    /// The pattern that would allow it: what an operator adds to `allow_hosts`.
    pub fn pattern(&self) -> String {
        if self.default_port {
            self.host.to_string()
        } else {
            self.to_string()
        }
    }

    fn is_guarded(&self) -> bool {
        matches!(self.host, Host::Ip(ip) if is_guarded(ip))
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl Host {
    fn parse(text: &str) -> Result<Self, AuthorityError> {
        let invalid = || AuthorityError::Host(text.to_owned());
        if let Some(v6) = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
            return v6
                .parse::<Ipv6Addr>()
                .map(|ip| Self::Ip(ip.into()))
                .map_err(|_| invalid());
        }
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(Self::Ip(ip));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        let valid = (1..=253).contains(&name.len())
            && name.split('.').all(|label| {
                !label.is_empty()
                    && label.len() <= 63
                    && label
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            });
        if valid {
            Ok(Self::Name(name.to_ascii_lowercase()))
        } else {
            Err(invalid())
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Ip(IpAddr::V4(v4)) => v4.fmt(f),
            Self::Ip(IpAddr::V6(v6)) => write!(f, "[{v6}]"),
        }
    }
}

/// One entry of `allow_hosts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPattern {
    hosts: Hosts,
    ports: Ports,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Hosts {
    Any,
    /// With the leading dot.
    Below(String),
    Exactly(Host),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ports {
    Default,
    Any,
    Exactly(u16),
}

impl HostPattern {
    /// Parses a pattern as the table above describes it.
    ///
    /// # Errors
    /// When it is none of these.
    pub fn parse(text: &str) -> Result<Self, AuthorityError> {
        if text.contains('@') {
            return Err(AuthorityError::UserInformation);
        }
        let (host, port) = split_port(text)?;
        let hosts = if host == "*" {
            Hosts::Any
        } else if let Some(domain) = host.strip_prefix("*.") {
            match Host::parse(domain)? {
                Host::Name(domain) => Hosts::Below(format!(".{domain}")),
                Host::Ip(_) => return Err(AuthorityError::Host(host.to_owned())),
            }
        } else {
            Hosts::Exactly(Host::parse(host)?)
        };
        let ports = match port {
            None => Ports::Default,
            Some("*") => Ports::Any,
            Some(port) => Ports::Exactly(parse_port(port)?),
        };
        Ok(Self { hosts, ports })
    }

    /// Whether an authority is one of those that it stands for.
    pub fn matches(&self, authority: &Authority) -> bool {
        let port = match self.ports {
            Ports::Default => authority.default_port,
            Ports::Any => true,
            Ports::Exactly(port) => port == authority.port,
        };
        let host = match (&self.hosts, &authority.host) {
            (Hosts::Any, _) => !authority.is_guarded(),
            (Hosts::Below(suffix), Host::Name(name)) => name.ends_with(suffix.as_str()),
            (Hosts::Below(_), Host::Ip(_)) => false,
            (Hosts::Exactly(pattern), host) => pattern == host,
        };
        port && host
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.hosts {
            Hosts::Any => f.write_str("*")?,
            Hosts::Below(suffix) => write!(f, "*{suffix}")?,
            Hosts::Exactly(host) => host.fmt(f)?,
        }
        match self.ports {
            Ports::Default => Ok(()),
            Ports::Any => f.write_str(":*"),
            Ports::Exactly(port) => write!(f, ":{port}"),
        }
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    if scheme.eq_ignore_ascii_case("http") {
        Some(80)
    } else if scheme.eq_ignore_ascii_case("https") {
        Some(443)
    } else {
        None
    }
}

fn parse_port(text: &str) -> Result<u16, AuthorityError> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(port) if digits && port != 0 => Ok(port),
        _ => Err(AuthorityError::Port(text.to_owned())),
    }
}

/// Splits `host[:port]`, where a host with colons stands in brackets.
fn split_port(text: &str) -> Result<(&str, Option<&str>), AuthorityError> {
    if text.starts_with('[') {
        let end = text
            .find(']')
            .ok_or_else(|| AuthorityError::Host(text.to_owned()))?;
        let (host, rest) = text.split_at(end + 1);
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err(AuthorityError::Host(text.to_owned())),
        };
    }
    match text.split_once(':') {
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((text, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Authority {
        Authority::of_url(text).unwrap()
    }

    #[test]
    fn authorities_are_normalised() {
        for (text, expected) in [
            ("http://Example.COM./x", "example.com:80"),
            ("HTTPS://example.com?q", "example.com:443"),
            ("http://example.com:/", "example.com:80"),
            ("http://127.0.0.1:8080", "127.0.0.1:8080"),
            ("https://[2001:DB8:0::1]/", "[2001:db8::1]:443"),
            ("http://host/{run_id}", "host:80"),
        ] {
            assert_eq!(url(text).to_string(), expected, "{text}");
        }
    }

    #[test]
    fn what_names_no_authority_is_refused() {
        for text in [
            "ftp://example.com/",
            "example.com",
            "http:///x",
            "http://user:password@example.com/",
            "http://example.com:0/",
            "http://example.com:+1/",
            "http://example.com:70000/",
            "http://[::1/",
            "http://[fe80::1%eth0]/",
            "http://exa mple/",
            "http://a..b/",
            "http://{host}/",
        ] {
            assert!(Authority::of_url(text).is_err(), "{text}");
        }
    }

    #[test]
    fn patterns_match_what_the_table_says() {
        for (pattern, target, expected) in [
            ("a.com", "http://a.com/", true),
            ("a.com", "https://a.com/", true),
            ("a.com", "http://a.com:443/", false),
            ("a.com", "http://b.a.com/", false),
            ("a.com:8443", "https://a.com:8443/", true),
            ("a.com:8443", "https://a.com/", false),
            ("a.com:*", "http://a.com:1/", true),
            ("*.a.com", "http://x.y.a.com/", true),
            ("*.a.com", "http://a.com/", false),
            ("*.a.com", "http://evila.com/", false),
            ("*", "https://anything.example/", true),
            ("*", "https://anything.example:1/", false),
            ("*:*", "http://127.0.0.1:1/", true),
            ("*:*", "http://169.254.169.254/", false),
            ("*:*", "http://[fe80::1]/", false),
            ("169.254.169.254", "http://169.254.169.254/", true),
            ("[::1]:80", "http://[0::1]/", true),
            ("127.0.0.1", "http://localhost/", false),
        ] {
            let pattern = HostPattern::parse(pattern).unwrap();
            assert_eq!(pattern.matches(&url(target)), expected, "{pattern} {target}");
        }
    }
}
