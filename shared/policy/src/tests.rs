use std::collections::BTreeSet;

use domain::{
    fact::Cause,
    image::{Image, Registry, Tag},
    policy::ManifestKind,
    usage::{ImageUsers, UserKind, Users},
};
use jiff::Timestamp;
use proptest::prelude::*;

use super::*;

const DEV: &str = include_str!("../../../infra/policies/dev-follows-its-source.cedar");

/// The policy under test permits everything, so that only a forbid or an error refuses.
const PERMIT: &str = "@id(\"all\") permit (principal, action, resource);\n";

/// A replica whose source lost the image, and how.
#[derive(Debug, Clone)]
struct Case {
    source: Registry,
    registry: Registry,
    image: Image,
    tags: BTreeSet<Tag>,
    replica_only_tags: BTreeSet<Tag>,
    pushed_at: Option<Timestamp>,
    last_pulled_at: Option<Timestamp>,
    size_bytes: u64,
    now: Timestamp,
    cause: Cause,
    other_copies: u64,
    tag: Option<Tag>,
    users: Option<ImageUsers>,
}

fn tags(tags: &[&str]) -> BTreeSet<Tag> {
    tags.iter().map(|tag| tag.parse().unwrap()).collect()
}

fn case() -> Case {
    Case {
        source: "111122223333/eu-west-1".parse().unwrap(),
        registry: "444455556666/us-east-1".parse().unwrap(),
        image: "dev/app@sha256:7f5b2640fe6fb4f46592dfd3410c4a79dac4f89e4782432e0378abcd1234b5c8".parse().unwrap(),
        tags: tags(&["build-7"]),
        replica_only_tags: BTreeSet::new(),
        pushed_at: Some("2026-01-01T00:00:00Z".parse().unwrap()),
        last_pulled_at: None,
        size_bytes: 1_000,
        now: "2026-06-30T12:00:00.123456789Z".parse().unwrap(),
        cause: Cause::Principal { by: "arn:aws:iam::111122223333:user/\"Ann\"".into() },
        other_copies: 2,
        tag: None,
        users: Some(ImageUsers::default()),
    }
}

impl Case {
    fn ask(&self, text: &str, action: Action) -> PolicyAnswer {
        self.put(&Policy::load("test.cedar", text).unwrap(), action)
    }

    fn put(&self, policy: &Policy, action: Action) -> PolicyAnswer {
        policy.ask(
            action,
            &PolicyQuestion {
                source: &self.source,
                image: &self.image,
                registry: &self.registry,
                tags: &self.tags,
                replica_only_tags: &self.replica_only_tags,
                pushed_at: self.pushed_at,
                replicated_at: "2026-01-01T00:01:00Z".parse().unwrap(),
                last_pulled_at: self.last_pulled_at,
                size_bytes: self.size_bytes,
                kind: ManifestKind::Image,
                archived: false,
                users: self.users.as_ref(),
                now: self.now,
                since: "2026-06-01T12:00:00Z".parse().unwrap(),
                cause: &self.cause,
                other_copies: self.other_copies,
                tag: self.tag.as_ref(),
            },
        )
    }

    fn of(repository: &str) -> Self {
        let mut case = case();
        case.image.repository = repository.parse().unwrap();
        case
    }
}

