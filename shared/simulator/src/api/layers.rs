//! Operations on layers. Those that move content do so outside of the world's lock.
//!
//! <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_UploadLayerPart.html> and the operations around it

use base64::{Engine, prelude::BASE64_STANDARD};
use domain::image::Digest;
use serde::Deserialize;
use serde_json::json;

use super::{ApiCaller, ApiError, ApiResult, Where, between, compact, invalid, read};
use crate::{
    Simulator,
    layers::{PART_BYTES, UploadError, sha256},
    world::{RepositoryId, World},
};

/// The path of the server at which a layer is downloaded; the digest follows.
pub(crate) const DOWNLOADS: &str = "/_simulator/layers/";

/// The most layers in a call. <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_BatchCheckLayerAvailability.html>
const MAX_LAYERS: usize = 100;

/// The most bytes of a part that the API's model accepts.
const MAX_PART_BYTES: usize = 20_971_520;

/// An operation that moves content.
type LayerOperation = fn(&Simulator, &ApiCaller, &[u8]) -> ApiResult;

/// The implementation of an operation that moves content, if it is one.
pub(crate) fn operation(name: &str) -> Option<LayerOperation> {
    match name {
        "InitiateLayerUpload" => Some(initiate_layer_upload),
        "UploadLayerPart" => Some(upload_layer_part),
        "CompleteLayerUpload" => Some(complete_layer_upload),
        _ => None,
    }
}

impl From<UploadError> for ApiError {
    fn from(error: UploadError) -> Self {
        let code = match &error {
            UploadError::NotFound => "UploadNotFoundException",
            UploadError::NotConsecutive { .. } | UploadError::TooLarge => "InvalidLayerPartException",
            UploadError::TooManyParts => "LimitExceededException",
            UploadError::Empty => "EmptyUploadException",
            UploadError::PartTooSmall => "LayerPartTooSmallException",
            UploadError::WrongDigest(_) => "InvalidLayerException",
            UploadError::Disk(_) => "ServerException",
        };
        Self::new(code, error.to_string())
    }
}

fn initiate_layer_upload(simulator: &Simulator, caller: &ApiCaller, body: &[u8]) -> ApiResult {
    let at: Where = read(body)?;
    let (place, id) = simulator.with(|world| {
        let place = world.pushed_to(caller, &at, "InitiateLayerUpload")?;
        Ok::<_, ApiError>((place, world.new_id()))
    })?;
    simulator.layers.begin(&id, &place)?;
    Ok(json!({"uploadId": id, "partSize": PART_BYTES}))
}

fn upload_layer_part(simulator: &Simulator, caller: &ApiCaller, body: &[u8]) -> ApiResult {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Request {
        upload_id: String,
        part_first_byte: u64,
        part_last_byte: u64,
        layer_part_blob: String,
        #[serde(flatten)]
        at: Where,
    }
    let request: Request = read(body)?;
    let place = simulator.with(|world| world.found(caller, &request.at, "UploadLayerPart"))?;
    let part = BASE64_STANDARD.decode(&request.layer_part_blob);
    let part = part.map_err(|error| ApiError::new("SerializationException", error.to_string()))?;
    if part.len() > MAX_PART_BYTES {
        let rule = format!("Member must have length less than or equal to {MAX_PART_BYTES}");
        return Err(invalid(format!("Invalid parameter at 'layerPartBlob' failed to satisfy constraint: '{rule}'")));
    }
    let (first, last, length) = (request.part_first_byte, request.part_last_byte, part.len() as u64);
    if length > PART_BYTES || last.checked_sub(first).and_then(|more| more.checked_add(1)) != Some(length) {
        let message = format!("The layer part size is not valid: {length} bytes from {first} to {last}");
        return Err(ApiError::new("InvalidLayerPartException", message));
    }
    simulator.layers.append_part(&request.upload_id, &place, first, &part)?;
    Ok(json!({
        "registryId": place.registry.account(), "repositoryName": place.repository, "uploadId": request.upload_id,
        "lastByteReceived": last,
    }))
}

