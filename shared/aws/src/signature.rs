//! Verifies the signatures of SNS's messages, with SNS's certificates.
//!
//! What proves a certificate is the connection: SNS's own host serves it over HTTPS. Its dates are not examined, because
//! a message may wait in a dead-letter queue for longer than the certificate is valid; nor is its name, which AWS does
//! not document and which differs by region.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aws_smithy_http_client::{
    Connector,
    tls::{Provider, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::{
    http::{HttpConnector, SharedHttpConnector},
    orchestrator::HttpRequest,
};
use aws_smithy_types::{body::SdkBody, byte_stream::ByteStream};
use base64::{Engine, engine::general_purpose::STANDARD};
use domain::event::notification::signature::{CertificateUrl, SignatureError, Signed};
use retry::chain;
use rustls_pki_types::{CertificateDer, pem::PemObject};
use tokio::time::timeout;
use webpki::{EndEntityCert, ring::RSA_PKCS1_2048_8192_SHA256};

/// The time for one certificate, of the function's 30 s.
const FETCH_TIMEOUT: Duration = Duration::from_secs(4);

/// A certificate of SNS has 2 kB.
const MAX_BYTES: usize = 16 * 1024;

/// Certificates that are kept. SNS has one for each region, and a new one each year.
const KEPT: usize = 64;

/// Why a message is not proven to be SNS's.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It has no signature that could prove it.
    #[error(transparent)]
    Unsigned(#[from] SignatureError),
    /// SNS has no such certificate.
    #[error("SNS has no certificate {0}")]
    NoCertificate(CertificateUrl),
    /// The signature is of another message, or of another key.
    #[error("SNS did not sign it: its signature does not match")]
    Mismatch,
    /// The certificate could not be read. The same message may be verified later.
    #[error("the certificate {url} cannot be read: {why}")]
    Unread {
        /// Where it is.
        url: CertificateUrl,
        /// What failed.
        why: String,
    },
}

impl VerifyError {
    /// Whether the same message may be proven later.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Unread { .. })
    }
}

/// SNS's certificates, by URL.
#[derive(Debug)]
pub struct Certificates {
    http: SharedHttpConnector,
    kept: Mutex<VecDeque<(CertificateUrl, Certificate)>>,
}

type Certificate = Arc<CertificateDer<'static>>;

impl Default for Certificates {
    fn default() -> Self {
        let provider = Provider::Rustls(CryptoMode::Ring);
        Self::new(SharedHttpConnector::new(Connector::builder().tls_provider(provider).build()))
    }
}

impl Certificates {
    /// Certificates that are fetched through this connector.
    #[must_use]
    pub fn new(http: SharedHttpConnector) -> Self {
        Self { http, kept: Mutex::default() }
    }

    /// Verifies messages. Each result belongs to the message at the same index. The certificates that are not known yet
    /// are fetched at the same time, each once.
    pub async fn verify(
        &self,
        messages: impl IntoIterator<Item = Result<Signed, SignatureError>>,
    ) -> Vec<Result<(), VerifyError>> {
        let messages: Vec<_> = messages.into_iter().collect();
        let urls: BTreeSet<_> = messages.iter().flatten().map(|signed| &signed.certificate).collect();
        let found = futures::future::join_all(urls.into_iter().map(async |url| (url.clone(), self.find(url).await)));
        let found: BTreeMap<_, _> = found.await.into_iter().collect();
        let verified = messages.into_iter().map(|signed| {
            let signed = signed?;
            match found.get(&signed.certificate) {
                Some(Ok(certificate)) => verify(&signed, certificate),
                Some(Err(Unfetched::Missing)) => Err(VerifyError::NoCertificate(signed.certificate)),
                Some(Err(Unfetched::Failed(why))) => {
                    Err(VerifyError::Unread { url: signed.certificate, why: why.clone() })
                }
                None => Err(VerifyError::Mismatch),
            }
        });
        verified.collect()
    }

    async fn find(&self, url: &CertificateUrl) -> Result<Certificate, Unfetched> {
        if let Some(known) = self.known(url) {
            return Ok(known);
        }
        let fetched = timeout(FETCH_TIMEOUT, self.fetch(url)).await;
        let pem = fetched.map_err(|_| Unfetched::Failed(format!("no answer within {FETCH_TIMEOUT:?}")))??;
        let certificate = CertificateDer::from_pem_slice(&pem).map_err(Unfetched::because)?;
        EndEntityCert::try_from(&certificate).map_err(Unfetched::because)?;
        let certificate = Arc::new(certificate);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_back((url.clone(), certificate.clone()));
        if kept.len() > KEPT {
            kept.pop_front();
        }
        Ok(certificate)
    }

    fn known(&self, url: &CertificateUrl) -> Option<Certificate> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find(|(known, _)| known == url).map(|(_, certificate)| certificate.clone())
    }

    /// The answer of SNS's host. The connector follows no redirection.
    async fn fetch(&self, url: &CertificateUrl) -> Result<Vec<u8>, Unfetched> {
        let request = HttpRequest::get(url.as_str()).map_err(Unfetched::because)?;
        let mut answer = self.http.call(request).await.map_err(Unfetched::because)?;
        match answer.status().as_u16() {
            200 => read(answer.take_body()).await,
            // SNS's answer to a name that it does not have: https://github.com/localstack/localstack/issues/5454
            404 => Err(Unfetched::Missing),
            status => Err(Unfetched::Failed(format!("HTTP status {status}"))),
        }
    }
}

/// Why there is no certificate.
enum Unfetched {
    /// SNS does not have it.
    Missing,
    /// It may be there.
    Failed(String),
}

impl Unfetched {
    fn because(error: impl std::error::Error + 'static) -> Self {
        Self::Failed(chain(&error))
    }
}

async fn read(body: SdkBody) -> Result<Vec<u8>, Unfetched> {
    let (mut body, mut bytes) = (ByteStream::new(body), Vec::new());
    while let Some(part) = body.next().await {
        bytes.extend_from_slice(&part.map_err(Unfetched::because)?);
        if bytes.len() > MAX_BYTES {
            return Err(Unfetched::Failed(format!("the answer has more than {MAX_BYTES} bytes")));
        }
    }
    Ok(bytes)
}

/// Verifies one message: RSA (PKCS #1) of its SHA-256 hash, with a key of at least 2,048 bits.
fn verify(signed: &Signed, certificate: &CertificateDer<'_>) -> Result<(), VerifyError> {
    let signature = STANDARD.decode(&signed.signature).map_err(|_| VerifyError::Mismatch)?;
    let certificate = EndEntityCert::try_from(certificate).map_err(|_| VerifyError::Mismatch)?;
    let verified = certificate.verify_signature(RSA_PKCS1_2048_8192_SHA256, signed.text.as_bytes(), &signature);
    verified.map_err(|_| VerifyError::Mismatch)
}
