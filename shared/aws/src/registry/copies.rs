//! Copies of layers and manifests from one registry to another, by ECR's own API, in the same repository.
//!
//! A layer passes in parts: never more than one is in memory. Nothing is retried by hand, because a repetition of the
//! whole copy goes on with what is missing.

use std::time::Duration;

use aws_sdk_ecr::{
    Client,
    config::{Builder, timeout::TimeoutConfig},
    error::ProvideErrorMetadata,
    primitives::Blob,
};
use aws_smithy_http_client::{
    Connector,
    tls::{Provider, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::{
    http::{HttpConnector, SharedHttpConnector},
    orchestrator::HttpRequest,
};
use aws_smithy_types::byte_stream::ByteStream;
use domain::image::{Digest, Registry, RepositoryName, Tag};
use retry::{CallError, chain};
use sha2::{Digest as _, Sha256};
use tokio::time::timeout;

use super::{Manifest, Registries};

/// The time in which a download must begin, and then must go on.
const DOWNLOAD_TIMEOUT: Duration = Duration::from_secs(60);

/// The time for one attempt to upload a part of 10 MiB, and for all attempts.
const PART_TIMEOUT: Duration = Duration::from_secs(120);
const PART_ATTEMPTS_TIMEOUT: Duration = Duration::from_secs(300);

/// The part size if ECR names none.
/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_InitiateLayerUpload.html>
const PART_BYTES: usize = 10 << 20;

/// The largest part that ECR's API accepts.
/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_UploadLayerPart.html>
const MAX_PART_BYTES: usize = 20_971_520;

/// An upload in progress.
struct LayerUpload<'a> {
    client: Client,
    registry: &'a Registry,
    repository: &'a RepositoryName,
    id: String,
    part_bytes: usize,
    sent: i64,
}

impl Registries {
    /// Copies a layer to the repository of the same name in another registry. What does not hash to the digest is
    /// refused. Calls `on_bytes` for each part that arrived, with its size.
    ///
    /// # Errors
    /// When ECR refuses, the download fails, or its content is not that of the digest.
    pub async fn copy_layer(
        &self,
        repository: &RepositoryName,
        layer: &Digest,
        (from, to): (&Registry, &Registry),
        mut on_bytes: impl FnMut(u64),
    ) -> Result<(), CallError> {
        let mut content = self.download(repository, layer, from).await?;
        let mut upload = self.begin_upload(repository, to).await?;
        let (mut part, mut hash) = (Vec::with_capacity(upload.part_bytes), Sha256::new());
        while let Some(bytes) = timeout(DOWNLOAD_TIMEOUT, content.next()).await.map_err(|_| stalled(layer))? {
            let mut bytes = &*bytes.map_err(|error| CallError::unclear(chain(&error)))?;
            hash.update(bytes);
            while !bytes.is_empty() {
                let (now, later) = bytes.split_at(bytes.len().min(upload.part_bytes - part.len()));
                part.extend_from_slice(now);
                bytes = later;
                if part.len() == upload.part_bytes {
                    on_bytes(upload.send(std::mem::replace(&mut part, Vec::with_capacity(upload.part_bytes))).await?);
                }
            }
        }
        let hash: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        if layer.encoded() != hash {
            return Err(CallError::unclear(format!(
                "what was downloaded is not this layer: its digest is sha256:{hash}; nothing of it was kept"
            )));
        }
        if !part.is_empty() {
            on_bytes(upload.send(part).await?);
        }
        upload.complete(layer).await
    }

    /// The content of a layer.
    async fn download(
        &self,
        repository: &RepositoryName,
        layer: &Digest,
        registry: &Registry,
    ) -> Result<ByteStream, CallError> {
        let call = self.read_client(registry).await.get_download_url_for_layer().registry_id(registry.account());
        let answer = call.repository_name(repository.as_str()).layer_digest(layer.as_str()).send().await?;
        let url = answer.download_url().unwrap_or_default();
        // The URL is signed: it is a secret, and no error may contain it.
        let request = HttpRequest::get(url).map_err(|_| CallError::unclear("ECR's download URL is invalid".into()))?;
        let connector = Connector::builder().tls_provider(Provider::Rustls(CryptoMode::Ring)).build();
        let answer = timeout(DOWNLOAD_TIMEOUT, SharedHttpConnector::new(connector).call(request)).await;
        let answer = answer.map_err(|_| stalled(layer))?;
        let mut answer = answer.map_err(|error| CallError::unclear(chain(&error)))?;
        match answer.status().as_u16() {
            200 => Ok(ByteStream::new(answer.take_body())),
            status => Err(CallError::unclear(format!("the download was answered with HTTP status {status}"))),
        }
    }

    async fn begin_upload<'a>(
        &self,
        repository: &'a RepositoryName,
        registry: &'a Registry,
    ) -> Result<LayerUpload<'a>, CallError> {
        let client = self.write_client(registry).await;
        let call = client.initiate_layer_upload().registry_id(registry.account());
        let answer = call.repository_name(repository.as_str()).send().await?;
        let part_bytes = answer.part_size().and_then(|size| usize::try_from(size).ok()).unwrap_or(PART_BYTES);
        let id = answer.upload_id().unwrap_or_default().to_owned();
        let part_bytes = part_bytes.clamp(1, MAX_PART_BYTES);
        Ok(LayerUpload { client, registry, repository, id, part_bytes, sent: 0 })
    }

    /// Pushes a manifest, with a tag if there is one. It is no error if the image is there with the tag. ECR compares
    /// the manifest with the digest.
    ///
    /// # Errors
    /// When ECR refuses, for example because a layer is missing.
    pub async fn put_manifest(
        &self,
        registry: &Registry,
        repository: &RepositoryName,
        (digest, manifest): (&Digest, &Manifest),
        tag: Option<&Tag>,
    ) -> Result<(), CallError> {
        let call = self.write_client(registry).await.put_image().registry_id(registry.account());
        let call = call.repository_name(repository.as_str()).image_manifest(&manifest.text);
        let media_type = Some(&manifest.media_type).filter(|kind| !kind.is_empty()).cloned();
        let call = call.set_image_manifest_media_type(media_type).image_digest(digest.as_str());
        match call.set_image_tag(tag.map(ToString::to_string)).send().await {
            Err(error) if error.code() == Some("ImageAlreadyExistsException") => Ok(()),
            answer => Ok(answer.map(drop)?),
        }
    }
}