fn complete_layer_upload(simulator: &Simulator, caller: &ApiCaller, body: &[u8]) -> ApiResult {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Request {
        upload_id: String,
        layer_digests: Vec<Digest>,
        #[serde(flatten)]
        at: Where,
    }
    let Request { upload_id, layer_digests, at } = read(body)?;
    between("layerDigests", &layer_digests, MAX_LAYERS)?;
    let place = simulator.with(|world| world.found(caller, &at, "CompleteLayerUpload"))?;
    UploadError::unless_empty(simulator.layers.received(&upload_id, &place)?)?;
    let (digest, is_new) = complete_upload(simulator, &upload_id, &place, &layer_digests)?;
    if !is_new {
        let (name, account) = (&place.repository, place.registry.account());
        let message = format!(
            "The image layer '{digest}' already exists in the repository with name '{name}' \
             in the registry with id '{account}'"
        );
        return Err(ApiError::new("LayerAlreadyExistsException", message));
    }
    Ok(json!({
        "registryId": place.registry.account(), "repositoryName": place.repository, "uploadId": upload_id,
        "layerDigest": digest,
    }))
}

/// Makes a layer of an upload. Returns its digest, and whether the repository did not have it.
pub(crate) fn complete_upload(
    simulator: &Simulator,
    upload: &str,
    place: &RepositoryId,
    expected: &[Digest],
) -> Result<(Digest, bool), UploadError> {
    let mut is_new = false;
    let digest = simulator.layers.complete(upload, place, expected, |layer, size_bytes| {
        simulator.with(|world| {
            is_new = world.layer_size(place, layer).is_none();
            world.add_layer(place, layer, size_bytes);
        });
    })?;
    Ok((digest, is_new))
}

/// A layer is available if it is there, or if an image names it that was pushed without layers (B1).
pub(super) fn batch_check_layer_availability(world: &mut World, caller: &ApiCaller, body: &[u8]) -> ApiResult {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Request {
        layer_digests: Vec<String>,
        #[serde(flatten)]
        at: Where,
    }
    let Request { layer_digests, at } = read(body)?;
    between("layerDigests", &layer_digests, MAX_LAYERS)?;
    let place = world.found(caller, &at, "BatchCheckLayerAvailability")?;
    let repository = world.existing(&place)?;
    let (mut layers, mut failures) = (Vec::new(), Vec::new());
    for text in layer_digests {
        let Some(digest) = sha256(&text) else {
            let reason =
                "Invalid request parameters: layer digest should satisfy the regex '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'";
            failures.push(json!({"layerDigest": text, "failureCode": "InvalidLayerDigest", "failureReason": reason}));
            continue;
        };
        let size = world.layer_size(&place, &digest);
        let is_named = repository.names_layer(&digest) && !world.settings.put_image_requires_layers;
        let availability = if size.is_some() || is_named { "AVAILABLE" } else { "UNAVAILABLE" };
        layers.push(compact(json!({"layerDigest": digest, "layerAvailability": availability, "layerSize": size})));
    }
    Ok(json!({"layers": layers, "failures": failures}))
}

/// "You can only get URLs for image layers that are referenced in an image." The server completes the URL.
/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetDownloadUrlForLayer.html>
pub(super) fn get_download_url_for_layer(world: &mut World, caller: &ApiCaller, body: &[u8]) -> ApiResult {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Request {
        layer_digest: Digest,
        #[serde(flatten)]
        at: Where,
    }
    let Request { layer_digest, at } = read(body)?;
    let place = world.found(caller, &at, "GetDownloadUrlForLayer")?;
    if world.layer_size(&place, &layer_digest).is_none() {
        return Err(layers_not_found(&place, &[layer_digest]));
    }
    if !world.existing(&place)?.names_layer(&layer_digest) {
        let message = "The specified layer is not available because it is not associated with an image. Unassociated \
                       image layers may be cleaned up at any time.";
        return Err(ApiError::new("LayerInaccessibleException", message));
    }
    Ok(json!({"downloadUrl": format!("{DOWNLOADS}{layer_digest}"), "layerDigest": layer_digest}))
}

/// The error about layers that a repository does not have.
pub(crate) fn layers_not_found(place: &RepositoryId, layers: &[Digest]) -> ApiError {
    let (name, account) = (&place.repository, place.registry.account());
    let layers: Vec<_> = layers.iter().map(ToString::to_string).collect();
    let message = format!(
        "Layers with digests '[{}]' do not exist in the repository with name '{name}' in the registry with id '{account}'",
        layers.join(", ")
    );
    ApiError::new("LayersNotFoundException", message)
}
