//! Lifecycle policies: parsing, the images that they select, and the actions on those images.
//!
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/LifecyclePolicies.html>,
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/lifecycle_policy_parameters.html>

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
};

use domain::{
    controls::wildcard,
    image::{Digest, Tag},
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    clock::later,
    repository::{ImageStatus, Repository, StoredImage},
    world::{PendingTask, RepositoryId, World},
};

/// The interval between two evaluations: images expire "within 24 hours" (L1).
const PERIOD: SignedDuration = SignedDuration::from_hours(24);

/// The days that an archived image is kept before a policy may delete it (L4).
const ARCHIVED_DAYS: u32 = 90;

/// The limits of a policy (L6): characters, rules, and wildcards in a pattern.
const LENGTH: RangeInclusive<usize> = 100..=30_720;
const MOST_RULES: usize = 50;
const MOST_WILDCARDS: usize = 4;

/// CloudTrail records of a run have at most this many images, and this many tags for each image (E5).
const IMAGES_PER_RECORD: usize = 10;
const TAGS_PER_IMAGE: usize = 100;

/// A parsed policy.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Policy {
    rules: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Rule {
    rule_priority: i64,
    #[serde(default)]
    description: String,
    selection: Selection,
    action: RuleAction,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Selection {
    tag_status: TagStatus,
    #[serde(default)]
    tag_prefix_list: Vec<String>,
    #[serde(default)]
    tag_pattern_list: Vec<String>,
    #[serde(default)]
    storage_class: SelectedClass,
    count_type: CountType,
    count_unit: Option<CountUnit>,
    count_number: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum TagStatus {
    Tagged,
    Untagged,
    Any,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum SelectedClass {
    #[default]
    Standard,
    Archive,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
enum CountType {
    ImageCountMoreThan,
    SinceImagePushed,
    SinceImagePulled,
    SinceImageTransitioned,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum CountUnit {
    Days,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RuleAction {
    #[serde(rename = "type")]
    kind: ActionKind,
    target_storage_class: Option<SelectedClass>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ActionKind {
    Expire,
    Transition,
}

impl Policy {
    /// Parses a policy; the error is a message for the caller (L6). AWS's own words, where they are known, are from
    /// reports of users.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        if !LENGTH.contains(&text.chars().count()) {
            return Err(format!("the text must have {} to {} characters", LENGTH.start(), LENGTH.end()));
        }
        let policy: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if policy.rules.is_empty() || policy.rules.len() > MOST_RULES {
            return Err(format!("expected 1 to {MOST_RULES} rules"));
        }
        let mut priorities = BTreeSet::new();
        for rule in &policy.rules {
            let wrong = if rule.rule_priority < 1 {
                Some("rulePriority must be positive")
            } else if !priorities.insert(rule.rule_priority) {
                Some("its priority is not the only one of its value")
            } else {
                rule.selection.wrong().or_else(|| rule.wrong())
            };
            if let Some(wrong) = wrong {
                return Err(format!("rule {}: {wrong}", rule.rule_priority));
            }
        }
        for class in [SelectedClass::Standard, SelectedClass::Archive] {
            let of_class = policy.rules.iter().filter(|rule| rule.selection.storage_class == class);
            contradiction(&of_class.collect::<Vec<_>>()).map_or(Ok(()), |wrong| Err(wrong.to_owned()))?;
        }
        Ok(policy)
    }

    /// The images that the policy selects, each with its rule (L2).
    ///
    /// "All rules are evaluated at the same time"; then they are applied by priority. A rule counts every image that
    /// matches it, and takes none that matches the tags of a rule with a higher priority, whether or not that rule takes
    /// it.
    fn choose(&self, repository: &Repository, now: Timestamp) -> BTreeMap<Digest, &Rule> {
        let mut rules: Vec<_> = self.rules.iter().collect();
        rules.sort_by_key(|rule| rule.rule_priority);
        let (mut chosen, mut matched) = (BTreeMap::new(), BTreeSet::new());
        for rule in rules {
            let taken = rule.selection.images(repository, now).into_iter();
            chosen.extend(taken.filter(|digest| !matched.contains(digest)).map(|digest| (digest.clone(), rule)));
            let covered = repository.images().iter().filter(|(_, image)| rule.selection.covers(image));
            matched.extend(covered.map(|(digest, _)| digest));
        }
        chosen
    }
}

/// A preview: what a policy would take if it were evaluated now (L7).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct LifecyclePreview {
    pub(crate) text: String,
    pub(crate) started_at: Timestamp,
    pub(crate) results: BTreeMap<Digest, PreviewResult>,
}

/// An image that the policy would take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PreviewResult {
    pub(crate) rule_priority: i64,
    /// Whether the image would be deleted, and not archived.
    pub(crate) expires: bool,
    pub(crate) tags: BTreeSet<Tag>,
    pub(crate) pushed_at: Timestamp,
    pub(crate) archived: bool,
}

impl Policy {
    /// What the policy would take now. A manifest that an index refers to is taken only together with the index (L3).
    pub(crate) fn preview(&self, repository: &Repository, now: Timestamp) -> BTreeMap<Digest, PreviewResult> {
        let chosen = self.choose(repository, now);
        let results = chosen.iter().filter_map(|(digest, rule)| {
            let StoredImage { state, .. } = repository.image(digest)?;
            let result = PreviewResult {
                rule_priority: rule.rule_priority,
                expires: rule.action.kind == ActionKind::Expire,
                tags: state.tags.clone(),
                pushed_at: state.pushed_at,
                archived: state.status == ImageStatus::Archived,
            };
            let free = repository.index_of(digest).is_none_or(|index| chosen.contains_key(index));
            free.then(|| (digest.clone(), result))
        });
        results.collect()
    }
}

/// What is wrong with the rules for one storage class together (L6).
fn contradiction(rules: &[&Rule]) -> Option<&'static str> {
    let last = rules.iter().map(|rule| rule.rule_priority).max();
    let status = |rule: &Rule| rule.selection.tag_status;
    let any_before_last = rules.iter().any(|rule| status(rule) == TagStatus::Any && Some(rule.rule_priority) != last);
    let untagged = rules.iter().filter(|rule| status(rule) == TagStatus::Untagged).count();
    let mut lists = BTreeSet::new();
    let tagged = rules.iter().map(|rule| &rule.selection).filter(|selection| selection.tag_status == TagStatus::Tagged);
    let twice = tagged.map(Selection::tags).any(|tags| !lists.insert(tags));
    if any_before_last {
        Some("Rule for tagStatus=ANY must have the lowest priority per storage class")
    } else if untagged > 1 {
        Some("Only one rule can select Untagged images per storage class")
    } else if twice {
        Some("several rules have the same tagPrefixList or tagPatternList")
    } else {
        None
    }
}

impl Rule {
    /// What is wrong with the action (L6).
    fn wrong(&self) -> Option<&'static str> {
        let (selection, action) = (&self.selection, &self.action);
        let expires = action.kind == ActionKind::Expire;
        if expires == (action.target_storage_class == Some(SelectedClass::Archive)) {
            Some("transition, and only transition, needs targetStorageClass archive")
        } else if selection.count_type == CountType::SinceImagePulled && expires {
            Some("sinceImagePulled goes only with transition")
        } else if selection.storage_class == SelectedClass::Archive && !expires {
            Some("what is archived cannot be archived")
        } else {
            None
        }
    }
}

impl Selection {
    /// The prefixes and patterns in an order of their own.
    fn tags(&self) -> (BTreeSet<&str>, BTreeSet<&str>) {
        (
            self.tag_prefix_list.iter().map(String::as_str).collect(),
            self.tag_pattern_list.iter().map(String::as_str).collect(),
        )
    }

    /// What is wrong with the selection (L6).
    fn wrong(&self) -> Option<&'static str> {
        let (prefixes, patterns) = (!self.tag_prefix_list.is_empty(), !self.tag_pattern_list.is_empty());
        let by_count = self.count_type == CountType::ImageCountMoreThan;
        let of_archive = self.count_type == CountType::SinceImageTransitioned;
        if self.tag_status == TagStatus::Tagged && !prefixes && !patterns {
            Some("Must specify tagPrefixList or tagPatternList when tagStatus=TAGGED.")
        } else if self.tag_status != TagStatus::Tagged && (prefixes || patterns) {
            Some("tagPrefixList and tagPatternList go only with tagged")
        } else if prefixes && patterns {
            Some("tagPrefixList and tagPatternList do not go together")
        } else if self.tag_pattern_list.iter().any(|pattern| pattern.matches('*').count() > MOST_WILDCARDS) {
            Some("a pattern has more than four wildcards")
        } else if self.count_number == 0 {
            Some("countNumber must be positive")
        } else if by_count == self.count_unit.is_some() {
            Some("countUnit is needed with times, and only with times")
        } else if of_archive != (self.storage_class == SelectedClass::Archive) {
            Some("sinceImageTransitioned, and nothing else, goes with storageClass archive")
        } else if of_archive && self.count_number < ARCHIVED_DAYS {
            Some("sinceImageTransitioned needs at least 90 days")
        } else {
            None
        }
    }
}

