//! The texts of an alert that channels show, safe to put between quotes without escaping.
//!
//! EventBridge inserts the texts of an event into input templates without escaping them: a quote would break the JSON
//! that EventBridge sends to a channel, and the alert would be lost.
//! <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-transform-target-input.html>

use serde::Serialize;

use jiff::Timestamp;

use super::{Alert, AlertState, PageAddress, Severity};
use crate::expectation::ReplicationComplete;

/// The longest key, in characters: PagerDuty's limit of a `dedup_key`, the shortest of all channels.
/// <https://developer.pagerduty.com/docs/events-api-v2/trigger-events/>
const KEY: usize = 255;

/// The longest title, in characters: Slack's limit of a header, the shortest of all channels.
/// <https://docs.slack.dev/reference/block-kit/blocks/header-block>
const TITLE: usize = 150;

/// The longest text, in characters. It is below Slack's limit of a section, 3,000, the shortest of all channels.
/// <https://docs.slack.dev/reference/block-kit/blocks/section-block>
const TEXT: usize = 2_000;

/// What channels show of an alert. No text has quotes, backslashes, angle brackets or control characters.
#[derive(Debug, Serialize)]
pub struct ChannelText {
    /// The deduplication key: the same for every alert of one incident, at most 255 characters.
    key: String,
    /// The kind and the subject: at most 150 characters.
    title: String,
    /// What happened: at most 2,000 characters.
    text: String,
    /// What to do next.
    remediation: String,
    /// The severity of the incident, also of the alert that resolves it: a filter by severity passes both or neither.
    severity: Severity,
}

/// What is published on the alert bus.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum PublishedEvent {
    /// An alert.
    Alert(Alert),
    /// All expected copies of a push have arrived.
    ReplicationComplete(ReplicationComplete),
}

impl PublishedEvent {
    /// The id, which is the same in each delivery.
    #[must_use]
    pub fn id(&self) -> &str {
        match self {
            Self::Alert(alert) => &alert.id,
            Self::ReplicationComplete(complete) => &complete.id,
        }
    }

    /// When it happened.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        match self {
            Self::Alert(alert) => alert.time,
            Self::ReplicationComplete(complete) => complete.time,
        }
    }

    /// The EventBridge `detail-type`.
    #[must_use]
    pub fn detail_type(&self) -> String {
        match self {
            Self::Alert(alert) => alert.kind.detail_type(),
            Self::ReplicationComplete(complete) => super::detail_type(complete.kind),
        }
    }

    /// The EventBridge `detail`, with a link to the page if its address is known.
    #[must_use]
    pub fn detail(&self, page: Option<&PageAddress>) -> EventDetail<'_> {
        let link = page.map(|page| page.event(self));
        EventDetail { event: self, channel_text: ChannelText::of(self, link.as_deref()), link }
    }
}

/// The `detail` of a published event: its fields, and its texts for channels.
#[derive(Debug, Serialize)]
pub struct EventDetail<'a> {
    #[serde(flatten)]
    event: &'a PublishedEvent,
    /// The view of the page that shows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<String>,
    channel_text: ChannelText,
}

impl ChannelText {
    /// The texts of an event. A link follows what to do next: channels show it as a link.
    #[must_use]
    pub fn of(event: &PublishedEvent, link: Option<&str>) -> Self {
        let next = |remediation: &str| {
            let link = link.map(|link| format!("; page: {link}")).unwrap_or_default();
            channel_text(remediation, TEXT.saturating_sub(link.chars().count())) + &link
        };
        match event {
            PublishedEvent::Alert(alert) => Self {
                key: key(&alert.incident),
                title: channel_text(&title(alert), TITLE),
                text: channel_text(&alert.message, TEXT),
                remediation: next(&alert.remediation),
                severity: alert.severity_before.unwrap_or(alert.severity),
            },
            PublishedEvent::ReplicationComplete(complete) => Self {
                key: key(&complete.incident),
                title: channel_text(&format!("replication complete: {}", complete.subject), TITLE),
                text: channel_text(&complete.message, TEXT),
                remediation: next(&complete.remediation),
                severity: complete.severity,
            },
        }
    }
}

fn title(alert: &Alert) -> String {
    let what = alert.kind.words();
    let subject = &alert.subject;
    match alert.state {
        AlertState::Notice | AlertState::Opened => format!("{what}: {subject}"),
        AlertState::Open => format!("still {what}: {subject}"),
        AlertState::Resolved => format!("resolved: {what}: {subject}"),
    }
}

/// Replaces the characters that JSON or Slack's markup would require to be escaped, and cuts the text at `most`
/// characters.
fn channel_text(text: &str, most: usize) -> String {
    let harmless = |character: char| match character {
        '"' => '\'',
        '\\' => '/',
        '<' => '‹',
        '>' => '›',
        character if character.is_control() => ' ',
        character => character,
    };
    let mut characters = text.chars().map(harmless);
    let mut short: String = characters.by_ref().take(most.saturating_sub(1)).collect();
    match (characters.next(), characters.next()) {
        (Some(_), Some(_)) => short.push('…'),
        (last, _) => short.extend(last),
    }
    short
}

/// A deduplication key. If it is too long, a hash of the whole name replaces its end, so that different names stay
/// different.
fn key(name: &str) -> String {
    let text = channel_text(name, usize::MAX);
    if text.chars().count() <= KEY {
        return text;
    }
    let hash = format!("#{:016x}", fnv1a(name.as_bytes()));
    text.chars().take(KEY.saturating_sub(hash.len())).chain(hash.chars()).collect()
}

/// A short ID of an incident, for people: eight hexadecimal digits.
#[must_use]
pub fn short_id(incident: &str) -> String {
    format!("{:08x}", fnv1a(incident.as_bytes()) >> 32)
}

/// FNV-1a, 64 bits: unlike the standard library's hash, it is the same in every version of Rust and of this program.
/// <http://www.isthe.com/chongo/tech/comp/fnv/>
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_need_escaping_are_replaced() {
        let text = "the rule \"a\\b\"\nsays <!channel>\u{7}";
        let harmless = channel_text(text, TEXT);
        assert_eq!(harmless, "the rule 'a/b' says ‹!channel› ");
        assert_eq!(serde_json::to_string(&harmless).unwrap(), format!("\"{harmless}\""));
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_eq!(channel_text("äöü", 3), "äöü");
        assert_eq!(channel_text("äöüß", 3), "äö…");
        assert_eq!(channel_text("", 3), "");
    }

    #[test]
    fn long_keys_that_differ_stay_different_and_never_change() {
        let name = |end: &str| format!("2026-11-02/pushed_to_replica/{}{end}", "a".repeat(255));
        let (one, other) = (key(&name("x")), key(&name("y")));
        assert_ne!(one, other);
        for key in [&one, &other] {
            assert_eq!(key.chars().count(), KEY);
        }
        assert_eq!(key("2026-11-02/drift_found/x"), "2026-11-02/drift_found/x");
        // A test vector published by the authors of FNV.
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
