//! ECR's own preview of a lifecycle policy. It changes no image.
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/lpp_creation.html>

use aws_sdk_ecr::types::{ImageActionType, LifecyclePolicyPreviewResult, LifecyclePolicyPreviewStatus};
use domain::image::{Digest, Registry, RepositoryName, Tag};

use super::{Registries, changes::once, parsed};
use retry::CallError;

/// The maximum number of results in one page.
/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetLifecyclePolicyPreview.html>
const RESULTS_PER_PAGE: i32 = 100;

/// An image that a lifecycle policy would take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenImage {
    /// The digest.
    pub digest: Digest,
    /// The tags of the image in this registry.
    pub tags: Vec<Tag>,
    /// The priority of the rule.
    pub rule: i64,
    /// Whether the image would be deleted, and not archived.
    pub expires: bool,
}

impl Registries {
    /// Starts a preview of a lifecycle policy: of this text, or else of the policy of the repository.
    ///
    /// # Errors
    /// When ECR refuses, such as while another preview is in progress, or does not answer.
    pub async fn start_lifecycle_preview(
        &self,
        registry: &Registry,
        repository: &RepositoryName,
        text: Option<&str>,
    ) -> Result<(), CallError> {
        let call = self.read_client(registry).await.start_lifecycle_policy_preview().registry_id(registry.account());
        let call = call.repository_name(repository.as_str()).set_lifecycle_policy_text(text.map(str::to_owned));
        call.customize().config_override(once()).send().await?;
        Ok(())
    }

    /// The images that the last preview would take; `None` while it is in progress.
    ///
    /// # Errors
    /// When the preview failed, has expired or does not exist, or cannot be read.
    pub async fn lifecycle_preview(
        &self,
        registry: &Registry,
        repository: &RepositoryName,
    ) -> Result<Option<Vec<TakenImage>>, CallError> {
        let (mut taken, mut next) = (Vec::new(), None);
        loop {
            let call = self.read_client(registry).await.get_lifecycle_policy_preview();
            let call = call.registry_id(registry.account()).repository_name(repository.as_str());
            let page = call.max_results(RESULTS_PER_PAGE).set_next_token(next).send().await?;
            match page.status() {
                Some(LifecyclePolicyPreviewStatus::Complete) => {}
                Some(LifecyclePolicyPreviewStatus::InProgress) => return Ok(None),
                status => {
                    let status = status.map_or("unknown", LifecyclePolicyPreviewStatus::as_str);
                    return Err(CallError::unclear(format!("the status of the preview is {status}")));
                }
            }
            for result in page.preview_results() {
                taken.push(taken_image(result)?);
            }
            next = page.next_token;
            if next.is_none() {
                return Ok(Some(taken));
            }
        }
    }
}

fn taken_image(result: &LifecyclePolicyPreviewResult) -> Result<TakenImage, CallError> {
    let action = result.action().and_then(|action| action.r#type());
    Ok(TakenImage {
        digest: result.image_digest().unwrap_or_default().parse().map_err(parsed)?,
        tags: result.image_tags().iter().map(|tag| tag.parse()).collect::<Result<_, _>>().map_err(parsed)?,
        rule: result.applied_rule_priority().unwrap_or_default().into(),
        expires: action == Some(&ImageActionType::Expire),
    })
}
