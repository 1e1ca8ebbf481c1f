//! Parses manifests: images, indexes of images, and artifacts with a subject.
//!
//! <https://github.com/opencontainers/image-spec/blob/v1.1.0/manifest.md>, `image-index.md`

use domain::image::Digest;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

/// A manifest, and the values that the simulator needs from it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Manifest {
    pub(crate) text: String,
    pub(crate) digest: Digest,
    pub(crate) media_type: String,
    /// The media type of the configuration; nothing for an index.
    pub(crate) artifact_media_type: Option<String>,
    /// The artifact type, as in the subject's list of referrers.
    pub(crate) artifact_type: Option<String>,
    pub(crate) annotations: serde_json::Map<String, serde_json::Value>,
    /// The configuration and the layers, except for those that are downloaded from elsewhere.
    pub(crate) layers: Vec<Digest>,
    /// The manifests that an index refers to.
    pub(crate) children: Vec<Digest>,
    /// The subject of an artifact.
    pub(crate) subject: Option<Digest>,
    /// The size of the configuration and the layers; 0 for an index.
    pub(crate) size_bytes: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
    manifests: Option<Vec<Descriptor>>,
    subject: Option<Descriptor>,
    #[serde(default)]
    annotations: serde_json::Map<String, serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: Option<String>,
    digest: Option<Digest>,
    #[serde(default)]
    size: u64,
    /// Where a layer that no registry distributes is downloaded from.
    #[serde(default)]
    urls: Vec<String>,
}

/// The most bytes of a manifest.
/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_PutImage.html>
pub(crate) const MAX_BYTES: usize = 4_194_304;

impl Manifest {
    /// Parses a manifest; the error is a message for the caller. A manifest without a media type needs one in the
    /// request.
    pub(crate) fn read(text: String, media_type: Option<String>) -> Result<Self, &'static str> {
        if text.len() > MAX_BYTES {
            return Err("Member must have length less than or equal to 4194304");
        }
        let document: Document = serde_json::from_str(&text).map_err(|_| "Invalid JSON syntax")?;
        let hash: String = Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        let digest = format!("sha256:{hash}").parse().map_err(|_| "Invalid digest")?;
        let media_type =
            media_type.or(document.media_type).ok_or("mediaType and imageManifestMediaType are missing")?;
        let artifact_media_type = document.config.as_ref().and_then(|config| config.media_type.clone());
        let children = document.manifests.unwrap_or_default();
        let parts = document.config.iter().chain(&document.layers);
        Ok(Self {
            size_bytes: parts
                .clone()
                .try_fold(0_u64, |sum, part| sum.checked_add(part.size))
                .ok_or("the sizes of the layers are too large")?,
            layers: parts.filter(|part| part.urls.is_empty()).filter_map(|part| part.digest.clone()).collect(),
            children: children.into_iter().filter_map(|child| child.digest).collect(),
            subject: document.subject.and_then(|subject| subject.digest),
            artifact_type: document.artifact_type.or_else(|| artifact_media_type.clone()),
            artifact_media_type,
            annotations: document.annotations,
            media_type,
            digest,
            text,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_the_hash_of_the_text() {
        let manifest = Manifest::read("{}".to_owned(), Some("some/type".to_owned())).unwrap();
        let digest = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
        assert_eq!(manifest.digest.as_str(), digest);
        assert_eq!(manifest.media_type, "some/type");
        let too_large =
            r#"{"mediaType": "a/b", "layers": [{"size": 9223372036854775808}, {"size": 9223372036854775808}]}"#;
        for (text, why) in [
            ("not json", "Invalid JSON syntax"),
            ("{}", "mediaType and imageManifestMediaType are missing"),
            (too_large, "the sizes of the layers are too large"),
        ] {
            assert_eq!(Manifest::read(text.to_owned(), None).unwrap_err(), why);
        }
    }

    #[test]
    fn an_artifact_names_its_subject_and_an_index_its_children() {
        let of = |text: &str| Manifest::read(text.to_owned(), Some("some/type".to_owned())).unwrap();
        let artifact = of(r#"{"artifactType": "text/sbom+json", "subject": {"digest": "sha256:ab", "size": 2},
            "config": {"mediaType": "application/vnd.oci.empty.v1+json", "size": 2}, "layers": [{"size": 40}]}"#);
        assert_eq!(artifact.subject.unwrap().as_str(), "sha256:ab");
        assert_eq!(artifact.artifact_type.as_deref(), Some("text/sbom+json"));
        assert_eq!(artifact.size_bytes, 42);
        let index =
            of(r#"{"manifests": [{"digest": "sha256:ab", "size": 500}, {"digest": "sha256:cd", "size": 400}]}"#);
        assert_eq!((index.children.len(), index.size_bytes), (2, 0));
    }
}
