//! What operators put in the way of deletions: pauses, which stop every deletion of a source or of all sources, and
//! holds, which keep the replicas of an image, of repositories or of a source.
//!
//! Both are independent of any deletion and of the breakers. They may be there before a deletion is recorded, and they
//! end when an operator ends them, or when they expire.

use std::{fmt, str::FromStr};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{
    image::{Image, MalformedError, Registry, RepositoryPattern},
    time::time_text,
};

/// How long a deletion that is paused waits until it is evaluated again: what resumes runs within this time.
const PAUSED_FOR: SignedDuration = SignedDuration::from_mins(5);

/// How long a deletion that a hold keeps waits until it is evaluated again. A release does not wait for it; it is for
/// a release that stopped half-way.
const HELD_FOR: SignedDuration = SignedDuration::from_hours(24);

/// The bytes of the hash in the ID of a hold: 32 bits, because one hub has tens of holds.
const ID_BYTES: usize = 4;

/// Who put a pause or a hold there, since when, until when and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Instruction {
    /// The operator: the caller's ARN, or else the most specific name that is known.
    pub by: String,
    /// Since when.
    pub at: Timestamp,
    /// When it expires; absent if only an operator ends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Why, in the operator's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A pause: no deletion of the source runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Pause {
    /// The only source whose deletions are paused; absent if those of every source are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Registry>,
    /// Who, when and why.
    #[serde(flatten)]
    pub instruction: Instruction,
}

/// A hold: no replica of what it covers is deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Hold {
    /// What the hold covers.
    pub pattern: HoldPattern,
    /// The only source whose deletions it keeps from running; absent for every source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Registry>,
    /// Who, when and why.
    #[serde(flatten)]
    pub instruction: Instruction,
}

/// What a hold covers: an image, as in `team/app@sha256:…`, or repositories, as in `team/app` or `prod/*`. A `*`
/// stands for any characters, as in the patterns of ECR's lifecycle policies.
/// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/lifecycle_policy_parameters.html>
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = String, pattern = r"^[a-z0-9*._/@:-]+$"))]
pub struct HoldPattern(Covered);

/// The two kinds of patterns.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Covered {
    /// One image.
    Image(Image),
    /// Every image of some repositories.
    Repositories(RepositoryPattern),
}

impl HoldPattern {
    /// One image.
    #[must_use]
    pub fn of_image(image: &Image) -> Self {
        Self(Covered::Image(image.clone()))
    }

    /// The image, if it covers only one.
    #[must_use]
    pub fn image(&self) -> Option<&Image> {
        match &self.0 {
            Covered::Image(image) => Some(image),
            Covered::Repositories(_) => None,
        }
    }

    /// The image or the repositories.
    #[must_use]
    pub fn covered(&self) -> &Covered {
        &self.0
    }

    /// The pattern, with the beginning of a digest: for people.
    #[must_use]
    pub fn short(&self) -> String {
        match &self.0 {
            Covered::Image(image) => format!("{}@{}", image.repository, image.digest.short()),
            Covered::Repositories(pattern) => pattern.to_string(),
        }
    }

    /// Whether the pattern covers an image.
    #[must_use]
    pub fn covers(&self, image: &Image) -> bool {
        match &self.0 {
            Covered::Image(held) => held == image,
            Covered::Repositories(pattern) => pattern.covers(&image.repository),
        }
    }
}

impl TryFrom<String> for HoldPattern {
    type Error = MalformedError;

    fn try_from(text: String) -> Result<Self, MalformedError> {
        let image = || text.parse().map(Covered::Image);
        if let Ok(covered) = text.parse().map(Covered::Repositories).or_else(|_| image()) {
            return Ok(Self(covered));
        }
        let rule = "expected repositories, as in `prod/*`, or an image, as in `prod/api@sha256:…`";
        Err(MalformedError::new(&text, "a pattern of a hold", rule))
    }
}

impl FromStr for HoldPattern {
    type Err = MalformedError;

    fn from_str(text: &str) -> Result<Self, MalformedError> {
        text.to_owned().try_into()
    }
}

impl From<HoldPattern> for String {
    fn from(pattern: HoldPattern) -> Self {
        pattern.to_string()
    }
}

impl From<RepositoryPattern> for HoldPattern {
    fn from(pattern: RepositoryPattern) -> Self {
        Self(Covered::Repositories(pattern))
    }
}

impl fmt::Display for HoldPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Covered::Image(image) => f.pad(&image.to_string()),
            Covered::Repositories(pattern) => fmt::Display::fmt(pattern, f),
        }
    }
}

/// Whether a text matches a pattern in which `*` matches any characters.
#[must_use]
pub fn wildcard(pattern: &str, text: &str) -> bool {
    let Some((first, others)) = pattern.split_once('*') else { return pattern == text };
    let (between, last) = others.rsplit_once('*').unwrap_or(("", others));
    let Some(rest) = text.strip_prefix(first).and_then(|rest| rest.strip_suffix(last)) else { return false };
    between.split('*').try_fold(rest, |rest, part| rest.split_once(part).map(|(_, rest)| rest)).is_some()
}

