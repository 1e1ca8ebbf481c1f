//! Operations that move images to the archive storage class and back (S1).

use domain::image::Digest;
use jiff::SignedDuration;
use serde::Deserialize;
use serde_json::json;

use super::{ApiCaller, ApiError, ApiResult, Where, read, refused};
use crate::{
    clock::later,
    event::Action,
    repository::{ImageId, ImageStatus},
    world::{PendingTask, RepositoryId, World},
};

/// The duration of a restore: "You can expect ECR to restore the image within 20 minutes" (S1).
const RESTORE: SignedDuration = SignedDuration::from_mins(20);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum StorageClass {
    Standard,
    Archive,
}

pub(super) fn update_image_storage_class(world: &mut World, caller: &ApiCaller, body: &[u8]) -> ApiResult {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Request {
        image_id: ImageId,
        target_storage_class: StorageClass,
        #[serde(flatten)]
        at: Where,
    }
    let Request { image_id, target_storage_class: target, at } = read(body)?;
    let place = world.found(caller, &at, "UpdateImageStorageClass")?;
    let repository = world.existing(&place)?;
    let (digest, _) = repository.resolve(&image_id).map_err(|refusal| refused(&place, &image_id, refusal))?;
    let Some(image) = repository.image(&digest) else {
        return Err(refused(&place, &image_id, ("ImageNotFound", String::new())));
    };
    let status = match (image.state.status, target) {
        (ImageStatus::Active, StorageClass::Archive) => {
            // As for lifecycle policies: an index must be archived before the manifests that it refers to (L3).
            if let Some(index) = repository.index_of(&digest) {
                let message = format!("Requested image referenced by manifest list: [{index}]");
                return Err(ApiError::new("ImageStorageClassUpdateNotSupportedException", message));
            }
            world.archive(&place, &digest);
            ImageStatus::Archived
        }
        (ImageStatus::Archived, StorageClass::Standard) => {
            if let Some(image) = world.image_mut(&place, &digest) {
                image.status = ImageStatus::Activating;
            }
            let again = PendingTask::Activation { place: place.clone(), digest: digest.clone() };
            world.plan(later(world.now(), RESTORE), again);
            ImageStatus::Activating
        }
        // The image already has the requested class, or its restore is running.
        (status @ (ImageStatus::Active | ImageStatus::Activating), StorageClass::Standard)
        | (status @ ImageStatus::Archived, StorageClass::Archive) => status,
        (ImageStatus::Activating, StorageClass::Archive) => {
            let message = "The image is being restored and cannot be archived yet";
            return Err(ApiError::new("ImageStorageClassUpdateNotSupportedException", message));
        }
    };
    let answer = json!({
        "registryId": place.registry.account(), "repositoryName": place.repository,
        "imageId": ImageId { image_digest: Some(digest.to_string()), image_tag: image_id.image_tag }, "imageStatus": status,
    });
    Ok(answer)
}

impl World {
    /// Moves an image to the archive.
    pub(crate) fn archive(&mut self, place: &RepositoryId, digest: &Digest) {
        let moment = self.moment();
        let Some(image) = self.image_mut(place, digest) else { return };
        image.status = ImageStatus::Archived;
        image.archived_at = Some(moment);
        if let Some(manifest) = self.manifest(digest) {
            self.emit_image_action(place, &manifest, None, Action::Archive);
        }
    }

    /// Completes a restore, unless the image changed meanwhile. The image replicates like a new one (R2).
    pub(crate) fn activate(&mut self, place: &RepositoryId, digest: &Digest) {
        let moment = self.moment();
        let Some(image) = self.image_mut(place, digest).filter(|image| image.status == ImageStatus::Activating) else {
            return;
        };
        image.status = ImageStatus::Active;
        image.activated_at = Some(moment);
        let tags = image.tags.clone();
        if let Some(manifest) = self.manifest(digest) {
            self.emit_image_action(place, &manifest, None, Action::Restore(moment));
        }
        for tag in &tags {
            self.replicate(place, digest, Some(tag));
        }
        if tags.is_empty() {
            self.replicate(place, digest, None);
        }
    }
}
