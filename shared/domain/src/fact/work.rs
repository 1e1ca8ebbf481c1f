//! The work that facts start: what `mirror` and `watch` have to process because something happened.

use super::{Cause, Fact, Setting, Subject, What};
use crate::image::{Image, Registry, Tag};

/// Something about an image that a function has to process immediately.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum WorkItem {
    /// A source lost the image or a tag of it, or a replica arrived after that. `mirror` processes it.
    SourceLost(Registry),
    /// A copy from a source failed. `watch` processes it.
    ReplicationFailed(Registry, Option<Tag>),
    /// A replica was deleted although its source is recorded as having the image. `mirror` enqueues it when it
    /// processes the loss, and `watch` processes it.
    ReplicaDeleted(Registry),
}

/// Work that a fact starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartedWork<'a> {
    /// This work item is due.
    Enqueue(&'a Image, WorkItem),
    /// If this work item was ever enqueued for the image, it is due again, even if it was completed. Otherwise there is
    /// nothing to do.
    EnqueueAgain(&'a Image, WorkItem),
    /// `watch` has to read the replication settings of this registry.
    ReadSettings(&'a Registry),
}

/// The work that a fact starts.
#[must_use]
pub fn work_started_by(fact: &Fact) -> Vec<StartedWork<'_>> {
    let mut started = Vec::new();
    if let Subject::Image(image) = &fact.subject {
        let due = lost_source(fact).into_iter().chain(failed_copy(fact));
        started.extend(due.map(|work_item| StartedWork::Enqueue(image, work_item)));
        started.extend(source_of_arrival(fact).map(|work_item| StartedWork::EnqueueAgain(image, work_item)));
    }
    if matches!(fact.what, What::Changed { setting: Setting::ReplicationRules, .. }) {
        started.push(StartedWork::ReadSettings(&fact.registry));
    }
    started
}

/// The registry that lost an image or a tag by a fact. A deletion by ecr-lineage itself has no consequences.
fn lost_source(fact: &Fact) -> Option<WorkItem> {
    let lost = match &fact.what {
        What::ImageDeleted { cause } | What::TagsDeleted { cause, .. } => !matches!(cause, Cause::Mirror { .. }),
        What::Observed { storage, without, .. } => storage.is_none() || !without.is_empty(),
        _ => false,
    };
    lost.then(|| WorkItem::SourceLost(fact.registry.clone()))
}

/// The source of a replica that arrived. If the source lost the image meanwhile, the replica arrived after the loss.
fn source_of_arrival(fact: &Fact) -> Option<WorkItem> {
    match &fact.what {
        What::Replicated { source, .. } | What::Observed { source: Some(source), .. } => {
            Some(WorkItem::SourceLost(source.clone()))
        }
        _ => None,
    }
}

/// The source of a copy that failed.
fn failed_copy(fact: &Fact) -> Option<WorkItem> {
    match &fact.what {
        What::ReplicationFailed { source, tag, .. } => Some(WorkItem::ReplicationFailed(source.clone(), tag.clone())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use jiff::Timestamp;

    use super::*;
    use crate::fact::StorageClass;

    const IRELAND: &str = "111122223333/eu-west-1";
    const TOKYO: &str = "111122223333/ap-northeast-1";

    fn image() -> Image {
        format!("team/app@sha256:{}", "a".repeat(64)).parse().unwrap()
    }

    /// A fact about the image in Ireland.
    fn fact(what: What) -> Fact {
        let (registry, subject) = (IRELAND.parse().unwrap(), Subject::Image(image()));
        Fact { time: Timestamp::UNIX_EPOCH, registry, event_id: "1".to_owned(), subject, what }
    }

    fn lost(registry: &str) -> WorkItem {
        WorkItem::SourceLost(registry.parse().unwrap())
    }

    #[test]
    fn what_a_registry_lost_is_due_unless_ecr_lineage_deleted_it() {
        let image = image();
        let due = vec![StartedWork::Enqueue(&image, lost(IRELAND))];
        let tag: BTreeSet<Tag> = ["v1".parse().unwrap()].into();
        let present = |without: BTreeSet<Tag>| What::Observed {
            storage: Some(StorageClass::Standard),
            tags: BTreeSet::new(),
            without,
            complete: false,
            source: None,
        };
        let unknown = || Cause::Unknown;
        let mirror = || Cause::Mirror { source: TOKYO.parse().unwrap(), policies: BTreeSet::new(), approval: None };
        for what in [
            What::ImageDeleted { cause: unknown() },
            What::TagsDeleted { tags: tag.clone(), cause: unknown() },
            What::FOUND_MISSING,
            present(tag.clone()),
        ] {
            assert_eq!(work_started_by(&fact(what.clone())), due, "{what:?}");
        }
        for what in [
            What::ImageDeleted { cause: mirror() },
            What::TagsDeleted { tags: tag, cause: mirror() },
            What::Attempted {
                call: "BatchDeleteImage".to_owned(),
                code: Some("KmsError".to_owned()),
                reason: None,
                cause: unknown(),
            },
            What::Archived { cause: unknown() },
            What::Restored,
            What::Pushed { tag: None, artifact_media_type: None, platforms: BTreeSet::new(), by: None },
            present(BTreeSet::new()),
        ] {
            assert_eq!(work_started_by(&fact(what.clone())), [], "{what:?}");
        }
    }

    #[test]
    fn an_arrival_makes_the_loss_of_its_source_due_again() {
        let (image, source) = (image(), TOKYO.parse::<Registry>().unwrap());
        let again = StartedWork::EnqueueAgain(&image, lost(TOKYO));
        let replicated = What::Replicated { source: source.clone(), tag: None };
        assert_eq!(work_started_by(&fact(replicated)), std::slice::from_ref(&again));
        let observed = What::Observed {
            storage: Some(StorageClass::Standard),
            tags: BTreeSet::new(),
            without: ["v1".parse().unwrap()].into(),
            complete: false,
            source: Some(source),
        };
        assert_eq!(work_started_by(&fact(observed)), [StartedWork::Enqueue(&image, lost(IRELAND)), again]);
    }

    #[test]
    fn watch_processes_failed_copies_and_changed_settings() {
        let (image, source, tag) = (image(), TOKYO.parse::<Registry>().unwrap(), "v1".parse::<Tag>().unwrap());
        let failed =
            What::ReplicationFailed { source: source.clone(), tag: Some(tag.clone()), code: None, reason: None };
        let due = StartedWork::Enqueue(&image, WorkItem::ReplicationFailed(source, Some(tag)));
        assert_eq!(work_started_by(&fact(failed)), [due]);
        let changed =
            |setting| Fact { subject: Subject::Registry, ..fact(What::Changed { setting, by: "dana".to_owned() }) };
        let rules = changed(Setting::ReplicationRules);
        assert_eq!(work_started_by(&rules), [StartedWork::ReadSettings(&rules.registry)]);
        assert_eq!(work_started_by(&changed(Setting::RegistryPolicy)), []);
    }

    #[test]
    fn a_fact_about_a_whole_repository_starts_no_work() {
        let deleted = What::ImageDeleted { cause: Cause::Unknown };
        let repository = Subject::Repository("team/app".parse().unwrap());
        assert_eq!(work_started_by(&Fact { subject: repository, ..fact(deleted) }), []);
    }
}
