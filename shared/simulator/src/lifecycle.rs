//! Lifecycle policies: parsing, the images that they select, and the actions on those images.
//!
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/LifecyclePolicies.html>,
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/lifecycle_policy_parameters.html>

use std::collections::{BTreeMap, BTreeSet};

use domain::{controls::wildcard, image::Digest};
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

/// The time that an archived image is kept before a policy may delete it (L4).
const ARCHIVED_AT_LEAST: SignedDuration = SignedDuration::from_hours(90 * 24);

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
    /// Parses a policy; the error is a message for the caller.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let policy: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let mut priorities = BTreeSet::new();
        for rule in &policy.rules {
            let (selection, action) = (&rule.selection, &rule.action);
            let lists = !selection.tag_prefix_list.is_empty() || !selection.tag_pattern_list.is_empty();
            let by_count = selection.count_type == CountType::ImageCountMoreThan;
            let wrong = if !priorities.insert(rule.rule_priority) {
                "its priority is not the only one of its value"
            } else if (selection.tag_status == TagStatus::Tagged) != lists {
                "tagged, and only tagged, needs tagPrefixList or tagPatternList"
            } else if selection.count_number == 0 {
                "countNumber must be positive"
            } else if by_count == selection.count_unit.is_some() {
                "countUnit is needed with times, and only with times"
            } else if (action.kind == ActionKind::Transition)
                != (action.target_storage_class == Some(SelectedClass::Archive))
            {
                "transition, and only transition, needs targetStorageClass archive"
            } else if selection.count_type == CountType::SinceImagePulled && action.kind == ActionKind::Expire {
                "sinceImagePulled goes only with transition"
            } else if (selection.count_type == CountType::SinceImageTransitioned)
                && selection.storage_class == SelectedClass::Standard
            {
                "sinceImageTransitioned goes only with storageClass archive"
            } else if selection.storage_class == SelectedClass::Archive && action.kind == ActionKind::Transition {
                "what is archived cannot be archived"
            } else {
                continue;
            };
            return Err(format!("rule {}: {wrong}", rule.rule_priority));
        }
        Ok(policy)
    }

    /// The images that the policy selects, each with the rule of the lowest priority number that selects it (L2).
    fn choose(&self, repository: &Repository, now: Timestamp) -> BTreeMap<Digest, &Rule> {
        let mut rules: Vec<_> = self.rules.iter().collect();
        rules.sort_by_key(|rule| rule.rule_priority);
        let mut chosen = BTreeMap::new();
        for rule in rules {
            // "A rule can never mark images that are marked by higher priority rules, but can still identify them".
            for digest in rule.selection.images(repository, now) {
                chosen.entry(digest.clone()).or_insert(rule);
            }
        }
        chosen
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
            let kept_90_days = image.state.archived_at.is_none_or(|at| later(at, ARCHIVED_AT_LEAST) <= moment);
            if image.state.status == ImageStatus::Archived && !kept_90_days {
                continue;
            }
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
        while let Some(repository) = self.repository(place) {
            // An artifact may be the subject of other artifacts.
            let orphans = repository.referrers_without_subject();
            if orphans.is_empty() {
                return;
            }
            for digest in orphans {
                self.delete_image(place, &digest, emits);
                self.replicate_deletion(place, &digest, None);
            }
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

    fn policy(selection: &str, action: &str) -> Result<Policy, String> {
        Policy::read(&format!(r#"{{"rules": [{{"rulePriority": 1, "selection": {selection}, "action": {action}}}]}}"#))
    }

    #[test]
    fn a_contradictory_policy_is_rejected() {
        let expire = r#"{"type": "expire"}"#;
        let transition = r#"{"type": "transition", "targetStorageClass": "archive"}"#;
        let any = r#"{"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 1}"#;
        let pulled = r#"{"tagStatus": "any", "countType": "sinceImagePulled", "countUnit": "days", "countNumber": 9}"#;
        policy(any, expire).unwrap();
        policy(pulled, transition).unwrap();
        for (selection, action, why) in [
            (pulled, expire, "sinceImagePulled"),
            (any, r#"{"type": "transition"}"#, "targetStorageClass"),
            (
                r#"{"tagStatus": "tagged", "countType": "imageCountMoreThan", "countNumber": 1}"#,
                expire,
                "tagPrefixList",
            ),
            (r#"{"tagStatus": "any", "countType": "sinceImagePushed", "countNumber": 1}"#, expire, "countUnit"),
            (r#"{"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 0}"#, expire, "positive"),
            (
                r#"{"tagStatus": "some", "countType": "imageCountMoreThan", "countNumber": 1}"#,
                expire,
                "unknown variant",
            ),
        ] {
            let wrong = policy(selection, action).unwrap_err();
            assert!(wrong.contains(why), "{wrong}");
        }
    }
}
