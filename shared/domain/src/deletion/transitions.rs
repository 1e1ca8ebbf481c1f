//! What operators and ECR's answers make of a deletion, status by status.

use std::{cell::RefCell, collections::BTreeSet};

use jiff::{SignedDuration, Timestamp, ToSpan};
use serde_json::json;

use super::{
    Action, CallAnswer, CallOutcome, Check, CheckName, Deletion, DeletionIntent, DeletionRefusal, DeletionStatus,
    OperatorAction, estimate, refusal,
    tests::{IRELAND, TOKYO, VIRGINIA, at, deleted, image, lineage, pushed, replicated},
};
use crate::{
    alert::AlertKind,
    controls::{Controls, Hold, HoldPattern, Instruction, Pause},
    fact::{Cause, What},
    image::{Digest, Tag},
    observation::{Observation, ObservedImage},
    policy::{PolicyAnswer, PolicyQuestion},
};

fn digest(letter: &str) -> Digest {
    format!("sha256:{}", letter.repeat(64)).parse().unwrap()
}

fn deletion(status: DeletionStatus) -> Deletion {
    let intent = DeletionIntent { registry: TOKYO.parse().unwrap(), tag: None, since: at(0) };
    let opened = Deletion::open(None, &image(), &IRELAND.parse().unwrap(), intent, at(0)).unwrap();
    Deletion { status, attempts: 3, due: None, ..opened }
}

/// A deletion that this check put on hold.
fn held_by(check: CheckName) -> Deletion {
    let checks = vec![Check::passed(CheckName::Source, "gone"), Check::stopped(check, "stopped")];
    Deletion { checks, ..deletion(DeletionStatus::Held) }
}

fn instruction(until: Option<Timestamp>) -> Instruction {
    Instruction { by: "dana".to_owned(), at: at(0), until, reason: Some("audit".to_owned()) }
}

fn hold(until: Option<Timestamp>) -> Hold {
    Hold { pattern: HoldPattern::try_from("*".to_owned()).unwrap(), source: None, instruction: instruction(until) }
}

#[test]
fn a_new_deletion_is_estimated_from_what_is_recorded() {
    let seen = |tag: &str| json!({"what": "observed", "storage": "standard", "tags": [tag]});
    let facts = [
        (1, IRELAND, pushed("v1")),
        (2, TOKYO, replicated("v1", IRELAND)),
        (3, IRELAND, pushed("stable")),
        (4, TOKYO, seen("stable")),
        (5, TOKYO, replicated("v2", IRELAND)),
        (6, TOKYO, seen("local")),
        (7, VIRGINIA, replicated("v1", IRELAND)),
        (7, "111122223333/ca-central-1", replicated("v1", IRELAND)),
        (8, "111122223333/eu-west-2", replicated("v1", IRELAND)),
        (9, "111122223333/eu-west-2", json!({"what": "tags_deleted", "tags": ["v1"], "cause": "unknown"})),
        (10, "111122223333/eu-west-3", replicated("v1", IRELAND)),
        (11, "111122223333/eu-west-3", deleted()),
        (20, IRELAND, deleted()),
    ];
    let asked = RefCell::new(Vec::new());
    let answers = |action: Action, question: &PolicyQuestion<'_>| {
        let tags = |tags: &BTreeSet<Tag>| tags.iter().map(Tag::to_string).collect::<Vec<_>>().join(" ");
        let of_tags = (tags(question.tags), tags(question.replica_only_tags));
        let times = (question.pushed_at, question.replicated_at, question.since);
        asked.borrow_mut().push((action, of_tags, times, question.archived, question.other_copies));
        PolicyAnswer {
            permitted: action == Action::Archive,
            policies: ["old".to_owned()].into(),
            errors: Vec::new(),
            grace: SignedDuration::from_mins(5),
            approval: true,
            replica_only_tags: false,
        }
    };
    let archived = [&facts[..], &[(12, TOKYO, json!({"what": "archived", "cause": "unknown"}))]].concat();
    for (facts, archived) in [(&facts[..], false), (&archived, true)] {
        let since = DeletionIntent { registry: TOKYO.parse().unwrap(), tag: None, since: at(20) };
        let mut new = Deletion::open(None, &image(), &IRELAND.parse().unwrap(), since, at(21)).unwrap();
        estimate(&mut new, &lineage(facts), &answers);
        assert_eq!((new.action, new.needs_approval, new.due), (Some(Action::Archive), true, Some(at(25))));
        assert_eq!(new.policies, ["old".to_owned()].into());
        // Tokyo is the replica, London only perhaps has it, and Paris deleted it: Virginia and Canada have copies.
        let tags = ("local stable v1 v2".to_owned(), "local".to_owned());
        let question = (tags, (Some(at(3)), at(5), at(20)), archived, 2);
        let with = |action, (tags, times, archived, copies): (_, _, _, _)| (action, tags, times, archived, copies);
        let expected = [with(Action::Delete, question.clone()), with(Action::Archive, question)];
        assert_eq!(asked.take(), expected);
        // What was decided already stays as it is; what is due already is not due in the past.
        let mut kept = Deletion { status: DeletionStatus::Kept, due: None, action: None, ..new.clone() };
        estimate(&mut kept, &lineage(facts), &answers);
        assert_eq!((kept.due, kept.action), (None, None));
        let mut late = Deletion { changed_at: at(50), ..new };
        estimate(&mut late, &lineage(facts), &answers);
        assert_eq!(late.due, Some(at(50)));
        asked.take();
    }
}