#[test]
fn a_policy_can_use_every_attribute_of_the_schema() {
    let condition = r#"@id("all") permit (principal, action, resource) when {
        principal == Registry::"111122223333/eu-west-1" && principal == resource.source &&
        principal.account == "111122223333" && principal.region == "eu-west-1" &&
        resource.registry == Registry::"444455556666/us-east-1" && resource.registry.region == "us-east-1" &&
        resource.repository == "dev/app" && resource.digest like "sha256:7f5b*" &&
        resource.tags == ["a", "b"] && resource.tagLine == " a b " && resource.replicaOnlyTags == ["b"] &&
        resource has pushedAt && resource.pushedAt == datetime("2026-01-01") &&
        resource.replicatedAt == datetime("2026-01-01T00:01:00Z") &&
        resource has lastPulledAt && resource.lastPulledAt == datetime("2026-06-02T00:00:00.500Z") &&
        resource.sizeBytes == 1000 && resource.kind == "image" && !resource.archived &&
        resource has inUse && resource.inUse && resource has usedBy && resource.usedBy.contains("arn:task") &&
        resource has lastUsedAt && resource.lastUsedAt == datetime("2026-06-03") &&
        context.now == datetime("2026-06-30T12:00:00.123Z") && context.deletedAt == datetime("2026-06-01T12:00:00Z") &&
        context.otherCopies == 2 && context has tag && context.tag == "a" && CAUSE
    };"#;
    let used = Users {
        count: 1,
        named: ["arn:task".to_owned()].into(),
        last_used_at: Some("2026-06-03T00:00:00Z".parse().unwrap()),
    };
    let known = Case {
        tags: tags(&["a", "b"]),
        replica_only_tags: tags(&["b"]),
        last_pulled_at: Some("2026-06-02T00:00:00.5Z".parse().unwrap()),
        tag: Some("a".parse().unwrap()),
        users: Some(ImageUsers([(UserKind::Task, used)].into())),
        ..case()
    };
    let by = || "arn:aws:iam::111122223333:user/\"Ann\"".to_owned();
    let deleted_by =
        r#"context has deletedBy && context.deletedBy like "*user/\"Ann\"" && !(context has lifecycleRule)"#;
    let neither = "!(context has deletedBy) && !(context has lifecycleRule)";
    for (cause, rest) in [
        (Cause::Principal { by: by() }, deleted_by),
        (Cause::Repository { by: by() }, deleted_by),
        (
            Cause::Lifecycle { rule: -3, description: Some("old".into()) },
            "context has lifecycleRule && context.lifecycleRule == -3 && !(context has deletedBy)",
        ),
        (Cause::Mirror { source: case().registry, policies: BTreeSet::new(), approval: None }, neither),
        (Cause::Unknown, neither),
    ] {
        assert!(Cause::NAMES.contains(&cause.as_str()));
        let text = condition.replace("CAUSE", &format!("context.cause == \"{}\" && {rest}", cause.as_str()));
        let answer = Case { cause, ..known.clone() }.ask(&text, Action::Untag);
        assert!(answer.permitted, "{text}: {answer:?}");
    }
}

/// A policy that deletes only what is not in use deletes nothing where that is not known.
#[test]
fn what_was_not_read_is_not_unused() {
    let unused =
        r#"@id("unused") permit (principal, action, resource) when { resource has inUse && !resource.inUse };"#;
    let used = ImageUsers([(UserKind::Task, Users { count: 1, ..Users::default() })].into());
    for (users, permitted) in [(None, false), (Some(used), false), (Some(ImageUsers::default()), true)] {
        let answer = Case { users, ..case() }.ask(unused, Action::Delete);
        assert_eq!(answer.permitted, permitted, "{answer:?}");
    }
    assert!(Policy::load("test.cedar", &unused.replace("resource has inUse &&", "")).is_err());
}

#[test]
fn the_tag_line_shows_where_each_tag_starts_and_ends() {
    let patterns = ["* v*", "*v *", "* v1 *"].map(|pattern| {
        let like = format!("resource.tagLine like \"{pattern}\"");
        Policy::load(pattern, &format!("@id(\"like\") permit (principal, action, resource) when {{ {like} }};"))
            .unwrap()
    });
    let ask = |words: &BTreeSet<String>| {
        let tags = words.iter().map(|word| word.parse().unwrap()).collect();
        let case = Case { tags, ..case() };
        patterns.each_ref().map(|policy| case.put(policy, Action::Delete).permitted)
    };
    for (words, expected) in [
        (&[][..], [false, false, false]),
        (&["preview", "dev-v1"], [false, false, false]),
        (&["preview", "v1"], [true, false, true]),
        (&["v10", "dev"], [true, true, false]),
        (&["v"], [true, true, false]),
    ] {
        assert_eq!(ask(&words.iter().map(ToString::to_string).collect()), expected, "{words:?}");
    }
    proptest!(|(words in prop::collection::btree_set("(preview|dev-)?[v-]?[a-v1.]{1,3}", 0..4))| {
        let starts = words.iter().any(|word| word.starts_with('v'));
        let ends = words.iter().any(|word| word.ends_with('v'));
        prop_assert_eq!(ask(&words), [starts, ends, words.contains("v1")]);
    });
}