impl Instruction {
    fn lasts(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    /// When what it keeps is evaluated again: after a time, or at its end if that is earlier.
    fn evaluated_at(&self, after: SignedDuration, now: Timestamp) -> Timestamp {
        let next = now.saturating_add(after).unwrap_or(Timestamp::MAX);
        self.until.map_or(next, |until| next.min(until))
    }
}

impl fmt::Display for Instruction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "by {} since {}", self.by, time_text(self.at))?;
        if let Some(until) = self.until {
            write!(f, " until {}", time_text(until))?;
        }
        self.reason.as_ref().map_or(Ok(()), |reason| write!(f, ": {reason}"))
    }
}

impl Pause {
    /// What is paused, by whom, since when, until when and why: one line.
    #[must_use]
    pub fn summary(&self) -> String {
        let of = self.source.as_ref().map_or_else(|| "every source".to_owned(), ToString::to_string);
        format!("deletions of {of} are paused {}", self.instruction)
    }

    /// When a deletion that it stops is evaluated again.
    #[must_use]
    pub fn evaluated_at(&self, now: Timestamp) -> Timestamp {
        self.instruction.evaluated_at(PAUSED_FOR, now)
    }
}

impl Hold {
    /// What is on hold, by whom, since when, until when and why: one line.
    #[must_use]
    pub fn summary(&self) -> String {
        let of = self.source.as_ref().map(|source| format!(" of {source}")).unwrap_or_default();
        format!("{}{of} is on hold {}", self.pattern.short(), self.instruction)
    }

    /// The ID of the hold: 8 hexadecimal digits that follow from what it says.
    #[must_use]
    pub fn id(&self) -> String {
        let Instruction { by, at, .. } = &self.instruction;
        let source = self.source.as_ref().map(Registry::as_str).unwrap_or_default();
        let hash = Sha256::digest(format!("{}\n{source}\n{by}\n{at}", self.pattern));
        hash.iter().take(ID_BYTES).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether the hold keeps a replica of the image whose source is this one.
    #[must_use]
    pub fn covers(&self, source: &Registry, image: &Image) -> bool {
        self.source.as_ref().is_none_or(|only| only == source) && self.pattern.covers(image)
    }

    /// When a deletion that it stops is evaluated again.
    #[must_use]
    pub fn evaluated_at(&self, now: Timestamp) -> Timestamp {
        self.instruction.evaluated_at(HELD_FOR, now)
    }
}

/// All pauses and holds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Controls {
    /// The pauses: at most one of each source, and one of every source.
    pub pauses: Vec<Pause>,
    /// The holds.
    pub holds: Vec<Hold>,
}

impl Controls {
    /// The pauses and holds that last at a time.
    #[must_use]
    pub fn at(mut self, now: Timestamp) -> Self {
        self.pauses.retain(|pause| pause.instruction.lasts(now));
        self.holds.retain(|hold| hold.instruction.lasts(now));
        self
    }

    /// The pause that stops the deletions of a source; of several, the one that lasts longest.
    #[must_use]
    pub fn paused(&self, source: &Registry, now: Timestamp) -> Option<&Pause> {
        let stops =
            |pause: &&Pause| pause.source.as_ref().is_none_or(|of| of == source) && pause.instruction.lasts(now);
        self.pauses.iter().filter(stops).max_by_key(|pause| end(&pause.instruction))
    }

    /// The hold that keeps the replicas of an image; of several, the one that lasts longest.
    #[must_use]
    pub fn held(&self, source: &Registry, image: &Image, now: Timestamp) -> Option<&Hold> {
        let keeps = |hold: &&Hold| hold.covers(source, image) && hold.instruction.lasts(now);
        self.holds.iter().filter(keeps).max_by_key(|hold| end(&hold.instruction))
    }
}