#[test]
fn the_cause_is_that_of_the_loss_or_of_the_removal_of_the_tag() {
    let by = |what: &str, by: &str| json!({"what": what, "tags": ["v1"], "cause": "principal", "by": by});
    let facts = [
        (1, IRELAND, pushed("v1")),
        (2, IRELAND, pushed("v2")),
        (5, IRELAND, by("tags_deleted", "kim")),
        (60, IRELAND, by("image_deleted", "dana")),
    ];
    let of_image = Deletion { since: at(60), ..deletion(DeletionStatus::Pending) };
    let of_tag = Deletion { tag: Some("v1".parse().unwrap()), since: at(5), ..of_image.clone() };
    let principal = |by: &str| Cause::Principal { by: by.to_owned() };
    assert_eq!(of_image.cause(&lineage(&facts)), principal("dana"));
    assert_eq!(of_tag.cause(&lineage(&facts)), principal("kim"));
    assert_eq!(of_image.cause(&lineage(&facts[..2])), Cause::Unknown);
}

#[test]
fn each_status_allows_its_own_actions() {
    use OperatorAction::{Approve, Cancel, Hold, Release, Retry};
    let mut cancelled = deletion(DeletionStatus::Pending);
    cancelled.act(Cancel, "dana", None, at(1)).unwrap();
    let mut approved = deletion(DeletionStatus::Pending);
    approved.act(Approve, "dana", None, at(1)).unwrap();
    for (deletion, allowed) in [
        (deletion(DeletionStatus::Pending), &[Hold, Approve, Cancel][..]),
        (approved, &[Hold, Cancel]),
        (held_by(CheckName::Hold), &[Release, Approve, Cancel]),
        (held_by(CheckName::Breaker), &[Hold, Release, Approve, Cancel]),
        (deletion(DeletionStatus::AwaitingApproval), &[Hold, Approve, Cancel]),
        (deletion(DeletionStatus::Executing), &[]),
        (deletion(DeletionStatus::Done), &[]),
        (deletion(DeletionStatus::Kept), &[Retry]),
        (cancelled, &[]),
        (deletion(DeletionStatus::Failed), &[Retry]),
    ] {
        assert_eq!(deletion.allowed_actions(), allowed, "{deletion:?}");
    }
}