impl Selection {
    fn images<'a>(&self, repository: &'a Repository, now: Timestamp) -> Vec<&'a Digest> {
        let mut images: Vec<_> = repository.images().iter().filter(|(_, image)| self.covers(image)).collect();
        // Newest first: `imageCountMoreThan` keeps the newest images.
        images.sort_by_key(|(_, image)| std::cmp::Reverse(since(image)));
        let old = |time: Option<Timestamp>| {
            let age = SignedDuration::from_hours(24 * i64::from(self.count_number));
            time.is_some_and(|time| later(time, age) <= now)
        };
        if self.count_type == CountType::ImageCountMoreThan {
            let most = usize::try_from(self.count_number).unwrap_or(usize::MAX);
            return images.into_iter().skip(most).map(|(digest, _)| digest).collect();
        }
        images.retain(|(_, image)| match self.count_type {
            CountType::ImageCountMoreThan | CountType::SinceImagePushed => old(Some(since(image))),
            CountType::SinceImagePulled => old(image.state.pulled_at.max(Some(since(image)))),
            CountType::SinceImageTransitioned => old(image.state.archived_at),
        });
        images.into_iter().map(|(digest, _)| digest).collect()
    }

    fn covers(&self, image: &StoredImage) -> bool {
        let tags = &image.state.tags;
        let class = match self.storage_class {
            SelectedClass::Standard => image.state.status == ImageStatus::Active,
            SelectedClass::Archive => image.state.status == ImageStatus::Archived,
        };
        class
            && match self.tag_status {
                TagStatus::Any => true,
                TagStatus::Untagged => tags.is_empty(),
                // "only the images with all specified tags are selected" (L3).
                TagStatus::Tagged => {
                    self.tag_prefix_list.iter().all(|prefix| tags.iter().any(|tag| tag.as_str().starts_with(prefix)))
                        && self
                            .tag_pattern_list
                            .iter()
                            .all(|pattern| tags.iter().any(|tag| wildcard(pattern, tag.as_str())))
                }
            }
    }
}

