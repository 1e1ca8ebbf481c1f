//! What the annotations of a policy add to its effect.

use std::fmt;

use cedar_policy::Effect;
use jiff::{SignedDuration, Span, SpanRelativeTo, fmt::friendly::SpanParser};

use crate::{DEFAULT_GRACE, problem::PolicyProblem};

/// The conditions under which a permit applies. Cedar carries annotations, and gives them no meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Terms {
    /// How long to wait after the loss.
    pub(crate) grace: SignedDuration,
    /// Whether a person must approve.
    pub(crate) approval: bool,
    /// Whether replicas with tags that the source never had may go.
    pub(crate) replica_only_tags: bool,
}

impl Default for Terms {
    fn default() -> Self {
        Self { grace: DEFAULT_GRACE, approval: false, replica_only_tags: false }
    }
}

/// The longest grace: what waits longer than a quarter of a year is meant to stay.
const LONGEST_GRACE: SignedDuration = SignedDuration::from_hours(90 * 24);

/// The longest id. It is stored with every deletion that it decides.
const LONGEST_ID: usize = 64;

/// The annotations that mean something.
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

    /// What may be written, for somebody who wrote something else.
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

/// What a policy's annotations say.
#[derive(Debug, Default)]
pub(crate) struct Annotations {
    /// The id, and the byte of the text where it stands.
    pub(crate) id: Option<(String, usize)>,
    /// The rest.
    pub(crate) terms: Terms,
}

/// Reads the annotations of a policy that starts at a byte of the text: each as its name, its value and its own byte.
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

/// Days have 24 hours: a grace counts elapsed time, in no time zone.
fn parse_grace(text: &str) -> Option<SignedDuration> {
    let span: Span = SpanParser::new().parse_span(text).ok()?;
    let grace = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    (SignedDuration::ZERO..=LONGEST_GRACE).contains(&grace).then_some(grace)
}

/// The nearest annotation, or all of them if none is near.
fn suggest(word: &str) -> String {
    let distance = |annotation: &Annotation| strsim::osa_distance(word, annotation.as_str());
    let nearest = Annotation::ALL.into_iter().min_by_key(distance);
    match nearest {
        // More than half of the letters wrong is another word.
        Some(nearest) if distance(&nearest) <= nearest.as_str().len() / 2 => format!("did you mean {nearest}?"),
        _ => format!("write one of {}", Annotation::ALL.map(|annotation| annotation.to_string()).join(", ")),
    }
}
