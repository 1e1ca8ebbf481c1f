//! Operations on images: put, get, delete, describe, list.

mod push;

use domain::image::Tag;
use jiff::SignedDuration;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    ApiCaller, ApiError, ApiResult, Paging, Where, between, compact, invalid, page, read, refused,
    registry_settings::records_pulls, time,
};
use crate::{
    clock::later,
    manifest::Manifest,
    repository::{ImageId, ImageStatus, Repository, StoredImage},
    world::{RepositoryId, World},
};

pub(super) use push::put_image;

/// The largest number of image ids in a call (D2).
const MAX_IDS: usize = 100;

fn image(place: &RepositoryId, id: ImageId, manifest: &Manifest) -> Value {
    json!({
        "registryId": place.registry.account(), "repositoryName": place.repository, "imageId": id,
        "imageManifest": manifest.text, "imageManifestMediaType": manifest.media_type,
    })
}

/// A request about several images.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Batch {
    image_ids: Vec<ImageId>,
    #[serde(flatten)]
    at: Where,
}

fn failure(id: &ImageId, code: &str, reason: &str) -> Value {
    json!({"imageId": id, "failureCode": code, "failureReason": reason})
}

/// The pull time is updated "at least once every 24 hours" (I4).
const PULL_NOTED: SignedDuration = SignedDuration::from_hours(24);

pub(super) fn batch_get_image(world: &mut World, caller: &ApiCaller, body: &[u8]) -> ApiResult {
    let Batch { image_ids, at } = read(body)?;
    between("imageIds", &image_ids, MAX_IDS)?;
    let place = world.found(caller, &at, "BatchGetImage")?;
    let records =
        world.registry(&place.registry).is_none_or(|state| records_pulls(&state.pull_time_exclusions, &caller.arn));
    let (mut images, mut failures, now) = (Vec::new(), Vec::new(), world.now());
    for id in image_ids {
        let repository = world.existing(&place)?;
        let (digest, tag) = match repository.resolve(&id) {
            Ok(found) => found,
            Err((code, reason)) => {
                failures.push(failure(&id, code, &reason));
                continue;
            }
        };
        let Some(stored) = repository.image(&digest) else { continue };
        // S3: "Requests to pull the archived image will fail".
        if stored.state.status != ImageStatus::Active {
            let code =
                if world.settings.unconfirmed.archived_is_inaccessible { "ImageInaccessible" } else { "ImageNotFound" };
            failures.push(failure(&id, code, "Requested image is archived"));
            continue;
        }
        let found = ImageId { image_digest: Some(digest.to_string()), image_tag: tag.map(String::from) };
        images.push(image(&place, found, &stored.manifest));
        let noted = stored.state.pulled_at.is_some_and(|pulled| now < later(pulled, PULL_NOTED));
        if let Some(state) = world.image_mut(&place, &digest).filter(|_| records && !noted) {
            state.pulled_at = Some(now);
        }
    }
    Ok(json!({"images": images, "failures": failures}))
}

pub(super) fn batch_delete_image(world: &mut World, caller: &ApiCaller, body: &[u8]) -> ApiResult {
    let Batch { image_ids, at } = read(body)?;
    between("imageIds", &image_ids, MAX_IDS)?;
    let place = world.found(caller, &at, "BatchDeleteImage")?;
    let (mut deleted, mut failures) = (Vec::new(), Vec::new());
    for id in image_ids {
        match delete(world, &place, &id)? {
            Ok(gone) => deleted.extend(gone),
            Err((code, reason)) => failures.push(failure(&id, code, &reason)),
        }
    }
    Ok(json!({"imageIds": deleted, "failures": failures}))
}

