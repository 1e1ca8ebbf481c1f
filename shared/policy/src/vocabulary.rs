//! Translates a question into Cedar's terms: the schema, and the entities and the context of a request.

use std::{collections::BTreeSet, iter, num::TryFromIntError};

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, ParseErrors, Request, RestrictedExpression, Schema,
};
use domain::{
    fact::Cause,
    image::{Registry, Tag},
    policy::{Action, PolicyQuestion},
};
use jiff::Timestamp;

const SCHEMA: &str = include_str!("../../../infra/policies/ecr-lineage.cedarschema");

/// The schema and the entity types in it.
#[derive(Debug)]
pub(crate) struct Vocabulary {
    pub(crate) schema: Schema,
    action: EntityTypeName,
    registry: EntityTypeName,
    replica: EntityTypeName,
}

/// Why a question cannot be translated. The error is only shown in an answer and never matched, so it has no variants.
type Unaskable = Box<dyn std::error::Error + Send + Sync>;

/// A number that does not fit into Cedar's 64-bit signed integers.
#[derive(Debug, thiserror::Error)]
#[error("`{number}` is more than a policy can count")]
struct TooLargeError {
    number: u64,
    source: TryFromIntError,
}

impl Vocabulary {
    /// Parses the schema.
    ///
    /// # Errors
    /// Cedar's message, if the schema cannot be parsed. That is a defect of this crate; no policy text can cause it.
    pub(crate) fn load() -> Result<Self, String> {
        let (schema, _) = Schema::from_cedarschema_str(SCHEMA).map_err(|error| error.to_string())?;
        let name = |name: &str| name.parse::<EntityTypeName>().map_err(|error: ParseErrors| error.to_string());
        Ok(Self { schema, action: name("Action")?, registry: name("Registry")?, replica: name("Replica")? })
    }

    /// Translates a question into Cedar's terms and checks it against the schema.
    ///
    /// # Errors
    /// When Cedar cannot represent a value, or a value violates the schema.
    pub(crate) fn put(&self, action: Action, question: &PolicyQuestion<'_>) -> Result<(Request, Entities), Unaskable> {
        let source = self.registry(question.source);
        let replica = EntityUid::from_type_name_and_id(
            self.replica.clone(),
            EntityId::new(format!("{}/{}", question.registry, question.image)),
        );
        let action = EntityUid::from_type_name_and_id(self.action.clone(), EntityId::new(action.as_str()));
        let registries = BTreeSet::from([question.source, question.registry]);
        let entities = registries
            .into_iter()
            .map(|registry| {
                let attributes = [("account", text(registry.account())), ("region", text(registry.region()))];
                entity(self.registry(registry), attributes)
            })
            .chain(iter::once_with(|| entity(replica.clone(), self.replica(question)?)))
            .collect::<Result<Vec<_>, Unaskable>>()?;
        let entities = Entities::from_entities(entities, Some(&self.schema))?;
        let context = Context::from_pairs(owned(loss(question)?))?;
        Ok((Request::new(source, action, replica, context, Some(&self.schema))?, entities))
    }

    fn registry(&self, registry: &Registry) -> EntityUid {
        EntityUid::from_type_name_and_id(self.registry.clone(), EntityId::new(registry.as_str()))
    }

    /// The attributes of the replica.
    fn replica(&self, question: &PolicyQuestion<'_>) -> Result<Vec<(&'static str, RestrictedExpression)>, Unaskable> {
        let mut attributes = vec![
            ("registry", RestrictedExpression::new_entity_uid(self.registry(question.registry))),
            ("source", RestrictedExpression::new_entity_uid(self.registry(question.source))),
            ("repository", text(question.image.repository.as_str())),
            ("digest", text(question.image.digest.as_str())),
            ("tags", set(question.tags)),
            ("tagLine", text(&tag_line(question.tags))),
            ("replicaOnlyTags", set(question.replica_only_tags)),
            ("replicatedAt", time(question.replicated_at)),
            ("sizeBytes", number(question.size_bytes)?),
            ("kind", text(question.kind.as_str())),
            ("archived", RestrictedExpression::new_bool(question.archived)),
        ];
        // What was not read is absent, not unused.
        if let Some(users) = question.users {
            attributes.push(("inUse", RestrictedExpression::new_bool(!users.is_empty())));
            attributes.push(("usedBy", RestrictedExpression::new_set(users.named().iter().map(|name| text(name)))));
            attributes.extend(users.last_used_at().map(|at| ("lastUsedAt", time(at))));
        }
        attributes.extend(question.pushed_at.map(|at| ("pushedAt", time(at))));
        attributes.extend(question.last_pulled_at.map(|at| ("lastPulledAt", time(at))));
        Ok(attributes)
    }
}

/// The context: the loss at the source that is to be mirrored.
fn loss(question: &PolicyQuestion<'_>) -> Result<Vec<(&'static str, RestrictedExpression)>, Unaskable> {
    let mut loss = vec![
        ("now", time(question.now)),
        ("deletedAt", time(question.since)),
        ("cause", text(question.cause.as_str())),
        ("otherCopies", number(question.other_copies)?),
    ];
    match question.cause {
        Cause::Principal { by } | Cause::Repository { by } => loss.push(("deletedBy", text(by))),
        Cause::Lifecycle { rule, .. } => loss.push(("lifecycleRule", RestrictedExpression::new_long(*rule))),
        Cause::Unknown | Cause::Mirror { .. } => {}
    }
    loss.extend(question.tag.map(|tag| ("tag", text(tag.as_str()))));
    Ok(loss)
}

fn entity(
    uid: EntityUid,
    attributes: impl IntoIterator<Item = (&'static str, RestrictedExpression)>,
) -> Result<Entity, Unaskable> {
    Ok(Entity::new(uid, owned(attributes).collect(), [].into())?)
}

fn owned(
    pairs: impl IntoIterator<Item = (&'static str, RestrictedExpression)>,
) -> impl Iterator<Item = (String, RestrictedExpression)> {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value))
}

fn text(text: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(text.to_owned())
}

fn set(tags: &BTreeSet<Tag>) -> RestrictedExpression {
    RestrictedExpression::new_set(tags.iter().map(|tag| text(tag.as_str())))
}

/// Cedar's `datetime` has milliseconds, and its parser accepts a fraction only with exactly three digits.
fn time(at: Timestamp) -> RestrictedExpression {
    RestrictedExpression::new_datetime(format!("{at:.3}"))
}

fn number(number: u64) -> Result<RestrictedExpression, Unaskable> {
    let number = i64::try_from(number).map_err(|source| TooLargeError { number, source })?;
    Ok(RestrictedExpression::new_long(number))
}

/// All tags in one text, with a space before and after each, so that `like` can match the start or the end of a tag.
fn tag_line(tags: &BTreeSet<Tag>) -> String {
    if tags.is_empty() {
        return String::new();
    }
    let tags: Vec<_> = tags.iter().map(Tag::as_str).collect();
    format!(" {} ", tags.join(" "))
}