impl LayerUpload<'_> {
    /// Uploads the next part. Returns its size.
    async fn send(&mut self, part: Vec<u8>) -> Result<u64, CallError> {
        let length = i64::try_from(part.len()).unwrap_or_default();
        let (first, last) = (self.sent, self.sent + length - 1);
        let call = self.client.upload_layer_part().registry_id(self.registry.account()).upload_id(&self.id);
        let call = call.repository_name(self.repository.as_str()).part_first_byte(first).part_last_byte(last);
        let timeouts = TimeoutConfig::builder()
            .operation_attempt_timeout(PART_TIMEOUT)
            .operation_timeout(PART_ATTEMPTS_TIMEOUT)
            .build();
        let call = call.layer_part_blob(Blob::new(part)).customize();
        call.config_override(Builder::new().timeout_config(timeouts)).send().await?;
        self.sent += length;
        Ok(length.unsigned_abs())
    }

    /// Makes a layer of the parts. It is no error if the repository has it already.
    async fn complete(self, layer: &Digest) -> Result<(), CallError> {
        let call = self.client.complete_layer_upload().registry_id(self.registry.account()).upload_id(&self.id);
        let call = call.repository_name(self.repository.as_str()).layer_digests(layer.as_str());
        match call.send().await {
            Err(error) if error.code() == Some("LayerAlreadyExistsException") => Ok(()),
            answer => Ok(answer.map(drop)?),
        }
    }
}

fn stalled(layer: &Digest) -> CallError {
    CallError::unclear(format!("the download of layer {} made no progress for {DOWNLOAD_TIMEOUT:?}", layer.short()))
}