/// Deletes the image or tag of one id. Returns an entry for each tag that was deleted (D1).
fn delete(
    world: &mut World,
    place: &RepositoryId,
    id: &ImageId,
) -> Result<Result<Vec<ImageId>, (&'static str, String)>, ApiError> {
    let repository = world.existing(place)?;
    let (digest, tag) = match repository.resolve(id) {
        Ok(found) => found,
        Err(refusal) => return Ok(Err(refusal)),
    };
    // U6: whether the digest is only a condition if the id has both a tag and a digest.
    let whole = id.image_digest.is_some() && !world.settings.unconfirmed.tag_with_digest_removes_tag;
    let tag = tag.filter(|_| !whole);
    let tags = repository.image(&digest).map(|image| image.state.tags.clone()).unwrap_or_default();
    let last = tag.is_some() && tags.len() == 1;
    if let Some(index) = repository.index_of(&digest).filter(|_| tag.is_none() || last) {
        let reason = format!("Requested image referenced by manifest list: [{index}]");
        return Ok(Err(("ImageReferencedByManifestList", reason)));
    }
    let gone =
        |tag: Option<&Tag>| ImageId { image_digest: Some(digest.to_string()), image_tag: tag.map(ToString::to_string) };
    let Some(tag) = tag else {
        world.delete_image(place, &digest, true);
        world.replicate_deletion(place, &digest, None);
        return Ok(Ok(if tags.is_empty() {
            vec![gone(None)]
        } else {
            tags.iter().map(|tag| gone(Some(tag))).collect()
        }));
    };
    world.untag(place, &tag, true);
    // R8: with the last tag, the deletion of the image is replicated.
    world.replicate_deletion(place, &digest, Some(&tag).filter(|_| !last));
    Ok(Ok(vec![gone(Some(&tag))]))
}

/// Selects the images of a list (I3).
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Filter {
    tag_status: TagStatus,
    image_status: StatusFilter,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum TagStatus {
    Tagged,
    Untagged,
    #[default]
    Any,
}

/// "If not specified, only images with ACTIVE status are returned" (I3).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum StatusFilter {
    #[default]
    Active,
    Archived,
    Activating,
    Any,
}

impl StatusFilter {
    fn covers(self, status: ImageStatus) -> bool {
        match self {
            Self::Any => true,
            Self::Active => status == ImageStatus::Active,
            Self::Archived => status == ImageStatus::Archived,
            Self::Activating => status == ImageStatus::Activating,
        }
    }
}