fn end(instruction: &Instruction) -> Timestamp {
    instruction.until.unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const IRELAND: &str = "111122223333/eu-west-1";
    const LONDON: &str = "111122223333/eu-west-2";

    fn instruction(until: Option<i64>) -> Instruction {
        let until = until.map(|hour| Timestamp::from_second(hour * 3600).unwrap());
        Instruction { by: "dana".to_owned(), at: Timestamp::UNIX_EPOCH, until, reason: Some("audit".to_owned()) }
    }

    fn image() -> Image {
        format!("prod/api@sha256:{}", "a".repeat(64)).parse().unwrap()
    }

    fn hold(pattern: &str, source: Option<&str>, until: Option<i64>) -> Hold {
        let source = source.map(|source| source.parse().unwrap());
        Hold { pattern: pattern.parse().unwrap(), source, instruction: instruction(until) }
    }

    #[test]
    fn a_star_matches_any_text() {
        for (pattern, text) in [
            ("v1", "v1"),
            ("*", ""),
            ("v*", "v"),
            ("v*", "v1.2"),
            ("*-rc*", "v1-rc2"),
            ("a*b*c", "aXbbc"),
            ("a**", "a"),
        ] {
            assert!(wildcard(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("v1", "v12"), ("v*", "w1"), ("*-rc", "v1-rc2"), ("a*b*c", "acb"), ("aa*a", "aa")] {
            assert!(!wildcard(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn a_hold_covers_what_its_pattern_and_its_source_name() {
        let (ireland, london) = (IRELAND.parse().unwrap(), LONDON.parse().unwrap());
        let one = image().to_string();
        for pattern in ["*", "prod/*", "prod/api", "*api", one.as_str()] {
            assert!(hold(pattern, None, None).covers(&ireland, &image()), "{pattern}");
            assert!(!hold(pattern, Some(LONDON), None).covers(&ireland, &image()), "{pattern}");
            assert!(hold(pattern, Some(LONDON), None).covers(&london, &image()), "{pattern}");
        }
        let other = format!("prod/api@sha256:{}", "b".repeat(64));
        for pattern in ["prod", "prod/", "test/*", "prod/api/*", other.as_str()] {
            assert!(!hold(pattern, None, None).covers(&ireland, &image()), "{pattern}");
        }
    }

    #[test]
    fn only_repositories_and_images_are_patterns() {
        for pattern in ["", "prod/api:v1", "Prod/*", "prod/?", "prod/api@", "prod/*@sha256:ab", "a b"] {
            assert!(pattern.parse::<HoldPattern>().is_err(), "{pattern}");
        }
    }

    #[test]
    fn a_pattern_is_written_as_it_is_read() {
        for pattern in ["prod/*", image().to_string().as_str()] {
            let parsed: HoldPattern = pattern.parse().unwrap();
            assert_eq!(parsed.to_string(), pattern);
            let json = serde_json::to_value(&parsed).unwrap();
            assert_eq!(
                (&json, serde_json::from_value::<HoldPattern>(json.clone()).unwrap()),
                (&pattern.into(), parsed)
            );
        }
    }

    #[test]
    fn the_id_of_a_hold_follows_from_what_it_says() {
        // Computed by another program, with SHA-256 of the text that `id` describes.
        assert_eq!(hold("prod/*", Some(IRELAND), None).id(), "0ed7623c");
        assert_eq!(hold("prod/*", Some(IRELAND), Some(3)).id(), hold("prod/*", Some(IRELAND), None).id());
        assert_ne!(hold("prod/*", Some(LONDON), None).id(), hold("prod/*", Some(IRELAND), None).id());
        assert_ne!(hold("prod/api", Some(IRELAND), None).id(), hold("prod/*", Some(IRELAND), None).id());
    }

    #[test]
    fn of_several_holds_the_one_that_lasts_longest_counts() {
        let ireland = IRELAND.parse().unwrap();
        let at = |hour: i64| Timestamp::from_second(hour * 3600).unwrap();
        let holds = vec![hold("prod/*", None, Some(2)), hold("*", None, Some(5)), hold("prod/api", None, Some(3))];
        let controls = Controls { pauses: Vec::new(), holds };
        assert_eq!(controls.held(&ireland, &image(), at(1)).unwrap().pattern.to_string(), "*");
        assert!(controls.held(&ireland, &image(), at(4)).is_some());
        assert!(controls.held(&ireland, &image(), at(5)).is_none(), "the end itself is not held");
        assert_eq!(controls.clone().at(at(2)).holds.len(), 2);
        let endless = Controls { holds: vec![hold("*", None, Some(5)), hold("prod/*", None, None)], ..controls };
        assert_eq!(endless.held(&ireland, &image(), at(1)).unwrap().instruction.until, None);
    }

    #[test]
    fn a_pause_stops_its_source_or_all() {
        let pause = |source: Option<&str>, until| Pause {
            source: source.map(|source| source.parse().unwrap()),
            instruction: instruction(until),
        };
        let (ireland, london) = (IRELAND.parse().unwrap(), LONDON.parse().unwrap());
        let now = Timestamp::from_second(60).unwrap();
        let one = Controls { pauses: vec![pause(Some(IRELAND), None)], holds: Vec::new() };
        assert!(one.paused(&ireland, now).is_some() && one.paused(&london, now).is_none());
        let all = Controls { pauses: vec![pause(None, Some(1))], holds: Vec::new() };
        assert!(all.paused(&london, now).is_some());
        assert!(all.paused(&london, Timestamp::from_second(3600).unwrap()).is_none(), "it expired");
        let why =
            "deletions of every source are paused by dana since 1970-01-01 00:00:00 until 1970-01-01 01:00:00: audit";
        assert_eq!(all.pauses[0].summary(), why);
        assert_eq!(all.pauses[0].evaluated_at(now).as_second(), 360);
        assert_eq!(all.pauses[0].evaluated_at(Timestamp::from_second(3500).unwrap()).as_second(), 3600);
    }
}
