//! TLS, from a certificate and a key in PEM files.
//!
//! Certificates do not live as long as hosts do. When the files have changed, and do not change any more, both are read again,
//! for connections that come later. If they can't be used, the ones before go on, and that is told.

use super::private;
use crate::options::TlsFiles;
use anyhow::{Context, Result};
use executor_runtime::plugin::Snapshot;
use executor_runtime_run::exhaustion;
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use std::{
    path::Path,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};
use tokio_rustls::TlsAcceptor;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// How connections are encrypted.
pub(crate) struct Tls {
    files: TlsFiles,
    acceptor: RwLock<TlsAcceptor>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// When they can't be used.
    pub(super) fn read(files: &TlsFiles) -> Result<Self> {
        Ok(Self {
            acceptor: RwLock::new(acceptor(&files.certificate, &files.key)?),
            files: files.clone(),
        })
    }

    /// How the next connection is.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let acceptor = self.acceptor.read().unwrap_or_else(PoisonError::into_inner);
        acceptor.clone()
    }

    /// Reads the files again when they have changed, for as long as it is polled.
    pub(crate) async fn follow_changes(&self) {
        let mut taken_up = self.look().await;
        let mut before = taken_up.clone();
        loop {
            tokio::time::sleep(LOOK).await;
            let now = self.look().await;
            // What changes at this moment may be half written, or one of two.
            let is_settled = now == before;
            before.clone_from(&now);
            if !is_settled || now == taken_up {
                continue;
            }
            taken_up = now;
            let files = self.files.clone();
            let read = exhaustion::run_blocking(move || acceptor(&files.certificate, &files.key)).await;
            match read.map_err(anyhow::Error::from).flatten() {
                Ok(acceptor) => {
                    *self.acceptor.write().unwrap_or_else(PoisonError::into_inner) = acceptor;
                    tracing::info!("the TLS certificate was read again");
                }
                Err(error) => tracing::error!("the TLS certificate stays as it was: {error:#}"),
            }
        }
    }

    async fn look(&self) -> Option<Snapshot> {
        let files = self.files.clone();
        let look = move || Snapshot::of([files.certificate.as_path(), files.key.as_path()]);
        exhaustion::run_blocking(look).await.ok()
    }
}

/// Reads the two files.
fn acceptor(certificate: &Path, key: &Path) -> Result<TlsAcceptor> {
    let unusable = || format!("certificate file '{}'", certificate.display());
    let chain: Vec<_> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .with_context(unusable)?;
    let text = private::read("key file", key)?;
    let private =
        PrivateKeyDer::from_pem_slice(&text).with_context(|| format!("key file '{}'", key.display()))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .context("TLS can't be used")?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .with_context(|| {
            format!(
                "certificate '{}' and key '{}' can't be used together",
                certificate.display(),
                key.display()
            )
        })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