#[test]
fn an_action_that_is_not_allowed_says_why_and_changes_nothing() {
    use OperatorAction::{Approve, Cancel, Hold, Release, Retry};
    let mut cancelled = deletion(DeletionStatus::Pending);
    cancelled.act(Cancel, "dana", None, at(1)).unwrap();
    for (before, action, why) in [
        (
            deletion(DeletionStatus::Executing),
            Cancel,
            "cancel a deletion that is executing: the call to ECR is under way",
        ),
        (deletion(DeletionStatus::Done), Retry, "retry a deletion that is done: the replica is deleted"),
        (deletion(DeletionStatus::Done), Approve, "approve a deletion that is done: it is over"),
        (deletion(DeletionStatus::Pending), Retry, "retry a deletion that is pending: it is not over yet"),
        (deletion(DeletionStatus::Pending), Release, "release a deletion that is pending: nothing holds it"),
        (held_by(CheckName::Hold), Hold, "hold a deletion that is held: it is already on hold"),
        (
            cancelled,
            Retry,
            "retry a deletion that is kept: it was cancelled, which is final; a new deletion at the source starts a \
             new one",
        ),
    ] {
        let mut after = before.clone();
        let refused = after.act(action, "dana", None, at(9)).unwrap_err();
        assert_eq!(refused.to_string(), format!("cannot {why}"));
        assert_eq!(after, before);
    }
}

#[test]
fn an_action_says_who_did_what_and_when_the_deletion_is_evaluated() {
    use OperatorAction::{Approve, Cancel, Hold, Release, Retry};
    for (before, action, done, passed, status, due) in [
        (deletion(DeletionStatus::Pending), Hold, "put on hold", false, DeletionStatus::Held, None),
        (held_by(CheckName::Hold), Release, "released", true, DeletionStatus::Pending, Some(at(9))),
        (deletion(DeletionStatus::Failed), Retry, "re-evaluated", true, DeletionStatus::Pending, Some(at(9))),
        (deletion(DeletionStatus::AwaitingApproval), Approve, "approved", true, DeletionStatus::Pending, Some(at(9))),
        (deletion(DeletionStatus::AwaitingApproval), Cancel, "cancelled", false, DeletionStatus::Kept, None),
    ] {
        let mut after = before;
        after.act(action, "dana", Some("audit"), at(9)).unwrap();
        let last = after.checks.last().unwrap();
        assert_eq!((last.why.clone(), last.passed), (format!("{done} by dana: audit"), passed));
        assert_eq!((after.status, after.due, after.attempts, after.changed_at), (status, due, 0, at(9)));
        let act = after.actions.last().unwrap();
        assert_eq!((act.action, act.at, act.by_and_reason()), (action, at(9), "dana: audit".to_owned()));
    }
    // An approval before it is requested changes no schedule.
    let before = deletion(DeletionStatus::Pending);
    let mut after = before.clone();
    after.act(Approve, "dana", None, at(9)).unwrap();
    assert_eq!((&after.checks, after.status, after.due), (&before.checks, before.status, before.due));
    assert!(after.approved().is_some());
}

#[test]
fn an_approval_ends_when_the_deletion_is_retried() {
    let mut deletion = deletion(DeletionStatus::Pending);
    deletion.act(OperatorAction::Approve, "dana", None, at(1)).unwrap();
    deletion.needs_approval = true;
    assert!(!deletion.will_ask());
    deletion.status = DeletionStatus::Failed;
    deletion.act(OperatorAction::Retry, "kim", None, at(2)).unwrap();
    assert_eq!(deletion.approved(), None);
    assert!(deletion.will_ask());
}

#[test]
fn a_hold_says_what_it_covers_and_when_it_is_evaluated_again() {
    for (until, due) in [(None, at(9) + 24.hours()), (Some(at(60)), at(60))] {
        let mut held = deletion(DeletionStatus::Pending);
        held.hold(&hold(until), at(9)).unwrap();
        assert_eq!((held.status, held.due), (DeletionStatus::Held, Some(due)));
        assert_eq!(held.checks.last().unwrap().why, hold(until).summary());
        assert!(held.held_by_operator() && !held.held_by_breaker());
        assert!(held.hold(&hold(until), at(10)).is_err(), "it is on hold");
    }
}

#[test]
fn only_a_deletion_on_hold_is_held_and_by_its_last_check() {
    for check in CheckName::ALL {
        let held = held_by(check);
        let expected = (check == CheckName::Hold, check == CheckName::Breaker);
        assert_eq!((held.held_by_operator(), held.held_by_breaker()), expected, "{check:?}");
        let other = Deletion { status: DeletionStatus::Kept, ..held };
        assert_eq!((other.held_by_operator(), other.held_by_breaker()), (false, false), "{check:?}");
    }
}

