//! Items and their keys: the only module that knows how anything is written down.
//!
//! | what | pk | sk |
//! |---|---|---|
//! | evidence | `image#<repository>@<digest>` | `placement#<registry>#<tag, or nothing>` |
//! | fact | `image#…`, or `repository#<repository>`, or `registry#<registry>` | `fact#<time>#<registry>#<event id>` |
//! | mark | `tag#<repository>:<tag>` | `<registry>#set#<time>#<digest>` or `<registry>#removed#…` |
//! | deletion of a repository | `repository#<repository>` | `deleted#<registry>` |
//! | registry | `registries` | `<registry>` |
//!
//! No name contains `#`; times are RFC 3339 in UTC and whole seconds, so they sort as text.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use domain::{
    evidence::{Evidence, Name},
    fact::{Fact, Subject},
    image::{Image, Malformed, Registry, RepositoryName},
    tag::{Mark, TagName},
};

/// An item as the SDK has it.
pub(super) type Item = HashMap<String, AttributeValue>;

/// All of an image's partition, as a range of sort keys.
pub(super) const EVERYTHING: (&str, &str) = (" ", "~");

/// The evidence in an image's partition, as a range of sort keys.
pub(super) const PLACEMENTS: (&str, &str) = ("placement#", "placement#~");

/// Why an item does not hold what its key says.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// A key that this version does not write.
    #[error("the key has another form")]
    Key,
    /// A name in a key that breaks its grammar.
    #[error("a name in the key is malformed")]
    Name(#[from] Malformed),
    /// An attribute of another type, or one too few.
    #[error("an attribute is missing or of another type")]
    Attribute(#[from] serde_dynamo::Error),
}

pub(super) fn pk_of_image(image: &Image) -> String {
    format!("image#{image}")
}

pub(super) fn pk_of_tag(name: &TagName) -> String {
    format!("tag#{}:{}", name.repository, name.tag)
}

pub(super) fn key_of_name(name: &Name) -> (String, String) {
    (pk_of_image(&name.image), sort_key_of_name(name))
}

pub(super) fn sort_key_of_name(name: &Name) -> String {
    format!("placement#{}#{}", name.registry, name.tag.as_ref().map_or("", |tag| tag.as_str()))
}

pub(super) fn key_of_repository_deletion(repository: &RepositoryName, registry: &Registry) -> (String, String) {
    (format!("repository#{repository}"), format!("deleted#{registry}"))
}

/// Both keys of an item, for a message.
pub(super) fn display_key(item: &Item) -> String {
    let part = |name| item.get(name).and_then(|value| value.as_s().ok()).map_or("", String::as_str);
    format!("{} {}", part("pk"), part("sk"))
}

fn with_key(mut item: Item, pk: String, sk: String) -> Item {
    item.insert("pk".into(), AttributeValue::S(pk));
    item.insert("sk".into(), AttributeValue::S(sk));
    item
}

// Facts

pub(super) fn fact(fact: &Fact) -> Result<Item, Unreadable> {
    let pk = match &fact.subject {
        Subject::Image(image) => pk_of_image(image),
        Subject::Repository(repository) => format!("repository#{repository}"),
        Subject::Registry => format!("registry#{}", fact.registry),
    };
    let sk = format!("fact#{}#{}#{}", fact.time, fact.registry, fact.event_id);
    Ok(with_key(serde_dynamo::to_item(fact)?, pk, sk))
}

/// The newest deletion of a repository in a registry: the fact itself, where reading an image finds it.
pub(super) fn repository_deletion(repository: &RepositoryName, fact: &Fact) -> Result<Item, Unreadable> {
    let (pk, sk) = key_of_repository_deletion(repository, &fact.registry);
    Ok(with_key(serde_dynamo::to_item(fact)?, pk, sk))
}

pub(super) fn is_fact(item: &Item) -> bool {
    item.get("sk").and_then(|sk| sk.as_s().ok()).is_some_and(|sk| sk.starts_with("fact#"))
}

pub(super) fn read_fact(mut item: Item) -> Result<Fact, Unreadable> {
    let subject = match take(&mut item, "pk")?.split_once('#') {
        Some(("image", image)) => Subject::Image(image.parse()?),
        Some(("repository", repository)) => Subject::Repository(repository.parse()?),
        Some(("registry", _)) => Subject::Registry,
        _ => return Err(Unreadable::Key),
    };
    item.remove("sk");
    let fact: Fact = serde_dynamo::from_item(item)?;
    Ok(Fact { subject, ..fact })
}

// Evidence

pub(super) fn evidence(name: &Name, evidence: &Evidence) -> Result<Item, Unreadable> {
    let (pk, sk) = key_of_name(name);
    let mut item = with_key(serde_dynamo::to_item(evidence)?, pk, sk);
    item.insert("registry".into(), AttributeValue::S(name.registry.to_string()));
    item.insert("name".into(), AttributeValue::S(index_name(name)));
    Ok(item)
}

fn index_name(name: &Name) -> String {
    format!("{}#{}", name.image, name.tag.as_ref().map_or("", |tag| tag.as_str()))
}

/// Reads evidence from the table or from the registry index, which has the same attributes but one.
pub(super) fn read_evidence(mut item: Item) -> Result<(Name, Evidence), Unreadable> {
    let registry = take(&mut item, "registry")?.parse()?;
    let name = take(&mut item, "name")?;
    let (image, tag) = name.split_once('#').ok_or(Unreadable::Key)?;
    let tag = if tag.is_empty() { None } else { Some(tag.parse()?) };
    let name = Name { image: image.parse()?, registry, tag };
    item.remove("pk");
    item.remove("sk");
    Ok((name, serde_dynamo::from_item(item)?))
}

/// A condition that holds while an item is as it was read.
pub(super) struct Condition {
    pub(super) expression: String,
    pub(super) names: HashMap<String, String>,
    pub(super) values: Item,
}

/// The condition that stored evidence has not changed. The evidence is its own version: equal evidence is as good.
pub(super) fn unchanged(stored: &Evidence) -> Result<Condition, Unreadable> {
    if *stored == Evidence::default() {
        let expression = "attribute_not_exists(pk)".to_owned();
        return Ok(Condition { expression, names: HashMap::new(), values: Item::new() });
    }
    let mut stored: Item = serde_dynamo::to_item(stored)?;
    let mut condition = Condition { expression: String::new(), names: HashMap::new(), values: Item::new() };
    for attribute in ["pushed", "replicated", "seen", "removed", "archived", "moved"] {
        let clause = match stored.remove(attribute) {
            Some(value) => {
                condition.values.insert(format!(":{attribute}"), value);
                format!("#{attribute} = :{attribute}")
            }
            None => format!("attribute_not_exists(#{attribute})"),
        };
        condition.names.insert(format!("#{attribute}"), attribute.to_owned());
        if !condition.expression.is_empty() {
            condition.expression.push_str(" AND ");
        }
        condition.expression.push_str(&clause);
    }
    debug_assert!(stored.is_empty(), "an attribute of evidence that no condition guards: {stored:?}");
    Ok(condition)
}

// Marks

pub(super) fn mark(name: &TagName, mark: &Mark) -> Item {
    let what = if mark.set { "set" } else { "removed" };
    let sk = format!("{}#{what}#{}#{}", mark.registry, mark.time, mark.digest);
    with_key(Item::new(), pk_of_tag(name), sk)
}

pub(super) fn read_mark(mut item: Item) -> Result<Mark, Unreadable> {
    let sk = take(&mut item, "sk")?;
    let mut parts = sk.splitn(4, '#');
    let (Some(registry), Some(what), Some(time), Some(digest)) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Unreadable::Key);
    };
    let time = time.parse().map_err(|_| Unreadable::Key)?;
    Ok(Mark { registry: registry.parse()?, time, digest: digest.parse()?, set: what == "set" })
}

/// The settings of a tag before and after the second of a mark, as two ranges of sort keys. `#` sorts before, `~` after
/// everything in a name.
pub(super) fn around(mark: &Mark) -> ((String, String), (String, String)) {
    let set = format!("{}#set#", mark.registry);
    let before = (set.clone(), format!("{set}{}", mark.time));
    let after = (format!("{set}{}~", mark.time), format!("{set}~"));
    (before, after)
}

// Registries

pub(super) fn registry(registry: &Registry) -> Item {
    with_key(Item::new(), "registries".into(), registry.to_string())
}

pub(super) fn read_registry(mut item: Item) -> Result<Registry, Unreadable> {
    Ok(take(&mut item, "sk")?.parse()?)
}

fn take(item: &mut Item, attribute: &str) -> Result<String, Unreadable> {
    match item.remove(attribute) {
        Some(AttributeValue::S(text)) => Ok(text),
        _ => Err(Unreadable::Key),
    }
}
