//! Manifests: pushed by `PutImage`, read by `BatchGetImage`, deleted by `BatchDeleteImage`.

use hyper::{
    HeaderMap, StatusCode,
    body::Incoming,
    header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, LOCATION},
};
use serde_json::{Value, json};

use super::{CONTENT_DIGEST, DistributionError, Failure, Reply, Session, answer_with};
use crate::{
    api::layers::layers_not_found,
    body::read,
    manifest::{MAX_BYTES, Manifest},
    world::RepositoryId,
};

/// The header that says that the registry knows the subject of an artifact.
const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");

/// The image id of a reference: a digest has a colon, a tag cannot have one.
fn id_of(reference: &str) -> Value {
    let member = if reference.contains(':') { "imageDigest" } else { "imageTag" };
    json!({member: reference})
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The first failure of a batch, as an error.
fn failure(answer: &Value) -> Result<(), Failure> {
    let (code, reason) = (text(answer, "/failures/0/failureCode"), text(answer, "/failures/0/failureReason"));
    let (status, code) = match code {
        "" => return Ok(()),
        "ImageReferencedByManifestList" => (StatusCode::BAD_REQUEST, "DENIED"),
        // "Requests to pull the archived image will fail with a 404 error" (S3).
        _ => (StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN"),
    };
    Err(DistributionError::new(status, code, reason).into())
}

impl Session<'_> {
    pub(super) fn get_manifest(&self, name: &str, reference: &str, head: bool) -> Reply {
        self.pull_through(name, reference);
        let answer = self.call("BatchGetImage", name, json!({"imageIds": [id_of(reference)]}))?;
        failure(&answer)?;
        let manifest = text(&answer, "/images/0/imageManifest").to_owned();
        let headers = [
            (CONTENT_TYPE, text(&answer, "/images/0/imageManifestMediaType").to_owned()),
            (CONTENT_LENGTH, manifest.len().to_string()),
            (CONTENT_DIGEST, text(&answer, "/images/0/imageId/imageDigest").to_owned()),
        ];
        Ok(answer_with(StatusCode::OK, &headers, if head { String::new() } else { manifest }))
    }

    /// Pushes a manifest, whose layers must have been uploaded before (B1).
    pub(super) async fn put_manifest(&self, name: &str, reference: &str, headers: &HeaderMap, body: Incoming) -> Reply {
        let invalid = |message: &str| DistributionError::new(StatusCode::BAD_REQUEST, "MANIFEST_INVALID", message);
        let body = read(body, MAX_BYTES).await.map_err(|_| Failure::Lost)?.ok_or_else(|| {
            let message = format!("a manifest has at most {MAX_BYTES} bytes");
            DistributionError::new(StatusCode::PAYLOAD_TOO_LARGE, "MANIFEST_INVALID", message)
        })?;
        let body = String::from_utf8(body.into()).map_err(|_| invalid("Invalid JSON syntax"))?;
        let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()?.split(';').next());
        let media_type = media_type.map(|kind| kind.trim().to_owned()).filter(|kind| !kind.is_empty());
        let manifest = Manifest::read(body.clone(), media_type.clone()).map_err(invalid)?;
        self.read(name, "PutImage", |world, place| {
            let missing = world.existing(place)?.missing_layers(&manifest);
            if missing.is_empty() { Ok(()) } else { Err(layers_not_found(place, &missing).into()) }
        })?;
        let mut request = id_of(reference);
        if let Some(members) = request.as_object_mut() {
            members.insert("imageManifest".to_owned(), body.into());
            members.extend(media_type.map(|kind| ("imageManifestMediaType".to_owned(), kind.into())));
        }
        self.call("PutImage", name, request)?;
        let location = format!("/v2/{name}/manifests/{}", manifest.digest);
        let mut headers = vec![(LOCATION, location), (CONTENT_DIGEST, manifest.digest.to_string())];
        headers.extend(manifest.subject.map(|subject| (SUBJECT, subject.to_string())));
        Ok(answer_with(StatusCode::CREATED, &headers, ""))
    }

    /// Lets the pull through cache bring an image that the caller may import (K1).
    fn pull_through(&self, name: &str, reference: &str) {
        let Ok(repository) = name.parse() else { return };
        let place = RepositoryId { registry: self.registry.clone(), repository };
        let Ok(id) = serde_json::from_value(id_of(reference)) else { return };
        self.simulator.with(|world| {
            if world.authorize(&self.caller, &place.registry, &place.arn(), "BatchImportUpstreamImage").is_ok() {
                world.pull_through(&place, &id);
            }
        });
    }

    pub(super) fn delete_manifest(&self, name: &str, reference: &str) -> Reply {
        failure(&self.call("BatchDeleteImage", name, json!({"imageIds": [id_of(reference)]}))?)?;
        Ok(answer_with(StatusCode::ACCEPTED, &[], ""))
    }
}