#[test]
fn a_retry_waits_twice_as_long_each_time_up_to_six_hours() {
    let mut deletion = deletion(DeletionStatus::Pending);
    deletion.attempts = 0;
    let mut waits = Vec::new();
    for _ in 0..40 {
        deletion.retry_later(Check::stopped(CheckName::Source, "unreadable"), at(9));
        waits.push(deletion.due.unwrap().duration_since(at(9)).as_mins());
    }
    assert_eq!(waits[..11], [1, 2, 4, 8, 16, 32, 64, 128, 256, 360, 360]);
    assert!(waits[11..].iter().all(|wait| *wait == 360));
    assert_eq!((deletion.attempts, deletion.status, deletion.changed_at), (30, DeletionStatus::Pending, at(9)));
}

#[test]
fn each_failure_code_has_a_meaning() {
    for (code, meaning) in [
        ("ImageNotFound", DeletionRefusal::Gone),
        ("ImageReferencedByManifestList", DeletionRefusal::IndexFirst),
        ("KmsError", DeletionRefusal::ForNow),
        ("UpstreamTooManyRequests", DeletionRefusal::ForNow),
        ("UpstreamUnavailable", DeletionRefusal::ForNow),
        ("InvalidImageDigest", DeletionRefusal::ForGood),
        ("SomethingNew", DeletionRefusal::ForGood),
    ] {
        assert_eq!(refusal(code), meaning, "{code}");
    }
}

#[test]
fn each_answer_of_ecr_has_an_outcome() {
    let claim = Deletion { action: Some(Action::Delete), ..deletion(DeletionStatus::Executing) };
    let refused = |code: &str| CallAnswer::Refused { code: code.to_owned(), reason: "no".to_owned() };
    let retry = |check, why: &str| CallOutcome::Retry(Check::stopped(check, why));
    for (answer, outcome) in [
        (CallAnswer::Executed(Some(digest("a"))), CallOutcome::Done("ECR deleted it".to_owned())),
        (CallAnswer::Executed(None), CallOutcome::Done("ECR deleted it".to_owned())),
        (
            CallAnswer::Executed(Some(digest("b"))),
            CallOutcome::Failed(format!("the tag moved at the last moment: it was removed from {}", digest("b"))),
        ),
        (CallAnswer::Unmentioned, CallOutcome::Unknown("ECR's answer does not mention it".to_owned())),
        (refused("ImageNotFound"), CallOutcome::Done("it was gone already".to_owned())),
        (refused("ImageReferencedByManifestList"), retry(CheckName::Manifest, "ImageReferencedByManifestList: no")),
        (refused("KmsError"), retry(CheckName::Call, "KmsError: no")),
        (refused("InvalidImageDigest"), CallOutcome::Failed("InvalidImageDigest: no".to_owned())),
    ] {
        assert_eq!(claim.outcome(answer), outcome);
    }
    let archives = Deletion { action: Some(Action::Archive), ..claim };
    assert_eq!(archives.outcome(CallAnswer::Executed(None)), CallOutcome::Done("ECR archived it".to_owned()));
}

#[test]
fn a_call_that_failed_may_have_taken_effect_unless_its_error_says_otherwise() {
    let of = |code| CallOutcome::of_failed_call(code, "why".to_owned());
    for code in [None, Some("ServerException"), Some("InternalFailure"), Some("InternalServerError")] {
        assert_eq!(of(code), CallOutcome::Unknown("no answer: why".to_owned()), "{code:?}");
    }
    assert_eq!(of(Some("ServiceUnavailable")), CallOutcome::Unknown("no answer: why".to_owned()));
    for code in ["ImageStorageClassUpdateNotSupportedException", "InvalidParameterException", "ValidationException"] {
        assert_eq!(of(Some(code)), CallOutcome::Failed("why".to_owned()), "{code}");
    }
    for code in ["ImageNotFoundException", "RepositoryNotFoundException"] {
        assert_eq!(of(Some(code)), CallOutcome::Done("it was gone already".to_owned()), "{code}");
    }
    for code in ["ThrottlingException", "AccessDeniedException"] {
        assert_eq!(of(Some(code)), CallOutcome::Retry(Check::stopped(CheckName::Call, "why")), "{code}");
    }
}

