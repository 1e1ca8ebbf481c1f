//! What `aws ecr describe-images` and `list-images` print, as observations of a registry.
//!
//! A list shows what is there, and not what is missing: it may be filtered, or a part of a longer one.

use std::collections::{BTreeMap, BTreeSet};

use domain::{
    drift,
    event::Event,
    fact::{Fact, Subject},
    image::{Digest, Image, RepositoryName, Tag},
    observation::ObservedImage,
};
use jiff::Timestamp;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::{Assumed, InputError};

/// The observations in one entry: an image of `describe-images`, or the whole of `list-images`.
pub(super) fn read(
    object: &Map<String, Value>,
    assumed: &Assumed,
    written: Timestamp,
) -> Result<Vec<Event>, InputError> {
    let registry = assumed.registry.as_ref().ok_or(InputError::NoRegistry("a list of images"))?;
    let text = |name: &str| object.get(name).and_then(Value::as_str);
    if let Some(account) = text("registryId").filter(|account| *account != registry.account()) {
        return Err(InputError::OtherAccount { account: account.to_owned() });
    }
    let repository = match (text("repositoryName"), &assumed.repository) {
        (Some(name), _) => name.parse().map_err(|error| InputError::field("repositoryName", error))?,
        (None, Some(repository)) => RepositoryName::clone(repository),
        (None, None) => return Err(InputError::NoRepository),
    };
    let mut tags: BTreeMap<Digest, BTreeSet<Tag>> = BTreeMap::new();
    let ids = object.get("imageIds").and_then(Value::as_array).into_iter().flatten();
    for image in ids.filter_map(Value::as_object).chain(object.contains_key("imageDigest").then_some(object)) {
        let digest = image.get("imageDigest").and_then(Value::as_str).unwrap_or_default();
        let of_image =
            tags.entry(digest.parse().map_err(|error| InputError::field("imageDigest", error))?).or_default();
        let many = image.get("imageTags").and_then(Value::as_array).into_iter().flatten();
        for tag in many.chain(image.get("imageTag")).filter_map(Value::as_str) {
            of_image.insert(tag.parse().map_err(|error| InputError::field("imageTag", error))?);
        }
    }
    let archived = text("imageStatus").is_some_and(|status| status != "ACTIVE");
    let facts = tags.into_iter().filter_map(|(digest, tags)| {
        let event_id = id(&tags, archived);
        let seen = ObservedImage { tags, archived, ..ObservedImage::default() };
        let (time, what) = drift::delta_from_observation(None, Some(&seen), written)?;
        let subject = Subject::Image(Image { repository: repository.clone(), digest });
        Some(Fact { time, registry: registry.clone(), event_id, subject, what })
    });
    Ok(facts.map(|fact| Event { id: fact.event_id.clone(), facts: vec![fact] }).collect())
}

/// The event id of a fact from a list: two lists of one time may name different tags.
fn id(tags: &BTreeSet<Tag>, archived: bool) -> String {
    let text: String =
        tags.iter().map(|tag| format!("{tag}\n")).chain(archived.then(|| "archived".to_owned())).collect();
    Sha256::digest(text).iter().take(8).fold("list-".to_owned(), |id, byte| id + &format!("{byte:02x}"))
}
