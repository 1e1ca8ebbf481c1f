//! Prints the demo.

use sandbox::demo::Demo;

use super::{HEADING, Print, styled, table, time};

impl Print for Demo {
    fn table(&self, width: Option<u16>) -> String {
        let mut story = table(width, &["TIME (UTC)", "REGISTRY", "ACTION"], &[0, 1]);
        for act in &self.story {
            story.add_row([time(act.time), act.registry.to_string(), act.what.clone()]);
        }
        let (shown, history, orphans) = (self.shown.table(width), self.history.table(width), self.orphans.table(width));
        let asked = |what: &str| styled(HEADING, format!("$ {what}"));
        let shown = format!("{}\n{shown}", asked("ecr-lineage show shop/api@…"));
        let history = format!("{}\n{history}", asked("ecr-lineage history shop/api:stable"));
        let orphans = format!("{}\n{orphans}", asked("ecr-lineage orphans --repository shop/api"));
        let alerts = format!("{}\n{}", asked("ecr-lineage alerts"), self.alerts.table(width));
        let deletions = format!("{}\n{}", asked("ecr-lineage deletions --done --kept"), self.deletions.table(width));
        let breakers = format!("{}\n{}", asked("ecr-lineage breaker status"), self.breakers.table(width));
        let holds = format!("{}\n{}", asked("ecr-lineage holds"), self.holds.table(width));
        let next = "Try it yourself with the AWS CLI or any SDK: ecr-lineage local";
        format!("{story}\n\n{shown}\n{history}\n{alerts}\n{deletions}\n{breakers}\n{holds}\n{orphans}\n{next}\n")
    }
}