#[test]
fn a_claim_is_not_called_for_when_it_is_paused_or_on_hold_or_that_cannot_be_read() {
    let claim = deletion(DeletionStatus::Executing);
    let of = |controls: &Result<Controls, String>| match CallOutcome::of_controls(controls, &claim, at(1)) {
        Some(CallOutcome::Retry(check)) => Some((check.check, check.passed, check.why)),
        Some(other) => panic!("{other:?}"),
        None => None,
    };
    assert_eq!(of(&Ok(Controls::default())), None);
    let why = "whether it is paused cannot be read: throttled";
    assert_eq!(of(&Err("throttled".to_owned())), Some((CheckName::Paused, false, why.to_owned())));
    let held = Controls { holds: vec![hold(None)], ..Controls::default() };
    assert_eq!(of(&Ok(held.clone())), Some((CheckName::Hold, false, hold(None).summary())));
    let pause = Pause { source: None, instruction: instruction(None) };
    let both = Controls { pauses: vec![pause.clone()], ..held };
    assert_eq!(of(&Ok(both)), Some((CheckName::Paused, false, pause.summary())));
}

#[test]
fn a_lost_response_is_explained_by_what_is_there_now() {
    let seen = |tags: &[&str], archived| {
        let tags = tags.iter().map(|tag| tag.parse().unwrap()).collect();
        Observation::Present(ObservedImage { tags, archived, ..ObservedImage::default() })
    };
    let claim = |action, tag: Option<&str>| {
        let tag = tag.map(|tag| tag.parse().unwrap());
        Deletion { action: Some(action), tag, ..deletion(DeletionStatus::Executing) }
    };
    let deletes = claim(Action::Delete, None);
    let archives = claim(Action::Archive, None);
    let untags = claim(Action::Untag, Some("v1"));
    for (observation, effects) in [
        (Observation::Missing, [true, true, true]),
        (Observation::NoRepository, [true, true, true]),
        (seen(&["v1"], false), [false, false, false]),
        (seen(&["v2"], false), [false, false, true]),
        (seen(&["v1"], true), [false, true, false]),
        (Observation::Unreadable("throttled".to_owned()), [false, false, false]),
        (Observation::NotAsked, [false, false, false]),
    ] {
        let took_effect = [&deletes, &archives, &untags].map(|claim| claim.took_effect(&observation));
        assert_eq!(took_effect, effects, "{observation:?}");
    }
}

#[test]
fn what_is_written_after_a_call_follows_from_its_outcome() {
    let claim = Deletion { attempts: 0, action: Some(Action::Delete), ..deletion(DeletionStatus::Executing) };
    let done = claim.after_call(CallOutcome::Done("ECR deleted it".to_owned()), at(9));
    assert_eq!((done.deletion.status, done.deletion.changed_at), (DeletionStatus::Done, at(9)));
    assert!(matches!(done.done.unwrap().what, What::ImageDeleted { .. }));
    assert!(done.occurrence.is_some() && done.alerts.is_empty());

    let unknown = claim.after_call(CallOutcome::Unknown("no answer".to_owned()), at(9));
    let after = &unknown.deletion;
    assert_eq!((after.status, after.changed_at), (DeletionStatus::Executing, claim.changed_at));
    assert_eq!((after.due, after.attempts), (Some(at(10)), 1));
    assert!(unknown.done.is_none() && unknown.occurrence.is_none());

    let failed = claim.after_call(CallOutcome::Failed("invalid".to_owned()), at(9));
    assert_eq!((failed.deletion.status, failed.deletion.due), (DeletionStatus::Failed, None));
    let alerts: Vec<_> = failed.alerts.iter().map(|alert| (alert.kind, alert.message.clone())).collect();
    assert_eq!(alerts, [(AlertKind::DeletionFailed, format!("{}: invalid", claim.image))]);
    assert_eq!(failed.done, None);

    // The fifth failure in a row raises an alert; the others do not.
    for (attempts, alerts) in [(3, 0), (4, 1), (5, 0)] {
        let retried = Deletion { attempts, ..claim.clone() };
        let retried = retried.after_call(CallOutcome::Retry(Check::stopped(CheckName::Call, "throttled")), at(9));
        assert_eq!((retried.deletion.status, retried.alerts.len()), (DeletionStatus::Pending, alerts), "{attempts}");
    }
}

