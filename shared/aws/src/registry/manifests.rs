//! Reads of manifests, of what they refer to, and of what tags mean: whether an image could be copied now.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ecr::{
    operation::{batch_get_image::BatchGetImageError, describe_repositories::DescribeRepositoriesError},
    types::{ImageFailureCode, ImageIdentifier, ImageTagMutability, LayerAvailability, Repository, SubjectIdentifier},
};
use domain::image::{Digest, Image, Registry, RepositoryName, Tag};
use retry::CallError;
use serde::Deserialize;

use super::{Registries, images::describe_images, parsed};

/// The maximum number of layers in one call.
/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_BatchCheckLayerAvailability.html>
const LAYERS_PER_CALL: usize = 100;

/// The media types of manifests that ECR returns.
/// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-manifest-formats.html>
const MEDIA_TYPES: [&str; 4] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];

/// A manifest, and what it refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The text, whose hash is the digest.
    pub text: String,
    /// The media type.
    pub media_type: String,
    /// The configuration and the layers; empty for an index.
    pub layers: BTreeSet<Digest>,
    /// The size in bytes of each of them that a registry stores: not those that are downloaded from elsewhere.
    pub stored: BTreeMap<Digest, u64>,
    /// The manifests of an index.
    pub children: BTreeSet<Digest>,
}

/// The part of a manifest that is read.
/// <https://github.com/opencontainers/image-spec/blob/v1.1.0/manifest.md>
#[derive(Deserialize)]
struct Document {
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
    #[serde(default)]
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: Option<Digest>,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    urls: Vec<String>,
}

impl Registries {
    /// Reads the manifest of an image; `None` if the registry does not have the image. ECR counts this as a pull.
    /// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_BatchGetImage.html>
    ///
    /// # Errors
    /// When ECR refuses, or its answer does not mention the image.
    pub async fn manifest(&self, registry: &Registry, image: &Image) -> Result<Option<Manifest>, CallError> {
        let call = self.read_client(registry).await.batch_get_image().registry_id(registry.account());
        let id = ImageIdentifier::builder().image_digest(image.digest.as_str()).build();
        let call = call.repository_name(image.repository.as_str()).image_ids(id);
        let call = call.set_accepted_media_types(Some(MEDIA_TYPES.map(str::to_owned).into()));
        let answer = match call.send().await {
            Ok(answer) => answer,
            Err(error)
                if error.as_service_error().is_some_and(BatchGetImageError::is_repository_not_found_exception) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        if let Some(failure) = answer.failures().first() {
            return match failure.failure_code() {
                Some(ImageFailureCode::ImageNotFound) => Ok(None),
                code => {
                    let code = code.map_or("unnamed", ImageFailureCode::as_str);
                    Err(CallError::unclear(format!("{code}: {}", failure.failure_reason().unwrap_or_default())))
                }
            };
        }
        let found = answer.images().first().and_then(|found| Some((found.image_manifest()?, found)));
        let Some((text, found)) = found else {
            return Err(CallError::unclear(format!("ECR's answer does not mention {}", image.digest)));
        };
        let document: Document = serde_json::from_str(text).map_err(|error| CallError::unclear(error.to_string()))?;
        let parts: Vec<_> = document.config.into_iter().chain(document.layers).collect();
        let stored = parts.iter().filter(|part| part.urls.is_empty());
        let digests = |list: Vec<Descriptor>| list.into_iter().filter_map(|part| part.digest).collect();
        Ok(Some(Manifest {
            text: text.to_owned(),
            media_type: found.image_manifest_media_type().unwrap_or_default().to_owned(),
            stored: stored.filter_map(|part| Some((part.digest.clone()?, part.size))).collect(),
            layers: digests(parts),
            children: digests(document.manifests),
        }))
    }

    /// The layers that a repository lacks, of these.
    ///
    /// # Errors
    /// When ECR refuses, or its answer does not mention a layer.
    pub async fn missing_layers(
        &self,
        registry: &Registry,
        repository: &RepositoryName,
        layers: &BTreeSet<Digest>,
    ) -> Result<BTreeSet<Digest>, CallError> {
        let mut missing = layers.clone();
        let all: Vec<_> = layers.iter().map(ToString::to_string).collect();
        for some in all.chunks(LAYERS_PER_CALL) {
            let call = self.read_client(registry).await.batch_check_layer_availability();
            let call = call.registry_id(registry.account()).repository_name(repository.as_str());
            let answer = call.set_layer_digests(Some(some.to_vec())).send().await?;
            for layer in answer.layers() {
                if layer.layer_availability() == Some(&LayerAvailability::Available) {
                    missing.remove(&layer.layer_digest().unwrap_or_default().parse::<Digest>().map_err(parsed)?);
                }
            }
        }
        Ok(missing)
    }

    /// The artifacts that refer to an image: signatures, attestations.
    ///
    /// # Errors
    /// When ECR refuses.
    pub async fn referrers(&self, registry: &Registry, image: &Image) -> Result<BTreeSet<Digest>, CallError> {
        let (mut referrers, mut next) = (BTreeSet::new(), None);
        loop {
            let subject = SubjectIdentifier::builder().image_digest(image.digest.as_str()).build();
            let subject = subject.map_err(|error| CallError::unclear(error.to_string()))?;
            let call = self.read_client(registry).await.list_image_referrers().registry_id(registry.account());
            let call = call.repository_name(image.repository.as_str()).subject_id(subject);
            let page = call.set_next_token(next).send().await?;
            for referrer in page.referrers() {
                referrers.insert(referrer.digest().parse().map_err(parsed)?);
            }
            next = page.next_token;
            if next.is_none() {
                return Ok(referrers);
            }
        }
    }

    /// The digest of the image that has a tag, in any storage class; `None` if none has.
    ///
    /// # Errors
    /// When ECR refuses.
    pub async fn digest_of_tag(
        &self,
        registry: &Registry,
        repository: &RepositoryName,
        tag: &Tag,
    ) -> Result<Option<Digest>, CallError> {
        let call = describe_images(&self.read_client(registry).await, registry, repository);
        let id = ImageIdentifier::builder().image_tag(tag.as_str()).build();
        match call.image_ids(id).send().await {
            Ok(answer) => {
                let digest = answer.image_details().first().and_then(|detail| detail.image_digest());
                digest.map(|digest| digest.parse().map_err(parsed)).transpose()
            }
            Err(error)
                if error.as_service_error().is_some_and(|error| {
                    error.is_image_not_found_exception() || error.is_repository_not_found_exception()
                }) =>
            {
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the tags of a repository cannot be moved; `None` if the repository does not exist. If some tags are
    /// excluded from that, they can be moved.
    ///
    /// # Errors
    /// When ECR refuses.
    pub async fn tags_are_immutable(
        &self,
        registry: &Registry,
        repository: &RepositoryName,
    ) -> Result<Option<bool>, CallError> {
        let call = self.read_client(registry).await.describe_repositories();
        match call.registry_id(registry.account()).repository_names(repository.as_str()).send().await {
            Ok(answer) => {
                let mutability = answer.repositories().first().and_then(Repository::image_tag_mutability);
                Ok(Some(mutability == Some(&ImageTagMutability::Immutable)))
            }
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(DescribeRepositoriesError::is_repository_not_found_exception) =>
            {
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }
}
