//! Decisions about one deletion, from what was just read.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp, ToSpan};
use serde_json::{Value, json};

use super::{
    Action, Deletion, DeletionContext, DeletionIntent, Verdict, judge,
    tests::{IRELAND, TOKYO, at, image, lineage, pushed, replicated},
};
use crate::{
    breaker::Breaker,
    controls::Controls,
    image::{Digest, Registry},
    observation::{Observation, Observations, ObservedImage, ObservedRepository},
    policy::{ManifestKind, PolicyAnswer, PolicyQuestion},
    replication::ReplicationRules,
};

fn subject() -> Digest {
    format!("sha256:{}", "b".repeat(64)).parse().unwrap()
}

/// The verdict on a replica in Tokyo whose source, Ireland, deleted the image in the tenth minute. The image's subject is in
/// Tokyo. The policy permits one action.
fn verdict(
    loss: Value,
    source: Observation,
    replica: ObservedImage,
    now: Timestamp,
    permits: (Action, bool),
) -> Verdict {
    let [ireland, tokyo] = [IRELAND, TOKYO].map(|name| name.parse::<Registry>().unwrap());
    let lineage = lineage(&[(1, IRELAND, pushed("v1")), (2, TOKYO, replicated("v1", IRELAND)), (10, IRELAND, loss)]);
    let intent = DeletionIntent { registry: tokyo.clone(), tag: None, since: at(10) };
    let deletion = Deletion::open(None, &image(), &ireland, intent, at(10)).unwrap();
    let rules = || Ok(ReplicationRules::read(br#"{"replicationConfiguration": {"rules": []}}"#).unwrap());
    let of = |images: Vec<(Digest, Observation)>| {
        let found = ObservedRepository { images: images.into_iter().collect(), listed: None };
        BTreeMap::from([(image().repository, found)])
    };
    let there = vec![
        (image().digest, Observation::Present(replica)),
        (subject(), Observation::Present(ObservedImage::default())),
    ];
    let observations = Observations {
        rules: [(ireland.clone(), rules()), (tokyo.clone(), rules())].into(),
        repositories: [(ireland.clone(), of(vec![(image().digest, source)])), (tokyo, of(there))].into(),
        breakers: [(ireland, Breaker::default())].into(),
        controls: Some(Controls::default()),
        ..Observations::default()
    };
    let ask = |action: Action, _: &PolicyQuestion<'_>| PolicyAnswer {
        permitted: action == permits.0,
        policies: ["follow".to_owned()].into(),
        errors: Vec::new(),
        grace: SignedDuration::ZERO,
        approval: false,
        replica_only_tags: permits.1,
    };
    let going = BTreeMap::new();
    let context =
        DeletionContext { deletion: &deletion, lineage: &lineage, now, observations: &observations, going: &going };
    judge(&context, &ask).verdict
}

fn deleted_by(cause: &str) -> Value {
    json!({"what": "image_deleted", "cause": cause, "by": "dana"})
}

fn tagged(tag: &str) -> ObservedImage {
    ObservedImage { tags: [tag.parse().unwrap()].into(), ..ObservedImage::default() }
}

#[test]
fn an_image_that_was_deleted_before_its_repository_is_deleted() {
    let of =
        |cause| verdict(deleted_by(cause), Observation::NoRepository, tagged("v1"), at(20), (Action::Delete, false));
    assert_eq!(of("principal"), Verdict::Execute(Action::Delete));
    assert_eq!(of("unknown"), Verdict::Keep);
}

#[test]
fn a_referrer_waits_thirty_days_for_its_subject() {
    let referrer = || ObservedImage { kind: ManifestKind::Referrer, subject: Some(subject()), ..tagged("v1") };
    let of = |now| verdict(deleted_by("principal"), Observation::Missing, referrer(), now, (Action::Delete, false));
    let last = at(10) + (30 * 24).hours();
    assert_eq!(of(at(20)), Verdict::Retry);
    assert_eq!(of(last), Verdict::Retry);
    assert_eq!(of(last + 1.second()), Verdict::Keep);
    assert_eq!(of(last + 24.hours()), Verdict::Keep);
}

#[test]
fn what_is_archived_is_not_archived_again() {
    let of = |archived| {
        let replica = ObservedImage { archived, ..tagged("v1") };
        verdict(deleted_by("principal"), Observation::Missing, replica, at(20), (Action::Archive, false))
    };
    assert_eq!(of(false), Verdict::Execute(Action::Archive));
    assert_eq!(of(true), Verdict::AlreadyGone);
}

#[test]
fn tags_that_the_source_never_had_keep_the_replica_unless_the_policy_names_them() {
    let of = |tag, names| {
        verdict(deleted_by("principal"), Observation::Missing, tagged(tag), at(20), (Action::Delete, names))
    };
    assert_eq!(of("v1", false), Verdict::Execute(Action::Delete));
    assert_eq!(of("local", false), Verdict::Keep);
    assert_eq!(of("local", true), Verdict::Execute(Action::Delete));
}
