//! The certificates that a machine trusts.

use rustls::{RootCertStore, pki_types::CertificateDer};
use rustls_native_certs::{CertificateResult, ErrorKind, load_native_certs};
use std::{env, io};

/// What names other certificates than the platform's.
const VARIABLES: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// There is no certificate to trust; the sentence says where they were looked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no trusted root certificates: {0}")]
pub struct NoRoots(String);

/// The platform's root certificates, or those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name. What is unusable
/// among them is left out. It reads files, which takes milliseconds.
///
/// # Errors
/// When none is left.
pub fn trusted_roots() -> Result<Vec<CertificateDer<'static>>, NoRoots> {
    let named: Vec<_> = VARIABLES
        .into_iter()
        .filter_map(|name| Some((name, env::var_os(name)?)))
        .map(|(name, value)| format!("{name} '{}'", value.to_string_lossy().escape_debug()))
        .collect();
    select(load_native_certs(), &named.join(" and "))
}

fn select(found: CertificateResult, named: &str) -> Result<Vec<CertificateDer<'static>>, NoRoots> {
    let mut checked = RootCertStore::empty();
    let (usable, unusable): (Vec<_>, Vec<_>) = found
        .certs
        .into_iter()
        .partition(|certificate| checked.add(certificate.clone()).is_ok());
    if !usable.is_empty() {
        return Ok(usable);
    }
    if named.is_empty() {
        return Err(NoRoots(
            "install the system's CA certificates, or set SSL_CERT_FILE".to_owned(),
        ));
    }
    let problem = match found.errors.first().map(|error| &error.kind) {
        Some(ErrorKind::Io { inner, .. }) => format!("can't be read: {}", system_words(inner)),
        Some(_) => "is not well-formed PEM".to_owned(),
        None if unusable.is_empty() => "holds no certificate in PEM form".to_owned(),
        None => "holds no certificate that can be parsed".to_owned(),
    };
    Err(NoRoots(format!("{named} {problem}")))
}

/// What the system calls the error, without its number.
fn system_words(error: &io::Error) -> String {
    let text = error.to_string();
    let end = text.find(" (os error").unwrap_or(text.len());
    text[..end].to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_nothing_is_named_it_says_what_to_do() {
        let error = select(CertificateResult::default(), "").unwrap_err();
        assert_eq!(
            error.to_string(),
            "no trusted root certificates: install the system's CA certificates, or set SSL_CERT_FILE"
        );
    }

    #[test]
    fn what_no_certificate_can_be_made_of_is_not_trusted() {
        let mut found = CertificateResult::default();
        found.certs.push(CertificateDer::from(vec![1, 2, 3]));
        let error = select(found, "SSL_CERT_FILE '/x'").unwrap_err();
        assert_eq!(
            error.to_string(),
            "no trusted root certificates: SSL_CERT_FILE '/x' holds no certificate that can be parsed"
        );
    }
}
