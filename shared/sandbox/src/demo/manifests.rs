//! The manifests that the scenario pushes.

use aws_sdk_ecr::types::ImageIdentifier;
use serde_json::json;
use sha2::{Digest, Sha256};

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

pub(super) fn by_digest(manifest: &str) -> ImageIdentifier {
    ImageIdentifier::builder().image_digest(digest(manifest)).build()
}

pub(super) fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().fold("sha256:".to_owned(), |digest, byte| format!("{digest}{byte:02x}"))
}

/// A manifest of one layer; `of` makes the digest distinct.
pub(crate) fn image(of: &str, architecture: &str) -> String {
    let (config, layer) = (digest(&format!("{of} {architecture}")), digest(&format!("{of} {architecture} layer")));
    json!({
        "schemaVersion": 2, "mediaType": IMAGE,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 1_470},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": layer, "size": 31_457_280}],
    })
    .to_string()
}

pub(crate) fn index(images: &[&str]) -> String {
    let manifests: Vec<_> =
        images.iter().map(|image| json!({"mediaType": IMAGE, "digest": digest(image), "size": image.len()})).collect();
    json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}).to_string()
}

/// A signature as an OCI artifact whose subject is the signed image.
pub(crate) fn signature(of: &str) -> String {
    json!({
        "schemaVersion": 2, "mediaType": IMAGE, "artifactType": "application/vnd.cncf.notary.signature",
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest("{}"), "size": 2},
        "layers": [{"mediaType": "application/jose+json", "digest": digest(&format!("signature of {of}")), "size": 2_090}],
        "subject": {"mediaType": INDEX, "digest": digest(of), "size": of.len()},
    })
    .to_string()
}
