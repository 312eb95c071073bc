//! Why there is no secure connection, in words.
//!
//! rustls writes most of its causes as the names of Rust variants; here each becomes what it means.

use rustls::{CertificateError, Error, PeerIncompatible};
use std::fmt;

/// Whether the server's certificate is at fault.
pub fn is_about_certificate(error: &Error) -> bool {
    matches!(error, Error::InvalidCertificate(_))
}

/// The check that failed, such as `certificate expired`.
///
/// ```
/// use executor_runtime_tls::words;
/// use rustls::{AlertDescription, CertificateError, Error};
///
/// let expired = Error::InvalidCertificate(CertificateError::Expired);
/// assert_eq!(words(&expired), "certificate expired");
/// let alert = Error::AlertReceived(AlertDescription::ProtocolVersion);
/// assert_eq!(words(&alert), "protocol version");
/// ```
pub fn words(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(problem) => certificate(problem),
        Error::NoCertificatesPresented => "the server presented no certificate".to_owned(),
        Error::InvalidMessage(_) | Error::InappropriateMessage { .. } => {
            "the server does not speak TLS".to_owned()
        }
        Error::AlertReceived(alert) => spelled_out(alert),
        Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        ) => "the server speaks only a version of TLS older than 1.2".to_owned(),
        Error::PeerIncompatible(why) => format!("incompatible with the server: {}", spelled_out(why)),
        Error::PeerMisbehaved(how) => format!("the server violated the protocol: {}", spelled_out(how)),
        other => other.to_string(),
    }
}

fn certificate(problem: &CertificateError) -> String {
    use CertificateError as E;
    match problem {
        E::Expired | E::ExpiredContext { .. } => "certificate expired".to_owned(),
        E::NotValidYet | E::NotValidYetContext { .. } => "certificate not valid yet".to_owned(),
        E::Revoked => "certificate revoked".to_owned(),
        E::UnknownIssuer => "certificate signed by an unknown authority".to_owned(),
        E::NotValidForName => "certificate not valid for this name".to_owned(),
        E::NotValidForNameContext { expected, presented } => {
            let names: Vec<_> = presented.iter().take(5).map(|name| plain_name(name)).collect();
            let only = match names[..] {
                [] => "for no name at all".to_owned(),
                _ => format!("only for {}", names.join(", ")),
            };
            format!("certificate not valid for name '{}', {only}", expected.to_str())
        }
        E::BadSignature => "certificate has a bad signature".to_owned(),
        E::BadEncoding => "certificate can't be parsed".to_owned(),
        E::InvalidPurpose | E::InvalidPurposeContext { .. } => "certificate not meant for servers".to_owned(),
        // A certificate authority that is its own server's certificate, and the like.
        E::Other(inner) => format!("certificate refused: {}", spelled_out(inner)),
        other => format!("certificate refused: {}", spelled_out(other)),
    }
}

/// A name in a certificate: webpki writes `DnsName("a.example")`.
fn plain_name(written: &str) -> String {
    let inner = written.split_once('(').map_or(written, |(_, inner)| inner);
    let inner = inner.trim_end_matches(')').trim_matches('"');
    format!("'{}'", inner.escape_debug())
}

/// The name of a variant in lower-case words, without what it holds: `HandshakeFailure` is
/// `handshake failure`.
fn spelled_out(variant: &impl fmt::Debug) -> String {
    let name = format!("{variant:?}");
    let name = name.strip_prefix("OtherError(").unwrap_or(&name);
    let end = name
        .find(|c: char| !c.is_ascii_alphanumeric())
        .unwrap_or(name.len());
    let mut words = String::new();
    for c in name[..end].chars() {
        if c.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(c.to_ascii_lowercase());
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{
        AlertDescription, InvalidMessage,
        pki_types::{DnsName, ServerName},
    };

    #[test]
    fn a_wrong_name_is_told_with_the_right_ones() {
        let name = |presented: &[&str]| {
            words(&Error::InvalidCertificate(
                CertificateError::NotValidForNameContext {
                    expected: ServerName::DnsName(DnsName::try_from("x.test").unwrap()),
                    presented: presented.iter().map(|name| (*name).to_owned()).collect(),
                },
            ))
        };
        assert_eq!(
            name(&["DnsName(\"a.test\")", "IpAddress(127.0.0.1)"]),
            "certificate not valid for name 'x.test', only for 'a.test', '127.0.0.1'"
        );
        assert_eq!(
            name(&[]),
            "certificate not valid for name 'x.test', for no name at all"
        );
    }

    #[test]
    fn no_cause_is_told_by_the_name_of_a_variant() {
        for error in [
            Error::AlertReceived(AlertDescription::HandshakeFailure),
            Error::InvalidMessage(InvalidMessage::InvalidContentType),
            Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon),
            Error::InvalidCertificate(CertificateError::UnhandledCriticalExtension),
            Error::InvalidCertificate(CertificateError::UnknownRevocationStatus),
            Error::InvalidCertificate(CertificateError::Other(rustls::OtherError(std::sync::Arc::new(
                std::io::Error::other("x"),
            )))),
        ] {
            let words = words(&error);
            let camel = words
                .as_bytes()
                .windows(2)
                .any(|pair| pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase());
            assert!(!camel && !words.contains('{'), "{words}");
        }
    }
}
