//! The replication rules of registries, and the replication status of images.

use std::collections::BTreeMap;

use aws_sdk_ecr::{
    operation::describe_image_replication_status::DescribeImageReplicationStatusError as CopiesError,
    types::{ImageIdentifier, ImageReplicationStatus, ReplicationStatus},
};
use domain::{
    image::{Image, Registry},
    replication::{CopyStatus, ReplicationRules},
};

use super::{Registries, parsed};
use crate::capture::Capture;
use retry::CallError;

impl Registries {
    /// The replication rules of a registry, from the response as ECR wrote it: the SDK's types lack the field
    /// `deleteReplication`.
    ///
    /// # Errors
    /// When the rules cannot be read or parsed.
    pub async fn rules(&self, registry: &Registry) -> Result<ReplicationRules, CallError> {
        let body = Capture::new(|answer| answer.body().bytes().map(<[u8]>::to_vec));
        let call = self.read_client(registry).await.describe_registry().customize().interceptor(body.clone());
        let answer = call.send().await?;
        if answer.registry_id().is_some_and(|account| account != registry.account()) {
            let message = format!("the credentials belong to another account than {registry}");
            return Err(CallError::unclear(message));
        }
        let body = body.take().unwrap_or_default();
        ReplicationRules::read(&body).map_err(|error| CallError::unclear(retry::chain(&error)))
    }

    /// The replication status of an image by destination; `None` if the source does not have the image.
    ///
    /// # Errors
    /// When the status cannot be read.
    pub async fn copies(
        &self,
        source: &Registry,
        image: &Image,
    ) -> Result<Option<BTreeMap<Registry, CopyStatus>>, CallError> {
        let id = ImageIdentifier::builder().image_digest(image.digest.as_str()).build();
        let call = self.read_client(source).await.describe_image_replication_status();
        let call = call.registry_id(source.account()).repository_name(image.repository.as_str()).image_id(id);
        let answer = match call.send().await {
            Ok(answer) => answer,
            Err(error) => match error.as_service_error() {
                Some(CopiesError::ImageNotFoundException(_) | CopiesError::RepositoryNotFoundException(_)) => {
                    return Ok(None);
                }
                _ => return Err(error.into()),
            },
        };
        let copy = |copy: &ImageReplicationStatus| {
            let destination = Registry::new(copy.registry_id().unwrap_or_default(), copy.region().unwrap_or_default());
            let destination = destination.map_err(parsed)?;
            let status = match copy.status() {
                Some(ReplicationStatus::InProgress) => CopyStatus::InProgress,
                Some(ReplicationStatus::Complete) => CopyStatus::Complete,
                Some(ReplicationStatus::Failed) => CopyStatus::Failed(copy.failure_code().map(str::to_owned)),
                other => return Err(CallError::unclear(format!("unknown replication status {other:?}"))),
            };
            Ok((destination, status))
        };
        Ok(Some(answer.replication_statuses().iter().map(copy).collect::<Result<_, _>>()?))
    }
}
