//! A repository: its images, its tags, and the references between manifests.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use domain::{
    controls::wildcard,
    image::{Digest, Registry, Tag},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{api::resource_tags::ResourceTags, lifecycle::LifecyclePreview, manifest::Manifest, trouble::Chance};

/// A repository.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Repository {
    pub(crate) created_at: Timestamp,
    pub(crate) mutability: Mutability,
    /// The settings of the create request, which only describe operations return.
    pub(crate) scanning: Value,
    pub(crate) encryption: Value,
    pub(crate) lifecycle: Option<LifecyclePolicy>,
    #[serde(default)]
    pub(crate) lifecycle_preview: Option<LifecyclePreview>,
    /// The repository policy; it is stored and not evaluated.
    #[serde(default)]
    pub(crate) policy: Option<String>,
    /// The tags of the repository itself (T1).
    #[serde(default)]
    pub(crate) resource_tags: ResourceTags,
    #[serde(skip)]
    images: BTreeMap<Digest, StoredImage>,
    #[serde(skip)]
    tags: BTreeMap<Tag, Digest>,
    /// The indexes that refer to a manifest.
    #[serde(skip)]
    indexes: BTreeMap<Digest, BTreeSet<Digest>>,
    /// The artifacts of a subject, which may not be in this repository.
    #[serde(skip)]
    referrers: BTreeMap<Digest, BTreeSet<Digest>>,
    /// The layers that were uploaded, mounted or replicated.
    #[serde(skip)]
    layers: BTreeSet<Digest>,
    /// How many images name a layer, uploaded or not.
    #[serde(skip)]
    named_layers: BTreeMap<Digest, usize>,
    /// The sizes of indexes: each that of its largest image (I5).
    #[serde(skip)]
    index_sizes: BTreeMap<Digest, u64>,
}

/// A lifecycle policy with the time of its last evaluation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct LifecyclePolicy {
    pub(crate) text: String,
    pub(crate) id: String,
    pub(crate) last_evaluated_at: Timestamp,
}

/// Whether tags are mutable (I2).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Mutability {
    #[serde(rename = "imageTagMutability", default)]
    pub(crate) setting: MutabilitySetting,
    #[serde(rename = "imageTagMutabilityExclusionFilters", default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) exclusions: Vec<ExclusionFilter>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum MutabilitySetting {
    #[default]
    Mutable,
    Immutable,
    ImmutableWithExclusion,
    MutableWithExclusion,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ExclusionFilter {
    pub(crate) filter_type: String,
    pub(crate) filter: String,
}

impl Mutability {
    pub(crate) fn is_immutable(&self, tag: &Tag) -> bool {
        let excluded = || self.exclusions.iter().any(|exclusion| wildcard(&exclusion.filter, tag.as_str()));
        match self.setting {
            MutabilitySetting::Mutable => false,
            MutabilitySetting::Immutable => true,
            MutabilitySetting::ImmutableWithExclusion => !excluded(),
            MutabilitySetting::MutableWithExclusion => excluded(),
        }
    }
}

/// An image in a repository.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StoredImage {
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) state: ImageState,
}

/// The mutable state of an image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ImageState {
    pub(crate) tags: BTreeSet<Tag>,
    pub(crate) pushed_at: Timestamp,
    pub(crate) pulled_at: Option<Timestamp>,
    pub(crate) status: ImageStatus,
    pub(crate) archived_at: Option<Timestamp>,
    pub(crate) activated_at: Option<Timestamp>,
    /// The copies of the image, in the registry of the push.
    pub(crate) copies: BTreeMap<Registry, CopyState>,
}

impl ImageState {
    pub(crate) fn pushed(at: Timestamp) -> Self {
        Self {
            tags: BTreeSet::new(),
            pushed_at: at,
            pulled_at: None,
            status: ImageStatus::Active,
            archived_at: None,
            activated_at: None,
            copies: BTreeMap::new(),
        }
    }
}

/// The status of an image (S1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ImageStatus {
    /// In the standard storage class.
    Active,
    /// In the archive storage class.
    Archived,
    /// Being restored to the standard storage class.
    Activating,
}

/// The state of one copy, as in `DescribeImageReplicationStatus` (R9).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CopyState {
    pub(crate) status: CopyStatus,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) failure_code: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum CopyStatus {
    InProgress,
    Complete,
    Failed,
}

