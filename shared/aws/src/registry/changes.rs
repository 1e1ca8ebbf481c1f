//! The calls that change a registry. The SDK does not retry them: the caller reads again before another attempt.

use aws_sdk_ecr::{
    Client,
    config::retry::RetryConfig,
    types::{ImageIdentifier, TargetStorageClass},
};
use domain::image::{Digest, Image, Registry, RepositoryName, Tag};

use super::Registries;
use retry::CallError;

/// The maximum number of ids in one call.
/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_BatchDeleteImage.html>
pub const IDS_PER_CALL: usize = 100;

/// What is to be deleted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ImageOrTag {
    /// An image with all its tags.
    Image(Digest),
    /// A tag, whichever image has it.
    Tag(Tag),
}

/// The result for one id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeleteResult {
    /// It was deleted. For a tag, the digest is that of the image that had it.
    Gone(Option<Digest>),
    /// ECR refused.
    Refused {
        /// ECR's failure code, such as `ImageReferencedByManifestList`.
        code: String,
        /// ECR's reason.
        reason: String,
    },
    /// The response does not mention the id.
    Unmentioned,
}

impl Registries {
    /// Deletes up to [`IDS_PER_CALL`] images or tags. Results are in the order of the ids.
    ///
    /// # Errors
    /// When ECR refuses the whole call or does not answer. Any of the ids may have been deleted then.
    pub async fn delete(
        &self,
        registry: &Registry,
        repository: &RepositoryName,
        ids: &[ImageOrTag],
    ) -> Result<Vec<DeleteResult>, CallError> {
        let client = self.write_client(registry).await;
        let call = client.batch_delete_image().registry_id(registry.account()).repository_name(repository.as_str());
        let answer = call.set_image_ids(Some(ids.iter().map(identifier).collect())).customize();
        let answer = answer.config_override(once()).send().await?;
        let outcome = |id: &ImageOrTag| {
            let about = |other: &ImageIdentifier| match id {
                ImageOrTag::Image(digest) => other.image_digest() == Some(digest.as_str()),
                ImageOrTag::Tag(tag) => other.image_tag() == Some(tag.as_str()),
            };
            let failure = answer.failures().iter().find(|failure| failure.image_id().is_some_and(about));
            if let Some(failure) = failure {
                let code = failure.failure_code().map_or("unnamed", |code| code.as_str()).to_owned();
                return DeleteResult::Refused { code, reason: failure.failure_reason().unwrap_or_default().to_owned() };
            }
            match answer.image_ids().iter().find(|id| about(id)) {
                Some(gone) => DeleteResult::Gone(gone.image_digest().and_then(|digest| digest.parse().ok())),
                None => DeleteResult::Unmentioned,
            }
        };
        Ok(ids.iter().map(outcome).collect())
    }

    /// Moves an image to the archive storage class.
    ///
    /// # Errors
    /// When ECR refuses or does not answer. The image may have been moved nevertheless.
    pub async fn archive(&self, registry: &Registry, image: &Image) -> Result<(), CallError> {
        let client = self.write_client(registry).await;
        self.update(client, registry, image, TargetStorageClass::Archive).await
    }

    /// Starts to restore an image from the archive storage class. It uses the role that changes registries, or the
    /// caller's own credentials if there is none.
    ///
    /// # Errors
    /// When ECR refuses or does not answer. The restore may be running nevertheless.
    pub async fn restore(&self, registry: &Registry, image: &Image) -> Result<(), CallError> {
        let client = self.write_client(registry).await;
        self.update(client, registry, image, TargetStorageClass::Standard).await
    }

    async fn update(
        &self,
        client: Client,
        registry: &Registry,
        image: &Image,
        to: TargetStorageClass,
    ) -> Result<(), CallError> {
        let id = ImageIdentifier::builder().image_digest(image.digest.as_str()).build();
        let call = client.update_image_storage_class().registry_id(registry.account());
        let call = call.repository_name(image.repository.as_str()).image_id(id).target_storage_class(to);
        call.customize().config_override(once()).send().await?;
        Ok(())
    }
}

/// A configuration of one call that the SDK does not retry.
pub(super) fn once() -> aws_sdk_ecr::config::Builder {
    aws_sdk_ecr::Config::builder().retry_config(RetryConfig::disabled())
}

fn identifier(id: &ImageOrTag) -> ImageIdentifier {
    match id {
        ImageOrTag::Image(digest) => ImageIdentifier::builder().image_digest(digest.as_str()).build(),
        ImageOrTag::Tag(tag) => ImageIdentifier::builder().image_tag(tag.as_str()).build(),
    }
}