impl Filter {
    fn covers(&self, image: &StoredImage) -> bool {
        let tags = match self.tag_status {
            TagStatus::Any => true,
            TagStatus::Tagged => !image.state.tags.is_empty(),
            TagStatus::Untagged => image.state.tags.is_empty(),
        };
        tags && self.image_status.covers(image.state.status)
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct List {
    image_ids: Option<Vec<ImageId>>,
    filter: Option<Filter>,
    #[serde(flatten)]
    paging: Paging,
    #[serde(flatten)]
    at: Where,
}

pub(super) fn describe_images(world: &mut World, caller: &ApiCaller, body: &[u8]) -> ApiResult {
    let request: List = read(body)?;
    let place = world.found(caller, &request.at, "DescribeImages")?;
    let repository = world.existing(&place)?;
    let Some(ids) = request.image_ids else {
        let filter = request.filter.unwrap_or_default();
        let covered = repository.images().iter().filter(|(_, image)| filter.covers(image));
        let entries = covered.map(|(digest, image)| (digest.to_string(), image));
        let (images, next) = page(entries, &request.paging, 100, 1000)?;
        let details: Vec<_> = images.into_iter().map(|image| detail(&place, repository, image)).collect();
        return Ok(compact(json!({"imageDetails": details, "nextToken": next})));
    };
    between("imageIds", &ids, MAX_IDS)?;
    if request.paging.next_token.is_some() || request.paging.max_results.is_some() {
        return Err(invalid("nextToken and maxResults cannot be used with imageIds"));
    }
    // U7: whether images that are not active are found by their id.
    let default =
        if world.settings.unconfirmed.active_default_applies_to_ids { StatusFilter::Active } else { StatusFilter::Any };
    let status = request.filter.map_or(default, |filter| filter.image_status);
    let mut details: Vec<Value> = Vec::new();
    for id in &ids {
        let (digest, _) = repository.resolve(id).map_err(|refusal| refused(&place, id, refusal))?;
        let image = repository.image(&digest).filter(|image| status.covers(image.state.status));
        let image = image.ok_or_else(|| refused(&place, id, ("ImageNotFound", String::new())))?;
        let description = detail(&place, repository, image);
        if !details.contains(&description) {
            details.push(description);
        }
    }
    Ok(json!({"imageDetails": details}))
}

fn detail(place: &RepositoryId, repository: &Repository, image: &StoredImage) -> Value {
    let StoredImage { manifest, state } = image;
    compact(json!({
        "registryId": place.registry.account(), "repositoryName": place.repository, "imageDigest": manifest.digest,
        "imageTags": Some(&state.tags).filter(|tags| !tags.is_empty()), "imageSizeInBytes": repository.size_bytes(manifest),
        "imagePushedAt": time(state.pushed_at), "imageManifestMediaType": manifest.media_type,
        "artifactMediaType": manifest.artifact_media_type, "lastRecordedPullTime": state.pulled_at.map(time),
        "subjectManifestDigest": manifest.subject, "imageStatus": state.status,
        "lastArchivedAt": state.archived_at.map(time), "lastActivatedAt": state.activated_at.map(time),
    }))
}

pub(super) fn list_images(world: &mut World, caller: &ApiCaller, body: &[u8]) -> ApiResult {
    let request: List = read(body)?;
    let place = world.found(caller, &request.at, "ListImages")?;
    let filter = request.filter.unwrap_or_default();
    let rows = rows(world.existing(&place)?, &filter);
    let (ids, next) = page(rows, &request.paging, 100, 1000)?;
    Ok(compact(json!({"imageIds": ids, "nextToken": next})))
}

/// One row for each tag, and one for each untagged image (I3).
fn rows<'a>(repository: &'a Repository, filter: &'a Filter) -> impl Iterator<Item = (String, ImageId)> + 'a {
    repository.images().iter().filter(|(_, image)| filter.covers(image)).flat_map(|(digest, image)| {
        let untagged = image.state.tags.is_empty().then_some(None);
        image.state.tags.iter().map(Some).chain(untagged).map(move |tag| {
            let tag = tag.map(ToString::to_string);
            let key = format!("{digest}#{}", tag.as_deref().unwrap_or_default());
            (key, ImageId { image_digest: Some(digest.to_string()), image_tag: tag })
        })
    })
}

pub(super) fn list_image_referrers(world: &mut World, caller: &ApiCaller, body: &[u8]) -> ApiResult {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Request {
        subject_id: ImageId,
        #[serde(default)]
        filter: ReferrerFilter,
        #[serde(flatten)]
        paging: Paging,
        #[serde(flatten)]
        at: Where,
    }
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct ReferrerFilter {
        artifact_types: Vec<String>,
        artifact_status: StatusFilter,
    }
    let request: Request = read(body)?;
    let place = world.found(caller, &request.at, "BatchGetImage")?;
    let filter = request.filter;
    if filter.artifact_types.len() > 5 {
        return Err(invalid(
            "Invalid parameter at 'artifactTypes' failed to satisfy constraint: 'Member must have length less than or equal to 5'",
        ));
    }
    let Some(Ok(subject)) = request.subject_id.image_digest.as_deref().map(str::parse) else {
        return Err(invalid(
            "Invalid parameter at 'subjectId' failed to satisfy constraint: 'must have an imageDigest'",
        ));
    };
    let wanted = |manifest: &Manifest| {
        let kind = manifest.artifact_type.as_deref();
        filter.artifact_types.is_empty() || filter.artifact_types.iter().any(|wanted| Some(wanted.as_str()) == kind)
    };
    let referrers = world.existing(&place)?.referrers(&subject);
    let covered =
        referrers.filter(|(_, image)| filter.artifact_status.covers(image.state.status) && wanted(&image.manifest));
    let entries = covered.map(|(digest, image)| {
        let manifest = &image.manifest;
        let description = json!({
            "digest": digest, "mediaType": manifest.media_type, "artifactType": manifest.artifact_type,
            "size": manifest.text.len(), "annotations": manifest.annotations, "artifactStatus": image.state.status,
        });
        (digest.to_string(), compact(description))
    });
    let (referrers, next) = page(entries, &request.paging, 50, 50)?;
    Ok(compact(json!({"referrers": referrers, "nextToken": next})))
}

pub(super) fn describe_image_replication_status(world: &mut World, caller: &ApiCaller, body: &[u8]) -> ApiResult {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Request {
        image_id: ImageId,
        #[serde(flatten)]
        at: Where,
    }
    let Request { image_id, at } = read(body)?;
    let place = world.found(caller, &at, "DescribeImageReplicationStatus")?;
    let (digest, tag) =
        world.existing(&place)?.resolve(&image_id).map_err(|refusal| refused(&place, &image_id, refusal))?;
    let statuses: Vec<_> = world.copies(&place, &digest).into_iter().map(|(to, state)| {
        compact(json!({
            "region": to.region(), "registryId": to.account(), "status": state.status, "failureCode": state.failure_code,
        }))
    }).collect();
    let id = ImageId { image_digest: Some(digest.to_string()), image_tag: tag.map(String::from) };
    Ok(json!({"repositoryName": place.repository, "imageId": id, "replicationStatuses": statuses}))
}