/// The time of the image's push, or of its last restore (L2).
fn since(image: &StoredImage) -> Timestamp {
    image.state.activated_at.unwrap_or(image.state.pushed_at)
}

impl World {
    /// Schedules the first evaluation of a new policy.
    pub(crate) fn plan_lifecycle(&mut self, place: &RepositoryId) {
        if !self.plans_lifecycle(place) {
            self.plan(later(self.now(), PERIOD), PendingTask::Lifecycle(place.clone()));
        }
    }

    /// Executes the lifecycle policy of a repository, and schedules the next evaluation.
    pub(crate) fn evaluate_lifecycle_policy(&mut self, place: &RepositoryId) {
        let moment = self.moment();
        let Some(kept) = self.repository(place).and_then(|repository| repository.lifecycle.clone()) else { return };
        self.plan(later(self.now(), PERIOD), PendingTask::Lifecycle(place.clone()));
        if let Some(lifecycle) = self.repository_mut(place).and_then(|repository| repository.lifecycle.as_mut()) {
            lifecycle.last_evaluated_at = moment;
        }
        let (Ok(policy), Some(repository)) = (Policy::read(&kept.text), self.repository(place)) else { return };
        let mut chosen: Vec<_> = policy.choose(repository, moment).into_iter().collect();
        // Indexes are processed before the images that they refer to (L3).
        chosen.sort_by_key(|(digest, _)| {
            repository.image(digest).is_some_and(|image| image.manifest.children.is_empty())
        });
        let (mut actions, mut failures) = (Vec::new(), Vec::new());
        for (digest, rule) in chosen {
            let Some(repository) = self.repository(place) else { return };
            let Some(image) = repository.image(&digest).cloned() else { continue };
            let entry = json!({"lifecycleEventImage": described(&image), "rulePriority": rule.rule_priority});
            if let Some(index) = repository.index_of(&digest) {
                let reason = format!("Requested image referenced by manifest list: [{index}]");
                failures.push(with(
                    entry,
                    &json!({"failureCode": "ImageReferencedByManifestList", "failureReason": reason}),
                ));
                continue;
            }
            match rule.action.kind {
                ActionKind::Expire => {
                    self.delete_image(place, &digest, self.settings.unconfirmed.lifecycle_emits_delete);
                    self.replicate_deletion(place, &digest, None);
                }
                ActionKind::Transition => self.archive(place, &digest),
            }
            actions.push(entry);
        }
        self.clean_up_referrers(place);
        self.archive_referrers(place);
        let description = self.description(&policy, &kept.id, moment);
        let entries: Vec<_> = actions.into_iter().chain(failures).collect();
        // Runs that changed nothing have a record, too (E5).
        let records = entries.len().div_ceil(IMAGES_PER_RECORD).max(1);
        for record in 0..records {
            let part: Vec<_> =
                entries.iter().skip(record * IMAGES_PER_RECORD).take(IMAGES_PER_RECORD).cloned().collect();
            self.emit_policy_execution(place, description.clone(), &part, &[]);
        }
    }

