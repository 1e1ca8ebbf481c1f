//! The calls that change a registry. The SDK does not retry them: the caller reads again before another attempt.

use aws_sdk_ecr::{
    Client,
    config::retry::RetryConfig,
    operation::batch_delete_image::BatchDeleteImageOutput,
    types::{ImageIdentifier, TargetStorageClass},
};
use domain::{
    deletion::{CallAnswer, ImageOrTag},
    image::{Image, Registry, RepositoryName},
    plan::{Call, Operation},
};

use super::Registries;
use retry::CallError;

impl Registries {
    /// Makes a call for some of its targets; none without a target. Answers are in the order of the ids.
    ///
    /// # Errors
    /// When ECR refuses the whole call or does not answer. It may have been executed for any of the ids then.
    pub async fn change(&self, call: &Call, ids: &[ImageOrTag]) -> Result<Vec<CallAnswer>, CallError> {
        let Call { operation, registry, repository, .. } = call;
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let client = self.write_client(registry).await;
        match operation {
            Operation::Delete => delete(client, registry, repository, ids).await,
            Operation::Archive => {
                for id in ids {
                    update(&client, registry, repository, identifier(id), TargetStorageClass::Archive).await?;
                }
                Ok(vec![CallAnswer::Executed(None); ids.len()])
            }
        }
    }

    /// Starts to restore an image from the archive storage class. It uses the role that changes registries, or the
    /// caller's own credentials if there is none.
    ///
    /// # Errors
    /// When ECR refuses or does not answer. The restore may be running nevertheless.
    pub async fn restore(&self, registry: &Registry, image: &Image) -> Result<(), CallError> {
        let client = self.write_client(registry).await;
        let id = ImageIdentifier::builder().image_digest(image.digest.as_str()).build();
        update(&client, registry, &image.repository, id, TargetStorageClass::Standard).await
    }
}

async fn delete(
    client: Client,
    registry: &Registry,
    repository: &RepositoryName,
    ids: &[ImageOrTag],
) -> Result<Vec<CallAnswer>, CallError> {
    let call = client.batch_delete_image().registry_id(registry.account()).repository_name(repository.as_str());
    let call = call.set_image_ids(Some(ids.iter().map(identifier).collect())).customize();
    let response = call.config_override(once()).send().await?;
    Ok(ids.iter().map(|id| answer(&response, id)).collect())
}

/// What a response says about one id.
fn answer(response: &BatchDeleteImageOutput, id: &ImageOrTag) -> CallAnswer {
    let about = |other: &ImageIdentifier| match id {
        ImageOrTag::Image(digest) => other.image_digest() == Some(digest.as_str()),
        ImageOrTag::Tag(tag) => other.image_tag() == Some(tag.as_str()),
    };
    let failure = response.failures().iter().find(|failure| failure.image_id().is_some_and(about));
    if let Some(failure) = failure {
        let code = failure.failure_code().map_or("unnamed", |code| code.as_str()).to_owned();
        return CallAnswer::Refused { code, reason: failure.failure_reason().unwrap_or_default().to_owned() };
    }
    match response.image_ids().iter().find(|id| about(id)) {
        Some(gone) => CallAnswer::Executed(gone.image_digest().and_then(|digest| digest.parse().ok())),
        None => CallAnswer::Unmentioned,
    }
}

async fn update(
    client: &Client,
    registry: &Registry,
    repository: &RepositoryName,
    id: ImageIdentifier,
    to: TargetStorageClass,
) -> Result<(), CallError> {
    let call = client.update_image_storage_class().registry_id(registry.account());
    let call = call.repository_name(repository.as_str()).image_id(id).target_storage_class(to);
    call.customize().config_override(once()).send().await?;
    Ok(())
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
