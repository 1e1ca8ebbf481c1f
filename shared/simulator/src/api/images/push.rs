//! The push of an image.

use std::sync::Arc;

use domain::image::Tag;
use serde::Deserialize;
use serde_json::json;

use super::image;
use crate::{
    api::{ApiCaller, ApiError, ApiResult, Where, invalid, layers::layers_not_found, read},
    event::Action,
    manifest::Manifest,
    repository::{ImageId, ImageState, ImageStatus, Repository, StoredImage},
    world::{RepositoryId, World},
};

/// The largest number of tags of an image.
/// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/service-quotas.html>
const MAX_TAGS: usize = 1_000;

pub(in crate::api) fn put_image(world: &mut World, caller: &ApiCaller, body: &[u8]) -> ApiResult {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Request {
        image_manifest: String,
        image_manifest_media_type: Option<String>,
        image_tag: Option<String>,
        image_digest: Option<String>,
        #[serde(flatten)]
        at: Where,
    }
    let request: Request = read(body)?;
    let place = world.pushed_to(caller, &request.at, "PutImage")?;
    let repository = world.existing(&place)?;
    let manifest = Manifest::read(request.image_manifest, request.image_manifest_media_type).map_err(|wrong| {
        invalid(format!("Invalid parameter at 'ImageManifest' failed to satisfy constraint: '{wrong}'"))
    })?;
    check_manifest(&place, repository, &manifest, request.image_digest.as_deref())?;
    // B1: whether images can be pushed without layers.
    let missing = repository.missing_layers(&manifest);
    if world.settings.put_image_requires_layers && !missing.is_empty() {
        return Err(layers_not_found(&place, &missing));
    }
    let tag: Option<Tag> = request.image_tag.as_deref().map(parsed_tag).transpose()?;
    check_tag(&place, repository, &manifest, tag.as_ref())?;
    let manifest = Arc::new(manifest);
    store_image(world, &place, &manifest, tag.as_ref());
    let id = ImageId { image_digest: Some(manifest.digest.to_string()), image_tag: tag.map(String::from) };
    Ok(json!({"image": image(&place, id, &manifest)}))
}

/// Refuses a manifest that has another digest than the request says, or that lists images which are not there.
fn check_manifest(
    place: &RepositoryId,
    repository: &Repository,
    manifest: &Manifest,
    expected: Option<&str>,
) -> Result<(), ApiError> {
    let (name, account) = (&place.repository, place.registry.account());
    if expected.is_some_and(|expected| expected != manifest.digest.as_str()) {
        let message = "The calculated digest does not match the digest specified in your request";
        return Err(ApiError::new("ImageDigestDoesNotMatchException", message));
    }
    if let Some(missing) = manifest.children.iter().find(|child| repository.image(child).is_none()) {
        let message = format!(
            "Images with digests '[{missing}]' required for pushing image into repository with name '{name}' \
             in the registry with id '{account}' do not exist"
        );
        return Err(ApiError::new("ReferencedImagesNotFoundException", message));
    }
    Ok(())
}

fn parsed_tag(text: &str) -> Result<Tag, ApiError> {
    text.parse().map_err(|_| {
        invalid(format!(
            "Invalid parameter at 'imageTag' failed to satisfy constraint: \
             'must satisfy regular expression '[a-zA-Z0-9-_.]{{1,300}}'', got '{text}'"
        ))
    })
}

/// Refuses a push that would change nothing, that would move an immutable tag, or that would add a tag too many.
fn check_tag(
    place: &RepositoryId,
    repository: &Repository,
    manifest: &Manifest,
    tag: Option<&Tag>,
) -> Result<(), ApiError> {
    let (name, account, digest) = (&place.repository, place.registry.account(), &manifest.digest);
    let there = repository.image(digest).map(|image| &image.state);
    let archived = there.is_some_and(|state| state.status != ImageStatus::Active);
    let same = there.is_some_and(|state| tag.is_none_or(|tag| state.tags.contains(tag)));
    if same && !archived {
        let tag = tag.map(|tag| format!(" and tag '{tag}'")).unwrap_or_default();
        let message = format!(
            "Image with digest '{digest}'{tag} already exists in the repository with name '{name}' \
             in registry with id '{account}'"
        );
        return Err(ApiError::new("ImageAlreadyExistsException", message));
    }
    let other = |tag: &&Tag| repository.tagged(tag).is_some_and(|tagged| tagged != digest);
    if let Some(tag) = tag.filter(other).filter(|tag| repository.mutability.is_immutable(tag)) {
        let message = format!(
            "The image tag '{tag}' already exists in the '{name}' repository \
             and cannot be overwritten because the tag is immutable."
        );
        return Err(ApiError::new("ImageTagAlreadyExistsException", message));
    }
    if there.is_some_and(|state| state.tags.len() >= MAX_TAGS) && !same {
        return Err(ApiError::new("LimitExceededException", format!("The image has {MAX_TAGS} tags already")));
    }
    Ok(())
}

/// Stores a pushed image and its tag, emits the event, and starts the copies.
fn store_image(world: &mut World, place: &RepositoryId, manifest: &Arc<Manifest>, tag: Option<&Tag>) {
    let (digest, moment) = (&manifest.digest, world.moment());
    // U24: whether a new tag for an existing image replicates like a push.
    let mut replicates = world.settings.unconfirmed.new_tag_replicates;
    match world.image_mut(place, digest) {
        None => {
            replicates = true;
            world.put_image(place, StoredImage { manifest: manifest.clone(), state: ImageState::pushed(moment) });
        }
        // S2: pushing an archived image restores it.
        Some(image) if image.status != ImageStatus::Active => {
            replicates = true;
            image.status = ImageStatus::Active;
            image.activated_at = Some(moment);
        }
        Some(_) => {}
    }
    if let Some(tag) = tag {
        world.set_tag(place, tag, digest);
    }
    world.emit_image_action(place, manifest, tag, Action::Push);
    if replicates {
        world.replicate(place, digest, tag);
    }
}