#[test]
fn a_claim_waits_thirty_days_for_an_index_and_longer_for_anything_else() {
    let claim = deletion(DeletionStatus::Executing);
    let after = |check, now| {
        let outcome = CallOutcome::Retry(Check::stopped(check, "no"));
        claim.after_call(outcome, now).deletion.status
    };
    let last = at(30 * 24 * 60);
    assert_eq!(after(CheckName::Manifest, last), DeletionStatus::Pending);
    let later = last.saturating_add(SignedDuration::from_secs(1)).unwrap();
    assert_eq!(after(CheckName::Manifest, later), DeletionStatus::Kept);
    assert_eq!(after(CheckName::Call, later), DeletionStatus::Pending);
    assert_eq!(after(CheckName::Manifest, at(1)), DeletionStatus::Pending);
}

#[test]
fn the_fact_of_an_executed_claim_says_what_was_done() {
    let claim = Deletion { changed_at: at(5) + 300.milliseconds(), ..deletion(DeletionStatus::Executing) };
    let fact = |action, tag: Option<&str>| {
        let tag = tag.map(|tag| tag.parse().unwrap());
        let claim = Deletion { action: Some(action), tag, ..claim.clone() };
        let fact = claim.after_call(CallOutcome::Done("done".to_owned()), at(9)).done.unwrap();
        assert_eq!((fact.time, &fact.registry), (at(5), &claim.registry));
        (fact.what.kind(), fact.event_id)
    };
    assert_eq!(fact(Action::Delete, None), ("image_deleted", "mirror-image".to_owned()));
    assert_eq!(fact(Action::Archive, None), ("archived", "mirror-image".to_owned()));
    assert_eq!(fact(Action::Untag, Some("v1")), ("tags_deleted", "mirror-v1".to_owned()));
}

#[test]
fn a_summary_says_the_reason_or_what_is_planned() {
    let planned = Deletion {
        action: Some(Action::Delete),
        policies: ["follow".to_owned()].into(),
        needs_approval: true,
        ..deletion(DeletionStatus::Pending)
    };
    assert_eq!(planned.summary(), "will ask for approval when due: delete (policy follow)");
    let without = Deletion { needs_approval: false, ..planned.clone() };
    assert_eq!(without.summary(), "planned action when due: delete (policy follow)");
    let none = Deletion { action: None, ..planned.clone() };
    assert_eq!(none.summary(), "no matching permit policy (provisional)");
    for action in [None, Some(Action::Delete)] {
        for needs_approval in [false, true] {
            let checks = vec![Check::passed(CheckName::Operator, "released by dana")];
            let stopped = Deletion { action, needs_approval, checks, ..planned.clone() };
            assert_eq!(stopped.summary(), "released by dana");
        }
    }
    let mut approved = planned;
    approved.act(OperatorAction::Approve, "dana", Some("checked"), at(1)).unwrap();
    let by = "delete (policy follow); approved by dana: checked";
    assert_eq!(approved.summary(), format!("planned action when due: {by}"));
    approved.settle(DeletionStatus::Done, Check::passed(CheckName::Call, "ECR deleted it"), at(2));
    let by = "delete: ECR deleted it (policy follow); approved by dana: checked";
    assert_eq!(approved.summary(), by);
    approved.status = DeletionStatus::Kept;
    assert_eq!(approved.summary(), "ECR deleted it");
}

#[test]
fn each_status_has_words() {
    let words = DeletionStatus::ALL.map(DeletionStatus::words);
    assert_eq!(words, ["pending", "on hold", "awaiting approval", "executing", "done", "kept", "failed"]);
}