    /// "automatically expire … those artifacts within 24 hours of the deletion … of the subject image" (L5).
    fn clean_up_referrers(&mut self, place: &RepositoryId) {
        let emits = self.settings.unconfirmed.referrer_cleanup_emits_delete;
        let mut orphans = self.repository(place).map(Repository::referrers_without_subject).unwrap_or_default();
        while let Some(digest) = orphans.pop() {
            self.delete_image(place, &digest, emits);
            self.replicate_deletion(place, &digest, None);
            // An artifact may be the subject of other artifacts.
            let repository = self.repository(place);
            orphans.extend(repository.into_iter().flat_map(|it| it.referrers(&digest)).map(|(next, _)| next.clone()));
        }
    }

    /// "… or archive those artifacts within 24 hours of the … archival of the subject image" (L5).
    fn archive_referrers(&mut self, place: &RepositoryId) {
        let Some(repository) = self.repository(place) else { return };
        let archived = repository.images().iter().filter(|(_, image)| image.state.status == ImageStatus::Archived);
        let artifacts = archived.flat_map(|(digest, _)| repository.referrers(digest));
        let active = artifacts.filter(|(_, artifact)| artifact.state.status == ImageStatus::Active);
        for digest in active.map(|(digest, _)| digest.clone()).collect::<Vec<_>>() {
            self.archive(place, &digest);
        }
    }

