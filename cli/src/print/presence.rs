//! Prints whether an image is where it should be.

use std::fmt::Write;

use anstyle::AnsiColor;
use answers::presence::{Presence, PresenceIn};
use domain::expectation::ReplicaState;

use super::{HEADING, Print, answer::replica_sign, coloured, csv, filled, image_name, styled};

impl Print for Presence {
    fn table(&self, width: Option<u16>) -> String {
        let image = image_name(&self.image, None);
        let mut text = format!("\n{}\n\n", styled(HEADING, format!("{} is {image}", self.asked)));
        self.registries.iter().for_each(|one| text.push_str(&line(one, width)));
        if self.pushed_to.is_empty() && !self.registries.iter().any(|one| one.wanted) {
            let what = "? no push is recorded, so where it should be is unknown: name registries with `--in`";
            _ = writeln!(text, "{}", filled(&coloured(AnsiColor::Yellow, what), ["", "  "], width));
        }
        for registry in &self.rules_unknown {
            let what = format!("? the replication rules of {registry} are not known: there may be more destinations");
            _ = writeln!(text, "{}", filled(&coloured(AnsiColor::Yellow, what), ["", "  "], width));
        }
        text
    }

    fn sheet(&self) -> Option<&'static csv::Sheet> {
        Some(&csv::PRESENCE)
    }
}

/// One registry, in one line.
pub(crate) fn line(one: &PresenceIn, width: Option<u16>) -> String {
    let sign = match one.state {
        _ if one.there => coloured(AnsiColor::Green, "●"),
        None | Some(ReplicaState::Arrived) => coloured(AnsiColor::Red, "○"),
        Some(state) => replica_sign(state),
    };
    filled(&format!("{sign} {}  {}", one.registry, one.summary), ["", "    "], width) + "\n"
}