#[test]
fn without_a_matching_permit_nothing_is_permitted() {
    let answer = Case::of("prod/app").ask(DEV, Action::Delete);
    assert_eq!(
        answer,
        PolicyAnswer {
            permitted: false,
            policies: BTreeSet::new(),
            errors: Vec::new(),
            grace: DEFAULT_GRACE,
            approval: false,
            replica_only_tags: false,
        }
    );
}

#[test]
fn a_policy_error_refuses_although_another_policy_permits() {
    for effect in ["forbid", "permit"] {
        let overflow = format!(
            "{PERMIT}@id(\"sum\") {effect} (principal, action, resource)
             when {{ resource.sizeBytes * 9223372036854775807 > 0 }};"
        );
        let answer = case().ask(&overflow, Action::Delete);
        assert!(!answer.permitted);
        assert!(answer.policies.is_empty());
        assert_eq!(answer.errors.len(), 1);
        assert!(answer.errors[0].contains("`sum`") && answer.errors[0].contains("overflow"), "{}", answer.errors[0]);
        assert!(Case { size_bytes: 1, ..case() }.ask(&overflow, Action::Delete).errors.is_empty());
    }
}

#[test]
fn values_beyond_the_range_of_cedar_are_refused() {
    let large = Case { size_bytes: u64::MAX, ..case() };
    let many = Case { other_copies: u64::MAX, ..case() };
    let ancient = Case { now: Timestamp::MIN, ..case() };
    for case in [large, many, ancient] {
        let answer = case.ask(PERMIT, Action::Delete);
        assert!(!answer.permitted && answer.policies.is_empty());
        assert_eq!(answer.errors.len(), 1, "{answer:?}");
    }
}

#[test]
fn the_source_and_the_registry_of_a_replica_may_be_the_same() {
    let case = Case { registry: case().source, ..case() };
    assert!(case.ask(PERMIT, Action::Delete).permitted);
}

#[test]
fn the_longest_grace_period_of_the_matching_permits_applies() {
    let text = |graces: &[&str]| -> String {
        let permit = |(i, grace): (usize, &&str)| {
            format!("@id(\"p-{i}\") {grace} permit (principal, action == Action::\"delete\", resource);\n")
        };
        graces.iter().enumerate().map(permit).collect()
    };
    let hours = |hours| SignedDuration::from_hours(hours);
    for (graces, longest) in [
        (&["@grace(\"7d\")", "@grace(\"48h\")"][..], hours(7 * 24)),
        (&["", "@grace(\"1h\")"], hours(24)),
        (&["@grace(\"0s\")"], hours(0)),
        (&["@grace(\"1h 30m\")"], SignedDuration::from_mins(90)),
        (&["@grace(\"90d\")"], hours(90 * 24)),
        (&["@grace(\"2 weeks\")"], hours(14 * 24)),
    ] {
        assert_eq!(case().ask(&text(graces), Action::Delete).grace, longest, "{graces:?}");
    }
    let elsewhere =
        format!("{PERMIT}@id(\"long\") @grace(\"9d\") permit (principal, action == Action::\"untag\", resource);");
    assert_eq!(case().ask(&elsewhere, Action::Delete).grace, DEFAULT_GRACE);
}

