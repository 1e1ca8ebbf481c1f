//! The address of the page, and links to its views.

use std::{fmt, str::FromStr};

use super::{Alert, AlertKind, PublishedEvent};
use crate::image::{Image, MalformedError};

/// The address at which people open the page. It has no quotes, backslashes, angle brackets, spaces or control characters,
/// so a link is safe in every alert channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageAddress(String);

impl FromStr for PageAddress {
    type Err = MalformedError;

    fn from_str(text: &str) -> Result<Self, MalformedError> {
        // The view that is open now is not a part of the address.
        let base = text.split('#').next().unwrap_or_default().trim_end_matches('/');
        let host = base.strip_prefix("https://").or_else(|| base.strip_prefix("http://"));
        let harmless = |character: char| character.is_ascii_graphic() && !"\"'\\<>`".contains(character);
        if host.is_none_or(str::is_empty) || !base.chars().all(harmless) {
            return Err(MalformedError::new(text, "the address of the page", "a URL, as in `https://example.com/`"));
        }
        Ok(Self(base.to_owned()))
    }
}

impl fmt::Display for PageAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/", self.0)
    }
}

impl PageAddress {
    /// The address of a view, such as `image`, of a thing. Names of images and tags need no escape in a fragment.
    /// <https://www.rfc-editor.org/rfc/rfc3986#section-3.5>
    #[must_use]
    pub fn view(&self, view: &str, of: &impl fmt::Display) -> String {
        format!("{self}#/{view}/{of}")
    }

    /// The view of an image.
    #[must_use]
    pub fn image(&self, image: &Image) -> String {
        self.view("image", image)
    }

    /// The view that shows what an event is about.
    #[must_use]
    pub fn event(&self, event: &PublishedEvent) -> String {
        match event {
            PublishedEvent::ReplicationComplete(complete) => self.image(&complete.image),
            PublishedEvent::Alert(Alert { image: Some(image), count: None | Some(0 | 1), .. }) => self.image(image),
            PublishedEvent::Alert(alert) => format!("{self}#/{}", view_of(alert.kind)),
        }
    }
}

/// The view that lists what a kind of alert is about.
fn view_of(kind: AlertKind) -> &'static str {
    match kind {
        AlertKind::ReplicationLate
        | AlertKind::ReplicationFailed
        | AlertKind::ReplicationMissing
        | AlertKind::ReplicaUntagged => "late",
        AlertKind::DriftFound | AlertKind::OrphansKept | AlertKind::RepositoryDiffers => "drift",
        AlertKind::ReplicaDeleted | AlertKind::PushedToReplica | AlertKind::NativeDeletesSwitched => "activity",
        AlertKind::PolicyInvalid
        | AlertKind::BreakerOpened
        | AlertKind::BreakerReset
        | AlertKind::DeletionPlanned
        | AlertKind::DeletionHeld
        | AlertKind::ApprovalWanted
        | AlertKind::DeletionDone
        | AlertKind::DeletionFailed => "deletions",
        AlertKind::EventsMissing | AlertKind::EventRefused | AlertKind::PipelineUnhealthy => "registries",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_url_without_the_open_view() {
        for text in ["https://page.example", "https://page.example/", "https://page.example/#/alerts"] {
            let page: PageAddress = text.parse().unwrap();
            assert_eq!(page.view("image", &"team/app:v1"), "https://page.example/#/image/team/app:v1");
        }
        let behind_a_stage: PageAddress = "http://127.0.0.1:4567/stage".parse().unwrap();
        assert_eq!(behind_a_stage.to_string(), "http://127.0.0.1:4567/stage/");
        for text in [
            "",
            "page.example",
            "https://",
            "ftp://page.example",
            "https://page.example/\"",
            "https://a b",
            "javascript:x",
        ] {
            assert!(text.parse::<PageAddress>().is_err(), "{text}");
        }
    }
}
