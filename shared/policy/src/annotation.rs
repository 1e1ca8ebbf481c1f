//! What the annotations of a policy add to its effect.

use std::fmt;

use cedar_policy::Effect;
use jiff::{SignedDuration, Span, SpanRelativeTo, fmt::friendly::SpanParser};

use crate::{DEFAULT_GRACE, problem::PolicyProblem, values::nearest};

/// The conditions under which a permit applies. Cedar stores annotations but gives them no meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Terms {
    /// The grace period: how long to wait after the loss.
    pub(crate) grace: SignedDuration,
    /// Whether an operator must approve.
    pub(crate) approval: bool,
    /// Whether a replica with tags that the source never had may be deleted.
    pub(crate) replica_only_tags: bool,
}

impl Default for Terms {
    fn default() -> Self {
        Self { grace: DEFAULT_GRACE, approval: false, replica_only_tags: false }
    }
}

/// The longest grace period: 90 days. A replica that should stay longer needs no permit.
const LONGEST_GRACE: SignedDuration = SignedDuration::from_hours(90 * 24);

/// The longest id, in characters. The id is stored with every deletion that the policy decides.
const LONGEST_ID: usize = 64;

/// The known annotations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Annotation {
    Id,
    Grace,
    Approval,
    ReplicaOnlyTags,
}

impl Annotation {
    const ALL: [Self; 4] = [Self::Id, Self::Grace, Self::Approval, Self::ReplicaOnlyTags];

    fn as_str(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Grace => "grace",
            Self::Approval => "approval",
            Self::ReplicaOnlyTags => "replica_only_tags",
        }
    }

    fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|annotation| annotation.as_str() == word)
    }

    /// The allowed values, for the message about any other value.
    fn rule(self) -> &'static str {
        match self {
            Self::Id => "write 1 to 64 of `a-z 0-9 -`, as in `@id(\"dev-follows-its-source\")`",
            Self::Grace => "write a duration from `0s` to `90d`, as in `@grace(\"24h\")`",
            Self::Approval => "the only value is `@approval(\"required\")`",
            Self::ReplicaOnlyTags => "the only value is `@replica_only_tags(\"may_go\")`",
        }
    }
}

impl fmt::Display for Annotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`@{}`", self.as_str())
    }
}

/// The annotations of one policy.
#[derive(Debug, Default)]
pub(crate) struct Annotations {
    /// The id, and the byte offset of its annotation in the text.
    pub(crate) id: Option<(String, usize)>,
    /// The terms from the other annotations.
    pub(crate) terms: Terms,
}

/// Reads the annotations of a policy that starts at byte `start` of the text. Each has a name, a value and a byte
/// offset.
pub(crate) fn read<'a>(
    text: &str,
    start: usize,
    effect: Effect,
    annotations: impl Iterator<Item = (&'a str, &'a str, usize)>,
    problems: &mut Vec<PolicyProblem>,
) -> Annotations {
    let mut read = Annotations::default();
    let mut named = false;
    for (word, value, offset) in annotations {
        let mut wrong = |message: String, suggestion: String| {
            problems.push(PolicyProblem::at(text, offset, message).suggest(suggestion));
        };
        let Some(annotation) = Annotation::of_word(word) else {
            wrong(format!("unknown annotation `@{word}`"), suggest(word));
            continue;
        };
        named |= annotation == Annotation::Id;
        if effect == Effect::Forbid && annotation != Annotation::Id {
            wrong(format!("{annotation} means nothing on a forbid"), "write it on a permit".to_owned());
            continue;
        }
        let understood = match annotation {
            Annotation::Id => {
                let id = is_id(value).then(|| (value.to_owned(), offset));
                let understood = id.is_some();
                read.id = id;
                understood
            }
            Annotation::Grace => parse_grace(value).map(|grace| read.terms.grace = grace).is_some(),
            Annotation::Approval => {
                read.terms.approval = value == "required";
                read.terms.approval
            }
            Annotation::ReplicaOnlyTags => {
                read.terms.replica_only_tags = value == "may_go";
                read.terms.replica_only_tags
            }
        };
        if !understood {
            wrong(format!("{annotation} cannot be `{value}`"), annotation.rule().to_owned());
        }
    }
    if !named {
        let message = format!("the policy has no {}", Annotation::Id);
        problems.push(PolicyProblem::at(text, start, message).suggest(Annotation::Id.rule()));
    }
    read
}

fn is_id(text: &str) -> bool {
    (1..=LONGEST_ID).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// A day has 24 hours: a grace period counts elapsed time and has no time zone.
fn parse_grace(text: &str) -> Option<SignedDuration> {
    let span: Span = SpanParser::new().parse_span(text).ok()?;
    let grace = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    (SignedDuration::ZERO..=LONGEST_GRACE).contains(&grace).then_some(grace)
}

/// The nearest annotation, or all of them if none is near.
fn suggest(word: &str) -> String {
    match nearest(word, Annotation::ALL.into_iter().map(Annotation::as_str)) {
        Some(nearest) => format!("did you mean `@{nearest}`?"),
        None => format!("write one of {}", Annotation::ALL.map(|annotation| annotation.to_string()).join(", ")),
    }
}
