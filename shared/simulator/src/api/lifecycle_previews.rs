//! Operations on previews of lifecycle policies (L7).
//!
//! <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_StartLifecyclePolicyPreview.html>,
//! <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetLifecyclePolicyPreview.html>

use domain::image::Digest;
use jiff::SignedDuration;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    ApiCaller, ApiError, ApiResult, Paging, Where, between, compact, invalid, page, read,
    repositories::{no_lifecycle_policy, read_lifecycle_policy},
    time,
};
use crate::{
    clock::later,
    lifecycle::{LifecyclePreview, PreviewResult},
    repository::ImageId,
    world::World,
};

/// How long a preview is in progress, and how long its result is kept. AWS documents the statuses, and no time (L7).
const IN_PROGRESS: SignedDuration = SignedDuration::from_secs(5);
const KEPT: SignedDuration = SignedDuration::from_hours(24);

/// The maximum number of results in one page, and the default.
const RESULTS: usize = 100;

/// The status of a preview. The simulator has no preview that fails.
fn status(preview: &LifecyclePreview, world: &World) -> &'static str {
    let now = world.now();
    if now < later(preview.started_at, IN_PROGRESS) {
        "IN_PROGRESS"
    } else if now < later(preview.started_at, KEPT) {
        "COMPLETE"
    } else {
        "EXPIRED"
    }
}

pub(super) fn start_lifecycle_policy_preview(world: &mut World, caller: &ApiCaller, body: &[u8]) -> ApiResult {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Request {
        lifecycle_policy_text: Option<String>,
        #[serde(flatten)]
        at: Where,
    }
    let Request { lifecycle_policy_text, at } = read(body)?;
    let place = world.found(caller, &at, "StartLifecyclePolicyPreview")?;
    let repository = world.existing(&place)?;
    if repository.lifecycle_preview.as_ref().is_some_and(|preview| status(preview, world) == "IN_PROGRESS") {
        let message = "The previous lifecycle policy preview request has not completed. Please try again later.";
        return Err(ApiError::new("LifecyclePolicyPreviewInProgressException", message));
    }
    let stored = || repository.lifecycle.as_ref().map(|policy| policy.text.clone());
    let text = lifecycle_policy_text.or_else(stored).ok_or_else(|| no_lifecycle_policy(&place))?;
    let results = read_lifecycle_policy(&text)?.preview(repository, world.now());
    let preview = LifecyclePreview { text: text.clone(), started_at: world.now(), results };
    if let Some(repository) = world.repository_mut(&place) {
        repository.lifecycle_preview = Some(preview);
    }
    Ok(json!({
        "registryId": place.registry.account(), "repositoryName": place.repository, "lifecyclePolicyText": text,
        "status": "IN_PROGRESS",
    }))
}

/// A request for the results of a preview.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Results {
    image_ids: Option<Vec<ImageId>>,
    filter: Option<Filter>,
    #[serde(flatten)]
    paging: Paging,
    #[serde(flatten)]
    at: Where,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Filter {
    tag_status: Option<TagStatus>,
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum TagStatus {
    Tagged,
    Untagged,
    Any,
}

impl Results {
    fn chooses(&self, digest: &Digest, result: &PreviewResult) -> bool {
        let tagged = !result.tags.is_empty();
        let named = |id: &ImageId| {
            id.image_digest.as_deref().is_none_or(|of| of == digest.as_str())
                && id.image_tag.as_deref().is_none_or(|of| result.tags.iter().any(|tag| tag.as_str() == of))
        };
        self.image_ids.as_ref().is_none_or(|ids| ids.iter().any(named))
            && match self.filter.as_ref().and_then(|filter| filter.tag_status) {
                Some(TagStatus::Tagged) => tagged,
                Some(TagStatus::Untagged) => !tagged,
                Some(TagStatus::Any) | None => true,
            }
    }
}

pub(super) fn get_lifecycle_policy_preview(world: &mut World, caller: &ApiCaller, body: &[u8]) -> ApiResult {
    let asked: Results = read(body)?;
    if let Some(ids) = &asked.image_ids {
        between("imageIds", ids, 100)?;
        if asked.paging.next_token.is_some() || asked.paging.max_results.is_some() {
            return Err(invalid("nextToken and maxResults cannot be used together with imageIds"));
        }
    }
    let place = world.found(caller, &asked.at, "GetLifecyclePolicyPreview")?;
    let preview = world.existing(&place)?.lifecycle_preview.as_ref().ok_or_else(|| {
        ApiError::new("LifecyclePolicyPreviewNotFoundException", "There is no dry run for this repository.")
    })?;
    let status = status(preview, world);
    let (mut found, mut next_token, mut counts) = (None, None, None);
    if status == "COMPLETE" {
        let chosen = preview.results.iter().filter(|(digest, result)| asked.chooses(digest, result));
        let entries = chosen.map(|(digest, result)| (digest.to_string(), described(digest, result)));
        let (results, next) = page(entries, &asked.paging, RESULTS, RESULTS)?;
        (found, next_token, counts) = (Some(results), next, Some(summary(preview)));
    }
    Ok(compact(json!({
        "registryId": place.registry.account(), "repositoryName": place.repository,
        "lifecyclePolicyText": preview.text, "status": status,
        "previewResults": found, "nextToken": next_token, "summary": counts,
    })))
}

fn described(digest: &Digest, result: &PreviewResult) -> Value {
    let action = if result.expires {
        json!({"type": "EXPIRE"})
    } else {
        json!({"type": "TRANSITION", "targetStorageClass": "ARCHIVE"})
    };
    json!({
        "imageDigest": digest, "imageTags": result.tags, "imagePushedAt": time(result.pushed_at),
        "action": action, "appliedRulePriority": result.rule_priority,
        "storageClass": if result.archived { "ARCHIVE" } else { "STANDARD" },
    })
}

fn summary(preview: &LifecyclePreview) -> Value {
    let expiring = preview.results.values().filter(|result| result.expires).count();
    let transitioning = preview.results.len() - expiring;
    // "only present if at least one image will be transitioned".
    let archived =
        (transitioning > 0).then(|| json!([{"targetStorageClass": "ARCHIVE", "imageTotalCount": transitioning}]));
    compact(json!({"expiringImageTotalCount": expiring, "transitioningImageTotalCounts": archived}))
}
