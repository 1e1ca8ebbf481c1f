//! An alert for people, in texts that can be put between quotes as they are.
//!
//! EventBridge puts texts of an event into templates without escaping them: a quote would break the JSON that a channel
//! is sent, and the alert would be lost to it.
//! <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-transform-target-input.html>

use serde::Serialize;

use super::{Alert, AlertState, Severity};

/// PagerDuty's limit of a `dedup_key`, in characters, the shortest of all keys.
/// <https://developer.pagerduty.com/docs/events-api-v2/trigger-events/>
const KEY: usize = 255;

/// Slack's limit of a header, in characters, the shortest of all titles.
/// <https://docs.slack.dev/reference/block-kit/blocks/header-block>
const TITLE: usize = 150;

/// In characters. Slack's limit of a section is 3,000, the shortest of all texts.
/// <https://docs.slack.dev/reference/block-kit/blocks/section-block>
const TEXT: usize = 2_000;

/// What channels show of an alert. No text has quotes, backslashes, angle brackets or control characters.
#[derive(Debug, Serialize)]
pub struct ChannelText {
    /// The same for every alert of one incident, and no longer than 255 characters.
    key: String,
    /// What, and to what: no longer than 150 characters.
    title: String,
    /// What happened: no longer than 2,000 characters.
    text: String,
    /// What to do next.
    remediation: String,
    /// How severe the incident is, also when it is over: who was told that it began is told that it ended.
    severity: Severity,
}

impl ChannelText {
    /// What channels show of this alert.
    #[must_use]
    pub fn of(alert: &Alert) -> Self {
        Self {
            key: key(&alert.incident),
            title: channel_text(&title(alert), TITLE),
            text: channel_text(&alert.message, TEXT),
            remediation: channel_text(&alert.remediation, TEXT),
            severity: alert.kind.severity(),
        }
    }
}

fn title(alert: &Alert) -> String {
    let what = alert.kind.as_str().replace('_', " ");
    let subject = &alert.subject;
    match alert.state {
        AlertState::Notice | AlertState::Opened => format!("{what}: {subject}"),
        AlertState::Open => format!("still {what}: {subject}"),
        AlertState::Resolved => format!("over: {what}: {subject}"),
    }
}

/// A text that needs no escaping, not in JSON and not in Slack's markup, cut where it is too long.
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

/// A name as a key. The end of one that is too long is replaced by a hash of all of it, so that two stay two.
fn key(name: &str) -> String {
    let text = channel_text(name, usize::MAX);
    if text.chars().count() <= KEY {
        return text;
    }
    let hash = format!("#{:016x}", fnv1a(name.as_bytes()));
    text.chars().take(KEY.saturating_sub(hash.len())).chain(hash.chars()).collect()
}

/// The same in every version of this program and of Rust.
/// <http://www.isthe.com/chongo/tech/comp/fnv/>
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_escaped_is_replaced() {
        let text = "the rule \"a\\b\"\nsays <!channel>\u{7}";
        let harmless = channel_text(text, TEXT);
        assert_eq!(harmless, "the rule 'a/b' says ‹!channel› ");
        assert_eq!(serde_json::to_string(&harmless).unwrap(), format!("\"{harmless}\""));
    }

    #[test]
    fn what_is_too_long_is_cut_between_characters() {
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
        // A test vector of its authors.
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