    /// The policy in the format of its CloudTrail record.
    fn description(&self, policy: &Policy, id: &str, moment: Timestamp) -> Value {
        let rules: Vec<_> = policy.rules.iter().map(|rule| {
            let action = match rule.action.kind {
                ActionKind::Expire => "expire",
                ActionKind::Transition if self.settings.unconfirmed.transition_in_policy_record => "transition",
                ActionKind::Transition => "archive",
            };
            let selection = &rule.selection;
            json!({
                "rulePriority": rule.rule_priority, "description": rule.description, "action": action,
                "lifecycleEventSelection": {
                    "tagStatus": match selection.tag_status { TagStatus::Tagged => "Tagged", TagStatus::Untagged => "Untagged", TagStatus::Any => "Any" },
                    "tagPrefixList": selection.tag_prefix_list, "tagPatternList": selection.tag_pattern_list,
                    "countType": match selection.count_type {
                        CountType::ImageCountMoreThan => "Image count more than",
                        CountType::SinceImagePushed => "Since image pushed",
                        CountType::SinceImagePulled => "Since image pulled",
                        CountType::SinceImageTransitioned => "Since image transitioned",
                    },
                    "countNumber": selection.count_number,
                },
            })
        }).collect();
        json!({"lifecycleEventRules": rules, "lastEvaluatedAt": moment.as_millisecond(), "policyVersion": 1, "policyId": id})
    }
}

fn described(image: &StoredImage) -> Value {
    let tags: Vec<_> = image.state.tags.iter().take(TAGS_PER_IMAGE).collect();
    json!({
        "digest": image.manifest.digest, "tagStatus": if tags.is_empty() { "Untagged" } else { "Tagged" },
        "tagList": tags, "pushedAt": image.state.pushed_at.as_millisecond(),
    })
}