#[test]
fn one_permit_requires_approval_and_all_must_allow_to_delete_replica_only_tags() {
    let ask = |first: &str, second: &str, forbid: &str| {
        let text = format!(
            "@id(\"a\") {first} permit (principal, action, resource);
             @id(\"b\") {second} permit (principal, action, resource);
             {forbid}"
        );
        let answer = case().ask(&text, Action::Delete);
        (answer.permitted, answer.approval, answer.replica_only_tags)
    };
    let (approval, may_go) = ("@approval(\"required\")", "@replica_only_tags(\"may_go\")");
    assert_eq!(ask("", "", ""), (true, false, false));
    assert_eq!(ask("", approval, ""), (true, true, false));
    assert_eq!(ask(may_go, "", ""), (true, false, false));
    assert_eq!(ask(may_go, may_go, ""), (true, false, true));
    assert_eq!(ask(may_go, &format!("{may_go} {approval}"), ""), (true, true, true));
    let forbid = "@id(\"c\") forbid (principal, action, resource);";
    assert_eq!(ask(&format!("{may_go} {approval}"), may_go, forbid), (false, false, false));
}

/// A text with mistakes, and its problems: of each the line, the column, and parts of its message and suggestion.
type Mistake = (&'static str, &'static [(usize, usize, &'static str, &'static str)]);

const MISTAKES: &[Mistake] = &[
    ("@id(\"a\")\npermit (principal, action, resource) when { 1 = 1 };", &[(2, 45, "not a valid operator", "==")]),
    ("@id(\"a\")\npermit (principal, action resource);", &[(2, 27, "unexpected token `resource`", "expected")]),
    ("@id(\"a\")\npermit (principal, action, resource)\n\n", &[(2, 37, "unexpected end of input", "`;`")]),
    ("@id(\"a\")\npermit (principal, action, resource)\nwhen { 'x' };", &[(3, 8, "invalid token", "double quotes")]),
    (
        "// é\n@id(\"a\")\npermit (principal, action, resource)\nwhen { \"é\" == resource.tag };",
        &[(4, 15, "attribute `tag` on entity type `Replica` not found", "did you mean `tags`?")],
    ),
    (
        "@id(\"a\") permit (principal, action, resource) when { context.othercopies > 1 };",
        &[(1, 54, "attribute `othercopies` in context not found", "did you mean `otherCopies`?")],
    ),
    (
        "@id(\"a\") permit (principal, action, resource) when { context.tag == \"a\" };",
        &[(1, 54, "optional attribute `tag` in context", "context has tag")],
    ),
    (
        "@id(\"a\") permit (principal, action, resource) when { resource.sizeBytes > \"1\" };",
        &[(1, 75, "expected Long but saw String", "")],
    ),
    (
        "@id(\"a\") permit (principal, action == Action::\"remove\", resource);",
        &[(1, 39, "unrecognized action", "`delete`, `archive` and `untag`")],
    ),
    (
        "@id(\"a\") permit (principal, action, resource is Replca);",
        &[(1, 49, "unrecognized entity type `Replca`", "did you mean `Replica`?")],
    ),
    (
        "@id(\"a\") permit (principal is Replica, action, resource);",
        &[(1, 1, "unable to find an applicable action", "always a `Registry`")],
    ),
    (
        "@id(\"a\")\n\
         permit (principal, action, resource);\n\
         @id(\"b\")\n\
         forbid (principal, action, resource)\n\
         when { resource has pulledAt };",
        &[(5, 8, "`resource` has no attribute `pulledAt`", "did you mean `lastPulledAt`?")],
    ),
    (
        "@id(\"a\") permit (principal, action, resource) when { context.otherCopies < 1 && false };",
        &[(1, 1, "policy is impossible", "exclude each other")],
    ),
    ("\npermit (principal, action, resource);", &[(2, 1, "no `@id`", "@id(\"dev-follows-its-source\")")]),
    (
        "@id(\"a\") permit (principal, action, resource);\n\
         @grace(\"1h\") @id(\"a\")\n\
         permit (principal, action, resource);",
        &[(2, 14, "`a` is taken by the policy in line 1", "id of its own")],
    ),
    ("@id(\"a\")\n@id(\"b\")\npermit (principal, action, resource);", &[(2, 1, "duplicate annotation: @id", "")]),
    ("@id permit (principal, action, resource);", &[(1, 1, "`@id` cannot be ``", "1 to 64 of")]),
    ("@id(\"Dev\") permit (principal, action, resource);", &[(1, 1, "`@id` cannot be `Dev`", "a-z")]),
    (
        "@id(\"a\")\n@grce(\"1h\")\npermit (principal, action, resource);",
        &[(2, 1, "unknown annotation `@grce`", "did you mean `@grace`?")],
    ),
    (
        "@id(\"a\") @colour(\"red\") permit (principal, action, resource);",
        &[(1, 10, "unknown annotation `@colour`", "`@id`, `@grace`, `@approval`, `@replica_only_tags`")],
    ),
    (
        "@id(\"a\")\n@grace(\"soon\")\npermit (principal, action, resource);",
        &[(2, 1, "`@grace` cannot be `soon`", "@grace(\"24h\")")],
    ),
    ("@id(\"a\") @grace(\"-1h\") permit (principal, action, resource);", &[(1, 10, "`-1h`", "`0s` to `90d`")]),
    ("@id(\"a\") @grace(\"91d\") permit (principal, action, resource);", &[(1, 10, "`91d`", "`0s` to `90d`")]),
    ("@id(\"a\") @grace(\"1 month\") permit (principal, action, resource);", &[(1, 10, "`1 month`", "`90d`")]),
    (
        "@id(\"a\")\n@grace(\"1h\")\nforbid (principal, action, resource);",
        &[(2, 1, "`@grace` means nothing on a forbid", "on a permit")],
    ),
    (
        "@id(\"a\") @approval(\"yes\") permit (principal, action, resource);",
        &[(1, 10, "`@approval` cannot be `yes`", "@approval(\"required\")")],
    ),
    (
        "@id(\"a\") @approval(\"required\") forbid (principal, action, resource);",
        &[(1, 10, "means nothing on a forbid", "on a permit")],
    ),
    (
        "@id(\"a\") @replica_only_tags(\"go\") permit (principal, action, resource);",
        &[(1, 10, "`@replica_only_tags` cannot be `go`", "may_go")],
    ),
    (
        "@id(\"a\") @replica_only_tags(\"may_go\") forbid (principal, action, resource);",
        &[(1, 10, "means nothing on a forbid", "on a permit")],
    ),
    (
        "@id(\"a\") permit (principal, action, resource);\n\
         @id(\"b\") permit (principal == ?principal, action, resource);",
        &[(2, 1, "`?principal` makes the policy a template", "write the registry")],
    ),
    // What has the right type and can never match.
    (
        "@id(\"a\") forbid (principal, action, resource) when { context.cause == \"lifecycles\" };",
        &[(1, 71, "`context.cause` is never \"lifecycles\"", "did you mean \"lifecycle\"?")],
    ),
    (
        "@id(\"a\") forbid (principal, action, resource) unless { [\"person\", \"mirror\"].contains(context.cause) };",
        &[(1, 57, "`context.cause` is never \"person\"", "it is one of \"principal\", \"lifecycle\", ")],
    ),
    (
        "@id(\"a\") forbid (principal, action, resource) when { resource.tags.contains(\"v*\") };",
        &[(1, 77, "`resource.tags` never contains \"v*\"", "write `resource.tagLine like \"* v*\"`")],
    ),
    (
        "@id(\"a\") forbid (principal, action, resource) when { resource.tags.containsAny([\"latest\", \"*-rc\"]) };",
        &[(1, 91, "`resource.tags` never contains \"*-rc\"", "write `resource.tagLine like \"*-rc *\"`")],
    ),
    (
        "@id(\"a\") forbid (principal, action, resource) when { resource.tags.contains(\"a b\") };",
        &[(1, 77, "`resource.tags` never contains \"a b\"", "expected 1 to 300 of `A-Z a-z 0-9 . _ -`")],
    ),
    (
        "@id(\"a\") forbid (principal, action, resource) when { context has tag && context.tag == \"v*\" };",
        &[(1, 88, "`context.tag` is never \"v*\"", "write `context.tag like \"v*\"`")],
    ),
    (
        "@id(\"a\") forbid (principal, action, resource) when { resource.digest == \"sha256\" };",
        &[(1, 73, "`resource.digest` is never \"sha256\"", "expected")],
    ),
    (
        "@id(\"a\") permit (principal, action, resource) when { \"dev/*\" == resource.repository };",
        &[(1, 54, "`resource.repository` is never \"dev/*\"", "write `resource.repository like \"dev/*\"`")],
    ),
    (
        "@id(\"a\") permit (principal, action, resource) when { resource.repository like \"Dev/*\" };",
        &[(1, 54, "`resource.repository like \"Dev/*\"` never matches", "the text has no `D`")],
    ),
    (
        "@id(\"a\") permit (principal, action, resource) when { resource.repository == \"Team/App\" };",
        &[(1, 77, "`resource.repository` is never \"Team/App\"", "expected 2 to 256 of")],
    ),
    (
        "@id(\"a\") forbid (principal, action, resource) when { resource.tagLine like \"v*\" };",
        &[(1, 54, "`resource.tagLine like \"v*\"` never matches", "write `\"* v*\"`")],
    ),
    (
        "@id(\"a\") forbid (principal, action, resource) when { context.cause like \"life-*\" };",
        &[(1, 54, "`context.cause like \"life-*\"` never matches", "it is one of")],
    ),
    (
        "@id(\"a\") forbid (principal == Registry::\"12345/eu-west-1\", action, resource);",
        &[(1, 31, "there is no registry \"12345/eu-west-1\"", "expected a 12-digit account")],
    ),
    (
        "@id(\"a\") forbid (principal, action, resource) when { resource.registry == Registry::\"eu-west-1\" };",
        &[(1, 75, "there is no registry \"eu-west-1\"", "as in `111122223333/eu-west-1`")],
    ),
    (
        "@id(\"a\") forbid (principal, action, resource) when { resource.source.account == \"1111\" };",
        &[(1, 81, "`resource.source.account` is never \"1111\"", "12 digits")],
    ),
    (
        "@id(\"a\") forbid (principal, action, resource) when { principal.region == \"eu\" };",
        &[(1, 74, "`principal.region` is never \"eu\"", "written like `eu-west-1`")],
    ),
    (
        "@id(\"a\") forbid (principal, action, resource) when { resource.kind == \"images\" };",
        &[(1, 71, "`resource.kind` is never \"images\"", "did you mean \"image\"?")],
    ),
    (
        "@id(\"a\") forbid (principal, action, resource) when { resource.kind like \"images*\" };",
        &[(1, 54, "`resource.kind like \"images*\"` never matches", "it is one of")],
    ),
    (
        "@id(\"a\") permit (principal, action, resource) when { resource.repo like \"dev/*\" };",
        &[(1, 54, "attribute `repo`", "did you mean `repository`?")],
    ),
    (
        "@id(\"a\") permit (principal, action, resource) when { resource.cause == \"lifecycle\" };",
        &[(1, 54, "attribute `cause`", "did you mean `context.cause`?")],
    ),
    (
        "@id(\"a\") permit (principal, action, resource) when { principal.colour == \"red\" };",
        &[(1, 54, "attribute `colour`", "it has `account`, `region`")],
    ),
    (
        "@id(\"a\") permit (principal, action, resource) when { !(resource has pulledAt) };",
        &[(1, 56, "`resource` has no attribute `pulledAt`", "did you mean `lastPulledAt`?")],
    ),
    // Two letters are in too many names.
    (
        "@id(\"a\") permit (principal, action, resource) when { !(resource has re) };",
        &[(1, 56, "`resource` has no attribute `re`", "it has `archived`, `digest`, ")],
    ),
    (
        "@id(\"a\") permit (principal, action, resource) when { !(action has kind) };",
        &[(1, 56, "`action` has no attribute `kind`", "did you mean `resource.kind`?")],
    ),
    (
        "@id(\"a\") permit (principal, action, resource) when { !(action has colour) };",
        &[(1, 56, "`action` has no attribute `colour`", "it has none")],
    ),
    ("", &[(1, 1, "the file has no policy; keep-everything.cedar is one that permits nothing", "")]),
    ("// @id(\"a\") permit (principal, action, resource);\n", &[(1, 1, "the file has no policy", "")]),
    (
        "@id(\"a\") @approve(\"required\")\n\
         permit (principal, action, resource)\n\
         when { resource.tag == 1 && context.caus == \"x\" };\n\n\
         forbid (principal, action, resource);",
        &[
            (1, 10, "unknown annotation `@approve`", "did you mean `@approval`?"),
            (3, 8, "attribute `tag`", "`tags`"),
            (3, 29, "attribute `caus`", "`cause`"),
            (5, 1, "no `@id`", ""),
        ],
    ),
];

#[test]
fn every_problem_has_a_position_and_a_suggestion() {
    for (text, expected) in MISTAKES {
        let invalid = Policy::load("dev.cedar", text).unwrap_err();
        assert_eq!(invalid.problems.len(), expected.len(), "{text}: {invalid}");
        for (problem, (line, column, message, suggestion)) in invalid.problems.iter().zip(*expected) {
            assert_eq!((problem.line, problem.column), (*line, *column), "{text}: {problem}");
            assert!(problem.message.contains(message), "{text}: {problem}");
            assert!(problem.suggestion.as_deref().unwrap_or_default().contains(suggestion), "{text}: {problem}");
            assert!(!problem.to_string().contains("policy0"), "{problem}");
        }
    }
}

#[test]
fn what_is_hardly_meant_is_a_warning_and_can_be_used() {
    let warnings = |condition: &str| {
        let text = format!("@id(\"a\") permit (principal, action, resource)\nwhen {{ {condition} }};");
        let warnings = Policy::load("a.cedar", &text).unwrap().warnings().to_vec();
        warnings.into_iter().map(|warning| warning.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(
        warnings("resource.repository like \"dev\" || principal.region == \"eu-wset-1\""),
        [
            "2:8: `like \"dev\"` has no `*`: it compares the whole text \
             (write `resource.repository == \"dev\"`, or a pattern with `*`)",
            "2:62: no region is known whose name has `wset`, as in `eu-wset-1` (did you mean `eu-west-1`?)",
        ]
    );
    assert_eq!(
        warnings("principal == Registry::\"111122223333/eus-west-1\""),
        ["2:21: no region is known whose name has `eus`, as in `eus-west-1` (did you mean `eu-west-1`?)"]
    );
    for region in ["us-gov-west-1", "us-isob-east-1", "eusc-de-east-1", "ap-southeast-5", "cn-northwest-1"] {
        assert_eq!(warnings(&format!("principal.region == \"{region}\"")), [""; 0]);
    }
    assert_eq!(warnings("principal.region like \"eu-*\""), [""; 0]);
    let usual = "resource.tagLine like \"* v*\" || resource.tagLine like \"*-rc *\" || resource.tagLine == \"\"";
    assert_eq!(warnings(usual), [""; 0]);
}

#[test]
fn an_invalid_policy_is_described_in_one_line() {
    let text = "@grace(\"soon\")\npermit (principal, action, resource)\nwhen { resource.tag == \"a\" };";
    let invalid = Policy::load("dev.cedar", text).unwrap_err();
    assert_eq!(
        invalid.to_string(),
        "`dev.cedar` is not a usable policy: \
         1:1: `@grace` cannot be `soon`; write a duration from `0s` to `90d`, as in `@grace(\"24h\")`; and \
         1:1: the policy has no `@id`; write 1 to 64 of `a-z 0-9 -`, as in `@id(\"dev-follows-its-source\")`; and \
         3:8: attribute `tag` on entity type `Replica` not found; did you mean `tags`?"
    );
    assert_eq!(
        invalid.problems.last().unwrap().to_string(),
        "3:8: attribute `tag` on entity type `Replica` not found (did you mean `tags`?)"
    );
}

#[test]
fn a_loaded_policy_says_what_it_was_loaded_from() {
    let text = "@id(\"old\") permit (principal, action, resource) when { resource.tags.contains(\"v1\") };\n\
                @id(\"never\") forbid (principal, action, resource) when \
                { resource.registry == Registry::\"444455556666/us-east-1\" };\n\
                @id(\"kept\") forbid (principal, action, resource) when \
                { action == Action::\"untag\" && context has tag && context.tag like \"release-*\" \
                && resource.repository like \"prod/*\" };";
    let policy = Policy::load("team.cedar", text).unwrap();
    assert_eq!((policy.name(), policy.text()), ("team.cedar", text));
    let ids: BTreeSet<_> = policy.ids().map(ToString::to_string).collect();
    assert_eq!(ids, ["kept".to_owned(), "never".to_owned(), "old".to_owned()].into());
    let set: BTreeSet<_> = policy.set().policies().map(|policy| policy.id().to_string()).collect();
    assert_eq!(set, ids);
    assert_eq!(policy.schema().actions().count(), 3);
    let mut named: Vec<_> = policy.named_values().map(|value| format!("{value:?}")).collect();
    named.sort();
    assert_eq!(
        named,
        [
            "Registry(\"444455556666/us-east-1\")",
            "Tag(\"v1\")",
            "TagPattern { pattern: \"release-*\", in_line: \"* release-*\" }"
        ]
    );
}

#[test]
fn a_policy_can_be_shared_between_threads() {
    fn shared<T: Send + Sync + std::fmt::Debug>(_: &T) {}
    let policy = Policy::load("keep-everything.cedar", KEEP_EVERYTHING).unwrap();
    shared(&policy);
    assert_eq!(policy.name(), "keep-everything.cedar");
}