/// An image id of a request, unparsed: an invalid id is a failure of its own in the response (D2).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ImageId {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) image_digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) image_tag: Option<String>,
}

/// ECR's `ImageFailureCode` for an id, and its reason (D2).
pub(crate) type Refusal = (&'static str, String);

impl Repository {
    /// An empty repository with default settings (R4).
    pub(crate) fn new(created_at: Timestamp) -> Self {
        Self {
            created_at,
            mutability: Mutability { setting: MutabilitySetting::Mutable, exclusions: Vec::new() },
            scanning: json!({"scanOnPush": false}),
            encryption: json!({"encryptionType": "AES256"}),
            lifecycle: None,
            lifecycle_preview: None,
            policy: None,
            resource_tags: ResourceTags::new(),
            images: BTreeMap::new(),
            tags: BTreeMap::new(),
            indexes: BTreeMap::new(),
            referrers: BTreeMap::new(),
            layers: BTreeSet::new(),
            named_layers: BTreeMap::new(),
            index_sizes: BTreeMap::new(),
        }
    }

    pub(crate) fn images(&self) -> &BTreeMap<Digest, StoredImage> {
        &self.images
    }

    pub(crate) fn image(&self, digest: &Digest) -> Option<&StoredImage> {
        self.images.get(digest)
    }

    pub(crate) fn state_mut(&mut self, digest: &Digest) -> Option<&mut ImageState> {
        self.images.get_mut(digest).map(|image| &mut image.state)
    }

    pub(crate) fn tagged(&self, tag: &Tag) -> Option<&Digest> {
        self.tags.get(tag)
    }

    pub(crate) fn tags(&self) -> &BTreeMap<Tag, Digest> {
        &self.tags
    }

    pub(crate) fn layers(&self) -> &BTreeSet<Digest> {
        &self.layers
    }

    /// Adds a layer; false if it is there already.
    pub(crate) fn add_layer(&mut self, layer: &Digest) -> bool {
        self.layers.insert(layer.clone())
    }

    /// Whether an image names a layer.
    pub(crate) fn names_layer(&self, layer: &Digest) -> bool {
        self.named_layers.contains_key(layer)
    }

    /// Removes the layers of an image that was removed, unless another image names them (B3). Returns them.
    pub(crate) fn remove_unnamed_layers(&mut self, image: &Manifest) -> Vec<Digest> {
        let unnamed = image.layers.iter().filter(|layer| !self.named_layers.contains_key(*layer));
        unnamed.filter(|layer| self.layers.remove(*layer)).cloned().collect()
    }

    /// The layers of a manifest that are not here.
    pub(crate) fn missing_layers(&self, manifest: &Manifest) -> Vec<Digest> {
        manifest.layers.iter().filter(|layer| !self.layers.contains(*layer)).cloned().collect()
    }

    /// The size of an image in bytes; an index has the size of its largest image (I5).
    pub(crate) fn size_bytes(&self, manifest: &Manifest) -> u64 {
        self.index_sizes.get(&manifest.digest).copied().unwrap_or(manifest.size_bytes)
    }

    /// Makes the indexes of an image at least as large as the image, and their indexes, too: an index may refer to an
    /// index often, and indexes to each other in a long chain, so nothing is visited twice, and nothing by recursion.
    fn measure_indexes(&mut self, image: &Digest) {
        let mut grown = vec![image.clone()];
        while let Some(digest) = grown.pop() {
            let Some(size) = self.images.get(&digest).map(|image| self.size_bytes(&image.manifest)) else { continue };
            for index in self.indexes.get(&digest).into_iter().flatten() {
                let known = self.index_sizes.entry(index.clone()).or_default();
                if *known < size {
                    *known = size;
                    grown.push(index.clone());
                }
            }
        }
    }

    /// One of the indexes that refer to a manifest (D3).
    pub(crate) fn index_of(&self, digest: &Digest) -> Option<&Digest> {
        self.indexes.get(digest)?.first()
    }

    pub(crate) fn referrers(&self, subject: &Digest) -> impl Iterator<Item = (&Digest, &StoredImage)> {
        self.referrers.get(subject).into_iter().flatten().filter_map(|digest| self.images.get_key_value(digest))
    }

    /// The artifacts whose subject is not in this repository.
    pub(crate) fn referrers_without_subject(&self) -> Vec<Digest> {
        let gone = self.referrers.iter().filter(|(subject, _)| !self.images.contains_key(subject));
        gone.flat_map(|(_, artifacts)| artifacts).cloned().collect()
    }

    /// Resolves an id to a digest, and to the tag if the id has one.
    pub(crate) fn resolve(&self, id: &ImageId) -> Result<(Digest, Option<Tag>), Refusal> {
        let wrong_digest = || {
            (
                "InvalidImageDigest",
                "Invalid request parameters: image digest should satisfy the regex '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'"
                    .to_owned(),
            )
        };
        let digest: Option<Digest> = match &id.image_digest {
            Some(text) => {
                let digest: Digest = text.parse().map_err(|_| wrong_digest())?;
                if !digest.encoded().bytes().all(|byte| byte.is_ascii_hexdigit()) {
                    return Err(wrong_digest());
                }
                Some(digest)
            }
            None => None,
        };
        let tag: Option<Tag> = match &id.image_tag {
            Some(text) => {
                let wrong = |_| {
                    (
                        "InvalidImageTag",
                        "Invalid request parameters: image tag should satisfy the regex '[a-zA-Z0-9-_.]{1,300}'"
                            .to_owned(),
                    )
                };
                Some(text.parse().map_err(wrong)?)
            }
            None => None,
        };
        let not_found = || ("ImageNotFound", "Requested image not found".to_owned());
        match (digest, tag) {
            (None, None) => Err((
                "MissingDigestAndTag",
                "Invalid request parameters: both tag and digest cannot be null".to_owned(),
            )),
            (Some(digest), None) if self.images.contains_key(&digest) => Ok((digest, None)),
            (Some(_), None) => Err(not_found()),
            (digest, Some(tag)) => {
                let tagged = self.tags.get(&tag).ok_or_else(not_found)?;
                if digest.is_some_and(|digest| digest != *tagged) {
                    let reason = "Invalid request parameters: image tag does not match image digest";
                    return Err(("ImageTagDoesNotMatchDigest", reason.to_owned()));
                }
                Ok((tagged.clone(), Some(tag)))
            }
        }
    }

    /// Stores an image without a tag.
    pub(crate) fn put(&mut self, image: StoredImage) {
        let digest = image.manifest.digest.clone();
        for child in &image.manifest.children {
            self.indexes.entry(child.clone()).or_default().insert(digest.clone());
        }
        if let Some(subject) = &image.manifest.subject {
            self.referrers.entry(subject.clone()).or_default().insert(digest.clone());
        }
        for tag in &image.state.tags {
            self.tags.insert(tag.clone(), digest.clone());
        }
        let manifest = image.manifest.clone();
        if self.images.insert(digest.clone(), image).is_none() {
            for layer in &manifest.layers {
                *self.named_layers.entry(layer.clone()).or_default() += 1;
            }
        }
        // When a repository is loaded, its images come in no order.
        for part in manifest.children.iter().chain([&digest]) {
            self.measure_indexes(part);
        }
    }

    /// Sets a tag on an image of this repository. Returns the image that had the tag before, if it was another one.
    pub(crate) fn set_tag(&mut self, tag: &Tag, digest: &Digest) -> Option<Digest> {
        let image = self.images.get_mut(digest)?;
        image.state.tags.insert(tag.clone());
        let before = self.tags.insert(tag.clone(), digest.clone()).filter(|before| before != digest)?;
        if let Some(loser) = self.images.get_mut(&before) {
            loser.state.tags.remove(tag);
        }
        Some(before)
    }

    /// Removes a tag. Returns the image if it has no tag left.
    pub(crate) fn remove_tag(&mut self, tag: &Tag) -> Option<Digest> {
        let digest = self.tags.remove(tag)?;
        let image = self.images.get_mut(&digest)?;
        image.state.tags.remove(tag);
        image.state.tags.is_empty().then_some(digest)
    }

    /// Removes an image with all its tags.
    pub(crate) fn remove(&mut self, digest: &Digest) -> Option<StoredImage> {
        let image = self.images.remove(digest)?;
        self.index_sizes.remove(digest);
        for tag in &image.state.tags {
            self.tags.remove(tag);
        }
        for child in &image.manifest.children {
            forget(&mut self.indexes, child, digest);
        }
        if let Some(subject) = &image.manifest.subject {
            forget(&mut self.referrers, subject, digest);
        }
        for layer in &image.manifest.layers {
            if let Some(count) = self.named_layers.get_mut(layer) {
                *count -= 1;
                if *count == 0 {
                    self.named_layers.remove(layer);
                }
            }
        }
        Some(image)
    }
}

fn forget(links: &mut BTreeMap<Digest, BTreeSet<Digest>>, to: &Digest, from: &Digest) {
    if let Some(set) = links.get_mut(to) {
        set.remove(from);
        if set.is_empty() {
            links.remove(to);
        }
    }
}

/// The encryption of a new repository: with KMS the answer has the ARN of the key, which can be given by its id or its
/// alias; without one it is AWS's own key for ECR (A3). The simulator has no keys: an alias has one by its name.
pub(crate) fn encryption_of(registry: &Registry, given: &Value) -> Value {
    let text = |name: &str| given.get(name).and_then(Value::as_str);
    let kind = text("encryptionType").unwrap_or("AES256");
    if kind == "AES256" {
        return json!({"encryptionType": kind});
    }
    let key = text("kmsKey").unwrap_or("alias/aws/ecr");
    let arn = if key.starts_with("arn:") && !key.contains(":alias/") {
        key.to_owned()
    } else if let Some((_, alias)) = key.split_once("alias/") {
        registry.arn("kms", &format!("key/{}", Chance::of(0, &format!("key {alias} of {registry}"), 0).id()))
    } else {
        registry.arn("kms", &format!("key/{key}"))
    };
    json!({"encryptionType": kind, "kmsKey": arn})
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By recursion, the first would need as many steps as there are ways to the bottom, and the second too deep a stack.
    #[test]
    fn an_index_of_indexes_is_measured_once_however_often_and_deep_they_are_nested() {
        for (depth, repeated) in [(40, 50), (20_000, 1)] {
            let mut repository = Repository::new(Timestamp::UNIX_EPOCH);
            let mut put = |text: String| {
                let manifest = Arc::new(Manifest::read(text, Some("some/type".to_owned())).unwrap());
                let digest = manifest.digest.clone();
                repository.put(StoredImage { manifest, state: ImageState::pushed(Timestamp::UNIX_EPOCH) });
                digest
            };
            let mut last = put(json!({"config": {"size": 7}}).to_string());
            for _ in 0..depth {
                last = put(json!({"manifests": vec![json!({"digest": last}); repeated]}).to_string());
            }
            assert_eq!(repository.size_bytes(&repository.image(&last).unwrap().manifest), 7);
        }
    }

    #[test]
    fn the_images_of_an_index_may_be_loaded_after_it() {
        let manifest = |value: Value| Manifest::read(value.to_string(), Some("some/type".to_owned())).unwrap();
        let image = manifest(json!({"config": {"size": 7}}));
        let inner = manifest(json!({"manifests": [{"digest": image.digest}]}));
        let outer = manifest(json!({"manifests": [{"digest": inner.digest}]}));
        let mut repository = Repository::new(Timestamp::UNIX_EPOCH);
        for manifest in [&outer, &inner, &image] {
            let manifest = Arc::new(manifest.clone());
            repository.put(StoredImage { manifest, state: ImageState::pushed(Timestamp::UNIX_EPOCH) });
        }
        assert_eq!(repository.size_bytes(&outer), 7);
    }

    #[test]
    fn exclusions_invert_the_mutability_of_matching_tags() {
        let of = |setting, tag: &str| {
            let filter = ExclusionFilter { filter_type: "WILDCARD".to_owned(), filter: "dev-*".to_owned() };
            Mutability { setting, exclusions: vec![filter] }.is_immutable(&tag.parse().unwrap())
        };
        assert!(!of(MutabilitySetting::ImmutableWithExclusion, "dev-1"));
        assert!(of(MutabilitySetting::ImmutableWithExclusion, "v1"));
        assert!(of(MutabilitySetting::MutableWithExclusion, "dev-1"));
        assert!(!of(MutabilitySetting::MutableWithExclusion, "v1"));
    }
}