fn with(mut entry: Value, more: &Value) -> Value {
    if let (Some(entry), Some(more)) = (entry.as_object_mut(), more.as_object()) {
        entry.extend(more.clone());
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPIRE: &str = r#"{"type": "expire"}"#;
    const TRANSITION: &str = r#"{"type": "transition", "targetStorageClass": "archive"}"#;
    const ANY: &str = r#"{"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 1}"#;
    const UNTAGGED: &str = r#"{"tagStatus": "untagged", "countType": "imageCountMoreThan", "countNumber": 1}"#;
    const PULLED: &str =
        r#"{"tagStatus": "any", "countType": "sinceImagePulled", "countUnit": "days", "countNumber": 9}"#;
    const ARCHIVED: &str = r#"{"tagStatus": "any", "storageClass": "archive",
        "countType": "sinceImageTransitioned", "countUnit": "days", "countNumber": 90}"#;

    fn tagged(lists: &str) -> String {
        format!(r#"{{"tagStatus": "tagged", {lists}, "countType": "imageCountMoreThan", "countNumber": 1}}"#)
    }

    fn rule(priority: i64, selection: &str, action: &str) -> String {
        format!(
            r#"{{"rulePriority": {priority}, "description": "a rule", "selection": {selection}, "action": {action}}}"#
        )
    }

    fn policy(rules: &[String]) -> Result<Policy, String> {
        Policy::read(&format!(r#"{{"rules": [{}]}}"#, rules.join(", ")))
    }

    fn one(selection: &str, action: &str) -> Result<Policy, String> {
        policy(&[rule(1, selection, action)])
    }

    #[test]
    fn a_rule_that_contradicts_itself_is_rejected() {
        one(ANY, EXPIRE).unwrap();
        one(PULLED, TRANSITION).unwrap();
        one(ARCHIVED, EXPIRE).unwrap();
        one(&tagged(r#""tagPatternList": ["*a*b*c*"]"#), EXPIRE).unwrap();
        for (selection, action, why) in [
            (PULLED, EXPIRE, "sinceImagePulled"),
            (ANY, r#"{"type": "transition"}"#, "targetStorageClass"),
            (ANY, r#"{"type": "expire", "targetStorageClass": "archive"}"#, "targetStorageClass"),
            (ARCHIVED, TRANSITION, "cannot be archived"),
            (&ARCHIVED.replace("90", "89"), EXPIRE, "90 days"),
            (&ARCHIVED.replace("archive", "standard"), EXPIRE, "goes with storageClass archive"),
            (&ANY.replace(r#""any""#, r#""any", "storageClass": "archive""#), EXPIRE, "storageClass archive"),
            (&tagged(r#""tagPrefixList": []"#), EXPIRE, "Must specify tagPrefixList or tagPatternList"),
            (&tagged(r#""tagPrefixList": ["v"], "tagPatternList": ["v*"]"#), EXPIRE, "do not go together"),
            (&tagged(r#""tagPatternList": ["*a*b*c*d*"]"#), EXPIRE, "four wildcards"),
            (&UNTAGGED.replace(r#""untagged""#, r#""untagged", "tagPrefixList": ["v"]"#), EXPIRE, "only with tagged"),
            (&PULLED.replace(r#""countUnit": "days", "#, ""), TRANSITION, "countUnit"),
            (&ANY.replace(r#""countNumber""#, r#""countUnit": "days", "countNumber""#), EXPIRE, "countUnit"),
            (&PULLED.replace("days", "hours"), TRANSITION, "unknown variant"),
            (&ANY.replace("1}", "0}"), EXPIRE, "positive"),
            (&ANY.replace("1}", "-1}"), EXPIRE, "invalid value"),
            (&ANY.replace("any", "some"), EXPIRE, "unknown variant"),
        ] {
            let wrong = one(selection, action).unwrap_err();
            assert!(wrong.contains(why), "{wrong}");
        }
    }

    #[test]
    fn rules_that_contradict_each_other_are_rejected() {
        let (v, w) = (tagged(r#""tagPrefixList": ["v"]"#), tagged(r#""tagPrefixList": ["w"]"#));
        let archived_v = ARCHIVED.replace(r#""any""#, r#""tagged", "tagPrefixList": ["v"]"#);
        policy(&[rule(7, ANY, EXPIRE), rule(1, &v, EXPIRE), rule(2, &w, EXPIRE), rule(3, UNTAGGED, EXPIRE)]).unwrap();
        // Each storage class has rules of its own.
        policy(&[rule(1, ANY, EXPIRE), rule(2, ARCHIVED, EXPIRE)]).unwrap();
        policy(&[rule(1, &v, EXPIRE), rule(2, &archived_v, EXPIRE)]).unwrap();
        let fifty_one: Vec<_> = (1..=51)
            .map(|number| rule(number, &tagged(&format!(r#""tagPrefixList": ["v{number}-"]"#)), EXPIRE))
            .collect();
        policy(&fifty_one[..50]).unwrap();
        for (rules, why) in [
            (&[rule(1, ANY, EXPIRE), rule(2, &v, EXPIRE)][..], "tagStatus=ANY must have the lowest priority"),
            (&[rule(1, ANY, EXPIRE), rule(2, ANY, EXPIRE)], "tagStatus=ANY must have the lowest priority"),
            (&[rule(1, UNTAGGED, EXPIRE), rule(2, UNTAGGED, EXPIRE)], "Only one rule can select Untagged"),
            (&[rule(1, &v, EXPIRE), rule(2, &v, EXPIRE)], "the same tagPrefixList"),
            (&[rule(1, &v, EXPIRE), rule(1, &w, EXPIRE)], "not the only one"),
            (&[rule(0, ANY, EXPIRE)], "rulePriority must be positive"),
            (&fifty_one, "1 to 50 rules"),
        ] {
            let wrong = policy(rules).unwrap_err();
            assert!(wrong.contains(why), "{wrong}");
        }
        let spaces = " ".repeat(31_000);
        for text in ["{}", r#"{"rules": []}"#, &format!(r#"{{"rules": [{}]}}{spaces}"#, rule(1, ANY, EXPIRE))] {
            assert!(Policy::read(text).unwrap_err().contains("characters"), "{text:.40}");
        }
        let none = format!(r#"{{"rules": []{}}}"#, " ".repeat(100));
        assert!(Policy::read(&none).unwrap_err().contains("1 to 50 rules"));
    }
}
